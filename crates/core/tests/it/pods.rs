//! Generated pods: valid ones, as nasty as the API server accepts, with fields that no library
//! knows.

use datakit_operator_core::inject::annotation::STATUS;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};

/// Paths that injection cares about, and some it doesn't, in clean and unclean spellings.
const PATHS: [&str; 16] = [
    "/tmp",
    "/tmp/",
    "/datadog-lib",
    "/otel-auto-instrumentation-java",
    "/flameshot-data",
    "/etc/localtime",
    "/etc",
    "/app",
    "/app/datakit-profiler",
    "/var/log",
    "/var/log/app",
    "/var/log/app/",
    "/data",
    "/data/logs/deep",
    "/etc/podinfo",
    "/srv",
];
const VOLUMES: [&str; 11] = [
    "tmp",
    "timezone",
    "datakit-auto-instrument",
    "datakit-otel-auto-instrument",
    "flameshot-volume",
    "datakit-logfwd-volume-0",
    "datakit-pod-info",
    "logs",
    "data",
    "datakit-profiler-tmp",
    "scratch",
];
const VARIABLES: [&str; 14] = [
    "JAVA_TOOL_OPTIONS",
    "NODE_OPTIONS",
    "PYTHONPATH",
    "DD_TAGS",
    "DD_AGENT_HOST",
    "POD_NAME",
    "POD_NAMESPACE",
    "NODE_NAME",
    "DATAKIT_ORIGINAL_NODE_OPTIONS",
    "PATH_PREFIX",
    "LATE",
    "DD_TRACE_AGENT_PORT",
    "X",
    "Y",
];
const VALUES: [&str; 14] = [
    "",
    "-Xmx1g",
    "/app:/lib",
    "url:http://a,team:x",
    "host:a",
    "$(LATE)",
    "$(POD_NAME)",
    "a,b,",
    " -javaagent:/datadog-lib/dd-java-agent.jar",
    "-javaagent:/datadog-lib/dd-java-agent.jar=x=y",
    "/datadog-lib/:/x",
    "-javaagent:/otel-auto-instrumentation-java/javaagent.jar=x",
    "--x --require /otel-auto-instrumentation-nodejs/autoinstrumentation.js",
    "/x:/otel-auto-instrumentation-python",
];
const LOGS: [&str; 9] = [
    "/var/log/app/*.log",
    "/var/log/app/x.log",
    "/var/log/*.log",
    "/data/logs/deep/**/a",
    "/tmp/*.log",
    "*.log",
    "/app/out.log",
    "/etc/podinfo/x",
    "/srv/a?/b",
];

/// A pod, with or without annotations that ask for things.
pub(crate) fn pod() -> impl Strategy<Value = Value> {
    (metadata(), spec())
        .prop_map(|(metadata, spec)| json!({"metadata": metadata, "spec": spec, "status": {}}))
}

fn metadata() -> impl Strategy<Value = Value> {
    let labels = select(vec![
        json!({"app": "web"}),
        json!({"app": "web", "flameshot": ""}),
    ]);
    (annotations(), labels, option::of(unknown())).prop_map(|(annotations, labels, unknown)| {
        let mut metadata =
            json!({"generateName": "web-", "labels": labels, "creationTimestamp": null});
        if !annotations.is_empty() {
            metadata["annotations"] = Value::Object(annotations);
        }
        if let Some(unknown) = unknown {
            metadata["futureField"] = unknown;
        }
        metadata
    })
}

fn annotations() -> impl Strategy<Value = Map<String, Value>> {
    let keys = vec![
        "admission.datakit/java-lib.version",
        "admission.datakit/js-lib.version",
        "admission.datakit/nodejs-lib.version",
        "admission.datakit/python-lib.version",
        "admission.datakit/otel-java-lib.version",
        "admission.datakit/otel-nodejs-lib.version",
        "admission.datakit/otel-python-lib.version",
        "admission.datakit/ddtrace.enabled",
        "prometheus.io/scrape",
        "admission.datakit/java-profiler.version",
        "admission.datakit/python-profiler.version",
        "admission.datakit/golang-profiler.version",
        "admission.datakit/enabled",
        "admission.datakit/logfwd.enabled",
        "admission.datakit/typo",
        "other/annotation~with/odd",
    ];
    let versions = select(vec!["", "latest", "v1.2", "bad tag!", "false", "true"]);
    let plain = subsequence(keys, 0..=4).prop_flat_map(move |keys| {
        let values = vec(versions.clone(), keys.len());
        values.prop_map(move |values| keys.clone().into_iter().zip(values).collect::<Vec<_>>())
    });
    (
        plain,
        option::of(instances()),
        option::weighted(0.2, status()),
    )
        .prop_map(|(plain, instances, status)| {
            let mut map: Map<String, Value> = Map::new();
            for (key, value) in plain {
                map.insert(key.to_owned(), value.into());
            }
            if let Some(instances) = instances {
                map.insert(
                    "admission.datakit/logfwd.instances".to_owned(),
                    instances.into(),
                );
            }
            if let Some(status) = status {
                map.insert(STATUS.to_owned(), status.into());
            }
            map
        })
}

