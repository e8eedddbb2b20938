//! What holds for every document.

use proptest::prelude::*;

use super::*;

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
        prop_assert_eq!(load(&config.to_json()).0, config);
    }

    #[test]
    fn any_text_is_answered(text in r#"[{}\[\]",:a0 ]{0,24}"#) {
        let _ = Config::load(&text, &EnvOverrides::default());
    }
}
