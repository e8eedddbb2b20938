//! The command line over manifests and configurations, by running the real program.

#![allow(
    clippy::expect_used,
    clippy::needless_pass_by_value,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking, and take values for brevity"
)]

mod config;
mod convert_config;
mod explain;
mod explain_logging;
mod golden;
mod inject;
mod rewrite;
mod run;
mod shell;
mod uninject;
