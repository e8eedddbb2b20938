//! What rules give beside OpenTelemetry, on a node: PHP's settings, flameshot, volumes for the agent.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result};
use datakit_operator_e2e::node::images::{FLAMESHOT, app_reference, library_reference};
use datakit_operator_e2e::node::{PATIENCE, Pod};
use datakit_operator_e2e::wait;
use serde_json::{Value, json};

use super::{injected, shell_container};

/// The start of PHP's settings that the image of the program has.
const SCANNED: &str = "/etc/php/own:/datadog-lib";

#[tokio::test]
#[ignore = "needs a node: run e2e/run node::"]
async fn for_php_are_read_by_it() -> Result<()> {
    let own = json!({"env": [{"name": "PHP_INI_SCAN_DIR", "value": "/etc/php/own"}]});
    // The configuration knows what this one defines.
    let from = json!({"envFrom": [{"prefix": "PHP_", "configMapRef": {"name": "php"}}]});
    for (flavour, environment) in [("linux-gnu", own), ("linux-musl", from)] {
        let name = format!("php-{flavour}");
        let running = injected(
            &name,
            &json!({"admission_inject_v2": {"ddtraces": [{
                "namespace_selectors": [name], "language": "php",
                "image": library_reference("php"), "image_pull_policy": "IfNotPresent",
                "php_loader_flavor": flavour,
            }]},
            "admission_env_from": [{"variable": "PHP_INI_SCAN_DIR", "config_maps": ["php"]}]}),
        )
        .await?;
        let contents = running.node.contents();
        running.node.import(&contents.php()?).await?;
        running.node.import(&contents.php_library()).await?;
        let settings = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "php"},
            "data": {"INI_SCAN_DIR": "/etc/php/own"},
        });
        let collection = format!("/api/v1/namespaces/{name}/configmaps");
        let cluster = running.namespace.cluster();
        cluster.create(&collection, &settings).await?;
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app"},
            "spec": {"containers": [{"name": "app", "image": app_reference("php")}]},
        });
        for (key, value) in environment.as_object().into_iter().flatten() {
            pod["spec"]["containers"][0][key] = value.clone();
        }
        let pod = Pod::create(&running.namespace, &pod).await?;
        pod.until_ready().await?;
        for line in [
            format!("started with {SCANNED}"),
            "packages in /datadog-lib".to_owned(),
            format!("settings loaded: {flavour}"),
        ] {
            wait::until_within(PATIENCE, &line, || async {
                let logs = pod.logs("app").map_err(|error| format!("{error:#}"))?;
                logs.contains(&line).then_some(()).ok_or(logs)
            })
            .await?;
        }
        pod.delete().await?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs a node: run e2e/run node::"]
async fn for_flameshot_let_it_see_and_be_seen() -> Result<()> {
    let running = injected(
        "flameshot",
        &json!({"admission_inject_v2": {"flameshots": [{
            "namespace_selectors": ["^flameshot$"], "image": FLAMESHOT,
            "image_pull_policy": "IfNotPresent", "processes": "[{\"command\":\"sleep\"}]",
            "enable_prometheus_annotations": true,
            "envs": {
                "FLAMESHOT_PROFILING_PATH": "/flameshot-data",
                "FLAMESHOT_HTTP_LOCAL_PORT": "8089",
            },
        }]}}),
    )
    .await?;
    running
        .node
        .import(&running.node.contents().flameshot())
        .await?;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app"},
        "spec": {
            "containers": [shell_container("exec sleep 987654")],
            "terminationGracePeriodSeconds": 1,
        },
    });
    let pod = Pod::create(&running.namespace, &pod).await?;
    let ready = pod.until_ready().await?;
    let annotations = &ready["metadata"]["annotations"];
    assert_eq!(annotations["prometheus.io/port"], "8089");
    // It sees the processes of the others, and they what it left.
    for line in ["watches [{\"command\":\"sleep\"}]", "sees sleep 987654"] {
        wait::until_within(PATIENCE, line, || async {
            let logs = pod.logs("datakit-flameshot");
            let logs = logs.map_err(|error| format!("{error:#}"))?;
            logs.contains(line).then_some(()).ok_or(logs)
        })
        .await?;
    }
    let profile = pod.exec("app", &["cat", "/flameshot-data/of-it"])?;
    assert_eq!(profile, "profile\n");
    // Whoever scrapes it finds it at the port that the annotation names.
    let address = ready["status"]["podIP"]
        .as_str()
        .context("no address")?
        .to_owned();
    wait::until("its metrics", || async {
        metrics(&format!("{address}:8089")).map_err(|error| error.to_string())
    })
    .await?;
    pod.delete().await
}

fn metrics(address: &str) -> Result<()> {
    let mut connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    anyhow::ensure!(answer.ends_with("metrics"), "{answer}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs a node: run e2e/run node::"]
async fn for_logging_put_files_where_the_agent_finds_them() -> Result<()> {
    let told = r#"[{"type":"file","path":"/var/log/app/*.log","source":"app"}]"#;
    let running = injected(
        "logging",
        &json!({"admission_mutate": {"loggings": [{
            "namespace_selectors": ["^logging$"], "label_selectors": ["app=web"], "config": told,
        }]}}),
    )
    .await?;
    let script = "echo of-the-program >/var/log/app/a.log; sleep 1000000";
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app", "labels": {"app": "web"}},
        "spec": {"containers": [shell_container(script)], "terminationGracePeriodSeconds": 1},
    });
    let pod = Pod::create(&running.namespace, &pod).await?;
    let ready = pod.until_ready().await?;
    assert_eq!(ready["metadata"]["annotations"]["datakit/logs"], told);
    let volumes = ready["spec"]["volumes"].as_array().into_iter().flatten();
    let names = volumes.filter_map(|volume: &Value| volume["name"].as_str());
    let mut ours = names.filter(|name| name.starts_with("datakit-logs-volume-"));
    let volume = ours.next().context("no volume")?;
    // The agent reads it from the node, where the kubelet keeps it.
    let uid = ready["metadata"]["uid"].as_str().context("no uid")?;
    let file = running.node.plane().directory().join(format!(
        "kubelet/pods/{uid}/volumes/kubernetes.io~empty-dir/{volume}/a.log"
    ));
    wait::until_within(PATIENCE, "the line", || async {
        let text = std::fs::read_to_string(&file);
        let text = text.map_err(|error| format!("{}: {error}", file.display()))?;
        (text == "of-the-program\n").then_some(()).ok_or(text)
    })
    .await?;
    pod.delete().await
}
