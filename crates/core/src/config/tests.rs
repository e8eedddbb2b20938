//! Whole documents: what they mean and what is said about them.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::image::Tag;

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
fn check(text: &str, expected: Expect) {
    check_with(text, &[], expected);
}

fn check_with(text: &str, vars: &[(&str, &str)], expected: Expect) {
    let (config, diagnostics) = load_with(text, vars);
    expected.assert_eq(&render(&diagnostics));
    assert_eq!(load(&config.to_json()).0, config);
}

/// A document with one ddtrace key.
fn ddtrace(key: &str, value: &str) -> String {
    format!(r#"{{"admission_inject":{{"ddtrace":{{"{key}":{value}}}}}}}"#)
}

fn image(image: Option<&Image>) -> Option<&str> {
    image.map(Image::as_str)
}

#[test]
fn row_63_the_default_configuration_is_clean_and_complete() {
    let (config, diagnostics) = load(DEFAULT_CONFIG);
    assert_eq!(diagnostics, []);
    assert_eq!(config.server_listen, DEFAULT_LISTEN);
    for language in DdtraceLanguage::ALL {
        let image = config.ddtrace.images.get(language).unwrap();
        assert!(image.as_str().contains("/datakit-operator/dd-lib-"));
    }
    for language in ProfilerLanguage::ALL {
        assert!(config.profiler.images.get(language).is_some());
    }
    assert!(config.logfwd.image.is_some());
    assert!(config.ddtrace.selectors == Selectors::default());
    let names: Vec<&str> = config
        .ddtrace
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
    let value = |index: usize| &config.ddtrace.container.envs[index].value;
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
    let (config, _) = load("{}");
    expect![[r#"
        {
          "server_listen": "0.0.0.0:9543",
          "log_level": "info",
          "admission_inject": {
            "ddtrace": {
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
          }
        }"#]].assert_eq(&config.to_json());
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
          }
        }"#]].assert_eq(&config.to_json());
}

#[test]
fn row_61_blank_and_broken_documents() {
    for blank in ["", " \n\t", "\u{feff}"] {
        check(blank, expect![[r#"
            warning: the configuration is empty, so nothing is injected
        "#][r#"
            warning: the configuration is empty, so nothing is injected
        "#][r#"
            warning: the configuration is empty, so nothing is injected
        "#]]);
        assert_eq!(load(blank).0, Config::default());
    }
    assert_eq!(load("{}"), (Config::default(), vec![]));
    let broken = |text: &str, expected: Expect| {
        let error = Config::load(text, &EnvOverrides::default()).unwrap_err();
        expected.assert_eq(&error.to_string());
    };
    broken("{\"log_level\": \"info\" \"x\"}", expect![[r#"failed to read the configuration as JSON at line 1, column 22: expected `,` or `}`, near `{"log_level": "info" "x"}`"#]]);
    broken("[]", expect!["failed to read the configuration: expected a JSON object, found an array"]);
}

#[test]
fn row_62_deprecated_variables_win() {
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
    let envs = &config.ddtrace.container.envs;
    assert_eq!(envs.len(), 8);
    assert_eq!(envs[0].name, "DD_AGENT_HOST");
    assert_eq!(envs[0].value, EnvValue::FieldRef("status.hostIP".into()));
    assert_eq!(envs[1].value, EnvValue::Literal("1234".into()));
    let images = &config.ddtrace.images;
    assert_eq!(image(images.java.as_ref()), Some("java:1"));
    assert_eq!(image(images.python.as_ref()), Some("python:1"));
    assert_eq!(image(images.nodejs.as_ref()), Some("js:1"));
    assert_eq!(image(config.logfwd.image.as_ref()), Some("logfwd:1"));

    // Without the key in the document there is nothing to replace.
    let (config, _) = load_with("{}", &[("ENV_DD_AGENT_HOST", "x")]);
    assert_eq!(config.ddtrace.container.envs, []);
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
        expect![[r#"
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
fn row_64_selectors() {
    let (config, diagnostics) = load(
        r#"{"admission_inject":{
            "ddtrace":{
                "enabled_namespaces":[{"Namespace":"^test$","language":"java"},{"namespace":"*","language":"js"}],
                "enabled_labelselectors":[{"labelselector":"app=middleware*","language":"python"}]},
            "profiler":{"enabled_namespaces":[{"namespace":"x","language":"golang"}]}}}"#,
    );
    assert_eq!(diagnostics.len(), 1, "{diagnostics:?}");
    let selectors = &config.ddtrace.selectors;
    let by_namespace = |name: &str| {
        let (_, language) = selectors
            .namespaces
            .iter()
            .find(|(pattern, _)| pattern.matches(name))?;
        Some(*language)
    };
    assert_eq!(by_namespace("test"), Some(DdtraceLanguage::Java));
    assert_eq!(by_namespace("test2"), Some(DdtraceLanguage::Nodejs));
    let (selector, language) = &selectors.labels[0];
    assert!(selector.matches(|key| (key == "app").then_some("middleware-x")));
    assert_eq!(*language, DdtraceLanguage::Python);
    assert_eq!(
        config.profiler.selectors.namespaces[0].1,
        ProfilerLanguage::Golang
    );
}

#[test]
fn row_65_a_bad_rule_is_dropped_alone() {
    let text = r#"{"admission_inject":{"ddtrace":{
        "enabled_namespaces":[
            {"namespace":"(","language":"java"},
            {"namespace":"","language":"java"},
            {"language":"java"},
            {"namespace":"a","language":"ruby"},
            {"namespace":"b","language":"Java"},
            {"namespace":"c"},
            {"namespace":7,"language":null},
            "d",
            null,
            {"namespace":"good","language":"nodejs","langauge":"x"}],
        "enabled_labelselectors":[
            {"labelselector":"","language":"java"},
            {"labelselector":"app=middleware-(a|b)","language":"java"},
            {"labelselector":"app","language":"python"}]}}}"#;
    check(text, expect![[r#"
        error: admission_inject.ddtrace.enabled_labelselectors[0].labelselector: the label selector is empty; entry ignored
        error: admission_inject.ddtrace.enabled_labelselectors[1].labelselector: expected `,` or the end in the label selector, found `(`; entry ignored (found `app=middleware-(a|b)`)
        error: admission_inject.ddtrace.enabled_namespaces[0].namespace: the namespace pattern isn't a regular expression: unclosed group; entry ignored (found `(`)
        error: admission_inject.ddtrace.enabled_namespaces[1].namespace: the namespace pattern is empty; `*` means every namespace; entry ignored
        error: admission_inject.ddtrace.enabled_namespaces[2].namespace: the namespace pattern is empty; `*` means every namespace; entry ignored
        error: admission_inject.ddtrace.enabled_namespaces[3].language: expected one of java, nodejs, python, js; entry ignored (found `ruby`)
        error: admission_inject.ddtrace.enabled_namespaces[4].language: expected one of java, nodejs, python, js; entry ignored (found `Java`); did you mean `java`?
        error: admission_inject.ddtrace.enabled_namespaces[5].language: expected one of java, nodejs, python, js; entry ignored
        error: admission_inject.ddtrace.enabled_namespaces[6].namespace: expected a string, not a number; ignored (found `7`)
        error: admission_inject.ddtrace.enabled_namespaces[6].language: expected one of java, nodejs, python, js; entry ignored
        error: admission_inject.ddtrace.enabled_namespaces[7]: expected an object, not a string; ignored (found `"d"`)
        error: admission_inject.ddtrace.enabled_namespaces[8]: expected an object, not null; ignored (found `null`)
        warning: admission_inject.ddtrace.enabled_namespaces[9].langauge: unknown key, ignored; did you mean `language`?
    "#]]);
    let selectors = load(text).0.ddtrace.selectors;
    assert_eq!(selectors.namespaces.len(), 1);
    assert_eq!(selectors.namespaces[0].0.as_str(), "good");
    assert_eq!(selectors.labels.len(), 1);
    assert_eq!(selectors.labels[0].0.as_str(), "app");
}

#[test]
fn row_67_resources() {
    let resources = |text: &str| {
        let resources = load(&ddtrace("resources", text))
            .0
            .ddtrace
            .container
            .resources;
        let text = |quantity: &Option<crate::quantity::Quantity>| {
            quantity
                .as_ref()
                .map_or("-".to_owned(), |quantity| quantity.as_str().to_owned())
        };
        let list = |list: &ResourceList| format!("{} {}", text(&list.cpu), text(&list.memory));
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
    let envs: Vec<(&str, &EnvValue)> = config
        .ddtrace
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
fn row_27_order_of_variables() {
    let names: Vec<String> = (0..20).map(|n| format!("V{}", (n * 7) % 20)).collect();
    let entries: Vec<String> = names
        .iter()
        .map(|name| format!(r#""{name}":"x""#))
        .collect();
    let (config, _) = load(&ddtrace("envs", &format!("{{{}}}", entries.join(","))));
    let loaded: Vec<&str> = config
        .ddtrace
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
    let java = config.ddtrace.images.get(DdtraceLanguage::Java).unwrap();
    assert_eq!(java.with_tag(&Tag::parse("v2").unwrap()), "reg:5000/a/b:v2");
    assert_eq!(Tag::parse("bad tag!"), None);
    assert_eq!(config.ddtrace.images.get(DdtraceLanguage::Python), None);
    assert_eq!(config.ddtrace.images.get(DdtraceLanguage::Nodejs), None);
}

#[test]
fn diagnostics_of_keys_and_kinds() {
    check(
        r#"{"Log_Level":"debug","log_levle":"x","server_listen":7,"admission_inject":{"dtrace":{},"logfwd":[],
            "profiler":{"images":{"java_profiler_image":5,"go_profiler_image":"x:1"},"env":{},"envs":null},
            "ddtrace":{"images":{"java_agent_image":"a:1"}},"ddtrace":{"images":{"java_agent_image":"b:1"}},
            "a key\n":1},"admission_inject_v2":{},"admission_mutate":{"loggings":[]}}"#,
        expect![[r#"
            warning: Log_Level: keys are written in lower case; write `log_level`
            warning: log_levle: unknown key, ignored; did you mean `log_level`?
            error: server_listen: expected a string, not a number; ignored (found `7`)
            warning: admission_inject_v2: this version doesn't handle the section; ignored
            warning: admission_mutate: this version doesn't handle the section; ignored
            warning: admission_inject.dtrace: unknown key, ignored; did you mean `ddtrace`?
            warning: admission_inject.ddtrace: the key appears more than once; the last one counts
            warning: admission_inject["a key\n"]: unknown key, ignored
            error: admission_inject.logfwd: expected an object, not an array; ignored (found `[]`)
            warning: admission_inject.profiler.env: unknown key, ignored; did you mean `envs`?
            warning: admission_inject.profiler.images.go_profiler_image: unknown key, ignored; did you mean `java_profiler_image`?
            error: admission_inject.profiler.images.java_profiler_image: expected a string, not a number; ignored (found `5`)
        "#]],
    );
}

#[test]
fn the_last_duplicate_and_any_case_count() {
    let (config, _) = load(
        r#"{"LOG_LEVEL":"debug","log_level":null,"admission_inject":{"ddtrace":{"images":{"java_agent_image":"a:1"}},
            "DDTrace":{"Images":{"java_agent_image":"x:1","Java_Agent_Image":"b:1"}}}}"#,
    );
    assert_eq!(config.log_level, LogLevel::Debug);
    assert_eq!(image(config.ddtrace.images.java.as_ref()), Some("b:1"));
}

#[test]
fn diagnostics_of_settings() {
    check(
        r#"{"server_listen":"9543","log_level":"warning","admission_inject":{
            "ddtrace":{"image_pull_policy":"always"},
            "logfwd":{"sidecar_mode":"nativ","image_pull_policy":"Sometimes","options":{"reuse_exist_volume":"true","x":1},
                "enabled_namespaces":[],"enabled_labelselectors":["("]},
            "profiler":{"sidecar_mode":"native","options":{}}}}"#,
        expect![[r#"
            error: server_listen: expected an address and a port, such as 0.0.0.0:9543 or :9543; ignored (found `9543`)
            error: log_level: expected one of debug, info, warn, error; ignored (found `warning`)
            error: admission_inject.ddtrace.image_pull_policy: expected one of Always, IfNotPresent, Never; using `IfNotPresent` (found `always`); did you mean `Always`?
            error: admission_inject.logfwd.image_pull_policy: expected one of Always, IfNotPresent, Never; using `IfNotPresent` (found `Sometimes`)
            error: admission_inject.logfwd.sidecar_mode: expected one of auto, container, native; using `auto` (found `nativ`); did you mean `native`?
            warning: admission_inject.logfwd.enabled_labelselectors: without effect: logfwd always needs its annotation
            warning: admission_inject.logfwd.enabled_namespaces: without effect: logfwd always needs its annotation
            warning: admission_inject.logfwd.options.x: unknown key, ignored
            warning: admission_inject.logfwd.options.reuse_exist_volume: without effect: a volume that is already mounted is always reused
            warning: admission_inject.profiler.sidecar_mode: unknown key, ignored
            warning: admission_inject.profiler.options: unknown key, ignored
        "#]],
    );
    let (config, _) = load(
        r#"{"admission_inject":{"logfwd":{"sidecar_mode":"native","image_pull_policy":"Never"}}}"#,
    );
    assert_eq!(config.logfwd.sidecar_mode, SidecarMode::Native);
    assert_eq!(config.logfwd.container.image_pull_policy, PullPolicy::Never);
}

#[test]
fn diagnostics_of_images() {
    check(
        &ddtrace(
            "images",
            r#"{"java_agent_image":"reg:5000/a/b","python_agent_image":" x:1","js_agent_image":"a:b:c","php_agent_image":"p:1"}"#,
        ),
        expect![[r#"
            warning: admission_inject.ddtrace.images.php_agent_image: unknown key, ignored; did you mean `js_agent_image`?
            warning: admission_inject.ddtrace.images.java_agent_image: the image has no tag, so each node may run another version (found `reg:5000/a/b`); write reg:5000/a/b:<version>
            error: admission_inject.ddtrace.images.python_agent_image: an image must not contain white space; the image is ignored (found ` x:1`); write x:1
            error: admission_inject.ddtrace.images.js_agent_image: `b:c` is not a tag; the image is ignored (found `a:b:c`)
        "#]],
    );
}

#[test]
fn diagnostics_of_envs() {
    check(
        &ddtrace(
            "envs",
            r#"{"PORT":9529,"ON":true,"NONE":null,"LIST":["x"],"1X":"a","A B":"a","NUL":"a\u0000b",
                "A":"1","USES":"$(LATER) $(A) $(UNKNOWN) $$(LATER)","SELF":"$(SELF)","LATER":"x","A":"2",
                "REF":"{fieldref:metadata.name}","EMBEDDED":"x{secretKeyRef:a.b}","a.b":"{fieldRef:metadata.x}"}"#,
        ),
        expect![[r#"
            warning: admission_inject.ddtrace.envs.PORT: a value must be a string, not a number; skipped (found `9529`); write "9529"
            warning: admission_inject.ddtrace.envs.ON: a value must be a string, not a boolean; skipped (found `true`); write "true"
            warning: admission_inject.ddtrace.envs.NONE: a value must be a string, not null; skipped (found `null`)
            warning: admission_inject.ddtrace.envs.LIST: a value must be a string, not an array; skipped (found `["x"]`)
            error: admission_inject.ddtrace.envs.1X: not a name for an environment variable (letters, digits, `_`, `-` and `.`, not starting with a digit); skipped (found `1X`)
            error: admission_inject.ddtrace.envs["A B"]: not a name for an environment variable (letters, digits, `_`, `-` and `.`, not starting with a digit); skipped (found `A B`)
            error: admission_inject.ddtrace.envs.NUL: a value can't contain a NUL character; skipped
            warning: admission_inject.ddtrace.envs.A: the name appears more than once; the first place and the last value count
            warning: admission_inject.ddtrace.envs.USES: `$(LATER)` stays text, because `LATER` is defined after `USES`; move `LATER` before `USES`
            warning: admission_inject.ddtrace.envs.SELF: `$(SELF)` refers to the variable itself, which Kubernetes leaves as text
            warning: admission_inject.ddtrace.envs.REF: kept as text, because it isn't a reference; did you mean {fieldRef:metadata.name}?
            warning: admission_inject.ddtrace.envs.EMBEDDED: kept as text, because a reference must be the whole value; define a variable as {secretKeyRef:a.b} before this one and use it here as $(NAME)
            warning: admission_inject.ddtrace.envs["a.b"]: kept as text, because `metadata.x` isn't a field that can be referred to; did you mean {fieldRef:metadata.uid}?
        "#]],
    );
    check(&ddtrace("envs", r#"[{"name":"A","value":"b"}]"#), expect![[r#"
        error: admission_inject.ddtrace.envs: expected an object of names and values, not an array; ignored (found `[{"name":"A","value":"b"}]`); write {"NAME": "value"}
    "#]]);
    check(&ddtrace("envs", r#""A=b""#), expect![[r#"
        error: admission_inject.ddtrace.envs: expected an object of names and values, not a string; ignored (found `"A=b"`)
    "#]]);
}

#[test]
fn a_repeated_variable_keeps_its_place() {
    let (config, _) = load(&ddtrace("envs", r#"{"A":"1","B":"$(A)","A":"2"}"#));
    let envs = &config.ddtrace.container.envs;
    assert_eq!(envs.len(), 2);
    assert_eq!(envs[0].name, "A");
    assert_eq!(envs[0].value, EnvValue::Literal("2".into()));
}

#[test]
fn diagnostics_of_resources() {
    check(
        &ddtrace(
            "resources",
            r#"{"request":{},"requests":{"cpu":"2","memory":true,"gpu":"1"},"limits":{"cpu":"1","memory":"512MB"}}"#,
        ),
        expect![[r#"
            warning: admission_inject.ddtrace.resources.request: unknown key, ignored; did you mean `requests`?
            warning: admission_inject.ddtrace.resources.requests.gpu: unknown key, ignored; did you mean `cpu`?
            error: admission_inject.ddtrace.resources.requests.memory: expected a quantity, not a boolean; ignored (found `true`)
            error: admission_inject.ddtrace.resources.limits.memory: the unit is none of n, u, m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei or an exponent (found `512MB`)
            error: admission_inject.ddtrace.resources.limits.cpu: below the request of 2 (found `1`)
            warning: admission_inject.ddtrace.resources: the default resources are used because of the errors in the block
        "#]],
    );
    check(
        &ddtrace("resources", r#"{"limits":{"cpu":"-1"}}"#),
        expect![[r#"
            error: admission_inject.ddtrace.resources.limits.cpu: a resource can't be negative (found `-1`)
            warning: admission_inject.ddtrace.resources: the default resources are used because of the errors in the block
        "#]],
    );
    check(&ddtrace("resources", "7"), expect![[r#"
        error: admission_inject.ddtrace.resources: expected an object, not a number; ignored (found `7`)
        warning: admission_inject.ddtrace.resources: the default resources are used because of the errors in the block
    "#]]);
}

fn security_context(text: &str) -> Option<SecurityContext> {
    load(&ddtrace("security_context", text))
        .0
        .ddtrace
        .container
        .security_context
}

#[test]
fn row_z12_a_security_context_is_passed_on() {
    for text in [
        "{}",
        r#"{"runAsUser":0,"runAsGroup":2147483647,"runAsNonRoot":false}"#,
        r#"{"privileged":true,"readOnlyRootFilesystem":true,"procMount":"Default"}"#,
        r#"{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"],"add":["NET_BIND_SERVICE","cap_chown"]}}"#,
        r#"{"seccompProfile":{"type":"RuntimeDefault"},"appArmorProfile":{"type":"Unconfined"}}"#,
        r#"{"seccompProfile":{"type":"Localhost","localhostProfile":"a/b.json"},"appArmorProfile":{"type":"Localhost","localhostProfile":"/x"}}"#,
        r#"{"seLinuxOptions":{"user":"u","role":"r","type":"t","level":"s0:c1,c2"}}"#,
        r#"{"allowPrivilegeEscalation":true,"privileged":true,"capabilities":{"add":["SYS_ADMIN"]}}"#,
    ] {
        let (_, diagnostics) = load(&ddtrace("security_context", text));
        assert_eq!(diagnostics, [], "{text}");
        assert_eq!(security_context(text).unwrap().as_json(), text);
    }
    let spaced = r#"{ "runAsUser": 1000, "capabilities": {"add": null, "drop": []}, "runAsNonRoot": true, "privileged": null }"#;
    let context = security_context(spaced).unwrap();
    assert_eq!(
        context.as_json(),
        r#"{"runAsUser":1000,"capabilities":{"drop":[]},"runAsNonRoot":true}"#
    );
    assert_eq!(context.run_as_user(), Some(1000));
    assert_eq!(context.run_as_non_root(), Some(true));
    assert_eq!(security_context("null"), None);
}

#[test]
fn a_security_context_that_would_be_refused_is_ignored() {
    let check = |text: &str, expected: Expect| {
        assert_eq!(security_context(text), None, "{text}");
        let (_, mut diagnostics) = load(&ddtrace("security_context", text));
        let last = diagnostics.pop().unwrap().to_string();
        assert_eq!(
            last,
            "warning: admission_inject.ddtrace.security_context: the block is ignored as a whole because of the errors in it"
        );
        expected.assert_eq(&render(&diagnostics).replace("admission_inject.ddtrace.", ""));
    };
    check("[]", expect![[r#"
        error: security_context: expected an object, not an array (found `[]`)
    "#]]);
    check(
        r#"{"runasuser":1,"privileged":"yes","runAsNonRoot":1,"x":1,"windowsOptions":{}}"#,
        expect![[r#"
            error: security_context.runasuser: unknown key; did you mean `runAsUser`?
            error: security_context.x: unknown key
            error: security_context.windowsOptions: the injected images run on Linux only
            error: security_context.privileged: expected true or false, not a string (found `"yes"`)
            error: security_context.runAsNonRoot: expected true or false, not a number (found `1`)
        "#]],
    );
    check(r#"{"runAsUser":-1,"runAsGroup":2147483648}"#, expect![[r#"
        error: security_context.runAsUser: expected a whole number from 0 to 2147483647 (found `-1`)
        error: security_context.runAsGroup: expected a whole number from 0 to 2147483647 (found `2147483648`)
    "#]]);
    check(r#"{"runAsUser":1.5,"runAsGroup":"1"}"#, expect![[r#"
        error: security_context.runAsUser: expected a whole number from 0 to 2147483647 (found `1.5`)
        error: security_context.runAsGroup: expected a whole number, not a string (found `"1"`)
    "#]]);
    check(r#"{"runAsUser":1,"runAsUser":2}"#, expect![[r#"
        error: security_context.runAsUser: the key appears more than once
    "#]]);
    check(r#"{"runAsUser":0,"runAsNonRoot":true}"#, expect![[r#"
        error: security_context.runAsNonRoot: can't be true while `runAsUser` is 0; the node wouldn't start the container
    "#]]);
    check(
        r#"{"allowPrivilegeEscalation":false,"privileged":true,"capabilities":{"add":["CAP_SYS_ADMIN"]}}"#,
        expect![[r#"
            error: security_context.allowPrivilegeEscalation: can't be false while `privileged` is true
            error: security_context.allowPrivilegeEscalation: can't be false while SYS_ADMIN is added
        "#]],
    );
    check(
        r#"{"allowPrivilegeEscalation":false,"capabilities":{"add":["sys_admin"]}}"#,
        expect![[r#"
            error: security_context.allowPrivilegeEscalation: can't be false while SYS_ADMIN is added
        "#]],
    );
    check(
        r#"{"capabilities":{"add":["NET_BIND_SERVCE",1],"drop":"ALL","remove":[]}}"#,
        expect![[r#"
            error: security_context.capabilities.remove: unknown key
            error: security_context.capabilities.add[0]: no such capability (found `NET_BIND_SERVCE`); did you mean `NET_BIND_SERVICE`?
            error: security_context.capabilities.add[1]: expected a string, not a number (found `1`)
            error: security_context.capabilities.drop: expected an array, not a string (found `"ALL"`)
        "#]],
    );
    check(
        r#"{"procMount":"Unmasked","seccompProfile":{},"appArmorProfile":"x"}"#,
        expect![[r#"
            error: security_context.procMount: `Unmasked` is refused in pods that share the host's users, which most do
            error: security_context.seccompProfile: `type` is missing
            error: security_context.appArmorProfile: expected an object, not a string (found `"x"`)
        "#]],
    );
    check(r#"{"procMount":"default"}"#, expect![[r#"
        error: security_context.procMount: expected one of Default (found `default`); did you mean `Default`?
    "#]]);
    check(
        r#"{"seccompProfile":{"type":"runtimeDefault"},"appArmorProfile":{"type":"Localhost"}}"#,
        expect![[r#"
            error: security_context.seccompProfile.type: expected one of RuntimeDefault, Unconfined, Localhost (found `runtimeDefault`); did you mean `RuntimeDefault`?
            error: security_context.appArmorProfile: `localhostProfile` is missing
        "#]],
    );
    check(
        r#"{"seccompProfile":{"type":"Localhost","localhostProfile":"../x"},"appArmorProfile":{"type":"Localhost","localhostProfile":" x"}}"#,
        expect![[r#"
            error: security_context.seccompProfile.localhostProfile: expected a relative path without `..` (found `../x`)
            error: security_context.appArmorProfile.localhostProfile: a profile's name has no white space around it and at most 4095 bytes
        "#]],
    );
    check(
        r#"{"seccompProfile":{"type":"RuntimeDefault","localhostProfile":"x"},"appArmorProfile":{"type":"Localhost","localhostProfile":""}}"#,
        expect![[r#"
            error: security_context.seccompProfile.localhostProfile: only fits the type `Localhost`
            error: security_context.appArmorProfile.localhostProfile: the profile's name is empty
        "#]],
    );
    check(
        r#"{"seLinuxOptions":{"user":1,"level":"a\u0000"}}"#,
        expect![[r#"
            error: security_context.seLinuxOptions.user: expected a string, not a number (found `1`)
            error: security_context.seLinuxOptions.level: the text can't contain a NUL character
        "#]],
    );
}

/// Documents of the right shape with all kinds of values in it.
fn documents() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "[1-9][0-9]{0,3}",
        prop_oneof![
            Just("a:1"),
            Just("nginx"),
            Just("java"),
            Just("100m"),
            Just("1Gi"),
            Just("Always"),
            Just("native"),
            Just("{fieldRef:metadata.name}"),
            Just("{fieldRef:x"),
            Just("$(A)"),
            Just("app in (a,b)"),
            Just("*")
        ]
        .prop_map(|text| format!("\"{text}\"")),
    ];
    let key = prop_oneof![
        Just("admission_inject"),
        Just("ddtrace"),
        Just("logfwd"),
        Just("profiler"),
        Just("images"),
        Just("java_agent_image"),
        Just("envs"),
        Just("A"),
        Just("B"),
        Just("resources"),
        Just("requests"),
        Just("limits"),
        Just("cpu"),
        Just("security_context"),
        Just("runAsUser"),
        Just("enabled_namespaces"),
        Just("namespace"),
        Just("language"),
        Just("sidecar_mode"),
        Just("Log_Level"),
    ];
    let node = scalar.prop_recursive(6, 60, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((key.clone(), inner), 0..5).prop_map(object),
        ]
    });
    const FEATURES: [&str; 3] = ["ddtrace", "logfwd", "profiler"];
    const KEYS: [&str; 7] = [
        "images",
        "envs",
        "resources",
        "security_context",
        "enabled_namespaces",
        "enabled_labelselectors",
        "sidecar_mode",
    ];
    (
        prop::sample::select(&FEATURES[..]),
        prop::sample::select(&KEYS[..]),
        node,
    )
        .prop_map(|(feature, key, node)| {
            format!(r#"{{"admission_inject":{{"{feature}":{{"{key}":{node}}}}}}}"#)
        })
}

fn object(entries: Vec<(&str, String)>) -> String {
    let entries: Vec<String> = entries
        .iter()
        .map(|(key, value)| format!("\"{key}\":{value}"))
        .collect();
    format!("{{{}}}", entries.join(","))
}

proptest! {
    #[test]
    fn writing_and_loading_again_changes_nothing(document in documents()) {
        let (config, _) = load(&document);
        prop_assert_eq!(load(&config.to_json()).0, config);
    }

    #[test]
    fn any_text_is_answered(text in r#"[{}\[\]",:a0 ]{0,24}"#) {
        let _ = Config::load(&text, &EnvOverrides::default());
    }
}
