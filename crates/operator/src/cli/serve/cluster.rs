//! The options of `serve` about the cluster it runs in, and the certificate that depends on it.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;

use super::super::Usage;
use crate::app;
use crate::cluster::{Access, certificates, lease};
use crate::tls::rotation::Policy;
use crate::tls::{Names, Pair, Source};
use crate::values::{lease_duration, positive_duration};

/// The variable by which a process knows that it runs in a Kubernetes cluster.
const ENV_IN_CLUSTER: &str = "KUBERNETES_SERVICE_HOST";
/// The pod's name, from the downward API.
const ENV_POD_NAME: &str = "POD_NAME";
/// The pod's address, from the downward API.
const ENV_POD_IP: &str = "POD_IP";

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
#[command(next_help_heading = "Certificate")]
pub struct CertificateArgs {
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

/// Options about the cluster.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArgs {
    /// Cluster to work with, from a desk; in a pod it is the pod's own
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub kubeconfig: Option<OsString>,

    /// MutatingWebhookConfiguration whose caBundle is kept right [default: SERVICE_NAME-mutation]
    #[arg(long, value_name = "NAME")]
    pub webhook_configuration: Option<String>,

    /// Secret with the CA [default: SERVICE_NAME-ca]
    #[arg(long, value_name = "NAME")]
    pub ca_secret: Option<String>,

    /// Lease that elects the replica which decides for all [default: SERVICE_NAME, in a pod or with --tls-source cluster;
    /// elsewhere none, and this process decides alone]
    #[arg(long, value_name = "NAME")]
    pub lease: Option<String>,

    /// How long the others wait for a holder of the Lease that says nothing
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = lease_duration)]
    pub lease_duration: Duration,
}

/// What these options come to.
pub(super) struct Resolved {
    pub(super) tls: Source,
    pub(super) names: Names,
    pub(super) cluster: Option<app::Cluster>,
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

/// Whether this process runs in a pod.
pub(super) fn in_pod() -> bool {
    std::env::var_os(ENV_IN_CLUSTER).is_some_and(|host| !host.is_empty())
}

/// Works out where certificate and cluster are. `listen` is where other replicas will reach this one.
///
/// # Errors
///
/// If options contradict each other or files are missing; the message says what to do.
pub(super) fn resolve(
    certificate: &CertificateArgs,
    cluster: &ClusterArgs,
    listen: SocketAddr,
) -> Result<Resolved, Usage> {
    let access = access(cluster, in_pod());
    let names = Names {
        service: certificate.service_name.clone(),
        namespace: certificate.service_namespace.clone(),
        extra: certificate.tls_extra_name.clone(),
    };
    let policy = policy(certificate)?;
    let tls = source(certificate, access.as_ref(), names.clone(), policy)?;
    if let (Some(pair), Some(_)) = (tls.files(), &certificate.write_ca) {
        let place = pair.cert.display();
        return Err(usage(format!(
            "--write-ca saves the CA of a certificate made at start, but there is one in `{place}`"
        )));
    }
    if let (Source::Cluster(..), Some(_)) = (&tls, &certificate.write_ca) {
        return Err(usage(
            "--write-ca saves the CA of an ephemeral certificate; the cluster's is in its Secret, under `ca.crt`"
                .to_owned(),
        ));
    }
    let named = |name: &Option<String>, suffix: &str| match name {
        Some(name) => name.clone(),
        None => format!("{}{suffix}", certificate.service_name),
    };
    let managed = matches!(tls, Source::Cluster(..));
    let namespace = &certificate.service_namespace;
    // From a desk, with a certificate of its own, a process only looks, unless it is told which Lease is its own.
    let takes_part = managed || access == Some(Access::InPod) || cluster.lease.is_some();
    let cluster = access.map(|access| app::Cluster {
        access,
        lease: takes_part.then(|| lease::Settings {
            namespace: namespace.clone(),
            name: named(&cluster.lease, ""),
            identity: lease::identity(std::env::var(ENV_POD_NAME).ok()),
            address: pod_address(listen),
            keeps_certificates: managed,
            duration: cluster.lease_duration,
        }),
        certificates: managed.then(|| certificates::Settings {
            namespace: namespace.clone(),
            secret: named(&cluster.ca_secret, "-ca"),
            webhook: named(&cluster.webhook_configuration, "-mutation"),
            names: names.clone(),
            policy,
        }),
    });
    Ok(Resolved {
        tls,
        names,
        cluster,
    })
}

fn access(args: &ClusterArgs, in_pod: bool) -> Option<Access> {
    match &args.kubeconfig {
        Some(path) if !path.is_empty() => {
            let files = std::env::split_paths(path).collect();
            Some(Access::Kubeconfig(files))
        }
        _ => in_pod.then_some(Access::InPod),
    }
}

fn source(
    args: &CertificateArgs,
    access: Option<&Access>,
    names: Names,
    policy: Policy,
) -> Result<Source, Usage> {
    let named = args
        .tls_cert_file
        .clone()
        .zip(args.tls_key_file.clone())
        .map(|(cert, key)| Pair { cert, key });
    let default = || Source::default_files().map_err(|error| Usage::from(anyhow!(error)));
    match (args.tls_source, named) {
        (TlsSource::Auto | TlsSource::Files, Some(pair)) => Ok(Source::Files(pair)),
        (source, Some(_)) => Err(usage(format!(
            "--tls-cert-file is used by --tls-source files, not by `{}`; leave one of them out",
            source.name()
        ))),
        (TlsSource::Files, None) => default()?.map(Source::Files).ok_or_else(|| {
            usage(format!(
                "--tls-source files found none: `{}` does not exist; mount it, or name files with --tls-cert-file and --tls-key-file",
                crate::tls::DEFAULT_CERT_FILE
            ))
        }),
        (TlsSource::Ephemeral, None) => Ok(Source::Ephemeral(names)),
        (TlsSource::Cluster, None) if access.is_none() => Err(usage(
            "--tls-source cluster needs a cluster: name one with --kubeconfig, or run in a pod"
                .to_owned(),
        )),
        (TlsSource::Cluster, None) => Ok(Source::Cluster(names, policy)),
        (TlsSource::Auto, None) => Ok(match default()? {
            Some(pair) => Source::Files(pair),
            None if access == Some(&Access::InPod) => Source::Cluster(names, policy),
            None => Source::Ephemeral(names),
        }),
    }
}

fn policy(args: &CertificateArgs) -> Result<Policy, Usage> {
    let policy = Policy {
        authority: args.ca_lifetime,
        leaf: args.leaf_lifetime,
    };
    // Certificates don't outlive their CA, which is replaced when it has a third of its time left.
    if policy.leaf > policy.authority / 3 {
        return Err(usage(format!(
            "--leaf-lifetime is {}, more than a third of --ca-lifetime, {}; make it at most {}",
            humantime::format_duration(policy.leaf),
            humantime::format_duration(policy.authority),
            humantime::format_duration(Duration::from_secs(policy.authority.as_secs() / 3)),
        )));
    }
    Ok(policy)
}

/// Where other replicas reach this one.
fn pod_address(listen: SocketAddr) -> Option<String> {
    let address: IpAddr = std::env::var(ENV_POD_IP).ok()?.parse().ok()?;
    Some(SocketAddr::new(address, listen.port()).to_string())
}

fn usage(message: String) -> Usage {
    Usage::from(anyhow!(message))
}
