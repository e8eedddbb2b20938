//! Pods that would be injected if they were made now, and aren't: made while the operator was away,
//! before a rule was configured, or by an older version.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use datakit_operator_core::inject::{Engine, Feature, Outcome, ReviewContext, inject_pod};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::decisions::short;
use crate::clock;

/// So many pods are named.
const NAMED: usize = 50;
/// The longest name, in bytes.
const LONGEST_NAME: usize = 128;

/// What was found, if anybody looked. It is read without waiting.
#[derive(Debug, Default)]
pub struct Missed(ArcSwapOption<Found>);

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// When the last pod was looked at.
    #[serde(serialize_with = "clock::rfc3339")]
    pub at: SystemTime,
    /// How many pods lack something.
    pub count: usize,
    /// The same for each feature.
    pub features: [Lacking; Feature::ALL.len()],
    /// Some of the pods, in the order of their names.
    pub pods: Vec<Pod>,
}

/// How many pods lack a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lacking {
    /// The feature.
    pub feature: &'static str,
    /// Pods that have nothing of it.
    pub all: usize,
    /// Pods that have a part of it.
    pub some: usize,
}

/// A pod that lacks something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pod {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// What it lacks.
    pub features: Vec<&'static str>,
}

impl Missed {
    /// This was found last.
    pub fn found(&self, found: Found) {
        self.0.store(Some(Arc::new(found)));
    }

    /// Nobody knows.
    pub fn forget(&self) {
        self.0.store(None);
    }

    /// What was found last.
    #[must_use]
    pub fn known(&self) -> Option<Arc<Found>> {
        self.0.load_full()
    }
}

/// Looks at one pod after the other.
#[derive(Debug)]
pub struct Search {
    engine: Arc<Engine>,
    context: ReviewContext,
    left_out: Vec<String>,
    count: usize,
    lacking: [Lacking; Feature::ALL.len()],
    pods: Vec<Pod>,
}

/// What tells whether a pod is still there.
#[derive(Deserialize)]
struct Head<'a> {
    metadata: Option<Metadata>,
    #[serde(borrow)]
    status: Option<Status<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    deletion_timestamp: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Status<'a> {
    #[serde(borrow)]
    phase: Option<Cow<'a, str>>,
}

impl Search {
    /// Compares with what this configuration would do now, but for pods of these namespaces.
    #[must_use]
    pub fn new(engine: Arc<Engine>, context: &ReviewContext, left_out: &[String]) -> Self {
        Self {
            engine,
            // What a pod takes of a quota is left again when it is made anew.
            context: ReviewContext {
                namespaces: Arc::new(context.namespaces.without_quotas()),
                ..context.clone()
            },
            left_out: left_out.to_vec(),
            count: 0,
            lacking: Feature::ALL.map(|feature| Lacking {
                feature: feature.as_str(),
                all: 0,
                some: 0,
            }),
            pods: Vec::new(),
        }
    }

    /// Whether pods of this namespace aren't looked at.
    #[must_use]
    pub fn leaves_out(&self, namespace: &str) -> bool {
        self.left_out.iter().any(|left_out| left_out == namespace)
    }

    /// Looks at a pod, which is JSON.
    pub fn look(&mut self, namespace: &str, name: &str, json: &str) {
        let Ok(head) = serde_json::from_str::<Head<'_>>(json) else {
            return;
        };
        let phase = head.status.and_then(|status| status.phase);
        let is_over = matches!(phase.as_deref(), Some("Succeeded" | "Failed"));
        let is_going = (head.metadata).is_some_and(|data| data.deletion_timestamp.is_some());
        if is_over || is_going {
            return;
        }
        let injection = inject_pod(json, Some(namespace), &self.engine, &self.context);
        let Ok(injection) = injection else {
            return;
        };
        let mut features = Vec::new();
        for decision in &injection.decisions {
            let lacking = &mut self.lacking[decision.feature as usize];
            match decision.outcome {
                Outcome::Injected => lacking.all += 1,
                Outcome::Repaired => lacking.some += 1,
                Outcome::AlreadyInjected | Outcome::Skipped | Outcome::NotRequested => continue,
            }
            features.push(decision.feature.as_str());
        }
        if features.is_empty() {
            return;
        }
        self.count += 1;
        if self.pods.len() < NAMED {
            self.pods.push(Pod {
                namespace: short(namespace, LONGEST_NAME),
                name: short(name, LONGEST_NAME),
                features,
            });
        }
    }

    /// What was found.
    #[must_use]
    pub fn end(self) -> Found {
        Found {
            at: clock::now(),
            count: self.count,
            features: self.lacking,
            pods: self.pods,
        }
    }
}

