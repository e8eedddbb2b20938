//! Golden cases of validation: `testdata/validate/<case>/` holds a workload and what its author is
//! told.
//!
//! `workload.json` is the object, `before.json` what it replaces, if it is an update. `config.json`
//! has keys that replace those of the built-in configuration, `context.json` is as in the cases of
//! injection. `answer.json` is the expectation; `UPDATE_EXPECT=1` rewrites it. The same cases go
//! through the webhook.

use std::fs;
use std::path::{Path, PathBuf};

use datakit_operator_core::config::{Config, DEFAULT_CONFIG, EnvOverrides};
use datakit_operator_core::inject::{Engine, ReviewContext};
use datakit_operator_core::review::{Answer, Disposition, validate};
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::golden;

#[test]
fn cases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/validate");
    let mut cases: Vec<PathBuf> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    assert!(cases.len() > 10, "{cases:?}");
    let failed: Vec<String> = cases.iter().filter_map(|case| check(case).err()).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn check(case: &Path) -> Result<(), String> {
    let name = case.display();
    let read = |file: &str| match fs::read_to_string(case.join(file)) {
        Ok(text) => serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}")),
        Err(_) => Value::Null,
    };
    let (engine, context) = (engine(&read("config.json")), read("context.json"));
    let namespace = context["namespace"].as_str().unwrap_or("default");
    let body = body(namespace, &read("workload.json"), &read("before.json"));
    let context = golden::context_of(namespace, &context);
    let found = answer(&body.to_string(), &engine, &context);
    let found = format!("{found:#}\n");
    let file = case.join("answer.json");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&file, &found).unwrap();
    }
    match fs::read_to_string(&file) {
        Ok(expected) if expected == found => Ok(()),
        _ => Err(format!("{name}: answer.json differs: {found}")),
    }
}

/// The built-in configuration with other values of these keys.
fn engine(changes: &Value) -> Engine {
    let mut config: Value = serde_json::from_str(DEFAULT_CONFIG).unwrap();
    for (key, value) in changes.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    let (config, diagnostics) =
        Config::load(&config.to_string(), &EnvOverrides::default()).unwrap();
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    Engine::new(&config)
}

/// A review of a workload to create, or to change if there is one before.
fn body(namespace: &str, workload: &Value, before: &Value) -> Value {
    let version = workload["apiVersion"].as_str().unwrap_or_default();
    let (group, version) = version.split_once('/').unwrap_or_default();
    let kind = workload["kind"].as_str().unwrap_or_default();
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "abc",
            "resource": {"group": group, "version": version, "resource": format!("{}s", kind.to_lowercase())},
            "namespace": namespace,
            "operation": if before.is_null() { "CREATE" } else { "UPDATE" },
            "object": workload,
            "oldObject": before,
        },
    })
}

/// What became of a review, and the answer to it.
fn answer(body: &str, engine: &Engine, context: &ReviewContext) -> Value {
    let reviewed = validate(body.as_bytes(), engine, context);
    let record = reviewed.record;
    let mut shown = json!({ "outcome": record.disposition.as_str() });
    match reviewed.answer {
        Answer::BadRequest(sentence) => shown["bad_request"] = sentence.into(),
        Answer::Review(body) => {
            let mut response: Value =
                serde_json::from_slice::<Value>(&body).unwrap()["response"].take();
            assert_eq!(response["uid"].take(), "abc");
            let refused = record.disposition == Disposition::Refused;
            assert_eq!(response["allowed"].take(), !refused);
            assert_eq!(record.refused.is_some(), refused);
            if refused {
                assert_eq!(response["status"]["code"], 403);
            }
            let message = response["status"]["message"].take();
            assert!(response.get("patch").is_none(), "{response}");
            shown["message"] = message;
            shown["warnings"] = response["warnings"].take();
        }
    }
    shown
}

