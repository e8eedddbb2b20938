//! An operator that knows the cluster: what the API server would refuse because of what is added is
//! not added, or fitted.

use anyhow::Result;
use datakit_operator_e2e::cluster::{Cluster, Mode, Namespace, refusal};
use datakit_operator_e2e::operator::Options;
use datakit_operator_e2e::stored::contained;
use datakit_operator_e2e::wait;
use datakit_operator_e2e::webhook::{self, Injected, Policy};
use serde_json::{Value, json};

use crate::shapes::{FEATURES, Feature, has_traces, named};

const LEVEL: &str = "pod-security.kubernetes.io/enforce";
const PROFILER: Feature = FEATURES[5].1;

fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": {
        "containers": [{"name": "app", "image": "i", "resources": {"limits": {"cpu": "200m", "memory": "200Mi"}}}]}})
}

fn asking(features: &[Feature]) -> Value {
    let mut pod = pod();
    for feature in features {
        feature.ask(&mut pod);
    }
    pod
}

/// Creates the pod until this is said about it: watches take a moment.
async fn until_said(namespace: &Namespace, pod: &Value, said: &str) -> Result<Value> {
    wait::until(said, || async {
        match namespace.create_pod(pod, Mode::DryRun).await {
            Ok(created)
                if created
                    .warnings
                    .iter()
                    .any(|warning| warning.contains(said)) =>
            {
                Ok(created.pod)
            }
            Ok(created) => Err(format!("said instead: {:?}", created.warnings)),
            Err(error) => Err(refusal(&error)),
        }
    })
    .await
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn their_rules_are_kept() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let name = "namespaces";
    let kubeconfig = cluster.plane().kubeconfig().display().to_string();
    let options = Options {
        variables: vec![("KUBECONFIG".to_owned(), kubeconfig)],
        ..Options::default()
    };
    let injected = Injected::start(&cluster, name, &options, Policy::Fail).await?;
    profilers(&cluster, &injected, name).await?;
    resources(&injected.namespace).await?;
    quota(&injected.namespace).await?;
    version(&injected.namespace).await
}

/// Profilers go where they are allowed, and nowhere else.
async fn profilers(cluster: &Cluster, injected: &Injected, name: &str) -> Result<()> {
    let asks = asking(&[PROFILER]);
    // Of a namespace that is there, the operator knows what it enforces.
    let free = injected.namespace.create_pod(&asks, Mode::DryRun).await?;
    PROFILER.assert_in(&free.pod, &["app"], false);
    for level in ["baseline", "restricted"] {
        let mut labels = webhook::labels(name);
        labels[LEVEL] = level.into();
        let strict = cluster
            .namespace(&format!("{name}-{level}"), &labels)
            .await?;
        let mut asks = asks.clone();
        if level == "restricted" {
            let spec = &mut asks["spec"];
            spec["securityContext"] = json!({"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}});
            spec["containers"][0]["securityContext"] =
                json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
        }
        // From the very first pod on it is at least not refused, whatever is known by then.
        let first = strict.create_pod(&asks, Mode::DryRun).await?;
        assert!(!has_traces(&first.pod), "{level}: {:#}", first.pod);
        // A pod that asks for root nowhere is told the level; one that forbids root is told that
        // first.
        if level == "baseline" {
            let said = "enforces Pod Security level baseline";
            let pod = until_said(&strict, &asks, said).await?;
            assert!(!has_traces(&pod));
            // The level may change at any time.
            let path = format!("/api/v1/namespaces/{}", strict.name());
            let change = json!({"metadata": {"labels": {LEVEL: null}}});
            cluster.merge(&path, &change).await?;
            wait::until("the profiler", || async {
                let created = strict.create_pod(&asks, Mode::DryRun).await;
                match created {
                    Ok(created) if has_traces(&created.pod) => Ok(()),
                    Ok(created) => Err(format!("{:?}", created.warnings)),
                    Err(error) => Err(refusal(&error)),
                }
            })
            .await?;
        }
    }
    Ok(())
}

/// Containers that are added keep the LimitRange.
async fn resources(namespace: &Namespace) -> Result<()> {
    let cluster = namespace.cluster();
    let path = format!("/api/v1/namespaces/{}/limitranges", namespace.name());
    let range = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"}, "spec": {"limits": [
        {"type": "Container", "max": {"cpu": "300m", "memory": "256Mi"}, "min": {"cpu": "50m"}},
        {"type": "Pod", "max": {"memory": "512Mi"}},
    ]}});
    cluster.create(&path, &range).await?;
    let asks = asking(&[FEATURES[0].1, Feature::Logfwd]);
    let fitted = until_said(namespace, &asks, "LimitRange").await?;
    contained(&pod(), &fitted).map_err(anyhow::Error::msg)?;
    let limits = &named(&fitted, "containers", "datakit-logfwd")["resources"]["limits"];
    assert_eq!(limits, &json!({"cpu": "300m", "memory": "256Mi"}));
    // Where there is no room left, nothing is added, and the pod is created as it is.
    let mut full = asking(&[Feature::Logfwd]);
    full["spec"]["containers"][0]["resources"]["limits"]["memory"] = "256Mi".into();
    full["spec"]["containers"]
        .as_array_mut()
        .expect("a list")
        .push(json!({"name": "other", "image": "i", "resources": {"limits": {"memory": "250Mi"}}}));
    let pod = until_said(namespace, &full, "leaves no room").await?;
    assert!(!has_traces(&pod));
    cluster
        .delete(&format!("{path}/small"), &Value::Null)
        .await?;
    Ok(())
}

