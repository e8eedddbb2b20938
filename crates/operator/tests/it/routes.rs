//! Every route and method, over both versions of HTTP.

use base64::Engine as _;
use expect_test::{Expect, expect};
use http::{HeaderValue, Method};
use serde_json::Value;

use crate::support::{Answer, INJECT, JAVA_REVIEW, Operator, Protocol, get, post, request};

/// One line: status, the headers that matter, body.
fn summary(answer: &Answer) -> String {
    let mut summary = answer.status().to_string();
    for name in ["allow", "content-type", "content-length"] {
        if let Some(value) = answer.header(name) {
            summary += &format!(" | {name}: {value}");
        }
    }
    summary + &format!(" | {:?}", answer.text())
}

async fn check(operator: &Operator, method: Method, path: &str, want: Expect) {
    for protocol in Protocol::BOTH {
        let answer = operator
            .ask(protocol, request(method.clone(), path, ""))
            .await;
        want.assert_eq(&summary(&answer));
    }
}

async fn check_probe(operator: &Operator, method: Method, path: &str, want: Expect) {
    want.assert_eq(&summary(&operator.probe(request(method, path, "")).await));
}

#[tokio::test]
async fn pings() {
    let operator = Operator::start(&[]);
    let check = async |method, path, want| check(&operator, method, path, want).await;
    check(
        Method::GET,
        "/ping",
        expect![[r#"200 | content-type: text/plain; charset=utf-8 | content-length: 3 | "OK\n""#]],
    )
    .await;
    check(
        Method::HEAD,
        "/ping",
        expect![[r#"200 | content-type: text/plain; charset=utf-8 | content-length: 3 | """#]],
    )
    .await;
    check(
        Method::GET,
        "/ping?x=y",
        expect![[r#"200 | content-type: text/plain; charset=utf-8 | content-length: 3 | "OK\n""#]],
    )
    .await;
    check(Method::POST, "/ping", expect![[r#"405 | allow: GET, HEAD | content-type: text/plain; charset=utf-8 | content-length: 40 | "POST is not allowed here; use GET, HEAD\n""#]]).await;
    check(Method::GET, "/v1/logging/configs?namespace=a&pod_name=b", expect![[r#"404 | content-type: application/json | content-length: 36 | "{\"error\":\"no matching config found\"}""#]]).await;
    check(Method::GET, "/v1/logging/configs?namespace=a", expect![[r#"400 | content-type: application/json | content-length: 55 | "{\"error\":\"namespace, pod_name parameters are required\"}""#]]).await;
    check(Method::GET, "/v1/ready", expect![[r#"200 | content-type: application/json; charset=utf-8 | content-length: 15 | "{\"status\":\"ok\"}""#]]).await;
    check(Method::GET, "/v1/ping", expect![[r#"200 | content-type: application/json; charset=utf-8 | content-length: 15 | "{\"status\":\"ok\"}""#]]).await;
    check(
        Method::HEAD,
        "/v1/ping",
        expect![[
            r#"200 | content-type: application/json; charset=utf-8 | content-length: 15 | """#
        ]],
    )
    .await;
    check(Method::POST, "/metrics", expect![[r#"405 | allow: GET, HEAD | content-type: text/plain; charset=utf-8 | content-length: 40 | "POST is not allowed here; use GET, HEAD\n""#]]).await;
    check(Method::DELETE, "/v1/ping", expect![[r#"405 | allow: GET, HEAD | content-type: text/plain; charset=utf-8 | content-length: 42 | "DELETE is not allowed here; use GET, HEAD\n""#]]).await;
}

#[tokio::test]
async fn unknown_paths() {
    let operator = Operator::start(&[]);
    for path in [
        "/",
        "/nope",
        "/ping/",
        "//ping",
        "/v1/webhooks/inject/",
        "/v1/webhooks",
        "/v1/cluster/api/v1/pods",
        "/healthz",
    ] {
        for method in [Method::GET, Method::POST] {
            check(&operator, method, path, expect![[r#"404 | content-type: text/plain; charset=utf-8 | content-length: 18 | "404 page not found""#]]).await;
        }
    }
}

/// Whoever asks for pods must not take an operator without a cluster for an empty cluster.
#[tokio::test]
async fn pods_without_a_cluster() {
    let args = ["--kubeconfig", "/nowhere/kubeconfig", "--pod-api=on"];
    let operator = Operator::start(&args);
    for path in ["pods", "namespaces/shop/pods", "namespaces/shop/pods/web"] {
        let path = format!("/v1/cluster/api/v1/{path}");
        check(&operator, Method::GET, &path, expect![[r#"503 | content-type: application/json | content-length: 80 | "{\"error\":\"the operator doesn't know how to reach the cluster; its log says why\"}""#]]).await;
    }
    check(
        &operator,
        Method::GET,
        "/v1/cluster/api/v1/services",
        expect![[r#"404 | content-type: text/plain; charset=utf-8 | content-length: 18 | "404 page not found""#]],
    )
    .await;
    assert_eq!(operator.probe(get("/readyz")).await.status(), 200);
}

#[tokio::test]
async fn webhook_methods_and_types() {
    let operator = Operator::start(&[]);
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS] {
        for protocol in Protocol::BOTH {
            let answer = operator
                .ask(protocol, request(method.clone(), INJECT, ""))
                .await;
            assert_eq!(
                (answer.status(), answer.header("allow")),
                (405, Some("POST")),
                "{method}"
            );
        }
    }
    let check = async |content_type: Option<&'static str>, want: u16| {
        for protocol in Protocol::BOTH {
            let mut request = post(JAVA_REVIEW.clone());
            request.headers_mut().remove("content-type");
            if let Some(content_type) = content_type {
                request
                    .headers_mut()
                    .insert("content-type", HeaderValue::from_static(content_type));
            }
            let answer = operator.ask(protocol, request).await;
            assert_eq!(answer.status(), want, "{content_type:?}: {}", answer.text());
        }
    };
    check(Some("application/json"), 200).await;
    check(Some("application/json; charset=utf-8"), 200).await;
    check(Some("text/plain"), 400).await;
    check(None, 400).await;
}

#[tokio::test]
async fn a_review_is_answered_with_a_patch() {
    let operator = Operator::start(&[]);
    let review: Value = serde_json::from_slice(&JAVA_REVIEW).expect("JSON");
    for protocol in Protocol::BOTH {
        let mut request = post(JAVA_REVIEW.clone());
        // As the API server calls: with its time-out in the query.
        *request.uri_mut() = format!("https://localhost{INJECT}?timeout=5s")
            .parse()
            .expect("a URI");
        let answer = operator.ask(protocol, request).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let answer = answer.json();
        let response = &answer["response"];
        assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
        assert_eq!(answer["kind"], "AdmissionReview");
        assert_eq!(response["uid"], review["request"]["uid"]);
        assert_eq!(response["allowed"], true);
        assert_eq!(response["patchType"], "JSONPatch");
        let patch = response["patch"].as_str().expect("base64");
        let patch = base64::engine::general_purpose::STANDARD
            .decode(patch)
            .expect("base64");
        let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("a patch");
        let mut pod = review["request"]["object"].clone();
        json_patch::patch(&mut pod, &patch).expect("the patch applies");
        assert_eq!(pod["spec"]["initContainers"][0]["name"], "datakit-lib-init");
    }
}

#[tokio::test]
async fn a_large_review_is_answered_like_a_small_one() {
    let operator = Operator::start(&[]);
    let mut review: Value = serde_json::from_slice(&JAVA_REVIEW).expect("JSON");
    review["request"]["object"]["metadata"]["annotations"]["notes"] = "x".repeat(200_000).into();
    for protocol in Protocol::BOTH {
        let answer = operator.ask(protocol, post(review.to_string())).await;
        assert!(
            answer.json()["response"]["patch"].is_string(),
            "{}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn what_is_no_review_is_refused() {
    let operator = Operator::start(&[]);
    let check = async |body: &'static str, want: &str| {
        for protocol in Protocol::BOTH {
            let answer = operator.ask(protocol, post(body)).await;
            let text = answer.text();
            assert_eq!(answer.status(), 400, "{text}");
            assert_eq!(
                answer.header("content-type"),
                Some("text/plain; charset=utf-8")
            );
            assert!(text.contains(want) && text.lines().count() == 1, "{text:?}");
        }
    };
    check("", "no AdmissionReview").await;
    check("garbage", "no AdmissionReview").await;
    check(r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"1"}}"#, "v1beta1").await;
    check(
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#,
        "`request`",
    )
    .await;
    check(
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}"#,
        "uid",
    )
    .await;
}

#[tokio::test]
async fn probes() {
    let operator = Operator::start(&[]);
    let check = async |method, path, want| check_probe(&operator, method, path, want).await;
    check(
        Method::GET,
        "/healthz",
        expect![[r#"200 | content-type: text/plain; charset=utf-8 | content-length: 3 | "ok\n""#]],
    )
    .await;
    check(
        Method::GET,
        "/readyz",
        expect![[r#"200 | content-type: text/plain; charset=utf-8 | content-length: 3 | "ok\n""#]],
    )
    .await;
    check(
        Method::HEAD,
        "/readyz",
        expect![[r#"200 | content-type: text/plain; charset=utf-8 | content-length: 3 | """#]],
    )
    .await;
    check(Method::GET, "/readyz?verbose", expect![[r#"200 | content-type: text/plain; charset=utf-8 | content-length: 80 | "ok\n[+]certificate ok: made at start\n[+]configuration ok: as it was at the start\n""#]]).await;
    check(Method::POST, "/metrics", expect![[r#"405 | allow: GET, HEAD | content-type: text/plain; charset=utf-8 | content-length: 40 | "POST is not allowed here; use GET, HEAD\n""#]]).await;
    check(Method::GET, INJECT, expect![[r#"404 | content-type: text/plain; charset=utf-8 | content-length: 18 | "404 page not found""#]]).await;
}

#[tokio::test]
async fn metrics_in_both_formats() {
    let operator = Operator::start(&[]);
    operator.review(JAVA_REVIEW.clone()).await;
    operator.review("garbage").await;
    let reviews = "datakit_operator_reviews_total";
    assert_eq!(
        operator
            .metric(&format!("{reviews}{{outcome=\"injected\"}}"))
            .await,
        1.0
    );
    assert_eq!(
        operator
            .metric(&format!("{reviews}{{outcome=\"bad_request\"}}"))
            .await,
        1.0
    );
    let java = r#"{feature="ddtrace",language="java",outcome="injected",reason=""}"#;
    assert_eq!(
        operator
            .metric(&format!("datakit_operator_injections_total{java}"))
            .await,
        1.0
    );
    assert_eq!(
        operator
            .metric("datakit_operator_review_duration_seconds_count")
            .await,
        2.0
    );
    assert_eq!(operator.metric("datakit_operator_panics_total").await, 0.0);

    let old = operator.probe(get("/metrics")).await;
    assert_eq!(
        old.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let page = old.text();
    for line in page.lines() {
        // Those of the process have the names that every dashboard knows.
        let known = line.starts_with("datakit_operator_")
            || line.starts_with("process_")
            || line.starts_with("# HELP ")
            || line.starts_with("# TYPE ");
        assert!(known, "{line}");
    }
    assert!(
        page.contains("# TYPE datakit_operator_reviews_total counter\n"),
        "{page}"
    );

    let mut request = get("/metrics");
    let accept =
        HeaderValue::from_static("application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    request.headers_mut().insert("accept", accept);
    let new = operator.probe(request).await;
    assert!(
        new.header("content-type")
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    assert!(
        new.text()
            .contains("# TYPE datakit_operator_reviews counter\n")
    );
    assert!(new.text().ends_with("# EOF\n"));
}

#[tokio::test]
async fn one_log_line_a_review() {
    let operator = Operator::start(&[]);
    operator.review(JAVA_REVIEW.clone()).await;
    let mut hostile: Value = serde_json::from_slice(&JAVA_REVIEW).expect("JSON");
    let name = "x\n{\"level\":\"error\",\"msg\":\"forged\"}\u{202e}\u{1b}[2J";
    hostile["request"]["object"]["metadata"]["name"] = name.into();
    let annotations = &mut hostile["request"]["object"]["metadata"]["annotations"];
    annotations["admission.datakit/python-lib.version"] = "".into();
    annotations["admission.datakit/java-lib.verison"] = "".into();
    operator.review(hostile.to_string()).await;
    operator.review("garbage").await;
    for labels in [
        r#"{feature="ddtrace",note="language_ignored"}"#,
        r#"{feature="",note="unknown_annotation"}"#,
    ] {
        let series = format!("datakit_operator_notes_total{labels}");
        assert_eq!(operator.metric(&series).await, 1.0, "{series}");
    }
    let lines = operator.stop().await;
    let reviews: Vec<&Value> = lines
        .iter()
        .filter(|line| line["msg"] == "pod reviewed")
        .collect();
    let [java, hostile, garbage] = reviews[..] else {
        panic!("{reviews:#?}")
    };
    assert!(lines.iter().all(|line| line["msg"] != "forged"));
    for (key, want) in [
        ("level", "info"),
        ("outcome", "injected"),
        ("namespace", "shop"),
        ("owner", "ReplicaSet/checkout-7d9f6c8b5d"),
        ("pod", "checkout-7d9f6c8b5d-"),
        ("uid", "5f0d2c1e-8f3b-4f0e-9a53-0c6b1d7e2f94"),
        ("injected", "ddtrace/java"),
        ("ddtrace", "injected"),
    ] {
        assert_eq!(java[key], want, "{java}");
    }
    assert!(
        java["took_us"].as_f64().is_some() && java["patch_ops"].as_u64() > Some(0),
        "{java}"
    );
    assert_eq!(java["logfwd"], Value::Null, "nobody asked for it");
    assert_eq!(java["notes"], Value::Null, "all is as asked");
    assert_eq!(hostile["pod"], name);
    assert_eq!(
        hostile["notes"],
        "ddtrace:language_ignored,unknown_annotation"
    );
    assert_eq!(garbage["outcome"], "bad_request");
}
