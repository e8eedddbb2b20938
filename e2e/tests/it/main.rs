//! The operator on a real control plane. `e2e/run` runs these.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests fail by panicking and say how much they checked"
)]

mod cases;
mod examples;
mod fields;
mod generate;
mod generated;
mod outage;
mod pod_security;
mod reinvocation;
mod shapes;
mod untouched;
mod warnings;
mod workloads;
