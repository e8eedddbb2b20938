//! `explain --logging-configs`.

use crate::run::run;

const OBJECTS: &str = r#"
apiVersion: v1
kind: List
items:
  - kind: ClusterLoggingConfig
    metadata: {name: newer, creationTimestamp: "2026-02-01T00:00:00Z"}
    spec: {selector: {namespaceRegex: ^prod$}}
  - kind: ClusterLoggingConfig
    metadata: {name: older, creationTimestamp: "2026-01-01T00:00:00Z"}
    spec: {selector: {namespaceRegex: ^prod$, podLabelSelector: app=web}}
  - kind: ClusterLoggingConfig
    metadata: {name: broken, creationTimestamp: "2025-01-01T00:00:00Z"}
    spec: {selector: {podRegex: "("}}
---
kind: ClusterLoggingConfig
metadata: {name: a-draft}
spec: {selector: {podRegex: ^set-0$}}
"#;

/// Writes a workload with this name and label, and returns what is said about its sidecar.
fn explained(kind: &str, name: &str, namespace: &str, app: &str) -> (String, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("app.yaml");
    let metadata = format!("{{labels: {{app: {app}}}}}");
    let pod = "spec: {containers: [{name: c}]}";
    let text = match kind {
        "Pod" => format!(
            "kind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{app: {app}}}}}\n{pod}\n"
        ),
        _ => format!(
            "kind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  template:\n    metadata: {metadata}\n    {pod}\n"
        ),
    };
    std::fs::write(&file, text).expect("written");
    let file = file.to_str().expect("UTF-8");
    let args = ["explain", "-f", file, "--logging-configs", "-"];
    let table = run(&args, OBJECTS);
    assert_eq!(table.code, 0, "{}", table.stderr);
    assert!(
        table
            .stderr
            .contains("ClusterLoggingConfig/broken selects no pod at all: spec.selector.podRegex"),
        "{}",
        table.stderr
    );
    let said = table
        .stdout
        .lines()
        .find(|line| line.contains("LoggingConfig"));
    let mut args = args.to_vec();
    args.extend(["-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&run(&args, OBJECTS).stdout).expect("JSON");
    let chosen = &json["templates"][0]["loggingConfig"];
    (said.expect("a line").to_owned(), chosen.to_string())
}

#[test]
fn the_oldest_object_that_selects_the_pod() {
    let check = |[kind, name, namespace, app]: [&str; 4], object: Option<&str>, pod: &str| {
        let (said, json) = explained(kind, name, namespace, app);
        let (expected, quoted) = match object {
            Some(object) => (
                format!(
                    "A sidecar that asks the operator, in a pod called {pod}, gets ClusterLoggingConfig/{object}."
                ),
                format!("\"{object}\""),
            ),
            None => (
                format!("No ClusterLoggingConfig selects a pod called {pod}."),
                "null".to_owned(),
            ),
        };
        assert_eq!(said, expected);
        assert_eq!(json, format!(r#"{{"name":{quoted},"pod":"{pod}"}}"#));
    };
    let deployed = "shop-6d5f7c9b84-x2x7k";
    check(
        ["Deployment", "shop", "prod", "web"],
        Some("older"),
        deployed,
    );
    check(
        ["Deployment", "shop", "prod", "db"],
        Some("newer"),
        deployed,
    );
    check(["Deployment", "shop", "dev", "web"], None, deployed);
    check(
        ["StatefulSet", "set", "prod", "web"],
        Some("older"),
        "set-0",
    );
    check(
        ["StatefulSet", "set", "dev", "web"],
        Some("a-draft"),
        "set-0",
    );
    check(["DaemonSet", "set", "dev", "web"], None, "set-x2x7k");
    check(["Pod", "one", "prod", "web"], Some("older"), "one");
}

#[test]
fn what_cannot_be_read_is_told() {
    let ran = run(&["explain", "-f", "-", "--logging-configs", "-"], "");
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("read only once"), "{}", ran.stderr);
    let ran = run(&["explain", "-f", "-", "--logging-configs", "nowhere"], "");
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("failed to read `nowhere`"),
        "{}",
        ran.stderr
    );
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("other.yaml");
    std::fs::write(&file, "kind: Service\n").expect("written");
    let file = file.to_str().expect("UTF-8");
    let ran = run(&["explain", "-f", "-", "--logging-configs", file], "");
    let expected = "no ClusterLoggingConfig found in --logging-configs";
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
}
