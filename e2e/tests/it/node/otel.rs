//! OpenTelemetry's real libraries, injected by rules into programs that know nothing of them, send
//! spans.

use anyhow::Result;
use datakit_operator_e2e::node::images::{app_reference, otel_reference};
use datakit_operator_e2e::node::{PATIENCE, Pod};
use datakit_operator_e2e::trace_agent::TraceAgent;
use datakit_operator_e2e::wait;
use serde_json::{Value, json};

use super::injected;
use super::programs::{JAVA, NODE_JS, PYTHON, Program};

#[tokio::test]
#[ignore = "needs a node: run e2e/run node::"]
async fn of_java_sends_spans() -> Result<()> {
    sends_spans(&JAVA, "started with its-own").await
}

#[tokio::test]
#[ignore = "needs a node: run e2e/run node::"]
async fn of_node_js_sends_spans() -> Result<()> {
    sends_spans(
        &NODE_JS,
        "started with --max-old-space-size=200 --require /otel-auto-instrumentation-nodejs",
    )
    .await
}

#[tokio::test]
#[ignore = "needs a node: run e2e/run node::"]
async fn of_python_sends_spans() -> Result<()> {
    sends_spans(&PYTHON, ":/app/more:/otel-auto-instrumentation-python").await
}

/// The variables that the documentation gives for rules, for an agent on the node.
fn configuration(program: &Program, namespace: &str, port: u16) -> Value {
    json!({"admission_inject_v2": {"otels": [{
        "namespace_selectors": [format!("^{namespace}$")],
        "language": program.language,
        "image": otel_reference(program.short),
        "image_pull_policy": "IfNotPresent",
        "envs": {
            "POD_NAME": "{fieldRef:metadata.name}",
            "POD_NAMESPACE": "{fieldRef:metadata.namespace}",
            "NODE_ADDRESS": "{fieldRef:status.hostIP}",
            "OTEL_SERVICE_NAME": "{fieldRef:metadata.labels['app']}",
            "OTEL_RESOURCE_ATTRIBUTES": "k8s.pod.name=$(POD_NAME),k8s.namespace.name=$(POD_NAMESPACE)",
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": format!("http://$(NODE_ADDRESS):{port}/otel/v1/traces"),
        },
    }]}})
}

/// `says` is what the program says of its variable once it has started.
async fn sends_spans(program: &Program, says: &str) -> Result<()> {
    let name = format!("otel-{}", program.short);
    let agent = TraceAgent::start()?;
    let running = injected(&name, &configuration(program, &name, agent.port())).await?;
    let contents = running.node.contents();
    running.node.import(&(program.image)(contents)?).await?;
    let library = contents.otel_library(program.short)?;
    running.node.import(&library).await?;
    let options = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "options"},
        "data": {"options": program.own},
    });
    let namespace = &running.namespace;
    let collection = format!("/api/v1/namespaces/{name}/configmaps");
    namespace.cluster().create(&collection, &options).await?;
    let source = json!({"configMapKeyRef": {"name": "options", "key": "options"}});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "app", "labels": {"app": "shop"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "app", "image": app_reference(program.short),
                "env": [{"name": program.variable, "valueFrom": source}],
                "securityContext": {"runAsUser": 10000, "readOnlyRootFilesystem": true},
            }],
        },
    });
    let pod = Pod::create(namespace, &pod).await?;
    pod.until_ready().await?;
    let found = wait::until_within(PATIENCE, "spans", || async {
        let spans = agent.spans();
        let is_ours = |span: &&Value| {
            let program = &span["program"];
            program["service.name"] == "shop"
                && program["k8s.pod.name"] == "app"
                && program["k8s.namespace.name"] == name.as_str()
        };
        match spans.iter().find(is_ours) {
            Some(_) => Ok(()),
            None => Err(format!("{:?} {spans:?}", agent.requests())),
        }
    });
    if let Err(error) = found.await {
        panic!("{error:#}\n{}", pod.all_logs());
    }
    let logs = pod.logs("app")?;
    assert!(logs.contains(says), "{logs}");
    pod.delete().await
}
