//! How this replica is doing and what it decided last: a page for people, and the same as JSON.
//!
//! Both are read-only, and [`access`] says who may see them. The page is one file with everything
//! in it; a policy sent with it lets it run its own script and nothing else, and all it shows comes
//! from the JSON, as text.

pub mod access;
pub mod args;
mod page;

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{CACHE_CONTROL, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Request, StatusCode};
use serde::Serialize;
use tokio::sync::watch;

pub use self::access::Access;
pub use self::args::Args;
use super::election::{Election, Summary};
use super::respond::{self, JSON};
use crate::clock;
use crate::listen::{Answer, Peer, Received};
use crate::state::decisions::Kept;
use crate::state::missed::Found;
use crate::state::{Configuration, Configured, Decisions, Leadership, Missed, Phase, Readiness};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::parts::Part;
use crate::tls::Identity;
use crate::tls::facts::Facts;
use crate::tls::replicas::Replicas;

/// The path of the JSON.
pub const STATUS_PATH: &str = "/status";
/// The path of the page.
pub const PAGE_PATH: &str = "/status.html";
/// So many authorities are shown.
const AUTHORITIES: usize = 8;
/// So many agents are shown.
const AGENTS: usize = 100;

/// What is shown, and to whom.
#[derive(Debug)]
pub struct Status {
    access: Access,
    sources: Sources,
}

/// Where what is shown is.
#[derive(Debug)]
pub struct Sources {
    /// Which program this is.
    pub build: Build,
    /// When the process began.
    pub started: SystemTime,
    /// How far it is.
    pub readiness: Readiness,
    /// How its parts are doing.
    pub metrics: Arc<Metrics>,
    /// Its configuration.
    pub configured: Arc<Configured>,
    /// Where its certificate is from.
    pub certificate: String,
    /// Whether that is the installation's, which a registration must accept.
    pub registered: bool,
    /// What it presents.
    pub identity: Arc<Identity>,
    /// Whom it trusts.
    pub replicas: Arc<Replicas>,
    /// Who holds the Lease, if there is one.
    pub leadership: Option<watch::Receiver<Leadership>>,
    /// Task election.
    pub election: Arc<Election>,
    /// What was decided last.
    pub decisions: Arc<Decisions>,
    /// Pods that were missed, where somebody looks.
    pub missed: Arc<Missed>,
}

/// Which program this is.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Build {
    /// The version.
    pub version: &'static str,
    /// The commit.
    pub commit: &'static str,
}

/// Everything, as it is at one moment. Docs/operations.md describes the keys.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    replica: Replica,
    configuration: Option<Configuration>,
    certificates: Certificates,
    lease: Option<Lease>,
    parts: Vec<Part>,
    election: Summary,
    missed: Option<Found>,
    decisions: Vec<Kept>,
    decisions_not_kept: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Replica {
    name: String,
    #[serde(flatten)]
    build: Build,
    phase: &'static str,
    waiting_for: String,
    #[serde(serialize_with = "clock::rfc3339")]
    started: SystemTime,
    #[serde(serialize_with = "clock::rfc3339")]
    now: SystemTime,
    /// Addresses of others that it has heard of.
    others: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Certificates {
    source: String,
    /// Whether API servers accept what is presented, where that is known.
    accepted: Option<bool>,
    presented: Option<Facts>,
    authorities: Vec<Facts>,
}

#[derive(Debug, Serialize)]
struct Lease {
    /// Empty if nobody has it, as far as is known.
    holder: String,
    mine: bool,
    since: Option<String>,
    /// Why nobody has it.
    why: &'static str,
}

impl Status {
    /// Shows what is in `sources` to whom `access` says.
    #[must_use]
    pub fn new(access: Access, sources: Sources) -> Self {
        Self { access, sources }
    }

    /// Whether there is a status to be seen, by anybody.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.access != Access::Off
    }

    /// Answers a request for one of the two paths.
    pub fn handle(&self, request: &Request<Received>) -> Answer {
        let peer = request.extensions().get::<Peer>();
        if let Some(refused) = self.access.refuses(peer, request.headers()) {
            return refused;
        }
        respond::readable(request.method(), || {
            let mut answer = match request.uri().path() {
                PAGE_PATH => page::answer(),
                _ => {
                    let json = serde_json::to_vec(&self.sources.report()).unwrap_or_default();
                    respond::with_body(StatusCode::OK, JSON, json)
                }
            };
            for (name, value) in [
                (CACHE_CONTROL, "no-store"),
                (X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (REFERRER_POLICY, "no-referrer"),
                (SAME_ORIGIN, "same-origin"),
            ] {
                answer
                    .headers_mut()
                    .insert(name, HeaderValue::from_static(value));
            }
            answer
        })
    }
}

/// Keeps other sites from loading what is here.
const SAME_ORIGIN: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

impl Sources {
    fn report(&self) -> Report {
        let (decisions, decisions_not_kept) = self.decisions.latest().unwrap_or_default();
        Report {
            replica: self.replica(),
            configuration: self.configured.shown().map(Arc::unwrap_or_clone),
            certificates: self.certificates(),
            lease: self.lease(),
            parts: self.metrics.parts.all(),
            election: self.election.summary(AGENTS),
            missed: self.missed.known().map(Arc::unwrap_or_clone),
            decisions,
            decisions_not_kept,
        }
    }

    fn replica(&self) -> Replica {
        Replica {
            name: self.election.name().to_owned(),
            build: self.build,
            phase: match self.readiness.phase() {
                Phase::Starting => "starting",
                Phase::Ready => "ready",
                Phase::Draining => "draining",
            },
            waiting_for: Arc::unwrap_or_clone(self.readiness.waiting_for()),
            started: self.started,
            now: clock::now(),
            others: self.election.others(),
        }
    }

    fn certificates(&self) -> Certificates {
        let presented = self.identity.current();
        let authorities = self.replicas.authorities();
        let authorities = authorities.iter().take(AUTHORITIES);
        let accepted = self.metrics.cluster.accepted.get() == 1;
        Certificates {
            source: self.certificate.clone(),
            accepted: self.registered.then_some(accepted),
            presented: presented.cert.first().and_then(|der| Facts::read(der)),
            authorities: authorities.filter_map(|der| Facts::read(der)).collect(),
        }
    }

    fn lease(&self) -> Option<Lease> {
        let leadership = self.leadership.as_ref()?.borrow().clone();
        let mine = leadership.is_mine();
        let (holder, since, why) = match leadership {
            Leadership::Mine { since, .. } => (self.election.name().to_owned(), since, ""),
            Leadership::Other { holder, since, .. } => (holder.to_string(), since, ""),
            Leadership::Nobody { why } => (String::new(), None, why),
        };
        let since = since.map(|since| humantime::format_rfc3339_seconds(clock::writable(since)));
        Some(Lease {
            holder,
            mine,
            since: since.map(|since| since.to_string()),
            why,
        })
    }
}
