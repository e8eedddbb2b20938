//! The options about the server's certificate, and where it comes from by them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;

use super::rotation::Policy;
use super::{DEFAULT_CERT_FILE, Names, Pair, Source};
use crate::values::positive_duration;

/// Where the server's certificate comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum TlsSource {
    /// Files if there are any, else the cluster when running in a pod, else ephemeral
    #[default]
    Auto,
    /// PEM files, read again when they change
    Files,
    /// The installation's own CA, kept in a Secret and registered as the webhook's caBundle
    Cluster,
    /// A CA made at start and forgotten at the end
    Ephemeral,
}

/// Options about the server's certificate.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Certificate")]
pub struct Args {
    /// Where the certificate comes from
    #[arg(long, value_name = "SOURCE", value_enum, default_value_t)]
    pub tls_source: TlsSource,

    /// Certificate chain (PEM) [default: /usr/local/datakit-operator/certs/tls.crt if it exists]
    #[arg(long, value_name = "FILE", requires = "tls_key_file")]
    pub tls_cert_file: Option<PathBuf>,

    /// Its private key (PEM) [default: tls.key beside the default certificate]
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    pub tls_key_file: Option<PathBuf>,

    /// Save the CA certificate (PEM) of an ephemeral certificate: what clients must trust
    #[arg(long, value_name = "FILE", conflicts_with = "tls_cert_file")]
    pub write_ca: Option<PathBuf>,

    /// Service in front of this process; a name in certificates made here
    #[arg(long, value_name = "NAME", default_value = "datakit-operator")]
    pub service_name: String,

    /// Namespace of that Service, and of the Secret and the Lease
    #[arg(
        long,
        value_name = "NAME",
        env = "POD_NAMESPACE",
        default_value = "datakit"
    )]
    pub service_namespace: String,

    /// A further DNS name or IP address in certificates made here (can be repeated)
    #[arg(long, value_name = "NAME")]
    pub tls_extra_name: Vec<String>,

    /// How long a CA made for the cluster is valid; it is replaced after two thirds of that
    #[arg(long, value_name = "TIME", default_value = "365d", value_parser = positive_duration)]
    pub ca_lifetime: Duration,

    /// The same for a replica's own certificate; at most a third of the CA's
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = positive_duration)]
    pub leaf_lifetime: Duration,
}

/// What is around the process that a certificate can be had from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Around {
    /// Nothing.
    Nothing,
    /// A cluster, which is looked at from outside.
    Cluster,
    /// The cluster that the process runs in.
    Pod,
}

impl TlsSource {
    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Files => "files",
            Self::Cluster => "cluster",
            Self::Ephemeral => "ephemeral",
        }
    }
}

impl Args {
    /// The names in certificates made here.
    #[must_use]
    pub fn names(&self) -> Names {
        Names {
            service: self.service_name.clone(),
            namespace: self.service_namespace.clone(),
            extra: self.tls_extra_name.clone(),
        }
    }

    /// Where the certificate comes from.
    ///
    /// # Errors
    ///
    /// If options contradict each other or files are missing; the message says what to do.
    pub fn source(&self, around: Around) -> anyhow::Result<Source> {
        let source = self.chosen(around, self.policy()?)?;
        match &source {
            Source::Files(pair) if self.write_ca.is_some() => bail!(
                "--write-ca saves the CA of a certificate made at start, but there is one in `{}`",
                pair.cert.display()
            ),
            Source::Cluster(..) if self.write_ca.is_some() => bail!(
                "--write-ca saves the CA of an ephemeral certificate; the cluster's is in its Secret, under `ca.crt`"
            ),
            _ => Ok(source),
        }
    }

    fn chosen(&self, around: Around, policy: Policy) -> anyhow::Result<Source> {
        let named = self
            .tls_cert_file
            .clone()
            .zip(self.tls_key_file.clone())
            .map(|(cert, key)| Pair { cert, key });
        match (self.tls_source, named) {
            (TlsSource::Auto | TlsSource::Files, Some(pair)) => Ok(Source::Files(pair)),
            (source, Some(_)) => bail!(
                "--tls-cert-file is used by --tls-source files, not by `{}`; leave one of them out",
                source.name()
            ),
            (TlsSource::Files, None) => match Source::default_files()? {
                Some(pair) => Ok(Source::Files(pair)),
                None => bail!(
                    "--tls-source files found none: `{DEFAULT_CERT_FILE}` does not exist; mount it, or name files \
                     with --tls-cert-file and --tls-key-file"
                ),
            },
            (TlsSource::Ephemeral, None) => Ok(Source::Ephemeral(self.names())),
            (TlsSource::Cluster, None) if around == Around::Nothing => bail!(
                "--tls-source cluster needs a cluster: name one with --kubeconfig, or run in a pod"
            ),
            (TlsSource::Cluster, None) => Ok(Source::Cluster(self.names(), policy)),
            (TlsSource::Auto, None) => Ok(match Source::default_files()? {
                Some(pair) => Source::Files(pair),
                None if around == Around::Pod => Source::Cluster(self.names(), policy),
                None => Source::Ephemeral(self.names()),
            }),
        }
    }

    fn policy(&self) -> anyhow::Result<Policy> {
        let policy = Policy {
            authority: self.ca_lifetime,
            leaf: self.leaf_lifetime,
        };
        // Certificates don't outlive their CA, which is replaced when it has a third of its time
        // left.
        if policy.leaf > policy.authority / 3 {
            bail!(
                "--leaf-lifetime is {}, more than a third of --ca-lifetime, {}; make it at most {}",
                humantime::format_duration(policy.leaf),
                humantime::format_duration(policy.authority),
                humantime::format_duration(Duration::from_secs(policy.authority.as_secs() / 3)),
            );
        }
        Ok(policy)
    }
}
