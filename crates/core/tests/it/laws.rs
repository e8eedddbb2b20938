//! Laws that hold for every pod and every body. The judges here are written anew on purpose: they share no code with
//! what they judge.

use std::collections::HashSet;

use datakit_operator_core::config::{Config, DEFAULT_CONFIG, EnvOverrides, Policy};
use datakit_operator_core::inject::{
    Decision, Engine, Injection, Outcome, Reason, ReviewContext, inject_pod,
};
use datakit_operator_core::json::Reader;
use datakit_operator_core::review::{Answer, review};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::pods;

fn engine() -> Engine {
    Engine::new(
        &Config::load(DEFAULT_CONFIG, &EnvOverrides::default())
            .unwrap()
            .0,
    )
}

fn contexts() -> impl Strategy<Value = ReviewContext> {
    prop_oneof![Just(None), Just(Some("1.31")), Just(Some("1.34"))].prop_map(
        |version: Option<&str>| ReviewContext {
            kubernetes_version: version.map(|version| version.parse().unwrap()),
            ..ReviewContext::default()
        },
    )
}

/// Injects and applies the patch with an engine that isn't ours.
fn injected(text: &str, context: &ReviewContext) -> (Value, Value) {
    let injection = inject_pod(text, Some("default"), &engine(), context).unwrap();
    let patch: Value = serde_json::from_slice(&injection.patch.to_json()).unwrap();
    let mut pod: Value = serde_json::from_str(text).unwrap();
    let operations: json_patch::Patch = serde_json::from_value(patch.clone()).unwrap();
    json_patch::patch(&mut pod, &operations).unwrap();
    (pod, patch)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_of_the_users_is_lost(pod in pods::pod(), context in contexts()) {
        let (after, _) = injected(&pod.to_string(), &context);
        contained(&pod, &after, "")?;
    }

    #[test]
    fn a_valid_pod_stays_valid(pod in pods::pod(), context in contexts()) {
        prop_assume!(invalid(&pod).is_none());
        let (after, patch) = injected(&pod.to_string(), &context);
        prop_assert_eq!(invalid(&after), None, "{:#}", patch);
    }

    #[test]
    fn injecting_twice_is_injecting_once(pod in pods::pod(), context in contexts()) {
        let (once, _) = injected(&pod.to_string(), &context);
        let (_, second) = injected(&once.to_string(), &context);
        prop_assert_eq!(second, json!([]));
    }

    #[test]
    fn only_additions_and_named_leaves(pod in pods::pod(), context in contexts()) {
        let (_, patch) = injected(&pod.to_string(), &context);
        for op in patch.as_array().unwrap() {
            let path = op["path"].as_str().unwrap();
            match op["op"].as_str().unwrap() {
                "add" => {}
                "replace" => {
                    let leaf = path.rsplit('/').next().unwrap();
                    prop_assert!(["value", "name", "shareProcessNamespace"].contains(&leaf), "{path}");
                    prop_assert!(!op["value"].is_object() && !op["value"].is_array(), "{op}");
                }
                other => prop_assert!(false, "{other}"),
            }
        }
    }

    #[test]
    fn the_nodes_time_zone_reaches_the_profiler_alone(pod in pods::pod(), context in contexts()) {
        let (_, patch) = injected(&pod.to_string(), &context);
        let is_time_zone = |mount: &Value| mount["mountPath"] == "/etc/localtime";
        for op in patch.as_array().unwrap() {
            let (path, value) = (op["path"].as_str().unwrap(), &op["value"]);
            if path.contains("/volumeMounts") {
                let added = value.as_array().map_or(std::slice::from_ref(value), |list| list);
                prop_assert!(!added.iter().any(is_time_zone), "{op}");
            }
            let mounts = value["volumeMounts"].as_array().into_iter().flatten();
            for mount in mounts.filter(|mount| is_time_zone(mount)) {
                prop_assert_eq!(&value["name"], "datakit-profiler");
                prop_assert_eq!(&mount["readOnly"], true);
            }
        }
    }

    #[test]
    fn a_policy_only_takes_away(pod in pods::pod(), context in contexts(), policy in policies()) {
        let text = pod.to_string();
        let (config, _) = Config::load(DEFAULT_CONFIG, &EnvOverrides::default()).unwrap();
        let with = |policy: Policy| {
            let engine = Engine::new(&Config { policy, ..config.clone() });
            inject_pod(&text, Some("default"), &engine, &context).unwrap()
        };
        let policy = Config::load(&policy.to_string(), &EnvOverrides::default()).unwrap().0.policy;
        let (free, bound) = (with(Policy::permissive()), with(policy));
        let by_policy = |decision: &&Decision| {
            let code = decision.reason.as_ref().map(Reason::as_str);
            matches!(code, Some("not_allowed_here" | "version_not_allowed"))
        };
        for decision in bound.decisions.iter().filter(|decision| added(decision.outcome)) {
            // Each may have been impossible beside one that the policy takes away, but somebody asked for it.
            let before = free.decisions.iter().find(|found| found.feature == decision.feature);
            prop_assert!(before.is_some_and(|before| before.outcome != Outcome::NotRequested));
        }
        match bound.decisions.iter().filter(by_policy).count() {
            0 => prop_assert_eq!(bound.patch.to_json(), free.patch.to_json()),
            _ if free.decisions.iter().filter(|decision| decision.asked_by.is_some()).count() == 1 => {
                prop_assert!(bound.patch.is_empty());
            }
            _ => {}
        }
    }

    #[test]
    fn what_is_skipped_leaves_no_trace(pod in pods::pod(), context in contexts()) {
        let text = pod.to_string();
        let injection = inject_pod(&text, Some("default"), &engine(), &context).unwrap();
        let done: Vec<_> = injection.decisions.iter().filter(|d| added(d.outcome)).map(|d| d.feature.as_str()).collect();
        prop_assert_eq!(injection.patch.is_empty(), done.is_empty());
        for decision in &injection.decisions {
            let reasoned = matches!(decision.outcome, Outcome::Skipped);
            prop_assert_eq!(decision.reason.is_some(), reasoned);
        }
        let patch = String::from_utf8(injection.patch.to_json()).unwrap();
        for (feature, traces) in [
            ("ddtrace", &["datakit-auto-instrument", "DATAKIT_ORIGINAL", "-javaagent"][..]),
            ("logfwd", &["datakit-logfwd-volume", "LOGFWD_JSON_CONFIG", "datakit-pod-info"]),
            ("profiler", &["datakit-profiler-volume", "shareProcessNamespace", "SYS_PTRACE"]),
        ] {
            let found = traces.iter().any(|trace| patch.contains(trace));
            prop_assert!(!found || done.contains(&feature) || reuses(&injection), "{feature}: {patch}");
        }
    }

    #[test]
    fn a_review_says_the_same_as_the_core(pod in pods::pod(), context in contexts()) {
        let body = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
            "uid": "u", "resource": {"group": "", "version": "v1", "resource": "pods"}, "namespace": "default",
            "operation": "CREATE", "object": pod,
        }}).to_string();
        let (_, patch) = injected(&pod.to_string(), &context);
        let engine = engine();
        let reviewed = review(body.as_bytes(), &engine, &context);
        prop_assert_eq!(answered(&reviewed.answer)?, ("u".to_owned(), patch));
    }

    #[test]
    fn any_change_of_a_review_gets_an_answer(
        pod in pods::pod(),
        at in any::<prop::sample::Index>(),
        len in 0usize..40,
        junk in proptest::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut body = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
            "uid": "u", "resource": {"group": "", "version": "v1", "resource": "pods"}, "namespace": "default",
            "operation": "CREATE", "object": pod,
        }}).to_string().into_bytes();
        let start = at.index(body.len());
        let end = (start + len).min(body.len());
        body.splice(start..end, junk);
        answers(&body)?;
        answers(&body[..start])?;
    }

    #[test]
    fn any_bytes_get_an_answer(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        answers(&body)?;
    }

    #[test]
    fn the_reader_agrees_with_another_parser(
        text in r#"[\[\]{}:,"\\ntfalsrue0-9eE.+\- u]{0,24}"#,
    ) {
        let mut reader = Reader::new(&text);
        let ours = reader.skip().and_then(|_| reader.end()).is_ok();
        // IgnoredAny looks at the form alone, as the reader does when it skips.
        let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        prop_assert_eq!(ours, theirs, "{}", text);
    }

    #[test]
    fn strings_are_read_as_they_were_written(text in any::<String>()) {
        let mut json = Vec::new();
        datakit_operator_core::json::write_string(&mut json, &text);
        let json = String::from_utf8(json).unwrap();
        prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text.clone());
        let theirs = serde_json::to_string(&text).unwrap();
        let read = Reader::new(&theirs).string().unwrap().unwrap();
        prop_assert_eq!(read.as_ref(), text.as_str());
    }
}

