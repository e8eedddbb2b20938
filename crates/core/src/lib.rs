//! Bytes in, bytes out: admission reviews, injection and configuration, without I/O, clock or async.

pub mod config;
pub mod diagnostic;
pub mod election;
pub mod expansion;
pub mod image;
pub mod inject;
pub mod json;
pub mod logging;
pub mod namespace;
pub mod patch;
pub mod pod;
pub mod quantity;
pub mod review;
pub mod selector;
pub mod version;