#[cfg(test)]
mod tests {
    use datakit_operator_core::config::{Config, EnvOverrides};
    use datakit_operator_core::namespace::{Namespace, Namespaces, Quota};
    use serde_json::{Value, json};

    use super::*;

    fn engine() -> Arc<Engine> {
        let config =
            json!({"admission_inject": {"ddtrace": {"images": {"java_agent_image": "java:1"}}}});
        let (config, _) = Config::load(&config.to_string(), &EnvOverrides::default()).unwrap();
        Arc::new(Engine::new(&config))
    }

    fn pod(change: &Value) -> String {
        let mut pod = json!({
            "metadata": {"annotations": {"admission.datakit/java-lib.version": ""}},
            "spec": {"containers": [{"name": "app", "image": "app"}]},
        });
        for (key, value) in change.as_object().unwrap() {
            pod[key] = value.clone();
        }
        pod.to_string()
    }

    #[test]
    fn what_would_be_injected_now_was_missed() {
        let context = ReviewContext::default();
        let mut search = Search::new(engine(), &context, &["kube-system".to_owned()]);
        assert!(search.leaves_out("kube-system") && !search.leaves_out("shop"));
        let lacks = pod(&json!({}));
        let injected = inject_pod(&lacks, Some("shop"), &engine(), &context).unwrap();
        let patch: json_patch::Patch = serde_json::from_slice(&injected.patch.to_json()).unwrap();
        let mut has: Value = serde_json::from_str(&lacks).unwrap();
        json_patch::patch(&mut has, &patch).unwrap();
        search.look("shop", "has", &has.to_string());
        let containers = has["spec"]["containers"].as_array_mut().unwrap();
        containers.push(json!({"name": "later", "image": "later"}));
        search.look("shop", "has-some", &has.to_string());
        search.look("shop", "lacks", &lacks);
        for over in [
            json!({"metadata": {"deletionTimestamp": "2026-11-27T18:00:00Z", "annotations": {"admission.datakit/java-lib.version": ""}}}),
            json!({"status": {"phase": "Succeeded"}}),
            json!({"metadata": {}}),
        ] {
            search.look("shop", "over", &pod(&over));
        }
        search.look("shop", "damaged", "{");
        let found = search.end();
        assert_eq!(found.count, 2);
        let ddtrace = found.features.iter().find(|one| one.feature == "ddtrace");
        assert_eq!(ddtrace.map(|one| (one.all, one.some)), Some((1, 1)));
        let names: Vec<&str> = found.pods.iter().map(|pod| &*pod.name).collect();
        assert_eq!(names, ["has-some", "lacks"]);
        assert_eq!(found.pods[1].features, ["ddtrace"]);
    }

    /// A pod that is there is counted in its namespace's quota already.
    #[test]
    fn a_quota_that_the_pod_has_used_up_is_no_reason() {
        let amounts = json!({"pods": "1"});
        let (spec, status) = (json!({"hard": amounts}), json!({"used": amounts}));
        let namespace = Namespace {
            quotas: vec![Quota::from_object("q", &spec, &status)],
            ..Namespace::default()
        };
        let namespaces: Namespaces = [("shop", namespace)].into_iter().collect();
        let context = ReviewContext {
            namespaces: Arc::new(namespaces),
            ..ReviewContext::default()
        };
        let search = Search::new(engine(), &context, &[]);
        let known = search.context.namespaces.get("shop").unwrap();
        assert_eq!(known.quotas, []);
    }

    #[test]
    fn only_some_are_named() {
        let mut search = Search::new(engine(), &ReviewContext::default(), &[]);
        for number in 0..NAMED + 9 {
            search.look("shop", &number.to_string(), &pod(&json!({})));
        }
        let found = search.end();
        assert_eq!((found.count, found.pods.len()), (NAMED + 9, NAMED));
    }
}
