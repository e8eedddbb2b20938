//! Which ClusterLoggingConfig the sidecar of a pod would get.

use std::sync::Arc;

use anyhow::anyhow;
use datakit_operator_core::logging::{LoggingConfig, LoggingConfigs, PodLabels, PodQuery};
use datakit_operator_manifest::template::PodTemplate;
use datakit_operator_manifest::{Content, Input, Source};
use serde_json::{Value, json};

use super::super::{Streams, Usage, manifests};
use crate::error::Chain;

/// Sorts behind every time: an object that isn't in the cluster yet is newer than all that are.
const NOT_CREATED: &str = "not created yet";
/// A suffix such as Kubernetes makes.
const SUFFIX: &str = "x2x7k";

/// The objects to choose from.
#[derive(Default)]
pub(super) struct Objects(LoggingConfigs);

/// What a sidecar would get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    /// The pod that was asked for. A template doesn't say what its pods will be called.
    pod: String,
    /// The object, if one selects the pod.
    object: Option<String>,
}

/// Standard input can be for manifests or for objects.
///
/// # Errors
///
/// If it is for both, or twice for objects.
pub(super) fn read_once(manifests: &[Input], objects: &[Input]) -> Result<(), Usage> {
    let count = |inputs: &[Input]| inputs.iter().filter(|one| **one == Input::Stdin).count();
    let objects = count(objects);
    if objects > 1 || objects == 1 && count(manifests) > 0 {
        let why = "standard input can be read only once: give a file to -f or to --logging-configs";
        return Err(Usage(anyhow!(why)));
    }
    Ok(())
}

impl Objects {
    /// Reads all objects that these name, lists of them included. The second part says what could
    /// not be read, the third what selects nothing.
    ///
    /// # Errors
    /// Those of the output.
    pub(super) fn read(
        inputs: &[Input],
        streams: &mut Streams<'_>,
    ) -> anyhow::Result<(Self, Vec<String>, Vec<String>)> {
        let (mut objects, mut errors, mut notes) = (Self::default(), Vec::new(), Vec::new());
        for source in manifests::read(inputs, streams)? {
            match source {
                Ok(source) => objects.take(&source, &mut errors),
                Err(error) => errors.push(Chain(&error).to_string()),
            }
        }
        for object in objects.0.iter() {
            if let Some(why) = object.invalid() {
                let name = object.name();
                notes.push(format!(
                    "ClusterLoggingConfig/{name} selects no pod at all: {why}"
                ));
            }
        }
        if objects.0.is_empty() && errors.is_empty() {
            notes.push("no ClusterLoggingConfig found in --logging-configs".to_owned());
        }
        Ok((objects, errors, notes))
    }

    fn take(&mut self, source: &Source, errors: &mut Vec<String>) {
        for document in &source.documents {
            match &document.content {
                Content::Nothing => {}
                Content::Broken(error) => {
                    let why = manifests::broken(source, document, error, "it is left out");
                    errors.push(why);
                }
                Content::Value(parsed) => self.take_value(&parsed.value),
            }
        }
    }

    fn take_value(&mut self, value: &Value) {
        let kind = value["kind"].as_str().unwrap_or_default();
        if let (true, Some(items)) = (kind.ends_with("List"), value["items"].as_array()) {
            for item in items {
                self.take_value(item);
            }
        } else if kind == "ClusterLoggingConfig" {
            let text = |name: &str| value["metadata"][name].as_str();
            let created = text("creationTimestamp").unwrap_or(NOT_CREATED);
            let name = text("name").unwrap_or_default();
            let object = LoggingConfig::new(name, created, &value["spec"]);
            self.0.apply(Arc::new(object));
        }
    }

    /// What the sidecar of a pod made from a template would get.
    pub(super) fn choose(&self, template: &PodTemplate, pod: &Value, namespace: &str) -> Chosen {
        let name = name(template);
        let labels = pod["metadata"]["labels"].as_object();
        let labels: Vec<String> = labels
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
            .collect();
        let labels = labels.join(",");
        let found = self.0.find(&PodQuery {
            namespace,
            name: &name,
            labels: Some(&PodLabels::parse(&labels)),
        });
        Chosen {
            object: found.map(|object| object.name().to_owned()),
            pod: name,
        }
    }
}

impl Chosen {
    pub(super) fn to_json(&self) -> Value {
        json!({ "name": self.object, "pod": self.pod })
    }
}

impl std::fmt::Display for Chosen {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pod = &self.pod;
        match &self.object {
            Some(name) => write!(
                formatter,
                "A sidecar that asks the operator, in a pod called {pod}, gets ClusterLoggingConfig/{name}."
            ),
            None => write!(
                formatter,
                "No ClusterLoggingConfig selects a pod called {pod}."
            ),
        }
    }
}

/// What a pod of a template may be called.
fn name(template: &PodTemplate) -> String {
    let name = &template.name;
    match template.kind.as_str() {
        "Pod" if name.ends_with('-') => format!("{name}{SUFFIX}"),
        "Pod" => name.clone(),
        "StatefulSet" => format!("{name}-0"),
        "Deployment" => format!("{name}-6d5f7c9b84-{SUFFIX}"),
        "CronJob" => format!("{name}-29384710-{SUFFIX}"),
        _ => format!("{name}-{SUFFIX}"),
    }
}
