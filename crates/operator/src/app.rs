//! The composition root: builds the parts of a running operator, and ends them in order.

mod member;
pub mod memory;
mod missed;
pub mod pods;
mod reloading;
mod signals;
mod tasks;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datakit_operator_core::config::Fingerprint;
use datakit_operator_core::election::tasks::Settings as TaskSettings;
use datakit_operator_core::inject::{Engine, EngineIdentity, ReviewContext};
use tokio::time::sleep;

use self::member::{LeaseTask, Member};
use self::memory::MemoryLimits;
pub use self::reloading::{ConfigFile, Configuration, ReadConfig, log_diagnostics};
use self::signals::Signals;
pub use self::signals::Stop;
use self::tasks::Tasks;
use crate::access::tokens::{Reviewer, Tokens};
use crate::clock;
use crate::cluster::leaders::LeaseStore;
use crate::cluster::tokens::TokenReviews;
use crate::cluster::{self, ConnectError, lease};
use crate::election::forward::Forwarder;
use crate::election::leaders::{InMemory, Leaders, Store};
use crate::election::senders::{self, Senders};
use crate::election::{Coordination, Coordinator};
use crate::http::body;
use crate::http::election::Election;
use crate::http::logging::LoggingRoute;
use crate::http::metrics::MetricsRoute;
use crate::http::pool::Pool;
use crate::http::probes::Probes;
use crate::http::routes::Routes;
use crate::http::status::{self, Status};
use crate::http::webhook::{Access, INJECT_PATH, Webhook};
use crate::listen::{self, Apart, BindError, Bound, Memory, Running, Transport};
use crate::reload;
use crate::state::pods::Pods;
use crate::state::{
    Configured, Decisions, Handover, Logging, Missed, Outlets, Phase, Readiness, Reviewing,
};
use crate::telemetry::Sink;
use crate::telemetry::cluster::Certificate;
use crate::telemetry::metrics::{MemoryLevel, Metrics};
use crate::tls::callers::Callers;
use crate::tls::replicas::Replicas;
use crate::tls::{self, Identity, TlsError};

/// The memory for those who ask for probes and metrics, in bytes: some hundred pages of metrics.
const PROBE_MEMORY: usize = 4 << 20;

/// Everything about a process that is not about pods.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the HTTPS server listens.
    pub listen: SocketAddr,
    /// Where probes and metrics are served in the clear.
    pub probe_listen: SocketAddr,
    /// Where the certificate comes from.
    pub tls: tls::Source,
    /// Where to save the certificate of an ephemeral authority.
    pub write_ca: Option<PathBuf>,
    /// What clients of the HTTPS server may do.
    pub limits: listen::Limits,
    /// What their request bodies may be.
    pub bodies: body::Limits,
    /// How much memory they may make the process use.
    pub memory: MemoryLimits,
    /// Threads for large reviews.
    pub review_threads: usize,
    /// Who the clients are, and what for.
    pub clients: Clients,
    /// How long to go on serving as before after the signal to end, while clients learn to go
    /// elsewhere.
    pub shutdown_delay: Duration,
    /// How long requests in flight may take to finish at the end.
    pub grace_period: Duration,
    /// The names under which this process is reached.
    pub names: tls::Names,
    /// How task election behaves.
    pub election: TaskSettings,
    /// Whom it hears.
    pub senders: senders::Settings,
    /// For whom the tokens of agents must be made; empty: for the API server.
    pub audiences: Vec<String>,
    /// The Pod API, if there is to be one.
    pub pods: Option<pods::Settings>,
    /// What is known of the cluster.
    pub context: ReviewContext,
    /// Who may see the status page.
    pub status_page: status::Access,
    /// The cluster, if there is one.
    pub cluster: Option<cluster::Settings>,
    /// Labels of the build, for metrics and the log.
    pub build: Build,
}

/// What clients' certificates are for, beside those of replicas.
#[derive(Clone, Debug)]
pub struct Clients {
    /// PEM file with the authorities that clients have theirs from, if they are to have any.
    pub ca_file: Option<PathBuf>,
    /// Who may have pods reviewed.
    pub reviews: Access,
}

