//! The chart's policy about containers that bear the operator's names: what the operator injects
//! passes, whatever it is configured to inject, and nothing else of these names does.

use anyhow::{Context, Result, ensure};
use datakit_operator_e2e::cluster::{Cluster, Mode, Namespace, refusal};
use datakit_operator_e2e::helm::{chart, helm_with};
use datakit_operator_e2e::kubectl::kubectl_with;
use datakit_operator_e2e::operator::Options;
use datakit_operator_e2e::repository::repository;
use datakit_operator_e2e::wait;
use datakit_operator_e2e::webhook::{Injected, Policy, labels};
use serde_json::{Value, json};

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const PROFILER: &str = "pubrepo.guance.com/datakit-operator/async-profiler:0.1.0";

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn what_is_injected_passes() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let digest = format!("registry.example/java@{DIGEST}");
    let tag_and_digest = format!("registry.example:5000/team/logfwd:1.2@{DIGEST}");
    let privileged = json!({"privileged": true, "capabilities": {"add": ["NET_ADMIN"]}});
    let unconfined = json!({"seccompProfile": {"type": "Unconfined"}, "runAsUser": 0});
    let settings = [
        None,
        Some(json!({
            "ddtrace": {"images": {"java_agent_image": digest}},
            "logfwd": {"images": {"logfwd_image": tag_and_digest}},
            "profiler": {"images": {"java_profiler_image": "profiler"}, "security_context": privileged},
        })),
        Some(json!({
            "ddtrace": {"images": {"java_agent_image": "a:1"}, "security_context": {"runAsUser": 1000}},
            "logfwd": {"images": {"logfwd_image": "localhost:5000/logfwd"}, "security_context": unconfined},
            "profiler": {"images": {"java_profiler_image": "b.example/c/d"}, "security_context": {}},
        })),
        // A tag may take the place of the digest.
        Some(json!({
            "ddtrace": {"images": {"java_agent_image": digest}},
            "logfwd": {"images": {"logfwd_image": "a:1"}},
            "profiler": {"images": {"java_profiler_image": "b:1"}},
        })),
    ];
    let policy = json!({"ddtrace": {"drop_digest": true}});
    for (number, setting) in settings.into_iter().enumerate() {
        let name = format!("reserved-passes-{number}");
        let config = setting.map(|setting| {
            let mut config = json!({"admission_inject": setting});
            if number == 3 {
                config["admission_policy"] = policy.clone();
            }
            config.to_string()
        });
        let version = if number == 3 { "9.9" } else { "" };
        let options = Options {
            config: config.clone(),
            ..Options::default()
        };
        let injected = Injected::start(&cluster, &name, &options, Policy::Fail).await?;
        let mut values = json!({"reservedContainers": {}});
        if let Some(config) = config {
            values["configmap"] = json!({"jsonconfig": config});
        }
        install(&injected.namespace, &mut values).await?;
        for restart in ["Always", "Never"] {
            let pod = asking(restart, version);
            let created = injected.namespace.create_pod(&pod, Mode::DryRun).await;
            let created = created
                .map_err(|error| anyhow::Error::msg(refusal(&error)))?
                .pod;
            let names = reserved(&created);
            let all = ["datakit-lib-init", "datakit-logfwd", "datakit-profiler"];
            let expected = if restart == "Always" {
                &all[..]
            } else {
                &all[..2]
            };
            assert_eq!(names, expected, "{name}: {created:#}");
        }
    }
    Ok(())
}