/// What somebody may have copied from another pod, or thought of.
fn status() -> impl Strategy<Value = String> {
    let feature = (
        select(vec![
            "ddtrace",
            "otel",
            "logfwd",
            "flameshot",
            "profiler",
            "logging",
            "x",
        ]),
        select(vec!["java", "python", "", "x"]),
        select(vec!["", "admission_inject.ddtrace", "a\u{0}\"b", "很长"])
            .prop_map(|rule| rule.repeat(30)),
        vec(select(vec!["second_agent", "not_shared", "x"]), 0..3),
    );
    let feature = feature.prop_map(|(feature, language, rule, notes)| {
        json!({"feature": feature, "language": language, "image": "i:1", "rule": rule, "notes": notes})
    });
    let truncated = subsequence(vec!["notes", "images", "rules", "x"], 0..=4);
    let whole = (vec(feature, 0..4), truncated).prop_map(|(features, truncated)| {
        json!({"version": "0", "config": "0", "injected": features, "truncated": truncated})
            .to_string()
    });
    prop_oneof![
        4 => whole,
        1 => select(vec!["", "{", "[]", "{\"injected\":3}", "{} {}"]).prop_map(str::to_owned),
    ]
}

fn instances() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => vec(select(LOGS.to_vec()), 0..4)
            .prop_map(|files| json!([{"datakit_addr": "a:9533", "loggings": [{"logfiles": files}]}]).to_string()),
        1 => select(vec!["", "{", "[null]", "[]", "[{\"loggings\":3}]"]).prop_map(str::to_owned),
    ]
}

prop_compose! {
    fn spec()(
        volumes in volumes(),
    )(
        containers in vec(container(volumes.clone()), 1..4),
        init in vec(container(volumes.clone()), 0..3),
        restart in option::of(select(vec!["Always", "OnFailure", "Never"])),
        host_pid in option::weighted(0.15, Just(true)),
        host_network in option::weighted(0.1, Just(true)),
        share in option::weighted(0.2, any::<bool>()),
        security in option::weighted(0.4, pod_security()),
        windows in option::weighted(0.05, Just(json!({"name": "windows"}))),
        resources in option::weighted(0.1, Just(json!({"limits": {"cpu": "1"}}))),
        unknown in option::of(unknown()),
        volumes in Just(volumes),
    ) -> Value {
        let mut spec = json!({});
        let mut names = 0;
        let mut name = |mut container: Value, reserved: &str| {
            names += 1;
            if container["name"].is_null() {
                container["name"] = format!("{reserved}{names}").into();
            }
            container
        };
        let containers: Vec<Value> = containers.into_iter().map(|c| name(c, "app")).collect();
        let init: Vec<Value> = init.into_iter().map(|c| name(c, "init")).collect();
        spec["containers"] = unique_names(containers).into();
        if !init.is_empty() {
            spec["initContainers"] = init.into();
        }
        let mut volumes = volumes;
        if spec.to_string().contains("devicePath") {
            volumes.push(json!({"name": "disk", "persistentVolumeClaim": {"claimName": "disk"}}));
        }
        if !volumes.is_empty() {
            spec["volumes"] = volumes.into();
        }
        for (key, value) in [
            ("restartPolicy", restart.map(Value::from)),
            ("hostPID", host_pid.map(Value::from)),
            ("hostNetwork", host_network.map(Value::from)),
            ("shareProcessNamespace", share.filter(|_| host_pid.is_none()).map(Value::from)),
            ("securityContext", security),
            ("os", windows),
            ("resources", resources),
            ("newInKubernetes", unknown),
        ] {
            if let Some(value) = value {
                spec[key] = value;
            }
        }
        spec
    }
}

fn unique_names(containers: Vec<Value>) -> Vec<Value> {
    let mut seen = Vec::new();
    containers
        .into_iter()
        .filter(|container| {
            let new = !seen.contains(&container["name"]);
            seen.push(container["name"].clone());
            new
        })
        .collect()
}

