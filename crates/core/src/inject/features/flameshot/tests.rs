use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::{
    Config, ContainerSettings, DEFAULT_CONFIG, EnvOverrides, EnvValue, EnvVar, Extra, Feature,
    Origin, Rule, When,
};
use crate::image::Image;
use crate::inject::{Decision, Engine, Note, Outcome, Reason, ReviewContext, inject_pod};
use crate::selector::NamespacePattern;

const PROCESSES: &str = r#"[{"service":"shop","language":"java","command":"java.*"}]"#;
const PATH: &str = "FLAMESHOT_PROFILING_PATH";
const PORT: &str = "FLAMESHOT_HTTP_LOCAL_PORT";

fn rule(envs: &[(&str, EnvValue)], processes: &str) -> Rule {
    let origin = Origin::new("rules.flameshot");
    Rule {
        origin: origin.clone(),
        section: origin,
        feature: Feature::Flameshot,
        language: None,
        when: When::namespace(NamespacePattern::parse("*").expect("a pattern")),
        image: Image::parse("registry.example/flameshot:1").ok(),
        image_key: "rules.flameshot.image".to_owned(),
        container: Arc::new(ContainerSettings {
            envs: envs
                .iter()
                .map(|(name, value)| EnvVar {
                    name: (*name).to_owned(),
                    value: value.clone(),
                })
                .collect(),
            ..ContainerSettings::default()
        }),
        extra: Extra::Flameshot {
            processes: processes.to_owned(),
            prometheus_annotations: true,
        },
    }
}

fn text(value: &str) -> EnvValue {
    EnvValue::Literal(value.to_owned())
}

fn usual() -> [(&'static str, EnvValue); 2] {
    [(PATH, text("/flameshot-data/")), (PORT, text("8089"))]
}

/// The built-in configuration with a rule for flameshot.
fn engine(rule: Rule) -> Engine {
    let (mut config, _) = Config::load(DEFAULT_CONFIG, &EnvOverrides::default()).expect("loads");
    config.rules.push(rule);
    Engine::new(&config)
}

fn inject_with(rule: Rule, pod: &Value) -> (Value, Decision) {
    let engine = engine(rule);
    let context = ReviewContext::default();
    let pod_text = pod.to_string();
    let injection = inject_pod(&pod_text, Some("n"), &engine, &context).expect("a pod");
    let patch: json_patch::Patch =
        serde_json::from_slice(&injection.patch.to_json()).expect("a patch");
    let mut after = pod.clone();
    json_patch::patch(&mut after, &patch).expect("applies");
    let after_text = after.to_string();
    let again = inject_pod(&after_text, Some("n"), &engine, &context).expect("a pod");
    assert!(
        again.patch.is_empty(),
        "injecting twice changes the pod: {after:#}"
    );
    let decision = injection.decisions[Feature::Flameshot as usize].clone();
    (after, decision)
}

fn inject(pod: &Value) -> (Value, Decision) {
    inject_with(rule(&usual(), PROCESSES), pod)
}

fn code(decision: &Decision) -> &'static str {
    match &decision.reason {
        Some(reason) => reason.as_str(),
        None => decision.outcome.as_str(),
    }
}

#[test]
fn the_sidecar_and_what_it_shares() {
    let pod = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
    let (after, decision) = inject(&pod);
    assert_eq!(decision.outcome, Outcome::Injected);
    let mount = json!({"name": "flameshot-volume", "mountPath": "/flameshot-data"});
    assert_eq!(
        after,
        json!({
            "metadata": {"annotations": {
                "prometheus.io/scrape": "true", "prometheus.io/port": "8089", "prometheus.io/scheme": "http",
                "prometheus.io/path": "/metrics", "prometheus.io/param_measurement": "flameshot",
            }},
            "spec": {
                "shareProcessNamespace": true,
                "volumes": [{"name": "flameshot-volume", "emptyDir": {}}],
                "containers": [
                    {"name": "a", "volumeMounts": [mount]},
                    {"name": "b", "volumeMounts": [mount]},
                    {
                        "name": "datakit-flameshot", "image": "registry.example/flameshot:1",
                        "command": ["/flameshot/flameshot"],
                        "ports": [{"name": "flameshot-port", "containerPort": 8089, "protocol": "TCP"}],
                        "env": [
                            {"name": PATH, "value": "/flameshot-data/"},
                            {"name": PORT, "value": "8089"},
                            {"name": "FLAMESHOT_PROCESSES", "value": PROCESSES},
                        ],
                        "volumeMounts": [mount],
                        "imagePullPolicy": "IfNotPresent",
                        "securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}},
                    },
                ],
            },
        })
    );
}

