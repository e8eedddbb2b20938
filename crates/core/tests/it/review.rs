//! Reviews: what a client gets for whatever it sends.
