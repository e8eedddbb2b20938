//! Laws about the rules of namespaces: what the API server admits before injection it admits after
//! it. The judges here read the pod's JSON anew and share no code with what they judge.

use std::collections::BTreeMap;
use std::sync::Arc;

use datakit_operator_core::config::{Config, DEFAULT_CONFIG, EnvOverrides};
use datakit_operator_core::inject::{Engine, Outcome, ReviewContext, inject_pod};
use datakit_operator_core::namespace::{LimitRange, Namespace, Namespaces, PodSecurity};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::pods;

/// A configuration whose features all have these settings.
fn engine(settings: &[(&str, Value)]) -> Engine {
    let mut config: Value = serde_json::from_str(DEFAULT_CONFIG).unwrap();
    for feature in ["ddtrace", "logfwd", "profiler"] {
        for (key, value) in settings {
            if !value.is_null() {
                config["admission_inject"][feature][*key] = value.clone();
            }
        }
    }
    let (config, diagnostics) =
        Config::load(&config.to_string(), &EnvOverrides::default()).unwrap();
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    Engine::new(&config)
}

fn context(version: Option<&str>, namespace: Namespace) -> ReviewContext {
    ReviewContext {
        kubernetes_version: version.map(|version| version.parse().unwrap()),
        namespaces: Arc::new([("default", namespace)].into_iter().collect::<Namespaces>()),
    }
}

/// The pod after injection, and whether anything was added.
fn injected(pod: &Value, engine: &Engine, context: &ReviewContext) -> (Value, bool) {
    let text = pod.to_string();
    let injection = inject_pod(&text, Some("default"), engine, context).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&injection.patch.to_json()).unwrap();
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, &patch).unwrap();
    let outcomes = injection.decisions.iter().map(|decision| decision.outcome);
    let added = outcomes
        .into_iter()
        .any(|outcome| outcome == Outcome::Injected);
    (pod, added)
}

fn versions() -> impl Strategy<Value = Option<&'static str>> {
    select(vec![None, Some("1.34")])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, max_global_rejects: 1_000_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pod_keeps_its_level(
        pod in pods::pod(),
        level in select(vec![PodSecurity::Baseline, PodSecurity::Restricted]),
        hardening in hardenings(),
        settings in configured_contexts(),
        version in versions(),
    ) {
        let pod = hardened(pod, &hardening);
        prop_assume!(forbidden(&pod, level).is_none());
        let namespace = Namespace { pod_security: level, ..Namespace::default() };
        let engine = engine(&[("security_context", settings)]);
        let context = context(version, namespace);
        let (after, _) = injected(&pod, &engine, &context);
        prop_assert_eq!(forbidden(&after, level), None, "{:#}", after);
        let (again, _) = injected(&after, &engine, &context);
        prop_assert_eq!(again, after);
    }

    #[test]
    fn a_pod_keeps_within_limit_ranges(
        pod in pods::pod(),
        amounts in proptest::collection::vec(resources(), 6),
        budget in proptest::option::weighted(0.15, resources()),
        ranges in proptest::collection::vec(limit_range(), 1..3),
        settings in configured_resources(),
        version in versions(),
    ) {
        let pod = with_resources(pod, &amounts, budget);
        let pod = defaulted(pod, &ranges);
        prop_assume!(exceeded(&pod, &ranges).is_none());
        let named = ranges.iter().enumerate();
        let limit_ranges = named.map(|(at, range)| LimitRange::from_spec(format!("range-{at}"), range)).collect();
        let namespace = Namespace { limit_ranges, ..Namespace::default() };
        let engine = engine(&[("resources", settings)]);
        let context = context(version, namespace);
        let (after, _) = injected(&pod, &engine, &context);
        // In whichever order the API server comes to the LimitRanges.
        let mut reversed = ranges.clone();
        reversed.reverse();
        for order in [&ranges, &reversed] {
            let seen = defaulted(after.clone(), order);
            prop_assert_eq!(exceeded(&seen, order), None, "{:#}", seen);
            let (again, _) = injected(&seen, &engine, &context);
            prop_assert_eq!(&again, &seen);
        }
    }
}

