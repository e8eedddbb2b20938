//! Clients that prove who they are: by a certificate of an authority that the user names.
//!
//! API servers present one to webhooks where their admission configuration says so; agents may,
//! too.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::files::{FilesError, read_certificates};
use super::provider;
use crate::clock;

/// What the file is called in messages.
const WHAT: &str = "client CA";

/// Knows clients by the authorities in a file.
pub struct Clients {
    file: PathBuf,
    verifier: ArcSwap<Verifier>,
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

struct Verifier(Arc<dyn ClientCertVerifier>);

impl Clients {
    /// Reads the authorities from a PEM file.
    ///
    /// # Errors
    ///
    /// If the file can't be read, or has no certificate, or one that is no authority's.
    pub fn load(file: &Path) -> Result<Self, FilesError> {
        Ok(Self {
            file: file.to_owned(),
            verifier: ArcSwap::from_pointee(Verifier::read(file)?),
        })
    }

    /// Reads the file again.
    ///
    /// # Errors
    ///
    /// As [`Clients::load`]; the authorities from before stay in use.
    pub fn reload(&self) -> Result<(), FilesError> {
        self.verifier.store(Arc::new(Verifier::read(&self.file)?));
        Ok(())
    }

    /// The names of a client with these certificates, if one of the authorities vouches for them.
    #[must_use]
    pub fn recognise(&self, chain: &[CertificateDer<'_>]) -> Option<ClientName> {
        let (leaf, rest) = chain.split_first()?;
        let verifier = self.verifier.load();
        let verified = (verifier.0).verify_client_cert(leaf, rest, clock::tls_now());
        verified.ok().and_then(|_| names(leaf))
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Clients({})", self.file.display())
    }
}

impl Verifier {
    fn read(file: &Path) -> Result<Self, FilesError> {
        let unusable = |source| FilesError::Certificate {
            path: file.to_owned(),
            source,
        };
        let mut roots = RootCertStore::empty();
        for authority in read_certificates(WHAT, file)? {
            roots.add(authority).map_err(unusable)?;
        }
        let provider = Arc::new(provider::ring());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
        let verifier = verifier
            .build()
            .map_err(|error| unusable(rustls::Error::General(error.to_string())))?;
        Ok(Self(verifier))
    }
}

fn names(leaf: &CertificateDer<'_>) -> Option<ClientName> {
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    let common_name = certificate.subject().iter_common_name().next();
    let common_name = common_name.and_then(|name| name.as_str().ok());
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let alternatives = alternatives.map_or(&[][..], |names| &names.value.general_names);
    let written = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            Some((*name).to_owned())
        }
        _ => None,
    };
    Some(ClientName {
        common_name: common_name.unwrap_or_default().to_owned(),
        alternatives: alternatives.iter().filter_map(written).collect(),
    })
}