/// Which program this is.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// The version.
    pub version: &'static str,
    /// The commit.
    pub commit: &'static str,
}

/// The operator could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is not to be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// There is no usable certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// It can't be told how to reach the cluster that certificates are to be managed in.
    #[error(transparent)]
    Cluster(#[from] ConnectError),
    /// The operating system has no more threads.
    #[error("failed to start threads")]
    Threads(#[source] std::io::Error),
    /// The operating system refuses to deliver signals.
    #[error("failed to listen for signals")]
    Signals(#[source] std::io::Error),
}

/// How the operator ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to, and everything in flight was answered or ran out of time.
    Drained,
    /// It was asked a second time, by this signal, and stopped at once.
    Forced(Stop),
    /// A listener died, which is a bug.
    Broken,
}

/// A running operator.
#[derive(Debug)]
pub struct Operator {
    webhook: Running,
    probes: Running,
    readiness: Readiness,
    shutdown_delay: Duration,
    grace_period: Duration,
    signals: Signals,
    lease: Option<LeaseTask>,
    /// Ended by dropping them.
    _tasks: Tasks,
    /// The same; one serves the probes, the other watches pods.
    _apart: (Apart, Option<Apart>),
}

impl Operator {
    /// Starts everything. When this returns, the webhook answers.
    ///
    /// # Errors
    ///
    /// If an address is taken, there is no usable certificate, or a cluster is needed and can't be
    /// found. A cluster that doesn't answer is no error.
    pub async fn start(
        configuration: Configuration,
        settings: Settings,
        log: Sink,
        started: Instant,
    ) -> Result<Self, StartError> {
        // First of all: a signal that comes while starting must not be lost.
        let signals = Signals::subscribe().map_err(StartError::Signals)?;
        let metrics = Arc::new(Metrics::new(settings.build.version, settings.build.commit));
        let fingerprint = configuration.fingerprint;
        metrics.reloads.begin(clock::since_1970(), fingerprint);
        let mut tasks = Tasks::default();
        metrics
            .parts
            .well("configuration", "as it was at the start");
        let certificate = settings.tls.files().map(reloading::certificate_seen);
        let material = settings.tls.load()?;
        let clients = known_clients(&settings, &mut tasks)?;
        tell(&material, &settings, &metrics)?;
        metrics.parts.well("certificate", source_of(&settings.tls));
        let client = connect(&settings).await?;
        let identity = Arc::new(Identity::new(material.key));
        let acceptor = tls::acceptor(Arc::clone(&identity))?;
        let webhook = Bound::bind(settings.listen).await?;
        let apart = Apart::start("probes").map_err(StartError::Threads)?;
        let probes = apart.bind(settings.probe_listen).await?;
        let pool = Pool::start(settings.review_threads).map_err(StartError::Threads)?;

        let replicas = Arc::new(Replicas::new(Arc::clone(&identity), &settings.names));
        replicas.trust(&material.authorities);
        let (incidents, to_tell) = member::incidents(&settings, &metrics);
        let shared = Shared {
            readiness: Readiness::default(),
            reviewing: Arc::new(Reviewing::new(
                Engine::new(&configuration.config).identified(EngineIdentity {
                    version: settings.build.version,
                    config: fingerprint,
                }),
                settings.context.clone(),
            )),
            handover: Arc::default(),
            logging: Arc::default(),
            outlets: Outlets {
                incidents,
                decisions: Arc::new(match settings.status_page {
                    status::Access::Off => Decisions::off(),
                    status::Access::Loopback | status::Access::Open => Decisions::kept(),
                }),
            },
            configured: Arc::default(),
            missed: Arc::default(),
            pods: Arc::default(),
            identity,
            replicas,
            metrics: Arc::clone(&metrics),
        };
        shared.configured.take(
            &configuration.origin,
            fingerprint,
            &configuration.config,
            &configuration.diagnostics,
        );
        if let Some((pair, paths, seen)) = certificate {
            let take_over = reloading::certificate(pair, &shared);
            tasks.start(reload::on_change(paths, seen, take_over));
        }
        if let Some(file) = configuration.file {
            let version = settings.build.version;
            let take_over = reloading::config(file.read, configuration.origin, version, &shared);
            let (paths, seen) = (vec![file.path], vec![file.bytes]);
            tasks.start(reload::on_change(paths, seen, take_over));
        }

        let member = client
            .zip(settings.cluster.clone())
            .map(|(client, cluster)| {
                Member::start(client, cluster, to_tell, &settings, &shared, &mut tasks)
            });
        let election = task_election(member.as_ref(), &settings, &shared, &mut tasks);
        let (pods, pods_apart) =
            pods::start(settings.pods.as_ref(), member.as_ref(), &shared, &mut tasks)?;
        let status = status(&settings, &shared, member.as_ref(), &election);
        let handler = Routes {
            webhook: Webhook::new(
                Arc::clone(&shared.reviewing),
                shared.outlets.clone(),
                settings.bodies,
                pool,
                settings.clients.reviews.clone(),
                Arc::clone(&metrics),
                log,
            ),
            election,
            logging: LoggingRoute::new(Arc::clone(&shared.logging), Arc::clone(&metrics)),
            pods,
            metrics: MetricsRoute::new(Arc::clone(&metrics)),
        };
        let counters = metrics.webhook.clone();
        let transport = Transport::Tls {
            acceptor,
            callers: Arc::new(Callers::new(Arc::clone(&shared.replicas), clients)),
        };
        let memory = memory(settings.memory, &metrics);
        let webhook = webhook.serve(transport, settings.limits, memory, handler, counters);
        let counters = metrics.probes.clone();
        let handler = Probes::new(shared.readiness.clone(), metrics, status);
        let memory = Memory::of(PROBE_MEMORY);
        let limits = probe_limits();
        let probes = apart.serve(probes, Transport::Plain, limits, memory, handler, counters);

        let addresses = (webhook.address(), probes.address());
        let (lease, accepted) =
            member.map_or((None, None), |member| (member.lease, member.accepted));
        let (shutdown_delay, grace_period) = (settings.shutdown_delay, settings.grace_period);
        let readiness = shared.readiness;
        let become_ready = {
            let readiness = readiness.clone();
            move || {
                if readiness.become_ready() {
                    log_ready(&settings, fingerprint, addresses, started);
                }
            }
        };
        match accepted {
            None => become_ready(),
            Some(accepted) => {
                tracing::info!(
                    webhook = %addresses.0,
                    probes = %addresses.1,
                    "listening; ready when API servers accept the certificate"
                );
                tasks.start(async move {
                    accepted.notified().await;
                    become_ready();
                });
            }
        }
        Ok(Self {
            webhook,
            probes,
            readiness,
            shutdown_delay,
            grace_period,
            signals,
            lease,
            _tasks: tasks,
            _apart: (apart, pods_apart),
        })
    }

    /// Serves until a signal comes, then drains.
    pub async fn run(mut self) -> Ended {
        let stop = tokio::select! {
            stop = self.signals.next() => stop,
            () = self.webhook.broken() => return Ended::Broken,
            () = self.probes.broken() => return Ended::Broken,
            () = member::broken(&mut self.lease) => return Ended::Broken,
        };
        self.readiness.enter(Phase::Draining);
        tracing::info!(
            signal = stop.name(),
            delay_ms = u64::try_from(self.shutdown_delay.as_millis()).unwrap_or(u64::MAX),
            "shutting down: finishing requests in flight"
        );
        self.webhook.leave();
        let leave = async {
            if let Some(lease) = self.lease.take() {
                lease.release().await;
            }
            sleep(self.shutdown_delay).await;
        };
        tokio::select! {
            () = leave => {}
            again = self.signals.next() => return Ended::Forced(again),
        }
        let drained = tokio::select! {
            drained = self.webhook.drain(self.grace_period) => drained,
            again = self.signals.next() => return Ended::Forced(again),
        };
        // The probes answered until here: whoever asks during the drain learns that this replica is
        // not ready.
        self.probes.drain(Duration::ZERO).await;
        if drained.aborted > 0 {
            tracing::warn!(
                connections = drained.aborted,
                "cut off requests that did not finish within the grace period"
            );
        }
        tracing::info!("stopped");
        Ended::Drained
    }
}

/// What the parts of this process share.
#[derive(Debug)]
struct Shared {
    readiness: Readiness,
    reviewing: Arc<Reviewing>,
    handover: Arc<Handover>,
    logging: Arc<Logging>,
    outlets: Outlets,
    configured: Arc<Configured>,
    missed: Arc<Missed>,
    pods: Arc<Pods>,
    identity: Arc<Identity>,
    replicas: Arc<Replicas>,
    metrics: Arc<Metrics>,
}

/// What is shown to people who look.
fn status(
    settings: &Settings,
    shared: &Shared,
    member: Option<&Member>,
    election: &Arc<Election>,
) -> Status {
    let elected = member.filter(|member| member.lease.is_some());
    let sources = status::Sources {
        build: status::Build {
            version: settings.build.version,
            commit: settings.build.commit,
        },
        started: clock::now(),
        readiness: shared.readiness.clone(),
        metrics: Arc::clone(&shared.metrics),
        configured: Arc::clone(&shared.configured),
        certificate: source_of(&settings.tls),
        registered: matches!(settings.tls, tls::Source::Cluster(..)),
        identity: Arc::clone(&shared.identity),
        replicas: Arc::clone(&shared.replicas),
        leadership: elected.map(|member| member.leadership.clone()),
        election: Arc::clone(election),
        decisions: Arc::clone(&shared.outlets.decisions),
        missed: Arc::clone(&shared.missed),
    };
    Status::new(settings.status_page, sources)
}

/// What is to be said about a certificate before it is used.
fn tell(material: &tls::Material, settings: &Settings, metrics: &Metrics) -> Result<(), TlsError> {
    for warning in &material.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(expires) = material.expires {
        metrics.cluster.expires(Certificate::Leaf, expires);
    }
    match (&settings.write_ca, &material.ca_pem) {
        (Some(path), Some(pem)) => tls::write_ca(path, pem),
        _ => Ok(()),
    }
}

/// Task election, decided by the holder of the Lease, or by this process if there is none.
fn task_election(
    member: Option<&Member>,
    settings: &Settings,
    shared: &Shared,
    tasks: &mut Tasks,
) -> Arc<Election> {
    let metrics = &shared.metrics;
    let elected = member.and_then(|member| Some((member, member.lease.as_ref()?)));
    let (name, coordination, store): (_, _, Arc<dyn Store>) = match elected {
        None => (
            lease::identity(None),
            Coordination::Alone,
            Arc::new(InMemory::default()),
        ),
        Some((member, lease)) => (
            lease.identity.clone(),
            Coordination::Elected {
                leadership: member.leadership.clone(),
                handover: Arc::clone(&shared.handover),
            },
            Arc::new(LeaseStore::new(
                member.client.clone_client(),
                &lease.namespace,
            )),
        ),
    };
    let forwarder = elected.map(|(_, lease)| {
        let address = lease.address.as_deref().map(Into::into);
        Forwarder::new(Arc::clone(&shared.replicas), address)
    });
    let counters = Arc::clone(&metrics.election);
    let coordinator = Arc::new(Coordinator::new(
        name,
        coordination,
        settings.election.clone(),
        counters,
    ));
    let ticking = Arc::clone(&coordinator);
    tasks.supervise("task election", move || Arc::clone(&ticking).run());
    let leaders = Arc::new(match elected {
        None => Leaders::alone(store, metrics.leaders.clone()),
        Some(_) => Leaders::watched(store, metrics.leaders.clone()),
    });
    let asked = Arc::downgrade(&leaders);
    metrics.leaders.ask(move || {
        let leaders = asked.upgrade();
        leaders.map(|leaders| leaders.levels()).unwrap_or_default()
    });
    let wanted = settings
        .cluster
        .as_ref()
        .is_some_and(|cluster| cluster.agent_leaders);
    if let Some((member, lease)) = elected.filter(|_| wanted) {
        let watching = (
            member.client.clone_client(),
            lease.namespace.clone(),
            Arc::clone(&leaders),
            metrics.cluster.clone(),
        );
        tasks.supervise("leaders of agents", move || {
            let (client, namespace, leaders, metrics) = watching.clone();
            cluster::leaders::watch(client, namespace, leaders, metrics)
        });
    }
    let tokens = member.map(|member| {
        let (client, audiences) = (member.client.clone_client(), settings.audiences.clone());
        Tokens::new(Arc::new(TokenReviews::new(client, audiences)) as Arc<dyn Reviewer>)
    });
    let senders = Senders::new(settings.senders.clone(), tokens);
    let election = Election::new(
        coordinator,
        forwarder,
        leaders,
        senders,
        Arc::clone(metrics),
    );
    let election = Arc::new(election);
    let known = Arc::clone(&election);
    tasks.supervise("replicas", move || Arc::clone(&known).stay_known());
    election
}

/// A client for the cluster. Where nothing but facts would be read there, doing without them is
/// better than not starting.
async fn connect(settings: &Settings) -> Result<Option<kube::Client>, StartError> {
    let Some(cluster) = &settings.cluster else {
        return Ok(None);
    };
    match cluster::connect(&cluster.access).await {
        Ok(client) => Ok(Some(client)),
        Err(error) if cluster.certificates.is_some() => Err(error.into()),
        Err(error) => {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::warn!(error, "going on without what the cluster knows");
            Ok(None)
        }
    }
}

/// Who is known by a certificate, if anybody is to be. The file is read again when it changes.
fn known_clients(
    settings: &Settings,
    tasks: &mut Tasks,
) -> Result<Option<Arc<tls::clients::Clients>>, TlsError> {
    let Some(file) = &settings.clients.ca_file else {
        return Ok(None);
    };
    let paths = vec![file.clone()];
    let seen = reload::contents(&paths);
    let clients = Arc::new(tls::clients::Clients::load(file)?);
    let take_over = reloading::clients(Arc::clone(&clients));
    tasks.start(reload::on_change(paths, seen, take_over));
    Ok(Some(clients))
}

/// The memory of the HTTPS listener's clients.
fn memory(limits: MemoryLimits, metrics: &Metrics) -> Memory {
    let part = |bytes: usize, level: &MemoryLevel| {
        level.total.set(bytes as u64);
        (bytes, level.used.clone())
    };
    Memory::new(
        part(limits.requests, &metrics.requests_memory),
        part(limits.answers, &metrics.answers_memory),
    )
}

/// Kubelet and scraper need few connections, and nobody else should be here.
fn probe_limits() -> listen::Limits {
    listen::Limits {
        connections: 64,
        headers: Duration::from_secs(10),
        ..listen::Limits::default()
    }
}

/// Where the certificate comes from, for people.
fn source_of(source: &tls::Source) -> String {
    match source {
        tls::Source::Files(pair) => pair.cert.display().to_string(),
        tls::Source::Ephemeral(_) => "made at start".to_owned(),
        tls::Source::Cluster(..) => "of the installation's CA".to_owned(),
    }
}

/// The one line that says that all is well, where, and how to try it.
fn log_ready(
    settings: &Settings,
    config: Fingerprint,
    (webhook, probes): (SocketAddr, SocketAddr),
    started: Instant,
) {
    let certificate = source_of(&settings.tls);
    let trust = match &settings.write_ca {
        Some(path) => format!("--cacert {}", path.display()),
        None => "-k".to_owned(),
    };
    let port = webhook.port();
    tracing::info!(
        webhook = format_args!("https://{webhook}{INJECT_PATH}"),
        probes = format_args!("http://{probes}"),
        certificate,
        config = %config,
        try = format_args!("curl {trust} https://localhost:{port}/ping"),
        version = settings.build.version,
        commit = settings.build.commit,
        start_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "ready"
    );
}
