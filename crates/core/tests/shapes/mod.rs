//! Reviews of hostile shapes, each as large as asked for: whatever two lists of a review (or of
//! what the cluster and the configuration add to it) could be compared entry by entry is long at
//! once. The tests, the memory test and the benchmark share them.

use std::fmt::Write;
use std::sync::Arc;

use datakit_operator_core::config::{Config, DEFAULT_CONFIG, EnvOverrides};
use datakit_operator_core::inject::{Engine, ReviewContext};
use datakit_operator_core::namespace::{LimitRange, Namespace, Namespaces, PodSecurity, Quota};
use serde_json::{Value, json};

/// A review to answer, and with what.
pub(crate) struct Shape {
    /// The request.
    pub(crate) body: Vec<u8>,
    /// The configuration.
    pub(crate) engine: Engine,
    /// The cluster.
    pub(crate) context: ReviewContext,
}

/// Makes a shape with lists of about that many entries.
pub(crate) type Make = fn(usize) -> Shape;

/// Every shape by name.
pub(crate) const ALL: &[(&str, Make)] = &[
    ("containers", containers),
    ("empty containers", empty_containers),
    ("empty entries of every list", empty_entries),
    ("patterns", patterns),
    ("patterns, one in another", nested_patterns),
    ("patterns x containers", patterns_and_containers),
    ("patterns x containers with mounts", patterns_and_mounts),
    ("patterns x mounts", patterns_and_one_container),
    ("patterns x volumes", patterns_and_volumes),
    ("patterns x devices", patterns_and_devices),
    ("patterns x names of volumes", patterns_and_names),
    ("repeated patterns", repeated_patterns),
    ("unknown keys", unknown_keys),
    ("an injected pod x patterns", injected_before),
    ("env", env),
    ("env x configured variables", env_and_variables),
    ("tags x configured tags", tags),
    ("resources of the first container", resources),
    ("annotations", annotations),
    ("labels x selectors", labels),
    ("namespace x patterns", namespaces),
    ("limit ranges x containers", limit_ranges),
    ("init containers, native sidecars", native_sidecars),
    ("nested values", nested),
    ("escapes", escapes),
    ("keys twice", repeated_keys),
    ("damaged at its end", damaged),
    ("no UTF-8", not_utf8),
];

const LOGFWD: &str = "admission.datakit/logfwd.instances";

fn engine(change: impl FnOnce(&mut Value)) -> Engine {
    let mut config: Value = serde_json::from_str(DEFAULT_CONFIG).expect("the built-in config");
    change(&mut config);
    let (config, diagnostics) =
        Config::load(&config.to_string(), &EnvOverrides::default()).expect("a config");
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    Engine::new(&config)
}

/// Limits so wide that they don't end the work early.
fn wide() -> Engine {
    engine(widen)
}

fn widen(config: &mut Value) {
    config["admission_limits"] = json!({
        "containers": 10_000, "patch_operations": 100_000, "patch_bytes": 1_500_000,
    });
}

fn shape(body: Vec<u8>) -> Shape {
    Shape {
        body,
        engine: wide(),
        context: ReviewContext::default(),
    }
}

/// `one` for each number below `n`, with commas.
fn list(n: usize, one: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for index in 0..n {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(text, "{comma}{}", one(index));
    }
    text
}

fn review(metadata: &str, spec: &str) -> Vec<u8> {
    review_in("default", metadata, spec)
}

fn review_in(namespace: &str, metadata: &str, spec: &str) -> Vec<u8> {
    format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"u","resource":{{"group":"","version":"v1","resource":"pods"}},"namespace":"{namespace}","operation":"CREATE","object":{{"metadata":{{{metadata}}},"spec":{{{spec}}}}}}}}}"#
    )
    .into_bytes()
}

