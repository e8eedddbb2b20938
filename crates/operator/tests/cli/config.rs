use std::fs;

use crate::run::{run, run_with};

fn check_config(args: &[&str], config: &str, code: i32, stdout: &str, stderr: &str) {
    let ran = run(&[&["check-config"], args, &["-"]].concat(), config);
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (code, stdout, stderr)
    );
}

#[test]
fn every_finding_has_a_line() {
    let good = r#"{"admission_inject": {"logfwd": {"images": {"logfwd_image": "a:1"}}}}"#;
    let fine = "configuration from standard input: nothing to complain about\n";
    check_config(&[], good, 0, "", fine);
    let verdict = "configuration from standard input: 0 errors, 1 warning\n";
    let nothing = "warning: no feature has an image, so nothing is injected\n";
    check_config(&[], "{}", 0, nothing, verdict);
    let warned =
        r#"{"admission_inject": {"logfwd": {"imags": {}, "images": {"logfwd_image": "a:1"}}}}"#;
    let line =
        "warning: admission_inject.logfwd.imags: unknown key, ignored; did you mean `images`?\n";
    check_config(&[], warned, 0, line, verdict);
    check_config(&["--strict"], warned, 1, line, verdict);
    let wrong = r#"{"log_level": "loud", "admission_inject": {"logfwd": {
        "images": {"logfwd_image": "UPPER CASE"}, "resources": {"limits": {"cpu": "lots"}}
    }}}"#;
    let ran = run(&["check-config", "-"], wrong);
    assert_eq!(ran.code, 2);
    for part in [
        "log_level",
        "loud",
        "logfwd.images.logfwd_image",
        "resources.limits.cpu",
        "lots",
    ] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
}

#[test]
fn a_rule_that_is_disabled_by_a_mistake_is_an_error() {
    let rules =
        r#"{"admission_inject_v2": {"logfwds": [{"namespace_selectors": ["("], "image": "a:1"}]}}"#;
    let ran = run(&["check-config", "-"], rules);
    assert_eq!(ran.code, 2);
    for part in [
        "error: admission_inject_v2.logfwds[0].namespace_selectors",
        "the rule is disabled",
    ] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
}

#[test]
fn a_policy_is_checked_and_shown() {
    let policy = r#"{"admission_policy": {"profilers": {"namespaces": []}, "ddtrace": {"versions": ["v1.*"]}},
        "admission_inject": {"logfwd": {"images": {"logfwd_image": "a:1"}}}}"#;
    let line = "error: admission_policy.profilers: unknown feature; profiler is forbidden until this is corrected; \
                did you mean `profiler`?\n";
    check_config(
        &[],
        policy,
        2,
        line,
        "configuration from standard input: 1 error, 0 warnings\n",
    );
    let ran = run_with(&[("ENV_JSON_CONFIG", policy)], &["config"], "");
    let shown: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(
        shown["admission_policy"],
        serde_json::json!({
            "ddtrace": {"namespaces": ["*"], "versions": ["v1.*"], "drop_digest": false},
            "otel": {"namespaces": ["*"], "versions": ["*"], "drop_digest": false},
            "logfwd": {"namespaces": ["*"]},
            "flameshot": {"namespaces": ["*"]},
            "profiler": {"namespaces": [], "versions": [], "drop_digest": false},
            "logging": {"namespaces": ["*"]},
        })
    );
}

#[test]
fn sources_of_a_configuration() {
    let ran = run(&["check-config"], "");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    assert_eq!(
        ran.stderr,
        "configuration from the embedded default: nothing to complain about\n"
    );
    let ran = run_with(
        &[("ENV_JSON_CONFIG", "{"), ("ENV_LOG_LEVEL", "debug")],
        &["check-config"],
        "",
    );
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr
            .contains("failed to load the configuration from ENV_JSON_CONFIG: "),
        "{}",
        ran.stderr
    );
    let ran = run(&["check-config", "nope.json"], "");
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("`nope.json`"), "{}", ran.stderr);
}

#[test]
fn the_effective_configuration_loads_to_itself() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("c.json");
    fs::write(
        &path,
        r#"{"admission_inject": {"ddtrace": {"envs": {"DD_AGENT_HOST": "a"}}}}"#,
    )
    .expect("written");
    let path = path.to_str().expect("text");
    let variables = [("ENV_DD_AGENT_HOST", "b"), ("ENV_LOG_LEVEL", "warn")];
    let first = run_with(&variables, &["config", "--config", path], "");
    assert_eq!(first.code, 0);
    assert!(
        first
            .stderr
            .starts_with(&format!("configuration from `{path}`\n")),
        "{}",
        first.stderr
    );
    let config: serde_json::Value = serde_json::from_str(&first.stdout).expect("JSON");
    assert_eq!(config["log_level"], "warn");
    assert_eq!(
        config["admission_inject"]["ddtrace"]["envs"]["DD_AGENT_HOST"],
        "b"
    );
    fs::write(path, &first.stdout).expect("written");
    let second = run(&["config", "--config", path], "");
    assert_eq!(second.stdout, first.stdout);
}
