//! Task election over HTTPS, by a process that decides alone.

mod strangers;

use datakit_operator::cluster::lease::{RELEASED, UNKNOWN, UNREACHABLE};
use datakit_operator::election::LAPSED;
use http::{HeaderValue, Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::{Value, json};

use crate::support::{Operator, Protocol, get, request, run};

const ELECTION: &str = "/v1/datakit/election";

fn poll(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    // Agents send no Content-Type.
    request(Method::POST, ELECTION, body)
}

fn agent(id: &str, inputs: Value, running: Value) -> String {
    json!({"namespace": "N/A", "id": id, "timestamp": 1, "application_inputs": inputs, "running_inputs": running}).to_string()
}

#[tokio::test]
async fn inputs_are_given_to_one_agent_each() {
    let operator = Operator::start(&["--election-listening", "0s"]);
    for protocol in Protocol::BOTH {
        let ping = operator
            .ask(protocol, request(Method::HEAD, "/ping", ""))
            .await;
        assert_eq!(ping.status(), 200, "by this agents decide to ask here");
        let polled = agent("a", json!({"mysql": 2, "redis": 1}), Value::Null);
        let answer = operator.ask(protocol, poll(polled)).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.json(), json!({"allowed_inputs": ["mysql", "redis"]}));
        let polled = agent("b", json!({"mysql": 2, "nginx": 1}), json!([]));
        let answer = operator.ask(protocol, poll(polled)).await;
        assert_eq!(answer.json(), json!({"allowed_inputs": ["nginx"]}));
    }
    let mut client = operator.client(Protocol::Http1).await;
    for (outcome, want) in [
        ("allowed", 4.0),
        ("bad_request", 0.0),
        ("too_often", 0.0),
        ("denied", 0.0),
    ] {
        let series = format!("datakit_operator_election_answers_total{{outcome=\"{outcome}\"}}");
        assert_eq!(operator.metric(&series).await, want, "{outcome}");
    }
    let table = client.ask(get(ELECTION)).await.expect("an answer").json();
    assert_eq!(table["phase"], "deciding");
    assert_eq!(table["agents"][0]["id"], "a");
    assert_eq!(table["agents"][0]["load"], 3);
    assert_eq!(table["agents"][1]["inputs"][0]["name"], "nginx");
    assert_eq!(table["unassigned"], json!([]));
}

#[tokio::test]
async fn people_see_a_table() {
    let operator = Operator::start(&["--election-listening", "0s"]);
    let polled = agent("node-1", json!({"mysql": 2}), json!([]));
    operator.ask(Protocol::Http2, poll(polled)).await;
    let mut request = get(ELECTION);
    let text = HeaderValue::from_static("text/plain");
    request.headers_mut().insert("accept", text);
    let shown = operator.ask(Protocol::Http2, request).await.text();
    let row = shown.lines().nth(1).expect("a row");
    assert!(row.starts_with("node-1 "), "{shown}");
    assert!(row.ends_with(" 2  mysql (tentative)"), "{shown}");
    assert!(shown.contains("holder: "), "{shown}");

    let url = format!("https://localhost:{}", operator.https.port());
    let ca = operator.file("ca.pem");
    let ca = ca.to_str().expect("UTF-8");
    for trust in [&["--ca-file", ca][..], &["--insecure"], &[]] {
        let args = [&["election", "--url", &url], trust].concat();
        let (code, stdout, stderr) = run(&args, &[]);
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        assert!(stdout.contains("mysql (tentative)"), "{stdout}");
    }
    let (_, stdout, _) = run(&["election", "--url", &url, "--output", "json"], &[]);
    let table: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(table["agents"][0]["inputs"][0]["standing"], "tentative");
}