/// Asks for everything; `patterns` are the log files.
fn asking(patterns: &str) -> String {
    let instances = json!(format!(r#"[{{"loggings":[{{"logfiles":[{patterns}]}}]}}]"#));
    format!(
        r#""annotations":{{"admission.datakit/java-lib.version":"","{LOGFWD}":{instances},"admission.datakit/java-profiler.version":""}}"#
    )
}

/// Asks for log files alone.
fn collecting(patterns: &str) -> String {
    let instances = json!(format!(r#"[{{"loggings":[{{"logfiles":[{patterns}]}}]}}]"#));
    format!(r#""annotations":{{"{LOGFWD}":{instances}}}"#)
}

fn directory(n: usize) -> String {
    format!(r#""/l/{n}/x""#)
}

fn container(n: usize) -> String {
    format!(r#"{{"name":"c{n}","image":"x"}}"#)
}

const ONE_CONTAINER: &str = r#""containers":[{"name":"c","image":"x"}]"#;

fn containers(n: usize) -> Shape {
    let spec = format!(r#""containers":[{}]"#, list(n, container));
    shape(review(&asking(&directory(0)), &spec))
}

fn empty_containers(n: usize) -> Shape {
    let spec = format!(r#""containers":[{}]"#, list(8 * n, |_| "{}".to_owned()));
    shape(review(&asking(&directory(0)), &spec))
}

fn empty_entries(n: usize) -> Shape {
    let empty = list(2 * n, |_| "{}".to_owned());
    let labels = list(2 * n, |n| format!(r#""{n}":"""#));
    let container = format!(
        r#"{{"name":"c","image":"x","env":[{empty}],"volumeMounts":[{empty}],"volumeDevices":[{empty}]}}"#
    );
    let spec = format!(r#""containers":[{container}],"volumes":[{empty}]"#);
    let metadata = format!(r#""labels":{{{labels}}},{}"#, asking(&directory(0)));
    shape(review(&metadata, &spec))
}

fn patterns(n: usize) -> Shape {
    shape(review(&asking(&list(n, directory)), ONE_CONTAINER))
}

fn nested_patterns(n: usize) -> Shape {
    // Together as long as a list of n.
    let n = (n * 8).isqrt();
    let patterns = list(n, |n| format!(r#""/l{}/x""#, "/d".repeat(n + 1)));
    shape(review(&asking(&patterns), ONE_CONTAINER))
}

fn patterns_and_containers(n: usize) -> Shape {
    let spec = format!(r#""containers":[{}]"#, list(n, container));
    shape(review(&asking(&list(n, directory)), &spec))
}

/// Everything is shared already, so that no limit of a patch ends the work.
fn patterns_and_mounts(n: usize) -> Shape {
    let container = |n| {
        format!(
            r#"{{"name":"c{n}","image":"x","volumeMounts":[{{"name":"v","mountPath":"/l"}},{{"name":"w","mountPath":"/m{n}"}}]}}"#
        )
    };
    let spec = format!(
        r#""volumes":[{{"name":"v","emptyDir":{{}}}},{{"name":"w","emptyDir":{{}}}}],"containers":[{}]"#,
        list(n, container)
    );
    shape(review(&collecting(&list(n, directory)), &spec))
}

fn patterns_and_one_container(n: usize) -> Shape {
    let mount = |n| format!(r#"{{"name":"v","mountPath":"/m/{n}"}}"#);
    let spec = format!(
        r#""volumes":[{{"name":"v","hostPath":{{"path":"/"}}}}],"containers":[{{"name":"c","image":"x","volumeMounts":[{}]}}]"#,
        list(n, mount)
    );
    shape(review(&asking(&list(n, directory)), &spec))
}

fn patterns_and_volumes(n: usize) -> Shape {
    let volume = |n| format!(r#"{{"name":"v{n}","emptyDir":{{}}}}"#);
    let mount = |n| format!(r#"{{"name":"v{n}","mountPath":"/l/{n}"}}"#);
    let spec = format!(
        r#""volumes":[{}],"containers":[{{"name":"c","image":"x","volumeMounts":[{}]}},{{"name":"d","image":"x"}}]"#,
        list(n, volume),
        list(n, mount)
    );
    shape(review(&asking(&list(n, directory)), &spec))
}

fn patterns_and_devices(n: usize) -> Shape {
    let device = |n| format!(r#"{{"name":"d{n}","devicePath":"/dev/{n}"}}"#);
    let spec = format!(
        r#""containers":[{{"name":"c","image":"x","volumeDevices":[{}]}}]"#,
        list(n, device)
    );
    shape(review(&asking(&list(n, directory)), &spec))
}

/// The names that the volumes would get are taken.
fn patterns_and_names(n: usize) -> Shape {
    let volume = |n| {
        let name = if n % 2 == 0 {
            "0".to_owned()
        } else {
            format!("0-{n}")
        };
        format!(r#"{{"name":"datakit-logfwd-volume-{name}","emptyDir":{{}}}}"#)
    };
    let spec = format!(r#""volumes":[{}],{ONE_CONTAINER}"#, list(n, volume));
    shape(review(&asking(&list(n, directory)), &spec))
}

fn repeated_patterns(n: usize) -> Shape {
    let patterns = list(n, |n| format!(r#""/l/{n}/x","/l/0/{n}""#));
    shape(review(&asking(&patterns), ONE_CONTAINER))
}

fn unknown_keys(n: usize) -> Shape {
    let key = |n| format!(r#"\"multiline_matc{n}\":0"#);
    let metadata = format!(
        r#""annotations":{{"{LOGFWD}":"[{{\"loggings\":[{{{}}}]}}]"}}"#,
        list(n, key)
    );
    shape(review(&metadata, ONE_CONTAINER))
}

fn injected_before(n: usize) -> Shape {
    let volume = |n| format!(r#"{{"name":"v{n}","emptyDir":{{}}}}"#);
    let mount = |n| format!(r#"{{"name":"v{n}","mountPath":"/l/{n}"}}"#);
    let spec = format!(
        r#""volumes":[{}],"containers":[{{"name":"c","image":"x"}},{{"name":"datakit-logfwd","image":"x","env":[{{"name":"LOGFWD_JSON_CONFIG"}}],"volumeMounts":[{}]}}]"#,
        list(n, volume),
        list(n, mount)
    );
    shape(review(&collecting(&list(n, directory)), &spec))
}

fn env(n: usize) -> Shape {
    let env = |n| format!(r#"{{"name":"A{n}","value":"$(A{})"}}"#, n + 1);
    let spec = format!(
        r#""containers":[{{"name":"c","image":"x","env":[{},{{"name":"DD_TAGS","value":"a:b"}}]}}]"#,
        list(2 * n, env)
    );
    shape(review(&asking(&directory(0)), &spec))
}

/// As many variables as lines are configured; all are defined behind the tags that refer to them.
fn env_and_variables(n: usize) -> Shape {
    let n = n.min(4000);
    let engine = engine(|config| {
        let envs = config["admission_inject"]["ddtrace"]["envs"]
            .as_object_mut()
            .expect("envs");
        envs.clear();
        for n in 0..n {
            envs.insert(format!("V{n}"), json!(format!("$(A{n})")));
        }
        envs.insert(
            "DD_TAGS".to_owned(),
            json!(
                (0..n)
                    .map(|n| format!("t{n}:$(V{n})"))
                    .collect::<Vec<_>>()
                    .join(",")
            ),
        );
    });
    let env = |n| format!(r#"{{"name":"A{n}","value":"x"}}"#);
    let spec = format!(
        r#""containers":[{{"name":"c","image":"x","env":[{{"name":"DD_TAGS","value":"a:b"}},{}]}}]"#,
        list(n, env)
    );
    Shape {
        engine,
        ..shape(review(&asking(&directory(0)), &spec))
    }
}

fn tags(n: usize) -> Shape {
    let engine = engine(|config| {
        let tags: Vec<_> = (0..n).map(|n| format!("t{n}:x")).collect();
        config["admission_inject"]["ddtrace"]["envs"]["DD_TAGS"] = json!(tags.join(","));
    });
    let own = list(n, |n| format!("u{n}:y"));
    let spec = format!(
        r#""containers":[{{"name":"c","image":"x","env":[{{"name":"DD_TAGS","value":"{own}"}}]}}]"#
    );
    Shape {
        engine,
        ..shape(review(&asking(&directory(0)), &spec))
    }
}

/// Each container is given what the first one has.
fn resources(n: usize) -> Shape {
    let engine = engine(|config| {
        widen(config);
        config["admission_inject"]["ddtrace"]["envs"] =
            json!({"CPU": "{resourceFieldRef:limits.cpu}"});
    });
    let n = (n / 5).clamp(2, 1000);
    let limits = list(20 * n, |n| format!(r#""example.com/r{n}":"1""#));
    let spec = format!(
        r#""containers":[{{"name":"first","image":"x","resources":{{"limits":{{{limits}}}}}}},{}]"#,
        list(n - 1, container)
    );
    Shape {
        engine,
        ..shape(review(
            r#""annotations":{"admission.datakit/java-lib.version":""}"#,
            &spec,
        ))
    }
}

fn annotations(n: usize) -> Shape {
    let one = |n| {
        format!(
            r#""admission.datakit/java-profiler.versiom{n}":"","admission.datakit/enabled":"x""#
        )
    };
    let metadata = format!(r#""annotations":{{{}}}"#, list(n, one));
    shape(review(&metadata, ONE_CONTAINER))
}

fn labels(n: usize) -> Shape {
    let engine = engine(|config| {
        let selectors: Vec<_> = (0..n.min(1000))
            .map(|n| json!({"labelselector": format!("m{n}=x*,l{n}>1"), "language": "java"}))
            .collect();
        config["admission_inject"]["ddtrace"]["enabled_labelselectors"] = json!(selectors);
    });
    let labels = list(2 * n, |n| format!(r#""l{n}":"{n}""#));
    Shape {
        engine,
        ..shape(review(&format!(r#""labels":{{{labels}}}"#), ONE_CONTAINER))
    }
}

fn namespaces(n: usize) -> Shape {
    let engine = engine(|config| {
        let patterns: Vec<_> = (0..n.min(500))
            .map(|n| json!({"namespace": format!("a.*{n}$"), "language": "java"}))
            .collect();
        config["admission_inject"]["ddtrace"]["enabled_namespaces"] = json!(patterns);
    });
    Shape {
        engine,
        ..shape(review_in(&"a".repeat(20 * n), "", ONE_CONTAINER))
    }
}

fn limit_ranges(n: usize) -> Shape {
    let containers = list(n, |n| {
        format!(
            r#"{{"name":"c{n}","image":"x","resources":{{"limits":{{"cpu":"1","r{n}":"1"}}}}}}"#
        )
    });
    let spec = format!(r#""containers":[{containers}]"#);
    let bounds: serde_json::Map<String, Value> =
        (0..n).map(|n| (format!("r{n}"), json!("1"))).collect();
    let range = |name, kind, fields: Value| {
        let mut item = fields;
        item["type"] = json!(kind);
        LimitRange::from_spec(name, &json!({ "limits": [item] }))
    };
    let limit_ranges = vec![
        range(
            "a",
            "Container",
            json!({"default": {"cpu": "2"}, "min": {"memory": "1Mi"}}),
        ),
        range("b", "Pod", json!({"max": bounds, "min": bounds})),
    ];
    Shape {
        context: ReviewContext {
            namespaces: Arc::new(Namespaces::all_alike(Namespace {
                pod_security: PodSecurity::Privileged,
                limit_ranges,
                quotas: quotas(n),
            })),
            ..ReviewContext::default()
        },
        ..shape(review(&asking(&directory(0)), &spec))
    }
}

/// Quotas that bound what every container has, and as much else.
fn quotas(n: usize) -> Vec<Quota> {
    let resources = ["cpu", "requests.memory", "limits.cpu", "limits.memory"];
    let mut bounds: serde_json::Map<_, _> = (0..n)
        .map(|n| (format!("requests.example.com/r{n}"), json!("9")))
        .collect();
    bounds.extend(resources.map(|resource| (resource.to_owned(), json!("1000000Gi"))));
    let used: serde_json::Map<_, _> = bounds.keys().map(|key| (key.clone(), json!("0"))).collect();
    let status = json!({"hard": bounds, "used": used});
    let quota = Quota::from_object("q", &json!({}), &status);
    vec![quota; n.min(50)]
}

fn native_sidecars(n: usize) -> Shape {
    let init = list(n, |n| {
        format!(
            r#"{{"name":"i{n}","image":"x","restartPolicy":"Always","resources":{{"limits":{{"cpu":"1"}}}}}}"#
        )
    });
    let spec = format!(r#""initContainers":[{init}],{ONE_CONTAINER}"#);
    let range = LimitRange::from_spec(
        "a",
        &json!({"limits": [{"type": "Pod", "max": {"cpu": "100000"}}]}),
    );
    Shape {
        context: ReviewContext {
            namespaces: Arc::new(Namespaces::all_alike(Namespace {
                pod_security: PodSecurity::Privileged,
                limit_ranges: vec![range],
                quotas: quotas(n),
            })),
            ..ReviewContext::default()
        },
        ..shape(review(&asking(&directory(0)), &spec))
    }
}

fn nested(n: usize) -> Shape {
    let deep = format!("{}{}", "[".repeat(900), "]".repeat(900));
    let spec = format!(
        r#"{ONE_CONTAINER},"x":[{}]"#,
        list(n / 50 + 1, |_| deep.clone())
    );
    shape(review(&asking(&directory(0)), &spec))
}

fn escapes(n: usize) -> Shape {
    let text = r"\u0041\ud83d\ude00\\\n".repeat(n);
    let spec = format!(
        r#""containers":[{{"name":"c","image":"x","env":[{{"name":"JAVA_TOOL_OPTIONS","value":"{text}"}},{{"name":"{text}","value":"{text}"}}]}}]"#
    );
    shape(review(&asking(&directory(0)), &spec))
}

fn repeated_keys(n: usize) -> Shape {
    let lists = list(n, |_| {
        format!(r#"{ONE_CONTAINER},"volumes":[{{"name":"v"}}]"#)
    });
    let metadata = list(n, |_| {
        format!(r#""labels":{{"a":"b"}},{}"#, asking(&directory(0)))
    });
    shape(review(&metadata, &lists))
}

fn damaged(n: usize) -> Shape {
    let spec = format!(r#""containers":[{},{{"name":5}}]"#, list(n, container));
    let mut body = review(&asking(&directory(0)), &spec);
    body.push(b'}');
    shape(body)
}

fn not_utf8(n: usize) -> Shape {
    let mut body = review(
        &asking(&directory(0)),
        &format!(r#"{ONE_CONTAINER},"x":"@""#),
    );
    let at = body
        .iter()
        .position(|byte| *byte == b'@')
        .expect("it is there");
    body.splice(at..=at, std::iter::repeat_n(0xff, 20 * n));
    shape(body)
}
