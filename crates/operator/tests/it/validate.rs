//! The golden cases of validation through the webhook, and that it is held to the bounds of
//! reviews. What the files of a case mean is told by the core's own test of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use datakit_operator_core::config::DEFAULT_CONFIG;
use http::{HeaderValue, Method};
use serde_json::{Value, json};

use crate::support::{Client, Operator, Protocol, post, request};

const VALIDATE: &str = "/v1/webhooks/validate";

/// Has the operator review a workload; returns the response.
async fn validate(client: &mut Client, workload: &Value, before: &Value) -> Value {
    let version = workload["apiVersion"].as_str().unwrap_or_default();
    let (group, version) = version.split_once('/').unwrap_or_default();
    let kind = workload["kind"].as_str().unwrap_or_default();
    let review = json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "abc",
            "resource": {"group": group, "version": version, "resource": format!("{}s", kind.to_lowercase())},
            "namespace": "default",
            "operation": if before.is_null() { "CREATE" } else { "UPDATE" },
            "object": workload,
            "oldObject": before,
        },
    });
    let mut request = post(review.to_string());
    *request.uri_mut() = VALIDATE.parse().expect("a path");
    let answer = client.ask(request).await.expect("an answer");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer.json()["response"].take()
}

#[tokio::test]
async fn cases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/validate");
    let mut by_config: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for entry in fs::read_dir(root).unwrap() {
        let case = entry.unwrap().path();
        // Of namespaces only a cluster tells.
        if case.join("context.json").exists() {
            continue;
        }
        let config = fs::read_to_string(case.join("config.json")).unwrap_or_default();
        by_config.entry(config).or_default().push(case);
    }
    assert!(by_config.len() > 3);
    for (changes, cases) in by_config {
        let mut config: Value = serde_json::from_str(DEFAULT_CONFIG).unwrap();
        let changes: Value = serde_json::from_str(&changes).unwrap_or_default();
        for (key, value) in changes.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        let variables = [("ENV_JSON_CONFIG", &*config.to_string())];
        let operator = Operator::start_with(&[], &variables);
        let mut client = operator.client(Protocol::Http2).await;
        let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
        for case in &cases {
            let read = |file: &str| -> Value {
                let text = fs::read_to_string(case.join(file)).unwrap_or_default();
                serde_json::from_str(&text).unwrap_or_default()
            };
            let (workload, before) = (read("workload.json"), read("before.json"));
            let expected = read("answer.json");
            let response = validate(&mut client, &workload, &before).await;
            let shown = case.display();
            let refused = expected["outcome"] == "refused";
            assert_eq!(response["allowed"], !refused, "{shown}");
            assert_eq!(response["uid"], "abc", "{shown}");
            assert_eq!(response["warnings"], expected["warnings"], "{shown}");
            assert_eq!(
                response["status"]["message"], expected["message"],
                "{shown}"
            );
            let outcome = expected["outcome"].as_str().unwrap_or_default();
            *outcomes.entry(outcome.to_owned()).or_default() += 1;
        }
        let page = operator
            .probe(request(Method::GET, "/metrics", ""))
            .await
            .text();
        for (outcome, count) in outcomes {
            let line =
                format!("datakit_operator_validations_total{{outcome=\"{outcome}\"}} {count}");
            assert!(page.contains(&line), "no {line} in {page}");
        }
        // Pods that are still to be made were neither reviewed nor injected.
        assert!(page.contains("datakit_operator_reviews_total{outcome=\"injected\"} 0"));
        assert!(
            !page.contains("datakit_operator_injections_total{"),
            "{page}"
        );
    }
}

#[tokio::test]
async fn it_is_held_to_the_bounds_of_reviews() {
    let operator = Operator::start(&["--max-body-size", "20KiB"]);
    let check = async |method: Method, content_type: &'static str, body: String, want: u16| {
        for protocol in Protocol::BOTH {
            let mut request = request(method.clone(), VALIDATE, body.clone());
            let headers = request.headers_mut();
            headers.insert("content-type", HeaderValue::from_static(content_type));
            let answer = operator.ask(protocol, request).await;
            assert_eq!(answer.status(), want, "{}", answer.text());
        }
    };
    check(Method::GET, "application/json", String::new(), 405).await;
    check(Method::POST, "text/plain", "{}".to_owned(), 400).await;
    check(Method::POST, "application/json", "{}".to_owned(), 400).await;
    check(Method::POST, "application/json", " ".repeat(30_000), 413).await;
    // Large enough for the threads.
    check(Method::POST, "application/json", " ".repeat(18_000), 400).await;
}
