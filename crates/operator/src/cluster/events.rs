//! Events on the owners of pods: what was asked for and not injected, or not as asked, told to who
//! runs `kubectl describe deployment`. And on ClusterLoggingConfigs of which a part has no effect.
//!
//! They are written as `events.k8s.io/v1`, whose series say how often something happened, and which
//! the API server shows as Events of `v1` as well. One thing that an owner is told is one Event,
//! with a name made from what it says, so all replicas write the same.
//!
//! Nothing here is on the way of a review: what is to be told waits in a bounded
//! [queue](crate::state::Incidents), and is dropped where nobody takes it.

mod book;
mod owners;

use std::sync::Arc;
use std::time::{Duration, Instant};

use datakit_operator_core::review::Weight;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use self::book::{Book, Id, Series};
use self::owners::Owners;
use super::MANAGER;
use super::alarm::alarm;
use super::trouble::Trouble;
use crate::clock;
use crate::error::Chain;
use crate::state::{Incident, Matter};
use crate::telemetry::cluster::{ClusterMetrics, Operation};
use crate::telemetry::events::{EventCounts, Fate};

/// The longest wait for an answer to a write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long nothing is written after the API server has refused for want of a right.
const FORBIDDEN: Duration = Duration::from_secs(600);
/// The longest name of a reporting instance.
const LONGEST_INSTANCE: usize = 128;
/// Where Events on objects outside of any namespace are: the API server accepts them nowhere else.
const NO_NAMESPACE: &str = "default";
/// The longest name of the owner in an Event's name, which may have 253 characters.
const LONGEST_OWNER: usize = 220;

/// What the task acts on besides the API server.
#[derive(Clone, Debug)]
pub struct Shared {
    /// What is to be told. Behind a lock for the case that the task is started again.
    pub incidents: Arc<Mutex<mpsc::Receiver<Incident>>>,
    /// The name of this replica.
    pub instance: String,
    /// Requests that failed.
    pub metrics: ClusterMetrics,
    /// What became of what was to be told.
    pub counts: EventCounts,
}

/// Writes Events, for ever.
pub async fn run(client: Client, shared: Shared) {
    let Shared {
        incidents,
        mut instance,
        metrics,
        counts,
    } = shared;
    instance.truncate(instance.floor_char_boundary(LONGEST_INSTANCE));
    let mut incidents = incidents.lock().await;
    let mut owners = Owners::new(client.clone(), Trouble::new(Operation::Owners, &metrics));
    let mut writer = Writer {
        client,
        instance,
        trouble: Trouble::new(Operation::Events, &metrics),
        not_before: Instant::now(),
        forbidden: false,
    };
    let mut book = Book::new(Instant::now());
    // Looking up owners is bounded like writing.
    let mut questions = book::Questions::new(Instant::now());
    loop {
        let wake = book.wake();
        let incident = tokio::select! {
            incident = incidents.recv() => incident,
            () = alarm(wake) => None,
        };
        let now = Instant::now();
        if let Some(mut incident) = incident {
            let asks = !owners.knows(&incident.owner);
            if now < writer.not_before {
                counts.count(Fate::Refused);
            } else if asks && !questions.take(now) {
                counts.count(Fate::Limited);
            } else {
                incident.owner = owners.of(&incident.namespace, incident.owner).await;
                if book.happened(incident, now).is_err() {
                    counts.count(Fate::Limited);
                }
            }
        }
        while let Some((id, series)) = book.next(Instant::now()) {
            let written = writer.write(id, &series).await;
            let now = Instant::now();
            match written {
                Ok(count) => {
                    writer.trouble.worked();
                    writer.forbidden = false;
                    counts.count(Fate::Written);
                    book.wrote(id, &series, count, now);
                }
                Err(Unwritten::Gone) => book.drop(id),
                Err(Unwritten::Forbidden(error)) => {
                    metrics.failed(Operation::Events);
                    counts.count(Fate::Refused);
                    writer.tell_forbidden(&error);
                    writer.not_before = now + FORBIDDEN;
                    book.drop_all();
                }
                Err(Unwritten::Refused(error)) => {
                    let _ = writer.trouble.failed(&error);
                    counts.count(Fate::Failed);
                    book.failed(id, now);
                }
                Err(Unwritten::Late(elapsed)) => {
                    let _ = writer.trouble.failed(&elapsed);
                    counts.count(Fate::Failed);
                    book.failed(id, now);
                }
            }
        }
    }
}

struct Writer {
    client: Client,
    instance: String,
    trouble: Trouble,
    /// Until then nothing is written.
    not_before: Instant,
    /// Whether it was said that a right is missing.
    forbidden: bool,
}

enum Unwritten {
    /// The namespace is gone, or on its way.
    Gone,
    /// A right is missing.
    Forbidden(kube::Error),
    Refused(kube::Error),
    Late(tokio::time::error::Elapsed),
}

