//! The engines that the laws are about: the built-in configuration, with rules for every feature.

use std::sync::LazyLock;

use datakit_operator_core::config::{Config, DEFAULT_CONFIG, EnvOverrides, Fingerprint};
use datakit_operator_core::inject::{Engine, EngineIdentity};
use serde_json::Value;

/// Rules for the features that the built-in configuration has none for. Labels and annotations ask
/// for them.
const MORE_RULES: &str = r#"{
    "otels": [
        {"namespace_selectors": ["*"], "check_annotation": true, "language": "java", "image": "java:1",
         "envs": {"POD_NAME": "{fieldRef:metadata.name}", "OTEL_RESOURCE_ATTRIBUTES": "pod=$(POD_NAME)"}},
        {"namespace_selectors": ["*"], "check_annotation": true, "language": "nodejs", "image": "nodejs:1"},
        {"namespace_selectors": ["*"], "check_annotation": true, "language": "python", "image": "python:1"}
    ],
    "flameshots": [
        {"label_selectors": ["flameshot"], "image": "flameshot:1", "processes": "[{}]",
         "enable_prometheus_annotations": true,
         "envs": {"FLAMESHOT_PROFILING_PATH": "/flameshot-data", "FLAMESHOT_HTTP_LOCAL_PORT": "8089"}}
    ]
}"#;

/// The engine of the built-in configuration, with rules for every feature.
///
/// # Panics
///
/// If the built-in configuration can't be read.
#[must_use]
pub fn default_engine() -> &'static Engine {
    static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(&default_config()));
    &ENGINE
}

/// The same, which tells pods what was decided.
///
/// # Panics
///
/// If the built-in configuration can't be read.
#[must_use]
pub fn telling_engine() -> &'static Engine {
    static ENGINE: LazyLock<Engine> =
        LazyLock::new(|| Engine::new(&default_config()).identified(identity()));
    &ENGINE
}

/// Who decides.
#[must_use]
pub fn identity() -> EngineIdentity {
    EngineIdentity {
        version: "1.2.3",
        config: Fingerprint::of_sha256([0x5a; 32]),
    }
}

/// The built-in configuration, with rules for every feature.
///
/// # Panics
///
/// If it can't be read.
#[must_use]
#[allow(clippy::expect_used, reason = "it is part of the program")]
pub fn default_config() -> Config {
    let mut document: Value = serde_json::from_str(DEFAULT_CONFIG).expect("JSON");
    document["admission_inject_v2"] = serde_json::from_str(MORE_RULES).expect("JSON");
    let loaded = Config::load(&document.to_string(), &EnvOverrides::default());
    loaded.expect("the built-in configuration").0
}