fn check_body(changes: &Value, expected: &Expect) {
    let workload = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
        "spec": {"template": {"spec": {"containers": [{"name": "c"}]}}},
    });
    let mut body = body("default", &workload, &Value::Null);
    for (key, value) in changes.as_object().unwrap() {
        body["request"][key] = value.clone();
    }
    let engine = engine(&Value::Null);
    let found = answer(&body.to_string(), &engine, &ReviewContext::default());
    expected.assert_eq(&found.to_string());
}

#[test]
fn what_is_no_workload_is_allowed() {
    check_body(
        &json!({}),
        &expect![[r#"{"outcome":"unchanged","message":null,"warnings":null}"#]],
    );
    check_body(
        &json!({"operation": "DELETE", "object": null}),
        &expect![[
            r#"{"outcome":"other_operation","message":"nothing is done on DELETE","warnings":null}"#
        ]],
    );
    check_body(
        &json!({"resource": {"group": "", "version": "v1", "resource": "pods"}}),
        &expect![[
            r#"{"outcome":"other_resource","message":"Unsupported resource `v1/pods`, expected a workload of apps/v1 or batch/v1, or another kind with a pod template","warnings":["Unsupported resource `v1/pods`, expected a workload of apps/v1 or batch/v1, or another kind with a pod template"]}"#
        ]],
    );
    check_body(
        &json!({"resource": {"group": "apps", "version": "v1beta1", "resource": "deployments"}}),
        &expect![[
            r#"{"outcome":"other_resource","message":"Unsupported resource `apps/v1beta1/deployments`, expected a workload of apps/v1 or batch/v1, or another kind with a pod template","warnings":["Unsupported resource `apps/v1beta1/deployments`, expected a workload of apps/v1 or batch/v1, or another kind with a pod template"]}"#
        ]],
    );
    check_body(
        &json!({"subResource": "scale"}),
        &expect![[
            r#"{"outcome":"other_resource","message":"Unsupported resource `apps/v1/deployments/scale`, expected a workload of apps/v1 or batch/v1, or another kind with a pod template","warnings":["Unsupported resource `apps/v1/deployments/scale`, expected a workload of apps/v1 or batch/v1, or another kind with a pod template"]}"#
        ]],
    );
    check_body(
        &json!({"object": {"spec": {"template": {"spec": {"containers": [{"name": 5}]}}}}}),
        &expect![[
            r#"{"outcome":"unreadable","message":"the Deployment can't be read and is not checked: `spec.template.spec.containers[0].name`: expected a string, found a number (byte 51)","warnings":["the Deployment can't be read and is not checked: `spec.template.spec.containers[0].name`: expected a string, found a number (byte 51)"]}"#
        ]],
    );
    check_body(
        &json!({"object": {"spec": {"template": []}}}),
        &expect![[
            r#"{"outcome":"unreadable","message":"the Deployment can't be read and is not checked: `spec.template`: expected an object, found a list (byte 20)","warnings":["the Deployment can't be read and is not checked: `spec.template`: expected an object, found a list (byte 20)"]}"#
        ]],
    );
    check_body(
        &json!({"object": {"spec": null}}),
        &expect![[
            r#"{"outcome":"other_resource","message":"the Deployment has no pod template at spec.template and is not checked","warnings":null}"#
        ]],
    );
    check_body(
        &json!({"object": null}),
        &expect![[
            r#"{"outcome":"other_resource","message":"the Deployment has no pod template at spec.template and is not checked","warnings":null}"#
        ]],
    );
}

#[test]
fn damage_is_answered() {
    let engine = engine(&Value::Null);
    let check = |body: &str, expected: Expect| {
        let found = answer(body, &engine, &ReviewContext::default());
        expected.assert_eq(&found.to_string());
    };
    check(
        "",
        expect![[
            r#"{"outcome":"bad_request","bad_request":"the body is no AdmissionReview in JSON: the text ends inside a value (byte 0)"}"#
        ]],
    );
    check(
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"abc","object":{"#,
        expect![[
            r#"{"outcome":"damaged_review","message":"the review is damaged and the workload is not checked: `request.object`: the text ends inside a value (byte 94)","warnings":["the review is damaged and the workload is not checked: `request.object`: the text ends inside a value (byte 94)"]}"#
        ]],
    );
}
