//! Golden cases: `testdata/inject/<case>/` holds a pod and what injection makes of it;
//! `testdata/namespaces/` is the same with rules of the pod's namespace, and `testdata/status/` with
//! an engine that says in an annotation what was decided.
//!
//! `pod.json` is the input, with an optional `config.json` (default: the built-in configuration)
//! and `context.json` (`namespace`, `kubernetes_version`, the namespace's `pod_security` and
//! `limit_ranges` and `resource_quotas`, `environment` with the deprecated variables). `patch.json`, `injected.json` and
//! `decisions.json` are the expectation; `UPDATE_EXPECT=1` rewrites them. `GOLDEN=word` runs only
//! the cases with that word in their name. The same cases go through the webhook and the `inject`
//! command. A feature that nobody asks for needs no decision in a case, so that a new feature
//! changes none.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datakit_operator_core::config::{Config, DEFAULT_CONFIG, EnvOverrides, Fingerprint};
use datakit_operator_core::inject::{Engine, EngineIdentity, Injection, ReviewContext, inject_pod};
use datakit_operator_core::namespace::{LimitRange, Namespace, Namespaces, Quota};
use datakit_operator_core::review::warnings;
use serde_json::{Value, json};

#[test]
fn cases() {
    let mut failed = Vec::new();
    let mut cases = directories();
    if let Ok(word) = std::env::var("GOLDEN") {
        cases.retain(|case| case.to_string_lossy().contains(&word));
    }
    assert!(!cases.is_empty(), "no case was found");
    for case in cases {
        if let Err(problem) = check(&case) {
            failed.push(format!("{}: {problem}", case.display()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn check(case: &Path) -> Result<(), String> {
    for file in std::fs::read_dir(case).unwrap() {
        let name = file.unwrap().file_name();
        let known = [
            "pod.json",
            "config.json",
            "context.json",
            "patch.json",
            "injected.json",
            "decisions.json",
        ];
        if !known.iter().any(|known| **known == name) {
            return Err(format!("no test reads {}", name.display()));
        }
    }
    let Case {
        pod: text,
        config,
        environment,
        namespace,
        context,
    } = Case::read(case);
    let (config, _) = Config::load(&config, &environment).map_err(|error| error.to_string())?;
    let mut engine = Engine::new(&config);
    if case.parent().is_some_and(|group| group.ends_with("status")) {
        engine = engine.identified(identity());
    }
    let namespace = namespace.as_str();

    let injection =
        inject_pod(&text, Some(namespace), &engine, &context).map_err(|e| e.to_string())?;
    let mut pod: Value = serde_json::from_str(&text).unwrap();
    let patch: Value = serde_json::from_slice(&injection.patch.to_json()).unwrap();
    apply(&mut pod, &patch)?;

    expect(&case.join("patch.json"), &patch)?;
    expect(&case.join("injected.json"), &pod)?;
    expect_decisions(&case.join("decisions.json"), &decisions(&injection))?;

    let again = pod.to_string();
    let second =
        inject_pod(&again, Some(namespace), &engine, &context).map_err(|e| e.to_string())?;
    if !second.patch.is_empty() {
        let patch = String::from_utf8(second.patch.to_json()).unwrap();
        return Err(format!("injecting twice changes the pod: {patch}"));
    }
    Ok(())
}

/// Who decides, in tests.
pub(crate) fn identity() -> EngineIdentity {
    EngineIdentity {
        version: "1.2.3",
        config: Fingerprint::of_sha256([0x5a; 32]),
    }
}

/// What a case is made of.
pub(crate) struct Case {
    pub(crate) pod: String,
    pub(crate) config: String,
    pub(crate) environment: EnvOverrides,
    pub(crate) namespace: String,
    pub(crate) context: ReviewContext,
}

impl Case {
    pub(crate) fn read(directory: &Path) -> Self {
        let read = |name: &str| std::fs::read_to_string(directory.join(name));
        let context: Value = match read("context.json") {
            Ok(text) => serde_json::from_str(&text).unwrap(),
            Err(_) => Value::Null,
        };
        let variables = context["environment"].as_object().into_iter().flatten();
        let variables =
            variables.map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()));
        let namespace = context["namespace"].as_str().unwrap_or("default");
        Self {
            pod: read("pod.json").unwrap(),
            config: read("config.json").unwrap_or(DEFAULT_CONFIG.to_owned()),
            environment: EnvOverrides::from_vars(variables),
            namespace: namespace.to_owned(),
            context: context_of(namespace, &context),
        }
    }

    /// The patch under a configuration.
    fn patch(&self, config: &str) -> Value {
        let (config, _) = Config::load(config, &self.environment).unwrap();
        let engine = Engine::new(&config);
        let injection =
            inject_pod(&self.pod, Some(&self.namespace), &engine, &self.context).unwrap();
        serde_json::from_slice(&injection.patch.to_json()).unwrap()
    }
}

/// Cases whose patch isn't the same once `admission_inject` is written as rules, and why.
const NOT_THE_SAME: [(&str, &str); 13] = [
    ("deprecated-variables-override-the-configuration", VARIABLES),
    ("logfwd-annotation-empty", ANNOTATION),
    ("logfwd-annotation-no-list", ANNOTATION),
    ("logfwd-annotation-not-json", ANNOTATION),
    ("logfwd-annotation-only-null", ANNOTATION),
    (
        "logfwd-annotation-with-a-key-that-leaves-no-files",
        ANNOTATION,
    ),
    ("logfwd-annotation-with-an-empty-list", ANNOTATION),
    ("logfwd-annotation-without-files", ANNOTATION),
    ("logfwd-annotation-wrong-type", ANNOTATION),
    ("logfwd-annotation-wrong-type-of-a-tag", ANNOTATION),
    ("logfwd-nothing-to-do-empty-object", ANNOTATION),
    ("logfwd-nothing-to-do-loggings-null", ANNOTATION),
    ("logfwd-nothing-to-do-path-key", ANNOTATION),
];
const VARIABLES: &str = "The deprecated variables take the place of settings of `admission_inject`, \
    not of rules, and the conversion reports an error for each that is set.";
const ANNOTATION: &str = "A rule gives a pod that asks for logfwd its sidecar even where the \
    annotation can't be read: the sidecar may still have work from elsewhere. `admission_inject` \
    doesn't. The conversion says so.";

/// `convert-config` changes what a document looks like, not what it does.
#[test]
fn converted_rules_inject_the_same() {
    let mut wrong = Vec::new();
    for directory in directories() {
        let case = Case::read(&directory);
        let converted = Config::convert(&case.config, &case.environment).unwrap();
        let same = case.patch(&converted.document) == case.patch(&case.config);
        let name = directory.file_name().unwrap().to_str().unwrap();
        let known = NOT_THE_SAME.iter().find(|(known, _)| *known == name);
        if same == known.is_some() {
            wrong.push(match known {
                Some((_, reason)) => format!("{name} is the same, though: {reason}"),
                None => format!("{name} differs"),
            });
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The cluster of a case: what its `context.json` says, of this namespace.
pub(crate) fn context_of(namespace: &str, context: &Value) -> ReviewContext {
    ReviewContext {
        kubernetes_version: context["kubernetes_version"]
            .as_str()
            .map(|text| text.parse().unwrap()),
        namespaces: namespaces(namespace, context),
    }
}

/// What the case says of its namespace.
fn namespaces(name: &str, context: &Value) -> Arc<Namespaces> {
    let ranges = context["limit_ranges"].as_object().into_iter().flatten();
    let quotas = context["resource_quotas"].as_object().into_iter().flatten();
    let namespace = Namespace {
        pod_security: context["pod_security"]
            .as_str()
            .map(|level| level.parse().unwrap())
            .unwrap_or_default(),
        limit_ranges: ranges
            .map(|(name, spec)| LimitRange::from_spec(name, spec))
            .collect(),
        quotas: quotas
            .map(|(name, quota)| Quota::from_object(name, &quota["spec"], &quota["status"]))
            .collect(),
    };
    Arc::new([(name, namespace)].into_iter().collect())
}

pub(crate) fn apply(pod: &mut Value, patch: &Value) -> Result<(), String> {
    let patch: json_patch::Patch = serde_json::from_value(patch.clone()).unwrap();
    json_patch::patch(pod, &patch).map_err(|error| error.to_string())
}

fn decisions(injection: &Injection<'_>) -> Value {
    let decisions: Vec<Value> = injection
        .decisions
        .iter()
        .map(|decision| {
            let mut shown = json!({
                "feature": decision.feature.as_str(),
                "outcome": decision.outcome.as_str(),
            });
            if let Some(language) = decision.language {
                shown["language"] = language.into();
            }
            if let Some(asked_by) = &decision.asked_by {
                shown["asked_by"] = asked_by.to_string().into();
            }
            if let Some(reason) = &decision.reason {
                shown["reason"] = reason.as_str().into();
            }
            if !decision.notes.is_empty() {
                shown["notes"] = decision
                    .notes
                    .iter()
                    .map(datakit_operator_core::inject::Note::as_str)
                    .collect();
            }
            shown
        })
        .collect();
    let warnings: Vec<String> = warnings(&injection.decisions, &injection.notes).collect();
    json!({ "decisions": decisions, "warnings": warnings })
}

fn expect_decisions(file: &Path, found: &Value) -> Result<(), String> {
    let asked = |decisions: &Value| {
        let mut asked = decisions.clone();
        if let Some(decisions) = asked["decisions"].as_array_mut() {
            decisions.retain(|decision| decision["outcome"] != "not_requested");
        }
        asked
    };
    let found = asked(found);
    let expected = std::fs::read_to_string(file).ok();
    let expected = expected.and_then(|text| serde_json::from_str(&text).ok());
    if expected.is_some_and(|expected| asked(&expected) == found) {
        return Ok(());
    }
    expect(file, &found)
}

fn expect(file: &Path, found: &Value) -> Result<(), String> {
    let found = format!("{found:#}\n");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(file, &found).unwrap();
        return Ok(());
    }
    let name = file.file_name().unwrap_or_default().display();
    match std::fs::read_to_string(file) {
        Ok(expected) if expected == found => Ok(()),
        Ok(expected) => {
            let lines = expected.lines().zip(found.lines());
            let first = lines
                .enumerate()
                .find(|(_, (expected, found))| expected != found);
            Err(format!(
                "{name} differs (UPDATE_EXPECT=1 rewrites it): {first:?}"
            ))
        }
        Err(_) => Err(format!("{name} is missing (UPDATE_EXPECT=1 writes it)")),
    }
}

pub(crate) fn directories() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
    let mut found: Vec<PathBuf> = ["inject", "namespaces", "status"]
        .into_iter()
        .flat_map(|group| std::fs::read_dir(root.join(group)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    found
}
