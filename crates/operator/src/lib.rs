//! Everything of the Datakit Operator that touches the world: sockets, TLS, files, logs and the
//! command line.
//!
//! What a pod becomes is decided in [`datakit_operator_core`], which knows none of these. A module
//! here may use the modules listed above it, never those below.
//!
//! Without the feature `server` only the commands are built that work on files: they need none of
//! what a server needs, and are built in a fraction of the time.

#[cfg(feature = "server")]
pub mod clock;
pub mod error;
pub mod file;
#[cfg(feature = "server")]
pub mod values;
pub mod visible;

#[cfg(feature = "server")]
pub mod telemetry;
#[cfg(feature = "server")]
pub mod tls;

#[cfg(feature = "server")]
pub mod listen;

#[cfg(feature = "server")]
pub mod reload;

#[cfg(feature = "server")]
pub mod state;

#[cfg(feature = "server")]
pub mod access;

#[cfg(feature = "server")]
pub mod election;

#[cfg(feature = "server")]
pub mod cluster;

#[cfg(feature = "server")]
pub mod http;

#[cfg(feature = "server")]
pub mod app;

pub mod cli;
