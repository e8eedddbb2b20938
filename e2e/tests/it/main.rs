//! The operator on a real control plane. `e2e/run` runs these.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests fail by panicking and say how much they checked"
)]

mod cases;
mod certificates;
mod chaos;
mod chart;
mod check;
mod conditions;
mod election;
mod events;
mod examples;
mod explain;
mod fields;
mod generate;
mod generated;
mod logging;
mod missed;
mod namespaces;
mod node;
mod operations;
mod outage;
mod permissions;
mod pod_security;
mod pod_status;
mod pods;
mod reinvocation;
mod replicas;
mod reserved;
mod seen;
mod shapes;
mod soak;
mod status;
mod translations;
mod untouched;
mod upgrade;
mod validation;
mod warnings;
mod workloads;
