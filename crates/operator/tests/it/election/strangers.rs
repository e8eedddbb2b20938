//! Who needs no privilege but to reach the operator can't stop its election, nor take from agents
//! what they run.

use std::fmt::Write as _;

use http::{HeaderValue, Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::{Map, Value, json};

use super::{ELECTION, agent, poll};
use crate::support::{Answer, Client, Operator, Protocol, get, request, run};

fn post(path: &str) -> Request<Full<Bytes>> {
    request(Method::POST, path, "")
}

async fn ask(client: &mut Client, request: Request<Full<Bytes>>) -> Answer {
    client.ask(request).await.expect("an answer")
}

/// Polls as an agent does until its inputs have begun.
async fn start(client: &mut Client, id: &str, inputs: &Value) -> Value {
    let mut running: Value = inputs
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| json!(name))
        .collect();
    for _ in 0..4 {
        let answer = ask(client, poll(agent(id, inputs.clone(), running))).await;
        running = answer.json()["allowed_inputs"].clone();
    }
    running
}

#[tokio::test]
async fn heartbeats_of_no_leader_leave_room_for_leaders() {
    let operator = Operator::start(&[]);
    let mut stranger = operator.client(Protocol::Http1).await;
    for number in 0..1_100 {
        let path = format!("/v1/dk-election/heartbeat?token=t{number}&id=x");
        let answer = ask(&mut stranger, post(&path)).await;
        assert!(matches!(answer.status(), 200 | 429), "{}", answer.text());
    }
    let mut real = operator.client_from(2).await;
    let campaign = "/v1/dk-election?token=real&namespace=n&id=a";
    let answer = ask(&mut real, post(campaign)).await.json();
    assert_eq!(answer["content"]["status"], "success");
    // Campaigns are another matter: each that is won has a record, of which the stranger has its
    // share.
    let mut won = 0;
    for number in 0..200 {
        let path = format!("/v1/dk-election?token=c{number}&id=x");
        won += u32::from(ask(&mut stranger, post(&path)).await.status() == 200);
    }
    assert!((1..=112).contains(&won), "{won}");
    let heartbeat = "/v1/dk-election/heartbeat?token=real&namespace=n&id=a";
    let answer = ask(&mut real, post(heartbeat)).await.json();
    assert_eq!(answer["content"]["status"], "success");
    let answer = ask(&mut real, post("/v1/dk-election?token=second&id=b")).await;
    assert_eq!(answer.json()["content"]["status"], "success");
}

#[tokio::test]
async fn many_names_leave_room_for_new_inputs() {
    let operator = Operator::start(&["--election-listening", "0s"]);
    let mut stranger = operator.client(Protocol::Http1).await;
    for number in 0..10 {
        let names: Map<_, _> = (0..2_000)
            .map(|name| (format!("stranger-{number}-{name}"), 1.into()))
            .collect();
        let forged = agent(&format!("s{number}"), names.into(), Value::Null);
        let answer = ask(&mut stranger, poll(forged)).await;
        assert!(matches!(answer.status(), 200 | 429), "{}", answer.text());
    }
    // From another address, and even from the same.
    for (last, name) in [(2, "mysql"), (1, "redis")] {
        let mut real = operator.client_from(last).await;
        let polled = agent(name, json!({ name: 1 }), Value::Null);
        let answer = ask(&mut real, poll(polled)).await;
        assert_eq!(answer.json(), json!({"allowed_inputs": [name]}));
    }
}

#[tokio::test]
async fn a_forged_poll_takes_nothing_from_an_agent() {
    let operator = Operator::start(&["--election-listening", "0s"]);
    let mut real = operator.client_from(2).await;
    let mut other = operator.client_from(3).await;
    let mut stranger = operator.client_from(4).await;
    let inputs = json!({"mysql": 1, "redis": 1});
    let running = start(&mut real, "node-1", &inputs).await;
    assert_eq!(running, json!(["mysql", "redis"]));
    assert_eq!(start(&mut other, "node-2", &inputs).await, json!([]));
    for (offers, says) in [
        (json!({}), json!([])),
        (inputs.clone(), running.clone()),
        (json!({"x": 1}), json!(["x"])),
    ] {
        let answer = ask(&mut stranger, poll(agent("node-1", offers, says))).await;
        if answer.status() == 503 {
            assert!(
                answer.text().contains("another address"),
                "{}",
                answer.text()
            );
        } else {
            let given = answer.json()["allowed_inputs"].clone();
            assert!(given == json!([]) || given == json!(["x"]), "{given}");
        }
        let answer = ask(&mut other, poll(agent("node-2", inputs.clone(), json!([])))).await;
        assert_eq!(answer.json(), json!({"allowed_inputs": []}));
        let answer = ask(
            &mut real,
            poll(agent("node-1", inputs.clone(), running.clone())),
        )
        .await;
        assert_eq!(answer.json(), json!({ "allowed_inputs": running }));
    }
}

