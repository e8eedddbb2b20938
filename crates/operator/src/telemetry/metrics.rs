//! The metrics, all with the prefix `datakit_operator_`.
//!
//! Whatever is counted while a review runs is looked up here once, at start: label values come from
//! closed lists, so the number of series is fixed and a stranger can't add to it.

use std::fmt::{self, Write as _};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use datakit_operator_core::config::Fingerprint;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::Labels;
use super::cluster::ClusterMetrics;
use super::counts::{InjectionCounts, NoteCounts, ReviewCounts, SkipCounts};
use super::election::ElectionMetrics;
use super::events::EventCounts;
use super::histogram::DurationHistogram;
use super::leaders::LeaderMetrics;
use super::logging::LoggingMetrics;
use super::missed::MissedPods;
use super::parts::Parts;
use super::pods::PodMetrics;
use super::process::Process;

/// Panics anywhere in the process. Global because the panic hook is.
pub static PANICS: LazyLock<Counter> = LazyLock::new(Counter::default);
/// Log lines that were dropped because the output did not keep up. Global because a process has one
/// log.
pub static LOG_LINES_DROPPED: LazyLock<Counter> = LazyLock::new(Counter::default);

/// A limit that a client ran into; the value of the label `limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// A client did not take its answer in time and was cut off.
    AnswerTime,
    /// The operating system refused another connection (usually: no file descriptor left).
    Accept,
    /// A request body was larger than allowed.
    BodySize,
    /// Too little of a request body arrived a second.
    BodyRate,
    /// A request body took too long to arrive.
    BodyTime,
    /// The cap on connections was reached, and an idle connection was closed for a new one.
    Connections,
    /// A connection was cut off because others needed its place or its memory, and it was slow: it
    /// sent a body slowly, or did not take its answers.
    Displaced,
    /// A client sent more during a TLS handshake than fits (certificates).
    HandshakeSize,
    /// A TLS handshake took too long.
    HandshakeTime,
    /// Request headers were larger than allowed (HTTP/1.1).
    HeaderSize,
    /// Request headers took too long to arrive (HTTP/1.1).
    HeaderTime,
    /// A connection was closed because it had been idle for too long.
    IdleTime,
    /// There was no memory for a request, its body, the review or the answer.
    Memory,
    /// Too many large reviews were waiting for a thread.
    ReviewQueue,
    /// A review could not begin before the API server would have given it up.
    ReviewTime,
}

impl Limit {
    const ALL: [Self; 15] = [
        Self::AnswerTime,
        Self::Accept,
        Self::BodySize,
        Self::BodyRate,
        Self::BodyTime,
        Self::Connections,
        Self::Displaced,
        Self::HandshakeSize,
        Self::HandshakeTime,
        Self::HeaderSize,
        Self::HeaderTime,
        Self::IdleTime,
        Self::Memory,
        Self::ReviewQueue,
        Self::ReviewTime,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::AnswerTime => "answer_time",
            Self::Accept => "accept",
            Self::BodySize => "body_size",
            Self::BodyRate => "body_rate",
            Self::BodyTime => "body_time",
            Self::Connections => "connections",
            Self::Displaced => "displaced",
            Self::HandshakeSize => "handshake_size",
            Self::HandshakeTime => "handshake_time",
            Self::HeaderSize => "header_size",
            Self::HeaderTime => "header_time",
            Self::IdleTime => "idle_time",
            Self::Memory => "memory",
            Self::ReviewQueue => "review_queue",
            Self::ReviewTime => "review_time",
        }
    }
}

/// What one listener counts.
#[derive(Clone, Debug, Default)]
pub struct ListenerMetrics {
    /// Connections accepted since the start.
    pub accepted: Counter,
    /// Connections open now.
    pub open: Gauge,
    /// TLS handshakes that failed for another reason than time.
    pub handshake_failures: Counter,
    limits: [Counter; Limit::ALL.len()],
}

impl ListenerMetrics {
    /// Counts a limit that was hit.
    pub fn hit(&self, limit: Limit) {
        self.limits[limit as usize].inc();
    }

    /// How often the limit was hit.
    #[must_use]
    pub fn hits(&self, limit: Limit) -> u64 {
        self.limits[limit as usize].get()
    }
}

/// Changed configurations that were read anew.
#[derive(Clone, Debug)]
pub struct ReloadCounts {
    taken: Counter,
    refused: Counter,
    in_use: Gauge,
    taken_at: Gauge<u64, AtomicU64>,
    fingerprint: ConfigInfo,
}

/// Which configuration is in use: a series with its hash, and no series of those before.
#[derive(Clone, Debug, Default)]
struct ConfigInfo(Arc<ArcSwapOption<Fingerprint>>);

impl EncodeMetric for ConfigInfo {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        match &*self.0.load() {
            Some(fingerprint) => encoder.encode_info(&[("hash", fingerprint.as_str())]),
            None => Ok(()),
        }
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Info
    }
}