fn volumes() -> impl Strategy<Value = Vec<Value>> {
    subsequence(VOLUMES.to_vec(), 0..=5).prop_flat_map(|names| {
        let kinds = select(vec![
            json!({"emptyDir": {}}),
            json!({"emptyDir": {"medium": "Memory"}}),
            json!({"hostPath": {"path": "/etc/localtime", "type": "FileOrCreate"}}),
            json!({"hostPath": {"path": "/data"}}),
            json!({"persistentVolumeClaim": {"claimName": "x"}}),
            json!({"configMap": {"name": "x"}}),
            json!({"volumeKindOf2031": {"a": [1, {"b": null}]}}),
        ]);
        vec(kinds, names.len()).prop_map(move |kinds| {
            let named = names.iter().zip(kinds);
            named
                .map(|(name, mut kind)| {
                    kind["name"] = (*name).into();
                    kind
                })
                .collect()
        })
    })
}

fn container(volumes: Vec<Value>) -> impl Strategy<Value = Value> {
    let names: Vec<Value> = volumes
        .iter()
        .map(|volume| volume["name"].clone())
        .collect();
    let mounts = if names.is_empty() {
        Just(Vec::new()).boxed()
    } else {
        subsequence(PATHS.to_vec(), 0..=4)
            .prop_flat_map(move |paths| {
                let mount = (
                    select(names.clone()),
                    any::<bool>(),
                    option::weighted(0.2, select(vec!["a/b", "c"])),
                );
                vec(mount, paths.len()).prop_map(move |mounts| {
                    let both = paths.iter().zip(mounts);
                    both.map(|(path, (volume, read_only, sub))| {
                        let mut mount =
                            json!({"name": volume, "mountPath": path, "newMountField": 1});
                        if read_only {
                            mount["readOnly"] = true.into();
                        }
                        if let Some(sub) = sub {
                            mount["subPath"] = sub.into();
                        }
                        mount
                    })
                    .collect()
                })
            })
            .boxed()
    };
    (
        mounts,
        vec(env_var(), 0..7),
        option::weighted(0.4, container_security()),
        option::weighted(
            0.05,
            select(vec![
                "datakit-logfwd",
                "datakit-profiler",
                "datakit-lib-init",
                "datakit-otel-lib-init",
                "datakit-flameshot",
            ]),
        ),
        option::weighted(0.1, select(vec!["/app/server", "/srv/x", "sh"])),
        option::weighted(0.15, select(PATHS.to_vec())),
        select(vec![0, 1, 2]),
    )
        .prop_map(
            |(mounts, env, security, reserved, program, device, empties)| {
                let mut container = json!({"image": "nginx", "unknownField": {"a": 1}});
                let lists: [(&str, Vec<Value>); 2] = [("volumeMounts", mounts), ("env", env)];
                for (key, list) in lists {
                    match (list.is_empty(), empties) {
                        (true, 0) => {}
                        (true, 1) => container[key] = Value::Null,
                        _ => container[key] = list.into(),
                    }
                }
                if let Some(security) = security {
                    container["securityContext"] = security;
                }
                if let Some(name) = reserved {
                    container["name"] = name.into();
                }
                if let Some(program) = program {
                    container["command"] = json!([program]);
                }
                if let Some(path) = device {
                    container["volumeDevices"] = json!([{"name": "disk", "devicePath": path}]);
                }
                container
            },
        )
}

fn env_var() -> impl Strategy<Value = Value> {
    let source = prop_oneof![
        6 => select(VALUES.to_vec()).prop_map(|value| json!({"value": value})),
        1 => Just(json!({})),
        2 => Just(json!({"valueFrom": {"configMapKeyRef": {"name": "a", "key": "b"}}})),
        1 => Just(json!({"valueFrom": {"secretKeyRef": {"name": "a", "key": "b", "optional": true}}})),
        1 => Just(json!({"valueFrom": {"sourceOf2031": {"x": [1]}}})),
    ];
    (select(VARIABLES.to_vec()), source).prop_map(|(name, mut env)| {
        env["name"] = name.into();
        env
    })
}

fn pod_security() -> impl Strategy<Value = Value> {
    select(vec![
        json!({}),
        json!({"runAsNonRoot": true}),
        json!({"runAsUser": 1000, "fsGroup": 5}),
        json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}),
    ])
}

fn container_security() -> impl Strategy<Value = Value> {
    select(vec![
        json!({"privileged": true}),
        json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsUser": 7}),
        json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": true,
               "seccompProfile": {"type": "RuntimeDefault"}, "runAsUser": 7, "runAsGroup": 8}),
    ])
}

fn unknown() -> impl Strategy<Value = Value> {
    select(vec![
        json!({"deep": [[[{"x": null}]]], "number": 12_345_678_901_234_567_890_u64}),
        json!("text with \"quotes\" and \u{1F600}"),
        json!([1.5e300, -0.0, true]),
    ])
}
