//! `datakit-operator missed` lists what was made while nobody injected, and how to mend it.

use std::process::Command;

use anyhow::{Result, ensure};
use datakit_operator_e2e::cluster::Cluster;
use datakit_operator_e2e::operator::{Options, program};
use datakit_operator_e2e::process::without_proxies;
use datakit_operator_e2e::webhook::{Injected, Policy};
use serde_json::{Value, json};

fn deployment(name: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}, "annotations": annotations},
            "spec": {"containers": [{"name": "app", "image": "app"}]},
        }},
    })
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn what_was_not_injected_is_listed() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let config =
        json!({"admission_inject": {"ddtrace": {"images": {"java_agent_image": "java:1"}}}});
    let options = Options {
        config: Some(config.to_string()),
        ..Options::default()
    };
    let java = json!({"admission.datakit/java-lib.version": ""});
    // Where the operator isn't asked, and where it is.
    let away = cluster.namespace("missed-away", &json!({})).await?;
    let injected = Injected::start(&cluster, "missed", &options, Policy::Fail).await?;
    for namespace in [&away, &injected.namespace] {
        namespace
            .pod_of("deployments", &deployment("asks", &java))
            .await?;
        namespace
            .pod_of("deployments", &deployment("plain", &json!({})))
            .await?;
        let bare = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare", "annotations": java},
            "spec": {"containers": [{"name": "app", "image": "app"}]},
        });
        let pods = format!("/api/v1/namespaces/{}/pods", namespace.name());
        cluster.create(&pods, &bare).await?;
    }
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine-config"},
        "data": {"jsonconfig": config.to_string()},
    });
    let maps = format!("/api/v1/namespaces/{}/configmaps", away.name());
    cluster.create(&maps, &map).await?;

    let missed = |args: &[&str]| -> Result<(Option<i32>, String)> {
        let output = without_proxies(&mut Command::new(program()?))
            .args(["missed", "--operator-namespace", away.name()])
            .args(["--service-name", "mine", "--kubeconfig"])
            .arg(cluster.plane().kubeconfig())
            .args(args)
            .output()?;
        let said = String::from_utf8(output.stderr)?;
        let origin = format!("configuration: ConfigMap {}/mine-config", away.name());
        ensure!(said.trim() == origin, "{said}");
        Ok((output.status.code(), String::from_utf8(output.stdout)?))
    };
    let (code, printed) = missed(&["-n", away.name(), "-o", "json", "--fail"])?;
    ensure!(code == Some(3), "{code:?} {printed}");
    let report: Value = serde_json::from_str(&printed)?;
    let pods = report["pods"].as_array().map_or(0, Vec::len);
    ensure!(pods == 2, "{report}");
    let command = "kubectl rollout restart deployment/asks -n missed-away";
    ensure!(report["commands"] == json!([command]), "{report}");
    let (code, printed) = missed(&["-n", away.name()])?;
    ensure!(code == Some(0), "{code:?} {printed}");
    for part in [
        "missed-away/bare",
        "ddtrace (java)",
        command,
        "created again",
    ] {
        ensure!(printed.contains(part), "no `{part}` in {printed}");
    }
    let (code, printed) = missed(&["-n", injected.namespace.name(), "--fail"])?;
    ensure!(code == Some(0), "{code:?} {printed}");
    ensure!(printed.starts_with("No pod lacks"), "{printed}");
    // All namespaces but the operator's own.
    let (_, printed) = missed(&["-o", "json"])?;
    ensure!(!printed.contains("missed-away\""), "{printed}");
    Ok(())
}