impl ReloadCounts {
    fn new(registry: &mut Registry) -> Self {
        let family = Family::<Labels<1>, Counter>::default();
        registry.register(
            "config_reloads",
            "Changed configuration files that were read anew",
            family.clone(),
        );
        let in_use = Gauge::default();
        registry.register(
            "config_in_use",
            "Whether the configuration file is what is in use: 0 while the last change of it is refused",
            in_use.clone(),
        );
        let taken_at = Gauge::default();
        registry.register(
            "config_taken_timestamp_seconds",
            "When the configuration in use was read, in seconds since 1970",
            taken_at.clone(),
        );
        let fingerprint = ConfigInfo::default();
        registry.register(
            "config",
            "The configuration in use, by the first digits of its SHA-256",
            fingerprint.clone(),
        );
        let count = |outcome| family.get_or_create_owned(&[("outcome", outcome)]);
        Self {
            taken: count("taken"),
            refused: count("refused"),
            in_use,
            taken_at,
            fingerprint,
        }
    }

    /// The configuration was read for the first time, this long after 1970 began.
    pub fn begin(&self, now: Duration, fingerprint: Fingerprint) {
        self.fingerprint.0.store(Some(Arc::new(fingerprint)));
        self.in_use.set(1);
        self.taken_at.set(now.as_secs());
    }

    /// A changed configuration is in use.
    pub fn taken(&self, now: Duration, fingerprint: Fingerprint) {
        self.taken.inc();
        self.begin(now, fingerprint);
    }

    /// A changed configuration is unusable: what was in use before stays.
    pub fn refused(&self) {
        self.refused.inc();
        self.in_use.set(0);
    }
}

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Those whose names begin as they do for every program, without our prefix.
    process: Registry,
    /// How long the pure part of a review takes: from the request's bytes to the answer's.
    pub review_duration: DurationHistogram,
    /// Reviews of pods by what became of them.
    pub reviews: ReviewCounts,
    /// Reviews of workloads by what became of them.
    pub validations: ReviewCounts,
    /// Features that were asked for, by what became of them.
    pub injections: InjectionCounts,
    /// What was done differently than asked, or asked in vain.
    pub notes: NoteCounts,
    /// Certificates, the Lease and the API server.
    pub cluster: ClusterMetrics,
    /// Events on owners of pods.
    pub events: EventCounts,
    /// ClusterLoggingConfigs.
    pub logging: LoggingMetrics,
    /// Pods that other programs ask for.
    pub pods: PodMetrics,
    /// Pods that were missed.
    pub missed: MissedPods,
    /// How each part is doing.
    pub parts: Parts,
    /// Task election.
    pub election: Arc<ElectionMetrics>,
    /// The leader election of newer agents.
    pub leaders: LeaderMetrics,
    /// Configurations that were read anew, by what became of them.
    pub reloads: ReloadCounts,
    /// The HTTPS listener.
    pub webhook: ListenerMetrics,
    /// The plain listener for probes and this very page.
    pub probes: ListenerMetrics,
    /// The memory for requests, of the HTTPS listener.
    pub requests_memory: MemoryLevel,
    /// The memory for reviews and answers, of the HTTPS listener.
    pub answers_memory: MemoryLevel,
    /// Requests for reviews from clients that may not have any.
    pub reviews_denied: Counter,
    /// Large reviews that were dropped because the client had gone.
    pub reviews_abandoned: Counter,
}

/// A part of the memory that clients may make the process use, in bytes.
#[derive(Clone, Debug, Default)]
pub struct MemoryLevel {
    /// How much is in use.
    pub used: Gauge<u64, AtomicU64>,
    /// How much there is.
    pub total: Gauge<u64, AtomicU64>,
}

