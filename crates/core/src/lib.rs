//! Bytes in, bytes out: admission reviews, injection and configuration, without I/O, clock or
//! async.
//!
//! A module may use the modules listed above it, never those below.

// Blank lines keep the formatter from sorting them.
pub mod json;

pub mod election;
pub mod expansion;

pub mod cel;
pub mod code;
pub mod diagnostic;
pub mod image;
pub mod quantity;
pub mod version;

pub mod namespace;
pub mod patch;
pub mod selector;

pub mod logging;
pub mod pod;
pub mod pods;

pub mod config;
pub mod inject;
pub mod review;
