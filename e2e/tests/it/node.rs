//! Injected pods run, work and end on a whole node. `e2e/run node::` runs these, and nothing else
//! does: they need namespaces of their own.

mod jobs;
mod logs;
mod otel;
mod profiles;
mod programs;
mod replicas;
mod rules;
mod traces;
mod workloads;

use std::path::Path;

use anyhow::Result;
use datakit_operator_e2e::cluster::{Cluster, Namespace};
use datakit_operator_e2e::node::images::{LOGFWD, SHELL, library_reference, profiler_reference};
use datakit_operator_e2e::node::{ADDRESS, Node, Pod};
use datakit_operator_e2e::operator::{Operator, Options};
use datakit_operator_e2e::webhook::{Injected, Policy};
use serde_json::{Value, json};
use tokio::sync::RwLockReadGuard;

/// What is injected names images that are there.
fn configuration(agent_port: u16) -> Value {
    json!({
        "admission_inject": {
            "ddtrace": {
                "images": {
                    "java_agent_image": library_reference("java"),
                    "python_agent_image": library_reference("python"),
                    "js_agent_image": library_reference("js"),
                },
                "envs": {
                    "DD_AGENT_HOST": "{fieldRef:status.hostIP}",
                    "DD_TRACE_AGENT_PORT": agent_port.to_string(),
                    "POD_NAME": "{fieldRef:metadata.name}",
                    "NODE_NAME": "{fieldRef:spec.nodeName}",
                    "DD_TAGS": "pod_name:$(POD_NAME),host:$(NODE_NAME),configured:yes",
                },
            },
            "profiler": {"images": {
                "java_profiler_image": profiler_reference("java"),
                "python_profiler_image": profiler_reference("python"),
            }},
            "logfwd": {
                "images": {"logfwd_image": LOGFWD},
                "envs": {"POD_NAME": "{fieldRef:metadata.name}"},
            },
        },
    })
}

/// A node, and an operator whose namespace is called like it.
struct Running {
    node: &'static Node,
    namespace: Namespace,
    _operator: Operator,
    _peace: RwLockReadGuard<'static, ()>,
}

async fn injected(name: &str, configuration: &Value) -> Result<Running> {
    let node = Node::get().await?;
    let peace = node.peace().await;
    let injected = injected_on(node, name, configuration).await?;
    Ok(Running {
        node,
        namespace: injected.namespace,
        _operator: injected.operator,
        _peace: peace,
    })
}

/// The same for who has seen to it that nobody is disturbed.
async fn injected_on(node: &Node, name: &str, configuration: &Value) -> Result<Injected> {
    let contents = node.contents();
    node.import(&contents.shell()).await?;
    let logfwd = contents.logfwd(Path::new(env!("CARGO_BIN_EXE_logfwd")))?;
    node.import(&logfwd).await?;
    let options = Options {
        config: Some(configuration.to_string()),
        kubernetes_version: Some("1.37".to_owned()),
        ..Options::default()
    };
    let cluster = Cluster::of(node.plane()).await?;
    Injected::start(&cluster, name, &options, Policy::Fail).await
}

fn shell_container(script: &str) -> Value {
    json!({"name": "app", "image": SHELL, "command": ["sh", "-c", script]})
}

#[tokio::test]
#[ignore = "needs a node: run e2e/run node::"]
async fn a_plain_pod_runs() -> Result<()> {
    let running = injected("plain", &json!({})).await?;
    // Nobody listens there, which only the node itself can say.
    let script = format!("echo hello from $(hostname); wget http://{ADDRESS}:1 || exit 0");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "plain"},
        "spec": {"restartPolicy": "Never", "containers": [shell_container(&script)]},
    });
    let pod = Pod::create(&running.namespace, &pod).await?;
    pod.until("Succeeded").await?;
    let printed = pod.logs("app")?;
    assert!(printed.contains("hello from plain\n"), "{printed}");
    assert!(printed.contains("Connection refused"), "{printed}");
    Ok(())
}
