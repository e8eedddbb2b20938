//! Real tracing libraries, injected into programs that know nothing of them, send spans.

use std::time::Instant;

use anyhow::Result;
use datakit_operator_e2e::node::images::app_reference;
use datakit_operator_e2e::node::{NAME, PATIENCE, Pod, say};
use datakit_operator_e2e::trace_agent::TraceAgent;
use datakit_operator_e2e::wait;
use serde_json::{Value, json};

use super::programs::{JAVA, NODE_JS, PYTHON, Program};
use super::{configuration, injected};

#[tokio::test]
#[ignore = "needs a node: run e2e/run node::"]
async fn of_java_arrive() -> Result<()> {
    arrive(&JAVA, "started with its-own").await
}

#[tokio::test]
#[ignore = "needs a node: run e2e/run node::"]
async fn of_node_js_arrive() -> Result<()> {
    arrive(
        &NODE_JS,
        "started with --max-old-space-size=200 --require=/datadog-lib/node_modules/dd-trace/init",
    )
    .await
}

#[tokio::test]
#[ignore = "needs a node: run e2e/run node::"]
async fn of_python_arrive() -> Result<()> {
    arrive(&PYTHON, "started with /datadog-lib/:/app/more").await
}

/// In a namespace that enforces the restricted profile, with a root that can't be written to, two
/// containers of different users, whose start-up variables come from a ConfigMap and a Secret.
/// `says` is what the program says of its variable once it has started.
async fn arrive(program: &Program, says: &str) -> Result<()> {
    let language = program.short;
    let name = format!("traces-{language}");
    let agent = TraceAgent::start()?;
    let running = injected(&name, &configuration(agent.port())).await?;
    let contents = running.node.contents();
    running.node.import(&(program.image)(contents)?).await?;
    running.node.import(&contents.library(language)?).await?;
    let namespace = &running.namespace;
    let cluster = namespace.cluster();
    let path = format!("/api/v1/namespaces/{name}");
    let enforced =
        json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    cluster.merge(&path, &enforced).await?;
    for (kind, field) in [("ConfigMap", "data"), ("Secret", "stringData")] {
        let object = json!({
            "apiVersion": "v1", "kind": kind, "metadata": {"name": "options"},
            field: {"options": program.own},
        });
        let collection = format!("{path}/{}s", kind.to_lowercase());
        cluster.create(&collection, &object).await?;
    }

    // Containers of a pod share its ports.
    let container = |name: &str, kind: &str, user: u64, port: &str| {
        json!({
            "name": name, "image": app_reference(language),
            "env": [
                {"name": program.variable, "valueFrom": {kind: {"name": "options", "key": "options"}}},
                {"name": "PORT", "value": port},
                {"name": "DD_SERVICE", "value": format!("service-of-{name}")},
                {"name": "DD_TAGS", "value": "team:red,configured:mine"},
            ],
            "securityContext": {
                "runAsUser": user, "runAsNonRoot": true, "readOnlyRootFilesystem": true,
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        })
    };
    let annotation = format!("admission.datakit/{language}-lib.version");
    let containers = [
        container("first", "configMapKeyRef", 10000, "8080"),
        container("second", "secretKeyRef", 20000, "8081"),
    ];
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "plain"},
        "spec": {
            "containers": containers,
            "terminationGracePeriodSeconds": 1,
        },
    });
    // The same without the library, to compare.
    let begin = Instant::now();
    let plain = Pod::create(namespace, &pod).await?;
    plain.until_ready().await?;
    say(&format!(
        "{language}: a plain pod is ready after {:.1?}",
        begin.elapsed()
    ));
    plain.delete().await?;
    pod["metadata"] = json!({"name": "app", "annotations": {annotation: "1"}});
    let begin = Instant::now();
    let pod = Pod::create(namespace, &pod).await?;
    pod.until_ready().await?;
    say(&format!(
        "{language}: an injected one after {:.1?}",
        begin.elapsed()
    ));
    for container in ["first", "second"] {
        let what = format!("spans of {container}");
        let found = wait::until_within(PATIENCE, &what, || async {
            let service = format!("service-of-{container}");
            let spans = agent.spans();
            // A span of a database is of the database's service; whose it is stands beside.
            let mut of_service = spans.iter().filter(|span| {
                let services = [&span["service"], &span["meta"]["_dd.base_service"]];
                services.iter().any(|found| **found == service.as_str())
            });
            of_service
                .find(|span| is_tagged(&span["meta"]))
                .cloned()
                .ok_or_else(|| {
                    let requests = agent.requests();
                    let last = &requests[requests.len().saturating_sub(5)..];
                    let spans = &spans[..spans.len().min(3)];
                    format!(
                        "{} requests, the last {last:?}; spans {spans:?}",
                        requests.len()
                    )
                })
        });
        if let Err(error) = found.await {
            panic!("{error:#}\n{}", pod.all_logs());
        }
        let logs = pod.logs(container)?;
        assert!(logs.contains(says), "{container}: {logs}");
    }
    say(&format!(
        "{language}: spans of both after {:.1?}",
        begin.elapsed()
    ));
    pod.delete().await
}

/// What the pod says of itself comes before what is configured, and both are there, with variables
/// replaced.
fn is_tagged(tags: &Value) -> bool {
    [
        ("team", "red"),
        ("configured", "mine"),
        ("pod_name", "app"),
        ("host", NAME),
    ]
    .iter()
    .all(|(name, value)| tags[name] == *value)
}
