//! Keeps the records of agents' leader election in Leases.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use datakit_operator_core::election::leader::Record;
use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource as _};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::MANAGER;
use super::trouble::Trouble;
use crate::election::leaders::{Leaders, Pending, Store, StoreError, Stored};
use crate::telemetry::cluster::{ClusterMetrics, Operation};

/// The label by which these Leases are told from others.
const LABEL: &str = "election.datakits.io/managed";
/// How long to wait for the API server: agents give up after two seconds.
const TIMEOUT: Duration = Duration::from_secs(2);
/// What is done with Leases here.
const VERBS: [&str; 5] = ["get", "list", "watch", "create", "update"];

/// Tells which leader's Leases are written, as long as it can be heard.
pub async fn watch(
    client: Client,
    namespace: String,
    leaders: Arc<Leaders>,
    metrics: ClusterMetrics,
) {
    let resource = ApiResource::erase::<Lease>(&());
    let leases: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &resource);
    let config = watcher::Config::default().labels(&format!("{LABEL}=true"));
    let mut events = pin!(watcher(leases, config).default_backoff());
    let mut trouble = Trouble::new(Operation::Leaders, &metrics);
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(lease) | Event::InitApply(lease)) => {
                trouble.worked();
                let seen = record(lease.data.get("spec").unwrap_or(&Value::Null));
                if let (Some(name), Some(version), Some(record)) =
                    (&lease.metadata.name, &lease.metadata.resource_version, seen)
                {
                    leaders.observe(name, &record, version);
                }
            }
            Ok(Event::InitDone) => {
                trouble.worked();
                leaders.set_live(true);
            }
            Ok(Event::Init | Event::Delete(_)) => {}
            Err(error) => {
                trouble.failed(&error);
                // A watch that breaks off later is taken up where it was, without a word; whether
                // it may be and the API server answers is asked for each answer.
                if matches!(error, watcher::Error::InitialListFailed(_)) {
                    leaders.set_live(false);
                }
            }
        }
    }
}

/// Leases in one namespace. They are kept as they are read, so that a field which only newer
/// versions of Kubernetes know is written back.
#[derive(Clone)]
pub struct LeaseStore {
    leases: Api<DynamicObject>,
    reviews: Api<SelfSubjectAccessReview>,
    namespace: String,
}

impl std::fmt::Debug for LeaseStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("LeaseStore(…)")
    }
}

impl LeaseStore {
    /// Keeps them in this namespace.
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        let resource = ApiResource::erase::<Lease>(&());
        Self {
            leases: Api::namespaced_with(client.clone(), namespace, &resource),
            reviews: Api::all(client),
            namespace: namespace.to_owned(),
        }
    }

    /// Whether the operator may do this with Leases.
    async fn may(&self, verb: &str) -> Result<(), StoreError> {
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    group: Some(Lease::group(&()).into_owned()),
                    resource: Some(Lease::plural(&()).into_owned()),
                    namespace: Some(self.namespace.clone()),
                    verb: Some(verb.to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let review = within(self.reviews.create(&PostParams::default(), &review)).await?;
        match review.status.is_some_and(|status| status.allowed) {
            true => Ok(()),
            false => Err(StoreError::Forbidden(format!(
                "the operator's account may not {verb} Leases in the namespace {}; the chart's rbac.agentLeaders gives it the right",
                self.namespace
            ))),
        }
    }
}

impl Store for LeaseStore {
    fn read<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Stored, StoreError>> {
        Box::pin(async move {
            let Some(read) = within(self.leases.get_opt(name)).await? else {
                return Ok(Stored::default());
            };
            let version = read.metadata.resource_version.clone();
            let object = serde_json::to_value(read).map_err(unexpected)?;
            Ok(Stored {
                record: record(&object["spec"]),
                version,
                object,
            })
        })
    }

    fn write<'a>(
        &'a self,
        name: &'a str,
        record: Record,
        over: Stored,
    ) -> Pending<'a, Result<String, StoreError>> {
        Box::pin(async move {
            let exists = over.version.is_some();
            let lease: DynamicObject =
                serde_json::from_value(changed(name, &record, over)).map_err(unexpected)?;
            let params = PostParams {
                field_manager: Some(MANAGER.to_owned()),
                ..PostParams::default()
            };
            let written = if exists {
                within(self.leases.replace(name, &params, &lease)).await?
            } else {
                within(self.leases.create(&params, &lease)).await?
            };
            (written.metadata.resource_version)
                .ok_or_else(|| unexpected("it has no resourceVersion"))
        })
    }

    fn check(&self) -> Pending<'_, Result<(), StoreError>> {
        Box::pin(async move {
            try_join_all(VERBS.map(|verb| self.may(verb)))
                .await
                .map(drop)
        })
    }
}