impl Metrics {
    /// Registers everything. `version` and `commit` label the build.
    #[must_use]
    pub fn new(version: &'static str, commit: &'static str) -> Self {
        let mut registry = Registry::with_prefix("datakit_operator");
        let review_duration = DurationHistogram::default();
        registry.register(
            "review_duration_seconds",
            "Time from the bytes of an admission review to the bytes of its answer",
            review_duration.clone(),
        );
        let reviews = ReviewCounts::of_pods(&mut registry);
        let validations = ReviewCounts::of_workloads(&mut registry);
        let injections = InjectionCounts::default();
        registry.register(
            "injections",
            "Features that were asked for, by what became of them",
            injections.clone(),
        );
        registry.register(
            "skips",
            "Features that were asked for and skipped, every reason from the start",
            SkipCounts(injections.clone()),
        );
        let notes = NoteCounts::default();
        registry.register(
            "notes",
            "What was done differently than asked, or asked in vain",
            notes.clone(),
        );
        let parts = Parts::default();
        let cluster = ClusterMetrics::new(&mut registry, parts.clone());
        let events = EventCounts::new(&mut registry);
        let logging = LoggingMetrics::new(&mut registry);
        let pods = PodMetrics::new(&mut registry);
        let missed = MissedPods::new(&mut registry);
        let election = Arc::new(ElectionMetrics::new(&mut registry));
        let leaders = LeaderMetrics::new(&mut registry);
        let reloads = ReloadCounts::new(&mut registry);
        let [webhook, probes] = register_listeners(&mut registry, ["webhook", "probes"]);
        let [requests_memory, answers_memory] =
            register_memory(&mut registry, ["requests", "answers"]);
        let reviews_abandoned = Counter::default();
        registry.register(
            "reviews_abandoned",
            "Large reviews dropped before they began because the client had gone",
            reviews_abandoned.clone(),
        );
        let reviews_denied = Counter::default();
        registry.register(
            "reviews_denied",
            "Requests for reviews from clients without the certificate that they need",
            reviews_denied.clone(),
        );
        registry.register("panics", "Panics caught", PANICS.clone());
        registry.register(
            "log_lines_dropped",
            "Log lines dropped because the output did not keep up",
            LOG_LINES_DROPPED.clone(),
        );
        let build: Labels<2> = [("version", version), ("commit", commit)];
        registry.register("build", "The running build", Info::new(build));
        Self {
            registry,
            process: Process::registry(),
            review_duration,
            reviews,
            validations,
            injections,
            notes,
            cluster,
            events,
            logging,
            pods,
            missed,
            parts,
            election,
            leaders,
            reloads,
            webhook,
            probes,
            requests_memory,
            answers_memory,
            reviews_abandoned,
            reviews_denied,
        }
    }

    /// The metrics page in the OpenMetrics text format.
    #[must_use]
    pub fn openmetrics(&self) -> String {
        self.leaders.refresh();
        let mut page = String::new();
        // Writing to a `String` can't fail, and none of the metrics here does.
        let _ = text::encode_registry(&mut page, &self.registry);
        let _ = text::encode_registry(&mut page, &self.process);
        let _ = text::encode_eof(&mut page);
        page
    }

    /// The metrics page in the older Prometheus text format, where a counter's type is declared for
    /// its full name.
    #[must_use]
    pub fn prometheus(&self) -> String {
        to_prometheus(&self.openmetrics())
    }
}

fn register_memory<const N: usize>(
    registry: &mut Registry,
    parts: [&'static str; N],
) -> [MemoryLevel; N] {
    let used = Family::<Labels<1>, Gauge<u64, AtomicU64>>::default();
    let total = Family::<Labels<1>, Gauge<u64, AtomicU64>>::default();
    registry.register(
        "memory_used_bytes",
        "Memory that clients make the process use",
        used.clone(),
    );
    registry.register(
        "memory_budget_bytes",
        "Memory that clients may make the process use",
        total.clone(),
    );
    parts.map(|part| MemoryLevel {
        used: used.get_or_create_owned(&[("part", part)]),
        total: total.get_or_create_owned(&[("part", part)]),
    })
}

fn register_listeners<const N: usize>(
    registry: &mut Registry,
    names: [&'static str; N],
) -> [ListenerMetrics; N] {
    let accepted = Family::<Labels<1>, Counter>::default();
    let open = Family::<Labels<1>, Gauge>::default();
    let handshake_failures = Family::<Labels<1>, Counter>::default();
    let limits = Family::<Labels<2>, Counter>::default();
    registry.register(
        "connections_accepted",
        "Connections accepted",
        accepted.clone(),
    );
    registry.register("connections", "Connections open now", open.clone());
    registry.register(
        "handshake_failures",
        "TLS handshakes that failed for another reason than time",
        handshake_failures.clone(),
    );
    registry.register("limit_hits", "Limits that clients ran into", limits.clone());
    names.map(|name| {
        let labels = [("listener", name)];
        ListenerMetrics {
            accepted: accepted.get_or_create_owned(&labels),
            open: open.get_or_create_owned(&labels),
            handshake_failures: handshake_failures.get_or_create_owned(&labels),
            limits: Limit::ALL.map(|limit| {
                limits.get_or_create_owned(&[("listener", name), ("limit", limit.as_str())])
            }),
        }
    })
}

/// Rewrites OpenMetrics text for readers that know the older format only: `# TYPE x counter`
/// becomes `# TYPE x_total counter` (likewise `info`, which they don't know, becomes a gauge), and
/// the end mark goes.
fn to_prometheus(openmetrics: &str) -> String {
    let mut page = String::with_capacity(openmetrics.len() + 256);
    let mut help: Option<(&str, &str)> = None;
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            // The name in this line depends on the type, which comes next.
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                _ => ("", kind),
            };
            if let Some((_, help)) = help.take() {
                let _ = writeln!(page, "# HELP {name}{suffix} {help}");
            }
            let _ = writeln!(page, "# TYPE {name}{suffix} {kind}");
        } else if !line.starts_with("# ") {
            page.push_str(line);
            page.push('\n');
        }
    }
    page
}
