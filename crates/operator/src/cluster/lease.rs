//! Keeps one replica elected, by a Lease.
//!
//! The holder trusts its hold for four fifths of the Lease's duration, counted from before it asked
//! for the renewal; others wait for the whole of it, counted from after. So there is a time with
//! nobody, but never one with two.

pub mod claim;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use self::claim::{Claim, Record, Step};
use super::MANAGER;
use super::trouble::Trouble;
use crate::clock;
use crate::state::{Handover, Leadership};
use crate::telemetry::cluster::{ClusterMetrics, Operation};

/// Where the holder says at which address it answers other replicas.
const ADDRESS: &str = "datakit-operator/holder-address";
/// Says that the holder keeps the installation's certificates.
const KEEPS_CERTIFICATES: &str = "datakit-operator/keeps-certificates";
/// What one holder leaves for the next: ids of agents, separated by commas.
const HANDOVER: &str = "datakit-operator/full-owners";
/// The longest such list. One that is longer is not left at all: it only ever settles what can't be
/// told otherwise.
const LONGEST_HANDOVER: usize = 64 * 1024;
/// What is said before the Lease was read.
pub const UNKNOWN: &str = "the Lease has not been read yet";
/// What is said while it can't be read or renewed, for want of an API server or of permission.
pub const UNREACHABLE: &str = "the Lease can't be read or renewed";
/// What is said after it was given up.
pub const RELEASED: &str = "this replica has released the Lease to shut down";

/// Which Lease, and as whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The Lease's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The name of this replica, different from all others'.
    pub identity: String,
    /// Where this replica answers others.
    pub address: Option<String>,
    /// Whether this replica keeps the installation's certificates while it holds the Lease.
    pub keeps_certificates: bool,
    /// How long others wait for a holder that says nothing.
    pub duration: Duration,
}

/// Takes, renews and watches the Lease until `stop` resolves, then releases it.
pub async fn run(
    client: Client,
    settings: Settings,
    metrics: ClusterMetrics,
    leadership: watch::Sender<Leadership>,
    handover: Arc<Handover>,
    stop: impl Future<Output = ()> + Send,
) {
    let mut holder = Holder {
        api: Api::namespaced(client, &settings.namespace),
        claim: Claim::new(settings.identity.clone()),
        trouble: Trouble::new(Operation::Lease, &metrics),
        settings,
        metrics,
        leadership,
        handover,
        inherited: Arc::default(),
        held: None,
        term: 0,
    };
    tokio::select! {
        () = holder.keep() => {}
        () = stop => holder.release().await,
    }
}

struct Holder {
    api: Api<Lease>,
    settings: Settings,
    claim: Claim,
    trouble: Trouble,
    metrics: ClusterMetrics,
    leadership: watch::Sender<Leadership>,
    handover: Arc<Handover>,
    inherited: Arc<[String]>,
    /// The Lease as we wrote it last, if it is ours.
    held: Option<Lease>,
    /// How many times this replica has taken it.
    term: u32,
}