/// Policies that allow less than everything in some way.
fn policies() -> impl Strategy<Value = Value> {
    let list = prop_oneof![
        Just(json!(["*"])),
        Just(json!([])),
        Just(json!(["default"])),
        Just(json!(["dev-*", "l*", "v1.*"])),
    ];
    let feature = (list.clone(), list, any::<bool>()).prop_map(|(namespaces, versions, drop)| {
        json!({"namespaces": namespaces, "versions": versions, "drop_digest": drop})
    });
    (feature.clone(), feature.clone(), feature).prop_map(|(ddtrace, logfwd, profiler)| {
        json!({"admission_policy": {"ddtrace": ddtrace, "logfwd": logfwd, "profiler": profiler}})
    })
}

fn added(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Injected | Outcome::Repaired)
}

/// Whether a volume of one feature's name may turn up in another's mounts because the pod has such a volume itself.
fn reuses(injection: &Injection<'_>) -> bool {
    let names = [
        "datakit-auto-instrument",
        "datakit-logfwd-volume-0",
        "datakit-pod-info",
    ];
    injection
        .pod
        .volumes
        .iter()
        .any(|volume| names.contains(&volume.name.as_ref()))
}

fn answers(body: &[u8]) -> Result<(), TestCaseError> {
    let engine = engine();
    let reviewed = review(body, &engine, &ReviewContext::default());
    match &reviewed.answer {
        Answer::BadRequest(sentence) => prop_assert!(!sentence.is_empty()),
        review => {
            answered(review)?;
        }
    }
    Ok(())
}

