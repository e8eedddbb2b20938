use datakit_operator_core::config::DEFAULT_CONFIG;
use expect_test::{Expect, expect};
use ring::digest::{SHA256, digest};

use crate::run::{run, run_with};

/// What is said beside the report.
fn said(origin: &str, document: &str) -> String {
    format!("configuration: {origin} ({})\n", hash(document))
}

/// The same of the built-in configuration.
fn said_of_default() -> String {
    said("the embedded default", DEFAULT_CONFIG)
}

/// What tells a document from others.
fn hash(document: &str) -> String {
    let digest = digest(&SHA256, document.as_bytes());
    let first = &digest.as_ref()[..6];
    first.iter().map(|byte| format!("{byte:02x}")).collect()
}

const DEPLOYMENT: &str = r#"
kind: Deployment
metadata: {name: shop, namespace: prod}
spec:
  template:
    metadata:
      annotations:
        admission.datakit/java-lib.version: "not a tag"
        admission.datakit/java-profiler.version: ""
    spec:
      hostPID: true
      containers: [{name: web}]
"#;

fn check(columns: &str, expected: Expect) {
    let ran = run_with(&[("COLUMNS", columns)], &["explain", "-f", "-"], DEPLOYMENT);
    assert_eq!((ran.code, ran.stderr), (0, said_of_default()));
    expected.assert_eq(&ran.stdout);
}

