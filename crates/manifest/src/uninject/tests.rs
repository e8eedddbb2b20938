use std::path::{Path, PathBuf};

use datakit_operator_core::config::{Config, DEFAULT_CONFIG, EnvOverrides, Fingerprint};
use datakit_operator_core::inject::EngineIdentity;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn engine() -> Engine {
    let (config, _) = Config::load(DEFAULT_CONFIG, &EnvOverrides::default()).expect("loads");
    Engine::new(&config)
}

fn context() -> ReviewContext {
    ReviewContext {
        kubernetes_version: "1.34".parse().ok(),
        ..ReviewContext::default()
    }
}

/// Injects and takes out again; checks that it is verified and that nothing of ours is left.
fn there_and_back(template: &Value) -> (Value, Uninjected) {
    let engine = engine();
    let there = injected(template, None, &engine, &context()).expect("a pod");
    let back = uninject(&there, None, &engine, &ReviewContext::default());
    // A status is taken out as well, and is in nobody's way.
    let telling = self::engine().identified(EngineIdentity {
        version: "1.2.3",
        config: Fingerprint::of_sha256([0x5a; 32]),
    });
    let told = injected(template, None, &telling, &context()).expect("a pod");
    let untold = uninject(&told, None, &engine, &ReviewContext::default());
    assert!(untold.status, "{told:#}");
    assert_eq!(untold.features, back.features);
    assert_eq!(untold.template, back.template, "{told:#}");
    assert!(back.verified, "{there:#}\n{:#}", back.template);
    let again = injected(&back.template, None, &engine, &context()).expect("a pod");
    assert_eq!(
        without_empty(&again),
        without_empty(&there),
        "{:#}",
        back.template
    );
    (there, back)
}

/// The template without empty lists, which injection can't tell from absent ones.
fn without_empty(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(spec) = template["spec"].as_object_mut() {
        for container in spec["containers"].as_array_mut().into_iter().flatten() {
            drop_empty(container.as_object_mut().expect("a container"));
        }
        drop_empty(spec);
    }
    template
}

fn check(annotations: &[&str], spec: &Value, features: &[Feature]) {
    let annotations: Map<String, Value> = annotations
        .iter()
        .map(|name| {
            let value = if *name == "logfwd.instances" {
                LOGFWD
            } else {
                ""
            };
            (format!("admission.datakit/{name}"), json!(value))
        })
        .collect();
    let template = json!({"metadata": {"annotations": annotations}, "spec": spec});
    let (there, back) = there_and_back(&template);
    assert_eq!(back.features, features, "{there:#}");
    assert_eq!(without_empty(&back.template), without_empty(&template));
}

const LOGFWD: &str = r#"[{"datakit_addr":"a:1","loggings":[{"logfiles":["/logs/a/*.log","/logs/b/*.log"],"source":"s"}]}]"#;

