//! The one place that names a cryptography library. `deny.toml` bans the others.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::CertificateDer;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

/// The algorithms in use, by ring.
pub(super) fn ring() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// Checks that a peer has the key of the certificate it presents, whoever has signed that.
#[derive(Debug)]
pub(super) struct KeyProof(CryptoProvider);

impl KeyProof {
    pub(super) fn new() -> Self {
        Self(ring())
    }

    pub(super) fn tls12(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    pub(super) fn tls13(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    pub(super) fn schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
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
