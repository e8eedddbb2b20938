//! The status: what it says, and to whom.

use http::{HeaderValue, Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::{Value, json};

use crate::support::{JAVA_REVIEW, Operator, Protocol, get, post, request, run, within};

const PATHS: [&str; 2] = ["/status", "/status.html"];

fn named(path: &str, host: &'static str) -> Request<Full<Bytes>> {
    let mut request = get(path);
    let host = HeaderValue::from_static(host);
    request.headers_mut().insert("host", host);
    request
}

fn java_review(change: impl FnOnce(&mut Value)) -> Request<Full<Bytes>> {
    let mut review: Value = serde_json::from_slice(&JAVA_REVIEW).expect("JSON");
    change(&mut review["request"]);
    post(review.to_string())
}

async fn status(operator: &Operator) -> Value {
    let answer = operator.probe(get("/status")).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer.json()
}

/// The page names pods: it is only for who is on this machine, under a name that leads there.
#[tokio::test]
async fn it_is_for_this_machine() {
    let operator = Operator::start(&[]);
    for path in PATHS {
        for host in [
            "localhost",
            "localhost:9544",
            "127.0.0.1:9544",
            "[::1]:9544",
        ] {
            let answer = operator.probe(named(path, host)).await;
            assert_eq!(answer.status(), 200, "{path} {host}");
        }
        // A site whose name was made to lead here.
        for host in [
            "attacker.example",
            "attacker.example:9544",
            "10.0.0.1:9544",
            "",
        ] {
            let answer = operator.probe(named(path, host)).await;
            assert_eq!(answer.status(), 403, "{path} {host}");
            assert!(answer.text().contains("localhost"), "{}", answer.text());
        }
        // As a pod's neighbour, or the proxy of a mesh in its name.
        let answer = operator.probe_from(6, named(path, "localhost")).await;
        assert_eq!(answer.status(), 403, "{path}");
        assert!(answer.text().contains("--status-page open"), "{path}");
        assert!(!answer.text().contains("process-"), "{path}");
    }
    // Nobody else is kept out of anything.
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = operator.probe_from(6, named(path, "10.0.0.1")).await;
        assert_eq!(answer.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn it_can_be_opened_and_switched_off() {
    let open = Operator::start(&["--status-page", "open"]);
    let off = Operator::start(&["--status-page=off"]);
    for path in PATHS {
        let request = || named(path, "operator.example");
        assert_eq!(open.probe_from(6, request()).await.status(), 200, "{path}");
        assert_eq!(off.probe(get(path)).await.status(), 404, "{path}");
    }
    let index = async |operator: &Operator| operator.probe(get("/")).await.text();
    assert!(index(&open).await.ends_with("/status\n/status.html\n"));
    assert!(!index(&off).await.contains("status"));
}

#[tokio::test]
async fn it_is_only_read() {
    let operator = Operator::start(&[]);
    for path in PATHS {
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            let answer = operator.probe(request(method, path, "{}")).await;
            assert_eq!(
                (answer.status(), answer.header("allow")),
                (405, Some("GET, HEAD"))
            );
        }
        let answer = operator.probe(request(Method::HEAD, path, "")).await;
        assert_eq!((answer.status(), answer.text()), (200, String::new()));
    }
}

#[tokio::test]
async fn a_browser_runs_nothing_but_the_page() {
    let operator = Operator::start(&[]);
    let page = operator.probe(get("/status.html")).await;
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    for answer in [&page, &operator.probe(get("/status")).await] {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn it_says_what_was_decided() {
    let operator = Operator::start(&[]);
    let review = async |request| {
        let answer = operator.ask(Protocol::Http2, request).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
    };
    let before = status(&operator).await;
    assert_eq!(before["decisions"], json!([]));
    assert_eq!(before["replica"]["phase"], "ready");
    assert_eq!(before["configuration"]["origin"], "the embedded default");
    assert_eq!(before["lease"], Value::Null);
    assert_eq!(before["election"]["decides"], "here");
    let parts = before["parts"].as_array().expect("parts");
    assert!(
        parts.iter().all(|part| part["state"] == "well"),
        "{parts:?}"
    );
    let presented = &before["certificates"]["presented"];
    assert_eq!(presented["issuer"], "CN=datakit-operator CA", "{presented}");
    assert_eq!(presented["sha256"].as_str().map(str::len), Some(64));

    review(java_review(|_| {})).await;
    // Asks for nothing, so nothing is said of it.
    review(java_review(|request| {
        request["object"]["metadata"]["annotations"] = json!({});
    }))
    .await;
    review(java_review(|request| {
        request["object"]["metadata"] = json!({
            "name": "<img src=x onerror=alert(1)>\u{202e}",
            "annotations": {"admission.datakit/jav-lib.version": "", "kubernetes.io/config.mirror": "x"},
        });
    }))
    .await;
    review(java_review(|request| {
        request["object"]["metadata"]["annotations"]["kubernetes.io/config.mirror"] = json!("x");
    }))
    .await;
    // Workloads get nothing; their pods are to come.
    let validate = request(Method::POST, "/v1/webhooks/validate", JAVA_REVIEW.clone());
    let _ = operator.ask(Protocol::Http2, validate).await;

    let decisions = status(&operator).await["decisions"].take();
    let decisions = decisions.as_array().expect("decisions");
    let outcomes: Vec<_> = decisions.iter().map(|one| &one["outcome"]).collect();
    assert_eq!(
        outcomes,
        ["unchanged", "unchanged", "injected"],
        "{decisions:#?}"
    );
    let [mirror, misspelled, injected] = decisions.as_slice() else {
        panic!("{decisions:#?}");
    };
    assert_eq!(injected["namespace"], "shop");
    assert_eq!(injected["features"][0]["outcome"], "injected");
    assert_eq!(mirror["features"][0]["reason"]["code"], "mirror_pod");
    // What can't be seen is shown by its number; markup is for the page to show as text.
    assert_eq!(misspelled["pod"], r"<img src=x onerror=alert(1)>\u{202e}");
    assert_eq!(misspelled["notes"][0]["code"], "unknown_annotation");
}

/// However many reviews there are, and whatever is in them, the answer has a bounded size.
#[tokio::test]
async fn its_size_is_bounded() {
    let operator = Operator::start(&[]);
    let mut client = operator.client(Protocol::Http2).await;
    let long = "<\"\u{202e}".repeat(500);
    for number in 0..300 {
        let mut annotations = serde_json::Map::new();
        for more in 0..20 {
            annotations.insert(format!("admission.datakit/{more}{long}"), json!(""));
        }
        let review = java_review(|request| {
            request["namespace"] = json!(long);
            request["object"]["metadata"]["name"] = json!(format!("{number}-{long}"));
            request["object"]["metadata"]["annotations"] =
                Value::Object(annotations.into_iter().take(1 + number % 20).collect());
        });
        let answer = client.ask(review).await.expect("an answer");
        assert_eq!(answer.status(), 200);
    }
    let answer = operator.probe(get("/status")).await;
    let length = answer.text().len();
    assert!(length < 1 << 20, "{length}");
    let decisions = answer.json()["decisions"].take();
    assert_eq!(decisions.as_array().map(Vec::len), Some(256));
    assert_eq!(decisions[0]["number"], 299);
}

/// Reviews and readers at once: nobody waits for anybody, and what is read is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_read_while_it_is_written() {
    let operator = std::sync::Arc::new(Operator::start(&[]));
    let writer = tokio::spawn({
        let operator = std::sync::Arc::clone(&operator);
        async move {
            let mut client = operator.client(Protocol::Http2).await;
            for _ in 0..600 {
                let answer = client.ask(post(JAVA_REVIEW.clone())).await;
                assert_eq!(answer.expect("an answer").status(), 200);
            }
        }
    });
    while !writer.is_finished() {
        let decisions = status(&operator).await["decisions"].take();
        let numbers = decisions.as_array().expect("decisions").iter();
        let numbers: Vec<u64> = numbers.filter_map(|one| one["number"].as_u64()).collect();
        assert!(
            numbers.windows(2).all(|pair| pair[0] > pair[1]),
            "{numbers:?}"
        );
    }
    within(writer).await.expect("all were answered");
    let last = status(&operator).await;
    let kept = last["decisions"].as_array().expect("decisions").len() as u64;
    let missed = last["decisionsNotKept"].as_u64().expect("a number");
    assert!(kept <= 256 && kept + missed >= 256, "{kept} {missed}");
}

#[tokio::test]
async fn a_refused_configuration_is_shown() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("config.json");
    let write = |text: &str| std::fs::write(&file, text).expect("written");
    write(r#"{"log_lvl": "debug"}"#);
    let operator = Operator::start(&["--config", &file.display().to_string()]);
    let configuration = async || status(&operator).await["configuration"].take();
    let first = configuration().await;
    assert_eq!(first["diagnostics"][0]["severity"], "warning", "{first}");
    assert_eq!(first["refused"], Value::Null);
    write("{");
    operator.signal("-HUP");
    let refused = within(async {
        loop {
            let refused = configuration().await["refused"].take();
            if let Some(why) = refused.as_str() {
                break why.to_owned();
            }
        }
    })
    .await;
    assert!(refused.contains("config.json"), "{refused}");
    write("{}");
    operator.signal("-HUP");
    within(async { while !configuration().await["refused"].is_null() {} }).await;
    assert_eq!(configuration().await["diagnostics"], json!([]));
}

/// `datakit-operator status` of one replica; of several, docs/operations.md has an example.
#[tokio::test]
async fn the_command_prints_it() {
    let operator = Operator::start(&[]);
    let review = java_review(|request| {
        request["object"]["metadata"]["name"] = json!("web\u{1b}[2J");
    });
    let answer = operator.ask(Protocol::Http2, review).await;
    assert_eq!(answer.status(), 200);
    let ask = |operator: &Operator, args: &[&str]| {
        let url = format!("http://{}", operator.probes);
        let args = [&["status", "--url", &url], args].concat();
        run(&args, &[])
    };
    let (code, printed, said) = ask(&operator, &[]);
    assert_eq!((code, said.as_str()), (Some(0), ""), "{printed}");
    for part in [
        "the embedded default",
        "made at start",
        "ddtrace (java) injected",
        r"web\u{1b}[2J",
    ] {
        assert!(printed.contains(part), "no `{part}` in {printed}");
    }
    assert!(
        printed.lines().all(|line| line.chars().count() <= 80),
        "{printed}"
    );
    let (code, printed, _) = ask(&operator, &["-o", "json"]);
    let json: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(code, Some(0), "{printed}");
    let name = &json["replicas"][0]["name"];
    assert_eq!(name, &json["replicas"][0]["status"]["replica"]["name"]);
    assert_eq!(name, &json["decisions"][0]["replica"]);
    assert_eq!(json["replicas"][0]["error"], Value::Null);
    let (_, printed, _) = ask(&operator, &["--decisions", "0"]);
    assert!(!printed.contains("DECISION"), "{printed}");

    let off = Operator::start(&["--status-page", "off"]);
    let (code, printed, _) = ask(&off, &[]);
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("--status-page off"), "{printed}");
    let (code, _, said) = run(&["status", "--url", "https://localhost:9543"], &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("http://localhost:9544"), "{said}");
}
