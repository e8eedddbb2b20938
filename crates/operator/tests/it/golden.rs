//! The golden cases of injection through the webhook: over real TLS, each injected twice. What the
//! files of a case mean is told by the core's own test of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::support::{Client, Operator, Protocol, post};

/// Cases that one operator can answer: with the same configuration and context.
#[derive(Default)]
struct Group {
    cases: Vec<PathBuf>,
    args: Vec<String>,
    variables: Vec<(String, String)>,
    namespace: String,
}

#[tokio::test]
async fn cases() {
    for group in groups() {
        let args: Vec<&str> = group.args.iter().map(String::as_str).collect();
        let variables = group
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let operator = Operator::start_with(&args, &variables.collect::<Vec<_>>());
        let mut client = operator.client(Protocol::Http2).await;
        for case in &group.cases {
            let pod = read(&case.join("pod.json"));
            let (patch, warnings) = inject(&mut client, &pod, &group.namespace).await;
            let patch = patch_without(&patch);
            assert_eq!(patch, read(&case.join("patch.json")), "{}", case.display());
            let expected = read(&case.join("decisions.json"))["warnings"].take();
            let expected: Vec<String> = serde_json::from_value(expected).unwrap();
            assert_eq!(warnings, as_sent(&expected), "{}", case.display());
            let injected = read(&case.join("injected.json"));
            let (second, _) = inject(&mut client, &injected, &group.namespace).await;
            let second = patch_without(&second);
            assert_eq!(second, json!([]), "{} is injected twice", case.display());
        }
    }
}

/// Has the operator review a pod; returns the patch and the warnings.
async fn inject(client: &mut Client, pod: &Value, namespace: &str) -> (Value, Vec<String>) {
    let review = json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": namespace,
            "operation": "CREATE",
            "object": pod,
            "oldObject": null,
            "dryRun": false,
        },
    });
    let answer = client
        .ask(post(review.to_string()))
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let mut response = answer.json()["response"].take();
    assert_eq!(response["allowed"], true);
    assert_eq!(response["uid"], review["request"]["uid"]);
    let patch = match response["patch"].as_str() {
        None => json!([]),
        Some(encoded) => {
            let patch = base64::engine::general_purpose::STANDARD.decode(encoded);
            serde_json::from_slice(&patch.expect("base64")).expect("a patch")
        }
    };
    let warnings = response["warnings"].take();
    (
        patch,
        serde_json::from_value::<Option<Vec<String>>>(warnings)
            .unwrap()
            .unwrap_or_default(),
    )
}

/// A patch without the status of the pod, of which the cases don't speak.
fn patch_without(patch: &Value) -> Value {
    const STATUS: &str = "admission.datakit/status";
    let mut patch = patch.clone();
    for operation in patch.as_array_mut().into_iter().flatten() {
        let place = match operation["path"].as_str() {
            Some("/metadata/annotations") => operation.pointer_mut("/value"),
            Some("/metadata") => operation.pointer_mut("/value/annotations"),
            _ => None,
        };
        if let Some(Value::Object(annotations)) = place {
            annotations.shift_remove(STATUS);
        }
    }
    let nothing = [json!({}), json!({"annotations": {}})];
    patch.as_array_mut().into_iter().for_each(|operations| {
        operations.retain(|operation| {
            let path = operation["path"].as_str().unwrap_or_default();
            path != "/metadata/annotations/admission.datakit~1status"
                && !nothing.contains(&operation["value"])
        });
    });
    patch
}

/// Warnings within the limits of the API server: 256 bytes each, 4096 together.
fn as_sent(warnings: &[String]) -> Vec<String> {
    let mut total = 0;
    let short = warnings.iter().map(|warning| match warning.len() {
        0..=256 => warning.clone(),
        _ => format!("{}…", &warning[..warning.floor_char_boundary(253)]),
    });
    short
        .take_while(|warning| {
            total += warning.len();
            total <= 4096
        })
        .collect()
}

fn groups() -> Vec<Group> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/inject");
    let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
    for entry in fs::read_dir(root).unwrap() {
        let case = entry.unwrap().path();
        let optional = |file: &str| fs::read_to_string(case.join(file)).unwrap_or_default();
        let (config, context) = (optional("config.json"), optional("context.json"));
        let group = groups.entry((config.clone(), context.clone())).or_default();
        if group.cases.is_empty() {
            let context: Value = serde_json::from_str(&context).unwrap_or_default();
            group.namespace = context["namespace"]
                .as_str()
                .unwrap_or("default")
                .to_owned();
            if !config.is_empty() {
                let file = case.join("config.json").display().to_string();
                group.args.extend(["--config".to_owned(), file]);
            }
            if let Some(version) = context["kubernetes_version"].as_str() {
                group
                    .args
                    .extend(["--kubernetes-version".to_owned(), version.to_owned()]);
            }
            let variables = context["environment"].as_object().into_iter().flatten();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            group
                .variables
                .extend(variables.map(|(name, value)| (name.clone(), text(value))));
        }
        group.cases.push(case);
    }
    assert!(!groups.is_empty(), "no case was found");
    groups.into_values().collect()
}

fn read(file: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}
