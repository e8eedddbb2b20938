//! Who a client is, by the certificates that it presented: told once, when its connection begins.
//!
//! Clients may present any certificate or none ([`replicas`](super::replicas)), so most that are
//! presented mean nothing here. What is kept of them is a [`Caller`], never the certificates.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use super::clients::{ClientName, Clients};
use super::replicas::Replicas;

/// Who a client is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Caller {
    /// Nobody that is known: no certificate, or one that means nothing here.
    #[default]
    Anybody,
    /// Another replica of this installation.
    Replica,
    /// Who has a certificate of the authority that clients are to have theirs from.
    Client(Arc<ClientName>),
}

/// Tells callers apart.
#[derive(Debug)]
pub struct Callers {
    replicas: Arc<Replicas>,
    clients: Option<Arc<Clients>>,
}

impl Callers {
    /// Recognises these replicas and these clients.
    #[must_use]
    pub fn new(replicas: Arc<Replicas>, clients: Option<Arc<Clients>>) -> Self {
        Self { replicas, clients }
    }

    /// Who presents these certificates, whose key it has proved to have.
    #[must_use]
    pub fn recognise(&self, chain: &[CertificateDer<'_>]) -> Caller {
        if self.replicas.recognises(chain) {
            return Caller::Replica;
        }
        let client = self
            .clients
            .as_ref()
            .and_then(|clients| clients.recognise(chain));
        client.map_or(Caller::Anybody, |name| Caller::Client(Arc::new(name)))
    }
}