/// Whatever the built-in configuration makes of the golden cases.
#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn golden_cases_pass() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let plain = cluster.namespace("reserved-plain", &json!({})).await?;
    let name = "reserved-golden";
    let judged = cluster.namespace(name, &labels(name)).await?;
    install(&judged, &mut json!({"reservedContainers": {}})).await?;
    let mut passed = 0;
    for entry in std::fs::read_dir(repository().join("testdata/inject"))? {
        let directory = entry?.path();
        let read = |file: &str| -> Result<Value> {
            let text = std::fs::read_to_string(directory.join(file))?;
            Ok(serde_json::from_str(&text)?)
        };
        let configured = read("config.json").is_ok()
            || read("context.json").is_ok_and(|context| !context["environment"].is_null());
        let (pod, injected) = (read("pod.json")?, read("injected.json")?);
        // What the pod brings itself is not ours, though it may look like it.
        if configured || !reserved(&pod).is_empty() || reserved(&injected).is_empty() {
            continue;
        }
        if plain.create_pod(&injected, Mode::DryRun).await.is_ok() {
            let created = judged.create_pod(&injected, Mode::DryRun).await;
            let created = created.map_err(|error| anyhow::Error::msg(refusal(&error)));
            created.with_context(|| directory.display().to_string())?;
            passed += 1;
        }
    }
    println!("{passed} cases");
    assert!(passed >= 100, "too few of the cases say anything: {passed}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn what_only_bears_the_name_is_refused() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let namespace = cluster
        .namespace("reserved-refused", &labels("reserved-refused"))
        .await?;
    let mut values = json!({"reservedContainers": {"images": ["mirror.example/datakit/", DIGEST]}});
    install(&namespace, &mut values).await?;
    let refused = async |pod: &Value, why: &str| -> Result<()> {
        let answer = namespace.create_pod(pod, Mode::DryRun).await;
        let error = answer.err().with_context(|| format!("accepted: {pod}"))?;
        let said = refusal(&error);
        ensure!(said.contains(why), "expected `{why}`: {said}");
        Ok(())
    };
    let accepted = async |pod: &Value| -> Result<()> {
        let answer = namespace.create_pod(pod, Mode::DryRun).await;
        let answer =
            answer.map_err(|error| anyhow::Error::msg(format!("{pod}: {}", refusal(&error))));
        answer.map(drop)
    };

    // Under other names anything goes, with all that a container can have.
    let mut other =
        profiler(&json!({"image": "evil", "args": ["x"], "securityContext": {"privileged": true}}));
    other["spec"]["containers"][1]["name"] = "profiler".into();
    accepted(&other).await?;
    accepted(&profiler(&json!({}))).await?;
    for image in [
        "mirror.example/datakit/anything/at/all:1".to_owned(),
        format!("anywhere.example/x@{DIGEST}"),
        format!("pubrepo.guance.com/datakit-operator/async-profiler:2@{DIGEST}"),
        "pubrepo.guance.com/datakit-operator/py-spy:9".to_owned(),
    ] {
        accepted(&profiler(&json!({ "image": image }))).await?;
    }
    for image in [
        "evil",
        "mirror.example/datakit-evil/x",
        "pubrepo.guance.com/datakit-operator/async-profiler-evil:0.1.0",
        "evil.example/pubrepo.guance.com/datakit-operator/async-profiler:0.1.0",
        // Another container's.
        "pubrepo.guance.com/datakit/logfwd:1.15.2",
    ] {
        refused(&profiler(&json!({ "image": image })), "another image").await?;
    }
    let command = "a command or arguments of its own";
    let privileged = "privileged or unconfined";
    let capability = "adds capabilities";
    let hooks = "has hooks, probes, devices, envFrom";
    let context = |context: Value| json!({ "securityContext": context });
    for (change, why) in [
        (json!({"command": null}), command),
        (json!({"command": ["bash"]}), command),
        (json!({"command": ["bash", "cmd.sh", "x"]}), command),
        (json!({"args": ["x"]}), command),
        (context(json!({"privileged": true})), privileged),
        (
            context(json!({"seccompProfile": {"type": "Unconfined"}})),
            privileged,
        ),
        (
            context(json!({"appArmorProfile": {"type": "Unconfined"}})),
            privileged,
        ),
        (
            context(json!({"capabilities": {"add": ["SYS_PTRACE", "NET_ADMIN"]}})),
            capability,
        ),
        (
            context(json!({"capabilities": {"add": ["ALL"]}})),
            capability,
        ),
        (
            json!({"lifecycle": {"postStart": {"exec": {"command": ["x"]}}}}),
            hooks,
        ),
        (
            json!({"livenessProbe": {"exec": {"command": ["x"]}}}),
            hooks,
        ),
        (json!({"envFrom": [{"secretRef": {"name": "x"}}]}), hooks),
        (
            json!({"ports": [{"containerPort": 1, "hostPort": 1}]}),
            hooks,
        ),
    ] {
        refused(&profiler(&change), why).await?;
    }
    let directory = "mounts a directory of the node";
    let mount = |path: &str, name: &str, read_only: bool| {
        let mount = json!({"name": "node", "mountPath": "/node", "readOnly": read_only});
        let mut pod = profiler(&json!({"volumeMounts": [mount]}));
        pod["spec"]["volumes"] = json!([{"name": "node", "hostPath": {"path": path}}]);
        if name != "datakit-profiler" {
            let container = &mut pod["spec"]["containers"][1];
            container["name"] = name.into();
            container["image"] = "pubrepo.guance.com/datakit/logfwd:1".into();
            container["command"] = Value::Null;
            container["securityContext"] = Value::Null;
        }
        pod
    };
    accepted(&mount("/etc/localtime", "datakit-profiler", true)).await?;
    refused(
        &mount("/etc/localtime", "datakit-profiler", false),
        directory,
    )
    .await?;
    refused(&mount("/etc/localtime", "datakit-logfwd", true), directory).await?;
    refused(&mount("/", "datakit-profiler", true), directory).await?;
    refused(&mount("/etc", "datakit-logfwd", true), directory).await?;

    // Init containers, and names of other versions.
    for name in [
        "datakit-lib-init",
        "datakit-otel-lib-init",
        "datakit-logfwd",
        "datakit-profiler",
        "datakit-flameshot",
    ] {
        let mut pod = profiler(&json!({"image": "evil"}));
        let container = pod["spec"]["containers"][1].take();
        pod["spec"]["containers"]
            .as_array_mut()
            .unwrap()
            .truncate(1);
        pod["spec"]["initContainers"] = json!([container]);
        pod["spec"]["initContainers"][0]["name"] = name.into();
        refused(&pod, "another image").await?;
    }
    // Many containers cost no more than the API server lets a policy cost.
    let mut many = profiler(&json!({}));
    let others = (0..1_000).map(|number| json!({"name": format!("c{number}"), "image": "i"}));
    let list = many["spec"]["containers"].as_array_mut().unwrap();
    list.extend(others);
    accepted(&many).await?;
    let volumes =
        (0..1_000).map(|number| json!({"name": format!("v{number}"), "hostPath": {"path": "/x"}}));
    many["spec"]["volumes"] = volumes.collect();
    accepted(&many).await?;
    Ok(())
}