impl Holder {
    async fn keep(&mut self) {
        let period = self.settings.duration / 4;
        loop {
            let asked = Instant::now();
            match timeout(period, self.step(asked)).await {
                Ok(Ok(leadership)) => {
                    self.trouble.worked();
                    self.publish(leadership);
                }
                // Another replica was faster, or the object is gone: what it says now decides.
                Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
                    self.held = None;
                }
                Ok(Err(error)) => self.failed(&error),
                Err(elapsed) => self.failed(&elapsed),
            }
            sleep(period.saturating_sub(asked.elapsed())).await;
        }
    }

    /// One look at the Lease, and what follows from it.
    async fn step(&mut self, asked: Instant) -> kube::Result<Leadership> {
        let seen = self.api.get_opt(&self.settings.name).await?;
        let record = seen.as_ref().map(record);
        Ok(match self.claim.decide(record.clone(), Instant::now()) {
            step @ (Step::Take { transitions } | Step::Renew { transitions }) => {
                // Somebody else may have had it in between, whether this replica has seen that or
                // not.
                let taken = matches!(step, Step::Take { .. }) || self.term == 0;
                // A process that was started again in the same pod finds its own Lease, and its own
                // note.
                if self.held.is_none() {
                    self.inherited = seen.as_ref().map(inherited).unwrap_or_default();
                    // To be passed on unchanged until this replica has decided something itself.
                    let left = self.inherited.iter().map(|id| id.as_str().into());
                    self.handover.leave(left.collect());
                }
                let lease = self.lease(seen, transitions);
                self.held = Some(self.write(lease).await?);
                self.term += u32::from(taken);
                Leadership::Mine {
                    until: asked + self.settings.duration * 4 / 5,
                    since: self.held.as_ref().and_then(since),
                    term: self.term,
                    inherited: Arc::clone(&self.inherited),
                }
            }
            Step::Wait => {
                self.held = None;
                let annotations = seen.as_ref().map(ResourceExt::annotations);
                let keeps = annotations.is_some_and(|all| all.contains_key(KEEPS_CERTIFICATES));
                let record = record.map(|record| (record.holder, record.address));
                let (holder, address) = record.unwrap_or_default();
                Leadership::Other {
                    holder: holder.into(),
                    address: address.map(Into::into),
                    keeps_certificates: keeps,
                    since: seen.as_ref().and_then(since),
                }
            }
        })
    }

    /// The Lease as it should be, in our name. Fields we don't know stay.
    fn lease(&self, seen: Option<Lease>, transitions: i32) -> Lease {
        let renewed = holder(seen.as_ref()) == Some(&self.settings.identity);
        let mut lease = seen.unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                name: Some(self.settings.name.clone()),
                namespace: Some(self.settings.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        let now = now();
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        spec.holder_identity = Some(self.settings.identity.clone());
        spec.lease_duration_seconds = i32::try_from(self.settings.duration.as_secs()).ok();
        spec.lease_transitions = Some(transitions);
        spec.renew_time.clone_from(&now);
        if !renewed {
            spec.acquire_time = now;
        }
        let annotations = lease.annotations_mut();
        match &self.settings.address {
            Some(address) => annotations.insert(ADDRESS.to_owned(), address.clone()),
            None => annotations.remove(ADDRESS),
        };
        if self.settings.keeps_certificates {
            annotations.insert(KEEPS_CERTIFICATES.to_owned(), "true".to_owned());
        } else {
            annotations.remove(KEEPS_CERTIFICATES);
        }
        let left = self.handover.left().join(",");
        if left.is_empty() || left.len() > LONGEST_HANDOVER {
            annotations.remove(HANDOVER);
        } else {
            annotations.insert(HANDOVER.to_owned(), left);
        }
        lease
    }

    async fn write(&self, lease: Lease) -> kube::Result<Lease> {
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        // Both fail if somebody else has written meanwhile: a created object exists then, a
        // replaced one has moved on.
        if lease.metadata.resource_version.is_none() {
            self.api.create(&params, &lease).await
        } else {
            self.api.replace(&self.settings.name, &params, &lease).await
        }
    }

    fn failed(&mut self, error: &(dyn std::error::Error + 'static)) {
        self.trouble.failed(error);
        // Who held it before may hold it still, and is the best address there is for what this
        // replica can't decide.
        let over = match &*self.leadership.borrow() {
            Leadership::Mine { until, .. } => Instant::now() >= *until,
            Leadership::Other { .. } => false,
            Leadership::Nobody { .. } => true,
        };
        if over {
            self.publish(Leadership::Nobody { why: UNREACHABLE });
        }
    }

    fn publish(&self, leadership: Leadership) {
        let mine = leadership.is_mine();
        self.metrics.lease_held.set(i64::from(mine));
        let remedy = "if it stays: the line `lease`, and the logs of the other replicas";
        let parts = &self.metrics.parts;
        match &leadership {
            Leadership::Mine { .. } => parts.well("election", "this replica decides"),
            Leadership::Other { holder, .. } => parts.well("election", format!("{holder} decides")),
            Leadership::Nobody { why } => parts.failing("election", *why, remedy),
        }
        let before = self.leadership.send_replace(leadership);
        match (&before, &*self.leadership.borrow()) {
            (Leadership::Mine { term: old, .. }, Leadership::Mine { term, .. }) if old == term => {}
            (_, Leadership::Mine { term, .. }) => {
                tracing::info!(
                    lease = self.settings.name,
                    term,
                    "this replica holds the Lease"
                );
            }
            (Leadership::Mine { .. }, _) => {
                tracing::warn!(
                    lease = self.settings.name,
                    "this replica has lost the Lease"
                );
            }
            (Leadership::Other { holder: old, .. }, Leadership::Other { holder, .. })
                if old == holder => {}
            (_, Leadership::Other { holder, .. }) => {
                tracing::info!(
                    lease = self.settings.name,
                    holder = &**holder,
                    "another replica holds the Lease"
                );
            }
            _ => {}
        }
    }

    /// Gives the Lease up, so that another replica need not wait.
    async fn release(&mut self) {
        // First of all: nothing is decided in its name from here on.
        self.publish_released();
        let Some(mut lease) = self.held.take() else {
            return;
        };
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        spec.holder_identity = Some(String::new());
        spec.renew_time = now();
        lease.annotations_mut().remove(ADDRESS);
        match timeout(self.settings.duration / 4, self.write(lease)).await {
            Ok(Ok(_)) => tracing::info!(lease = self.settings.name, "released the Lease"),
            // Somebody else has it already.
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {}
            Ok(Err(error)) => drop(self.trouble.failed(&error)),
            Err(elapsed) => drop(self.trouble.failed(&elapsed)),
        }
    }

    fn publish_released(&self) {
        self.metrics.lease_held.set(0);
        self.leadership
            .send_replace(Leadership::Nobody { why: RELEASED });
    }
}

fn inherited(lease: &Lease) -> Arc<[String]> {
    let left = lease.annotations().get(HANDOVER);
    let ids = left.iter().flat_map(|ids| ids.split(','));
    ids.map(str::to_owned).collect()
}

fn holder(lease: Option<&Lease>) -> Option<&str> {
    lease?.spec.as_ref()?.holder_identity.as_deref()
}

/// When its holder has taken it.
fn since(lease: &Lease) -> Option<SystemTime> {
    let taken = lease.spec.as_ref()?.acquire_time.as_ref()?;
    Some(SystemTime::from(taken.0))
}

fn now() -> Option<MicroTime> {
    Timestamp::try_from(clock::now()).ok().map(MicroTime)
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.unwrap_or_default();
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        duration: Duration::from_secs(u64::try_from(seconds).unwrap_or_default()),
        renewed: spec
            .renew_time
            .map(|time| time.0.to_string())
            .unwrap_or_default(),
        transitions: spec.lease_transitions.unwrap_or_default(),
        address: lease.annotations().get(ADDRESS).cloned(),
    }
}

/// A channel for the leadership of a process that has seen nothing yet.
#[must_use]
pub fn channel() -> (watch::Sender<Leadership>, watch::Receiver<Leadership>) {
    watch::channel(Leadership::Nobody { why: UNKNOWN })
}

/// A name for this process that no other one has.
#[must_use]
pub fn identity(pod: Option<String>) -> String {
    pod.filter(|name| !name.is_empty())
        .unwrap_or_else(|| format!("process-{}-{}", std::process::id(), started()))
}

fn started() -> u128 {
    clock::since_1970().as_micros()
}
