//! Tests of the core through its public functions.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::needless_pass_by_value,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests read files, fail by panicking, and take values for brevity"
)]

mod architecture;
mod bounded;
mod class;
mod election;
mod election_simulation;
mod golden;
mod laws;
mod leader_simulation;
mod limit_ranges;
mod namespaces;
mod new_namespace;
mod pods;
mod review;
mod rules;
mod schema;
#[path = "../shapes/mod.rs"]
mod shapes;
mod status;
mod validate;
mod versions;
