//! What owners of workloads and of other objects are to be told, on its way from who finds it out to
//! who writes Events.
//!
//! The queue is bounded and putting something into it never waits: a review doesn't know who takes
//! it out, or whether anybody does.

use datakit_operator_core::review::{self, Finding, Record, Weight};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;

/// So many may wait. Each has at most two kilobytes.
const WAITING: usize = 256;
/// So much of a review is told.
const OF_A_REVIEW: usize = 5;
/// The longest note of an Event, in bytes
/// (<https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>).
const LONGEST_SENTENCE: usize = 1024;

/// Takes what is to be told, if anybody will tell it.
#[derive(Clone, Debug, Default)]
pub struct Incidents(Option<Queue>);

#[derive(Clone, Debug)]
struct Queue {
    sender: mpsc::Sender<Incident>,
    dropped: Counter,
}

/// One thing that an owner is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// The namespace of the pod, and so of its owner. Empty for an object outside of any.
    pub namespace: String,
    /// What made the pod, or what else is told.
    pub owner: Object,
    /// Of the reason or note.
    pub code: &'static str,
    /// What it is about.
    pub matter: Matter,
    /// What happened, and what can be done.
    pub sentence: String,
}

/// What an incident is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matter {
    /// A pod that was reviewed, and how bad it is.
    Injection(Weight),
    /// A ClusterLoggingConfig of which a part, or all, has no effect.
    LoggingConfig,
}

/// An object as others refer to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    /// Such as `apps/v1`.
    pub api_version: String,
    /// Such as `ReplicaSet`.
    pub kind: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
}

impl Incidents {
    /// A queue, and where what was put into it comes out. What doesn't fit is counted.
    #[must_use]
    pub fn new(dropped: Counter) -> (Self, mpsc::Receiver<Incident>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(Some(Queue { sender, dropped })), receiver)
    }

    /// Tells the owner of the pod that was reviewed, unless nothing of it is stored. Bare pods have
    /// nobody but who creates them, who is warned.
    pub fn tell(&self, record: &Record<'_>) {
        let Some(queue) = &self.0 else {
            return;
        };
        if record.dry_run {
            return;
        }
        let mut findings = review::findings(record).peekable();
        if findings.peek().is_none() {
            return;
        }
        let Some(owner) = owner(record) else {
            return;
        };
        for finding in findings.take(OF_A_REVIEW) {
            let Finding {
                code,
                weight,
                mut sentence,
            } = finding;
            sentence.truncate(sentence.floor_char_boundary(LONGEST_SENTENCE));
            let incident = Incident {
                namespace: record.namespace.clone().into_owned(),
                owner: owner.clone(),
                code,
                matter: Matter::Injection(weight),
                sentence,
            };
            queue.take(incident);
        }
    }

    /// Tells an object something that was found out otherwise.
    pub fn tell_of(&self, incident: Incident) {
        if let Some(queue) = &self.0 {
            queue.take(incident);
        }
    }
}

impl Queue {
    fn take(&self, incident: Incident) {
        if self.sender.try_send(incident).is_err() {
            self.dropped.inc();
        }
    }
}

/// The pod's owner, if it is one that an API server could have sent.
fn owner(record: &Record<'_>) -> Option<Object> {
    let parts = [
        (&record.namespace, 63),
        (&record.owner_api_version, 317),
        (&record.owner_kind, 63),
        (&record.owner_name, 253),
        (&record.owner_uid, 128),
    ];
    let fits =
        |(text, most): &(&std::borrow::Cow<'_, str>, usize)| (1..=*most).contains(&text.len());
    parts.iter().all(fits).then(|| Object {
        api_version: record.owner_api_version.clone().into_owned(),
        kind: record.owner_kind.clone().into_owned(),
        name: record.owner_name.clone().into_owned(),
        uid: record.owner_uid.clone().into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use datakit_operator_core::config::Config;
    use datakit_operator_core::inject::{Engine, ReviewContext};
    use serde_json::{Value, json};

    use super::*;

    /// What is told of a pod with an annotation that nobody knows, with parts of the request and of
    /// the owner replaced.
    fn told(request: &Value, owner: &Value) -> Vec<Incident> {
        let mut body = json!({
            "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
            "request": {
                "uid": "u", "resource": {"group": "", "version": "v1", "resource": "pods"},
                "namespace": "shop", "operation": "CREATE",
                "object": {
                    "metadata": {
                        "annotations": {"admission.datakit/jav-lib.version": ""},
                        "ownerReferences": [{
                            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "r", "controller": true,
                        }],
                    },
                    "spec": {"containers": [{"name": "c"}]},
                },
            },
        });
        for (key, value) in request.as_object().unwrap() {
            body["request"][key] = value.clone();
        }
        for (key, value) in owner.as_object().unwrap() {
            body["request"]["object"]["metadata"]["ownerReferences"][0][key] = value.clone();
        }
        let body = body.to_string();
        let engine = Engine::new(&Config::default());
        let reviewed = review::review(body.as_bytes(), &engine, &ReviewContext::default());
        let (incidents, mut receiver) = Incidents::new(Counter::default());
        incidents.tell(&reviewed.record);
        std::iter::from_fn(|| receiver.try_recv().ok()).collect()
    }

    #[test]
    fn the_owner_is_told() {
        let [only] = told(&json!({}), &json!({})).try_into().unwrap();
        assert_eq!(
            (only.code, only.matter),
            ("unknown_annotation", Matter::Injection(Weight::Mistake))
        );
        assert_eq!(only.namespace, "shop");
        let Object {
            kind, name, uid, ..
        } = only.owner;
        assert_eq!([kind, name, uid], ["ReplicaSet", "web-1", "r"]);
        assert!(only.sentence.contains("did you mean"), "{}", only.sentence);
    }

    #[test]
    fn nobody_is_told_of_what_is_not_stored_or_has_no_owner() {
        for (request, owner) in [
            (json!({"dryRun": true}), json!({})),
            (json!({"namespace": ""}), json!({})),
            (json!({}), json!({"controller": false})),
            (json!({}), json!({"uid": null})),
            (json!({}), json!({"name": "n".repeat(254)})),
        ] {
            assert_eq!(told(&request, &owner), [], "{request} {owner}");
        }
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let dropped = Counter::default();
        let (incidents, mut receiver) = Incidents::new(dropped.clone());
        let [incident] = told(&json!({}), &json!({})).try_into().unwrap();
        let queue = incidents.0.as_ref().unwrap();
        for _ in 0..WAITING {
            queue.sender.try_send(incident.clone()).unwrap();
        }
        let text = br#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u",
            "resource":{"group":"","version":"v1","resource":"pods"},"namespace":"shop","operation":"CREATE",
            "object":{"metadata":{"annotations":{"admission.datakit/x":""},"ownerReferences":[
            {"apiVersion":"apps/v1","kind":"ReplicaSet","name":"a","uid":"r","controller":true}]},"spec":{}}}}"#;
        let engine = Engine::new(&Config::default());
        incidents.tell(&review::review(text, &engine, &ReviewContext::default()).record);
        assert_eq!(dropped.get(), 1);
        receiver.close();
        assert!(std::iter::from_fn(|| receiver.try_recv().ok()).count() == WAITING);
    }
}
