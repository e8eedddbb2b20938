//! What the leader election of newer agents counts, under the names of version 1.9 in Go, so that
//! dashboards and alerts made for that go on.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use datakit_operator_core::election::leader::{Request, Status};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Labels;

/// How a request went; the value of the label `result`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The one who asks leads.
    Success,
    /// Somebody else does, or nobody.
    Defeat,
    /// It couldn't be decided, or wasn't.
    Error,
}

/// What is done with a Lease; the value of the label `operation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading it.
    Get,
    /// Making it.
    Create,
    /// Changing it.
    Update,
}

/// Why there is another leader; the value of the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// The scope has never had one.
    FirstAcquire,
    /// The one before didn't say anything for as long as a leadership lasts.
    LeaseExpired,
}

/// How things stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Scopes that somebody leads.
    pub active: usize,
    /// The least time that is left to one of them.
    pub remaining: Duration,
    /// The longest time that one of them hasn't been renewed for.
    pub age: Duration,
}

type Source = Box<dyn Fn() -> Levels + Send + Sync>;

/// `election_…`: requests of newer agents, as answered by this replica.
#[derive(Clone)]
pub struct LeaderMetrics {
    requests: [[Counter; 3]; 2],
    transitions: [Counter; 2],
    storage_errors: [Counter; 3],
    /// Leases that somebody else had written since they were read.
    pub conflicts: Counter,
    active: Gauge,
    remaining: Gauge<f64, AtomicU64>,
    age: Gauge<f64, AtomicU64>,
    source: Arc<OnceLock<Source>>,
}

impl From<Status> for Outcome {
    fn from(status: Status) -> Self {
        match status {
            Status::Success => Self::Success,
            Status::Defeat => Self::Defeat,
            Status::Error => Self::Error,
        }
    }
}

impl LeaderMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let requests = Family::<Labels<2>, Counter>::default();
        registry.register(
            "election_requests",
            "Requests for leadership by newer agents",
            requests.clone(),
        );
        let transitions = Family::<Labels<1>, Counter>::default();
        registry.register(
            "election_transitions",
            "Leaderships that this replica has given",
            transitions.clone(),
        );
        let storage_errors = Family::<Labels<1>, Counter>::default();
        registry.register(
            "election_storage_errors",
            "Leases of leaders that couldn't be read or written",
            storage_errors.clone(),
        );
        let conflicts = Counter::default();
        registry.register(
            "election_cas_conflicts",
            "Leases of leaders that others had written since they were read",
            conflicts.clone(),
        );
        let active = Gauge::default();
        registry.register(
            "election_active_scopes",
            "Pairs of token and namespace that have a leader, as far as this replica knows",
            active.clone(),
        );
        let remaining = Gauge::default();
        registry.register(
            "election_lease_remaining_seconds",
            "The least time that a leadership has left; 0 without one",
            remaining.clone(),
        );
        let age = Gauge::default();
        registry.register(
            "election_lease_age_seconds",
            "The longest time since a leadership was renewed; 0 without one",
            age.clone(),
        );
        let reason = |reason| transitions.get_or_create_owned(&[("reason", reason)]);
        Self {
            requests: ["campaign", "heartbeat"].map(|operation| {
                ["success", "defeat", "error"].map(|result| {
                    requests.get_or_create_owned(&[("operation", operation), ("result", result)])
                })
            }),
            transitions: ["first_acquire", "lease_expired"].map(reason),
            storage_errors: ["get", "create", "update"]
                .map(|operation| storage_errors.get_or_create_owned(&[("operation", operation)])),
            conflicts,
            active,
            remaining,
            age,
            source: Arc::default(),
        }
    }

    /// Counts a request and how it went.
    pub fn answered(&self, request: Request, outcome: Outcome) {
        let [campaigns, heartbeats] = &self.requests;
        let counters = match request {
            Request::Campaign => campaigns,
            Request::Heartbeat => heartbeats,
        };
        counters[outcome as usize].inc();
    }

    /// Counts a leadership that was given.
    pub fn given(&self, why: Transition) {
        self.transitions[why as usize].inc();
    }

    /// Counts a Lease that couldn't be read or written.
    pub fn failed(&self, access: Access) {
        self.storage_errors[access as usize].inc();
    }

    /// Where to ask how things stand, whenever a page is made. Only the first one counts.
    pub fn ask(&self, source: impl Fn() -> Levels + Send + Sync + 'static) {
        let _ = self.source.set(Box::new(source));
    }

    /// Asks.
    pub(super) fn refresh(&self) {
        let levels = self.source.get().map(|ask| ask()).unwrap_or_default();
        self.active
            .set(i64::try_from(levels.active).unwrap_or(i64::MAX));
        self.remaining.set(levels.remaining.as_secs_f64());
        self.age.set(levels.age.as_secs_f64());
    }
}

impl fmt::Debug for LeaderMetrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LeaderMetrics(…)")
    }
}
