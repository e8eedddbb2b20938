//! Keeps the cluster's ClusterLoggingConfigs known to whoever answers sidecars.

use std::collections::BTreeMap;
use std::sync::Arc;

use datakit_operator_core::logging::{LoggingConfig, LoggingConfigs};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;

use super::trouble::Trouble;
use super::watched::{Health, Key, Watched};
use crate::state::{Knowledge, Logging, Source};
use crate::telemetry::cluster::{ClusterMetrics, Operation};
use crate::telemetry::logging::LoggingMetrics;

/// Watches them for ever. The CustomResourceDefinition may come and go meanwhile.
pub async fn run(
    client: Client,
    logging: Arc<Logging>,
    metrics: ClusterMetrics,
    counts: LoggingMetrics,
) {
    let kind = GroupVersionKind::gvk("logging.datakits.io", "v1alpha1", "ClusterLoggingConfig");
    let kind = ApiResource::from_gvk(&kind);
    let trouble = Trouble::new(Operation::LoggingConfigs, &metrics);
    let mut watched = Watched::all(Api::all_with(client, &kind), trouble, read);
    logging.learn(Knowledge {
        configs: None,
        source: Source::Starting,
    });
    let mut told = BTreeMap::new();
    loop {
        watched.changed().await;
        let knowledge = knowledge(watched.known(), watched.health());
        if let Some(configs) = &knowledge.configs {
            counts.objects(configs);
            tell(configs, &mut told);
        }
        logging.learn(knowledge);
    }
}

fn read(object: &DynamicObject) -> Arc<LoggingConfig> {
    let created = object.metadata.creation_timestamp.as_ref();
    let created = created.and_then(|time| serde_json::to_value(time).ok());
    let name = object.metadata.name.clone().unwrap_or_default();
    let spec = object.data.get("spec").unwrap_or(&Value::Null);
    Arc::new(LoggingConfig::new(
        name,
        created.as_ref().and_then(Value::as_str).unwrap_or_default(),
        spec,
    ))
}

fn knowledge(known: Option<&BTreeMap<Key, Arc<LoggingConfig>>>, health: &Health) -> Knowledge {
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
        for object in known.values() {
            configs.apply(Arc::clone(object));
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
