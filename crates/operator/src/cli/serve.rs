//! `datakit-operator serve`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use datakit_operator_core::config::LogLevel;
use datakit_operator_core::inject::ReviewContext;
use datakit_operator_core::version::KubernetesVersion;
use tracing::Level;

use super::source::{Loaded, Source};
use super::{EXIT_FAILURE, EXIT_OK, Streams, Usage, version};
use crate::app::{
    self, Build, ConfigFile, Configuration, Ended, Operator, Settings, StartError, log_diagnostics,
};
use crate::cluster::{self, Access};
use crate::election;
use crate::error::Chain;
use crate::file;
use crate::http::{body, status, webhook};
use crate::listen;
use crate::telemetry::{self, Format};
use crate::tls::args::Around;
use crate::tls::{self, TlsError};
use crate::values::duration;

/// The port of probes and metrics.
const PROBE_PORT: u16 = 9544;
/// More worker threads than this gain nothing: a core does tens of thousands of reviews a second.
const MAX_DEFAULT_WORKERS: usize = 4;
/// How long the last log lines may take at the end.
const LAST_FLUSH: Duration = Duration::from_secs(1);
/// The same after a second signal, which asks for haste.
const HASTY_FLUSH: Duration = Duration::from_millis(100);

/// Options of `serve`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Configuration file (JSON) [default: what the environment says, see below]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Address of the HTTPS server [default: `server_listen` of the configuration]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,

    /// Address of the plain HTTP server for /healthz, /readyz, /metrics and /status
    /// [default: 127.0.0.1:9544, in a cluster 0.0.0.0:9544]
    #[arg(long, value_name = "ADDR:PORT")]
    pub probe_listen: Option<SocketAddr>,

    /// How log lines look: `text` (key=value) or `json`
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub log_format: Format,

    /// Version of the cluster's API server, for what depends on it (native sidecars for Jobs)
    /// [default: asked from the cluster, if there is one]
    #[arg(long, value_name = "VERSION")]
    pub kubernetes_version: Option<KubernetesVersion>,

    /// Threads that serve requests [default: one per core, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub workers: Option<u16>,

    /// How long to go on as before after a signal to end, while clients learn to go elsewhere
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    pub shutdown_delay: Duration,

    /// How long requests in flight may take to finish then
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration)]
    pub grace_period: Duration,

    /// Certificate options.
    #[command(flatten)]
    pub certificate: tls::args::Args,

    /// Cluster options.
    #[command(flatten)]
    pub cluster: cluster::args::Args,

    /// The option about the status page.
    #[command(flatten)]
    pub status: status::Args,

    /// Task election options.
    #[command(flatten)]
    pub election: election::Args,

    /// Options about clients that prove who they are.
    #[command(flatten)]
    pub clients: webhook::args::Args,

    /// Options about the Pod API.
    #[command(flatten)]
    pub pods: app::pods::Args,

    /// Limits on memory. Times are like 250ms, 10s, 2m; sizes like 512, 16KiB, 6MiB.
    #[command(flatten)]
    pub memory: app::memory::Args,

    /// Limits on connections.
    #[command(flatten)]
    pub connections: listen::args::Args,

    /// Limits on bodies.
    #[command(flatten)]
    pub bodies: body::args::Args,
}

const AFTER_HELP: &str = "\
Examples:
  datakit-operator serve --write-ca ca.pem
      runs outside a cluster; then: curl --cacert ca.pem https://localhost:9543/ping
  datakit-operator serve --config config.json --tls-cert-file tls.crt --tls-key-file tls.key
  datakit-operator serve --log-format json --listen '[::]:9543'
  datakit-operator serve --kubeconfig ~/.kube/config --tls-source cluster --tls-extra-name dev.example
      from a desk, for a webhook that is registered with the URL https://dev.example:9543/v1/webhooks/inject

Environment:
  ENV_CONFIG_FILE          configuration file, if --config is not given
  ENV_JSON_CONFIG          the configuration itself, if ENV_CONFIG_FILE is not set either; set but
                           blank means an empty configuration; not set means the documented default
  ENV_LOG_LEVEL, ENV_SERVER_LISTEN
                           deprecated; override `log_level` and `server_listen`
  ENV_DD_AGENT_HOST, ENV_DD_TRACE_AGENT_PORT, ENV_DD_JAVA_AGENT_IMAGE, ENV_DD_PYTHON_AGENT_IMAGE,
  ENV_DD_JS_AGENT_IMAGE, ENV_LOGFWD_IMAGE
                           deprecated; override their counterparts in the configuration
  KUBERNETES_SERVICE_HOST  set in every pod: probes are then served on all addresses, and the certificate is
                           that of the installation's CA unless there are files
  POD_NAME, POD_IP         the name of this replica, and the address at which others reach it

Signals:
  SIGTERM, SIGINT, SIGQUIT not ready any more, finishes requests in flight, then exits
  a second one             exits at once
  SIGHUP                   looks at once whether the files of configuration and certificate have changed, which it
                           does every two seconds anyway
  SIGUSR1, SIGUSR2         nothing

