//! Laws about one pod: nothing of the user's is lost, what is valid stays valid, injecting twice is
//! injecting once, what is skipped leaves no trace, and the status is short and true.

use std::collections::HashSet;

use datakit_operator_core::inject::annotation::STATUS;
use datakit_operator_core::inject::{
    Engine, Injection, LONGEST_STATUS, Outcome, Reason, ReviewContext, inject_pod,
};
use datakit_operator_core::review::review;
use serde_json::{Value, json};

use crate::engines::{default_engine, telling_engine};
use crate::review::{answered, body_of};
use crate::{Verdict, sentence, unique};

/// What a feature adds and nobody else has.
const TRACES: [(&str, &[&str]); 5] = [
    (
        "ddtrace",
        &["datakit-auto-instrument", "-javaagent:/datadog-lib"],
    ),
    ("otel", &["otel-auto-instrument"]),
    ("flameshot", &["flameshot-volume", "FLAMESHOT_PROCESSES"]),
    (
        "logfwd",
        &[
            "datakit-logfwd-volume",
            "LOGFWD_JSON_CONFIG",
            "datakit-pod-info",
        ],
    ),
    ("profiler", &["datakit-profiler-volume", "SYS_ADMIN"]),
];

/// All laws hold for a pod of these bytes, on a cluster of each kind.
///
/// # Errors
///
/// The first law that doesn't.
pub fn check(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok(());
    };
    for context in &contexts() {
        laws(text, default_engine(), context)?;
    }
    laws(text, telling_engine(), &contexts()[2])
}

/// All laws hold for a pod that has these bytes as its `logfwd.instances`.
///
/// # Errors
///
/// The first law that doesn't.
pub fn check_logfwd(bytes: &[u8]) -> Verdict {
    let Ok(value) = std::str::from_utf8(bytes) else {
        return Ok(());
    };
    let pod = json!({
        "metadata": {"annotations": {"admission.datakit/logfwd.instances": value}},
        "spec": {
            "containers": [
                {"name": "app", "image": "app", "volumeMounts": [
                    {"name": "logs", "mountPath": "/var/log/app"},
                    {"name": "claim", "mountPath": "/data"},
                ]},
                {"name": "side", "image": "side"},
            ],
            "volumes": [
                {"name": "logs", "emptyDir": {}},
                {"name": "claim", "persistentVolumeClaim": {"claimName": "c"}},
            ],
        },
    });
    check(pod.to_string().as_bytes())
}

/// A cluster whose version is unknown, one without native sidecars for Jobs, and one with.
#[must_use]
pub fn contexts() -> [ReviewContext; 3] {
    [None, Some("1.31"), Some("1.34")].map(|version| ReviewContext {
        kubernetes_version: version.and_then(|version| version.parse().ok()),
        ..ReviewContext::default()
    })
}

/// All laws hold for one pod.
///
/// A text that isn't JSON, or has a key twice in one object, breaks no law here.
///
/// # Errors
///
/// The first law that doesn't hold.
pub fn laws(text: &str, engine: &Engine, context: &ReviewContext) -> Verdict {
    let Some(pod) = unique::parse(text) else {
        return Ok(());
    };
    let Ok(injection) = inject_pod(text, Some("default"), engine, context) else {
        return Ok(());
    };
    let (after, patch) = applied(&pod, &injection)?;
    contained(&pod, &after, "")?;
    if let (None, Some(broken)) = (invalid(&pod), invalid(&after)) {
        return Err(format!("a valid pod became invalid: {broken}: {patch}"));
    }
    small_steps(&patch)?;
    no_trace(&pod, &injection, &patch)?;
    status(&injection, &after)?;
    let says = !injection.patch.is_empty() || !injection.notes.is_empty();
    if says && !engine.calls().include(&injection.pod, "default") {
        return Err(format!("API servers wouldn't have asked: {patch}"));
    }
    let again = after.to_string();
    let second = inject_pod(&again, Some("default"), engine, context)
        .map_err(|error| format!("what was injected can't be read any more: {error}"))?;
    if !second.patch.is_empty() {
        let second = String::from_utf8_lossy(&second.patch.to_json()).into_owned();
        return Err(format!("injecting twice isn't injecting once: {second}"));
    }
    let body = body_of(&pod);
    let reviewed = review(&body, engine, context);
    if answered(&reviewed.answer)? != ("u".to_owned(), patch) {
        return Err("a review says something else than the core".to_owned());
    }
    Ok(())
}

