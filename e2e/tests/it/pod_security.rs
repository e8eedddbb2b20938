//! In namespaces that enforce a Pod Security level, pods that keep it are injected and stay within
//! it.

use anyhow::Result;
use datakit_operator_e2e::cluster::{Cluster, Mode};
use datakit_operator_e2e::operator::Options;
use datakit_operator_e2e::stored::contained;
use datakit_operator_e2e::webhook::{self, Injected, Policy};
use serde_json::{Value, json};

use crate::shapes::{FEATURES, Feature};

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn levels_are_kept() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let options = Options {
        kubernetes_version: Some("1.37".to_owned()),
        ..Options::default()
    };
    let name = "pod-security";
    let _injected = Injected::start(&cluster, name, &options, Policy::Ignore).await?;
    for (level, pods) in [("baseline", baseline()), ("restricted", restricted())] {
        let enforced = json!({"pod-security.kubernetes.io/enforce": level});
        let plain = cluster
            .namespace(&format!("{name}-{level}-plain"), &enforced)
            .await?;
        let mut labels = webhook::labels(name);
        labels["pod-security.kubernetes.io/enforce"] = level.into();
        let namespace = cluster
            .namespace(&format!("{name}-{level}"), &labels)
            .await?;
        webhook::until_asked(&namespace, &pods[0].1["spec"]).await?;

        let privileged = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {
            "containers": [{"name": "c", "image": "i", "securityContext": {"privileged": true}}]}});
        let refused = plain.create_pod(&privileged, Mode::DryRun).await;
        assert!(refused.is_err(), "{level} is not enforced");

        for (case, pod) in pods {
            let without = plain.create_pod(&pod, Mode::DryRun).await?;
            for (asked, features) in [
                ("java", &[FEATURES[0].1][..]),
                ("js", &[FEATURES[1].1]),
                ("python", &[FEATURES[3].1]),
                ("logfwd", &[Feature::Logfwd]),
                ("both", &[FEATURES[0].1, Feature::Logfwd]),
            ] {
                let mut pod = pod.clone();
                for feature in features {
                    feature.ask(&mut pod);
                }
                let with = namespace.create_pod(&pod, Mode::DryRun).await;
                let with = with.unwrap_or_else(|error| panic!("{level} {case} {asked}: {error}"));
                contained(&without.pod, &with.pod)
                    .unwrap_or_else(|lost| panic!("{level} {case} {asked}: {lost}"));
                for feature in features {
                    let native = pod["spec"]["restartPolicy"] == "Never";
                    feature.assert_in(&with.pod, &["app"], native);
                }
            }
        }
    }
    Ok(())
}

fn pod(spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec})
}

fn baseline() -> Vec<(&'static str, Value)> {
    vec![
        (
            "bare",
            pod(&json!({"containers": [{"name": "app", "image": "i"}]})),
        ),
        (
            "as root",
            pod(
                &json!({"containers": [{"name": "app", "image": "i", "securityContext": {"runAsUser": 0}}]}),
            ),
        ),
        (
            "job",
            pod(&json!({"restartPolicy": "Never", "containers": [{"name": "app", "image": "i"}]})),
        ),
    ]
}

fn restricted() -> Vec<(&'static str, Value)> {
    let container = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    let whole = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    let with = |base: &Value, more: &Value| {
        let mut both = base.clone();
        for (key, value) in more.as_object().unwrap() {
            both[key] = value.clone();
        }
        both
    };
    let spec = |pod_context: &Value, container_context: &Value| {
        pod(&json!({
            "securityContext": pod_context,
            "containers": [{"name": "app", "image": "i", "securityContext": container_context}],
        }))
    };
    let user = json!({"runAsUser": 10001});
    let mut job = spec(&with(&whole, &user), &container);
    job["spec"]["restartPolicy"] = "Never".into();
    vec![
        (
            "by the pod, user in the pod",
            spec(&with(&whole, &user), &container),
        ),
        ("by the pod, user in the image", spec(&whole, &container)),
        (
            "by the container",
            spec(&json!({}), &with(&with(&container, &whole), &user)),
        ),
        (
            "by the container, user in the image",
            spec(&json!({}), &with(&container, &whole)),
        ),
        (
            "by both",
            spec(&whole, &with(&with(&container, &whole), &user)),
        ),
        (
            "with a capability",
            spec(
                &with(&whole, &user),
                &with(
                    &container,
                    &json!({"capabilities": {
            "drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}),
                ),
            ),
        ),
        (
            "read-only root",
            spec(
                &with(&whole, &user),
                &with(&container, &json!({"readOnlyRootFilesystem": true})),
            ),
        ),
        ("job", job),
    ]
}