#[test]
fn what_was_the_users_stays() {
    use Feature::{Ddtrace, Logfwd, Profiler};
    let own = json!({"name": "DD_AGENT_HOST", "value": "datakit-service.datakit.svc"});
    let option = |value: &str| json!({"name": "JAVA_TOOL_OPTIONS", "value": value});
    let tags = |value: &str| json!({"name": "DD_TAGS", "value": value});
    let from = json!({"name": "JAVA_TOOL_OPTIONS", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}});
    let last = json!({"name": "LAST", "value": "1"});
    // Variables that the configuration also sets, the start-up variable in all its forms, tags.
    for env in [
        json!([]),
        json!([own]),
        json!([last, own, last]),
        json!([option("-Xmx1g")]),
        json!([option("-Xmx1g"), own, last]),
        json!([option(""), last]),
        json!([from]),
        json!([last, from, last]),
        json!([{"name": "PYTHONPATH", "value": "/app"}, {"name": "NODE_OPTIONS", "value": "--x"}]),
        json!([tags("team:a")]),
        json!([tags("team:a,url:http://b")]),
        json!([tags("pod_name:mine")]),
        json!([last, tags("team:a"), last]),
        json!([{"name": "DD_TAGS", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
    ] {
        check(
            &["java-lib.version"],
            &json!({"containers": [{"name": "a", "env": env}, {"name": "b"}]}),
            &[Ddtrace],
        );
    }
    for lib in ["js-lib.version", "python-lib.version"] {
        let env = json!([{"name": "PYTHONPATH", "value": "/app"}, {"name": "NODE_OPTIONS", "value": "--x"}]);
        check(
            &[lib],
            &json!({"containers": [{"name": "a", "env": env}]}),
            &[Ddtrace],
        );
    }
    // Volumes and mounts that are shared, or that have our names.
    let mount = |name: &str, path: &str| json!({"name": name, "mountPath": path});
    let empty = |name: &str| json!({"name": name, "emptyDir": {}});
    check(
        &["logfwd.instances"],
        &json!({
            "containers": [{"name": "a", "volumeMounts": [mount("x", "/logs/a")]}, {"name": "b"}],
            "volumes": [empty("x")],
        }),
        &[Logfwd],
    );
    check(
        &["logfwd.instances", "java-profiler.version"],
        &json!({
            "containers": [
                {"name": "a", "volumeMounts": [mount("x", "/logs/b")]},
                {"name": "b", "volumeMounts": [mount("tmp", "/tmp"), mount("x", "/logs/b")]},
            ],
            "volumes": [empty("tmp"), empty("x")],
        }),
        &[Logfwd, Profiler],
    );
    check(
        &["java-profiler.version"],
        &json!({"containers": [{"name": "a"}], "volumes": [empty("tmp"), empty("timezone")]}),
        &[Profiler],
    );
    check(
        &["java-profiler.version"],
        &json!({
            "containers": [{"name": "a", "volumeMounts": [mount("timezone", "/etc/localtime")]}],
            "volumes": [{"name": "timezone", "hostPath": {"path": "/etc/localtime", "type": "FileOrCreate"}}],
        }),
        &[Profiler],
    );
    // Everything, in a pod with init containers of its own.
    check(
        &[
            "java-lib.version",
            "logfwd.instances",
            "java-profiler.version",
        ],
        &json!({"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}], "x-unknown": [1]}),
        &[Ddtrace, Logfwd, Profiler],
    );
    // A native sidecar.
    check(
        &["java-lib.version", "logfwd.instances"],
        &json!({"containers": [{"name": "a"}], "initContainers": [{"name": "i"}], "restartPolicy": "Never"}),
        &[Ddtrace, Logfwd],
    );
}

#[test]
fn a_container_that_only_has_our_name_is_left() {
    let template = json!({
        "metadata": {"annotations": {"admission.datakit/java-profiler.version": ""}},
        "spec": {"containers": [{"name": "datakit-profiler", "image": "mine"}, {"name": "datakit-logfwd"}]},
    });
    let back = uninject(&template, None, &engine(), &context());
    assert_eq!((back.features, back.template), (vec![], template));
}

/// `testdata/earlier` holds pods with what an earlier version made of them.
#[test]
fn what_an_earlier_version_injected_is_present_and_can_be_taken_out() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/earlier");
    let read = |file: PathBuf| -> Value {
        serde_json::from_str(&std::fs::read_to_string(file).expect("read")).expect("JSON")
    };
    for case in std::fs::read_dir(cases).expect("cases") {
        let case = case.expect("a case").path();
        let (pod, there) = (
            read(case.join("pod.json")),
            read(case.join("injected.json")),
        );
        let text = there.to_string();
        let again = inject_pod(&text, None, &engine(), &context()).expect("a pod");
        assert!(again.patch.is_empty(), "{}", case.display());
        let back = uninject(&there, None, &engine(), &ReviewContext::default());
        assert!(back.verified, "{}: {:#}", case.display(), back.template);
        assert_eq!(
            without_empty(&back.template),
            without_empty(&pod),
            "{}",
            case.display()
        );
    }
}

#[test]
fn the_language_that_the_profiler_was_for_is_seen_from_what_it_shares() {
    let profiled = |language: &str| {
        json!({
            "metadata": {"annotations": {format!("admission.datakit/{language}-profiler.version"): ""}},
            "spec": {"containers": [{"name": "a"}, {"name": "b", "env": [{"name": "X", "value": "1"}]}]},
        })
    };
    for language in ["java", "python", "golang"] {
        let asking = profiled(language);
        let there = injected(&asking, None, &engine(), &context()).expect("a pod");
        for now in ["java", "python", "golang"] {
            let mut there = there.clone();
            there["metadata"] = profiled(now)["metadata"].clone();
            let back = uninject(&there, None, &engine(), &context());
            assert!(back.verified, "{language}, now {now}: {:#}", back.template);
            assert_eq!(
                back.template["spec"], asking["spec"],
                "{language}, now {now}"
            );
        }
    }
}

#[test]
fn it_does_not_matter_whether_the_pod_still_asks() {
    let asking = json!({
        "metadata": {"annotations": {
            "admission.datakit/python-lib.version": "",
            "admission.datakit/logfwd.instances": LOGFWD,
            "admission.datakit/golang-profiler.version": "",
        }},
        "spec": {"containers": [{"name": "a", "env": [{"name": "PYTHONPATH", "value": "/app"}]}]},
    });
    let engine = engine();
    let mut there = injected(&asking, None, &engine, &context()).expect("a pod");
    for annotations in [
        json!(null),
        json!({}),
        json!({"admission.datakit/enabled": "false"}),
    ] {
        there["metadata"]["annotations"] = annotations.clone();
        let back = uninject(&there, None, &engine, &context());
        assert!(back.verified, "{annotations}");
        assert_eq!(back.template["spec"], asking["spec"]);
        assert_eq!(back.template["metadata"]["annotations"], annotations);
    }
}

#[test]
fn what_is_forbidden_by_now_can_be_taken_out() {
    let template = json!({
        "metadata": {"annotations": {
            "admission.datakit/java-lib.version": "v9",
            "admission.datakit/logfwd.instances": LOGFWD,
            "admission.datakit/java-profiler.version": "",
        }},
        "spec": {"containers": [{"name": "a"}]},
    });
    let there = injected(&template, None, &engine(), &context()).expect("a pod");
    let (mut config, _) = Config::load(DEFAULT_CONFIG, &EnvOverrides::default()).expect("loads");
    let forbidding = r#"{"admission_policy": false}"#;
    let (forbidding, _) = Config::load(forbidding, &EnvOverrides::default()).expect("loads");
    config.policy = forbidding.policy;
    for rule in &mut config.rules {
        if rule.feature == Feature::Profiler {
            rule.image = None;
        }
    }
    let back = uninject(&there, None, &super::engine(&config), &context());
    assert!(back.verified, "{:#}", back.template);
    assert_eq!(back.template, template);
}

#[test]
fn another_configuration_is_noticed() {
    let template = json!({
        "metadata": {"annotations": {"admission.datakit/java-lib.version": ""}},
        "spec": {"containers": [{"name": "a"}]},
    });
    let there = injected(&template, None, &engine(), &context()).expect("a pod");
    let text = DEFAULT_CONFIG.replace("\"DD_AGENT_HOST\"", "\"DD_OTHER_HOST\"");
    let (config, _) = Config::load(&text, &EnvOverrides::default()).expect("loads");
    let back = uninject(&there, None, &Engine::new(&config), &context());
    assert!(!back.verified);
    assert_eq!(back.features, [Feature::Ddtrace]);
    let env = &back.template["spec"]["containers"][0]["env"];
    assert_eq!(
        *env,
        json!([{"name": "DD_AGENT_HOST", "value": "datakit-service.datakit.svc"}])
    );
}

#[test]
fn anything_goes_in() {
    for template in [
        json!(null),
        json!({}),
        json!({"spec": null}),
        json!({"spec": {"containers": {"name": 1}, "volumes": "x"}}),
        json!({"spec": {"initContainers": [null, {"name": "datakit-lib-init", "volumeMounts": [1]}]}}),
        json!({"spec": {"initContainers": [
            {"name": "datakit-lib-init", "volumeMounts": [{"name": "datakit-auto-instrument", "mountPath": "/datadog-lib"}]}
        ], "containers": [1, {"env": "x"}]}}),
    ] {
        let back = uninject(&template, None, &engine(), &context());
        if back.features.is_empty() {
            assert_eq!(back.template, template);
        }
    }
}

fn env() -> impl Strategy<Value = Value> {
    let entry = |name: &'static str, values: &'static [&'static str]| {
        prop::sample::select(values).prop_map(move |value| json!({"name": name, "value": value}))
    };
    let reference = prop::sample::select(vec![
        "JAVA_TOOL_OPTIONS",
        "NODE_OPTIONS",
        "PYTHONPATH",
        "DD_TAGS",
        "POD_NAME",
    ])
    .prop_map(
        |name| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
    );
    prop_oneof![
        entry(
            "JAVA_TOOL_OPTIONS",
            &[
                "",
                "-Xmx1g",
                " -javaagent:/datadog-lib/dd-java-agent.jar",
                "-javaagent:/other.jar"
            ]
        ),
        entry("NODE_OPTIONS", &["--max-old-space-size=1"]),
        entry(
            "PYTHONPATH",
            &["/app", "/datadog-lib/", "/datadog-lib/:/app"]
        ),
        entry(
            "DD_TAGS",
            &[
                "",
                "team:a",
                "team:a,",
                "host:mine",
                "team:a,pod_name:$(POD_NAME)",
                "pod_name:$(POD_NAME)"
            ]
        ),
        entry("DD_AGENT_HOST", &["datakit-service.datakit.svc", "other"]),
        entry("DD_TRACE_AGENT_PORT", &["9529"]),
        entry("OWN", &["1"]),
        reference,
    ]
}

fn container() -> impl Strategy<Value = (Vec<Value>, Vec<(&'static str, &'static str)>)> {
    let mounts = vec![
        ("logs", "/logs/a"),
        ("tmp", "/tmp"),
        ("scratch", "/tmp"),
        ("timezone", "/etc/localtime"),
        ("data", "/logs/b"),
        ("data", "/data"),
    ];
    (
        prop::collection::vec(env(), 0..5),
        prop::sample::subsequence(mounts, 0..4),
    )
}

fn template() -> impl Strategy<Value = Value> {
    let asks = vec![
        ("admission.datakit/java-lib.version", ""),
        ("admission.datakit/python-lib.version", ""),
        ("admission.datakit/logfwd.instances", LOGFWD),
        ("admission.datakit/java-profiler.version", ""),
        ("admission.datakit/golang-profiler.version", ""),
    ];
    (prop::sample::subsequence(asks, 1..5), prop::collection::vec(container(), 1..4)).prop_map(|(asks, containers)| {
        let mut volumes: Vec<Value> = Vec::new();
        let mut spec = Vec::new();
        for (index, (mut env, mut mounts)) in containers.into_iter().enumerate() {
            let mut names: Vec<String> = Vec::new();
            env.retain(|entry| {
                let name = entry["name"].to_string();
                !names.contains(&name) && { names.push(name); true }
            });
            mounts.dedup_by_key(|mount| mount.1);
            for (name, _) in &mounts {
                let volume = match *name {
                    "data" => json!({"name": name, "persistentVolumeClaim": {"claimName": "d"}}),
                    "timezone" => json!({"name": name, "hostPath": {"path": "/etc/localtime", "type": "FileOrCreate"}}),
                    _ => json!({"name": name, "emptyDir": {}}),
                };
                if !volumes.contains(&volume) {
                    volumes.push(volume);
                }
            }
            let mounts: Vec<Value> =
                mounts.into_iter().map(|(name, path)| json!({"name": name, "mountPath": path})).collect();
            spec.push(json!({"name": format!("c{index}"), "env": env, "volumeMounts": mounts}));
        }
        let annotations: Map<String, Value> = asks.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect();
        json!({"metadata": {"annotations": annotations}, "spec": {"containers": spec, "volumes": volumes}})
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn injecting_again_gives_the_same(template in template()) {
        let (_, back) = there_and_back(&template);
        // Never more than the user wrote.
        let size = |template: &Value| without_empty(template).to_string().len();
        prop_assert!(size(&back.template) <= size(&template), "{:#}", back.template);
    }
}

#[test]
fn what_rules_asked_for_goes_with_its_annotations() {
    let document = json!({"admission_inject_v2": {
        "otels": [{"namespace_selectors": ["^shop$"], "language": "python", "image": "otel:1", "envs": {"A": "b"}}],
        "flameshots": [{
            "namespace_selectors": ["^shop$"], "image": "flameshot:1", "processes": "[{}]",
            "enable_prometheus_annotations": true,
            "envs": {"FLAMESHOT_PROFILING_PATH": "/profiles", "FLAMESHOT_HTTP_LOCAL_PORT": "8089"},
        }],
    }});
    let loaded = Config::load(&document.to_string(), &EnvOverrides::default());
    let (config, _) = loaded.expect("loads");
    let template = json!({
        "metadata": {"annotations": {"team": "a"}},
        "spec": {"containers": [{"name": "a", "env": [{"name": "PYTHONPATH", "value": "/app"}]}, {"name": "b"}]},
    });
    let both = [Feature::Otel, Feature::Flameshot];
    let there = injected(&template, Some("shop"), &Engine::new(&config), &context());
    let there = there.expect("a pod");
    assert_eq!(
        there["metadata"]["annotations"]["prometheus.io/port"],
        "8089"
    );
    let take_out = |template: &Value, namespace: &str| {
        let back = uninject(
            template,
            Some(namespace),
            &super::engine(&config),
            &context(),
        );
        assert_eq!(back.features, both);
        back
    };
    let back = take_out(&there, "shop");
    assert!(back.verified);
    assert_eq!(back.template, template);
    // Where the rules don't ask any more, what has our names and form still goes.
    let back = take_out(&there, "elsewhere");
    assert_eq!(back.template["metadata"], template["metadata"]);
    assert_eq!(back.template["spec"]["volumes"], Value::Null);
    assert_eq!(back.template["spec"]["shareProcessNamespace"], Value::Null);
    // One annotation with another value: they are somebody's own.
    let mut changed = there.clone();
    changed["metadata"]["annotations"]["prometheus.io/scrape"] = "false".into();
    let back = take_out(&changed, "shop");
    assert_eq!(back.template["metadata"], changed["metadata"]);
}
