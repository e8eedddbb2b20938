//! Facts about the cluster that a review may depend on: the API server's version, and what namespaces enforce.
//!
//! They are kept up to date in [`Reviewing`]. What can't be read (for want of permission, say) is left unknown, and
//! injection then does what it does without a cluster.

use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use datakit_operator_core::namespace::{LimitRange, Namespace, Namespaces, PodSecurity};
use datakit_operator_core::version::KubernetesVersion;
use futures_util::StreamExt;
use k8s_openapi::api::core::v1;
use kube::api::{Api, DynamicObject, PartialObjectMeta};
use kube::core::ApiResource;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use tokio::time::{sleep, timeout};

use super::trouble::Trouble;
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
    let mut rules = Rules::default();
    let levels: Api<PartialObjectMeta<v1::Namespace>> = Api::all(client.clone());
    // Decoded by hand: a LimitRange may bound resources of any name.
    let kind = ApiResource::erase::<v1::LimitRange>(&());
    let ranges: Api<DynamicObject> = Api::all_with(client, &kind);
    let mut levels = pin!(watcher(levels, watcher::Config::default()).default_backoff());
    let mut ranges = pin!(watcher(ranges, watcher::Config::default()).default_backoff());
    let mut level_trouble = Trouble::new(Operation::Namespaces, &metrics);
    let mut range_trouble = Trouble::new(Operation::LimitRanges, &metrics);
    loop {
        let changed = tokio::select! {
            Some(event) = levels.next() => match event {
                Ok(event) => {
                    level_trouble.worked();
                    rules.see_namespace(event)
                }
                Err(error) => {
                    level_trouble.failed(&error);
                    false
                }
            },
            Some(event) = ranges.next() => match event {
                Ok(event) => {
                    range_trouble.worked();
                    rules.see_limit_range(event)
                }
                Err(error) => {
                    range_trouble.failed(&error);
                    false
                }
            },
            else => return,
        };
        if changed {
            let namespaces = Arc::new(rules.namespaces());
            reviewing.update_context(|context| context.namespaces = Arc::clone(&namespaces));
        }
    }
}

/// What was seen, by namespace. A list that is being read anew replaces the old one when it is complete.
#[derive(Debug, Default)]
struct Rules {
    levels: Option<HashMap<String, PodSecurity>>,
    reading_levels: HashMap<String, PodSecurity>,
    ranges: BTreeMap<(String, String), LimitRange>,
    reading_ranges: BTreeMap<(String, String), LimitRange>,
}

impl Rules {
    fn see_namespace(&mut self, event: watcher::Event<PartialObjectMeta<v1::Namespace>>) -> bool {
        use watcher::Event;
        match event {
            Event::Init => self.reading_levels.clear(),
            Event::InitApply(namespace) => {
                let level = level(&namespace);
                self.reading_levels.insert(namespace.name_any(), level);
            }
            Event::InitDone => {
                self.levels = Some(std::mem::take(&mut self.reading_levels));
                return true;
            }
            Event::Apply(namespace) => {
                let (name, level) = (namespace.name_any(), level(&namespace));
                let levels = self.levels.get_or_insert_default();
                return levels.insert(name, level) != Some(level);
            }
            Event::Delete(namespace) => {
                let levels = self.levels.get_or_insert_default();
                return levels.remove(&namespace.name_any()).is_some();
            }
        }
        false
    }

    fn see_limit_range(&mut self, event: watcher::Event<DynamicObject>) -> bool {
        use watcher::Event;
        match event {
            Event::Init => self.reading_ranges.clear(),
            Event::InitApply(range) => {
                self.reading_ranges.insert(key(&range), limit_range(&range));
            }
            Event::InitDone => {
                self.ranges = std::mem::take(&mut self.reading_ranges);
                return true;
            }
            Event::Apply(range) => {
                self.ranges.insert(key(&range), limit_range(&range));
                return true;
            }
            Event::Delete(range) => return self.ranges.remove(&key(&range)).is_some(),
        }
        false
    }

    fn namespaces(&self) -> Namespaces {
        let mut found: HashMap<&str, Namespace> = HashMap::new();
        for (name, level) in self.levels.iter().flatten() {
            found.entry(name).or_default().pod_security = *level;
        }
        for ((namespace, _), range) in &self.ranges {
            let ranges = &mut found.entry(namespace).or_default().limit_ranges;
            ranges.push(range.clone());
        }
        let namespaces: Namespaces = found.into_iter().collect();
        match self.levels {
            Some(_) => namespaces.all(),
            None => namespaces,
        }
    }
}

fn level(namespace: &PartialObjectMeta<v1::Namespace>) -> PodSecurity {
    let labels = namespace.labels().iter();
    PodSecurity::from_labels(labels.map(|(key, value)| (key.as_str(), value.as_str())))
}

fn key(range: &DynamicObject) -> (String, String) {
    (range.namespace().unwrap_or_default(), range.name_any())
}

fn limit_range(range: &DynamicObject) -> LimitRange {
    LimitRange::from_spec(range.name_any(), &range.data["spec"])
}
