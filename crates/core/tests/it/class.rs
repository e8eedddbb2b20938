//! A law about resources: an injected pod is in the class that it was in, and ddtrace alone makes
//! it count for nothing more. The judge works as the API server does and shares no code with what
//! it judges.

use datakit_operator_core::config::{Config, DEFAULT_CONFIG, EnvOverrides};
use datakit_operator_core::inject::{Engine, ReviewContext, inject_pod};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

const RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// An amount in thousandths. The pods here have these forms only.
fn amount(text: &str) -> i64 {
    for (unit, factor) in [("Gi", 1000 << 30), ("Mi", 1000 << 20), ("m", 1)] {
        if let Some(number) = text.strip_suffix(unit) {
            return number.parse::<i64>().unwrap() * factor;
        }
    }
    text.parse::<i64>().unwrap() * 1000
}

/// What a container has of a resource, a request that isn't given being the limit.
fn get(container: &Value, side: &str, resource: &str) -> Option<i64> {
    let given = |side: &str| container["resources"][side][resource].as_str().map(amount);
    match side {
        "requests" => given("requests").or_else(|| given("limits")),
        side => given(side),
    }
}

fn list<'v>(pod: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    pod["spec"][key].as_array().into_iter().flatten()
}

/// See `ComputePodQOS` in
/// <https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/v1/helper/qos/qos.go>.
fn class(pod: &Value) -> &'static str {
    let all = || list(pod, "containers").chain(list(pod, "initContainers"));
    let positive = |side: &'static str, resource: &'static str| {
        all().filter_map(move |container| {
            get(container, side, resource).filter(|amount| *amount > 0)
        })
    };
    let sum = |side, resource| positive(side, resource).sum::<i64>();
    let found =
        ["cpu", "memory"].map(|resource| [sum("requests", resource), sum("limits", resource)]);
    if found == [[0, 0], [0, 0]] {
        return "BestEffort";
    }
    let all_limited = all().all(|container| {
        ["cpu", "memory"]
            .into_iter()
            .all(|resource| get(container, "limits", resource).is_some_and(|amount| amount > 0))
    });
    if all_limited && found.iter().all(|[requests, limits]| requests == limits) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// What the pod counts for: its containers together, or an init container beside the native
/// sidecars before it.
fn counts(pod: &Value, side: &str, resource: &str) -> i64 {
    let mut natives = 0;
    let mut most = 0;
    for container in list(pod, "initContainers") {
        let amount = get(container, side, resource).unwrap_or_default();
        most = most.max(natives + amount);
        if container["restartPolicy"] == "Always" {
            natives += amount;
        }
    }
    let containers = list(pod, "containers").filter_map(|container| get(container, side, resource));
    most.max(natives + containers.sum::<i64>())
}

fn resources() -> impl Strategy<Value = Value> {
    let amounts = (
        proptest::option::of(select(vec!["1m", "50m", "100m", "1", "4"])),
        proptest::option::of(select(vec!["17Mi", "64Mi", "1Gi"])),
        proptest::option::weighted(0.3, select(vec!["10Mi", "1Gi"])),
    );
    let form = select(vec!["none", "requests", "limits", "both", "equal"]);
    (amounts, form).prop_map(|((cpu, memory, storage), form)| {
        let all = [cpu, memory, storage];
        let named = RESOURCES.iter().zip(all);
        let list: serde_json::Map<String, Value> = named
            .filter_map(|(name, amount)| Some(((*name).to_owned(), json!(amount?))))
            .collect();
        match form {
            "none" => Value::Null,
            "requests" => json!({"requests": list}),
            "limits" => json!({"limits": list}),
            "both" => json!({"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": list}),
            _ => json!({"requests": list, "limits": list}),
        }
    })
}

fn pod() -> impl Strategy<Value = Value> {
    let lists = (
        proptest::collection::vec(resources(), 1..4),
        proptest::collection::vec((resources(), any::<bool>()), 0..3),
    );
    (lists, select(vec!["Always", "Never"])).prop_map(|((containers, init), policy)| {
        let container = |(at, resources): (usize, Value)| json!({"name": format!("c{at}"), "image": "i", "resources": resources});
        let init: Vec<Value> = (init.into_iter().enumerate())
            .map(|(at, (resources, native))| {
                let mut init = json!({"name": format!("i{at}"), "image": "i", "resources": resources});
                if native {
                    init["restartPolicy"] = json!("Always");
                }
                init
            })
            .collect();
        let containers: Vec<Value> = containers.into_iter().enumerate().map(container).collect();
        json!({"metadata": {"annotations": {}}, "spec": {"restartPolicy": policy, "initContainers": init, "containers": containers}})
    })
}

fn injected(pod: &Value, asked: &[(&str, &str)]) -> Value {
    let mut pod = pod.clone();
    for (key, value) in asked {
        pod["metadata"]["annotations"][format!("admission.datakit/{key}")] = json!(value);
    }
    let (config, _) = Config::load(DEFAULT_CONFIG, &EnvOverrides::default()).unwrap();
    let context = ReviewContext {
        kubernetes_version: Some("1.34".parse().unwrap()),
        ..ReviewContext::default()
    };
    let text = pod.to_string();
    let injection = inject_pod(&text, Some("default"), &Engine::new(&config), &context).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&injection.patch.to_json()).unwrap();
    json_patch::patch(&mut pod, &patch).unwrap();
    pod
}

const LOGS: (&str, &str) = (
    "logfwd.instances",
    r#"[{"datakit_addr":"d:9533","loggings":[{"logfiles":["/var/log/app/*.log"]}]}]"#,
);

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_injected_pod_keeps_its_class(pod in pod()) {
        let after = injected(&pod, &[("java-lib.version", ""), LOGS, ("java-profiler.version", "")]);
        prop_assert_eq!(class(&after), class(&pod), "{:#}", after);
    }

    #[test]
    fn ddtrace_alone_counts_for_nothing(pod in pod()) {
        let after = injected(&pod, &[("java-lib.version", "")]);
        for resource in RESOURCES {
            for side in ["requests", "limits"] {
                prop_assert_eq!(counts(&after, side, resource), counts(&pod, side, resource), "{} {} {:#}", side, resource, after);
            }
        }
    }
}

#[test]
fn every_class_is_injected() {
    for (resources, expected) in [
        (json!({}), "BestEffort"),
        (json!({"requests": {"cpu": "1"}}), "Burstable"),
        (
            json!({"limits": {"cpu": "1", "memory": "1Gi"}}),
            "Guaranteed",
        ),
    ] {
        let pod = json!({"metadata": {"annotations": {}}, "spec": {"containers": [{"name": "a", "image": "i", "resources": resources}]}});
        let after = injected(
            &pod,
            &[
                ("java-lib.version", ""),
                LOGS,
                ("java-profiler.version", ""),
            ],
        );
        assert_eq!(class(&after), expected);
        assert_eq!(list(&after, "containers").count(), 3);
        assert_eq!(list(&after, "initContainers").count(), 1);
    }
}
