//! Everything of the Datakit Operator that touches the world: sockets, TLS, files, logs and the command line.
//!
//! What a pod becomes is decided in [`datakit_operator_core`], which knows none of these. A module here may use the
//! modules listed above it, never those below.

pub mod clock;
pub mod error;
pub mod file;
pub mod values;
pub mod visible;

pub mod telemetry;
pub mod tls;

pub mod listen;

pub mod reload;

pub mod state;

pub mod election;

pub mod cluster;

pub mod http;

pub mod app;

pub mod cli;
