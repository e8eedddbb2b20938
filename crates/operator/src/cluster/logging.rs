//! Keeps the cluster's ClusterLoggingConfigs known to whoever answers sidecars, and lets the objects
//! say what becomes of them.

mod conditions;

use std::collections::BTreeMap;
use std::sync::Arc;

use datakit_operator_core::logging::{LoggingConfig, LoggingConfigs};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::sync::watch;

use super::trouble::Trouble;
use super::watched::{Health, Key, Watched};
use crate::state::{Incidents, Knowledge, Leadership, Logging, Source};
use crate::telemetry::cluster::{ClusterMetrics, Operation};
use crate::telemetry::logging::LoggingMetrics;

/// What the task acts on besides the API server.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Where the objects are made known.
    pub logging: Arc<Logging>,
    /// Requests that failed.
    pub metrics: ClusterMetrics,
    /// What is counted about the objects.
    pub counts: LoggingMetrics,
    /// Which replica writes conditions.
    pub leadership: watch::Receiver<Leadership>,
    /// What the objects are to be told by Events.
    pub incidents: Incidents,
}

/// What is kept of an object.
#[derive(Clone, Debug, PartialEq)]
struct Kept {
    config: Arc<LoggingConfig>,
    uid: String,
    generation: Option<i64>,
    /// What it says became of it.
    condition: Option<Condition>,
}

/// Watches them for ever. The CustomResourceDefinition may come and go meanwhile.
pub async fn run(client: Client, shared: Shared) {
    let kind = GroupVersionKind::gvk("logging.datakits.io", "v1alpha1", "ClusterLoggingConfig");
    let kind = ApiResource::from_gvk(&kind);
    let (seen, to_judge) = watch::channel(Vec::new());
    tokio::join!(
        learn(Api::all_with(client.clone(), &kind), &shared, &seen),
        conditions::run(client, kind, to_judge, &shared),
    );
}

async fn learn(api: Api<DynamicObject>, shared: &Shared, seen: &watch::Sender<Vec<Arc<Kept>>>) {
    let trouble = Trouble::new(Operation::LoggingConfigs, &shared.metrics);
    let mut watched = Watched::all(api, trouble, read);
    shared.logging.learn(Knowledge {
        configs: None,
        source: Source::Starting,
    });
    let mut told = BTreeMap::new();
    loop {
        watched.changed().await;
        let knowledge = knowledge(watched.known(), watched.health());
        if let Some(configs) = &knowledge.configs {
            shared.counts.objects(configs);
            tell(configs, &mut told);
        }
        shared.logging.learn(knowledge);
        // What is known of a kind that is gone says nothing about what could be written.
        let known = watched.known();
        let known = known.filter(|_| *watched.health() != Health::NoKind);
        let objects = known.into_iter().flat_map(BTreeMap::values);
        seen.send_replace(objects.cloned().collect());
    }
}

fn read(object: &DynamicObject) -> Arc<Kept> {
    let created = object.metadata.creation_timestamp.as_ref();
    let created = created.and_then(|time| serde_json::to_value(time).ok());
    let name = object.metadata.name.clone().unwrap_or_default();
    let spec = object.data.get("spec").unwrap_or(&Value::Null);
    let conditions = object.data["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let condition = conditions.find(|condition| condition["type"] == conditions::TYPE);
    Arc::new(Kept {
        config: Arc::new(LoggingConfig::new(
            name,
            created.as_ref().and_then(Value::as_str).unwrap_or_default(),
            spec,
        )),
        uid: object.metadata.uid.clone().unwrap_or_default(),
        generation: object.metadata.generation,
        // One that can't be read is written anew.
        condition: condition.and_then(|condition| Condition::deserialize(condition).ok()),
    })
}

fn knowledge(known: Option<&BTreeMap<Key, Arc<Kept>>>, health: &Health) -> Knowledge {
    let source = match health {
        Health::Starting => Source::Starting,
        Health::Working => Source::Watched,
        // A kind that was there and is gone took its objects with it, or its removal is a mistake
        // that is about to be mended: sidecars keep what they have until that is clear.
        Health::NoKind if known.is_some() => Source::Failing(
            "the CustomResourceDefinition clusterloggingconfigs.logging.datakits.io is gone"
                .to_owned(),
        ),
        Health::NoKind => Source::NotInstalled,
        Health::Failing(why) | Health::Refused(why) => Source::Failing(why.clone()),
    };
    let configs = known.map(|known| {
        let mut configs = LoggingConfigs::default();
        for kept in known.values() {
            configs.apply(Arc::clone(&kept.config));
        }
        configs
    });
    Knowledge { configs, source }
}

/// Says once of each object that selects nothing why that is.
fn tell(configs: &LoggingConfigs, told: &mut BTreeMap<String, String>) {
    let mut invalid = BTreeMap::new();
    for object in configs.iter() {
        if let Some(why) = object.invalid() {
            invalid.insert(object.name().to_owned(), why.to_string());
        }
    }
    for (name, why) in &invalid {
        if told.get(name) != Some(why) {
            tracing::warn!(
                object = %name,
                cause = %why,
                "a ClusterLoggingConfig selects no pod at all"
            );
        }
    }
    *told = invalid;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_says_how_far_it_can_be_relied_on() {
        let known = BTreeMap::new();
        let check = |known, health, want| {
            assert_eq!(knowledge(known, &health).source, want, "{health:?}");
        };
        check(None, Health::Starting, Source::Starting);
        check(None, Health::NoKind, Source::NotInstalled);
        check(Some(&known), Health::Working, Source::Watched);
        let failing = |why: &str| Source::Failing(why.to_owned());
        check(None, Health::Failing("no".to_owned()), failing("no"));
        check(
            Some(&known),
            Health::NoKind,
            failing(
                "the CustomResourceDefinition clusterloggingconfigs.logging.datakits.io is gone",
            ),
        );
    }
}