#[test]
fn asking_the_wrong_thing_says_what_to_do() {
    let check = |args: &[&str], want: i32, says: &str| {
        let (code, stdout, stderr) = run(&[&["election"], args].concat(), &[]);
        assert_eq!((code, stdout.as_str()), (Some(want), ""), "{stderr}");
        assert!(stderr.contains(says), "{stderr}");
    };
    check(&["--url", "localhost:9543"], 2, "https://localhost:9543");
    check(&["--url", "https://10.0.0.1"], 2, "--ca-file");
    check(
        &["--url", "https://localhost:1", "--ca-file", "no/such"],
        2,
        "`no/such`",
    );
    check(
        &["--url", "https://localhost:1"],
        1,
        "failed to connect to https://localhost:1",
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_answered_with_the_reason() {
    let operator = Operator::start(&["--election-listening", "0s"]);
    let check = async |body: String, status: u16, says: &str| {
        let answer = operator.ask(Protocol::Http1, poll(body)).await;
        assert_eq!(answer.status(), status);
        assert!(answer.text().contains(says), "{}", answer.text());
    };
    check(String::new(), 400, "failed to read the poll").await;
    check("[]".to_owned(), 400, "object").await;
    check(
        agent("", json!({}), Value::Null),
        400,
        "`id` is missing or empty",
    )
    .await;
    check(
        agent(&"x".repeat(254), json!({}), Value::Null),
        400,
        "254 bytes, expected at most 253",
    )
    .await;
    let inputs: serde_json::Map<_, _> = (0..2_001).map(|n| (n.to_string(), 1.into())).collect();
    check(
        agent("a", inputs.into(), Value::Null),
        400,
        "expected at most 2000",
    )
    .await;
    check("x".repeat(2 << 20), 413, "larger than 1048576 bytes").await;
    let delete = request(Method::DELETE, ELECTION, "");
    let answer = operator.ask(Protocol::Http1, delete).await;
    assert_eq!(
        (answer.status(), answer.header("allow")),
        (405, Some("GET, HEAD, POST"))
    );
    let mut forged = poll(agent("a", json!({}), Value::Null));
    let mark = HeaderValue::from_static("1");
    forged
        .headers_mut()
        .insert("x-datakit-operator-forwarded", mark);
    let answer = operator.ask(Protocol::Http1, forged).await;
    assert_eq!(answer.status(), 403, "{}", answer.text());
}

#[tokio::test]
async fn a_new_process_listens_before_it_gives_anything_out() {
    let operator = Operator::start(&["--election-listening", "1h"]);
    // What looks like an agent that has just started may be the one that runs everything.
    let ambiguous = agent("a", json!({"mysql": 1}), json!(["mysql"]));
    let answer = operator.ask(Protocol::Http2, poll(ambiguous)).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.header("retry-after"), Some("4"));
    assert!(
        answer.text().contains("keep what you have"),
        "{}",
        answer.text()
    );
    // Who runs a part of what it offers was told so.
    let definite = agent("b", json!({"nginx": 1, "redis": 1}), json!(["nginx"]));
    let answer = operator.ask(Protocol::Http2, poll(definite)).await;
    assert_eq!(answer.json(), json!({"allowed_inputs": ["nginx"]}));
}

#[tokio::test]
async fn newer_agents_elect_a_leader() {
    let operator = Operator::start(&[]);
    let ask = async |method: Method, path: &str| {
        let answer = operator
            .ask(Protocol::Http1, request(method, path, ""))
            .await;
        let content = answer.json()["content"].clone();
        (answer.status(), content)
    };
    let (status, content) = ask(Method::POST, "/v1/dk-election?token=t%2B1&namespace=n&id=a").await;
    assert_eq!(status, 200);
    let want = json!({"status": "success", "namespace": "n", "id": "a", "incumbency_id": "a", "error_msg": "",
        "interval": 3, "lease_duration": 30, "epoch": 1});
    assert_eq!(content, want);
    let (_, content) = ask(Method::POST, "/v1/dk-election?token=t%2B1&namespace=n&id=b").await;
    assert_eq!(
        (&content["status"], &content["incumbency_id"]),
        (&"defeat".into(), &"a".into())
    );
    let (_, content) = ask(
        Method::POST,
        "/v1/dk-election/heartbeat?token=t%2B1&namespace=n&id=a",
    )
    .await;
    assert_eq!(content["status"], "success");
    let (_, content) = ask(
        Method::POST,
        "/v1/dk-election/heartbeat?token=other&namespace=n&id=a",
    )
    .await;
    assert_eq!(
        (&content["status"], &content["incumbency_id"]),
        (&"defeat".into(), &"".into())
    );
    let (status, content) = ask(Method::POST, "/v1/dk-election?namespace=n&id=a").await;
    assert_eq!((status, &content["status"]), (400, &"error".into()));
    assert_eq!(
        ask(Method::GET, "/v1/dk-election/status").await,
        (200, json!({"status": "ready"}))
    );
    let answer = operator.ask(Protocol::Http1, get("/v1/dk-election")).await;
    assert_eq!(
        (answer.status(), answer.header("allow")),
        (405, Some("POST"))
    );

    // Under the names, on the port and in the format of version 1.9.
    let answer = operator.ask(Protocol::Http1, get("/metrics")).await;
    assert_eq!(
        (answer.status(), answer.header("content-type")),
        (200, Some("text/plain; version=0.0.4; charset=utf-8"))
    );
    let page = answer.text();
    let value = |series: &str| {
        let series = format!("datakit_operator_election_{series} ");
        let mut lines = page.lines();
        let line = lines.find_map(|line| line.strip_prefix(&series));
        line.expect(&series).parse::<f64>().expect("a number")
    };
    for (series, want) in [
        (
            r#"requests_total{operation="campaign",result="success"}"#,
            1.0,
        ),
        (
            r#"requests_total{operation="campaign",result="defeat"}"#,
            1.0,
        ),
        (
            r#"requests_total{operation="campaign",result="error"}"#,
            1.0,
        ),
        (
            r#"requests_total{operation="heartbeat",result="success"}"#,
            1.0,
        ),
        (
            r#"requests_total{operation="heartbeat",result="defeat"}"#,
            1.0,
        ),
        (
            r#"requests_total{operation="heartbeat",result="error"}"#,
            0.0,
        ),
        (r#"transitions_total{reason="first_acquire"}"#, 1.0),
        (r#"transitions_total{reason="lease_expired"}"#, 0.0),
        (r#"storage_errors_total{operation="get"}"#, 0.0),
        (r#"storage_errors_total{operation="create"}"#, 0.0),
        (r#"storage_errors_total{operation="update"}"#, 0.0),
        ("cas_conflicts_total", 0.0),
        ("active_scopes", 1.0),
    ] {
        assert_eq!(value(series), want, "{series}");
    }
    let (remaining, age) = (value("lease_remaining_seconds"), value("lease_age_seconds"));
    assert!((remaining + age - 30.0).abs() < 0.001, "{remaining} {age}");
}

#[test]
fn the_documentation_says_what_to_do_about_each_reason() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    let docs = std::fs::read_to_string(docs).expect("the documentation");
    for reason in [UNKNOWN, UNREACHABLE, RELEASED, LAPSED] {
        assert!(
            docs.contains(&format!("`nobody decides: {reason}`")),
            "{reason}"
        );
    }
}
