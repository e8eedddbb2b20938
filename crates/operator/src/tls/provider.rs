//! The one place that names a cryptography library. `deny.toml` bans the others.

use rustls::crypto::CryptoProvider;

/// The algorithms in use, by ring.
pub(super) fn ring() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}
