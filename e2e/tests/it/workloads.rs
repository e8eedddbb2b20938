//! Pod templates of every kind of workload give injected pods.

use anyhow::Result;
use datakit_operator_e2e::cluster::{Cluster, Namespace};
use datakit_operator_e2e::kubectl::kubectl;
use datakit_operator_e2e::operator::Options;
use datakit_operator_e2e::wait;
use datakit_operator_e2e::webhook::{Injected, Policy};
use serde_json::{Value, json};

use crate::shapes::{FEATURES, Feature, has_traces};

/// A kind of workload whose controller makes pods that are meant to run on.
const LASTING: [(&str, &str, &str); 3] = [
    ("Deployment", "apps/v1", "deployments"),
    ("DaemonSet", "apps/v1", "daemonsets"),
    ("StatefulSet", "apps/v1", "statefulsets"),
];

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn that_run_on() -> Result<()> {
    let injected = start("workloads", Some("1.37")).await?;
    for (kind, version, resource) in LASTING {
        for (name, feature) in FEATURES {
            let name = format!("{name}-{}", kind.to_lowercase());
            let workload = lasting(kind, version, &name, &[feature]);
            let pod = injected.namespace.pod_of(resource, &workload).await?;
            assert_eq!(pod["metadata"]["ownerReferences"][0]["controller"], true);
            feature.assert_in(&pod, &["app", "helper"], false);
        }
        let name = format!("all-{}", kind.to_lowercase());
        let all = [FEATURES[0].1, FEATURES[4].1, FEATURES[5].1];
        let pod = injected
            .namespace
            .pod_of(resource, &lasting(kind, version, &name, &all))
            .await?;
        for feature in all {
            feature.assert_in(&pod, &["app", "helper"], false);
        }
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn that_end() -> Result<()> {
    let injected = start("jobs", Some("1.37")).await?;
    for (name, feature) in FEATURES {
        for cron in [false, true] {
            let pod = job_pod(&injected.namespace, name, feature, cron).await?;
            match feature {
                Feature::Profiler(_) => assert!(!has_traces(&pod), "{pod:#}"),
                _ => feature.assert_in(&pod, &["app", "helper"], true),
            }
        }
    }
    // Three profilers, each in a Job and in a CronJob.
    wait::until("the reason in the operator's log", || async {
        let reviews = injected.operator.reviews();
        let said = reviews
            .iter()
            .filter(|review| review["profiler"] == "skipped:restart_policy")
            .count();
        if said >= 6 {
            Ok(())
        } else {
            Err(format!("only {said} reviews say it: {reviews:#?}"))
        }
    })
    .await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn that_end_on_a_cluster_of_unknown_version() -> Result<()> {
    let injected = start("jobs-of-unknown-version", None).await?;
    let pod = job_pod(&injected.namespace, "logfwd", Feature::Logfwd, false).await?;
    Feature::Logfwd.assert_in(&pod, &["app", "helper"], false);
    Ok(())
}

async fn start(name: &str, version: Option<&str>) -> Result<Injected> {
    let options = Options {
        kubernetes_version: version.map(str::to_owned),
        ..Options::default()
    };
    Injected::start(&Cluster::connect().await?, name, &options, Policy::Ignore).await
}

/// The pod of a Job, or of a Job that `kubectl` makes from a CronJob.
async fn job_pod(namespace: &Namespace, name: &str, feature: Feature, cron: bool) -> Result<Value> {
    let mut template = template(name, &[feature]);
    template["spec"]["restartPolicy"] = "Never".into();
    let spec = json!({"template": template});
    if !cron {
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec});
        return namespace.pod_of("jobs", &job).await;
    }
    let cron_job = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name},
        "spec": {"schedule": "0 0 1 1 *", "suspend": true, "jobTemplate": {"spec": spec}},
    });
    let path = format!("/apis/batch/v1/namespaces/{}/cronjobs", namespace.name());
    namespace.cluster().create(&path, &cron_job).await?;
    let job = format!("{name}-by-hand");
    let from = format!("--from=cronjob/{name}");
    kubectl(
        namespace.cluster().plane(),
        namespace.name(),
        &["create", "job", &job, &from],
    )?;
    namespace
        .first_pod(&format!("batch.kubernetes.io%2Fjob-name%3D{job}"))
        .await
}

fn lasting(kind: &str, version: &str, name: &str, features: &[Feature]) -> Value {
    let mut workload = json!({
        "apiVersion": version, "kind": kind, "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template(name, features)},
    });
    if kind == "StatefulSet" {
        workload["spec"]["serviceName"] = name.into();
    }
    workload
}

fn template(name: &str, features: &[Feature]) -> Value {
    let mut template = json!({
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [
            {"name": "app", "image": "registry.example.com/app:1", "ports": [{"containerPort": 8080}]},
            {"name": "helper", "image": "registry.example.com/helper:1"},
        ]},
    });
    for feature in features {
        feature.ask(&mut template);
    }
    template
}