/// The uid and the patch of a well-formed answer.
fn answered(answer: &Answer) -> Result<(String, Value), TestCaseError> {
    let Answer::Review(body) = answer else {
        return Err(TestCaseError::fail(format!("{answer:?}")));
    };
    let body: Value = serde_json::from_slice(body).unwrap();
    prop_assert_eq!(&body["apiVersion"], "admission.k8s.io/v1");
    prop_assert_eq!(&body["kind"], "AdmissionReview");
    let response = &body["response"];
    prop_assert_eq!(&response["allowed"], &json!(true));
    let uid = response["uid"].as_str().unwrap().to_owned();
    prop_assert!(!uid.is_empty());
    let patch = match response["patch"].as_str() {
        None => json!([]),
        Some(encoded) => {
            use base64::Engine as _;
            prop_assert_eq!(&response["patchType"], "JSONPatch");
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(encoded)
                .unwrap();
            serde_json::from_slice(&bytes).unwrap()
        }
    };
    Ok((uid, patch))
}

/// Whether `after` has all of `before`: objects all keys, lists all elements in their order; leaves are equal, but for the
/// few that injection may change.
fn contained(before: &Value, after: &Value, path: &str) -> Result<(), TestCaseError> {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                let path = format!("{path}/{key}");
                let Some(found) = after.get(key) else {
                    return Err(TestCaseError::fail(format!("{path} is gone")));
                };
                contained(value, found, &path)?;
            }
            Ok(())
        }
        (Value::Array(before), Value::Array(after)) => {
            let mut rest = after.iter();
            for (index, value) in before.iter().enumerate() {
                let path = format!("{path}/{index}");
                if !rest.any(|found| contained(value, found, &path).is_ok()) {
                    return Err(TestCaseError::fail(format!(
                        "{path} is gone or changed: {value}"
                    )));
                }
            }
            Ok(())
        }
        (Value::Null, Value::Array(_)) => Ok(()),
        (before, after) if before == after => Ok(()),
        (Value::String(before), Value::String(after))
            if path.ends_with("/value") && after.contains(before.as_str()) =>
        {
            Ok(())
        }
        (Value::String(before), Value::String(after))
            if path.ends_with("/name") && *after == format!("DATAKIT_ORIGINAL_{before}") =>
        {
            Ok(())
        }
        (_, Value::Bool(true)) if path.ends_with("/shareProcessNamespace") => Ok(()),
        (before, after) => Err(TestCaseError::fail(format!(
            "{path}: {before} became {after}"
        ))),
    }
}

/// The rule of the API server that a pod breaks.
fn invalid(pod: &Value) -> Option<String> {
    let spec = &pod["spec"];
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut volumes = HashSet::new();
    for volume in list(&spec["volumes"]) {
        if !volumes.insert(volume["name"].to_string()) {
            return Some(format!("volume {} twice", volume["name"]));
        }
    }
    let mut names = HashSet::new();
    for container in list(&spec["containers"])
        .iter()
        .chain(&list(&spec["initContainers"]))
    {
        if !names.insert(container["name"].to_string()) {
            return Some(format!("container {} twice", container["name"]));
        }
        if container["image"].as_str().unwrap_or_default().is_empty() {
            return Some(format!("container {} has no image", container["name"]));
        }
        let mut paths = HashSet::new();
        for mount in list(&container["volumeMounts"]) {
            // Stricter than the API server, which compares the text: `/tmp` and `/tmp/` are one place.
            let path = mount["mountPath"]
                .as_str()
                .unwrap()
                .trim_end_matches('/')
                .to_owned();
            if !paths.insert(path.clone()) {
                return Some(format!("two mounts at {path} in {}", container["name"]));
            }
            if !volumes.contains(&mount["name"].to_string()) {
                return Some(format!("mount of unknown volume {}", mount["name"]));
            }
        }
        for device in list(&container["volumeDevices"]) {
            let path = device["devicePath"]
                .as_str()
                .unwrap()
                .trim_end_matches('/')
                .to_owned();
            if !paths.insert(path.clone()) {
                return Some(format!(
                    "a mount and a device at {path} in {}",
                    container["name"]
                ));
            }
        }
        if list(&container["env"])
            .iter()
            .any(|env| env["name"].as_str().unwrap_or_default().is_empty())
        {
            return Some("env without name".to_owned());
        }
        if spec["resources"].is_object() && container["resources"]["limits"].is_object() {
            return Some(format!(
                "{} has limits in a pod with a budget",
                container["name"]
            ));
        }
    }
    let shares = spec["shareProcessNamespace"] == true;
    (shares && spec["hostPID"] == true).then(|| "hostPID and shareProcessNamespace".to_owned())
}