/// The pod after injection, by an engine for patches that isn't ours, and the patch.
///
/// # Errors
///
/// If the pod can't be read or the patch doesn't apply.
pub fn injected(
    text: &str,
    engine: &Engine,
    context: &ReviewContext,
) -> Result<(Value, Value), String> {
    let injection = inject_pod(text, Some("default"), engine, context).map_err(sentence)?;
    let pod: Value = serde_json::from_str(text).map_err(sentence)?;
    applied(&pod, &injection)
}

fn applied(pod: &Value, injection: &Injection<'_>) -> Result<(Value, Value), String> {
    let patch: Value = serde_json::from_slice(&injection.patch.to_json()).map_err(sentence)?;
    let operations: json_patch::Patch = serde_json::from_value(patch.clone()).map_err(sentence)?;
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, &operations)
        .map_err(|error| format!("the patch doesn't apply: {error}: {patch}"))?;
    Ok((pod, patch))
}

/// A patch has only additions, and replaces only named leaves.
///
/// # Errors
///
/// The operation that does something else.
pub fn small_steps(patch: &Value) -> Verdict {
    for op in patch.as_array().into_iter().flatten() {
        let leaf = op["path"].as_str().and_then(|path| path.rsplit('/').next());
        let leaf = leaf.unwrap_or_default();
        let small = match op["op"].as_str() {
            Some("add") => true,
            Some("replace") => {
                [
                    "value",
                    "name",
                    "shareProcessNamespace",
                    "admission.datakit~1status",
                ]
                .contains(&leaf)
                    && !op["value"].is_object()
                    && !op["value"].is_array()
            }
            _ => false,
        };
        if !small {
            return Err(format!("more than an addition or a named leaf: {op}"));
        }
    }
    Ok(())
}

/// What is skipped leaves no trace, and has a reason.
///
/// # Errors
///
/// What was found.
pub fn no_trace(pod: &Value, injection: &Injection<'_>, patch: &Value) -> Verdict {
    let decisions = &injection.decisions;
    let done: Vec<&str> = decisions
        .iter()
        .filter(|decision| matches!(decision.outcome, Outcome::Injected | Outcome::Repaired))
        .map(|decision| decision.feature.as_str())
        .collect();
    let mut operations = patch.as_array().into_iter().flatten();
    if operations.all(is_status) != done.is_empty() {
        return Err(format!("{done:?} were injected by the patch {patch}"));
    }
    for decision in decisions {
        if decision.reason.is_some() != matches!(decision.outcome, Outcome::Skipped) {
            return Err(format!("a reason must mean a skip: {decision:?}"));
        }
    }
    let (own, patch) = (pod.to_string(), patch.to_string());
    for (feature, traces) in TRACES {
        // What the user wrote may turn up in what is merged with it.
        let found = traces
            .iter()
            .any(|trace| patch.contains(trace) && !own.contains(trace));
        if found && !done.contains(&feature) && !reuses(injection) {
            return Err(format!("{feature} was skipped but left a trace: {patch}"));
        }
    }
    Ok(())
}

/// Whether an operation adds or changes the status and nothing else.
fn is_status(operation: &Value) -> bool {
    let only = |object: &Value, key: &str| {
        let object = object.as_object();
        object.is_some_and(|object| object.len() == 1 && object.contains_key(key))
    };
    let value = &operation["value"];
    match operation["path"].as_str() {
        Some("/metadata/annotations/admission.datakit~1status") => true,
        Some("/metadata/annotations") => only(value, STATUS),
        Some("/metadata") => only(value, "annotations") && only(&value["annotations"], STATUS),
        _ => false,
    }
}

/// A status is JSON of a bounded length that names each feature that was decided about, as it was
/// decided. There is none unless something was decided or one was there.
///
/// # Errors
///
/// What it says otherwise.
pub fn status(injection: &Injection<'_>, after: &Value) -> Verdict {
    let there = injection.pod.annotation(STATUS);
    let Some(text) = after["metadata"]["annotations"][STATUS].as_str() else {
        return Ok(());
    };
    if there == Some(text) {
        return Ok(());
    }
    if text.len() > LONGEST_STATUS {
        return Err(format!("a status of {} bytes: {text}", text.len()));
    }
    let status: Value = serde_json::from_str(text).map_err(sentence)?;
    if status["version"] != "1.2.3" || status["config"] != "5a5a5a5a5a5a" {
        return Err(format!("who decided isn't said: {text}"));
    }
    let list = |key: &str| status[key].as_array().cloned().unwrap_or_default();
    let of = |list: &[Value], name: &str| list.iter().find(|one| one["feature"] == name).cloned();
    let (injected, skipped) = (list("injected"), list("skipped"));
    for decision in &injection.decisions {
        let name = decision.feature.as_str();
        let (there, left_out) = (of(&injected, name), of(&skipped, name));
        let is_true = match decision.outcome {
            Outcome::Injected | Outcome::Repaired | Outcome::AlreadyInjected => {
                there.is_some_and(|there| there["language"] == json!(decision.language))
                    && left_out.is_none()
            }
            // At a second review, the reason of the first.
            Outcome::Skipped => {
                let code = decision.reason.as_ref().map(Reason::as_str);
                let is_kept = injection.pod.annotation(STATUS).is_some();
                there.is_none()
                    && left_out.is_some_and(|one| is_kept || one["reason"] == json!(code))
            }
            Outcome::NotRequested => left_out.is_none(),
        };
        if !is_true {
            return Err(format!("{decision:?} is told as {text}"));
        }
    }
    Ok(())
}

