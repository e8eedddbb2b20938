//! Laws about configurations: any text is loaded or refused with a reason, and whatever is loaded
//! keeps the laws about pods.

use datakit_operator_core::config::{Config, EnvOverrides};
use datakit_operator_core::inject::Engine;
use serde_json::json;

use crate::{Verdict, engines, pod};

/// A configuration of these bytes is refused, or keeps the laws.
///
/// # Errors
///
/// The law that it breaks.
pub fn check(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok(());
    };
    let (config, diagnostics) = match Config::load(text, &EnvOverrides::default()) {
        Ok(loaded) => loaded,
        Err(error) if error.to_string().is_empty() => {
            return Err("refused without a reason".to_owned());
        }
        Err(_) => return Ok(()),
    };
    for diagnostic in &diagnostics {
        if diagnostic.to_string().trim().is_empty() {
            return Err(format!("a finding without words: {diagnostic:?}"));
        }
    }
    // What the configuration gives one feature would look like another's.
    if pod::holds_a_trace(text) {
        return Ok(());
    }
    let engine = Engine::new(&config).identified(engines::identity());
    for annotations in [
        json!({"admission.datakit/java-lib.version": "", "admission.datakit/java-profiler.version": ""}),
        json!({
            "admission.datakit/python-lib.version": "1.2",
            "admission.datakit/logfwd.instances": r#"[{"datakit_addr":"a:1","loggings":[{"logfiles":["/logs/*"]}]}]"#,
        }),
        json!({}),
    ] {
        let pod = json!({
            "metadata": {"labels": {"app": "web"}, "annotations": annotations},
            "spec": {"containers": [
                {"name": "app", "image": "app", "env": [{"name": "DD_TAGS", "value": "a:b"}]},
                {"name": "side", "image": "side"},
            ]},
        });
        for context in &pod::contexts()[1..] {
            pod::laws(&pod.to_string(), &engine, context)?;
        }
    }
    Ok(())
}