#[test]
fn what_the_rule_must_say() {
    let field = EnvValue::FieldRef("metadata.name".to_owned());
    for (path, port, processes) in [
        (Some(text("/data")), Some(text("8089")), ""),
        (None, Some(text("8089")), PROCESSES),
        (Some(text("/data")), None, PROCESSES),
        (Some(field.clone()), Some(text("8089")), PROCESSES),
        (Some(text("/data")), Some(field), PROCESSES),
        (Some(text("data")), Some(text("8089")), PROCESSES),
        (Some(text("")), Some(text("8089")), PROCESSES),
        (Some(text("/x/../usr/lib")), Some(text("8089")), PROCESSES),
        (Some(text("/")), Some(text("8089")), PROCESSES),
        (Some(text("/var/log")), Some(text("8089")), PROCESSES),
        (Some(text("/a:b")), Some(text("8089")), PROCESSES),
        (Some(text("/$(POD_NAME)")), Some(text("8089")), PROCESSES),
        (Some(text("/data")), Some(text("abc")), PROCESSES),
        (Some(text("/data")), Some(text("0")), PROCESSES),
        (Some(text("/data")), Some(text("-1")), PROCESSES),
        (Some(text("/data")), Some(text("65536")), PROCESSES),
    ] {
        let envs: Vec<(&str, EnvValue)> = [(PATH, path), (PORT, port)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        let pod = json!({"spec": {"containers": [{"name": "a"}]}});
        let (after, decision) = inject_with(rule(&envs, processes), &pod);
        assert_eq!(code(&decision), "unusable_setting", "{envs:?}");
        let Some(Reason::UnusableSetting { key, .. }) = &decision.reason else {
            panic!("{decision:?}");
        };
        assert!(key.starts_with("rules.flameshot."), "{key}");
        assert_eq!(after, pod);
    }
}

#[test]
fn a_configured_variable_is_said_once() {
    let mut envs = vec![("FLAMESHOT_PROCESSES", text("[]"))];
    envs.extend(usual());
    let pod = json!({"spec": {"containers": [{"name": "a"}]}});
    let (after, _) = inject_with(rule(&envs, PROCESSES), &pod);
    let env = after["spec"]["containers"][1]["env"]
        .as_array()
        .expect("a list");
    assert_eq!(env.len(), 3);
    assert_eq!(
        env[0],
        json!({"name": "FLAMESHOT_PROCESSES", "value": PROCESSES})
    );
}

#[test]
fn pods_that_it_would_harm_or_not_help() {
    let port = |port: u16, protocol: &str| json!([{"containerPort": port, "protocol": protocol}]);
    for (spec, expected) in [
        (json!({"hostPID": true}), "host_pid"),
        (json!({"hostNetwork": true}), "host_network"),
        (json!({"restartPolicy": "Never"}), "restart_policy"),
        (json!({"restartPolicy": "OnFailure"}), "restart_policy"),
        (
            json!({"securityContext": {"runAsNonRoot": true}}),
            "non_root_pod",
        ),
        (
            json!({"securityContext": {"runAsUser": 1000}}),
            "non_root_pod",
        ),
        (json!({"os": {"name": "windows"}}), "windows_pod"),
        (
            json!({"containers": [{"name": "a", "ports": port(8089, "TCP")}]}),
            "port_taken",
        ),
        (
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 8089}]}]}),
            "port_taken",
        ),
        (
            json!({"containers": [{"name": "a", "ports": port(8089, "UDP")}]}),
            "injected",
        ),
        (
            json!({"containers": [{"name": "a", "ports": port(8090, "TCP")}]}),
            "injected",
        ),
        (
            json!({"initContainers": [{"name": "i", "restartPolicy": "Always", "ports": port(8089, "TCP")}]}),
            "port_taken",
        ),
        (
            json!({"initContainers": [{"name": "i", "ports": port(8089, "TCP")}]}),
            "injected",
        ),
        (
            json!({"volumes": [{"name": "flameshot-volume", "hostPath": {"path": "/x"}}]}),
            "reserved_volume",
        ),
        (
            json!({"containers": [{"name": "datakit-flameshot"}]}),
            "reserved_container",
        ),
        (
            json!({"initContainers": [{"name": "datakit-flameshot"}]}),
            "reserved_container",
        ),
        (
            json!({"containers": [{"name": "a", "workingDir": "/flameshot-data/app"}]}),
            "would_hide",
        ),
        (
            json!({"containers": [{"name": "a", "command": ["/flameshot-data/run"]}]}),
            "would_hide",
        ),
        (
            json!({"containers": [{"name": "a", "restartPolicy": "Never"}]}),
            "restart_policy",
        ),
        (
            json!({"containers": [{"name": "a", "restartPolicy": "Never"}, {"name": "b"}]}),
            "injected",
        ),
        (
            json!({"containers": [{"name": "a", "command": ["/sbin/init"]}]}),
            "process_one",
        ),
        (
            json!({"shareProcessNamespace": true, "containers": [{"name": "a", "command": ["/sbin/init"]}]}),
            "injected",
        ),
    ] {
        let mut pod = json!({"spec": {"containers": [{"name": "a"}]}});
        for (key, value) in spec.as_object().expect("a spec") {
            pod["spec"][key] = value.clone();
        }
        let (after, decision) = inject(&pod);
        assert_eq!(code(&decision), expected, "{spec}");
        assert_eq!(after == pod, expected != "injected", "{spec}");
    }
    let off = json!({
        "metadata": {"annotations": {"admission.datakit/flameshot.enabled": "false"}},
        "spec": {"containers": [{"name": "a"}]},
    });
    assert_eq!(code(&inject(&off).1), "switched_off");
}

