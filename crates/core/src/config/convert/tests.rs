mod law;

use expect_test::{Expect, expect};

use super::*;
use crate::config::DEFAULT_CONFIG;
use crate::diagnostic::Severity;

fn converted(text: &str) -> Converted {
    convert(text, &EnvOverrides::default()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn check(text: &str, document: &Expect, remarks: &Expect) {
    let converted = converted(text);
    document.assert_eq(&converted.document);
    let said: String = converted
        .remarks
        .iter()
        .map(|remark| format!("{} {remark}\n", remark.code.as_str()))
        .collect();
    remarks.assert_eq(&said);
    // What was converted has nothing left to convert.
    let again = self::converted(&converted.document);
    assert_eq!(again.document, converted.document);
}

#[test]
fn the_default_configuration_as_rules() {
    let converted = converted(DEFAULT_CONFIG);
    let (config, diagnostics) =
        Config::load(&converted.document, &EnvOverrides::default()).unwrap();
    assert_eq!(diagnostics, []);
    assert_eq!(config.lint(), []);
    let rules = |text: &str| -> Vec<(Feature, Option<Language>, String)> {
        let (config, _) = Config::load(text, &EnvOverrides::default()).unwrap();
        let mut rules = config.rules;
        rules.retain(|rule| rule.image.is_some());
        let shown = |rule: rule::Rule| {
            let image = rule.image.map(|image| image.as_str().to_owned());
            (rule.feature, rule.language, image.unwrap_or_default())
        };
        rules.into_iter().map(shown).collect()
    };
    assert_eq!(rules(&converted.document), rules(DEFAULT_CONFIG));
}

#[test]
fn sections_become_rules() {
    check(
        r#"{"log_level":"warn","admission_inject":{"ddtrace":{
            "images":{"java_agent_image":"a/java:1","js_agent_image":"a/js:1"},
            "envs":{"DD_A":"1","DD_N":9529},"image_pull_policy":"Always","resources":{"limits":{"cpu":"x"}},
            "enabled_labelselectors":[{"labelselector":"app=a","language":"js"},{"labelselector":"app=b","language":"nodejs"},
                {"labelselector":"app=c","language":"java"},{"labelselector":"app=d","language":"python"}],
            "enabled_namespaces":[{"namespace":"^a$","language":"java"}]}},
            "admission_limits":{"containers":9}}"#,
        &expect![[r#"
            {
                "log_level": "warn",
                "admission_inject_v2": {
                    "ddtraces": [
                        {
                            "name": "java by annotation",
                            "namespace_selectors": [
                                "*"
                            ],
                            "check_annotation": true,
                            "language": "java",
                            "image": "a/java:1",
                            "image_pull_policy": "Always",
                            "envs": {
                                "DD_A": "1",
                                "DD_N": 9529
                            },
                            "resources": {
                                "limits": {
                                    "cpu": "x"
                                }
                            }
                        },
                        {
                            "name": "nodejs by annotation",
                            "namespace_selectors": [
                                "*"
                            ],
                            "check_annotation": true,
                            "language": "nodejs",
                            "image": "a/js:1",
                            "image_pull_policy": "Always",
                            "envs": {
                                "DD_A": "1",
                                "DD_N": 9529
                            },
                            "resources": {
                                "limits": {
                                    "cpu": "x"
                                }
                            }
                        },
                        {
                            "name": "nodejs by label",
                            "label_selectors": [
                                "app=a",
                                "app=b"
                            ],
                            "language": "nodejs",
                            "image": "a/js:1",
                            "image_pull_policy": "Always",
                            "envs": {
                                "DD_A": "1",
                                "DD_N": 9529
                            },
                            "resources": {
                                "limits": {
                                    "cpu": "x"
                                }
                            }
                        },
                        {
                            "name": "java by label",
                            "label_selectors": [
                                "app=c"
                            ],
                            "language": "java",
                            "image": "a/java:1",
                            "image_pull_policy": "Always",
                            "envs": {
                                "DD_A": "1",
                                "DD_N": 9529
                            },
                            "resources": {
                                "limits": {
                                    "cpu": "x"
                                }
                            }
                        },
                        {
                            "name": "python by label",
                            "label_selectors": [
                                "app=d"
                            ],
                            "language": "python",
                            "image_pull_policy": "Always",
                            "envs": {
                                "DD_A": "1",
                                "DD_N": 9529
                            },
                            "resources": {
                                "limits": {
                                    "cpu": "x"
                                }
                            }
                        },
                        {
                            "name": "java by namespace",
                            "namespace_selectors": [
                                "^a$"
                            ],
                            "language": "java",
                            "image": "a/java:1",
                            "image_pull_policy": "Always",
                            "envs": {
                                "DD_A": "1",
                                "DD_N": 9529
                            },
                            "resources": {
                                "limits": {
                                    "cpu": "x"
                                }
                            }
                        }
                    ]
                },
                "admission_limits": {
                    "containers": 9
                }
            }
        "#]],
        &expect![[r#"
            differs error: admission_inject.ddtrace.images: a pod whose annotation asks for python got nothing, since there is no image; it gets what a selector chooses now, if that fits it as well
        "#]],
    );
}

#[test]
fn nothing_is_dropped_without_a_word() {
    check(
        r#"{"admission_inject":{"unknown":1,"profiler":[],
            "logfwd":{"images":{"logfwd_image":"a:1","other_image":"b:1"},"images":{"logfwd_image":"c:1","x":2},"extra":true,
                "options":{"reuse_exist_volume":"true"},"enabled_namespaces":[],"sidecar_mode":"native","image_pull_policy":"never"},
            "ddtrace":{"images":{"java_agent_image":"NO IMAGE","python_agent_image":"p:1"},
                "enabled_namespaces":[{"namespace":"(","language":"java"},{"namespace":"a","language":"ruby"},"b",
                    {"namespace":"c","language":"java","x":1}],"enabled_labelselectors":{}}},
            "server_listen":":1"}"#,
        &expect![[r#"
            {
                "admission_inject": {
                    "unknown": 1,
                    "logfwd": {
                        "extra": true,
                        "images": {
                            "x": 2
                        }
                    },
                    "profiler": []
                },
                "admission_inject_v2": {
                    "ddtraces": [
                        {
                            "name": "java by annotation",
                            "namespace_selectors": [
                                "*"
                            ],
                            "check_annotation": true,
                            "language": "java",
                            "image": "NO IMAGE",
                            "image_pull_policy": "IfNotPresent"
                        },
                        {
                            "name": "python by annotation",
                            "namespace_selectors": [
                                "*"
                            ],
                            "check_annotation": true,
                            "language": "python",
                            "image": "p:1",
                            "image_pull_policy": "IfNotPresent"
                        },
                        {
                            "name": "java by namespace",
                            "namespace_selectors": [
                                "c"
                            ],
                            "language": "java",
                            "image": "NO IMAGE",
                            "image_pull_policy": "IfNotPresent"
                        }
                    ],
                    "logfwds": [
                        {
                            "name": "by annotation",
                            "namespace_selectors": [
                                "*"
                            ],
                            "check_annotation": true,
                            "image": "c:1",
                            "image_pull_policy": "IfNotPresent",
                            "sidecar_mode": "native"
                        }
                    ]
                },
                "server_listen": ":1"
            }
        "#]],
        &expect![[r#"
            left_out warning: admission_inject.ddtrace.enabled_labelselectors: left out: {} isn't a list, and nobody read it
            left_out warning: admission_inject.ddtrace.enabled_namespaces[0]: left out: {"namespace":"(","language":"java"} wasn't used
            left_out warning: admission_inject.ddtrace.enabled_namespaces[1]: left out: {"namespace":"a","language":"ruby"} wasn't used
            left_out warning: admission_inject.ddtrace.enabled_namespaces[2]: left out: "b" wasn't used
            left_out warning: admission_inject.ddtrace.enabled_namespaces[3].x: left out: nobody read it
            differs error: admission_inject.ddtrace.images: a pod whose annotation asks for nodejs got nothing, since there is no image; it gets python now, if that fits it as well
            left_out warning: admission_inject.logfwd.images: left out: the key appeared more than once, and only the last one counted
            left_out warning: admission_inject.logfwd.image_pull_policy: left out: "never" wasn't used
            left_out warning: admission_inject.logfwd.enabled_namespaces: left out: it was without effect
            left_out warning: admission_inject.logfwd.options: left out: it was without effect
            differs warning: admission_inject.logfwd: an annotation that can't be read kept the sidecar out; a rule adds it all the same, and it ignores the annotation
            unknown_key warning: admission_inject.unknown: stays where it is: it is no part of a rule
            unknown_key warning: admission_inject.logfwd: stays where it is: it is no part of a rule
            unknown_key warning: admission_inject.profiler: stays where it is: it is no part of a rule
        "#]],
    );
}

#[test]
fn rules_that_are_there_stay_behind() {
    check(
        r#"{"admission_inject_v2":{"profilers":[],"logfwds":[{"image":"v2:1","namespace_selectors":["*"]}],"later":1},"x":1,
            "admission_inject":{"logfwd":{"images":{"logfwd_image":"v1:1"}}}}"#,
        &expect![[r#"
            {
                "x": 1,
                "admission_inject_v2": {
                    "profilers": [],
                    "logfwds": [
                        {
                            "name": "by annotation",
                            "namespace_selectors": [
                                "*"
                            ],
                            "check_annotation": true,
                            "image": "v1:1",
                            "image_pull_policy": "IfNotPresent"
                        },
                        {
                            "image": "v2:1",
                            "namespace_selectors": [
                                "*"
                            ]
                        }
                    ],
                    "later": 1
                }
            }
        "#]],
        &expect![[r#"
            differs warning: admission_inject.logfwd: an annotation that can't be read kept the sidecar out; a rule adds it all the same, and it ignores the annotation
        "#]],
    );
    check(
        r#"{"admission_inject_v2":7,"admission_inject":{"ddtrace":{"images":{"python_agent_image":"v1:1"}}}}"#,
        &expect![[r#"
            {
                "admission_inject_v2": {
                    "ddtraces": [
                        {
                            "name": "python by annotation",
                            "namespace_selectors": [
                                "*"
                            ],
                            "check_annotation": true,
                            "language": "python",
                            "image": "v1:1",
                            "image_pull_policy": "IfNotPresent"
                        }
                    ]
                }
            }
        "#]],
        &expect![[r#"
            differs error: admission_inject.ddtrace.images: a pod whose annotation asks for java got nothing, since there is no image; it gets python now, if that fits it as well
            differs error: admission_inject.ddtrace.images: a pod whose annotation asks for nodejs got nothing, since there is no image; it gets python now, if that fits it as well
            left_out warning: admission_inject_v2: left out: 7 isn't an object, and nobody read it
        "#]],
    );
}

#[test]
fn what_has_no_section_stays_as_it_is() {
    for text in [
        "{}",
        r#"{"a":1,"a":2}"#,
        r#"{"admission_inject_v2":{"logfwds":[null]}}"#,
    ] {
        let converted = converted(text);
        let compact: String = converted.document.split_whitespace().collect();
        assert_eq!((compact.as_str(), converted.remarks), (text, Vec::new()));
    }
    assert_eq!(converted(" ").document, "{}\n");
    assert_eq!(
        converted(r#"{"admission_inject":[]}"#).document.trim(),
        "{\n    \"admission_inject\": []\n}"
    );
}

#[test]
fn a_deprecated_variable_reaches_no_rule() {
    let overrides =
        EnvOverrides::from_vars([("ENV_LOG_LEVEL", "info"), ("ENV_LOGFWD_IMAGE", "a:2")]);
    let text = r#"{"admission_inject":{"logfwd":{"images":{"logfwd_image":"a:1"}}}}"#;
    let converted = convert(text, &overrides).unwrap();
    let errors = converted
        .remarks
        .iter()
        .filter(|remark| remark.severity == Severity::Error);
    let paths: Vec<&str> = errors.map(|remark| remark.path.as_str()).collect();
    assert_eq!(paths, ["ENV_LOGFWD_IMAGE"]);
}
