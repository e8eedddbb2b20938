//! What becomes of an added container in a namespace with LimitRanges: what it gets and the notes,
//! or the reason.

use std::sync::Arc;

use datakit_operator_core::config::{Config, EnvOverrides};
use datakit_operator_core::inject::{Engine, Outcome, ReviewContext, inject_pod};
use datakit_operator_core::namespace::{LimitRange, Namespace, Namespaces};
use expect_test::{Expect, expect};
use serde_json::{Value, json};

/// A pod that asks for one feature.
struct Case {
    /// `resources` of the feature in the configuration.
    configured: Value,
    /// The pod's spec.
    spec: Value,
    /// Items of a LimitRange each.
    ranges: Vec<Value>,
}

impl Case {
    /// The built-in resources (100m and 64Mi, at most 500m and 512Mi) and a container with 1 CPU
    /// and 1Gi.
    fn of(ranges: Vec<Value>) -> Self {
        Self {
            configured: json!(null),
            spec: json!({"containers": [
                {"name": "app", "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}},
            ]}),
            ranges,
        }
    }

    fn outcome(&self, annotation: &str, value: &str) -> String {
        let config = json!({"admission_inject": {
            "ddtrace": {"images": {"java_agent_image": "lib:1"}, "resources": self.configured},
            "logfwd": {"images": {"logfwd_image": "fwd:1"}, "resources": self.configured},
        }});
        let (config, _) = Config::load(&config.to_string(), &EnvOverrides::default()).unwrap();
        let named = self.ranges.iter().enumerate();
        let limit_ranges = named.map(|(at, item)| {
            let name = ["bounds", "more"][at];
            LimitRange::from_spec(name, &json!({"limits": [item]}))
        });
        let namespace = Namespace {
            limit_ranges: limit_ranges.collect(),
            ..Namespace::default()
        };
        let context = ReviewContext {
            kubernetes_version: "1.34".parse().ok(),
            namespaces: Arc::new(Namespaces::all_alike(namespace)),
        };
        let pod = json!({"metadata": {"annotations": {annotation: value}}, "spec": self.spec})
            .to_string();
        let engine = Engine::new(&config);
        let injection = inject_pod(&pod, Some("shop"), &engine, &context).unwrap();
        let asked = injection
            .decisions
            .iter()
            .find(|decision| decision.outcome != Outcome::NotRequested);
        let decision = asked.unwrap();
        if let Some(reason) = &decision.reason {
            assert!(injection.patch.is_empty());
            return format!("{}: {reason}\n", reason.as_str());
        }
        let patch: Value = serde_json::from_slice(&injection.patch.to_json()).unwrap();
        let added = patch
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|op| match &op["value"] {
                Value::Array(items) => items.clone(),
                item => vec![item.clone()],
            });
        let container = added
            .into_iter()
            .find(|item| item.get("image").is_some())
            .unwrap();
        let notes: String = decision
            .notes
            .iter()
            .map(|note| format!("{note}\n"))
            .collect();
        format!("{}\n{notes}", container["resources"])
    }

    fn check(&self, expected: Expect) {
        let logs = r#"[{"datakit_addr": "d:9533", "loggings": [{"logfiles": ["/logs/*"]}]}]"#;
        expected.assert_eq(&self.outcome("admission.datakit/logfwd.instances", logs));
    }

    fn check_init(&self, expected: Expect) {
        expected.assert_eq(&self.outcome("admission.datakit/java-lib.version", ""));
    }
}

fn container(bounds: Value) -> Value {
    typed("Container", bounds)
}

fn pod(bounds: Value) -> Value {
    typed("Pod", bounds)
}

fn typed(kind: &str, mut bounds: Value) -> Value {
    bounds["type"] = kind.into();
    bounds
}

