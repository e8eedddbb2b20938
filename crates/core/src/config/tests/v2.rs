//! Lists of rules: `admission_inject_v2`.

use expect_test::expect;

use super::*;
use crate::selector::{LabelSelector, NamespacePattern};

/// A document with one list.
fn list(key: &str, rules: &str) -> String {
    format!(r#"{{"admission_inject_v2":{{"{key}":[{rules}]}}}}"#)
}

/// What the lists came to, a line a rule.
fn told(config: &Config) -> String {
    let rules = config
        .rules
        .iter()
        .filter(|rule| rule.origin.form == rule::Form::V2);
    rules
        .map(|rule| {
            let namespaces: Vec<_> = rule
                .when
                .namespaces
                .iter()
                .map(NamespacePattern::as_str)
                .collect();
            let labels: Vec<_> = rule.when.labels.iter().map(LabelSelector::as_str).collect();
            format!(
                "{}: {} {} {namespaces:?} {labels:?}{} {} {}\n",
                rule.origin,
                rule.feature,
                rule.language.map_or("-", Language::as_str),
                if rule.when.annotation {
                    " annotation"
                } else {
                    ""
                },
                rule.image.as_ref().map_or("-", Image::as_str),
                rule.container.image_pull_policy.as_str(),
            )
        })
        .collect()
}

fn check_rules(text: &str, rules: &Expect, diagnostics: &Expect) {
    check(text, diagnostics);
    rules.assert_eq(&told(&load(text).0));
}

#[test]
fn each_entry_is_a_rule() {
    check_rules(
        r#"{"admission_inject_v2":{
            "ddtraces":[
                {"name":"shop","namespace_selectors":["^shop$","*"],"label_selectors":["app=web*","!old"],
                 "check_annotation":true,"language":"java","image":"java:1","image_pull_policy":"IfNotPresent"},
                {"label_selectors":["app"],"language":"js","image":"js:1"}],
            "logfwds":[{"namespace_selectors":["*"],"image":"logfwd:1"}],
            "profilers":[
                {"namespace_selectors":["*"],"language":"golang","image":"go:1"},
                {"namespace_selectors":["a"],"check_annotation":true,"image":"any:1"}]}}"#,
        &expect![[r#"
            admission_inject_v2.ddtraces[0] (shop): ddtrace java ["^shop$", "*"] ["app=web*", "!old"] annotation java:1 IfNotPresent
            admission_inject_v2.ddtraces[1]: ddtrace nodejs [] ["app"] js:1 Always
            admission_inject_v2.logfwds[0]: logfwd - ["*"] [] logfwd:1 Always
            admission_inject_v2.profilers[0]: profiler golang ["*"] [] go:1 Always
            admission_inject_v2.profilers[1]: profiler java ["a"] [] annotation any:1 Always
            admission_inject_v2.profilers[1]: profiler python ["a"] [] annotation any:1 Always
            admission_inject_v2.profilers[1]: profiler golang ["a"] [] annotation any:1 Always
        "#]],
        &expect![[""]],
    );
}

#[test]
fn a_mistake_never_widens_a_rule() {
    check_rules(
        &list(
            "ddtraces",
            r#"{"name":"one of two","namespace_selectors":["(","^a$"],"label_selectors":["a","b=(c)"],"language":"java","image":"a:1"},
            {"name":"none","namespace_selectors":["("," "],"label_selectors":["a"],"language":"java","image":"a:1"},
            {"name":"labels","namespace_selectors":["a"],"label_selectors":["", 1],"language":"java","image":"a:1"},
            {"name":"text","namespace_selectors":"a","label_selectors":["a"],"language":"java","image":"a:1"},
            {"name":"misspelt","namespaces_selector":["a"],"label_selectors":["a"],"language":"java","image":"a:1"},
            {"name":"other form","enabled_namespaces":["a"],"label_selectors":["a"],"language":"java","image":"a:1"},
            {"name":"boolean","check_annotation":"true","label_selectors":["a"],"language":"java","image":"a:1"},
            {"name":"language","label_selectors":["a"],"language":"Java","image":"a:1"},
            {"name":"no language","label_selectors":["a"],"image":"a:1"},
            {"name":"no selector","check_annotation":true,"namespace_selectors":[],"language":"java","image":"a:1"},
            {"name":"harmless","label_selectors":["a"],"language":"java","image":"a:1","imge":"b:1"},
            null, 7, {}"#,
        ),
        &expect![[r#"
            admission_inject_v2.ddtraces[0] (one of two): ddtrace java ["^a$"] ["a"] a:1 Always
            admission_inject_v2.ddtraces[10] (harmless): ddtrace java [] ["a"] a:1 Always
        "#]],
        &expect![[r#"
            error: admission_inject_v2.ddtraces[0].namespace_selectors[0]: the namespace pattern isn't a regular expression: unclosed group; entry ignored (found `(`)
            error: admission_inject_v2.ddtraces[0].label_selectors[1]: expected a value in the label selector, found `(`; entry ignored (found `b=(c)`)
            error: admission_inject_v2.ddtraces[1].namespace_selectors[0]: the namespace pattern isn't a regular expression: unclosed group; entry ignored (found `(`)
            error: admission_inject_v2.ddtraces[1].namespace_selectors[1]: the namespace pattern is empty; `*` means every namespace; entry ignored (found ` `)
            error: admission_inject_v2.ddtraces[1].namespace_selectors: the rule is disabled: none of the entries can be used
            error: admission_inject_v2.ddtraces[2].label_selectors[0]: the label selector is empty; entry ignored
            error: admission_inject_v2.ddtraces[2].label_selectors[1]: expected a string, not a number; ignored (found `1`)
            error: admission_inject_v2.ddtraces[2].label_selectors: the rule is disabled: none of the entries can be used
            error: admission_inject_v2.ddtraces[3].namespace_selectors: expected an array, not a string; ignored (found `"a"`)
            error: admission_inject_v2.ddtraces[3].namespace_selectors: the rule is disabled: none of the entries can be used
            warning: admission_inject_v2.ddtraces[4].namespaces_selector: unknown key, ignored; did you mean `namespace_selectors`?
            error: admission_inject_v2.ddtraces[4]: the rule is disabled: its unknown key `namespaces_selector` may have been meant to restrict it
            warning: admission_inject_v2.ddtraces[5].enabled_namespaces: unknown key, ignored
            error: admission_inject_v2.ddtraces[5]: the rule is disabled: its unknown key `enabled_namespaces` may have been meant to restrict it
            error: admission_inject_v2.ddtraces[6].check_annotation: expected true or false, not a string; the rule is disabled (found `"true"`)
            error: admission_inject_v2.ddtraces[7].language: expected one of java, python, php, nodejs, js; the rule is disabled (found `Java`); did you mean `java`?
            error: admission_inject_v2.ddtraces[8].language: expected one of java, python, php, nodejs, js; the rule is disabled
            warning: admission_inject_v2.ddtraces[9]: the rule is disabled: it has neither namespace_selectors nor label_selectors; write "namespace_selectors": ["*"] to mean every namespace
            warning: admission_inject_v2.ddtraces[10].imge: unknown key, ignored; did you mean `image`?
            warning: admission_inject_v2.ddtraces[11]: the rule is null, and skipped
            error: admission_inject_v2.ddtraces[12]: expected an object, not a number; ignored (found `7`)
            warning: admission_inject_v2.ddtraces[13]: the rule is disabled: it has neither namespace_selectors nor label_selectors; write "namespace_selectors": ["*"] to mean every namespace
            error: admission_inject_v2.ddtraces[13].language: expected one of java, python, php, nodejs, js; the rule is disabled
        "#]],
    );
}

#[test]
fn the_loader_of_php() {
    let text = list(
        "ddtraces",
        r#"{"namespace_selectors":["*"],"language":"php","image":"php:1"},
           {"namespace_selectors":["*"],"language":"php","image":"php:1","php_loader_flavor":"linux-musl"},
           {"namespace_selectors":["*"],"language":"php","image":"php:1","php_loader_flavor":"alpine"},
           {"namespace_selectors":["*"],"language":"java","image":"java:1","php_loader_flavor":"linux-musl"}"#,
    );
    check(
        &text,
        &expect![[r#"
        error: admission_inject_v2.ddtraces[2].php_loader_flavor: expected one of linux-gnu, linux-musl; using `linux-gnu` (found `alpine`)
        warning: admission_inject_v2.ddtraces[3].php_loader_flavor: without effect: the rule isn't for php
    "#]],
    );
    let config = load(&text).0;
    let rules = config.rules_of(Feature::Ddtrace).take(4);
    let extras: Vec<&Extra> = rules.map(|rule| &rule.extra).collect();
    assert_eq!(
        extras,
        [
            &Extra::Php(PhpLoader::LinuxGnu),
            &Extra::Php(PhpLoader::LinuxMusl),
            &Extra::Php(PhpLoader::LinuxGnu),
            &Extra::None,
        ]
    );
}

#[test]
fn settings_of_a_rule() {
    check_rules(
        &list(
            "logfwds",
            r#"{"namespace_selectors":["*"],"image":"","image_pull_policy":"always","language":"java",
             "resources":{"limits":{"ephemeral-storage":"1Gi","cpu":"x"}},"envs":["A"],"sidecar_mode":"x",
             "log_configs":"[{\"path\":1}]","log_volume_paths":["/a","b","",7]},
            {"namespace_selectors":["*"],"image":"a:1","image_pull_policy":"","envs":{"CPU":"{resourceFieldRef:limits.cpu}",
             "KEY":"{secretKeyRef:s.k}","X":"{fieldRef:metadata.x}"},
             "resources":{"requests":{"ephemeral-storage":"1Gi"},"limits":{"ephemeral-storage":"1Mi"}}}"#,
        ),
        &expect![[r#"
            admission_inject_v2.logfwds[0]: logfwd - ["*"] [] - Always
            admission_inject_v2.logfwds[1]: logfwd - ["*"] [] a:1 Always
        "#]],
        &expect![[r#"
            warning: admission_inject_v2.logfwds[0].language: unknown key, ignored
            error: admission_inject_v2.logfwds[0].envs: expected an object of names and values, not an array; ignored (found `["A"]`); write {"NAME": "value"}
            error: admission_inject_v2.logfwds[0].resources.limits.cpu: a quantity starts with a number, such as 100m or 64Mi (found `x`)
            warning: admission_inject_v2.logfwds[0].resources: the default resources are used because of the errors in the block
            error: admission_inject_v2.logfwds[0].image_pull_policy: expected one of Always, IfNotPresent, Never; using `Always` (found `always`); did you mean `Always`?
            error: admission_inject_v2.logfwds[0].sidecar_mode: expected one of auto, container, native; using `auto` (found `x`)
            error: admission_inject_v2.logfwds[0].log_configs[0].path: expected a string, not a number; ignored (found `1`)
            warning: admission_inject_v2.logfwds[0].log_configs: the whole list is left out because of the errors in it: its reader would take nothing of it
            error: admission_inject_v2.logfwds[0].log_volume_paths[1]: expected an absolute path; entry ignored (found `b`)
            error: admission_inject_v2.logfwds[0].log_volume_paths[2]: expected an absolute path; entry ignored (found ``)
            error: admission_inject_v2.logfwds[0].log_volume_paths[3]: expected a string, not a number; ignored (found `7`)
            error: admission_inject_v2.logfwds[0].image: the rule has no image, so the pods that it fits get nothing
            warning: admission_inject_v2.logfwds[1].envs.X: kept as text, because `metadata.x` isn't a field that can be referred to; did you mean {fieldRef:metadata.uid}?
            error: admission_inject_v2.logfwds[1].resources.limits.ephemeral-storage: below the request of 1Gi (found `1Mi`)
            warning: admission_inject_v2.logfwds[1].resources: the default resources are used because of the errors in the block
        "#]],
    );
    let (config, _) = load(&list(
        "logfwds",
        r#"{"namespace_selectors":["*"],"image":"a:1","resources":{"limits":{"ephemeral-storage":"1Gi"}},
            "log_configs":" [ {\"disable\": true, \"path\": \"/off/*\"}, {\"Path\": \"/a/*.log\", \"new\": 1}, {\"path\": \"\"} ] ",
            "log_volume_paths":["/b"]}"#,
    ));
    let rule = config.rules_of(Feature::Logfwd).next().unwrap();
    let limits = &rule.container.resources.limits;
    assert_eq!(limits.get("ephemeral-storage").unwrap().as_str(), "1Gi");
    let Extra::Logfwd {
        sources: Some(sources),
        ..
    } = &rule.extra
    else {
        panic!("{:?}", rule.extra);
    };
    let configs = sources.configs.as_ref().unwrap();
    assert_eq!(
        configs.as_json(),
        r#"[{"disable":true,"path":"/off/*"},{"Path":"/a/*.log","new":1},{"path":""}]"#
    );
    assert_eq!(configs.paths(), ["/a/*.log"]);
    assert_eq!(sources.volume_paths, ["/b"]);
}

#[test]
fn what_the_sidecar_could_not_read_is_left_out() {
    let texts = [
        ("not JSON", "[{"),
        ("no list", "{}"),
        (
            "types",
            r#"[{"disable":"no","tags":{"a":1},"from_beginning_threshold_size":"1","sorce":"x"},"/a",null]"#,
        ),
    ];
    let rules: Vec<String> = texts
        .iter()
        .map(|(name, text)| {
            serde_json::json!({"name": name, "namespace_selectors": ["*"], "image": "a:1", "log_configs": text})
                .to_string()
        })
        .collect();
    let text = list("logfwds", &rules.join(","));
    check(
        &text,
        &expect![[r#"
            error: admission_inject_v2.logfwds[0].log_configs: expected a JSON array in the text: at its line 1, column 2: the text ends, but this `{` isn't closed; ignored (found `[{`)
            error: admission_inject_v2.logfwds[1].log_configs: expected a JSON array in the text: it holds an object; ignored (found `{}`)
            error: admission_inject_v2.logfwds[2].log_configs[0].disable: expected true or false, not a string; ignored (found `"no"`)
            error: admission_inject_v2.logfwds[2].log_configs[0].tags.a: expected a string, not a number; ignored (found `1`)
            error: admission_inject_v2.logfwds[2].log_configs[0].from_beginning_threshold_size: expected a number, not a string; ignored (found `"1"`)
            warning: admission_inject_v2.logfwds[2].log_configs[0].sorce: unknown key; did you mean `source`?
            error: admission_inject_v2.logfwds[2].log_configs[1]: expected an object, not a string; ignored (found `"/a"`)
            error: admission_inject_v2.logfwds[2].log_configs[2]: expected an object, not null; ignored (found `null`)
            warning: admission_inject_v2.logfwds[2].log_configs: the whole list is left out because of the errors in it: its reader would take nothing of it
        "#]],
    );
    for rule in load(&text).0.rules_of(Feature::Logfwd).take(3) {
        let Extra::Logfwd {
            sources: Some(sources),
            ..
        } = &rule.extra
        else {
            panic!("{:?}", rule.extra);
        };
        assert_eq!(sources.configs, None);
    }
}

/// What v1 gives comes first; what it can't give doesn't keep v2 from giving it.
#[test]
fn both_forms_side_by_side() {
    let text = r#"{
        "admission_inject":{"ddtrace":{"images":{"java_agent_image":"v1:1"},
            "enabled_namespaces":[{"namespace":"old","language":"python"}]},
            "profiler":{"envs":{"A":"b"}}},
        "admission_inject_v2":{
            "ddtraces":[{"namespace_selectors":["*"],"language":"python","check_annotation":true,"image":"v2:1"}],
            "logfwds":[{"namespace_selectors":["*"],"image":"logfwd:1"}],
            "profilers":[{"namespace_selectors":["*"],"language":"java","image":"java:1"}]}}"#;
    check(
        text,
        &expect![[r#"
        warning: admission_inject_v2: admission_inject configures ddtrace, profiler as well, and is asked first
    "#]],
    );
    let (config, _) = load(text);
    let order: Vec<String> = config
        .rules_of(Feature::Ddtrace)
        .map(|rule| {
            let language = rule.language.map_or("-", Language::as_str);
            let image = rule.image.as_ref().map_or("-", Image::as_str);
            format!("{} {language} {image}", rule.origin)
        })
        .collect();
    assert_eq!(
        order,
        [
            "admission_inject.ddtrace java v1:1",
            "admission_inject_v2.ddtraces[0] python v2:1",
            "admission_inject.ddtrace nodejs -",
            "admission_inject.ddtrace python -",
            "admission_inject.ddtrace.enabled_namespaces[0] python -",
        ]
    );
}

#[test]
fn a_policy_and_its_misspellings_are_seen_beside_lists() {
    check(
        r#"{"admission_policy":{"ddtrace":{"namespaces":[]}},"admission_inject_v2":{
            "ddtraces":[{"namespace_selectors":["*"],"check_annotation":true,"language":"java","image":"a:1"}]}}"#,
        &expect![[r#"
            warning: admission_inject_v2.ddtraces[0]: its selectors are without effect: admission_policy.ddtrace allows no namespace
        "#]],
    );
    check(
        r#"{"admission_inject_v2":{"admission_policy":{},
            "logfwds":[{"namespace_selectors":["*"],"image":"a:1","policy":{}}]}}"#,
        &expect![[r#"
            error: admission_inject_v2.admission_policy: unknown key, probably a policy; nothing is allowed until this is corrected; write `admission_policy` at the top level
            error: admission_inject_v2.logfwds[0].policy: unknown key, probably a policy; nothing is allowed until this is corrected; write `admission_policy` at the top level
            warning: admission_inject_v2.logfwds[0]: its selectors are without effect: admission_policy.logfwd allows no namespace
        "#]],
    );
}

#[test]
fn rules_are_written_as_they_were_meant() {
    let (config, _) = load(&list(
        "logfwds",
        r#"{"name":"all","namespace_selectors":["*"],"label_selectors":["app"],"check_annotation":true,"image":"a:1",
            "log_configs":"[ ]","log_volume_paths":["/a"],"envs":{"B":"1","A":"$(B)"},"resources":{"limits":{"cpu":"1"}}}"#,
    ));
    let written: serde_json::Value = serde_json::from_str(&config.to_json()).unwrap();
    let written = &written["admission_inject_v2"];
    expect![[r#"
        {
          "logfwds": [
            {
              "name": "all",
              "namespace_selectors": [
                "*"
              ],
              "label_selectors": [
                "app"
              ],
              "check_annotation": true,
              "image": "a:1",
              "envs": {
                "B": "1",
                "A": "$(B)"
              },
              "resources": {
                "requests": {},
                "limits": {
                  "cpu": "1"
                }
              },
              "image_pull_policy": "Always",
              "sidecar_mode": "auto",
              "log_configs": "[]",
              "log_volume_paths": [
                "/a"
              ]
            }
          ]
        }"#]]
    .assert_eq(&format!("{written:#}"));
}

#[test]
fn rules_for_opentelemetry_name_a_language_that_it_has() {
    check_rules(
        &list(
            "otels",
            r#"{"namespace_selectors":["*"],"language":"java","image":"a:1"},
               {"namespace_selectors":["*"],"language":"nodejs","image":"a:1","check_annotation":true},
               {"namespace_selectors":["*"],"language":"php","image":"a:1"},
               {"namespace_selectors":["*"],"check_annotation":true,"image":"a:1"}"#,
        ),
        &expect![[r#"
            admission_inject_v2.otels[0]: otel java ["*"] [] a:1 Always
            admission_inject_v2.otels[1]: otel nodejs ["*"] [] annotation a:1 Always
        "#]],
        &expect![[r#"
            error: admission_inject_v2.otels[2].language: expected one of java, python, nodejs; the rule is disabled (found `php`)
            error: admission_inject_v2.otels[3].language: expected one of java, python, nodejs; the rule is disabled
        "#]],
    );
}

#[test]
fn a_rule_for_flameshot_says_what_it_needs() {
    let envs = r#""envs":{"FLAMESHOT_PROFILING_PATH":"/p","FLAMESHOT_HTTP_LOCAL_PORT":"1"}"#;
    let rule = |more: &str| format!(r#"{{"namespace_selectors":["*"],"image":"a:1",{more}}}"#);
    let rules = [
        rule(&format!(
            r#"{envs},"processes":"[{{\"service\":\"s\"}}]","enable_prometheus_annotations":true"#
        )),
        rule(&format!(
            r#"{envs},"processes":"{{}}","enable_prometheus_annotations":"yes""#
        )),
        rule(&format!(r#"{envs},"processes":["java"]"#)),
        rule(r#""processes":"[]","check_annotation":true"#),
    ];
    let text = list("flameshots", &rules.join(","));
    check_rules(
        &text,
        &expect![[r#"
        admission_inject_v2.flameshots[0]: flameshot - ["*"] [] a:1 Always
        admission_inject_v2.flameshots[1]: flameshot - ["*"] [] a:1 Always
        admission_inject_v2.flameshots[2]: flameshot - ["*"] [] a:1 Always
        admission_inject_v2.flameshots[3]: flameshot - ["*"] [] a:1 Always
    "#]],
        &expect![[r#"
        error: admission_inject_v2.flameshots[1].enable_prometheus_annotations: expected true or false, not a string; ignored (found `"yes"`)
        error: admission_inject_v2.flameshots[1].processes: expected a JSON array in the text: it holds an object; ignored (found `{}`)
        error: admission_inject_v2.flameshots[2].processes: expected a string, not an array; ignored (found `["java"]`)
        warning: admission_inject_v2.flameshots[2].processes: there is nothing to watch for, so the pods that the rule fits get nothing
        warning: admission_inject_v2.flameshots[3].check_annotation: unknown key, ignored
        error: admission_inject_v2.flameshots[3].envs: FLAMESHOT_PROFILING_PATH is missing, so the pods that the rule fits get nothing
        error: admission_inject_v2.flameshots[3].envs: FLAMESHOT_HTTP_LOCAL_PORT is missing, so the pods that the rule fits get nothing
    "#]],
    );
    let config = load(&text).0;
    let extra: Vec<_> = config
        .rules_of(Feature::Flameshot)
        .map(|rule| &rule.extra)
        .collect();
    expect![[r#"
        [
            Flameshot {
                processes: "[{\"service\":\"s\"}]",
                prometheus_annotations: true,
            },
            Flameshot {
                processes: "",
                prometheus_annotations: false,
            },
            Flameshot {
                processes: "",
                prometheus_annotations: false,
            },
            Flameshot {
                processes: "[]",
                prometheus_annotations: false,
            },
        ]
    "#]]
    .assert_debug_eq(&extra);
    assert_eq!(load(&config.to_json()).0, config);
}

/// As in the versions that this form comes from, a rule of `loggings` needs both kinds of
/// selectors.
#[test]
fn what_the_agent_is_told() {
    let text = r#"{"admission_mutate":{"loggings":[
        {"namespace_selectors":["*"],"label_selectors":["!none"],
         "config":" [{\"type\":\"file\",\"path\":\"/a/*\"},{\"path\":\"/no/type\"},{\"type\":\"stdout\",\"path\":\"\"},{\"type\":\"file\",\"path\":\"/off\",\"disable\":true}]"},
        {"namespace_selectors":["a"],"label_selectors":["b"],"config":""},
        {"namespace_selectors":["a"],"config":"[]"},
        {"label_selectors":["b"],"config":"[]"},
        {"namespace_selectors":["("],"label_selectors":["b"],"config":"[]"},
        {"namespace_selectors":["a"],"label_selectors":["b"],"config":"{}"},
        {"namespace_selectors":["a"],"label_selectors":["b"],"configs":"[]",
         "config":"[{\"type\":\"file\",\"path\":\"/a\"},{\"type\":\"file\",\"path\":\"/a\"}]"},
        {"namespace_selectors":[],"label_selectors":[],"config":""},
        null]}}"#;
    check(
        text,
        &expect![[r#"
        warning: admission_mutate.loggings[2]: the rule is disabled: it needs label_selectors as well; namespaces `*` and a label selector such as `!none` fit every pod
        warning: admission_mutate.loggings[3]: the rule is disabled: it needs namespace_selectors as well; namespaces `*` and a label selector such as `!none` fit every pod
        error: admission_mutate.loggings[4].namespace_selectors[0]: the namespace pattern isn't a regular expression: unclosed group; entry ignored (found `(`)
        error: admission_mutate.loggings[4].namespace_selectors: the rule is disabled: none of the entries can be used
        error: admission_mutate.loggings[5].config: expected a JSON array in the text: it holds an object; ignored (found `{}`)
        warning: admission_mutate.loggings[6].configs: unknown key, ignored; did you mean `config`?
        warning: admission_mutate.loggings[6].config[1].path: the path is listed twice, for which the agent takes nothing of the list (found `/a`)
        warning: admission_mutate.loggings[7]: the rule is disabled: it has neither namespace_selectors nor label_selectors; write "namespace_selectors": ["*"] to mean every namespace
        warning: admission_mutate.loggings[8]: the rule is null, and skipped
    "#]],
    );
    let (config, _) = load(text);
    let told: Vec<_> = config
        .rules_of(Feature::Logging)
        .map(|rule| match &rule.extra {
            Extra::Logging(configs) => (
                rule.origin.as_str(),
                configs.as_ref().map(LogConfigs::paths),
            ),
            other => panic!("{other:?}"),
        })
        .collect();
    let files = |path: &str| vec![path.to_owned()];
    assert_eq!(
        told,
        [
            ("admission_mutate.loggings[0]", Some(&*files("/a/*"))),
            ("admission_mutate.loggings[1]", None),
            (
                "admission_mutate.loggings[6]",
                Some(&*[files("/a"), files("/a")].concat())
            ),
        ]
    );
    let first = config.rules_of(Feature::Logging).next().unwrap();
    let Extra::Logging(Some(configs)) = &first.extra else {
        panic!("{:?}", first.extra);
    };
    // The annotation has the text as it was written.
    assert!(configs.as_json().starts_with(" [{"));
    assert!(!config.injects_nothing());
}
