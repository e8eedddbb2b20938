//! A namespace that is too new to be known: what some namespaces forbid is not added there.

use std::sync::Arc;

use datakit_operator_core::config::{Config, DEFAULT_CONFIG, EnvOverrides};
use datakit_operator_core::inject::{Engine, Feature, Reason, ReviewContext, inject_pod};
use datakit_operator_core::namespace::{Namespace, Namespaces};
use serde_json::json;

fn check(namespaces: Namespaces, want: [&str; 2]) {
    let (config, _) = Config::load(DEFAULT_CONFIG, &EnvOverrides::default()).unwrap();
    let context = ReviewContext {
        namespaces: Arc::new(namespaces),
        ..ReviewContext::default()
    };
    let pod = json!({
        "metadata": {"annotations": {
            "admission.datakit/java-lib.version": "",
            "admission.datakit/java-profiler.version": "",
        }},
        "spec": {"containers": [{"name": "app", "image": "i"}]},
    });
    let pod = pod.to_string();
    let injection = inject_pod(&pod, Some("shop"), &Engine::new(&config), &context).unwrap();
    let said = |feature: Feature| {
        let decision = &injection.decisions[feature as usize];
        let reason = decision.reason.as_ref().map(Reason::as_str);
        reason.unwrap_or(decision.outcome.as_str())
    };
    assert_eq!([said(Feature::Ddtrace), said(Feature::Profiler)], want);
}

#[test]
fn profilers_wait_until_the_level_is_known() {
    let others = || Namespaces::from_iter([("other", Namespace::default())]);
    check(others().all(), ["injected", "new_namespace"]);
    // Without permission to list namespaces nothing can be concluded.
    check(others(), ["injected", "injected"]);
    let known = Namespaces::from_iter([("shop", Namespace::default())]);
    check(known.all(), ["injected", "injected"]);
}