/// The laws would hold too if nothing were ever added.
#[test]
fn most_pods_are_injected_nevertheless() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut added = [0, 0];
    let engine = engine(&[]);
    for _ in 0..400 {
        let strategy = (
            pods::pod(),
            proptest::collection::vec(resources(), 6),
            limit_range(),
        );
        let (pod, amounts, range) = strategy.new_tree(&mut runner).unwrap().current();
        let annotated = |mut pod: Value| {
            pod["metadata"]["annotations"] = json!({"admission.datakit/java-lib.version": ""});
            pod
        };
        let restricted = annotated(hardened(pod.clone(), &(true, true, true)));
        let namespace = Namespace {
            pod_security: PodSecurity::Restricted,
            ..Namespace::default()
        };
        if forbidden(&restricted, PodSecurity::Restricted).is_none() {
            added[0] += i32::from(injected(&restricted, &engine, &context(None, namespace)).1);
        }
        let pod = annotated(defaulted(
            with_resources(pod, &amounts, None),
            std::slice::from_ref(&range),
        ));
        let namespace = Namespace {
            limit_ranges: vec![LimitRange::from_spec("range", &range)],
            ..Namespace::default()
        };
        if exceeded(&pod, std::slice::from_ref(&range)).is_none() {
            added[1] += i32::from(injected(&pod, &engine, &context(None, namespace)).1);
        }
    }
    assert!(added.iter().all(|added| *added > 25), "{added:?}");
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let list = |key: &str| pod["spec"][key].as_array().into_iter().flatten();
    list("initContainers").chain(list("containers"))
}

fn for_each_container(pod: &mut Value, mut change: impl FnMut(&mut Value)) {
    for list in ["initContainers", "containers"] {
        let list = pod["spec"][list].as_array_mut();
        list.into_iter().flatten().for_each(&mut change);
    }
}

// Pod Security

/// Whether the pod is hardened, by its own fields rather than the containers', and without node's
/// files.
fn hardenings() -> impl Strategy<Value = (bool, bool, bool)> {
    (proptest::bool::weighted(0.8), any::<bool>(), Just(true))
}

fn hardened(mut pod: Value, (harden, by_pod, portable): &(bool, bool, bool)) -> Value {
    let spec = pod["spec"].as_object_mut().unwrap();
    spec.remove("hostPID");
    if *portable && let Some(volumes) = spec.get_mut("volumes").and_then(Value::as_array_mut) {
        for volume in volumes {
            if volume.get("emptyDir").is_none() {
                *volume = json!({"name": volume["name"], "configMap": {"name": "x"}});
            }
        }
    }
    let inherited = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    if *harden && *by_pod {
        spec.insert("securityContext".to_owned(), inherited.clone());
    }
    for_each_container(&mut pod, |container| {
        let context = &mut container["securityContext"];
        if *harden {
            *context =
                json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
        } else if context["privileged"] == true {
            *context = json!({});
        }
        if *harden && !*by_pod {
            for (key, value) in inherited.as_object().unwrap() {
                context[key] = value.clone();
            }
        }
    });
    pod
}

fn configured_contexts() -> impl Strategy<Value = Value> {
    select(vec![
        Value::Null,
        Value::Null,
        json!({"privileged": true}),
        json!({"capabilities": {"add": ["NET_RAW", "CHOWN"]}}),
        json!({"capabilities": {"add": ["CHOWN"], "drop": ["ALL"]}, "allowPrivilegeEscalation": false}),
        json!({"capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": false, "runAsUser": 0}),
        json!({"capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": false, "runAsUser": 9, "runAsNonRoot": true,
               "seccompProfile": {"type": "RuntimeDefault"}}),
        json!({"seccompProfile": {"type": "Unconfined"}}),
    ])
}

