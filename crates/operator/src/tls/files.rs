//! Certificates from PEM files, with errors that say which file and what is wrong with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use humantime::format_rfc3339_seconds;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, InconsistentKeys, RootCertStore};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Material;
use super::authority::{Der, read_bundle};
use crate::clock;
use crate::file::{self, FileError, MAX_CERTIFICATE};

/// The name of the file with the authorities, if there is one.
const CA_FILE: &str = "ca.crt";

/// The two files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The certificate chain, the server's own certificate first.
    pub cert: PathBuf,
    /// The private key of that first certificate.
    pub key: PathBuf,
}

/// Certificate files that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// One of the default files is there without the other.
    #[error(
        "found `{}` but not `{}`; both are needed, or neither for a certificate made at start",
        found.display(), missing.display()
    )]
    Half {
        /// The file that exists.
        found: PathBuf,
        /// The file that does not.
        missing: PathBuf,
    },
    /// A file can't be read.
    #[error("failed to read the {what} file `{}`", path.display())]
    Read {
        /// `certificate` or `key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: FileError,
    },
    /// A file can be read but holds no such thing.
    #[error("found no {expected} in `{}`; expected a PEM block `{marker}`", path.display())]
    Nothing {
        /// `certificate` or `private key`.
        expected: &'static str,
        /// How such a block begins.
        marker: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The PEM frame is damaged.
    #[error("`{}` is not valid PEM: {reason}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: pem::Error,
    },
    /// The key's algorithm or encoding is not supported.
    #[error("failed to use the private key in `{}`", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What the TLS library says.
        source: rustls::Error,
    },
    /// The certificate is no valid X.509.
    #[error("failed to use the certificate in `{}`", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What the TLS library says.
        source: rustls::Error,
    },
    /// Both are fine, but not for each other.
    #[error(
        "the private key in `{}` does not belong to the first certificate in `{}`",
        key.display(), cert.display()
    )]
    Mismatch {
        /// The certificate file.
        cert: PathBuf,
        /// The key file.
        key: PathBuf,
    },
}

impl Pair {
    /// Whether both files exist.
    ///
    /// # Errors
    ///
    /// If just one of them does.
    pub(super) fn exists(&self) -> Result<bool, FilesError> {
        let half = |found: &Path, missing: &Path| {
            Err(FilesError::Half {
                found: found.to_owned(),
                missing: missing.to_owned(),
            })
        };
        match (self.cert.exists(), self.key.exists()) {
            (true, true) => Ok(true),
            (false, false) => Ok(false),
            (true, false) => half(&self.cert, &self.key),
            (false, true) => half(&self.key, &self.cert),
        }
    }

    /// Reads and checks both files.
    pub(super) fn load(&self, provider: &CryptoProvider) -> Result<Material, FilesError> {
        let chain = self.read_chain()?;
        let key = self.read_key()?;
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|source| FilesError::Key {
                path: self.key.clone(),
                source,
            })?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            // Unknown: the key can't tell its public half. Clients will find out.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(FilesError::Mismatch {
                    cert: self.cert.clone(),
                    key: self.key.clone(),
                });
            }
            Err(source) => {
                return Err(FilesError::Certificate {
                    path: self.cert.clone(),
                    source,
                });
            }
        }
        let warnings = validity_problem(&key.cert, provider)
            .map(|problem| format!("the certificate in `{}` {problem}", self.cert.display()));
        Ok(Material {
            expires: expiry(&key.cert),
            key: Arc::new(key),
            authorities: self.authorities(),
            ca_pem: None,
            warnings: warnings.into_iter().collect(),
        })
    }

    /// Where the authorities are that other replicas' certificates are from, if they are given:
    /// beside the certificate, as cert-manager puts them.
    #[must_use]
    pub fn authorities_file(&self) -> PathBuf {
        self.cert.with_file_name(CA_FILE)
    }

    fn authorities(&self) -> Vec<Der> {
        let pem = file::read_regular(&self.authorities_file(), MAX_CERTIFICATE);
        pem.map(|pem| read_bundle(&pem).0).unwrap_or_default()
    }

    fn read_chain(&self) -> Result<Vec<CertificateDer<'static>>, FilesError> {
        read_certificates("certificate", &self.cert)
    }

    fn read_key(&self) -> Result<PrivateKeyDer<'static>, FilesError> {
        let text = read("key", &self.key)?;
        PrivateKeyDer::from_pem_slice(&text).map_err(|reason| match reason {
            pem::Error::NoItemsFound => FilesError::Nothing {
                expected: "private key",
                marker: "-----BEGIN PRIVATE KEY-----",
                path: self.key.clone(),
            },
            reason => FilesError::Pem {
                path: self.key.clone(),
                reason,
            },
        })
    }
}

/// All certificates of a file, at least one.
pub(super) fn read_certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, FilesError> {
    let text = read(what, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|reason| FilesError::Pem {
        path: path.to_owned(),
        reason,
    })?;
    if found.is_empty() {
        return Err(FilesError::Nothing {
            expected: "certificate",
            marker: "-----BEGIN CERTIFICATE-----",
            path: path.to_owned(),
        });
    }
    Ok(found)
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, FilesError> {
    file::read_regular(path, MAX_CERTIFICATE).map_err(|source| FilesError::Read {
        what,
        path: path.to_owned(),
        source,
    })
}

/// Asks the TLS library, as a client would, whether the first certificate is valid now.
///
/// The library checks the dates before the signature; so whichever root it is given, a certificate
/// outside its dates is reported as such. Other findings are the client's business: it knows whom
/// it trusts.
fn validity_problem(
    chain: &[CertificateDer<'static>],
    provider: &CryptoProvider,
) -> Option<String> {
    let (leaf, rest) = chain.split_first()?;
    let mut roots = RootCertStore::empty();
    roots.add(rest.last().unwrap_or(leaf).clone()).ok()?;
    let provider = Arc::new(provider.clone());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
        .build()
        .ok()?;
    let name = ServerName::try_from("localhost").ok()?;
    let found = verifier.verify_server_cert(leaf, rest, &name, &[], clock::tls_now());
    match found {
        Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext {
            not_after,
            ..
        })) => Some(format!("expired at {}", timestamp(not_after))),
        Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
            not_before,
            ..
        })) => Some(format!("is not valid before {}", timestamp(not_before))),
        _ => None,
    }
}

/// When the first certificate is no longer good.
fn expiry(chain: &[CertificateDer<'static>]) -> Option<SystemTime> {
    let (_, leaf) = X509Certificate::from_der(chain.first()?).ok()?;
    let seconds = u64::try_from(leaf.validity().not_after.timestamp()).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn timestamp(time: UnixTime) -> String {
    let time = clock::later(UNIX_EPOCH, Duration::from_secs(time.as_secs()));
    format_rfc3339_seconds(time).to_string()
}
