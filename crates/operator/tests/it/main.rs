//! Tests of the program through its sockets, signals and command line.

#![allow(
    clippy::expect_used,
    clippy::needless_pass_by_value,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests fail by panicking, and take values for brevity"
)]

mod certificates;
mod confined;
mod drain;
mod election;
mod frames;
mod golden;
mod hostile;
mod limits;
mod outputs;
mod reload;
mod routes;
mod serve;
mod siege;
mod status;
mod support;
mod validate;
