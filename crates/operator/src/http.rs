//! Routes: which request goes where, and what a request must be like to go there.
//!
//! Handlers can't fail: every outcome is a response. What a review answers is decided in core; here
//! is only what HTTP adds to it.

pub mod body;
pub mod election;
pub mod logging;
pub mod metrics;
pub mod pods;
pub mod pool;
pub mod probes;
pub mod query;
pub mod respond;
pub mod routes;
pub mod status;
pub mod webhook;