/// The rule of the level that the pod breaks (kubernetes.io, "Pod Security Standards"), as far as
/// pods of these tests can.
fn forbidden(pod: &Value, level: PodSecurity) -> Option<String> {
    let spec = &pod["spec"];
    let restricted = level == PodSecurity::Restricted;
    if ["hostPID", "hostIPC", "hostNetwork"]
        .iter()
        .any(|key| spec[key] == true)
    {
        return Some("host namespaces".to_owned());
    }
    let kinds = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        let known = kinds.iter().any(|kind| volume.get(kind).is_some());
        if volume.get("hostPath").is_some() || (restricted && !known) {
            return Some(format!("volume {volume}"));
        }
    }
    let shared = &spec["securityContext"];
    if restricted && (shared["runAsUser"] == 0 || shared["runAsNonRoot"] == false) {
        return Some("root by default".to_owned());
    }
    for container in containers(pod) {
        let context = &container["securityContext"];
        let inherited = |key: &str| match &context[key] {
            Value::Null => &shared[key],
            own => own,
        };
        let list = |key: &str| {
            context["capabilities"][key]
                .as_array()
                .cloned()
                .unwrap_or_default()
        };
        let default = "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT";
        let allowed = |name: &Value| {
            let name = name.as_str().unwrap();
            if restricted {
                name == "NET_BIND_SERVICE"
            } else {
                default.split(' ').any(|known| known == name)
            }
        };
        let seccomp = inherited("seccompProfile")["type"]
            .as_str()
            .unwrap_or("none");
        let rules = [
            ("privileged", context["privileged"] != true),
            ("capabilities", list("add").iter().all(allowed)),
            ("seccomp", seccomp != "Unconfined"),
            (
                "drop ALL",
                !restricted || list("drop").contains(&json!("ALL")),
            ),
            (
                "escalation",
                !restricted || context["allowPrivilegeEscalation"] == false,
            ),
            ("seccomp missing", !restricted || seccomp != "none"),
            (
                "non-root",
                !restricted || *inherited("runAsNonRoot") == true,
            ),
            ("root", !restricted || context["runAsUser"] != 0),
        ];
        if let Some((rule, _)) = rules.iter().find(|(_, kept)| !kept) {
            return Some(format!("{rule}: {}", container["name"]));
        }
    }
    None
}

// LimitRanges

const CPU: [&str; 6] = ["50m", "100m", "200m", "500m", "1", "2"];
const BYTES: [&str; 6] = ["16Mi", "64Mi", "128M", "256Mi", "512Mi", "1Gi"];
const RESOURCES: [(&str, [&str; 6]); 3] = [
    ("cpu", CPU),
    ("memory", BYTES),
    ("ephemeral-storage", BYTES),
];

/// `resources` with requests up to limits.
fn resources() -> impl Strategy<Value = Value> {
    let each =
        proptest::option::weighted(0.6, (0usize..6, 0usize..6, any::<bool>(), any::<bool>()));
    proptest::collection::vec(each, 3).prop_map(|amounts| {
        let mut resources = json!({});
        for ((name, scale), amount) in RESOURCES.iter().zip(amounts) {
            if let Some((one, other, request, limit)) = amount {
                if request {
                    resources["requests"][*name] = scale[one.min(other)].into();
                }
                if limit {
                    resources["limits"][*name] = scale[one.max(other)].into();
                }
            }
        }
        resources
    })
}

fn configured_resources() -> impl Strategy<Value = Value> {
    select(vec![
        Value::Null,
        Value::Null,
        json!({"requests": {"cpu": "300m", "memory": "100Mi"}}),
        json!({"limits": {"memory": "200M"}}),
        json!({"requests": {"cpu": "5m", "memory": "1Mi"}, "limits": {"cpu": "3", "memory": "3Gi"}}),
    ])
}

/// The spec of a LimitRange as the API server accepts it.
fn limit_range() -> impl Strategy<Value = Value> {
    (bounds(true), proptest::option::weighted(0.5, bounds(false))).prop_map(|(container, pod)| {
        let items: Vec<Value> = [Some(container), pod].into_iter().flatten().collect();
        json!({ "limits": items })
    })
}