#[test]
fn what_fits_stays_as_it_was() {
    let check = |ranges| {
        Case::of(ranges).check(expect![[r#"
            {"requests":{"cpu":"100m","memory":"64Mi"},"limits":{"cpu":"500m","memory":"512Mi"}}
        "#]]);
    };
    check(vec![]);
    check(vec![container(
        json!({"min": {"cpu": "10m"}, "max": {"cpu": 2, "memory": "2Gi"}, "maxLimitRequestRatio": {"cpu": 5, "memory": 8}}),
    )]);
    check(vec![pod(
        json!({"max": {"cpu": 2, "memory": "2Gi"}, "min": {"memory": "1Mi"}}),
    )]);
    // The API server fills these in.
    check(vec![container(
        json!({"max": {"ephemeral-storage": "1Gi"}}),
    )]);
    check(vec![typed(
        "PersistentVolumeClaim",
        json!({"max": {"storage": "1Gi"}}),
    )]);
}

#[test]
fn a_container_is_brought_within_its_bounds() {
    let check = |bounds, expected: Expect| Case::of(vec![container(bounds)]).check(expected);
    check(
        json!({"max": {"memory": "256Mi", "cpu": "50m"}}),
        expect![[r#"
            {"requests":{"cpu":"50m","memory":"64Mi"},"limits":{"cpu":"50m","memory":"256Mi"}}
            LimitRange `bounds` gives container `datakit-logfwd` requests.cpu 50m instead of 100m, limits.cpu 50m instead of 500m, limits.memory 256Mi instead of 512Mi
        "#]],
    );
    check(
        json!({"min": {"memory": "128Mi", "cpu": "1"}}),
        expect![[r#"
            {"requests":{"cpu":"1","memory":"128Mi"},"limits":{"cpu":"1","memory":"512Mi"}}
            LimitRange `bounds` gives container `datakit-logfwd` requests.cpu 1 instead of 100m, limits.cpu 1 instead of 500m, requests.memory 128Mi instead of 64Mi
        "#]],
    );
    check(
        json!({"maxLimitRequestRatio": {"memory": "3", "cpu": "1"}}),
        expect![[r#"
            {"requests":{"cpu":"500m","memory":"171Mi"},"limits":{"cpu":"500m","memory":"512Mi"}}
            LimitRange `bounds` gives container `datakit-logfwd` requests.cpu 500m instead of 100m, requests.memory 171Mi instead of 64Mi
        "#]],
    );
    check(
        json!({"min": {"memory": "96Mi"}, "max": {"memory": "128Mi"}, "maxLimitRequestRatio": {"memory": "1"}}),
        expect![[r#"
            {"requests":{"cpu":"100m","memory":"128Mi"},"limits":{"cpu":"500m","memory":"128Mi"}}
            LimitRange `bounds` gives container `datakit-logfwd` requests.memory 128Mi instead of 64Mi, limits.memory 128Mi instead of 512Mi
        "#]],
    );
    check(
        json!({"max": {"memory": "32Mi"}}),
        expect![[r#"
        limit_range: LimitRange `bounds` leaves no room: a container may have limits.memory of 32Mi at most and `datakit-logfwd` needs 64Mi
    "#]],
    );
    check(
        json!({"maxLimitRequestRatio": {"example.com/gpu": "1"}}),
        expect![[r#"
            limit_range: LimitRange `bounds` leaves no room: a container's limit of example.com/gpu may be 1 times its request, which `datakit-logfwd` can't keep
        "#]],
    );
}

#[test]
fn of_several_limit_ranges_each_counts() {
    let check = |one, other, expected: Expect| {
        Case::of(vec![container(one), container(other)]).check(expected);
    };
    check(
        json!({"max": {"memory": "256Mi"}}),
        json!({"max": {"memory": "128Mi"}}),
        expect![[r#"
            {"requests":{"cpu":"100m","memory":"64Mi"},"limits":{"cpu":"500m","memory":"128Mi"}}
            LimitRange `bounds`, `more` gives container `datakit-logfwd` limits.memory 128Mi instead of 512Mi
        "#]],
    );
    check(
        json!({"max": {"memory": "256Mi"}}),
        json!({"min": {"memory": "1Gi"}}),
        expect![[r#"
            limit_range: LimitRange `bounds` leaves no room: a container may have 256Mi of memory at most, and `datakit-logfwd` would need more
        "#]],
    );
    // Which default comes first isn't determined.
    check(
        json!({"default": {"ephemeral-storage": "1Gi"}}),
        json!({"default": {"ephemeral-storage": "2Gi"}}),
        expect![[r#"
            {"requests":{"cpu":"100m","ephemeral-storage":"1Gi","memory":"64Mi"},"limits":{"cpu":"500m","ephemeral-storage":"1Gi","memory":"512Mi"}}
        "#]],
    );
}

#[test]
fn what_is_configured_counts() {
    let check = |configured, bounds, expected: Expect| {
        Case {
            configured,
            ..Case::of(vec![container(bounds)])
        }
        .check(expected);
    };
    // A default limit below the request would make the container invalid.
    check(
        json!({"requests": {"cpu": "2"}}),
        json!({"default": {"cpu": "1"}}),
        expect![[r#"
            {"requests":{"cpu":"2"},"limits":{"cpu":"2"}}
            LimitRange `bounds` gives container `datakit-logfwd` limits.cpu 2 instead of 1
        "#]],
    );
    check(
        json!({"requests": {"cpu": "2"}}),
        json!({"max": {"cpu": "1"}}),
        expect![[r#"
            {"requests":{"cpu":"1"},"limits":{"cpu":"1"}}
            LimitRange `bounds` gives container `datakit-logfwd` requests.cpu 1 instead of 2
        "#]],
    );
    // Little, but that is how it was meant.
    check(
        json!({"limits": {"cpu": "5m"}}),
        json!({"max": {"memory": "1Gi"}}),
        expect![[r#"
            {"limits":{"cpu":"5m"}}
        "#]],
    );
    // Nothing is said of what it needs at least.
    check(
        json!({"limits": {"memory": "1Gi"}}),
        json!({"max": {"memory": "100Mi"}}),
        expect![[r#"
            {"requests":{"memory":"100Mi"},"limits":{"memory":"100Mi"}}
            LimitRange `bounds` gives container `datakit-logfwd` requests.memory 100Mi instead of 1Gi, limits.memory 100Mi instead of 1Gi
        "#]],
    );
}

#[test]
fn a_pod_is_kept_within_its_bounds() {
    let check = |bounds, expected: Expect| Case::of(vec![pod(bounds)]).check(expected);
    check(
        json!({"max": {"memory": "1200Mi", "cpu": "1200m"}}),
        expect![[r#"
            {"requests":{"cpu":"100m","memory":"64Mi"},"limits":{"cpu":"200m","memory":"176Mi"}}
            LimitRange `bounds` gives container `datakit-logfwd` limits.cpu 200m instead of 500m, limits.memory 176Mi instead of 512Mi
        "#]],
    );
    check(
        json!({"max": {"memory": "1Gi"}}),
        expect![[r#"
        limit_range: LimitRange `bounds` leaves no room: a pod may have limits.memory of 1Gi at most, the other containers have 1Gi and `datakit-logfwd` needs 64Mi
    "#]],
    );
    check(
        json!({"max": {"cpu": "1005m"}}),
        expect![[r#"
        limit_range: LimitRange `bounds` leaves no room: a pod may have limits.cpu of 1005m at most, the other containers have 1 and `datakit-logfwd` needs 10m
    "#]],
    );
    check(
        json!({"maxLimitRequestRatio": {"memory": "2"}}),
        expect![[r#"
            {"requests":{"cpu":"100m","memory":"256Mi"},"limits":{"cpu":"500m","memory":"512Mi"}}
            LimitRange `bounds` gives container `datakit-logfwd` requests.memory 256Mi instead of 64Mi
        "#]],
    );
    let alone = Case {
        spec: json!({"containers": [{"name": "app", "resources": {"requests": {"cpu": "1"}}}]}),
        ..Case::of(vec![pod(json!({"min": {"cpu": "1"}}))])
    };
    alone.check(expect![[r#"
        {"requests":{"cpu":"100m","memory":"64Mi"},"limits":{"cpu":"1","memory":"512Mi"}}
        LimitRange `bounds` gives container `datakit-logfwd` limits.cpu 1 instead of 500m
    "#]]);
}

#[test]
fn an_init_container_runs_before_the_others() {
    let check = |bounds, expected: Expect| Case::of(vec![pod(bounds)]).check_init(expected);
    check(
        json!({"max": {"memory": "1Gi"}}),
        expect![[r#"
        {"requests":{"cpu":"100m","memory":"64Mi"},"limits":{"cpu":"500m","memory":"512Mi"}}
    "#]],
    );
    check(
        json!({"max": {"memory": "256Mi"}}),
        expect![[r#"
        limit_range: LimitRange `bounds` leaves no room: a pod may have limits.memory of 256Mi at most and this one has 1Gi
    "#]],
    );
    let beside_native = Case {
        spec: json!({"initContainers": [{"name": "mesh", "restartPolicy": "Always", "resources": {"limits": {"memory": "700Mi"}}}],
                     "containers": [{"name": "app", "resources": {"limits": {"memory": "100Mi"}}}]}),
        ..Case::of(vec![pod(json!({"max": {"memory": "1Gi"}}))])
    };
    beside_native.check_init(expect![[r#"
        {"requests":{"memory":"64Mi"},"limits":{"memory":"100Mi"}}
    "#]]);
}

#[test]
fn a_native_sidecar_runs_beside_all() {
    let case = Case {
        spec: json!({"restartPolicy": "Never",
                     "initContainers": [{"name": "init", "resources": {"limits": {"memory": "900Mi"}}}],
                     "containers": [{"name": "app", "resources": {"limits": {"memory": "100Mi"}}}]}),
        ..Case::of(vec![pod(json!({"max": {"memory": "1Gi"}}))])
    };
    case.check(expect![[r#"
        {"requests":{"cpu":"100m","memory":"64Mi"},"limits":{"cpu":"500m","memory":"124Mi"}}
        LimitRange `bounds` gives container `datakit-logfwd` limits.memory 124Mi instead of 512Mi
    "#]]);
}

#[test]
fn a_pod_with_a_budget_of_its_own() {
    let check = |budget, bounds, expected: Expect| {
        let mut case = Case::of(vec![bounds]);
        case.spec["resources"] = budget;
        case.check(expected);
    };
    let budget =
        json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}});
    check(
        budget.clone(),
        pod(json!({"max": {"memory": "1Gi"}})),
        expect![[r#"
            null
        "#]],
    );
    // The default fits.
    check(
        budget.clone(),
        container(json!({"default": {"cpu": "500m"}})),
        expect![[r#"
            null
        "#]],
    );
    check(
        budget.clone(),
        container(json!({"default": {"cpu": "2"}, "defaultRequest": {"cpu": "600m"}})),
        expect![[r#"
            {"requests":{"cpu":"500m"},"limits":{"cpu":"1"}}
            LimitRange `bounds` gives container `datakit-logfwd` requests.cpu 500m instead of 600m, limits.cpu 1 instead of 2
        "#]],
    );
    check(
        budget,
        container(json!({"min": {"cpu": "600m"}})),
        expect![[r#"
            limit_range: LimitRange `bounds` leaves no room: a container must have 600m of cpu, which the pod's spec.resources don't leave for `datakit-logfwd`
        "#]],
    );
}
