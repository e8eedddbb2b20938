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

#[test]
fn findings_as_json() {
    let text = "{\"admission_inject_v2\": {\n  \"logfwds\": [\n    {\"name\": \"all\", \"image\": \"a:1\",\n     \"namespace_selectors\": [\"shop\"]},\n    null]},\n  \"log_levle\": 1}";
    let ran = run(&["check-config", "-o", "json", "-"], text);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    expect_test::expect![[r#"
        {
          "source": "standard input",
          "errors": 0,
          "warnings": 3,
          "diagnostics": [
            {
              "severity": "warning",
              "code": "unknown_key",
              "path": "log_levle",
              "line": 6,
              "column": 3,
              "message": "unknown key, ignored",
              "found": null,
              "suggestion": "did you mean `log_level`?"
            },
            {
              "severity": "warning",
              "code": "rule_disabled",
              "path": "admission_inject_v2.logfwds[1]",
              "line": 5,
              "column": 5,
              "message": "the rule is null, and skipped",
              "found": null,
              "suggestion": null
            },
            {
              "severity": "warning",
              "code": "unanchored_pattern",
              "path": "admission_inject_v2.logfwds[0].namespace_selectors",
              "line": 4,
              "column": 6,
              "message": "a regular expression that fits anywhere in a name, so also namespaces whose names only contain it",
              "found": "shop",
              "suggestion": "write `^shop$` if that isn't meant"
            }
          ],
          "rules": [
            {
              "feature": "logfwd",
              "path": "admission_inject_v2.logfwds[0]",
              "name": "all",
              "language": null,
              "image": "a:1",
              "annotation": false,
              "namespaces": [
                "shop"
              ],
              "labels": []
            }
          ]
        }
    "#]].assert_eq(&ran.stdout);
    let strict = run(&["check-config", "-o", "json", "--strict", "-"], text);
    assert_eq!((strict.code, strict.stdout), (1, ran.stdout));
}

#[test]
fn what_is_not_json_is_a_finding_with_a_place() {
    let text = "{\n  // of the shop\n  \"log_level\": \"info\"\n}";
    let ran = run(&["check-config", "-"], text);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert_eq!(
        ran.stderr,
        "datakit-operator: failed to load the configuration from standard input: failed to read the configuration as JSON \
         at line 2, column 3: comments aren't JSON; remove this one (near `// of the shop`)\n"
    );
    let ran = run(&["check-config", "--output", "json", "-"], text);
    assert_eq!(ran.code, 2);
    let shown: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let expected = serde_json::json!({
        "source": "standard input", "errors": 1, "warnings": 0, "rules": [],
        "diagnostics": [{
            "severity": "error", "code": "not_json", "path": "", "line": 2, "column": 3,
            "message": "comments aren't JSON; remove this one", "found": "// of the shop", "suggestion": null,
        }],
    });
    assert_eq!(shown, expected);
}

/// A program that reads the codes finds each of them explained.
#[test]
fn the_page_has_every_code() {
    let page = include_str!("../../../../docs/configuration.md");
    for code in datakit_operator_core::diagnostic::Code::all() {
        let row = format!("\n| `{}` | ", code.as_str());
        assert!(page.contains(&row), "{}", code.as_str());
    }
}

#[test]
fn the_schema_is_the_shipped_one() {
    let ran = run(&["config", "--schema"], "");
    let shipped = include_str!("../../../../docs/config.schema.json");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, shipped));
}