/// A pod that fits into what a ResourceQuota leaves is created, whatever it asks for.
async fn quota(namespace: &Namespace) -> Result<()> {
    let cluster = namespace.cluster();
    let path = format!("/api/v1/namespaces/{}/resourcequotas", namespace.name());
    let hard = json!({"requests.cpu": "1", "limits.memory": "4Gi"});
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": {"hard": hard}});
    cluster.create(&path, &quota).await?;
    let mut asks = asking(&[FEATURES[0].1, Feature::Logfwd]);
    // While nothing is used there is room for the sidecar as well: 200m, and 500m of its own, since
    // the pod is Guaranteed.
    asks["metadata"]["name"] = "first".into();
    until_added(namespace, &asks, true).await?;
    wait::until("the quota's status", || async {
        let created = namespace.create_pod(&asks, Mode::Store).await;
        created.map_err(|error| refusal(&error))
    })
    .await?;
    // The API server may not have seen the quota in time to charge it. Its controller counts again
    // what is there when the quota changes.
    let path = format!("{path}/team");
    cluster
        .merge(&path, &json!({"spec": {"hard": {"pods": "50"}}}))
        .await?;
    wait::until("the first pod to be counted", || async {
        let quota = cluster.get(&path).await.map_err(|error| refusal(&error))?;
        let status = &quota["status"];
        let is_counted = status["hard"]["pods"] == "50" && status["used"]["requests.cpu"] == "700m";
        is_counted.then_some(()).ok_or_else(|| status.to_string())
    })
    .await?;
    // 300m are left.
    asks["metadata"]["name"] = "second".into();
    until_said(namespace, &asks, "ResourceQuota `team` leaves no room").await?;
    until_added(namespace, &asks, false).await?;
    let created = namespace.create_pod(&asks, Mode::Store).await?;
    contained(&asks, &created.pod).map_err(anyhow::Error::msg)?;
    cluster.delete(&path, &Value::Null).await?;
    // That it is gone is known as well.
    asks["metadata"]["name"] = "third".into();
    until_added(namespace, &asks, true).await
}

/// Creates the pod until it gets ddtrace, and the log sidecar or not.
async fn until_added(namespace: &Namespace, pod: &Value, sidecar: bool) -> Result<()> {
    wait::until("the right features", || async {
        let created = namespace.create_pod(pod, Mode::DryRun).await;
        let created = created.map_err(|error| refusal(&error))?;
        let spec = created.pod["spec"].to_string();
        let is_right =
            spec.contains("datakit-lib-init") && spec.contains("datakit-logfwd") == sidecar;
        is_right
            .then_some(())
            .ok_or_else(|| format!("{:?}", created.warnings))
    })
    .await
}

/// The version of the API server was asked for: a Job's log sidecar is one that ends with the Job.
async fn version(namespace: &Namespace) -> Result<()> {
    let mut job = asking(&[Feature::Logfwd]);
    job["spec"]["restartPolicy"] = "Never".into();
    let created = namespace.create_pod(&job, Mode::DryRun).await?;
    Feature::Logfwd.assert_in(&created.pod, &["app"], true);
    Ok(())
}
