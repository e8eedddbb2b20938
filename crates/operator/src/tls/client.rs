//! TLS on the side of a person who asks a running operator something.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::provider::{self, KeyProof};
use crate::clock;

/// Whose certificates to accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those of the authorities in this PEM file.
    Authorities(PathBuf),
    /// Anybody's.
    Anybody,
}

/// A client can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file with the authorities is no use.
    #[error("failed to read certificates from `{}`; expected a PEM file such as `ca.crt`", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// The file has no certificate.
    #[error("found no certificate in `{}`; expected a PEM block `-----BEGIN CERTIFICATE-----`", .0.display())]
    Empty(PathBuf),
    /// The TLS library refuses a certificate, or its own parameters.
    #[error("failed to set up TLS")]
    Setup(#[from] rustls::Error),
}

/// What connects with this trust; HTTP/1.1 only.
///
/// # Errors
///
/// If the authorities can't be read.
pub fn connector(trust: &Trust) -> Result<TlsConnector, ClientError> {
    let builder = ClientConfig::builder_with_details(Arc::new(provider::ring()), clock::for_tls())
        .with_safe_default_protocol_versions()?;
    let builder = match trust {
        Trust::Authorities(path) => builder.with_root_certificates(roots(path)?),
        Trust::Anybody => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(KeyProof::new()))),
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(path: &Path) -> Result<RootCertStore, ClientError> {
    let fail = |source| ClientError::Authorities {
        path: path.to_owned(),
        source,
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(fail)? {
        roots.add(certificate.map_err(fail)?)?;
    }
    if roots.is_empty() {
        return Err(ClientError::Empty(path.to_owned()));
    }
    Ok(roots)
}

/// Accepts every certificate whose key the server has.
#[derive(Debug)]
struct AnyServer(KeyProof);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.tls12(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.schemes()
    }
}
