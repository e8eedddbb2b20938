//! One room a feature: nothing outside a room knows how its feature works.

pub(super) mod ddtrace;
pub(super) mod logfwd;
pub(super) mod profiler;
