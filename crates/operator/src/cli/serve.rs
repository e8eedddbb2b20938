//! `datakit-operator serve`.

mod cluster;
mod memory;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use datakit_operator_core::config::LogLevel;
use datakit_operator_core::inject::ReviewContext;
use datakit_operator_core::version::KubernetesVersion;
use tracing::Level;

use self::cluster::Resolved;
pub use self::cluster::{CertificateArgs, ClusterArgs, TlsSource};
use super::source::{Loaded, Source};
use super::{EXIT_FAILURE, EXIT_OK, Streams, Usage, version};
use crate::app::{
    self, Build, ConfigFile, Configuration, Ended, Operator, Settings, StartError, log_diagnostics,
};
use crate::election;
use crate::error::Chain;
use crate::file;
use crate::http::body;
use crate::http::webhook::Access;
use crate::listen;
use crate::telemetry::{self, Format};
use crate::tls::TlsError;
use crate::values::{bytes, duration, header_bytes, positive_duration};

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

    /// Address of the plain HTTP server for /healthz, /readyz and /metrics
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

    /// Version of the cluster's API server, for what depends on it (native sidecars for Jobs) [default: asked from
    /// the cluster, if there is one]
    #[arg(long, value_name = "VERSION")]
    pub kubernetes_version: Option<KubernetesVersion>,

    /// Threads that serve requests [default: one per core, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub workers: Option<u16>,

    /// Threads for large reviews, beside those, at 10MiB each of the memory budget [default: 2, or 1 with little memory]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub review_threads: Option<u16>,

    /// How long to go on as before after a signal to end, while clients learn to go elsewhere
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    pub shutdown_delay: Duration,

    /// How long requests in flight may take to finish then
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration)]
    pub grace_period: Duration,

    /// Certificate options.
    #[command(flatten)]
    pub certificate: CertificateArgs,

    /// Cluster options.
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// Task election options.
    #[command(flatten)]
    pub election: election::Args,

    /// Options about clients that prove who they are.
    #[command(flatten)]
    pub clients: ClientArgs,

    /// Limit options.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Options about clients that prove who they are.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Clients")]
pub struct ClientArgs {
    /// Authorities (PEM) of clients' certificates: of the API server's, where it presents one, and of agents'. Who has one is
    /// cut off last when places or memory are short
    #[arg(long, value_name = "FILE")]
    pub client_ca_file: Option<PathBuf>,

    /// Review pods only for clients with a certificate of these authorities
    #[arg(long, requires = "client_ca_file")]
    pub require_client_certificate: bool,

    /// A name that the certificate must be for then: common name, DNS name, e-mail address or URI (can be repeated)
    /// [default: any]
    #[arg(long, value_name = "NAME", requires = "require_client_certificate")]
    pub review_client: Vec<String>,
}

/// What clients of the HTTPS server may do. Times are like 250ms, 10s, 2m; sizes like 512, 16KiB, 6MiB.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Limits on clients")]
pub struct LimitArgs {
    /// Connections at once; when all are taken, an idle or slow one makes room [default: 768, or fewer if they would take
    /// more than half of the memory budget that threads leave, at 32KiB each]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: Option<u32>,

    /// Requests at once on one HTTP/2 connection
    #[arg(long, value_name = "N", default_value = "128", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_streams: u32,

    /// Size of a request's headers
    #[arg(long, value_name = "SIZE", default_value = "16KiB", value_parser = header_bytes)]
    pub max_header_size: u32,

    /// Size of a request's body [default: 6MiB, or less if the memory budget has no room for such a review]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub max_body_size: Option<usize>,

    /// Memory that clients may make the process use: connections, requests, reviews, answers [default: five eighths
    /// of the container's memory limit, or 80MiB if there is none]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub memory_budget: Option<usize>,

    /// Was once a limit on bodies alone.
    #[arg(long, hide = true, value_name = "SIZE", value_parser = replaced_by_memory_budget)]
    pub max_buffered_size: Option<usize>,