/// Whether a text holds something by which a feature is recognised.
pub(crate) fn holds_a_trace(text: &str) -> bool {
    let mut traces = TRACES.iter().flat_map(|(_, traces)| *traces);
    traces.any(|trace| text.contains(trace))
}

/// Whether a volume of one feature's name may turn up in another's mounts because the pod has such
/// a volume itself.
fn reuses(injection: &Injection<'_>) -> bool {
    let names = [
        "datakit-auto-instrument",
        "datakit-otel-auto-instrument",
        "flameshot-volume",
        "datakit-logfwd-volume-0",
        "datakit-pod-info",
    ];
    let mut volumes = injection.pod.volumes.iter();
    volumes.any(|volume| names.contains(&volume.name.as_ref()))
}

/// Whether `after` has all of `before`: objects all keys, lists all elements in their order; leaves
/// are equal, but for the few that injection may change.
///
/// # Errors
///
/// What is gone or changed, and where.
pub fn contained(before: &Value, after: &Value, path: &str) -> Verdict {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                let path = format!("{path}/{key}");
                let Some(found) = after.get(key) else {
                    return Err(format!("{path} is gone"));
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
                    return Err(format!("{path} is gone or changed: {value}"));
                }
            }
            Ok(())
        }
        // What is null is absent, for every API server.
        (Value::Null, Value::Array(_) | Value::Object(_)) => Ok(()),
        (Value::Null, Value::String(_)) if path.ends_with("/value") => Ok(()),
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
        (_, Value::String(_)) if path == "/metadata/annotations/admission.datakit/status" => Ok(()),
        (before, after) => Err(format!("{path}: {before} became {after}")),
    }
}

/// The rule of the API server that a pod breaks.
#[must_use]
pub fn invalid(pod: &Value) -> Option<String> {
    let spec = &pod["spec"];
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let path = |value: &Value| {
        // Stricter than the API server, which compares the text: `/tmp` and `/tmp/` are one place.
        let path = value.as_str().unwrap_or_default();
        path.trim_end_matches('/').to_owned()
    };
    let nameless = |object: &Value| object["name"].as_str().unwrap_or_default().is_empty();
    let mut volumes = HashSet::new();
    for volume in list(&spec["volumes"]) {
        if nameless(&volume) {
            return Some("volume without name".to_owned());
        }
        if !volumes.insert(volume["name"].to_string()) {
            return Some(format!("volume {} twice", volume["name"]));
        }
    }
    let mut names = HashSet::new();
    for container in list(&spec["containers"])
        .iter()
        .chain(&list(&spec["initContainers"]))
    {
        let name = &container["name"];
        if !names.insert(name.to_string()) {
            return Some(format!("container {name} twice"));
        }
        if container["image"].as_str().unwrap_or_default().is_empty() {
            return Some(format!("container {name} has no image"));
        }
        let mut paths = HashSet::new();
        for mount in list(&container["volumeMounts"]) {
            let path = path(&mount["mountPath"]);
            if !paths.insert(path.clone()) {
                return Some(format!("two mounts at {path} in {name}"));
            }
            if !volumes.contains(&mount["name"].to_string()) {
                return Some(format!("mount of unknown volume {}", mount["name"]));
            }
        }
        for device in list(&container["volumeDevices"]) {
            let path = path(&device["devicePath"]);
            if !paths.insert(path.clone()) {
                return Some(format!("a mount and a device at {path} in {name}"));
            }
        }
        if list(&container["env"]).iter().any(nameless) {
            return Some("env without name".to_owned());
        }
        if spec["resources"].is_object() && container["resources"]["limits"].is_object() {
            return Some(format!("{name} has limits in a pod with a budget"));
        }
    }
    let shares = spec["shareProcessNamespace"] == true;
    (shares && spec["hostPID"] == true).then(|| "hostPID and shareProcessNamespace".to_owned())
}
