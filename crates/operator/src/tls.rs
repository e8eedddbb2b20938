//! TLS on the server's side: which certificate, from where, and with which algorithms.
//!
//! A certificate comes from files named on the command line, else from the files a container image
//! or a mounted Secret provides at a fixed place, else it is made: in a cluster by the
//! installation's authority, which [`rotation`] renews, and elsewhere at start by one that lives in
//! memory.

pub mod args;
pub mod authority;
pub mod callers;
pub mod client;
pub mod clients;
mod ephemeral;
pub mod facts;
mod files;
mod identity;
pub mod keyring;
pub mod provider;
pub mod replicas;
pub mod rotation;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use crate::clock;
use crate::file::{self, FileError};

pub use self::authority::{MintError, Names};
pub use self::files::{FilesError, Pair};
pub use self::identity::Identity;

/// Where the certificate chain is looked for when no file is named.
pub const DEFAULT_CERT_FILE: &str = "/usr/local/datakit-operator/certs/tls.crt";
/// Where its private key is looked for.
pub const DEFAULT_KEY_FILE: &str = "/usr/local/datakit-operator/certs/tls.key";

/// Where a certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// PEM files.
    Files(Pair),
    /// A certificate authority made for this process.
    Ephemeral(Names),
    /// The authority of an installation in a cluster. Until it is known, a certificate made for
    /// this process is presented: whoever doesn't verify certificates is served from the start.
    Cluster(Names, rotation::Policy),
}

/// A certificate with its key, and the authority that signed it where that was made here.
#[derive(Debug)]
pub struct Material {
    /// What the server presents.
    pub key: Arc<CertifiedKey>,
    /// When that is no longer good, where it is known.
    pub expires: Option<SystemTime>,
    /// The authorities that other replicas' certificates are from, where they are known.
    pub authorities: Vec<authority::Der>,
    /// The certificate of the ephemeral authority as PEM: what a client must trust.
    pub ca_pem: Option<String>,
    /// What a person should know although it is no reason to refuse: an expired certificate, for
    /// example.
    pub warnings: Vec<String>,
}

/// A certificate could not be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The files are unusable.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// A certificate could not be made.
    #[error(transparent)]
    Mint(#[from] MintError),
    /// The TLS library refuses its own parameters.
    #[error("failed to set up TLS")]
    Setup(#[source] rustls::Error),
    /// The authority's certificate could not be saved.
    #[error("failed to write the CA certificate to `{}`", path.display())]
    WriteCa {
        /// Where to.
        path: PathBuf,
        /// Why not.
        source: FileError,
    },
}

impl Source {
    /// The files at the default place, if there.
    ///
    /// # Errors
    ///
    /// If just one of the two exists. Serving a made-up certificate then would hide a broken mount.
    pub fn default_files() -> Result<Option<Pair>, FilesError> {
        let pair = Pair {
            cert: DEFAULT_CERT_FILE.into(),
            key: DEFAULT_KEY_FILE.into(),
        };
        Ok(pair.exists()?.then_some(pair))
    }

    /// The files, if the certificate comes from such.
    #[must_use]
    pub fn files(&self) -> Option<&Pair> {
        match self {
            Self::Files(pair) => Some(pair),
            Self::Ephemeral(_) | Self::Cluster(..) => None,
        }
    }

    /// Loads or makes the certificate.
    ///
    /// # Errors
    ///
    /// If files are missing or wrong, or the operating system has no randomness for a new key.
    pub fn load(&self) -> Result<Material, TlsError> {
        Ok(match self {
            Self::Files(pair) => pair.load(&provider::ring())?,
            Self::Ephemeral(names) | Self::Cluster(names, _) => ephemeral::mint(names)?,
        })
    }
}

/// Makes the acceptor: TLS 1.2 and 1.3, HTTP/2 preferred over HTTP/1.1. Clients may present a
/// certificate, which is how [`replicas`] know each other.
///
/// # Errors
///
/// If the TLS library refuses its own parameters; no input can cause that.
pub fn acceptor(identity: Arc<Identity>) -> Result<TlsAcceptor, TlsError> {
    let mut config =
        ServerConfig::builder_with_details(Arc::new(provider::ring()), clock::for_tls())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(TlsError::Setup)?
            .with_client_cert_verifier(replicas::AnyClient::new())
            .with_cert_resolver(identity);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Sessions aren't kept to be resumed: each would keep its client's certificates, and neither
    // API servers nor agents ever resume one.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Saves the authority's certificate so that a reader sees either nothing, the old file or the
/// whole new one.
///
/// # Errors
///
/// If the directory is missing or not writable, or there is something at the path that is no
/// regular file.
pub fn write_ca(path: &Path, pem: &str) -> Result<(), TlsError> {
    file::replace(path, pem.as_bytes()).map_err(|source| TlsError::WriteCa {
        path: path.to_owned(),
        source,
    })
}