    /// Time for a TLS handshake
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = positive_duration)]
    pub handshake_timeout: Duration,

    /// Time for the headers of an HTTP/1.1 request, and so for an idle HTTP/1.1 connection, of which API servers keep
    /// theirs for 90s
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = positive_duration)]
    pub header_timeout: Duration,

    /// Time for a whole body
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = positive_duration)]
    pub body_timeout: Duration,

    /// Bytes of a body that must arrive a second, as the mean of each two seconds
    #[arg(long, value_name = "SIZE", default_value = "16KiB", value_parser = bytes)]
    pub min_body_rate: usize,

    /// Time for a client to take a whole answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = positive_duration)]
    pub answer_timeout: Duration,

    /// Time after which a connection without requests is closed
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = positive_duration)]
    pub idle_timeout: Duration,

    /// Pause between HTTP/2 pings
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = positive_duration)]
    pub ping_interval: Duration,

    /// Time for the answer to a ping
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = positive_duration)]
    pub ping_timeout: Duration,
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
        diagnostics,
    } = source.load_to_serve()?;
    let settings = settings(args, config.server_listen)?;
    let level = level(config.log_level);
    let log = telemetry::start_logging(args.log_format, level, Box::new(std::io::stderr()));
    log_diagnostics(&diagnostics);
    let configuration = Configuration { config, file };
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
            Ok((loaded.config, loaded.diagnostics))
        }),
    })
}

fn settings(args: &Args, configured_listen: SocketAddr) -> anyhow::Result<Settings> {
    let listen = args.listen.unwrap_or(configured_listen);
    let Resolved {
        tls,
        names,
        cluster,
    } = cluster::resolve(&args.certificate, &args.cluster, listen)?;
    let limits = &args.limits;
    let shares = memory::share_out(limits, args.review_threads, memory::container_limit())?;
    Ok(Settings {
        listen,
        probe_listen: args.probe_listen.unwrap_or_else(default_probe_listen),
        tls,
        write_ca: args.certificate.write_ca.clone(),
        limits: listen::Limits {
            connections: shares.connections,
            streams: limits.max_streams,
            header_bytes: limits.max_header_size,
            handshake: limits.handshake_timeout,
            headers: limits.header_timeout,
            idle: limits.idle_timeout,
            answer: limits.answer_timeout,
            ping_interval: limits.ping_interval,
            ping_timeout: limits.ping_timeout,
        },
        bodies: body::Limits {
            bytes: shares.body,
            time: limits.body_timeout,
            rate: limits.min_body_rate,
        },
        memory: shares.memory,
        review_threads: shares.review_threads,
        clients: app::Clients {
            ca_file: args.clients.client_ca_file.clone(),
            reviews: match args.clients.require_client_certificate {
                true => Access::Authenticated(args.clients.review_client.clone()),
                false => Access::Everybody,
            },
        },
        shutdown_delay: args.shutdown_delay,
        grace_period: args.grace_period,
        context: ReviewContext {
            kubernetes_version: args.kubernetes_version,
            ..ReviewContext::default()
        },
        names,
        election: args.election.tasks(),
        senders: args.election.senders(),
        audiences: args.election.election_audience.clone(),
        cluster,
        build: Build {
            version: version::VERSION,
            commit: version::COMMIT,
        },
    })
}

/// In a pod the kubelet and the scraper come from outside; on a developer's machine nobody else should.
fn default_probe_listen() -> SocketAddr {
    let address = if cluster::in_pod() {
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

fn replaced_by_memory_budget(_: &str) -> Result<usize, String> {
    Err("replaced by --memory-budget, which covers everything that clients may make the process keep".to_owned())
}

fn level(level: LogLevel) -> Level {
    match level {
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Info => Level::INFO,
        LogLevel::Warn => Level::WARN,
        LogLevel::Error => Level::ERROR,
    }
}
