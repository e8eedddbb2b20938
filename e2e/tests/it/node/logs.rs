//! What programs write arrives: with whatever volume it is shared, and to the last line.

use anyhow::Result;
use datakit_operator_e2e::collector::Collector;
use datakit_operator_e2e::node::{ADDRESS, Pod};
use serde_json::{Value, json};

use super::{configuration, injected, shell_container};

/// A pod that asks for logfwd.
fn pod(collector: &Collector, name: &str, pattern: &str, script: &str) -> Value {
    let instances = json!([{
        "datakit_addr": format!("{ADDRESS}:{}", collector.port()),
        "loggings": [{"logfiles": [pattern], "source": name, "tags": {"test": "logs"}}],
    }]);
    let mut container = shell_container(script);
    container["env"] = json!([
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name,
            "annotations": {"admission.datakit/logfwd.instances": instances.to_string()},
        },
        "spec": {
            "containers": [container], "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
        },
    })
}

#[tokio::test]
#[ignore = "needs a node: run e2e/run node::"]
async fn of_every_kind_of_volume_arrive() -> Result<()> {
    let running = injected("logs-volumes", &configuration(1)).await?;
    let collector = Collector::start()?;
    let say = |path: &str, line: &str| format!("echo {line} >>{path}; sleep 1000000");

    // Where nothing is mounted there is a volume of ours.
    let plain = pod(
        &collector,
        "plain",
        "/var/log/app/*.log",
        &say("/var/log/app/a.log", "of-plain"),
    );
    // Where one of the pod's is, further up, that is shared.
    let mut shared = pod(&collector, "shared", "/data/logs/**/*.log", "");
    let script =
        "mkdir -p /data/logs/deep/down; echo of-shared >/data/logs/deep/down/a.log; sleep 1000000";
    shared["spec"]["containers"][0]["command"][2] = script.into();
    shared["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
    shared["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "data", "mountPath": "/data"}]);
    // Where it is mounted by a part of it, so it is in the sidecar.
    let mut part = pod(
        &collector,
        "part",
        "/data/logs/*.log",
        &say("/data/logs/a.log", "of-part"),
    );
    part["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
    part["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "data", "mountPath": "/data/logs", "subPath": "logs-of-app"}]);
    // A path that differs from pod to pod.
    let script = "mkdir -p /var/log/named/$POD_NAME; echo of-named >/var/log/named/$POD_NAME/a.log; sleep 1000000";
    let named = pod(
        &collector,
        "named",
        "/var/log/named/$(POD_NAME)/*.log",
        script,
    );

    let mut pods = Vec::new();
    for pod in [plain, shared, part, named] {
        pods.push(Pod::create(&running.namespace, &pod).await?);
    }
    for (name, file) in [
        ("plain", "/var/log/app/a.log"),
        ("shared", "/data/logs/deep/down/a.log"),
        ("part", "/data/logs/a.log"),
        ("named", "/var/log/named/named/a.log"),
    ] {
        let report = collector.until(&format!("of-{name}")).await?;
        assert_eq!(report["source"], name);
        assert_eq!(report["file"], file);
        assert_eq!(report["tags"]["test"], "logs");
    }
    let reports = collector.reports();
    assert_eq!(reports.len(), 4, "{reports:#?}");
    for pod in pods {
        pod.delete().await?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs a node: run e2e/run node::"]
async fn of_a_jobs_last_moment_arrive() -> Result<()> {
    let running = injected("logs-last", &configuration(1)).await?;
    let collector = Collector::start()?;
    let script = "echo first >/var/log/app/a.log; sleep 2; echo last >>/var/log/app/a.log";
    let pod = pod(&collector, "last", "/var/log/app/*.log", script);
    let pod = Pod::create(&running.namespace, &pod).await?;
    let ended = pod.until("Succeeded").await?;
    let sidecar = &ended["status"]["initContainerStatuses"][0];
    assert_eq!(sidecar["state"]["terminated"]["exitCode"], 0, "{ended:#}");
    collector.until("last").await?;
    let reports = collector.reports();
    let lines: Vec<_> = reports.iter().map(|report| &report["line"]).collect();
    assert_eq!(lines, ["first", "last"]);
    Ok(())
}
