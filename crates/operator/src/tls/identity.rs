//! The certificate in use, behind the one place that TLS asks for it.

use std::fmt;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// What the server presents to every client, whatever name the client asks for: the API server verifies the Service's
/// name, agents and sidecars call by address.
pub struct Identity {
    current: Arc<CertifiedKey>,
}

impl Identity {
    /// Presents `key`.
    #[must_use]
    pub fn new(key: CertifiedKey) -> Self {
        Self {
            current: Arc::new(key),
        }
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing of a private key belongs in a log.
        formatter.write_str("Identity(…)")
    }
}
