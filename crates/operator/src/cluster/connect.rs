//! Which cluster, and with whose credentials.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use kube::config::{
    InClusterError, InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError,
};
use kube::{Client, Config};

/// How long to wait for a connection to the API server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// The one this pod runs in, with the pod's service account.
    InPod,
    /// The one that kubeconfig files name in their current context. As for `kubectl`, the first
    /// file that says something counts, and files that don't exist are skipped.
    Kubeconfig(Vec<PathBuf>),
}

/// It can't be told how to reach the cluster.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig is unusable.
    #[error("failed to use the kubeconfig `{}`", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<KubeconfigError>,
    },
    /// The service account is unusable.
    #[error(
        "failed to read the pod's service account; expected a token mounted by Kubernetes (is `automountServiceAccountToken` false?)"
    )]
    InPod(#[source] Box<InClusterError>),
    /// Credentials or certificates can't be used.
    #[error("failed to prepare the connection to the API server")]
    Client(#[source] Box<kube::Error>),
    /// Anything else.
    #[error("failed to find the cluster")]
    Infer(#[source] Box<InferConfigError>),
}

/// Makes a client. It connects when it is used first, verifies the API server's certificate, and
/// reads renewed service account tokens.
///
/// # Errors
///
/// If files are missing or wrong. Whether the API server can be reached shows later.
pub async fn connect(access: &Access) -> Result<Client, ConnectError> {
    let mut config = match access {
        Access::InPod => {
            let mut config =
                Config::incluster().map_err(|error| ConnectError::InPod(Box::new(error)))?;
            // The API server is in the cluster: proxies that the environment names are for the way
            // out of it.
            config.proxy_url = None;
            config
        }
        Access::Kubeconfig(paths) => {
            let kubeconfig = read(paths)?;
            let fail = |source| ConnectError::Kubeconfig {
                path: paths.first().cloned().unwrap_or_default(),
                source: Box::new(source),
            };
            let named = has_proxy(&kubeconfig);
            let options = KubeConfigOptions::default();
            let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .map_err(fail)?;
            if !named {
                config.proxy_url = None;
            }
            config
        }
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    Client::try_from(config).map_err(|error| ConnectError::Client(Box::new(error)))
}

fn read(paths: &[PathBuf]) -> Result<Kubeconfig, ConnectError> {
    let mut merged: Option<Kubeconfig> = None;
    for path in paths {
        if paths.len() > 1 && !path.exists() {
            continue;
        }
        let fail = |source| ConnectError::Kubeconfig {
            path: path.clone(),
            source: Box::new(source),
        };
        let next = Kubeconfig::read_from(path).map_err(fail)?;
        merged = Some(match merged {
            None => next,
            Some(merged) => merged.merge(next).map_err(fail)?,
        });
    }
    Ok(merged.unwrap_or_default())
}

fn has_proxy(kubeconfig: &Kubeconfig) -> bool {
    let clusters = kubeconfig.clusters.iter();
    let mut clusters = clusters.filter_map(|named| named.cluster.as_ref());
    clusters.any(|cluster| cluster.proxy_url.is_some())
}

impl fmt::Display for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InPod => formatter.write_str("the pod's service account"),
            Self::Kubeconfig(paths) => {
                let mut separator = "";
                for path in paths {
                    write!(formatter, "{separator}{}", path.display())?;
                    separator = ", ";
                }
                Ok(())
            }
        }
    }
}
