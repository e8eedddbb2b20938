//! What was not injected as asked is told by `kubectl describe` of the workload.

use anyhow::{Context, Result, ensure};
use datakit_operator_e2e::cluster::{Cluster, refusal};
use datakit_operator_e2e::installation::Installation;
use datakit_operator_e2e::kubectl::{kubectl, kubectl_with};
use datakit_operator_e2e::traffic::until_injected;
use datakit_operator_e2e::wait;
use serde_json::{Value, json};

const SENTENCE: &str = "did you mean `admission.datakit/java-lib.version`?";

/// As in the chart.
fn writing() -> Value {
    json!([{"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]}])
}

/// As in the chart.
fn finding_owners() -> Value {
    json!([
        {"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["get"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get"]},
    ])
}

fn workload(kind: &str, name: &str, replicas: u32) -> Value {
    let mut pod = json!({
        "metadata": {"labels": {"app": name}, "annotations": {"admission.datakit/jav-lib.version": ""}},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    });
    let selector = json!({"matchLabels": {"app": name}});
    let (version, spec) = match kind {
        "Job" => {
            pod["spec"]["restartPolicy"] = json!("Never");
            (
                "batch/v1",
                json!({"template": pod, "parallelism": replicas}),
            )
        }
        "DaemonSet" => ("apps/v1", json!({"selector": selector, "template": pod})),
        _ => (
            "apps/v1",
            json!({"selector": selector, "template": pod, "replicas": replicas}),
        ),
    };
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn kubectl_describe_shows_what_to_do() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let name = "events";
    let installation = Installation::new(&cluster, name, &[]).await?;
    installation.grant("writes", &writing()).await?;
    installation.grant("asks", &finding_owners()).await?;
    let mut members = installation.start_many(2).await?;
    installation.until_secret().await?;
    let pods = installation.pods();
    until_injected(pods).await?;
    let (plane, namespace) = (cluster.plane(), pods.name());
    for kind in ["Deployment", "StatefulSet", "DaemonSet", "Job"] {
        let app = kind.to_lowercase();
        let object = workload(kind, &app, 3).to_string();
        kubectl_with(plane, namespace, &["create", "--filename=-"], &object)?;
        wait::until("the event", || async {
            let args = ["describe", &app, &app];
            let printed = kubectl(plane, namespace, &args).map_err(|error| error.to_string())?;
            let shown = printed.stdout;
            let told = shown.contains(SENTENCE)
                && shown.contains("AnnotationMistake")
                && shown.contains("datakit-operator");
            if told { Ok(()) } else { Err(shown) }
        })
        .await?;
    }
    // A Job that a CronJob makes.
    let mut job = workload("Job", "x", 1);
    let cron = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "cron"},
        "spec": {"schedule": "* * * * *", "suspend": true, "jobTemplate": {"spec": job["spec"].take()}},
    });
    kubectl_with(
        plane,
        namespace,
        &["create", "--filename=-"],
        &cron.to_string(),
    )?;
    kubectl(
        plane,
        namespace,
        &["create", "job", "now", "--from=cronjob/cron"],
    )?;
    wait::until("the event on the CronJob", || async {
        let printed = kubectl(plane, namespace, &["describe", "cronjob", "cron"]);
        let shown = printed.map_err(|error| error.to_string())?.stdout;
        if shown.contains(SENTENCE) {
            Ok(())
        } else {
            Err(shown)
        }
    })
    .await?;
    // Three pods are one Event, whichever replica saw them.
    let path = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
    wait::until("one series", || async {
        let list = cluster.get(&path).await.map_err(|error| refusal(&error))?;
        let ours = list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|event| {
                event["reportingController"] == "datakit-operator"
                    && event["regarding"]["kind"] == "Deployment"
            });
        match ours.collect::<Vec<_>>().as_slice() {
            [_] => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let page = members[0]
        .replica
        .metric("datakit_operator_events_total", &["outcome=\"written\""])
        .await?
        + members[1]
            .replica
            .metric("datakit_operator_events_total", &["outcome=\"written\""])
            .await?;
    ensure!(page >= 5.0, "{page}");
    for member in &mut members {
        ensure!(
            !member
                .replica
                .log()
                .contains("\"operation\":\"write_events\"")
        );
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn without_the_rights_nothing_else_changes() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let name = "events-forbidden";
    let installation = Installation::new(&cluster, name, &[]).await?;
    let members = installation.start_many(1).await?;
    let pods = installation.pods();
    until_injected(pods).await?;
    let (plane, namespace) = (cluster.plane(), pods.name());
    let create = |app: &str| {
        let object = workload("Deployment", app, 1).to_string();
        kubectl_with(plane, namespace, &["create", "--filename=-"], &object)
    };
    create("first")?;
    let refused = || async {
        let count = members[0]
            .replica
            .metric("datakit_operator_events_total", &["outcome=\"refused\""])
            .await;
        count.map_err(|error| error.to_string())
    };
    wait::until("a refusal", || async {
        let count = refused().await?;
        if count > 0.0 {
            Ok(())
        } else {
            Err(count.to_string())
        }
    })
    .await?;
    create("second")?;
    wait::until("another refusal", || async {
        let count = refused().await?;
        if count > 1.0 {
            Ok(())
        } else {
            Err(count.to_string())
        }
    })
    .await?;
    let lines = members[0].replica.lines();
    let said = lines
        .iter()
        .filter(|line| line["operation"] == "write_events");
    let said = said.count();
    ensure!(said == 1, "it is said {said} times");
    until_injected(pods).await.context("it goes on")
}
