//! What holds for every document.

use proptest::prelude::*;

use super::*;
use crate::diagnostic::Severity;

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
        Just("admission_limits"),
        Just("containers"),
        Just("Log_Level"),
    ];
    let node = scalar.prop_recursive(6, 60, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((key.clone(), inner), 0..5).prop_map(|entries| object(&entries)),
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

/// Documents with a policy, readable and not.
fn policies() -> impl Strategy<Value = String> {
    let pattern = prop::sample::select(vec![
        "\"dev-*\"",
        "\"*\"",
        "\"v1.*\"",
        "\"\"",
        "\"[\"",
        "\"^dev\"",
        "1",
        "null",
    ]);
    let list = prop::collection::vec(pattern.clone(), 0..3)
        .prop_map(|patterns| format!("[{}]", patterns.join(",")));
    let value = prop_oneof![
        4 => list,
        1 => pattern.prop_map(str::to_owned),
        1 => prop::sample::select(vec!["true", "false", "{}"]).prop_map(str::to_owned),
    ];
    let key = prop::sample::select(vec![
        "namespaces",
        "namespaces",
        "versions",
        "drop_digest",
        "namespace",
        "x",
    ]);
    let entry = prop_oneof![
        6 => prop::collection::vec((key, value.clone()), 0..3).prop_map(|entries| object(&entries)),
        1 => value,
    ];
    let feature = prop::sample::select(vec![
        "ddtrace",
        "logfwd",
        "profiler",
        "profilers",
        "otel",
        "x",
    ]);
    let policy = prop::collection::vec((feature, entry), 0..4).prop_map(|entries| object(&entries));
    let place = prop::sample::select(vec![
        r#"{"admission_policy":@}"#,
        r#"{"admission_policy":@,"admission_inject":{}}"#,
        r#"{"Admission_Policy":@}"#,
        r#"{"admision_policy":@}"#,
        r#"{"admission_inject":{"admission_policy":@}}"#,
        r#"{"admission_inject":{"logfwd":{"policy":@}}}"#,
    ]);
    (place, policy).prop_map(|(place, policy)| place.replace('@', &policy))
}

/// Documents with rules in lists: some of the values fit their keys, some don't.
fn lists() -> impl Strategy<Value = String> {
    const KEYS: [(&str, &[&str]); 14] = [
        ("name", &["\"a b\"", "\"\"", "1"]),
        (
            "namespace_selectors",
            &[
                "[\"*\"]",
                "[\"(\",\"^a$\",\"b\"]",
                "[\"(\"]",
                "[]",
                "\"a\"",
                "[1]",
            ],
        ),
        (
            "label_selectors",
            &["[\"app=a*,x\"]", "[\"\",\"!a\"]", "[\"(\"]", "[]", "null"],
        ),
        ("check_annotation", &["true", "false", "\"true\"", "null"]),
        (
            "language",
            &[
                "\"java\"",
                "\"js\"",
                "\"golang\"",
                "\"php\"",
                "\"\"",
                "\"ruby\"",
            ],
        ),
        (
            "php_loader_flavor",
            &["\"linux-musl\"", "\"x\"", "\"\"", "1"],
        ),
        ("image", &["\"a:1\"", "\"a b\"", "\"\""]),
        (
            "image_pull_policy",
            &["\"Never\"", "\"never\"", "\"\"", "1"],
        ),
        (
            "envs",
            &[
                "{\"B\":\"{fieldRef:metadata.uid}\",\"A\":\"$(B)\"}",
                "{\"A\":1}",
                "[]",
            ],
        ),
        (
            "resources",
            &[
                "{\"limits\":{\"ephemeral-storage\":\"1Gi\"}}",
                "{\"limits\":{\"cpu\":\"x\"}}",
                "{}",
            ],
        ),
        ("security_context", &["{\"runAsUser\":1}", "{}", "[]"]),
        (
            "log_configs",
            &[
                "\"[{\\\"path\\\": \\\"/a/*\\\", \\\"x\\\": 1.0}]\"",
                "\"[]\"",
                "\"{\"",
                "[]",
            ],
        ),
        ("log_volume_paths", &["[\"/a\",\"b\",1]", "[]", "\"/a\""]),
        ("sidecar_mode", &["\"native\"", "\"x\""]),
    ];
    let field = prop::sample::select(&KEYS[..]).prop_flat_map(|(key, values)| {
        prop::sample::select(values).prop_map(move |value| (key, value.to_owned()))
    });
    // Enough of them have a selector.
    let rule = (
        prop::sample::select(&["*", "^a$", ""][..]),
        prop::collection::vec(field, 0..8),
    );
    let rule = rule.prop_map(|(selector, mut fields)| {
        if !selector.is_empty() && !fields.iter().any(|(key, _)| *key == "namespace_selectors") {
            fields.push(("namespace_selectors", format!("[\"{selector}\"]")));
        }
        object(&fields)
    });
    let rule = prop_oneof![9 => rule, 1 => Just("null".to_owned())];
    let list = prop::sample::select(&["ddtraces", "logfwds", "profilers"][..]);
    let lists = prop::collection::vec((list, prop::collection::vec(rule, 0..4)), 0..4);
    (lists, any::<bool>()).prop_map(|(lists, has_v1)| {
        let lists: Vec<(&str, String)> = lists
            .into_iter()
            .map(|(list, rules)| (list, format!("[{}]", rules.join(","))))
            .collect();
        let loggings = lists
            .iter()
            .filter(|(list, _)| *list == "logfwds")
            .map(|(_, rules)| rules);
        let loggings: String = loggings
            .map(|rules| {
                format!(
                    r#""admission_mutate":{{"loggings":{}}},"#,
                    rules.replace("log_configs", "config")
                )
            })
            .collect();
        let v1 = if has_v1 {
            r#""admission_inject":{"ddtrace":{"images":{"java_agent_image":"v:1"}}},"#
        } else {
            ""
        };
        format!(
            r#"{{{v1}{loggings}"admission_inject_v2":{}}}"#,
            object(&lists)
        )
    })
}

fn object(entries: &[(&str, String)]) -> String {
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
        prop_assert_eq!(meaning(load(&config.to_json()).0), meaning(config));
    }

    #[test]
    fn rules_of_lists_are_written_and_loaded_again(document in lists()) {
        let (config, _) = load(&document);
        let (again, diagnostics) = load(&config.to_json());
        prop_assert_eq!(meaning(again), meaning(config));
        // What couldn't be used isn't written; what a rule lacks still is lacking.
        for diagnostic in diagnostics.iter().filter(|found| found.severity == Severity::Error) {
            prop_assert!(diagnostic.path.ends_with(".image"), "{diagnostic}");
        }
    }

    #[test]
    fn a_list_never_fits_every_pod_by_mistake(document in lists()) {
        let (config, _) = load(&document);
        for rule in config.rules.iter().filter(|rule| rule.origin.form == rule::Form::V2) {
            prop_assert!(!rule.when.namespaces.is_empty() || !rule.when.labels.is_empty());
        }
    }

    #[test]
    fn a_policy_is_written_and_loaded_again(document in policies()) {
        let (config, _) = load(&document);
        prop_assert_eq!(meaning(load(&config.to_json()).0), meaning(config));
    }

    #[test]
    fn a_policy_that_is_not_understood_forbids_something(document in policies()) {
        let (config, diagnostics) = load(&document);
        let policy = config.policy;
        for diagnostic in diagnostics.iter().filter(|found| found.severity == Severity::Error) {
            // The only two that are about nothing of ours, or about what is forbidden anyway.
            let harmless = diagnostic.message == "unknown feature; ignored"
                || diagnostic.path.ends_with("drop_digest");
            let list_entry = diagnostic.path.ends_with(']');
            let less = Feature::ALL.map(|feature| policy.of(feature)).iter().any(|feature| {
                feature.namespaces.is_none() || feature.versions.is_none()
            });
            prop_assert!(less || harmless || list_entry, "{diagnostic}");
        }
    }

    #[test]
    fn any_text_is_answered(text in r#"[{}\[\]",:a0 ]{0,24}"#) {
        let _ = Config::load(&text, &EnvOverrides::default());
    }
}