fn bounds(container: bool) -> impl Strategy<Value = Value> {
    let each = proptest::option::weighted(
        0.5,
        (
            proptest::collection::vec(0usize..6, 4),
            proptest::collection::vec(proptest::bool::weighted(0.4), 5),
            select(vec!["1", "1.5", "2", "3.3", "10"]),
        ),
    );
    proptest::collection::vec(each, 3).prop_map(move |all| {
        let mut item = json!({"type": if container { "Container" } else { "Pod" }});
        for ((name, scale), chosen) in RESOURCES.iter().zip(all) {
            let Some((mut at, given, ratio)) = chosen else {
                continue;
            };
            at.sort_unstable();
            // A pod has more than a container.
            let amount = |at: usize| match container {
                true => scale[at].to_owned(),
                false => format!("{}", amount(scale[at]) * 3 / 1000 + 1),
            };
            for (key, at, given) in [
                ("min", at[0], given[0]),
                ("defaultRequest", at[1], given[1] && container),
                ("default", at[2], given[2] && container),
                ("max", at[3], given[3]),
            ] {
                if given {
                    item[key][*name] = amount(at).into();
                }
            }
            if given[4] {
                item["maxLimitRequestRatio"][*name] = ratio.into();
            }
        }
        item
    })
}

fn with_resources(mut pod: Value, amounts: &[Value], budget: Option<Value>) -> Value {
    let mut amounts = amounts.iter().cycle();
    for_each_container(&mut pod, |container| {
        container["resources"] = amounts.next().unwrap().clone();
    });
    let spec = pod["spec"].as_object_mut().unwrap();
    spec.remove("resources");
    if let Some(mut budget) = budget {
        for list in ["requests", "limits"] {
            if let Some(list) = budget[list].as_object_mut() {
                list.remove("ephemeral-storage");
            }
        }
        spec.insert("resources".to_owned(), budget);
    }
    pod
}

/// Thousandths of a quantity.
fn amount(text: &str) -> i64 {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction: i64 = format!("{fraction:0<3}").parse().unwrap();
    let amount = whole.parse::<i64>().unwrap() * 1000 + fraction;
    match &text[digits.len()..] {
        "m" => amount / 1000,
        "" => amount,
        "k" => amount * 1000,
        "M" => amount * 1_000_000,
        "G" => amount * 1_000_000_000,
        "Ki" => amount << 10,
        "Mi" => amount << 20,
        "Gi" => amount << 30,
        unit => panic!("{unit}"),
    }
}

/// The pod as the API server completes it: requests from limits, then the defaults of each
/// LimitRange.
fn defaulted(mut pod: Value, ranges: &[Value]) -> Value {
    for_each_container(&mut pod, |container| {
        let resources = &mut container["resources"];
        if resources.is_null() {
            *resources = json!({});
        }
        let limits = resources["limits"].clone();
        let mut fill = |list: &str, name: &str, amount: &Value| {
            if resources[list][name].is_null() && !amount.is_null() {
                resources[list][name] = amount.clone();
            }
        };
        for (name, _) in RESOURCES {
            fill("requests", name, &limits[name]);
        }
        for range in ranges {
            for item in range["limits"].as_array().unwrap() {
                if item["type"] == "Container" {
                    for (name, _) in RESOURCES {
                        let first = |keys: &[&str]| {
                            let found = keys.iter().map(|key| item[*key][name].clone());
                            found
                                .into_iter()
                                .find(|found| !found.is_null())
                                .unwrap_or_default()
                        };
                        fill("limits", name, &first(&["default", "max"]));
                        fill(
                            "requests",
                            name,
                            &first(&["defaultRequest", "default", "max", "min"]),
                        );
                    }
                }
            }
        }
    });
    pod
}

type Sums = BTreeMap<&'static str, i64>;

fn listed(container: &Value, list: &str) -> Sums {
    let amounts = RESOURCES.iter().filter_map(|(name, _)| {
        let text = container["resources"][list][*name].as_str()?;
        Some((*name, amount(text)))
    });
    amounts.collect()
}