/// Pods from before the policy go on; their images can't become anything else.
#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn pods_from_before_can_be_changed() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let name = "reserved-before";
    let namespace = cluster.namespace(name, &labels(name)).await?;
    let mut odd = profiler(&json!({"image": "odd", "args": ["x"]}));
    odd["metadata"]["name"] = "odd".into();
    namespace.create_pod(&odd, Mode::Store).await?;
    let mut good = profiler(&json!({}));
    good["metadata"]["name"] = "good".into();
    install(&namespace, &mut json!({"reservedContainers": {}})).await?;
    namespace.create_pod(&good, Mode::Store).await?;

    let path = |pod: &str| format!("/api/v1/namespaces/{name}/pods/{pod}");
    let label = json!({"metadata": {"labels": {"changed": "yes"}}});
    cluster.merge(&path("odd"), &label).await?;
    for pod in ["odd", "good"] {
        let patch =
            json!({"spec": {"containers": [{"name": "datakit-profiler", "image": "evil"}]}});
        let args = ["patch", "pod", pod, "--patch", &patch.to_string()];
        let refused = kubectl_with(cluster.plane(), name, &args, "").unwrap_err();
        let refused = refused.to_string();
        ensure!(refused.contains("another image"), "{refused}");
        let mut debugged = cluster.get(&path(pod)).await?;
        let container = json!({"name": "datakit-flameshot", "image": PROFILER});
        debugged["spec"]["ephemeralContainers"] = json!([container]);
        let ephemeral = format!("{}/ephemeralcontainers", path(pod));
        let refused = cluster.replace(&ephemeral, &debugged).await.unwrap_err();
        let refused = refusal(&refused);
        ensure!(refused.contains("no ephemeral container"), "{refused}");
        debugged["spec"]["ephemeralContainers"][0]["name"] = "debugger".into();
        cluster.replace(&ephemeral, &debugged).await?;
    }
    Ok(())
}

/// Installs the policy for the namespaces of this name, and waits until it is in force.
async fn install(namespace: &Namespace, values: &mut Value) -> Result<()> {
    let (name, plane) = (namespace.name(), namespace.cluster().plane());
    values["fullnameOverride"] = name.into();
    values["reservedContainers"]["enabled"] = true.into();
    values["reservedContainers"]["namespaceSelector"] = json!({"matchLabels": labels(name)});
    let chart = chart().display().to_string();
    let template = [
        "template",
        "release",
        &chart,
        "--values=-",
        "--show-only=templates/validatingadmissionpolicy.yaml",
    ];
    let policy = helm_with(plane, name, &template, &values.to_string())?.stdout;
    let apply = ["apply", "--validate=strict", "--filename=-"];
    kubectl_with(plane, name, &apply, &policy)?;
    let probe = profiler(&json!({"image": "evil"}));
    wait::until("the policy", || async {
        match namespace.create_pod(&probe, Mode::DryRun).await {
            Ok(_) => Err("a pod that breaks it is accepted".to_owned()),
            Err(error) if refusal(&error).contains("another image") => Ok(()),
            Err(error) => Err(refusal(&error)),
        }
    })
    .await
}

/// A pod with what the operator injects as a profiler, but for changes.
fn profiler(changes: &Value) -> Value {
    let mut container = json!({
        "name": "datakit-profiler", "image": PROFILER, "command": ["bash", "cmd.sh"],
        "securityContext": {"capabilities": {"add": ["SYS_PTRACE", "SYS_ADMIN"]}},
    });
    for (key, value) in changes.as_object().into_iter().flatten() {
        container[key] = value.clone();
    }
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "named"},
        "spec": {"containers": [{"name": "app", "image": "app"}, container]},
    })
}

/// A pod that asks for everything.
fn asking(restart: &str, version: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "asking", "annotations": {
            "admission.datakit/java-lib.version": version,
            "admission.datakit/java-profiler.version": version,
            "admission.datakit/logfwd.instances":
                r#"[{"datakit_addr": "d:9533", "loggings": [{"logfiles": ["/var/log/app/*.log"], "source": "s"}]}]"#,
        }},
        "spec": {"restartPolicy": restart, "containers": [{"name": "app", "image": "app"}]},
    })
}

/// The operator's names in a pod, sorted.
fn reserved(pod: &Value) -> Vec<&str> {
    let lists = ["initContainers", "containers"];
    let containers = lists.iter().filter_map(|list| pod["spec"][list].as_array());
    let names = containers
        .flatten()
        .filter_map(|container| container["name"].as_str());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("datakit-")).collect();
    names.sort_unstable();
    names
}