async fn within<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, StoreError> {
    match timeout(TIMEOUT, request).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(kube::Error::Api(status))) => Err(match status.code {
            404 | 409 => StoreError::Conflict,
            401 | 403 => StoreError::Forbidden(status.message),
            _ => StoreError::Unavailable(status.message),
        }),
        Ok(Err(error)) => Err(StoreError::Unavailable(error.to_string())),
        Err(_) => Err(StoreError::Unavailable(
            "the API server does not answer".to_owned(),
        )),
    }
}

fn unexpected(why: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!(
        "the API server sent a Lease that can't be read: {why}"
    ))
}

/// The Lease with this record in it, and everything else as it was read.
///
/// The times are for people and for other programs that look at Leases. Nothing here reads them.
fn changed(name: &str, record: &Record, over: Stored) -> Value {
    let now = json!(MicroTime(Timestamp::now()));
    let taken = over
        .record
        .is_none_or(|before| before.epoch != record.epoch);
    let mut lease = match over.object {
        object @ Value::Object(_) => object,
        _ => json!({"metadata": {"name": name}}),
    };
    for (field, value) in [
        ("holderIdentity", json!(record.incumbent)),
        ("leaseDurationSeconds", json!(record.duration.as_secs())),
        ("leaseTransitions", json!(record.epoch)),
        ("renewTime", now.clone()),
    ] {
        lease["spec"][field] = value;
    }
    if taken {
        lease["spec"]["acquireTime"] = now;
    }
    lease["metadata"]["labels"][LABEL] = "true".into();
    lease
}

fn record(spec: &Value) -> Option<Record> {
    Some(Record {
        incumbent: spec["holderIdentity"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        epoch: spec["leaseTransitions"].as_u64().unwrap_or_default(),
        duration: Duration::from_secs(spec["leaseDurationSeconds"].as_u64()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led_by(incumbent: &str, epoch: u64) -> Record {
        Record {
            incumbent: incumbent.to_owned(),
            epoch,
            duration: Duration::from_secs(30),
        }
    }

    fn stored(object: Value) -> Stored {
        Stored {
            record: record(&object["spec"]),
            version: Some("7".to_owned()),
            object,
        }
    }

    #[test]
    fn a_lease_keeps_what_is_not_of_the_record() {
        let read = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "n", "resourceVersion": "7", "labels": {"team": "a"}},
            "spec": {
                "holderIdentity": "a", "leaseTransitions": 1, "leaseDurationSeconds": 30,
                "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2026-01-01T00:00:00.000000Z",
                "strategy": "OldestEmulationVersion",
            },
        });
        let mut renewed = changed("n", &led_by("a", 1), stored(read.clone()));
        let time = renewed["spec"]["renewTime"].take();
        assert!(time.as_str() > read["spec"]["renewTime"].as_str(), "{time}");
        let mut expected = read.clone();
        expected["spec"]["renewTime"] = Value::Null;
        expected["metadata"]["labels"][LABEL] = "true".into();
        assert_eq!(renewed, expected);

        let taken = changed("n", &led_by("b", 2), stored(read));
        assert_eq!(taken["spec"]["acquireTime"], taken["spec"]["renewTime"]);
        assert_eq!(record(&taken["spec"]), Some(led_by("b", 2)));
    }

    #[test]
    fn a_new_lease_has_all_that_readers_need() {
        let made = changed("n", &led_by("a", 1), Stored::default());
        assert_eq!(record(&made["spec"]), Some(led_by("a", 1)));
        assert_eq!(made["spec"]["acquireTime"], made["spec"]["renewTime"]);
        assert_eq!(
            made["metadata"],
            json!({"name": "n", "labels": {LABEL: "true"}})
        );
        let read: Result<Lease, _> = serde_json::from_value(made);
        assert!(read.is_ok(), "{read:?}");
    }

    /// Of a Lease that somebody else made: a holder that resigned, or no terms at all.
    #[test]
    fn strange_leases() {
        assert_eq!(
            record(&json!({"leaseDurationSeconds": 30})),
            Some(led_by("", 0))
        );
        for spec in [json!(null), json!({}), json!({"leaseDurationSeconds": -1})] {
            assert_eq!(record(&spec), None, "{spec}");
        }
    }
}
