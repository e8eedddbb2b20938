//! `datakit-operator explain deployment/x` says what happens there.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use datakit_operator_e2e::cluster::Cluster;
use datakit_operator_e2e::operator::program;
use datakit_operator_e2e::process::without_proxies;
use serde_json::{Value, json};

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn it_knows_the_clusters_rules() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let (name, operator) = ("explain", "explain-operator");
    let baseline = json!({"pod-security.kubernetes.io/enforce": "baseline"});
    cluster.namespace(name, &baseline).await?;
    cluster.namespace(operator, &json!({})).await?;
    let images = json!({"java_agent_image": "java:1"});
    let profiler = json!({"java_profiler_image": "profiler:1"});
    let config = json!({"admission_inject": {
        "ddtrace": {"images": images, "resources": {
            "requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "512Mi"},
        }},
        "profiler": {"images": profiler},
    }});
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine-config"},
        "data": {"jsonconfig": config.to_string()},
    });
    let maps = format!("/api/v1/namespaces/{operator}/configmaps");
    cluster.create(&maps, &map).await?;
    let range = json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"},
        "spec": {"limits": [{"type": "Container", "min": {"cpu": "200m"}}]},
    });
    let ranges = format!("/api/v1/namespaces/{name}/limitranges");
    cluster.create(&ranges, &range).await?;
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "shop"}}, "template": {
            "metadata": {"labels": {"app": "shop"}, "annotations": {
                "admission.datakit/java-lib.version": "", "admission.datakit/java-profiler.version": "",
            }},
            "spec": {"containers": [{"name": "app", "image": "app", "resources": {"requests": {"cpu": "300m"}}}]},
        }},
    });
    let deployments = format!("/apis/apps/v1/namespaces/{name}/deployments");
    cluster.create(&deployments, &deployment).await?;

    let explain = |args: &[&str]| -> Result<(Option<i32>, String, String)> {
        let output = without_proxies(&mut Command::new(program()?))
            .args(["explain", "--namespace", name, "--kubeconfig"])
            .arg(cluster.plane().kubeconfig())
            .args(args)
            .output()?;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes);
        Ok((
            output.status.code(),
            text(output.stdout)?,
            text(output.stderr)?,
        ))
    };
    let there = ["--operator-namespace", operator, "--service-name", "mine"];
    let json = [
        &there[..],
        &["deployment/shop", "--output=json", "--fail-on=skipped"],
    ]
    .concat();
    let (code, printed, said) = explain(&json)?;
    ensure!(code == Some(3), "{code:?} {printed} {said}");
    let origin = "ConfigMap explain-operator/mine-config";
    ensure!(
        said.contains(&format!("configuration: {origin} (")),
        "{said}"
    );
    ensure!(said.contains("`mine-mutation` does not exist"), "{said}");
    let report: Value = serde_json::from_str(&printed)?;
    ensure!(report["configuration"] == origin, "{report}");
    let decisions = report["templates"][0]["decisions"].as_array();
    let decision = |feature: &str| -> Result<&Value> {
        let mut found = decisions.into_iter().flatten();
        found
            .find(|decision| decision["feature"] == feature)
            .with_context(|| format!("no {feature} in {report}"))
    };
    ensure!(decision("ddtrace")?["outcome"] == "injected", "{report}");
    let notes = decision("ddtrace")?["notes"].to_string();
    ensure!(notes.contains("LimitRange `small`"), "{notes}");
    ensure!(
        decision("profiler")?["reason"]["code"] == "pod_security",
        "{report}"
    );

    // Whether the operator is asked at all. No request fits this registration.
    let selector = json!({"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [name]}]});
    let registration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "mine-mutation"},
        "webhooks": [{
            "name": "inject.datakit.example", "clientConfig": {"url": "https://localhost:1/"},
            "rules": [{"operations": ["CREATE"], "apiGroups": ["none.example"], "apiVersions": ["v1"], "resources": ["none"]}],
            "namespaceSelector": selector, "failurePolicy": "Ignore", "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }],
    });
    let registrations = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    cluster.create(registrations, &registration).await?;
    let (code, _, said) = explain(&json)?;
    ensure!(code == Some(3), "{code:?} {said}");
    ensure!(said.contains("leaves namespace `explain` out"), "{said}");
    cluster
        .merge(
            &format!("{registrations}/mine-mutation"),
            &json!({"webhooks": [{"name": "inject.datakit.example", "clientConfig": {"url": "https://localhost:1/"},
                "rules": registration["webhooks"][0]["rules"], "sideEffects": "None", "admissionReviewVersions": ["v1"]}]}),
        )
        .await?;
    let (_, _, said) = explain(&json)?;
    ensure!(
        said.trim()
            .starts_with(&format!("configuration: {origin} ("))
            && said.lines().count() == 1,
        "{said}"
    );

    // What isn't there is said, and no other configuration is guessed.
    let missing = [&there[..], &["sts/none"]].concat();
    let (code, _, said) = explain(&missing)?;
    ensure!(
        code == Some(1) && said.contains("statefulsets/none"),
        "{code:?} {said}"
    );
    let (code, _, said) = explain(&["deploy/shop", "--operator-namespace", name])?;
    ensure!(
        code == Some(1) && said.contains("--service-name"),
        "{code:?} {said}"
    );
    Ok(())
}
