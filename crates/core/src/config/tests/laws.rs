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
