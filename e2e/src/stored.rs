//! What two stored pods have in common.
//!
//! Shares no code with the operator on purpose: it is the judge of it.

use serde_json::Value;

/// What the API server makes up for each object.
const VOLATILE: [&str; 6] = [
    "uid",
    "creationTimestamp",
    "managedFields",
    "resourceVersion",
    "generation",
    "namespace",
];
/// The variables whose text may be extended.
const EXTENDED: [&str; 6] = [
    "JAVA_TOOL_OPTIONS",
    "NODE_OPTIONS",
    "PYTHONPATH",
    "PHP_INI_SCAN_DIR",
    "DD_LOADER_PACKAGE_PATH",
    "DD_TAGS",
];

/// Tells of what was injected, so it differs with that.
const STATUS: &str = "admission.datakit/status";

/// `metadata` and `spec` of a pod without what differs between two pods created from one manifest,
/// and without its status.
#[must_use]
pub fn comparable(pod: &Value) -> Value {
    let mut metadata = pod["metadata"].clone();
    let mut spec = pod["spec"].clone();
    if let Some(metadata) = metadata.as_object_mut() {
        for key in VOLATILE {
            metadata.remove(key);
        }
        if metadata.contains_key("generateName") {
            metadata.remove("name");
        }
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.remove(STATUS);
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    name_token_volumes_alike(&mut spec);
    serde_json::json!({"metadata": metadata, "spec": spec})
}

/// Checks that everything in `before` is in `after`, in the same order, except for what the
/// operator's documentation says it changes. `Err` says where something is missing.
pub fn contained(before: &Value, after: &Value) -> Result<(), String> {
    within(&comparable(before), &comparable(after), "")
}

/// A stored pod without those resources of the pod as a whole that the API server has worked out
/// from its containers': with another container the sum is another. Those that were in the pod as
/// it was sent stay.
#[must_use]
pub fn without_derived_resources(stored: &Value, sent: &Value) -> Value {
    let mut stored = stored.clone();
    let sent = &sent["spec"]["resources"];
    if let Some(parts) = stored["spec"]
        .get_mut("resources")
        .and_then(Value::as_object_mut)
    {
        parts.retain(|part, _| sent.get(part).is_some());
        for (part, quantities) in parts {
            if let Some(quantities) = quantities.as_object_mut() {
                quantities.retain(|name, _| sent[part].get(name).is_some());
            }
        }
    }
    stored
}

fn within(before: &Value, after: &Value, path: &str) -> Result<(), String> {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                let path = format!("{path}/{key}");
                let found = after.get(key).ok_or_else(|| format!("{path} is gone"))?;
                within(value, found, &path)?;
            }
            Ok(())
        }
        (Value::Array(before), Value::Array(after)) => {
            let variables = path.ends_with("/env");
            let mut rest = after.iter();
            for (index, value) in before.iter().enumerate() {
                let path = format!("{path}/{index}");
                let kept = rest.any(|found| {
                    within(value, found, &path).is_ok() || (variables && extended(value, found))
                });
                if !kept {
                    return Err(format!("{path} is gone or changed: {value}"));
                }
            }
            Ok(())
        }
        (Value::Bool(false), Value::Bool(true)) if path == "/spec/shareProcessNamespace" => Ok(()),
        (before, after) if before == after => Ok(()),
        (before, after) => Err(format!("{path}: {before} became {after}")),
    }
}

/// Whether a variable is another with its text extended, or the same reference under the name that
/// keeps it.
fn extended(before: &Value, after: &Value) -> bool {
    let Some(name) = before["name"].as_str() else {
        return false;
    };
    if !EXTENDED.contains(&name) {
        return false;
    }
    match before["valueFrom"].is_null() {
        true => {
            let text = before["value"].as_str().unwrap_or_default();
            after["name"] == name
                && after["value"]
                    .as_str()
                    .is_some_and(|value| value.contains(text))
        }
        false => {
            after["name"] == format!("DATAKIT_ORIGINAL_{name}")
                && after["valueFrom"] == before["valueFrom"]
        }
    }
}

/// The volume of a service account's token has a random name.
fn name_token_volumes_alike(value: &mut Value) {
    match value {
        Value::String(text) if text.starts_with("kube-api-access-") => {
            "kube-api-access".clone_into(text);
        }
        Value::Array(items) => items.iter_mut().for_each(name_token_volumes_alike),
        Value::Object(fields) => fields.values_mut().for_each(name_token_volumes_alike),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(spec: &Value) -> Value {
        json!({"metadata": {"name": "a"}, "spec": spec})
    }

    #[test]
    fn derived_resources_are_left_out() {
        let pod = |resources: Value| spec(&json!({"resources": resources}));
        let sent = pod(json!({"requests": {"cpu": "1"}}));
        let stored =
            pod(json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2"}}));
        assert_eq!(without_derived_resources(&stored, &sent), sent);
    }

    #[test]
    fn what_is_lost_or_changed_is_found() {
        let env = |entries: Value| json!({"containers": [{"name": "a", "env": entries}]});
        let v = |name: &str, value: &str| json!({"name": name, "value": value});
        let r = |name: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": "x"}}});
        for (before, after, kept) in [
            (json!({"a": 1}), json!({"a": 1, "b": 2}), true),
            (json!({"a": 1}), json!({"a": 2}), false),
            (json!({"a": 1}), json!({}), false),
            (json!({"l": [1, 2]}), json!({"l": [0, 1, 0, 2]}), true),
            (json!({"l": [1, 2]}), json!({"l": [2, 1]}), false),
            (
                json!({"shareProcessNamespace": false}),
                json!({"shareProcessNamespace": true}),
                true,
            ),
            (json!({"hostPID": false}), json!({"hostPID": true}), false),
            (
                env(json!([v("DD_TAGS", "a:b")])),
                env(json!([v("DD_TAGS", "a:b,c:d")])),
                true,
            ),
            (
                env(json!([v("DD_TAGS", "a:b")])),
                env(json!([v("DD_TAGS", "c:d")])),
                false,
            ),
            (
                env(json!([v("OTHER", "a")])),
                env(json!([v("OTHER", "ab")])),
                false,
            ),
            (
                env(json!([r("NODE_OPTIONS")])),
                env(json!([r("DATAKIT_ORIGINAL_NODE_OPTIONS")])),
                true,
            ),
            (
                env(json!([r("OTHER")])),
                env(json!([r("DATAKIT_ORIGINAL_OTHER")])),
                false,
            ),
        ] {
            assert_eq!(
                contained(&spec(&before), &spec(&after)).is_ok(),
                kept,
                "{before} {after}"
            );
        }
    }
}
