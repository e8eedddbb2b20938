//! The command line of `serve`, and what it says when it can't.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::support::{JAVA_REVIEW, Operator, Protocol, get, run};

const HERE: [&str; 5] = [
    "serve",
    "--listen",
    "127.0.0.1:0",
    "--probe-listen",
    "127.0.0.1:0",
];

#[tokio::test]
async fn the_ready_line_says_where_and_how() {
    let operator = Operator::start(&[]);
    let ready = operator.logged("ready").await;
    let webhook = format!("https://{}/v1/webhooks/inject", operator.https);
    assert_eq!(ready["webhook"], webhook);
    assert_eq!(ready["config"].as_str().map(str::len), Some(12), "{ready}");
    assert_eq!(ready["probes"], format!("http://{}", operator.probes));
    let hint = ready["try"].as_str().expect("a command");
    let port = operator.https.port();
    assert!(hint.starts_with("curl --cacert "), "{hint}");
    assert!(
        hint.ends_with(&format!("https://localhost:{port}/ping")),
        "{hint}"
    );
    assert_eq!(ready["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn a_port_in_use() {
    let operator = Operator::start(&[]);
    let taken = operator.https.to_string();
    for flag in ["--listen", "--probe-listen"] {
        let other = if flag == "--listen" {
            "--probe-listen"
        } else {
            "--listen"
        };
        let (code, _, stderr) = run(&["serve", flag, &taken, other, "127.0.0.1:0"], &[]);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(
            stderr.contains(&format!(
                "failed to listen on `{taken}`: Address already in use"
            )),
            "{stderr}"
        );
    }
}

#[test]
fn an_unusable_configuration() {
    let check = |args: &[&str], variables: &[(&str, &str)], wants: &[&str]| {
        let (code, stdout, stderr) = run(&[&HERE[..], args].concat(), variables);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        for want in wants {
            assert!(stderr.contains(want), "{want:?} in {stderr}");
        }
    };
    check(
        &["--config", "no/such.json"],
        &[],
        &["`no/such.json`: No such file"],
    );
    check(
        &[],
        &[("ENV_CONFIG_FILE", "no/such.json")],
        &["`no/such.json`: No such file"],
    );
    check(
        &[],
        &[
            ("ENV_CONFIG_FILE", "no/such.json"),
            ("ENV_JSON_CONFIG", "{}"),
        ],
        &["`no/such.json`"],
    );
    check(
        &[],
        &[("ENV_JSON_CONFIG", "{\"log_level\":")],
        &["ENV_JSON_CONFIG"],
    );
}

#[tokio::test]
async fn where_the_configuration_comes_from() {
    let java = async |operator: &Operator| {
        let answer = operator.review(JAVA_REVIEW.clone()).await.json();
        let patch = answer["response"]["patch"].as_str().unwrap_or_default();
        let patch = BASE64_STANDARD.decode(patch).expect("base64");
        // Beside it may be the status of the pod.
        String::from_utf8_lossy(&patch).contains("/spec/initContainers")
    };
    assert!(java(&Operator::start(&[])).await, "the default has images");
    let empty = Operator::start_with(&[], &[("ENV_JSON_CONFIG", "")]);
    assert!(!java(&empty).await, "an empty configuration has none");
    assert_eq!(empty.ask(Protocol::Http2, get("/ping")).await.status(), 200);

    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("config.json");
    let config =
        r#"{"admission_inject":{"ddtrace":{"images":{"java_agent_image":"example.com/java:1"}}}}"#;
    std::fs::write(&file, config).expect("written");
    let file = file.to_str().expect("UTF-8");
    let variables = [("ENV_CONFIG_FILE", file), ("ENV_JSON_CONFIG", "{}")];
    assert!(
        java(&Operator::start_with(&[], &variables)).await,
        "the file wins"
    );
    let flag = Operator::start_with(&["--config", file], &[("ENV_JSON_CONFIG", "{}")]);
    assert!(java(&flag).await, "the flag wins");
}

#[tokio::test]
async fn doubtful_configuration_is_logged_and_used() {
    let config = r#"{"log_levle":"debug","admission_inject":{"ddtrace":{"images":{"java_agent_image":"example.com/java:1"}}}}"#;
    let operator = Operator::start_with(&[], &[("ENV_JSON_CONFIG", config)]);
    let lines = operator.stop().await;
    let warning = lines
        .iter()
        .find(|line| line["level"] == "warn")
        .expect("a warning");
    assert!(
        warning["msg"]
            .as_str()
            .expect("a text")
            .contains("log_levle"),
        "{warning}"
    );
}

#[tokio::test]
async fn log_level_of_the_environment() {
    let quiet = Operator::start_with(&[], &[("ENV_LOG_LEVEL", "debug")]);
    quiet.review("garbage").await;
    let lines = quiet.stop().await;
    assert!(
        lines.iter().any(|line| line["msg"] == "pod reviewed"),
        "{lines:#?}"
    );
}

#[test]
fn help_and_version() {
    let (code, stdout, _) = run(&["serve", "--help"], &[]);
    assert_eq!(code, Some(0));
    for want in [
        "Examples:",
        "Environment:",
        "Signals:",
        "Exit codes:",
        "130, 131, 143",
        "SIGHUP",
        "--max-body-size",
    ] {
        assert!(stdout.contains(want), "{want}");
    }
    let (code, stdout, _) = run(&["version"], &[]);
    assert_eq!(code, Some(0));
    assert!(
        stdout.starts_with(&format!("datakit-operator {} ", env!("CARGO_PKG_VERSION"))),
        "{stdout}"
    );
    let (code, _, stderr) = run(&["serve", "--body-timeout", "10"], &[]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("for example `10s`"), "{stderr}");
    let (code, _, stderr) = run(&["swerve"], &[]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("serve"), "{stderr}");
}
