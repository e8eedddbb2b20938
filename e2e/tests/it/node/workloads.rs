//! Injected workloads roll, and stay when the kubelet is started again.

use anyhow::Result;
use datakit_operator_e2e::collector::Collector;
use datakit_operator_e2e::kubectl::kubectl;
use datakit_operator_e2e::node::{ADDRESS, Node, Pod};
use datakit_operator_e2e::wait;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::{configuration, injected, injected_on, shell_container};

/// Writes a line, and ends when it is told to.
const SCRIPT: &str =
    "trap 'exit 0' TERM; echo of-$HOSTNAME >/var/log/app/a.log; sleep 1000000 & wait";

fn template(collector: &Collector, name: &str) -> Value {
    let instances = json!([{
        "datakit_addr": format!("{ADDRESS}:{}", collector.port()),
        "loggings": [{"logfiles": ["/var/log/app/*.log"], "source": name}],
    }]);
    json!({
        "metadata": {
            "labels": {"app": name},
            "annotations": {"admission.datakit/logfwd.instances": instances.to_string()},
        },
        "spec": {"containers": [shell_container(SCRIPT)]},
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a node: run e2e/run node::"]
async fn roll() -> Result<()> {
    let running = injected("workloads-roll", &configuration(1)).await?;
    let namespace = &running.namespace;
    let collector = Collector::start()?;
    let kubectl = |args: &[&str]| {
        block_in_place(|| kubectl(namespace.cluster().plane(), namespace.name(), args))
    };
    for (kind, resource) in [
        ("Deployment", "deployments"),
        ("StatefulSet", "statefulsets"),
        ("DaemonSet", "daemonsets"),
    ] {
        let name = kind.to_lowercase();
        let mut workload = json!({
            "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
            "spec": {
                "selector": {"matchLabels": {"app": name}}, "template": template(&collector, &name),
            },
        });
        if kind == "StatefulSet" {
            workload["spec"]["serviceName"] = name.as_str().into();
        }
        let first = namespace.pod_of(resource, &workload).await?;
        let of = format!("{name}/{name}");
        kubectl(&["rollout", "status", &of, "--timeout=300s"])?;
        let lines = collector.reports().len();
        kubectl(&["rollout", "restart", &of])?;
        kubectl(&["rollout", "status", &of, "--timeout=300s"])?;
        let args = [
            "get",
            "pods",
            "--selector",
            &format!("app={name}"),
            "-o",
            "json",
        ];
        let list: Value = serde_json::from_str(&kubectl(&args)?.stdout)?;
        let pods = list["items"].as_array().into_iter().flatten();
        let fresh: Vec<_> = pods
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .collect();
        assert_eq!(fresh.len(), 1, "{kind}: {fresh:#?}");
        assert_ne!(fresh[0]["metadata"]["uid"], first["metadata"]["uid"]);
        let pod = Pod::of(namespace, fresh[0])?;
        pod.until_ready().await?;
        // What the new one wrote arrives as well.
        let host = fresh[0]["metadata"]["name"].as_str().unwrap_or_default();
        let report = collector.until(&format!("of-{host}")).await?;
        assert_eq!(report["source"], name.as_str());
        assert!(collector.reports().len() > lines.min(1), "{kind}");
        kubectl(&["delete", &of, "--wait=false"])?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs a node: run e2e/run node::"]
async fn run_on_when_the_kubelet_is_started_again() -> Result<()> {
    let node = Node::get().await?;
    let _alone = node.alone().await;
    let running = injected_on(node, "workloads-kubelet", &configuration(1)).await?;
    let collector = Collector::start()?;
    let mut pod = template(&collector, "steady");
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["metadata"]["name"] = "steady".into();
    let pod = Pod::create(&running.namespace, &pod).await?;
    let before = pod.until_ready().await?;
    collector.until("of-steady").await?;

    node.restart_kubelet().await?;
    let command = ["sh", "-c", "echo afterwards >>/var/log/app/a.log"];
    wait::until("the kubelet again", || async {
        let done = pod.exec("app", &command);
        done.map_err(|error| format!("{error:#}"))
    })
    .await?;
    collector.until("afterwards").await?;
    let after = pod.until_ready().await?;
    let ids = |pod: &Value| {
        let statuses = pod["status"]["containerStatuses"]
            .as_array()
            .into_iter()
            .flatten();
        let ids = statuses.map(|status| (status["name"].clone(), status["containerID"].clone()));
        ids.collect::<Vec<_>>()
    };
    assert_eq!(ids(&before).len(), 2);
    assert_eq!(ids(&before), ids(&after));
    pod.delete().await
}
