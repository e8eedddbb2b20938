//! How long a review takes from request bytes to response bytes.
//!
//! The grid is containers × env entries × unknown fields, everything asked for; then the
//! documentation's examples as the API server would send them, and pods that ask for nothing.
//! `cargo bench -p datakit-operator-core`.

#![allow(
    clippy::expect_used,
    reason = "a benchmark of a broken build should stop"
)]

use datakit_operator_core::config::{Config, DEFAULT_CONFIG, EnvOverrides, Fingerprint};
use datakit_operator_core::inject::{Engine, EngineIdentity, ReviewContext};
use datakit_operator_core::review::{Answer, review};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use serde_json::{Value, json};

fn main() {
    divan::main();
}

/// A point of the grid: containers, env entries in each, whether 16 KiB of unknown fields are
/// spread over them.
const GRID: [(usize, usize, bool); 18] = [
    (1, 5, false),
    (1, 40, false),
    (1, 2000, false),
    (10, 5, false),
    (10, 40, false),
    (10, 2000, false),
    (100, 5, false),
    (100, 40, false),
    (100, 2000, false),
    (1, 5, true),
    (1, 40, true),
    (1, 2000, true),
    (10, 5, true),
    (10, 40, true),
    (10, 2000, true),
    (100, 5, true),
    (100, 40, true),
    (100, 2000, true),
];

const ALL_FEATURES: &[(&str, &str)] = &[
    ("admission.datakit/java-lib.version", "v1.2.3"),
    (
        "admission.datakit/logfwd.instances",
        r#"[{"datakit_addr":"datakit-service.datakit.svc:9533","loggings":[{"logfiles":["/var/log/app/*.log"],"source":"app"}]}]"#,
    ),
    ("admission.datakit/java-profiler.version", "latest"),
];

#[divan::bench(args = GRID)]
fn everything(bencher: Bencher<'_, '_>, (containers, env, unknown): (usize, usize, bool)) {
    run(bencher, &body(&pod(containers, env, unknown, ALL_FEATURES)));
}

#[divan::bench(args = GRID)]
fn nothing_asked_for(bencher: Bencher<'_, '_>, (containers, env, unknown): (usize, usize, bool)) {
    run(bencher, &body(&pod(containers, env, unknown, &[])));
}

#[divan::bench(args = ["js", "java", "python", "logfwd", "java-profiler", "python-profiler"])]
fn example(bencher: Bencher<'_, '_>, example: &str) {
    let annotation: (&str, &str) = match example {
        "js" => ("admission.datakit/js-lib.version", ""),
        "java" => ("admission.datakit/java-lib.version", ""),
        "python" => ("admission.datakit/python-lib.version", ""),
        "logfwd" => ALL_FEATURES[1],
        "java-profiler" => ("admission.datakit/java-profiler.version", "latest"),
        _ => ("admission.datakit/python-profiler.version", "latest"),
    };
    run(bencher, &body(&pod(1, 1, false, &[annotation])));
}

#[divan::bench]
fn java_review_of_an_api_server(bencher: Bencher<'_, '_>) {
    run(
        bencher,
        include_bytes!("../../../testdata/reviews/java.json"),
    );
}

/// The same as the webhook does it: the pod is told what was decided about it.
#[divan::bench]
fn status_of_a_java_review(bencher: Bencher<'_, '_>) {
    let identity = EngineIdentity {
        version: "2.0.0",
        config: Fingerprint::of_sha256([7; 32]),
    };
    let body = include_bytes!("../../../testdata/reviews/java.json");
    bench(bencher, body, &engine(DEFAULT_CONFIG).identified(identity));
}

/// Rules that all have to be asked, since none but the last fits: what selects is a namespace
/// (written as people write it: a name, an anchored name, alternatives, a class), labels, or both.
#[divan::bench(args = [10, 100, 1000])]
fn rules(bencher: Bencher<'_, '_>, rules: usize) {
    let pod = pod(1, 5, false, &[]);
    run_with(bencher, &body(&pod), &rules_document(rules));
}

