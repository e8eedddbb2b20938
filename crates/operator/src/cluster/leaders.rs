//! Keeps the records of agents' leader election in Leases.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use datakit_operator_core::election::leader::Record;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::time::timeout;

use super::MANAGER;
use crate::election::leaders::{Pending, Store, StoreError, Stored};

/// The label by which these Leases are told from others.
const LABEL: &str = "election.datakits.io/managed";
/// How long to wait for the API server.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Leases in one namespace.
#[derive(Clone)]
pub struct LeaseStore(Api<Lease>);

impl std::fmt::Debug for LeaseStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("LeaseStore(…)")
    }
}

impl LeaseStore {
    /// Keeps them in this namespace.
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        Self(Api::namespaced(client, namespace))
    }
}

impl Store for LeaseStore {
    fn read<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Stored, StoreError>> {
        Box::pin(async move {
            let read = within(self.0.get_opt(name)).await?;
            Ok(read.map_or_else(Stored::default, |lease| Stored {
                record: lease.spec.as_ref().and_then(record),
                version: lease.metadata.resource_version,
            }))
        })
    }

    fn write<'a>(
        &'a self,
        name: &'a str,
        record: Record,
        version: Option<String>,
    ) -> Pending<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let exists = version.is_some();
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(name.to_owned()),
                    resource_version: version,
                    labels: Some(BTreeMap::from([(LABEL.to_owned(), "true".to_owned())])),
                    ..ObjectMeta::default()
                },
                spec: Some(spec(&record)),
            };
            let params = PostParams {
                field_manager: Some(MANAGER.to_owned()),
                ..PostParams::default()
            };
            if exists {
                within(self.0.replace(name, &params, &lease)).await?;
            } else {
                within(self.0.create(&params, &lease)).await?;
            }
            Ok(())
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

fn spec(record: &Record) -> LeaseSpec {
    let renewed = UNIX_EPOCH + Duration::from_millis(record.renewed_ms);
    LeaseSpec {
        holder_identity: Some(record.incumbent.clone()),
        lease_duration_seconds: i32::try_from(record.duration_ms / 1_000).ok(),
        lease_transitions: i32::try_from(record.epoch).ok(),
        renew_time: Timestamp::try_from(renewed).ok().map(MicroTime),
        ..LeaseSpec::default()
    }
}

fn record(spec: &LeaseSpec) -> Option<Record> {
    let renewed = SystemTime::from(spec.renew_time.as_ref()?.0);
    let renewed = renewed.duration_since(UNIX_EPOCH).ok()?;
    let seconds = u64::try_from(spec.lease_duration_seconds?).ok()?;
    Some(Record {
        incumbent: spec.holder_identity.clone()?,
        epoch: u64::try_from(spec.lease_transitions.unwrap_or_default()).ok()?,
        renewed_ms: u64::try_from(renewed.as_millis()).ok()?,
        duration_ms: seconds.checked_mul(1_000)?,
    })
}