impl Writer {
    /// Says once that a right is missing: it is looked for again, and may never come.
    fn tell_forbidden(&mut self, error: &kube::Error) {
        if !std::mem::replace(&mut self.forbidden, true) {
            tracing::warn!(
                operation = Operation::Events.as_str(),
                cause = %Chain(error),
                "owners of pods are not told by Events: the operator may not write them"
            );
        }
    }

    /// Writes a series as it stands. Returns how often it happened all in all, as far as that is
    /// known.
    async fn write(&self, id: Id, series: &Series) -> Result<u32, Unwritten> {
        let written = self.try_to_write(id, series);
        match timeout(WRITE_TIMEOUT, written).await {
            Ok(written) => written.map_err(Unwritten::from),
            Err(elapsed) => Err(Unwritten::Late(elapsed)),
        }
    }

    async fn try_to_write(&self, id: Id, series: &Series) -> kube::Result<u32> {
        let incident = &series.incident;
        let api: Api<Event> = Api::namespaced(self.client.clone(), place(&incident.namespace));
        let name = name(&incident.owner.name, id);
        if series.written == 0 {
            let event = self.event(&name, series);
            match api.create(&PostParams::default(), &event).await {
                Ok(_) => return Ok(series.unwritten),
                // Another replica has written it, or this one before it was started again.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(error),
            }
        }
        // A patch that changes nothing reads it without the right to read all Events.
        let params = PatchParams::default();
        let there = api.patch(&name, &params, &Patch::Merge(json!({}))).await;
        let there = match there {
            Ok(there) => there,
            // It was there for an hour.
            Err(kube::Error::Api(status)) if status.code == 404 => {
                let event = self.event(&name, series);
                api.create(&PostParams::default(), &event).await?;
                return Ok(series.unwritten);
            }
            Err(error) => return Err(error),
        };
        let before = there.series.map_or(1, |series| series.count);
        let before = u32::try_from(before).unwrap_or(1);
        let count = before.saturating_add(series.unwritten);
        let change = json!({"series": series_of(count)});
        api.patch(&name, &params, &Patch::Merge(change)).await?;
        Ok(count)
    }

    fn event(&self, name: &str, series: &Series) -> Event {
        let Incident {
            namespace,
            owner,
            code,
            matter,
            sentence,
        } = &series.incident;
        let (kind, reason, action) = match matter {
            Matter::Injection(weight) => {
                let (kind, reason) = match weight {
                    Weight::Skipped => ("Warning", "InjectionSkipped"),
                    Weight::Failed => ("Warning", "InjectionFailed"),
                    Weight::Mistake => ("Warning", "AnnotationMistake"),
                    Weight::Different => ("Normal", "InjectedDifferently"),
                };
                (kind, reason, "Inject")
            }
            Matter::LoggingConfig => ("Warning", *code, "Accept"),
        };
        Event {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(place(namespace).to_owned()),
                ..ObjectMeta::default()
            },
            event_time: now(),
            regarding: Some(ObjectReference {
                api_version: Some(owner.api_version.clone()),
                kind: Some(owner.kind.clone()),
                name: Some(owner.name.clone()),
                namespace: Some(namespace.clone()).filter(|namespace| !namespace.is_empty()),
                uid: Some(owner.uid.clone()),
                ..ObjectReference::default()
            }),
            type_: Some(kind.to_owned()),
            reason: Some(reason.to_owned()),
            action: Some(action.to_owned()),
            note: Some(sentence.clone()),
            reporting_controller: Some(MANAGER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            series: (series.unwritten > 1).then(|| series_of(series.unwritten)),
            ..Event::default()
        }
    }
}

impl From<kube::Error> for Unwritten {
    fn from(error: kube::Error) -> Self {
        let kube::Error::Api(status) = &error else {
            return Self::Refused(error);
        };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        let is_ending = causes
            .into_iter()
            .any(|cause| cause.reason == "NamespaceTerminating");
        match status.code {
            404 => Self::Gone,
            403 if is_ending => Self::Gone,
            403 => Self::Forbidden(error),
            _ => Self::Refused(error),
        }
    }
}

fn series_of(count: u32) -> EventSeries {
    EventSeries {
        count: i32::try_from(count).unwrap_or(i32::MAX),
        last_observed_time: now().unwrap_or(MicroTime(Timestamp::UNIX_EPOCH)),
    }
}

fn now() -> Option<MicroTime> {
    Timestamp::try_from(clock::now()).ok().map(MicroTime)
}

/// The namespace of an Event on an object of this namespace.
fn place(namespace: &str) -> &str {
    match namespace {
        "" => NO_NAMESPACE,
        namespace => namespace,
    }
}

/// The name of an Event: that of the owner, and what makes it this one.
fn name(owner: &str, id: Id) -> String {
    let end = owner.floor_char_boundary(LONGEST_OWNER);
    let owner = owner[..end].trim_end_matches(['.', '-']);
    format!("{owner}.{id:016x}")
}