/// How long it takes to read a document with so many rules and to prepare them.
#[divan::bench(args = [10, 100, 1000])]
fn loading_rules(bencher: Bencher<'_, '_>, rules: usize) {
    let document = rules_document(rules);
    bencher.bench(|| {
        let (config, _) =
            Config::load(black_box(&document), &EnvOverrides::default()).expect("a sound document");
        Engine::new(&config)
    });
}

fn rules_document(rules: usize) -> String {
    let rule = |n: usize| {
        let namespace = match n % 5 {
            0 => format!("team-{n}"),
            1 => format!("^team-{n}$"),
            2 => format!("^(dev|qa)-{n}-"),
            3 => format!("team-{n}-[a-z]+$"),
            _ => format!("prod-{n}.*"),
        };
        let app = format!("app=service-{n}");
        let image = "registry.example.com/dd-lib-java-init:1.2.3";
        let mut rule = json!({"language": "java", "image": image});
        if !n.is_multiple_of(3) {
            rule["namespace_selectors"] = json!([namespace]);
        }
        if n % 3 != 1 {
            rule["label_selectors"] = json!([app, format!("tier in (a{n},b{n})")]);
        }
        rule
    };
    let mut rules: Vec<Value> = (0..rules - 1).map(rule).collect();
    rules.push(json!({
        "language": "java", "namespace_selectors": ["^default$"],
        "image": "registry.example.com/dd-lib-java-init:1.2.3",
    }));
    json!({"admission_inject_v2": {"ddtraces": rules}}).to_string()
}

fn run(bencher: Bencher<'_, '_>, body: &[u8]) {
    run_with(bencher, body, DEFAULT_CONFIG);
}

fn run_with(bencher: Bencher<'_, '_>, body: &[u8], document: &str) {
    bench(bencher, body, &engine(document));
}

fn engine(document: &str) -> Engine {
    let (config, _) = Config::load(document, &EnvOverrides::default()).expect("a sound document");
    Engine::new(&config)
}

fn bench(bencher: Bencher<'_, '_>, body: &[u8], engine: &Engine) {
    let context = ReviewContext::default();
    let answer = review(body, engine, &context).answer;
    assert!(matches!(answer, Answer::Review(_)), "{answer:?}");
    bencher
        .counter(BytesCount::new(body.len()))
        .bench(|| review(black_box(body), engine, &context));
}

fn pod(containers: usize, env: usize, unknown: bool, annotations: &[(&str, &str)]) -> Value {
    let annotations: serde_json::Map<String, Value> = annotations
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(value)))
        .collect();
    let filler = "x".repeat(100);
    let unknown_each = if unknown {
        16 * 1024 / 120 / containers
    } else {
        0
    };
    let containers: Vec<Value> = (0..containers)
        .map(|index| {
            let env: Vec<Value> = (0..env)
                .map(|n| json!({"name": format!("VARIABLE_{n}"), "value": format!("some value {n}")}))
                .collect();
            let unknown: serde_json::Map<String, Value> =
                (0..unknown_each).map(|n| (format!("field{n}"), json!([filler, n]))).collect();
            json!({
                "name": format!("container-{index}"),
                "image": "registry.example.com/team/app:1.2.3",
                "env": env,
                "unknownFields": unknown,
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
                "volumeMounts": [{"name": "kube-api-access-abcde", "readOnly": true,
                                  "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "imagePullPolicy": "IfNotPresent",
            })
        })
        .collect();
    json!({
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "generateName": "app-5d4f8c7b9-",
            "labels": {"app": "app", "pod-template-hash": "5d4f8c7b9"},
            "annotations": annotations,
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "app-5d4f8c7b9",
                                 "uid": "e7d7f0a5-95a1-4a9b-9d0c-2f7d7f2f7b1e", "controller": true,
                                 "blockOwnerDeletion": true}],
        },
        "spec": {
            "volumes": [{"name": "kube-api-access-abcde", "projected": {"sources": [], "defaultMode": 420}}],
            "containers": containers,
            "restartPolicy": "Always",
        },
        "status": {},
    })
}

fn body(pod: &Value) -> Vec<u8> {
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "default",
            "operation": "CREATE",
            "object": pod,
        },
    })
    .to_string()
    .into_bytes()
}
