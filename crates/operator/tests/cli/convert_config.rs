use crate::run::{run, run_with};

const OLD: &str = r#"{"log_level": "warn", "admission_inject": {"profiler": {
    "images": {"java_profiler_image": "a/java:1"}}}}"#;

#[test]
fn a_document_is_printed_as_rules() {
    let ran = run(&["convert-config", "-"], OLD);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    expect_test::expect![[r#"
        {
            "log_level": "warn",
            "admission_inject_v2": {
                "profilers": [
                    {
                        "name": "java by annotation",
                        "namespace_selectors": [
                            "*"
                        ],
                        "check_annotation": true,
                        "language": "java",
                        "image": "a/java:1",
                        "image_pull_policy": "IfNotPresent"
                    }
                ]
            }
        }
        configuration from standard input: converted
    "#]]
    .assert_eq(&format!("{}{}", ran.stdout, ran.stderr));
    let again = run(&["convert-config", "-"], &ran.stdout);
    assert_eq!((again.code, again.stdout), (0, ran.stdout.clone()));
    assert_eq!(
        again.stderr,
        "configuration from standard input: converted\n"
    );
    let default = run(&["convert-config"], "");
    let checked = run(&["check-config", "--strict", "-"], &default.stdout);
    assert_eq!((default.code, checked.code), (0, 0), "{}", checked.stdout);
}

#[test]
fn what_rules_cannot_say_is_an_error() {
    let python = r#"{"admission_inject": {"ddtrace": {"images": {"python_agent_image": "a:1"}}}}"#;
    let ran = run(&["convert-config", "-"], python);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("it gets python now"), "{}", ran.stderr);
    let variables = [("ENV_DD_AGENT_HOST", "x"), ("ENV_JSON_CONFIG", OLD)];
    let ran = run_with(&variables, &["convert-config", "-o", "json"], "");
    assert_eq!(ran.code, 1);
    let shown: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(
        shown["document"]["admission_inject_v2"]["profilers"][0]["image"],
        "a/java:1"
    );
    assert_eq!(shown["remarks"][0]["path"], "ENV_DD_AGENT_HOST");
    assert_eq!(shown["remarks"][0]["severity"], "error");
    let ran = run(&["convert-config", "-"], "{,}");
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("line 1, column 2"), "{}", ran.stderr);
}

#[test]
fn a_config_map_keeps_its_form() {
    let manifest = "# of the shop
apiVersion: v1
kind: ConfigMap
metadata:
  name: datakit-operator-config # by hand
data:
  jsonconfig: |-
    {\"admission_inject\": {\"logfwd\": {\"images\": {\"logfwd_image\": \"a:1\"}}}}
  other: x
---
apiVersion: v1
kind: Service
";
    let ran = run(&["convert-config", "-"], manifest);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    expect_test::expect![[r##"
        # of the shop
        apiVersion: v1
        kind: ConfigMap
        metadata:
          name: datakit-operator-config # by hand
        data:
          jsonconfig: |
            {
                "admission_inject_v2": {
                    "logfwds": [
                        {
                            "name": "by annotation",
                            "namespace_selectors": [
                                "*"
                            ],
                            "check_annotation": true,
                            "image": "a:1",
                            "image_pull_policy": "IfNotPresent"
                        }
                    ]
                }
            }
          other: x
        ---
        apiVersion: v1
        kind: Service
        warning: admission_inject.logfwd: an annotation that can't be read kept the sidecar out; a rule adds it all the same, and it ignores the annotation
        configuration from standard input: converted with 0 errors, 1 warning
    "##]].assert_eq(&format!("{}{}", ran.stdout, ran.stderr));
    let broken = manifest.replace("{\"admission_inject\"", "{'admission_inject'");
    let ran = run(&["convert-config", "-"], &broken);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(
        ran.stderr
            .contains("data.jsonconfig of the ConfigMap at line 2"),
        "{}",
        ran.stderr
    );
    let ran = run(&["convert-config", "-"], "kind: ConfigMap\ndata: {}\n");
    assert_eq!(ran.code, 2, "{}", ran.stdout);
}
