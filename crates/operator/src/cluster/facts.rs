//! Facts about the cluster that a review may depend on: the API server's version, and what
//! namespaces enforce.
//!
//! They are kept up to date in [`Reviewing`]. What can't be read (for want of permission, say) is
//! left unknown, and injection then does what it does without a cluster.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use datakit_operator_core::namespace::{LimitRange, Namespace, Namespaces, PodSecurity, Quota};
use datakit_operator_core::version::KubernetesVersion;
use k8s_openapi::api::core::v1;
use kube::api::{Api, DynamicObject, PartialObjectMeta};
use kube::core::ApiResource;
use kube::{Client, ResourceExt};
use tokio::time::{sleep, timeout};

use super::trouble::Trouble;
use super::watched::{Key, Watched};
use crate::state::Reviewing;
use crate::telemetry::cluster::{ClusterMetrics, Operation};

/// How often to ask for the version: it changes when the cluster is upgraded.
const VERSION_INTERVAL: Duration = Duration::from_secs(600);
/// How long to wait for that answer.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Keeps the API server's version known. A version given by the user stays.
pub async fn version(client: Client, reviewing: Arc<Reviewing>, metrics: ClusterMetrics) {
    let mut trouble = Trouble::new(Operation::Version, &metrics);
    loop {
        let pause = match timeout(VERSION_TIMEOUT, client.apiserver_version()).await {
            Ok(Ok(info)) => {
                trouble.worked();
                let version = KubernetesVersion::from_fields(&info.major, &info.minor).ok();
                if reviewing.context().kubernetes_version != version {
                    tracing::info!(version = info.git_version, "the API server's version");
                    reviewing.update_context(|context| context.kubernetes_version = version);
                }
                VERSION_INTERVAL
            }
            Ok(Err(error)) => trouble.failed(&error),
            Err(elapsed) => trouble.failed(&elapsed),
        };
        sleep(pause).await;
    }
}

/// Keeps the rules of namespaces known.
pub async fn namespaces(client: Client, reviewing: Arc<Reviewing>, metrics: ClusterMetrics) {
    let levels: Api<PartialObjectMeta<v1::Namespace>> = Api::all(client.clone());
    // Decoded by hand: they may bound resources of any name.
    let kind = ApiResource::erase::<v1::LimitRange>(&());
    let ranges: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    let kind = ApiResource::erase::<v1::ResourceQuota>(&());
    let quotas: Api<DynamicObject> = Api::all_with(client, &kind);
    let trouble = |operation| Trouble::new(operation, &metrics);
    let mut levels = Watched::all(levels, trouble(Operation::Namespaces), level);
    let mut ranges = Watched::all(ranges, trouble(Operation::LimitRanges), limit_range);
    let mut quotas = Watched::all(quotas, trouble(Operation::ResourceQuotas), quota);
    loop {
        tokio::select! {
            () = levels.changed() => {}
            () = ranges.changed() => {}
            () = quotas.changed() => {}
        }
        let namespaces = rules(levels.known(), ranges.known(), quotas.known());
        let namespaces = Arc::new(namespaces);
        reviewing.update_context(|context| context.namespaces = Arc::clone(&namespaces));
    }
}

/// What is known of each namespace. Without levels, not all namespaces are known.
fn rules(
    levels: Option<&BTreeMap<Key, PodSecurity>>,
    ranges: Option<&BTreeMap<Key, LimitRange>>,
    quotas: Option<&BTreeMap<Key, Quota>>,
) -> Namespaces {
    let mut found: HashMap<&str, Namespace> = HashMap::new();
    for ((_, name), level) in levels.into_iter().flatten() {
        found.entry(name).or_default().pod_security = *level;
    }
    for ((namespace, _), range) in ranges.into_iter().flatten() {
        let ranges = &mut found.entry(namespace).or_default().limit_ranges;
        ranges.push(range.clone());
    }
    for ((namespace, _), quota) in quotas.into_iter().flatten() {
        let quotas = &mut found.entry(namespace).or_default().quotas;
        quotas.push(quota.clone());
    }
    let namespaces: Namespaces = found.into_iter().collect();
    match levels {
        Some(_) => namespaces.all(),
        None => namespaces,
    }
}

fn level(namespace: &PartialObjectMeta<v1::Namespace>) -> PodSecurity {
    let labels = namespace.labels().iter();
    PodSecurity::from_labels(labels.map(|(key, value)| (key.as_str(), value.as_str())))
}

fn limit_range(range: &DynamicObject) -> LimitRange {
    LimitRange::from_spec(range.name_any(), &range.data["spec"])
}

fn quota(quota: &DynamicObject) -> Quota {
    Quota::from_object(quota.name_any(), &quota.data["spec"], &quota.data["status"])
}
