//! Tests of the core through its public functions.

mod golden;
mod laws;
mod pods;
mod review;
