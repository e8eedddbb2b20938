//! The composition root: builds the parts of a running operator, and ends them in order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datakit_operator_core::config::Config;
use datakit_operator_core::inject::{Engine, ReviewContext};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::http::body;
use crate::http::probes::{Phase, Probes, Readiness};
use crate::http::webhook::{INJECT_PATH, Webhook};
use crate::listen::{self, BindError, Bound, Running, Transport};
use crate::telemetry::Sink;
use crate::telemetry::metrics::Metrics;
use crate::tls::{self, Identity, TlsError};

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
    /// How long requests in flight may take to finish at the end.
    pub grace_period: Duration,
    /// What is known of the cluster.
    pub context: ReviewContext,
    /// Labels of the build, for metrics and the log.
    pub build: Build,
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

/// The signals that end the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGINT, as from Ctrl-C.
    Interrupt,
    /// SIGTERM, as from Kubernetes.
    Terminate,
}

impl Stop {
    /// What a shell reports for a process that died of the signal: 128 plus the signal's number.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }
}

/// A running operator.
#[derive(Debug)]
pub struct Operator {
    webhook: Running,
    probes: Running,
    readiness: Readiness,
    grace_period: Duration,
    signals: Signals,
}

impl Operator {
    /// Starts everything. When this returns, the webhook answers.
    ///
    /// # Errors
    ///
    /// If an address is taken or there is no usable certificate.
    pub async fn start(
        config: &Config,
        settings: Settings,
        log: Sink,
        started: Instant,
    ) -> Result<Self, StartError> {
        // First of all: a signal that comes while starting must not be lost.
        let signals = Signals::subscribe().map_err(StartError::Signals)?;
        let metrics = Arc::new(Metrics::new(settings.build.version, settings.build.commit));
        let readiness = Readiness::default();
        let material = settings.tls.load()?;
        for warning in &material.warnings {
            tracing::warn!("{warning}");
        }
        if let (Some(path), Some(pem)) = (&settings.write_ca, &material.ca_pem) {
            tls::write_ca(path, pem)?;
        }
        let acceptor = tls::acceptor(Arc::new(Identity::new(material.key)))?;
        let webhook = Bound::bind(settings.listen).await?;
        let probes = Bound::bind(settings.probe_listen).await?;
        let handler = Webhook::new(
            Engine::new(config),
            settings.context.clone(),
            settings.bodies,
            Arc::clone(&metrics),
            log,
        );
        let counters = metrics.webhook.clone();
        let webhook = webhook.serve(Transport::Tls(acceptor), settings.limits, handler, counters);
        let counters = metrics.probes.clone();
        let handler = Probes::new(readiness.clone(), metrics);
        let probes = probes.serve(Transport::Plain, probe_limits(), handler, counters);
        readiness.enter(Phase::Ready);
        log_ready(&settings, webhook.address(), probes.address(), started);
        Ok(Self {
            webhook,
            probes,
            readiness,
            grace_period: settings.grace_period,
            signals,
        })
    }

    /// Serves until a signal comes, then drains.
    pub async fn run(mut self) -> Ended {
        let stop = tokio::select! {
            stop = self.signals.next() => stop,
            () = self.webhook.broken() => return Ended::Broken,
            () = self.probes.broken() => return Ended::Broken,
        };
        self.readiness.enter(Phase::Draining);
        tracing::info!(
            signal = stop.name(),
            "shutting down: finishing requests in flight"
        );
        let drained = tokio::select! {
            drained = self.webhook.drain(self.grace_period) => drained,
            again = self.signals.next() => return Ended::Forced(again),
        };
        // The probes answered until here: whoever asks during the drain learns that this replica is not ready.
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

/// Kubelet and scraper need few connections, and nobody else should be here.
fn probe_limits() -> listen::Limits {
    listen::Limits {
        connections: 64,
        ..listen::Limits::default()
    }
}

/// The one line that says that all is well, where, and how to try it.
fn log_ready(settings: &Settings, webhook: SocketAddr, probes: SocketAddr, started: Instant) {
    let certificate = match &settings.tls {
        tls::Source::Files(pair) => pair.cert.display().to_string(),
        tls::Source::Ephemeral(_) => "made at start".to_owned(),
    };
    let trust = match &settings.write_ca {
        Some(path) => format!("--cacert {}", path.display()),
        None => "-k".to_owned(),
    };
    let port = webhook.port();
    tracing::info!(
        webhook = format_args!("https://{webhook}{INJECT_PATH}"),
        probes = format_args!("http://{probes}"),
        certificate,
        try = format_args!("curl {trust} https://localhost:{port}/ping"),
        version = settings.build.version,
        commit = settings.build.commit,
        start_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "ready"
    );
}

/// The signals that end the process, from now on in our hands.
#[derive(Debug)]
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn subscribe() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal.
    async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
        }
    }
}
