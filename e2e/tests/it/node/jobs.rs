//! Jobs end as they would without the operator.

use anyhow::Result;
use datakit_operator_e2e::cluster::{Namespace, refusal};
use datakit_operator_e2e::node::PATIENCE;
use datakit_operator_e2e::wait;
use serde_json::{Value, json};

use super::{configuration, injected, shell_container};

/// What logfwd is asked to collect.
const INSTANCES: &str = r#"[{"datakit_addr":"10.88.0.1:1","loggings":[{"logfiles":["/var/log/app/*.log"],"source":"app"}]}]"#;

#[tokio::test]
#[ignore = "needs a node: run e2e/run node::"]
async fn a_job_completes_although_its_sidecar_never_ends() -> Result<()> {
    let running = injected("job-completes", &configuration(1)).await?;
    let script = "echo work >/var/log/app/a.log; sleep 1";
    let job = run(&running.namespace, "completes", script, json!({})).await?;
    assert_eq!(finished(&job), ("Complete", "CompletionsReached"));
    let pod = pod_of(&running.namespace, "completes").await?;
    let sidecar = &pod["spec"]["initContainers"][0];
    assert_eq!(sidecar["name"], "datakit-logfwd");
    assert_eq!(sidecar["restartPolicy"], "Always");
    assert_eq!(pod["status"]["phase"], "Succeeded");
    // It ran beside the program, and was ended after it.
    let ended = &pod["status"]["initContainerStatuses"][0]["state"]["terminated"];
    assert!(ended["startedAt"].is_string(), "{pod:#}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs a node: run e2e/run node::"]
async fn a_job_that_fails_fails_for_its_own_reason() -> Result<()> {
    let running = injected("job-fails", &configuration(1)).await?;
    let policy = json!({"backoffLimit": 3, "podFailurePolicy": {"rules": [
        {"action": "FailJob", "onExitCodes": {"containerName": "app", "operator": "In", "values": [7]}},
    ]}});
    let job = run(&running.namespace, "fails", "sleep 1; exit 7", policy).await?;
    assert_eq!(finished(&job), ("Failed", "PodFailurePolicy"));
    let pod = pod_of(&running.namespace, "fails").await?;
    let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(ended["exitCode"], 7);

    let limit = json!({"backoffLimit": 1});
    let job = run(&running.namespace, "fails-again", "exit 3", limit).await?;
    assert_eq!(finished(&job), ("Failed", "BackoffLimitExceeded"));
    assert_eq!(job["status"]["failed"], 2);
    Ok(())
}

#[tokio::test]
#[ignore = "needs a node: run e2e/run node::"]
async fn those_of_a_cron_job_complete() -> Result<()> {
    let running = injected("job-cron", &configuration(1)).await?;
    let namespace = &running.namespace;
    let cron = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "each-minute"},
        "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {
            "metadata": {"annotations": {"admission.datakit/logfwd.instances": INSTANCES}},
            "spec": {
                "restartPolicy": "Never",
                "containers": [shell_container("echo work >/var/log/app/a.log")],
            },
        }}}},
    });
    let name = namespace.name();
    let crons = format!("/apis/batch/v1/namespaces/{name}/cronjobs");
    namespace.cluster().create(&crons, &cron).await?;
    let jobs = format!("/apis/batch/v1/namespaces/{name}/jobs");
    let job = wait::until_within(PATIENCE, "a Job of the CronJob to complete", || async {
        let jobs = namespace.cluster().get(&jobs).await;
        let jobs = jobs.map_err(|error| refusal(&error))?;
        let mut items = jobs["items"].as_array().into_iter().flatten();
        let done = items.find(|job| finished(job).0 == "Complete");
        done.cloned().ok_or_else(|| jobs["items"].to_string())
    })
    .await?;
    assert_eq!(job["metadata"]["ownerReferences"][0]["kind"], "CronJob");
    let name = job["metadata"]["name"].as_str().unwrap_or_default();
    let pod = pod_of(namespace, name).await?;
    assert_eq!(pod["spec"]["initContainers"][0]["name"], "datakit-logfwd");
    assert_eq!(pod["status"]["phase"], "Succeeded");
    namespace
        .cluster()
        .delete(&format!("{crons}/each-minute"), &Value::Null)
        .await?;
    Ok(())
}

/// Runs a Job with logfwd to its end.
async fn run(namespace: &Namespace, name: &str, script: &str, spec: Value) -> Result<Value> {
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec,
    });
    job["spec"]["template"] = json!({
        "metadata": {"annotations": {"admission.datakit/logfwd.instances": INSTANCES}},
        "spec": {"restartPolicy": "Never", "containers": [shell_container(script)]},
    });
    let jobs = format!("/apis/batch/v1/namespaces/{}/jobs", namespace.name());
    namespace.cluster().create(&jobs, &job).await?;
    let path = format!("{jobs}/{name}");
    wait::until_within(PATIENCE, &format!("the end of Job {name}"), || async {
        let job = namespace.cluster().get(&path).await;
        let job = job.map_err(|error| refusal(&error))?;
        match finished(&job) {
            ("", _) => Err(job["status"].to_string()),
            _ => Ok(job),
        }
    })
    .await
}

/// How a Job ended and why; empty while it runs.
fn finished(job: &Value) -> (&str, &str) {
    let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
    let mut ends = conditions.filter(|condition| {
        condition["status"] == "True"
            && (condition["type"] == "Complete" || condition["type"] == "Failed")
    });
    match ends.next() {
        Some(end) => (text(&end["type"]), text(&end["reason"])),
        None => ("", ""),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

async fn pod_of(namespace: &Namespace, job: &str) -> Result<Value> {
    namespace
        .first_pod(&format!("batch.kubernetes.io%2Fjob-name%3D{job}"))
        .await
}