#[tokio::test]
async fn a_flood_from_one_address_is_cut_off_and_no_other() {
    let operator = Operator::start(&[
        "--election-listening",
        "0s",
        "--max-requests-per-address",
        "1",
    ]);
    let mut stranger = operator.client_from(9).await;
    let mut refused = 0;
    for _ in 0..50 {
        let answer = ask(&mut stranger, poll(agent("s", json!({}), Value::Null))).await;
        if answer.status() == 429 {
            refused += 1;
            assert_eq!(answer.header("retry-after"), Some("4"));
            assert!(answer.text().contains("--max-requests-per-address"));
        }
    }
    assert!(refused > 0);
    let series = "datakit_operator_election_answers_total{outcome=\"too_often\"}";
    assert_eq!(operator.metric(series).await, f64::from(refused));
    let mut real = operator.client_from(2).await;
    let answer = ask(&mut real, poll(agent("a", json!({"x": 1}), Value::Null))).await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn what_steers_terminals_is_refused() {
    let operator = Operator::start(&["--election-listening", "0s"]);
    let mut client = operator.client(Protocol::Http1).await;
    for name in ["a\u{1b}[2J", "\u{202e}a", "a\u{85}", "\u{feff}a", "a\r\nb"] {
        for (what, body) in [
            ("`id`", agent(name, json!({}), Value::Null)),
            (
                "the name of an input",
                agent("a", json!({ name: 1 }), Value::Null),
            ),
            ("the name of an input", agent("a", json!({}), json!([name]))),
        ] {
            let answer = ask(&mut client, poll(body)).await;
            assert_eq!(answer.status(), 400);
            assert!(
                answer
                    .text()
                    .starts_with(&format!("{what} has the character U+")),
                "{}",
                answer.text()
            );
        }
        let mut escaped = String::new();
        for byte in name.bytes() {
            let _ = write!(escaped, "%{byte:02x}");
        }
        for (what, query) in [
            ("`id`", format!("token=t&id={escaped}")),
            ("`namespace`", format!("token=t&id=a&namespace={escaped}")),
        ] {
            let answer = ask(&mut client, post(&format!("/v1/dk-election?{query}"))).await;
            assert_eq!(answer.status(), 400);
            assert!(
                answer
                    .text()
                    .starts_with(&format!("{what} has the character U+")),
                "{}",
                answer.text()
            );
        }
    }
}

#[tokio::test]
async fn the_table_comes_in_pages() {
    let operator = Operator::start(&["--election-listening", "0s"]);
    let mut client = operator.client(Protocol::Http1).await;
    for number in 0..620 {
        let polled = agent(
            &format!("node-{number:03}"),
            json!({ format!("in-{number}"): 1 }),
            Value::Null,
        );
        assert_eq!(ask(&mut client, poll(polled)).await.status(), 200);
    }
    let (mut cursor, mut pages, mut ids) = (String::new(), 0, Vec::new());
    loop {
        let page = ask(
            &mut client,
            get(&format!("{ELECTION}?limit=100&continue={cursor}")),
        )
        .await
        .json();
        let agents = page["agents"].as_array().expect("agents").clone();
        assert!(agents.len() <= 100);
        ids.extend(agents.iter().map(|agent| agent["id"].clone()));
        pages += 1;
        match page["continue"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!((pages, ids.len()), (7, 620));
    let first = ask(&mut client, get(ELECTION)).await.json();
    assert_eq!(first["agents"].as_array().map(Vec::len), Some(500));
    assert_eq!(first["agents"][0]["from"], "127.0.0.1");
    for bad in ["limit=0", "limit=5001", "limit=x", "continue=x"] {
        let answer = ask(&mut client, get(&format!("{ELECTION}?{bad}"))).await;
        assert_eq!(answer.status(), 400);
        assert!(answer.text().contains("expected"), "{}", answer.text());
    }
    // The command shows all of them.
    let url = format!("https://localhost:{}", operator.https.port());
    let (code, stdout, stderr) = run(&["election", "--url", &url], &[]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(stdout.matches("node-").count(), 620);
    assert_eq!(
        (
            stdout.matches("AGENT").count(),
            stdout.matches("holder: ").count()
        ),
        (1, 1)
    );
    let (_, stdout, _) = run(&["election", "--url", &url, "--output", "json"], &[]);
    let table: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(table["agents"].as_array().map(Vec::len), Some(620));
    assert_eq!(table["unassigned"], json!([]));
}

#[tokio::test]
async fn agents_may_be_required_to_prove_who_they_are() {
    let operator = Operator::start(&["--election-listening", "0s", "--election-auth", "required"]);
    let polled = || poll(agent("a", json!({"x": 1}), Value::Null));
    let mut client = operator.client_from(2).await;
    let answer = ask(&mut client, polled()).await;
    assert_eq!(
        (answer.status(), answer.header("www-authenticate")),
        (401, Some("Bearer"))
    );
    let campaign = post("/v1/dk-election?token=t&id=a");
    assert_eq!(ask(&mut client, campaign).await.status(), 401);
    let mut forged = polled();
    let token = HeaderValue::from_static("Bearer very-secret");
    forged.headers_mut().insert("authorization", token);
    let answer = ask(&mut client, forged).await;
    assert_eq!(answer.status(), 401);
    assert!(!answer.text().contains("secret"), "{}", answer.text());
    // Everybody on this machine may look.
    assert_eq!(ask(&mut client, get(ELECTION)).await.status(), 200);
    // Agents choose this operator by these.
    assert_eq!(
        ask(&mut client, request(Method::HEAD, "/ping", ""))
            .await
            .status(),
        200
    );
    assert_eq!(
        ask(&mut client, get("/v1/dk-election/status"))
            .await
            .status(),
        200
    );
    let series = "datakit_operator_election_answers_total{outcome=\"denied\"}";
    assert_eq!(operator.metric(series).await, 3.0);
}