#[test]
fn a_table_for_people() {
    check(
        "120",
        expect![[r#"
            Deployment/shop in namespace prod (-, line 2)

            FEATURE          OUTCOME        ASKED FOR BY                  REASON                        WHAT TO CHANGE
            ddtrace (java)   injected       annotation
                                            admission.datakit/
                                            java-lib.version, rule
                                            admission_inject.ddtrace
                             note                                         admission.datakit/            give a tag such as `v1.2.3`
                                                                          java-lib.version `not a tag`
                                                                          is no image tag, the
                                                                          configured image was used
            otel             not requested
            logfwd           not requested
            flameshot        not requested
            profiler (java)  skipped        annotation                    the pod uses the node's       remove hostPID, or don't ask
                                            admission.datakit/            process namespace (hostPID),  for it
                                            java-profiler.version, rule   which can't be shared with a
                                            admission_inject.profiler     sidecar
            logging          not requested
        "#]],
    );
    check(
        "60",
        expect![[r#"
            Deployment/shop in namespace prod (-, line 2)

            ddtrace (java): injected
              asked for by    annotation
                              admission.datakit/java-lib.version, rule
                              admission_inject.ddtrace
              note
              reason          admission.datakit/java-lib.version `not a
                              tag` is no image tag, the configured image
                              was used
              what to change  give a tag such as `v1.2.3`
            otel: not requested
            logfwd: not requested
            flameshot: not requested
            profiler (java): skipped
              asked for by    annotation
                              admission.datakit/java-profiler.version,
                              rule admission_inject.profiler
              reason          the pod uses the node's process namespace
                              (hostPID), which can't be shared with a
                              sidecar
              what to change  remove hostPID, or don't ask for it
            logging: not requested
        "#]],
    );
}

#[test]
fn nothing_asked_for() {
    let ran = run(
        &["explain", "-f", "-"],
        "kind: Pod\nmetadata: {generateName: web-}\nspec: {containers: [{name: a}]}\n",
    );
    expect![[r#"
        Pod/web- in namespace default (-, line 1)

        FEATURE    OUTCOME
        ddtrace    not requested
        otel       not requested
        logfwd     not requested
        flameshot  not requested
        profiler   not requested
        logging    not requested

        Nothing is asked for: annotate the pod template, for instance with admission.datakit/java-lib.version: ""
        With the operator's match condition (Kubernetes 1.30 and newer) API servers don't ask about such pods.
    "#]].assert_eq(&ran.stdout);
    let old = ["explain", "-f", "-", "--kubernetes-version=1.29"];
    let ran = run(&old, "kind: Pod\nspec: {containers: [{name: a}]}\n");
    assert!(!ran.stdout.contains("match condition"), "{}", ran.stdout);
    let ran = run(&["explain", "-f", "-"], "kind: Service\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    assert!(
        ran.stderr
            .strip_prefix(&said_of_default())
            .is_some_and(|rest| rest.starts_with("no pod templates found")),
        "{}",
        ran.stderr
    );
}

#[test]
fn json_for_machines() {
    let ran = run(
        &["explain", "-f", "-", "-o", "json"],
        &format!("{DEPLOYMENT}---\n["),
    );
    assert_eq!(ran.code, 1);
    let told = ran.stdout.replace(&hash(DEFAULT_CONFIG), "(hash)");
    expect![[r#"
        {
          "configuration": "the embedded default",
          "configurationHash": "(hash)",
          "templates": [
            {
              "source": "-",
              "document": 1,
              "line": 2,
              "apiVersion": "",
              "kind": "Deployment",
              "namespace": "prod",
              "name": "shop",
              "path": "/spec/template",
              "decisions": [
                {
                  "feature": "ddtrace",
                  "language": "java",
                  "outcome": "injected",
                  "askedBy": {
                    "kind": "annotation",
                    "value": "admission.datakit/java-lib.version"
                  },
                  "rule": "admission_inject.ddtrace",
                  "reason": null,
                  "notes": [
                    {
                      "code": "version_ignored",
                      "container": null,
                      "message": "admission.datakit/java-lib.version `not a tag` is no image tag, the configured image was used",
                      "remedy": "give a tag such as `v1.2.3`"
                    }
                  ],
                  "missed": null
                },
                {
                  "feature": "otel",
                  "language": null,
                  "outcome": "not_requested",
                  "askedBy": null,
                  "rule": null,
                  "reason": null,
                  "notes": [],
                  "missed": {
                    "rules": [],
                    "more": 0
                  }
                },
                {
                  "feature": "logfwd",
                  "language": null,
                  "outcome": "not_requested",
                  "askedBy": null,
                  "rule": null,
                  "reason": null,
                  "notes": [],
                  "missed": {
                    "rules": [
                      {
                        "rule": "admission_inject.logfwd",
                        "language": null,
                        "failed": [
                          {
                            "condition": "annotation",
                            "message": "annotation admission.datakit/logfwd.instances is missing"
                          }
                        ]
                      }
                    ],
                    "more": 0
                  }
                },
                {
                  "feature": "flameshot",
                  "language": null,
                  "outcome": "not_requested",
                  "askedBy": null,
                  "rule": null,
                  "reason": null,
                  "notes": [],
                  "missed": {
                    "rules": [],
                    "more": 0
                  }
                },
                {
                  "feature": "profiler",
                  "language": "java",
                  "outcome": "skipped",
                  "askedBy": {
                    "kind": "annotation",
                    "value": "admission.datakit/java-profiler.version"
                  },
                  "rule": "admission_inject.profiler",
                  "reason": {
                    "code": "host_pid",
                    "container": null,
                    "message": "the pod uses the node's process namespace (hostPID), which can't be shared with a sidecar",
                    "remedy": "remove hostPID, or don't ask for it"
                  },
                  "notes": [],
                  "missed": null
                },
                {
                  "feature": "logging",
                  "language": null,
                  "outcome": "not_requested",
                  "askedBy": null,
                  "rule": null,
                  "reason": null,
                  "notes": [],
                  "missed": {
                    "rules": [],
                    "more": 0
                  }
                }
              ],
              "notes": [],
              "remarks": [],
              "called": true,
              "loggingConfig": null
            }
          ],
          "errors": [
            {
              "source": "-",
              "document": 2,
              "line": 14,
              "message": "failed to parse document 2 of `-` (line 14, column 1): unclosed bracket '['; it is left out"
            }
          ]
        }
    "#]].assert_eq(&told);
}

#[test]
fn the_help_names_every_feature() {
    let ran = run(&["explain", "--help"], "");
    for name in datakit_operator_core::config::Feature::NAMES {
        assert!(ran.stdout.contains(name), "{name}");
    }
}

#[test]
fn the_rules_that_do_not_apply_are_told() {
    let config = r#"{"admission_inject": {"ddtrace": {
        "images": {"java_agent_image": "lib:v1"},
        "enabled_labelselectors": [{"labelselector": "app=shop", "language": "java"}],
        "enabled_namespaces": [{"namespace": "^prod$", "language": "python"}]
    }}}"#;
    let explained = |args: &[&str]| {
        let variables = [("COLUMNS", "150"), ("ENV_JSON_CONFIG", config)];
        let pod = "kind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: web}]}\n";
        let ran = run_with(&variables, &[&["explain", "-f", "-"], args].concat(), pod);
        assert_eq!((ran.code, ran.stderr), (0, said("ENV_JSON_CONFIG", config)));
        ran.stdout
    };
    expect![[r#"
        Pod/web in namespace dev (-, line 1)

        FEATURE    OUTCOME        ASKED FOR BY                                             REASON
        ddtrace    not requested
                   no match       rule admission_inject.ddtrace.enabled_labelselectors[0]  java: the labels do not match `app=shop`
                   no match       rule admission_inject.ddtrace.enabled_namespaces[0]      python: namespace `dev` does not match `^prod$`
        otel       not requested
        logfwd     not requested
        flameshot  not requested
        profiler   not requested
        logging    not requested

        Nothing is asked for: annotate the pod template, for instance with admission.datakit/java-lib.version: ""
        With the operator's match condition (Kubernetes 1.30 and newer) API servers don't ask about such pods.
    "#]].assert_eq(&explained(&["-n", "dev"]));
    expect![[r#"
        Pod/web in namespace prod (-, line 1)

        FEATURE           OUTCOME        ASKED FOR BY                           REASON                                 WHAT TO CHANGE
        ddtrace (python)  skipped        namespace pattern ^prod$, rule         no image is configured                 set
                                         admission_inject.ddtrace.enabled_      (admission_inject.ddtrace.images.      admission_inject.ddtrace.images.
                                         namespaces[0]                          python_agent_image)                    python_agent_image in the operator's
                                                                                                                       configuration
        otel              not requested
        logfwd            not requested
        flameshot         not requested
        profiler          not requested
        logging           not requested
    "#]].assert_eq(&explained(&["-n", "prod"]));
    let json = explained(&["-n", "dev", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let missed = &json["templates"][0]["decisions"][0]["missed"];
    expect![[r#"
        {
          "rules": [
            {
              "rule": "admission_inject.ddtrace",
              "language": "java",
              "failed": [
                {
                  "condition": "annotation",
                  "message": "annotation admission.datakit/java-lib.version is missing"
                }
              ]
            },
            {
              "rule": "admission_inject.ddtrace",
              "language": "nodejs",
              "failed": [
                {
                  "condition": "annotation",
                  "message": "annotation admission.datakit/js-lib.version or admission.datakit/nodejs-lib.version is missing"
                }
              ]
            },
            {
              "rule": "admission_inject.ddtrace",
              "language": "python",
              "failed": [
                {
                  "condition": "annotation",
                  "message": "annotation admission.datakit/python-lib.version is missing"
                }
              ]
            },
            {
              "rule": "admission_inject.ddtrace.enabled_labelselectors[0]",
              "language": "java",
              "failed": [
                {
                  "condition": "labels",
                  "message": "the labels do not match `app=shop`"
                }
              ]
            },
            {
              "rule": "admission_inject.ddtrace.enabled_namespaces[0]",
              "language": "python",
              "failed": [
                {
                  "condition": "namespace",
                  "message": "namespace `dev` does not match `^prod$`"
                }
              ]
            }
          ],
          "more": 0
        }"#]].assert_eq(&format!("{missed:#}"));
}

#[test]
fn the_pod_security_level_is_a_reason() {
    let pod = r#"{"kind": "Pod", "metadata": {"annotations": {"admission.datakit/java-profiler.version": ""}},
                  "spec": {"containers": [{"name": "web"}]}}"#;
    let reason = |level: &str| {
        let args = ["explain", "-f", "-", "-o", "json", "--pod-security", level];
        let ran = run(&args, pod);
        assert_eq!((ran.code, ran.stderr), (0, said_of_default()));
        let explained: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
        let profiler = decision(&explained["templates"][0], "profiler");
        assert_eq!(profiler["feature"], "profiler");
        profiler["reason"]["code"].as_str().map(str::to_owned)
    };
    assert_eq!(reason("privileged"), None);
    assert_eq!(reason("baseline").as_deref(), Some("pod_security"));
    assert_eq!(reason("restricted").as_deref(), Some("pod_security"));
}

#[test]
fn a_policy_is_told_with_whom_to_ask() {
    let config = r#"{
        "admission_inject": {
            "ddtrace": {"images": {"java_agent_image": "lib:v1"}},
            "profiler": {"images": {"java_profiler_image": "profiler:v1"}}
        },
        "admission_policy": {
            "ddtrace": {"versions": ["v1.*"]},
            "profiler": {"namespaces": ["dev-*"]}
        }
    }"#;
    let pod = "kind: Pod\nmetadata:\n  name: web\n  annotations:\n    \
               admission.datakit/java-lib.version: v2\n    admission.datakit/java-profiler.version: ''\n\
               spec: {containers: [{name: web}]}\n";
    let explained = |args: &[&str]| {
        let variables = [("COLUMNS", "110"), ("ENV_JSON_CONFIG", config)];
        let ran = run_with(&variables, &[&["explain", "-f", "-"], args].concat(), pod);
        assert_eq!((ran.code, ran.stderr), (0, said("ENV_JSON_CONFIG", config)));
        ran.stdout
    };
    expect![[r#"
        Pod/web in namespace prod (-, line 1)

        FEATURE          OUTCOME        ASKED FOR BY              REASON                    WHAT TO CHANGE
        ddtrace (java)   skipped        annotation                the version `v2` of       leave
                                        admission.datakit/        admission.datakit/        admission.datakit/
                                        java-lib.version, rule    java-lib.version isn't    java-lib.version empty
                                        admission_inject.ddtrace  among the allowed ones    for the configured
                                                                                            version, or ask the
                                                                                            owner of the operator's
                                                                                            configuration:
                                                                                            admission_policy.
                                                                                            ddtrace.versions
        otel             not requested
        logfwd           not requested
        flameshot        not requested
        profiler (java)  skipped        annotation                namespace `prod` may not  ask the owner of the
                                        admission.datakit/        have it                   operator's
                                        java-profiler.version,                              configuration:
                                        rule                                                admission_policy.
                                        admission_inject.                                   profiler.namespaces
                                        profiler
        logging          not requested
    "#]].assert_eq(&explained(&["-n", "prod"]));
    let json = explained(&["-n", "dev-1", "-o", "json"]);
    assert!(json.contains(r#""code": "version_not_allowed""#), "{json}");
    assert!(!json.contains("not_allowed_here"), "{json}");
}

/// A note says whose container it is about; one that belongs to no feature stands beside the
/// decisions.
#[test]
fn notes_are_values() {
    let pod = r#"{"kind": "Pod", "metadata": {"annotations": {
                    "admission.datakit/enabled": "ja",
                    "admission.datakit/logfwd.instances": "[{\"datakit_addr\":\"d:1\",\"loggings\":[{\"logfiles\":[\"/a/x\"]}]}]"}},
                  "spec": {"volumes": [{"name": "one", "emptyDir": {}}, {"name": "two", "emptyDir": {}}],
                           "containers": [
                    {"name": "web", "volumeMounts": [{"name": "one", "mountPath": "/a"}]},
                    {"name": "side", "volumeMounts": [{"name": "two", "mountPath": "/a"}]}]}}"#;
    let ran = run(&["explain", "-f", "-", "-o", "json"], pod);
    let explained: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let template = &explained["templates"][0];
    let note = &decision(template, "logfwd")["notes"][0];
    assert_eq!(note["code"], "not_shared", "{template:#}");
    assert_eq!(note["container"], "side");
    let note = &template["notes"][0];
    assert_eq!(note["code"], "switch_unreadable", "{template:#}");
    assert_eq!(note["container"], serde_json::Value::Null);
    let text = |key: &str| note[key].as_str().expect("text").to_owned();
    let remark = format!("{}; {}", text("message"), text("remedy"));
    assert_eq!(template["remarks"][0], remark);
}

/// What an explained template says of a feature.
fn decision<'t>(template: &'t serde_json::Value, feature: &str) -> &'t serde_json::Value {
    let mut decisions = template["decisions"].as_array().expect("a list").iter();
    let found = decisions.find(|decision| decision["feature"] == feature);
    found.expect("a decision")
}

#[test]
fn what_fails_is_chosen() {
    let fine = "kind: Pod\nmetadata: {annotations: {admission.datakit/java-lib.version: ''}}\nspec: {containers: [{name: a}]}\n";
    let off = fine.replace(
        "{admission",
        "{admission.datakit/java-lib.enabled: 'false', admission",
    );
    let skipped = fine.replace("java-lib", "java-profiler") + "---\n" + fine;
    let skipped = skipped.replace("spec: {containers", "spec: {hostPID: true, containers");
    let noted = fine.replace("''", "'not a tag'");
    let typo = fine.replace("java-lib", "jav-lib");
    for (manifest, args, code) in [
        (fine, &["--fail-on", "skipped,note"][..], 0),
        (&off, &["--fail-on", "skipped"], 0),
        (&skipped, &[], 0),
        (&skipped, &["--fail-on", "skipped"], 3),
        (&skipped, &["--fail-on", "note"], 0),
        (&noted, &["--fail-on=skipped", "--fail-on=note"], 3),
        (&noted, &["--fail-on", "skipped"], 0),
        (&typo, &["--fail-on", "note"], 3),
        (&typo, &["--fail-on", "notes"], 2),
        ("a: [", &["--fail-on", "note"], 1),
    ] {
        let args = [&["explain", "-f", "-"], args].concat();
        let ran = run(&args, manifest);
        assert_eq!(ran.code, code, "{args:?} {manifest} {}", ran.stderr);
    }
}

#[test]
fn something_has_to_be_named() {
    let ran = run(&["explain"], "");
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("--filename"), "{}", ran.stderr);
    let ran = run(&["explain", "deployment/a", "-f", "-"], "");
    assert_eq!(ran.code, 2, "{}", ran.stderr);
}