fn add(into: &mut Sums, other: &Sums) {
    for (name, amount) in other {
        *into.entry(name).or_default() += amount;
    }
}

fn raise(into: &mut Sums, other: &Sums) {
    for (name, amount) in other {
        let entry = into.entry(name).or_insert(*amount);
        *entry = (*entry).max(*amount);
    }
}

/// What the pod's containers come to.
fn summed(pod: &Value, list: &str) -> Sums {
    let all = |key: &str| pod["spec"][key].as_array().cloned().unwrap_or_default();
    let mut sum = Sums::new();
    for container in all("containers") {
        add(&mut sum, &listed(&container, list));
    }
    let (mut natives, mut greatest) = (Sums::new(), Sums::new());
    for container in all("initContainers") {
        let own = listed(&container, list);
        let mut now = natives.clone();
        add(&mut now, &own);
        if container["restartPolicy"] == "Always" {
            add(&mut sum, &own);
            natives = now.clone();
        }
        raise(&mut greatest, &now);
    }
    raise(&mut sum, &greatest);
    sum
}

/// Why the API server refuses the amounts of a pod.
fn exceeded(pod: &Value, ranges: &[Value]) -> Option<String> {
    let budget = &pod["spec"];
    let (budgeted_requests, budgeted_limits) =
        (listed(budget, "requests"), listed(budget, "limits"));
    for container in containers(pod) {
        let (requests, limits) = (listed(container, "requests"), listed(container, "limits"));
        for (name, request) in &requests {
            if limits.get(name).is_some_and(|limit| limit < request) {
                return Some(format!(
                    "{}: request of {name} above its limit",
                    container["name"]
                ));
            }
        }
        for (name, limit) in &limits {
            if budgeted_limits
                .get(name)
                .is_some_and(|budget| budget < limit)
            {
                return Some(format!(
                    "{}: limit of {name} above the pod's",
                    container["name"]
                ));
            }
        }
        for item in items(ranges, "Container") {
            if let Some(broken) = broken(item, &requests, &limits) {
                return Some(format!("{}: {broken}", container["name"]));
            }
        }
    }
    let (mut requests, mut limits) = (summed(pod, "requests"), summed(pod, "limits"));
    for (name, budget) in &budgeted_requests {
        if requests.get(name).is_some_and(|sum| sum > budget) {
            return Some(format!("{name}: requests above the pod's"));
        }
    }
    requests.extend(budgeted_requests);
    limits.extend(budgeted_limits);
    items(ranges, "Pod").find_map(|item| broken(item, &requests, &limits))
}

fn items<'v>(ranges: &'v [Value], kind: &'v str) -> impl Iterator<Item = &'v Value> {
    let all = ranges
        .iter()
        .flat_map(|range| range["limits"].as_array().unwrap());
    all.filter(move |item| item["type"] == kind)
}

fn broken(item: &Value, requests: &Sums, limits: &Sums) -> Option<String> {
    for (name, _) in RESOURCES {
        let bound = |key: &str| item[key][name].as_str().map(amount);
        let (request, limit) = (requests.get(name).copied(), limits.get(name).copied());
        if let Some(min) = bound("min")
            && (request.is_none_or(|request| request < min)
                || limit.is_some_and(|limit| limit < min))
        {
            return Some(format!("min of {name}: {request:?} {limit:?} {item}"));
        }
        if let Some(max) = bound("max")
            && (limit.is_none_or(|limit| limit > max)
                || request.is_some_and(|request| request > max))
        {
            return Some(format!("max of {name}: {request:?} {limit:?} {item}"));
        }
        if let Some(ratio) = bound("maxLimitRequestRatio") {
            let kept = match (request, limit) {
                (Some(request), Some(limit)) if request > 0 && limit > 0 => {
                    limit as f64 / request as f64 * 1000.0 <= ratio as f64
                }
                _ => false,
            };
            if !kept {
                return Some(format!("ratio of {name}: {request:?} {limit:?} {item}"));
            }
        }
    }
    None
}