#[test]
fn a_container_keeps_what_it_has_there() {
    let pod = json!({"spec": {
        "containers": [
            {"name": "a", "volumeMounts": [{"name": "own", "mountPath": "/flameshot-data"}]},
            {"name": "b"},
        ],
        "volumes": [{"name": "own", "persistentVolumeClaim": {"claimName": "c"}}],
    }});
    let (after, decision) = inject(&pod);
    assert_eq!(code(&decision), "injected");
    assert!(matches!(&*decision.notes, [Note::NotShared { container, .. }] if container == "a"));
    assert_eq!(after["spec"]["containers"][0], pod["spec"]["containers"][0]);
    assert_eq!(
        after["spec"]["containers"][1]["volumeMounts"][0]["name"],
        "flameshot-volume"
    );
}

#[test]
fn annotations_are_all_ours_or_none() {
    for (metadata, added) in [
        (json!({}), true),
        (json!(null), true),
        (json!({"annotations": null}), true),
        (json!({"annotations": {}}), true),
        (json!({"annotations": {"a/b~c": "x"}}), true),
        (
            json!({"annotations": {"prometheus.io/scrape": "false"}}),
            false,
        ),
        (json!({"annotations": {"prometheus.io/": ""}}), false),
    ] {
        let pod = json!({"metadata": metadata, "spec": {"containers": [{"name": "a"}]}});
        let (after, decision) = inject(&pod);
        assert_eq!(code(&decision), "injected");
        let own = metadata["annotations"]
            .as_object()
            .map_or(0, serde_json::Map::len);
        let all = after["metadata"]["annotations"]
            .as_object()
            .map_or(0, serde_json::Map::len);
        assert_eq!(all, own + if added { 5 } else { 0 }, "{metadata}");
    }
}

#[test]
fn containers_that_were_added_since_get_the_directory() {
    let (mut there, _) = inject(&json!({"spec": {"containers": [{"name": "a"}]}}));
    let containers = there["spec"]["containers"].as_array_mut().expect("a list");
    containers.insert(0, json!({"name": "late"}));
    let (after, decision) = inject(&there);
    assert_eq!(decision.outcome, Outcome::Repaired);
    let mount = json!([{"name": "flameshot-volume", "mountPath": "/flameshot-data"}]);
    assert_eq!(after["spec"]["containers"][0]["volumeMounts"], mount);
}
