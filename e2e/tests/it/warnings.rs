//! What the operator remarks reaches whoever creates the pod.

use anyhow::Result;
use datakit_operator_e2e::cluster::Cluster;
use datakit_operator_e2e::kubectl::kubectl_with;
use datakit_operator_e2e::operator::Options;
use datakit_operator_e2e::webhook::{Injected, Policy};
use serde_json::json;

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn kubectl_prints_them() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let injected =
        Injected::start(&cluster, "warnings", &Options::default(), Policy::Ignore).await?;
    let namespace = injected.namespace.name();
    for (case, annotation, value, spec, expected) in [
        (
            "misspelled",
            "admission.datakit/jav-lib.version",
            "latest",
            json!({}),
            &[
                "admission.datakit/jav-lib.version",
                "admission.datakit/java-lib.version",
            ][..],
        ),
        (
            "skipped",
            "admission.datakit/java-profiler.version",
            "latest",
            json!({"restartPolicy": "Never"}),
            &["profiler", "restartPolicy"],
        ),
        (
            "invalid",
            "admission.datakit/logfwd.instances",
            "[{]",
            json!({}),
            &["admission.datakit/logfwd.instances"],
        ),
        (
            "fine",
            "admission.datakit/java-lib.version",
            "latest",
            json!({}),
            &[],
        ),
    ] {
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": case, "annotations": {annotation: value}},
            "spec": {"containers": [{"name": "app", "image": "app"}]},
        });
        for (key, value) in spec.as_object().unwrap() {
            pod["spec"][key] = value.clone();
        }
        let printed = kubectl_with(
            cluster.plane(),
            namespace,
            &["create", "-f", "-"],
            &pod.to_string(),
        )?;
        assert_eq!(printed.stdout.trim(), format!("pod/{case} created"));
        let warnings: Vec<_> = printed
            .stderr
            .lines()
            .filter_map(|line| line.strip_prefix("Warning: "))
            .collect();
        assert_eq!(
            warnings.is_empty(),
            expected.is_empty(),
            "{case}: {}",
            printed.stderr
        );
        for word in expected {
            assert!(
                warnings.iter().any(|warning| warning.contains(word)),
                "{case}: no {word} in {warnings:#?}"
            );
        }
    }
    Ok(())
}
