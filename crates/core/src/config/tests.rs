//! Whole documents: what they mean.

mod diagnostics;
mod env_from;
mod laws;
mod policy;
mod security_context;
mod v2;

use expect_test::{Expect, expect};

use super::*;
use crate::image::{Image, Tag};

fn load(text: &str) -> (Config, Vec<Diagnostic>) {
    load_with(text, &[])
}

fn load_with(text: &str, vars: &[(&str, &str)]) -> (Config, Vec<Diagnostic>) {
    let overrides = EnvOverrides::from_vars(vars.iter().copied());
    Config::load(text, &overrides).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn render(diagnostics: &[Diagnostic]) -> String {
    diagnostics
        .iter()
        .map(|diagnostic| format!("{diagnostic}\n"))
        .collect()
}

/// What is said about a document. Also: writing the result and loading it again changes nothing.
fn check(text: &str, expected: &Expect) {
    check_with(text, &[], expected);
}

fn check_with(text: &str, vars: &[(&str, &str)], expected: &Expect) {
    let (config, diagnostics) = load_with(text, vars);
    expected.assert_eq(&render(&diagnostics));
    assert_eq!(meaning(load(&config.to_json()).0), meaning(config));
}

/// A configuration without what says where its rules stand: of a list in which entries were left
/// out, the others stand elsewhere once it is written again.
fn meaning(mut config: Config) -> Config {
    for rule in &mut config.rules {
        if rule.origin.form == rule::Form::V2 {
            let placeless = Origin::named("", rule.origin.name());
            rule.section = placeless.clone();
            rule.origin = placeless;
            rule.image_key = String::new();
        } else {
            rule.origin = Origin::new("");
        }
    }
    config
}

/// The rule that an annotation asks for.
fn asked(config: &Config, feature: Feature, language: Option<Language>) -> &Rule {
    let mut rules = config.rules_of(feature);
    rules
        .find(|rule| rule.when.annotation && rule.language == language)
        .unwrap()
}

fn java(config: &Config) -> &Rule {
    asked(config, Feature::Ddtrace, Some(Language::Java))
}

fn logfwd(config: &Config) -> &Rule {
    asked(config, Feature::Logfwd, None)
}

/// The image of a language's tracing library.
fn library(config: &Config, language: Language) -> Option<&str> {
    let rule = asked(config, Feature::Ddtrace, Some(language));
    rule.image.as_ref().map(Image::as_str)
}

/// A document with one ddtrace key.
fn ddtrace(key: &str, value: &str) -> String {
    format!(r#"{{"admission_inject":{{"ddtrace":{{"{key}":{value}}}}}}}"#)
}

#[test]
fn the_default_configuration_is_clean_and_complete() {
    let (config, diagnostics) = load(DEFAULT_CONFIG);
    assert_eq!(diagnostics, []);
    assert_eq!(config.server_listen, DEFAULT_LISTEN);
    for rule in config.rules_of(Feature::Ddtrace) {
        let image = rule.image.as_ref().unwrap();
        assert!(image.as_str().contains("/datakit-operator/dd-lib-"));
    }
    assert!(config.rules.iter().all(|rule| rule.image.is_some()));
    let asked: Vec<(Feature, Option<Language>)> = config
        .rules
        .iter()
        .map(|rule| (rule.feature, rule.language))
        .collect();
    assert_eq!(
        asked,
        [
            (Feature::Ddtrace, Some(Language::Java)),
            (Feature::Ddtrace, Some(Language::Nodejs)),
            (Feature::Ddtrace, Some(Language::Python)),
            (Feature::Logfwd, None),
            (Feature::Profiler, Some(Language::Java)),
            (Feature::Profiler, Some(Language::Python)),
            (Feature::Profiler, Some(Language::Golang)),
        ]
    );
    assert!(
        config
            .rules
            .iter()
            .all(|rule| rule.when == When::annotation())
    );
    let names: Vec<&str> = java(&config)
        .container
        .envs
        .iter()
        .map(|env| env.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "DD_AGENT_HOST",
            "DD_TRACE_AGENT_PORT",
            "DD_JMXFETCH_STATSD_HOST",
            "DD_JMXFETCH_STATSD_PORT",
            "POD_NAME",
            "POD_NAMESPACE",
            "NODE_NAME",
            "DD_TAGS"
        ]
    );
    let value = |index: usize| &java(&config).container.envs[index].value;
    assert_eq!(value(6), &EnvValue::FieldRef("spec.nodeName".into()));
    assert_eq!(
        value(7),
        &EnvValue::Literal(
            "pod_name:$(POD_NAME),pod_namespace:$(POD_NAMESPACE),host:$(NODE_NAME)".into()
        )
    );
    assert_eq!(load(&config.to_json()), (config, vec![]));
}

#[test]
fn the_effective_configuration_is_spelled_out() {
    let (config, _) = load(
        r#"{"server_listen":":1","admission_inject":{"ddtrace":{"images":{"js_agent_image":"a:1"},
            "envs":{"B":"{secretKeyRef:s.k}","A":"{resourceFieldRef:limits.cpu}"},
            "enabled_namespaces":[{"namespace":"x","language":"js"}],
            "enabled_labelselectors":[{"labelselector":"a=b*","language":"java"}],
            "resources":{"limits":{"memory":"1Gi"}},
            "security_context":{"runAsUser":1}}}}"#,
    );
    expect![[r#"
        {
          "server_listen": "0.0.0.0:1",
          "log_level": "info",
          "admission_inject": {
            "ddtrace": {
              "images": {
                "js_agent_image": "a:1"
              },
              "envs": {
                "B": "{secretKeyRef:s.k}",
                "A": "{resourceFieldRef:limits.cpu}"
              },
              "resources": {
                "requests": {},
                "limits": {
                  "memory": "1Gi"
                }
              },
              "image_pull_policy": "IfNotPresent",
              "security_context": {
                "runAsUser": 1
              },
              "enabled_labelselectors": [
                {
                  "labelselector": "a=b*",
                  "language": "java"
                }
              ],
              "enabled_namespaces": [
                {
                  "namespace": "x",
                  "language": "nodejs"
                }
              ]
            },
            "logfwd": {
              "images": {},
              "envs": {},
              "resources": {
                "requests": {
                  "cpu": "100m",
                  "memory": "64Mi"
                },
                "limits": {
                  "cpu": "500m",
                  "memory": "512Mi"
                }
              },
              "image_pull_policy": "IfNotPresent",
              "sidecar_mode": "auto"
            },
            "profiler": {
              "images": {},
              "envs": {},
              "resources": {
                "requests": {
                  "cpu": "100m",
                  "memory": "64Mi"
                },
                "limits": {
                  "cpu": "500m",
                  "memory": "512Mi"
                }
              },
              "image_pull_policy": "IfNotPresent",
              "enabled_labelselectors": [],
              "enabled_namespaces": []
            }
          },
          "admission_policy": {
            "ddtrace": {
              "namespaces": [
                "*"
              ],
              "versions": [
                "*"
              ],
              "drop_digest": false
            },
            "otel": {
              "namespaces": [
                "*"
              ],
              "versions": [
                "*"
              ],
              "drop_digest": false
            },
            "logfwd": {
              "namespaces": [
                "*"
              ]
            },
            "flameshot": {
              "namespaces": [
                "*"
              ]
            },
            "profiler": {
              "namespaces": [
                "*"
              ],
              "versions": [
                "*"
              ],
              "drop_digest": false
            },
            "logging": {
              "namespaces": [
                "*"
              ]
            }
          },
          "admission_limits": {
            "containers": 500,
            "patch_operations": 10000,
            "patch_bytes": 1048576
          },
          "admission_status": {
            "annotation": true
          }
        }"#]]
    .assert_eq(&config.to_json());
}

#[test]
fn blank_and_broken_documents() {
    for blank in ["", " \n\t", "\u{feff}"] {
        let (config, diagnostics) = load(blank);
        assert_eq!(config, Config::default());
        assert_eq!(
            render(&diagnostics),
            "warning: the configuration is empty, so nothing is injected\n"
        );
    }
    assert_eq!(load("{}"), (Config::default(), vec![]));
    let broken = |text: &str, expected: Expect| {
        let error = Config::load(text, &EnvOverrides::default()).unwrap_err();
        expected.assert_eq(&error.to_string());
    };
    broken(
        "{\"log_level\": \"info\" \"x\"}",
        expect![[
            r#"failed to read the configuration as JSON at line 1, column 22, in log_level: expected `,` or `}`, found `"x"` (near `{"log_level": "info" "x"}`)"#
        ]],
    );
    broken(
        "[]",
        expect!["failed to read the configuration: expected a JSON object, found an array"],
    );
}

#[test]
fn deprecated_variables_win() {
    let (config, _) = load_with(
        DEFAULT_CONFIG,
        &[
            ("ENV_LOG_LEVEL", "debug"),
            ("ENV_SERVER_LISTEN", "127.0.0.1:1"),
            ("ENV_DD_AGENT_HOST", "{fieldRef:status.hostIP}"),
            ("ENV_DD_TRACE_AGENT_PORT", "1234"),
            ("ENV_DD_JAVA_AGENT_IMAGE", "java:1"),
            ("ENV_DD_PYTHON_AGENT_IMAGE", "python:1"),
            ("ENV_DD_JS_AGENT_IMAGE", "js:1"),
            ("ENV_LOGFWD_IMAGE", "logfwd:1"),
        ],
    );
    assert_eq!(config.log_level, LogLevel::Debug);
    assert_eq!(config.server_listen, "127.0.0.1:1".parse().unwrap());
    let envs = &java(&config).container.envs;
    assert_eq!(envs.len(), 8);
    assert_eq!(envs[0].name, "DD_AGENT_HOST");
    assert_eq!(envs[0].value, EnvValue::FieldRef("status.hostIP".into()));
    assert_eq!(envs[1].value, EnvValue::Literal("1234".into()));
    assert_eq!(library(&config, Language::Java), Some("java:1"));
    assert_eq!(library(&config, Language::Python), Some("python:1"));
    assert_eq!(library(&config, Language::Nodejs), Some("js:1"));
    assert_eq!(
        logfwd(&config).image.as_ref().map(Image::as_str),
        Some("logfwd:1")
    );

    // Without the key in the document there is nothing to replace.
    let (config, _) = load_with("{}", &[("ENV_DD_AGENT_HOST", "x")]);
    assert_eq!(java(&config).container.envs, []);
    check_with(
        r#"{"log_level":"info","admission_inject":{"ddtrace":{"envs":{"DD_AGENT_HOST":"a"}}}}"#,
        &[
            ("ENV_LOG_LEVEL", "debug"),
            ("ENV_SERVER_LISTEN", "nowhere"),
            ("ENV_DD_AGENT_HOST", "b"),
            ("ENV_DD_TRACE_AGENT_PORT", "1"),
            ("ENV_DD_JS_AGENT_IMAGE", "js"),
            ("ENV_LOGFWD_IMAGE", "a b"),
        ],
        &expect![[r#"
            error: ENV_SERVER_LISTEN: expected an address and a port, such as 0.0.0.0:9543 or :9543; ignored (found `nowhere`)
            warning: ENV_LOG_LEVEL: the variable is deprecated; it takes the place of `log_level`; set `log_level` in the configuration
            warning: ENV_DD_JS_AGENT_IMAGE: the image has no tag, so each node may run another version (found `js`); write js:<version>
            warning: ENV_DD_JS_AGENT_IMAGE: the variable is deprecated; it takes the place of `admission_inject.ddtrace.images.js_agent_image`; set `admission_inject.ddtrace.images.js_agent_image` in the configuration
            warning: ENV_DD_AGENT_HOST: the variable is deprecated; it takes the place of `admission_inject.ddtrace.envs.DD_AGENT_HOST`; set `admission_inject.ddtrace.envs.DD_AGENT_HOST` in the configuration
            warning: ENV_DD_TRACE_AGENT_PORT: the variable is deprecated and without effect, because `admission_inject.ddtrace.envs` has no `DD_TRACE_AGENT_PORT`; set `admission_inject.ddtrace.envs.DD_TRACE_AGENT_PORT` in the configuration
            error: ENV_LOGFWD_IMAGE: an image must not contain white space; the image is ignored (found `a b`)
        "#]],
    );
}

#[test]
fn a_bad_variable_leaves_the_document_in_force() {
    let (config, _) = load_with(
        r#"{"log_level":"warn","server_listen":":1"}"#,
        &[("ENV_LOG_LEVEL", "loud"), ("ENV_SERVER_LISTEN", "x")],
    );
    assert_eq!(config.log_level, LogLevel::Warn);
    assert_eq!(config.server_listen.port(), 1);
}

#[test]
fn listen_addresses() {
    for (text, expected) in [
        ("0.0.0.0:9543", "0.0.0.0:9543"),
        (":443", "0.0.0.0:443"),
        ("localhost:1", "127.0.0.1:1"),
        ("[::]:9543", "[::]:9543"),
        ("", "0.0.0.0:9543"),
        ("9543", "0.0.0.0:9543"),
    ] {
        let (config, _) = load(&format!(r#"{{"server_listen":"{text}"}}"#));
        assert_eq!(config.server_listen.to_string(), expected, "{text}");
    }
}

#[test]
fn selectors() {
    let (config, diagnostics) = load(
        r#"{"admission_inject":{
            "ddtrace":{
                "enabled_namespaces":[{"Namespace":"^test$","language":"java"},{"namespace":"*","language":"js"}],
                "enabled_labelselectors":[{"labelselector":"app=middleware*","language":"python"}]},
            "profiler":{"enabled_namespaces":[{"namespace":"x","language":"golang"}]}}}"#,
    );
    assert_eq!(diagnostics.len(), 1, "{diagnostics:?}");
    let rules: Vec<&Rule> = config
        .rules_of(Feature::Ddtrace)
        .filter(|rule| !rule.when.annotation)
        .collect();
    let by_namespace = |name: &str| {
        let rule = rules.iter().find(|rule| {
            let mut patterns = rule.when.namespaces.iter();
            patterns.any(|pattern| pattern.matches(name))
        })?;
        rule.language
    };
    assert_eq!(by_namespace("test"), Some(Language::Java));
    assert_eq!(by_namespace("test2"), Some(Language::Nodejs));
    // Labels are asked before namespaces.
    let selector = &rules[0].when.labels[0];
    assert!(selector.matches(|key| (key == "app").then_some("middleware-x")));
    assert_eq!(rules[0].language, Some(Language::Python));
    let profiler = config.rules_of(Feature::Profiler).last().unwrap();
    assert_eq!(profiler.language, Some(Language::Golang));
    let origins: Vec<&str> = rules
        .iter()
        .copied()
        .chain([profiler])
        .map(|rule| rule.origin.as_str())
        .collect();
    assert_eq!(
        origins,
        [
            "admission_inject.ddtrace.enabled_labelselectors[0]",
            "admission_inject.ddtrace.enabled_namespaces[0]",
            "admission_inject.ddtrace.enabled_namespaces[1]",
            "admission_inject.profiler.enabled_namespaces[0]",
        ]
    );
}

#[test]
fn resources() {
    let resources = |text: &str| {
        let (config, _) = load(&ddtrace("resources", text));
        let resources = &java(&config).container.resources;
        let list = |list: &ResourceList| {
            let text = |resource| list.get(resource).map_or("-", |amount| amount.as_str());
            format!("{} {}", text("cpu"), text("memory"))
        };
        format!(
            "{} | {}",
            list(&resources.requests),
            list(&resources.limits)
        )
    };
    let default = "100m 64Mi | 500m 512Mi";
    for (text, expected) in [
        ("null", default),
        ("{}", default),
        (r#"{"requests":{"cpu":""},"limits":{}}"#, default),
        (
            r#"{"requests":{"cpu":"abc"},"limits":{"memory":"1Gi"}}"#,
            default,
        ),
        (r#"{"requests":{"cpu":"-1"}}"#, default),
        (
            r#"{"requests":{"cpu":"2"},"limits":{"cpu":"1999m"}}"#,
            default,
        ),
        (
            r#"{"requests":{"memory":"1Gi"},"limits":{"memory":"1G"}}"#,
            default,
        ),
        (r#"{"requests":7,"limits":{"memory":"1G"}}"#, default),
        ("[]", default),
        (r#"{"limits":{"memory":"1Gi"}}"#, "- - | - 1Gi"),
        (
            r#"{"requests":{"cpu":"2"},"limits":{"cpu":"2000m"}}"#,
            "2 - | 2000m -",
        ),
        (r#"{"Requests":{"CPU":1}}"#, "1 - | - -"),
    ] {
        assert_eq!(resources(text), expected, "{text}");
    }
}

#[test]
fn rows_22_to_26_values() {
    let (config, _) = load(&ddtrace(
        "envs",
        r#"{"A":"{fieldRef:metadata.PODNAME}","PORT":9529,"B":"{fieldRef:status.podIPs}",
            "C":"{resourceFieldRef:limits.memory}","D":"{secretKeyRef:s.k}","E":"a{fieldRef:metadata.name}"}"#,
    ));
    let envs: Vec<(&str, &EnvValue)> = java(&config)
        .container
        .envs
        .iter()
        .map(|env| (env.name.as_str(), &env.value))
        .collect();
    assert_eq!(
        envs,
        [
            (
                "A",
                &EnvValue::Literal("{fieldRef:metadata.PODNAME}".into())
            ),
            ("B", &EnvValue::FieldRef("status.podIPs".into())),
            (
                "C",
                &EnvValue::ResourceFieldRef(ContainerResource::LimitsMemory)
            ),
            (
                "D",
                &EnvValue::SecretKeyRef {
                    name: "s".into(),
                    key: "k".into()
                }
            ),
            ("E", &EnvValue::Literal("a{fieldRef:metadata.name}".into())),
        ]
    );
    assert_eq!(ContainerResource::LimitsCpu.divisor(), "1m");
    assert_eq!(ContainerResource::RequestsMemory.divisor(), "1Mi");
}

#[test]
fn order_of_variables() {
    let names: Vec<String> = (0..20).map(|n| format!("V{}", (n * 7) % 20)).collect();
    let entries: Vec<String> = names
        .iter()
        .map(|name| format!(r#""{name}":"x""#))
        .collect();
    let (config, _) = load(&ddtrace("envs", &format!("{{{}}}", entries.join(","))));
    let loaded: Vec<&str> = java(&config)
        .container
        .envs
        .iter()
        .map(|env| env.name.as_str())
        .collect();
    assert_eq!(loaded, names);
}

#[test]
fn rows_17_to_19_images() {
    let (config, _) = load(&ddtrace(
        "images",
        r#"{"java_agent_image":"reg:5000/a/b","python_agent_image":" x:1","js_agent_image":""}"#,
    ));
    let java = java(&config).image.as_ref().unwrap();
    assert_eq!(java.with_tag(&Tag::parse("v2").unwrap()), "reg:5000/a/b:v2");
    assert_eq!(Tag::parse("bad tag!"), None);
    assert_eq!(library(&config, Language::Python), None);
    assert_eq!(library(&config, Language::Nodejs), None);
}

#[test]
fn the_last_duplicate_and_any_case_count() {
    let (config, _) = load(
        r#"{"LOG_LEVEL":"debug","log_level":null,"admission_inject":{"ddtrace":{"images":{"java_agent_image":"a:1"}},
            "DDTrace":{"Images":{"java_agent_image":"x:1","Java_Agent_Image":"b:1"}}}}"#,
    );
    assert_eq!(config.log_level, LogLevel::Debug);
    assert_eq!(library(&config, Language::Java), Some("b:1"));
}

#[test]
fn a_repeated_variable_keeps_its_place() {
    let (config, _) = load(&ddtrace("envs", r#"{"A":"1","B":"$(A)","A":"2"}"#));
    let envs = &java(&config).container.envs;
    assert_eq!(envs.len(), 2);
    assert_eq!(envs[0].name, "A");
    assert_eq!(envs[0].value, EnvValue::Literal("2".into()));
}
