//! Real tracing libraries, injected into programs that know nothing of them, send spans.
