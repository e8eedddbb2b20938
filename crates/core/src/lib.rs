//! Bytes in, bytes out: admission reviews, injection and configuration, without I/O, clock or async.

pub mod config;
pub mod diagnostic;
pub mod image;
pub mod quantity;
pub mod selector;
pub mod version;
