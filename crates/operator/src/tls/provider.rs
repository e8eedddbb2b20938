//! The one place that names a cryptography library. `deny.toml` bans the others.

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;

/// The algorithms in use, by ring.
pub(super) fn ring() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// The SHA-256 of some bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    if let Some(suite) = TLS13_AES_128_GCM_SHA256.tls13() {
        let hash = suite.common.hash_provider.hash(bytes);
        for (to, from) in sum.iter_mut().zip(hash.as_ref()) {
            *to = *from;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    #[test]
    fn sha256_of_nothing() {
        let sum = super::sha256(b"");
        assert_eq!(&sum[..4], [0xe3, 0xb0, 0xc4, 0x42]);
        assert_eq!(&sum[28..], [0x78, 0x52, 0xb8, 0x55]);
    }
}
