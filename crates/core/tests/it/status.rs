//! The status of a pod: beside what the golden cases show, that it changes nothing else, and that
//! it never makes a pod too large.

use datakit_operator_core::config::{Config, EnvOverrides};
use datakit_operator_core::inject::annotation::STATUS;
use datakit_operator_core::inject::{Engine, LONGEST_STATUS, Outcome, ReviewContext, inject_pod};
use datakit_operator_properties::engines::{default_config, default_engine, telling_engine};
use datakit_operator_properties::pod as judges;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::golden::{Case, apply, directories, identity};
use crate::pods;

/// A pod with annotations.
fn pod(annotations: &Value) -> Value {
    json!({
        "metadata": {"name": "shop", "annotations": annotations},
        "spec": {"containers": [{"name": "app", "image": "shop:1"}]},
    })
}

/// The status that a pod gets with an engine, and the rest of the patch.
fn status(pod: &Value, engine: &Engine) -> (Option<String>, Vec<Value>) {
    let text = pod.to_string();
    let injection = inject_pod(&text, Some("default"), engine, &ReviewContext::default()).unwrap();
    let patch: Value = serde_json::from_slice(&injection.patch.to_json()).unwrap();
    let mut after = pod.clone();
    apply(&mut after, &patch).unwrap();
    let rest = patch.as_array().unwrap().iter();
    let rest = rest.filter(|op| !op["path"].as_str().unwrap().starts_with("/metadata"));
    let status = after["metadata"]["annotations"][STATUS].as_str();
    (status.map(str::to_owned), rest.cloned().collect())
}

fn engine(config: &Value) -> Engine {
    let loaded = Config::load(&config.to_string(), &EnvOverrides::default());
    let (config, diagnostics) = loaded.unwrap();
    assert_eq!(diagnostics, [], "{config:?}");
    Engine::new(&config).identified(identity())
}

#[test]
fn it_is_all_that_differs() {
    let mut told = 0;
    for directory in directories() {
        let case = Case::read(&directory);
        let (config, _) = Config::load(&case.config, &case.environment).unwrap();
        let inject = |pod: &Value, engine: &Engine| {
            let text = pod.to_string();
            let injection = inject_pod(&text, Some(&case.namespace), engine, &case.context);
            let injection = injection.unwrap();
            let patch: Value = serde_json::from_slice(&injection.patch.to_json()).unwrap();
            let mut after = pod.clone();
            apply(&mut after, &patch).unwrap();
            judges::status(&injection, &after).unwrap();
            let mut outcomes = injection.decisions.iter().map(|decision| decision.outcome);
            (
                after,
                outcomes.any(|outcome| outcome != Outcome::NotRequested),
            )
        };
        let pod: Value = serde_json::from_str(&case.pod).unwrap();
        let (plain, telling) = (
            Engine::new(&config),
            Engine::new(&config).identified(identity()),
        );
        let (without, _) = inject(&pod, &plain);
        let (with, decided) = inject(&pod, &telling);
        let (again, _) = inject(&with, &telling);
        assert_eq!(again, with, "{}: a second patch", directory.display());
        told += usize::from(decided && with["metadata"]["annotations"][STATUS].is_string());
        assert_eq!(bare(with), bare(without), "{}", directory.display());
    }
    assert!(told > 200, "{told} cases with a status");
}

/// A pod without its status, nor what may have been made for it alone.
fn bare(mut pod: Value) -> Value {
    let Some(metadata) = pod["metadata"].as_object_mut() else {
        pod.as_object_mut().unwrap().remove("metadata");
        return pod;
    };
    if let Some(annotations) = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove(STATUS);
    }
    let is_empty = |value: &Value| value.as_object().is_none_or(serde_json::Map::is_empty);
    metadata.retain(|key, value| key != "annotations" || !is_empty(value));
    if metadata.is_empty() {
        pod.as_object_mut().unwrap().remove("metadata");
    }
    pod
}

/// A rule of each kind of feature, with a name.
fn with_rules_named(name: &str) -> Value {
    let selected = |more: Value| {
        let mut rule = json!({"name": name, "namespace_selectors": ["^default$"]});
        rule.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        rule
    };
    json!({"admission_inject_v2": {
        "ddtraces": [selected(json!({"language": "java", "image": "java:1"}))],
        "otels": [selected(json!({"language": "java", "image": "otel:1"}))],
        "profilers": [selected(json!({"language": "java", "image": "profiler:1"}))],
    }})
}

/// Notes go first, then images, then rules; what remains says it.
#[test]
fn what_is_left_out_where_it_would_be_too_long() {
    for length in 0..600 {
        let (status, _) = status(
            &pod(&json!({})),
            &engine(&with_rules_named(&"n".repeat(length))),
        );
        let text = status.unwrap();
        assert!(text.len() <= LONGEST_STATUS, "{text}");
        let status: Value = serde_json::from_str(&text).unwrap();
        let expected = match length {
            0..=200 => continue,
            280.. => json!(["notes", "images", "rules"]),
            _ => {
                let left_out = status["truncated"].as_array().map_or(0, Vec::len);
                json!(["notes", "images", "rules"][..left_out])
            }
        };
        let found = status.get("truncated").cloned().unwrap_or(json!([]));
        assert_eq!(found, expected, "{length}: {text}");
        assert_eq!(status["injected"][0]["feature"], "ddtrace");
        assert_eq!(status["skipped"][0]["reason"], "other_feature");
    }
}

/// The API server refuses an object whose annotations take more than 256 KiB.
#[test]
fn it_never_makes_annotations_too_large() {
    let telling = telling_engine();
    for (length, fits) in [(260_000, true), (261_900, false), (270_000, false)] {
        let annotations =
            json!({"x": "y".repeat(length), "admission.datakit/java-lib.version": ""});
        let (status, rest) = status(&pod(&annotations), telling);
        assert_eq!(status.is_some(), fits, "{length}");
        assert!(!rest.is_empty(), "the library doesn't depend on it");
    }
}

/// Limits of a patch count for it as well, and what was injected comes first.
#[test]
fn it_stays_within_the_limits_of_a_patch() {
    let annotations = json!({"admission.datakit/java-lib.version": ""});
    let (_, rest) = status(&pod(&annotations), default_engine());
    let limited = |operations: usize| {
        let mut config = default_config();
        config.limits.patch_operations = operations;
        Engine::new(&config).identified(identity())
    };
    let (told, all) = status(&pod(&annotations), &limited(rest.len() + 1));
    assert_eq!((told.is_some(), &all), (true, &rest));
    let (told, all) = status(&pod(&annotations), &limited(rest.len()));
    assert_eq!((told, &all), (None, &rest));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn laws(pod in pods::pod(), version in prop_oneof![Just(None), Just(Some("1.34"))]) {
        let context = ReviewContext {
            kubernetes_version: version.map(|version: &str| version.parse().unwrap()),
            ..ReviewContext::default()
        };
        let verdict = judges::laws(&pod.to_string(), telling_engine(), &context);
        verdict.map_err(TestCaseError::fail)?;
    }
}
