//! The certificate in use, behind the one place that TLS asks for it.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// What the server presents to every client, whatever name the client asks for: the API server
/// verifies the Service's name, agents and sidecars call by address.
///
/// It can be replaced at any time. Handshakes from then on see the new one; connections that are
/// open stay open.
pub struct Identity {
    current: ArcSwap<CertifiedKey>,
}

impl Identity {
    /// Presents `key`.
    #[must_use]
    pub fn new(key: Arc<CertifiedKey>) -> Self {
        Self {
            current: ArcSwap::new(key),
        }
    }

    /// Presents `key` from now on.
    pub fn replace(&self, key: Arc<CertifiedKey>) {
        self.current.store(key);
    }

    /// What is presented now.
    #[must_use]
    pub fn current(&self) -> Arc<CertifiedKey> {
        self.current.load_full()
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing of a private key belongs in a log.
        formatter.write_str("Identity(…)")
    }
}
