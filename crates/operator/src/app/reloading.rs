//! What is read again while the process runs: the configuration and the certificate, where they are
//! files.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use datakit_operator_core::config::{Config, Fingerprint};
use datakit_operator_core::diagnostic::{Diagnostic, Severity};
use datakit_operator_core::inject::{Engine, EngineIdentity};

use super::Shared;
use crate::clock;
use crate::error::Chain;
use crate::reload;
use crate::telemetry::cluster::Certificate;
use crate::tls;
use crate::tls::clients::Clients;

/// The configuration in use, and how to read it again.
pub struct Configuration {
    /// What it says.
    pub config: Config,
    /// Where it is from, for people.
    pub origin: String,
    /// What is doubtful about it.
    pub diagnostics: Vec<Diagnostic>,
    /// What tells its document from others.
    pub fingerprint: Fingerprint,
    /// The file it is in, if it is in one.
    pub file: Option<ConfigFile>,
}

/// Reads a configuration again. The error says everything.
pub type ReadConfig =
    Box<dyn Fn() -> Result<(Config, Fingerprint, Vec<Diagnostic>), String> + Send>;

/// A configuration file.
pub struct ConfigFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes when `config` was read from it.
    pub bytes: Option<Vec<u8>>,
    /// Reads it again.
    pub read: ReadConfig,
}

impl fmt::Debug for Configuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Configuration(…)")
    }
}

/// The certificate's files, and their bytes before they are loaded: a change in between is then
/// seen as one.
pub(super) fn certificate_seen(pair: &tls::Pair) -> (tls::Pair, Vec<PathBuf>, reload::Contents) {
    let paths = vec![pair.cert.clone(), pair.key.clone(), pair.authorities_file()];
    let seen = reload::contents(&paths);
    (pair.clone(), paths, seen)
}

/// Takes changed certificate files into use.
pub(super) fn certificate(pair: tls::Pair, shared: &Shared) -> impl FnMut() -> bool + Send + use<> {
    let identity = Arc::clone(&shared.identity);
    let replicas = Arc::clone(&shared.replicas);
    let metrics = Arc::clone(&shared.metrics);
    let mut said = String::new();
    let source = tls::Source::Files(pair);
    move || match source.load() {
        Ok(material) => {
            identity.replace(material.key);
            replicas.trust(&material.authorities);
            if let Some(expires) = material.expires {
                metrics.cluster.expires(Certificate::Leaf, expires);
            }
            for warning in &material.warnings {
                tracing::warn!("{warning}");
            }
            metrics.parts.well("certificate", "of files");
            tracing::info!("presenting the certificate that has changed on disk");
            said.clear();
            true
        }
        Err(error) => {
            let text = error.to_string();
            if said != text {
                let error: &(dyn std::error::Error + 'static) = &error;
                let remedy = "mend the files; the certificate before is presented meanwhile";
                metrics
                    .parts
                    .failing("certificate", Chain(error).to_string(), remedy);
                tracing::error!(
                    error,
                    "the certificate has changed on disk but can't be used; presenting the one before"
                );
                said = text;
            }
            false
        }
    }
}

/// Takes a changed file with the authorities of clients into use.
pub(super) fn clients(clients: Arc<Clients>) -> impl FnMut() -> bool + Send {
    let mut said = String::new();
    move || match clients.reload() {
        Ok(()) => {
            tracing::info!("recognising clients by the authorities that have changed on disk");
            said.clear();
            true
        }
        Err(error) => {
            let text = error.to_string();
            if said != text {
                let error: &(dyn std::error::Error + 'static) = &error;
                tracing::error!(
                    error,
                    "the authorities of clients have changed on disk but can't be used; going on with those before"
                );
                said = text;
            }
            false
        }
    }
}

/// Takes a changed configuration file into use.
pub(super) fn config(
    read: ReadConfig,
    origin: String,
    version: &'static str,
    shared: &Shared,
) -> impl FnMut() -> bool + Send + use<> {
    let reviewing = Arc::clone(&shared.reviewing);
    let configured = Arc::clone(&shared.configured);
    let metrics = Arc::clone(&shared.metrics);
    let mut said = String::new();
    move || match read() {
        Ok((config, fingerprint, diagnostics)) => {
            log_diagnostics(&diagnostics);
            let identity = EngineIdentity {
                version,
                config: fingerprint,
            };
            reviewing.replace_engine(Engine::new(&config).identified(identity));
            configured.take(&origin, fingerprint, &config, &diagnostics);
            metrics.reloads.taken(clock::since_1970(), fingerprint);
            metrics.parts.well("configuration", "as it changed last");
            tracing::info!(
                config = %fingerprint,
                "took over the changed configuration; `log_level` and `server_listen` wait for the next start"
            );
            said.clear();
            true
        }
        Err(error) => {
            if said != error {
                metrics.reloads.refused();
                configured.refuse(&error);
                let remedy = "mend the file; the configuration before counts meanwhile";
                metrics
                    .parts
                    .failing("configuration", error.as_str(), remedy);
                tracing::error!(
                    cause = error,
                    "the configuration has changed but can't be used; going on with the one before"
                );
                said = error;
            }
            false
        }
    }
}

/// Logs what is doubtful about a configuration.
pub fn log_diagnostics(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        match diagnostic.severity {
            Severity::Warning => tracing::warn!("configuration: {diagnostic}"),
            Severity::Error => tracing::error!("configuration: {diagnostic}"),
        }
    }
}
