//! The status of pods: stored by the API server, and read by whoever reads the pod.

use anyhow::{Context as _, Result, ensure};
use datakit_operator_e2e::cluster::{Cluster, Mode};
use datakit_operator_e2e::kubectl::kubectl;
use datakit_operator_e2e::operator::Options;
use datakit_operator_e2e::webhook::{Injected, Policy};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

const CONFIG: &str = r#"{"admission_inject_v2": {"ddtraces": [{
    "name": "shops", "label_selectors": ["app=shop"], "language": "java",
    "image": "registry.example/dd-lib-java-init:v1.2.3"
}]}}"#;

/// A Deployment's pods say what became of them, which nobody is told when they are made.
#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn of_a_deployments_pod() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let options = Options {
        config: Some(CONFIG.to_owned()),
        ..Options::default()
    };
    let injected = Injected::start(&cluster, "pod-status", &options, Policy::Fail).await?;
    let labels = json!({"app": "shop"});
    let annotations = json!({"admission.datakit/java-profiler.version": ""});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {"containers": [{"name": "app", "image": "app"}]},
            },
        },
    });
    let pod = injected
        .namespace
        .pod_of("deployments", &deployment)
        .await?;
    let name = pod["metadata"]["name"].as_str().context("a name")?;
    let path = r"jsonpath={.metadata.annotations.admission\.datakit/status}";
    let args = ["get", "pod", name, "-o", path];
    let printed = kubectl(cluster.plane(), injected.namespace.name(), &args)?;
    let status: Value = serde_json::from_str(&printed.stdout)?;
    let hash = hash(CONFIG);
    let expected = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "config": hash,
        "injected": [{
            "feature": "ddtrace", "language": "java",
            "image": "registry.example/dd-lib-java-init:v1.2.3",
            "rule": "admission_inject_v2.ddtraces[0] (shops)",
        }],
        "skipped": [{
            "feature": "profiler", "language": "java", "reason": "image_not_configured",
            "rule": "admission_inject.profiler",
        }],
    });
    assert_eq!(status, expected);
    // The template stays as its author wrote it.
    let path = format!(
        "/apis/apps/v1/namespaces/{}/deployments/shop",
        injected.namespace.name()
    );
    let stored = cluster.get(&path).await?;
    assert_eq!(
        stored["spec"]["template"]["metadata"]["annotations"],
        annotations
    );
    // The same digits are in the log and in the metrics.
    let reviews = injected.operator.reviews();
    ensure!(
        reviews.iter().all(|review| review["config"] == *hash),
        "{reviews:#?}"
    );
    let metrics = injected.operator.metrics().await?;
    let series = format!("datakit_operator_config_info{{hash=\"{hash}\"}} 1");
    ensure!(metrics.lines().any(|line| line == series), "{metrics}");
    Ok(())
}

/// What the API server takes by itself it takes with a status, or without one where there is no
/// room.
#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn beside_many_annotations() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let options = Options {
        config: Some(CONFIG.to_owned()),
        ..Options::default()
    };
    let injected = Injected::start(&cluster, "status-room", &options, Policy::Fail).await?;
    // Of 256 KiB, these leave no room, little, and enough.
    for (left, has_status) in [(0, false), (200, false), (2_000, true)] {
        let length = (256 << 10) - "filler".len() - left;
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": format!("leaves-{left}"), "labels": {"app": "shop"},
                "annotations": {"filler": "x".repeat(length)},
            },
            "spec": {"containers": [{"name": "app", "image": "app"}]},
        });
        let created = injected.namespace.create_pod(&pod, Mode::Store).await?.pod;
        let status = &created["metadata"]["annotations"]["admission.datakit/status"];
        assert_eq!(status.is_string(), has_status, "{left}");
        assert_eq!(
            created["spec"]["initContainers"][0]["name"], "datakit-lib-init",
            "{left}"
        );
    }
    Ok(())
}

fn hash(document: &str) -> String {
    let digest = digest(&SHA256, document.as_bytes());
    let first = &digest.as_ref()[..6];
    first.iter().map(|byte| format!("{byte:02x}")).collect()
}
