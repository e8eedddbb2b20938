//! Who a client is, by the certificates that it presented: told once, when its connection begins.
//!
//! Clients may present any certificate or none ([`replicas`](super::replicas)), so most that are
//! presented mean nothing here. What is kept of them is a [`Caller`], never the certificates.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use super::clients::Clients;
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

/// The names in a client's certificate, which its authority vouches for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientName {
    /// The subject's common name; empty if it has none.
    pub common_name: String,
    /// The subject's alternative names of the kinds DNS, e-mail and URI, as they are written.
    pub alternatives: Vec<String>,
}

impl fmt::Display for ClientName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.common_name, self.alternatives.first()) {
            ("", Some(name)) => formatter.write_str(name),
            (name, _) => formatter.write_str(name),
        }
    }
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