Exit codes:
  0    ended by a signal, after finishing
  1    could not start, for example because the port is in use; or a bug ended it
  2    wrong command line, configuration or certificate
  130, 131, 143
       ended at once by a second SIGINT, SIGQUIT or SIGTERM";

/// Runs the webhook until a signal comes.
pub fn run(args: &Args, _streams: &mut Streams<'_>) -> anyhow::Result<u8> {
    let started = Instant::now();
    let source = Source::choose(args.config.as_deref())?;
    let file = config_file(&source);
    let Loaded {
        config,
        fingerprint,
        diagnostics,
    } = source.load_to_serve()?;
    let settings = settings(args, config.server_listen)?;
    let level = level(config.log_level);
    let log = telemetry::start_logging(args.log_format, level, Box::new(std::io::stderr()));
    log_diagnostics(&diagnostics);
    let configuration = Configuration {
        config,
        origin: source.to_string(),
        diagnostics,
        fingerprint,
        file,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers(args))
        .thread_name("worker")
        .enable_all()
        .build()
        .context("failed to start worker threads")?;
    let result = runtime.block_on(async {
        let operator = Operator::start(configuration, settings, log.clone(), started).await?;
        Ok::<_, StartError>(operator.run().await)
    });
    runtime.shutdown_background();
    let hasty = matches!(result, Ok(Ended::Forced(_)));
    log.flush(if hasty { HASTY_FLUSH } else { LAST_FLUSH });
    match result {
        Ok(Ended::Drained) => Ok(EXIT_OK),
        Ok(Ended::Forced(stop)) => Ok(stop.exit_code()),
        Ok(Ended::Broken) => Ok(EXIT_FAILURE),
        Err(StartError::Tls(error @ TlsError::Files(_))) => {
            Err(Usage::from(anyhow::Error::from(error)).into())
        }
        Err(StartError::Cluster(error)) => Err(Usage::from(anyhow::Error::from(error)).into()),
        Err(error) => Err(error.into()),
    }
}

/// How to read the configuration again, if it is in a file.
fn config_file(source: &Source) -> Option<ConfigFile> {
    let Source::File(path) = source else {
        return None;
    };
    let source = source.clone();
    Some(ConfigFile {
        path: path.clone(),
        bytes: file::read_regular(path, file::MAX_CONFIG).ok(),
        read: Box::new(move || {
            let loaded = source.load_again();
            let loaded = loaded.map_err(|error| Chain(&error).to_string())?;
            Ok((loaded.config, loaded.fingerprint, loaded.diagnostics))
        }),
    })
}

fn settings(args: &Args, configured_listen: SocketAddr) -> Result<Settings, Usage> {
    let listen = args.listen.unwrap_or(configured_listen);
    let access = args.cluster.access();
    let around = match &access {
        None => Around::Nothing,
        Some(Access::Kubeconfig(_)) => Around::Cluster,
        Some(Access::InPod) => Around::Pod,
    };
    let tls = args.certificate.source(around)?;
    let cluster = access.map(|access| {
        let certificate = &args.certificate;
        args.cluster.settings(access, certificate, &tls, listen)
    });
    let container = app::memory::container_limit();
    let shares = args.memory.share_out(
        args.connections.max_connections,
        args.bodies.max_body_size,
        args.pods.beside(container),
    )?;
    let pods = args.pods.settings(
        cluster.is_some(),
        args.certificate.names().namespace,
        container,
        shares.total(),
    )?;
    Ok(Settings {
        listen,
        probe_listen: args.probe_listen.unwrap_or_else(default_probe_listen),
        tls,
        write_ca: args.certificate.write_ca.clone(),
        limits: args.connections.limits(shares.connections),
        bodies: args.bodies.limits(shares.body),
        memory: shares.memory,
        review_threads: shares.review_threads,
        clients: app::Clients {
            ca_file: args.clients.client_ca_file.clone(),
            reviews: args.clients.access(),
        },
        shutdown_delay: args.shutdown_delay,
        grace_period: args.grace_period,
        context: ReviewContext {
            kubernetes_version: args.kubernetes_version,
            ..ReviewContext::default()
        },
        names: args.certificate.names(),
        election: args.election.tasks(),
        senders: args.election.senders(),
        audiences: args.election.election_audience.clone(),
        pods,
        status_page: args.status.status_page,
        cluster,
        build: Build {
            version: version::VERSION,
            commit: version::COMMIT,
        },
    })
}

/// In a pod the kubelet and the scraper come from outside; on a developer's machine nobody else
/// should.
fn default_probe_listen() -> SocketAddr {
    let address = if cluster::args::in_pod() {
        Ipv4Addr::UNSPECIFIED
    } else {
        Ipv4Addr::LOCALHOST
    };
    SocketAddr::new(IpAddr::V4(address), PROBE_PORT)
}

fn workers(args: &Args) -> usize {
    args.workers.map_or_else(default_workers, usize::from)
}

fn default_workers() -> usize {
    std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(MAX_DEFAULT_WORKERS)
}

fn level(level: LogLevel) -> Level {
    match level {
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Info => Level::INFO,
        LogLevel::Warn => Level::WARN,
        LogLevel::Error => Level::ERROR,
    }
}
