//! What will become of a workload's pods reaches whoever applies it.

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use datakit_operator_e2e::cluster::{Cluster, refusal};
use datakit_operator_e2e::installation::Installation;
use datakit_operator_e2e::kubectl::{Printed, kubectl_with};
use datakit_operator_e2e::operator::Options;
use datakit_operator_e2e::plane::Plane;
use datakit_operator_e2e::wait;
use datakit_operator_e2e::webhook::{Injected, Policy, labels};
use serde_json::{Value, json};

const CONFIGURATIONS: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
/// Of a kind that only this test knows.
const OTHER_GROUP: &str = "validation.datakit.example";
const TYPO: &str = "admission.datakit/jav-lib.version";
const MEANT: &str = "did you mean `admission.datakit/java-lib.version`?";

/// A registration as the chart has it, for namespaces of the operator of this name.
fn registration(name: &str, operator: &str, client: &Value) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [{
            "name": "validation.datakit.example",
            "clientConfig": client,
            "rules": [
                {"operations": ["CREATE", "UPDATE"], "apiGroups": ["apps"], "apiVersions": ["v1"],
                 "resources": ["deployments", "statefulsets", "daemonsets"]},
                {"operations": ["CREATE", "UPDATE"], "apiGroups": ["batch"], "apiVersions": ["v1"],
                 "resources": ["jobs", "cronjobs"]},
                {"operations": ["CREATE", "UPDATE"], "apiGroups": [OTHER_GROUP],
                 "apiVersions": ["*"], "resources": ["rollouts"]},
            ],
            "namespaceSelector": {"matchLabels": labels(operator)},
            "failurePolicy": "Ignore", "timeoutSeconds": 10, "matchPolicy": "Equivalent",
            "sideEffects": "None", "admissionReviewVersions": ["v1"],
        }],
    })
}

fn workload(kind: &str, name: &str, annotations: &Value, template: &Value) -> Value {
    let pod = json!({
        "metadata": {"labels": {"app": name}, "annotations": template},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    });
    let job = || {
        let mut pod = pod.clone();
        pod["spec"]["restartPolicy"] = json!("Never");
        json!({"suspend": true, "template": pod})
    };
    let (version, spec) = match kind {
        "Job" => ("batch/v1", job()),
        "CronJob" => (
            "batch/v1",
            json!({"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job()}}),
        ),
        "Rollout" => (
            "validation.datakit.example/v1",
            json!({"steps": [20, 100], "template": pod}),
        ),
        _ => (
            "apps/v1",
            json!({"selector": {"matchLabels": {"app": name}}, "template": pod}),
        ),
    };
    json!({
        "apiVersion": version, "kind": kind,
        "metadata": {"name": name, "annotations": annotations}, "spec": spec,
    })
}

fn apply(plane: &Plane, namespace: &str, object: &Value) -> Result<Printed> {
    kubectl_with(
        plane,
        namespace,
        &["apply", "--filename=-"],
        &object.to_string(),
    )
}

fn warnings(printed: &Printed) -> Vec<&str> {
    let lines = printed.stderr.lines();
    lines
        .filter_map(|line| line.strip_prefix("Warning: "))
        .collect()
}

/// Waits until the API server asks the operator about workloads.
async fn until_asked(plane: &Plane, namespace: &str) -> Result<()> {
    let probe = workload("Deployment", "probe", &json!({}), &json!({TYPO: ""}));
    let args = ["apply", "--dry-run=server", "--filename=-"];
    wait::until("the webhook", || async {
        let printed = kubectl_with(plane, namespace, &args, &probe.to_string());
        let printed = printed.map_err(|error| error.to_string())?;
        match warnings(&printed).is_empty() {
            false => Ok(()),
            true => Err("the operator was not asked".to_owned()),
        }
    })
    .await
}

/// Starts an operator that is registered for both, in a namespace `name`.
async fn start(cluster: &Cluster, name: &str, config: &Value) -> Result<Injected> {
    let options = Options {
        config: Some(config.to_string()),
        ..Options::default()
    };
    let injected = Injected::start(cluster, name, &options, Policy::Ignore).await?;
    let client = json!({
        "url": format!("https://localhost:{}/v1/webhooks/validate", injected.operator.port()),
        "caBundle": BASE64.encode(injected.operator.ca()?),
    });
    cluster
        .create(CONFIGURATIONS, &registration(name, name, &client))
        .await?;
    until_asked(cluster.plane(), injected.namespace.name()).await?;
    Ok(injected)
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn kubectl_apply_prints_it() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let config = json!({"admission_inject": {"ddtrace": {"images": {"js_agent_image": "js:1"}}}});
    let injected = start(&cluster, "validation", &config).await?;
    let (plane, namespace) = (cluster.plane(), injected.namespace.name());
    let (none, typo) = (json!({}), json!({TYPO: ""}));
    for kind in ["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"] {
        let name = kind.to_lowercase();
        let printed = apply(plane, namespace, &workload(kind, &name, &none, &typo))?;
        ensure!(printed.stdout.contains("created"), "{printed:?}");
        let told = warnings(&printed);
        ensure!(told.len() == 1 && told[0].contains(MEANT), "{printed:?}");
    }
    let misplaced = json!({"admission.datakit/java-lib.version": ""});
    let object = workload("Deployment", "misplaced", &misplaced, &none);
    let printed = apply(plane, namespace, &object)?;
    let told = warnings(&printed);
    ensure!(
        told.len() == 1 && told[0].contains("move it to spec.template.metadata.annotations"),
        "{printed:?}"
    );
    // Who corrects it is told so by silence.
    let fine = json!({"admission.datakit/js-lib.version": ""});
    let printed = apply(
        plane,
        namespace,
        &workload("Deployment", "deployment", &none, &fine),
    )?;
    ensure!(printed.stdout.contains("configured"), "{printed:?}");
    ensure!(warnings(&printed).is_empty(), "{printed:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn other_kinds_with_a_template_are_checked_where_they_are_registered() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("rollouts.{OTHER_GROUP}")},
        "spec": {
            "group": OTHER_GROUP, "scope": "Namespaced",
            "names": {"plural": "rollouts", "singular": "rollout", "kind": "Rollout"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                }},
            }],
        },
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    cluster.create(definitions, &definition).await?;
    let injected = start(&cluster, "validation-others", &json!({})).await?;
    let (plane, namespace) = (cluster.plane(), injected.namespace.name());
    let (none, typo) = (json!({}), json!({TYPO: ""}));
    let rollout = workload("Rollout", "rollout", &none, &typo);
    let printed = wait::until("the kind to be served", || async {
        let printed = apply(plane, namespace, &rollout).map_err(|error| format!("{error:#}"))?;
        let created = printed.stdout.contains("created");
        created
            .then_some(())
            .ok_or_else(|| format!("{printed:?}"))?;
        Ok(printed)
    })
    .await?;
    let told = warnings(&printed);
    ensure!(told.len() == 1 && told[0].contains(MEANT), "{printed:?}");
    // One that refers to another workload has nothing to be told of.
    let mut referring = workload("Rollout", "referring", &typo, &none);
    referring["spec"] = json!({"workloadRef": {"kind": "Deployment", "name": "shop"}});
    let printed = apply(plane, namespace, &referring)?;
    ensure!(printed.stdout.contains("created"), "{printed:?}");
    ensure!(warnings(&printed).is_empty(), "{printed:?}");
    let name = format!("{definitions}/rollouts.{OTHER_GROUP}");
    cluster.delete(&name, &json!({})).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn deny_refuses_with_the_sentence_and_nothing_that_runs() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let config = json!({"admission_validate": {"deny": ["unknown_annotation"]}});
    let name = "validation-deny";
    let options = Options {
        config: Some(config.to_string()),
        ..Options::default()
    };
    let injected = Injected::start(&cluster, name, &options, Policy::Ignore).await?;
    let (plane, namespace) = (cluster.plane(), injected.namespace.name());
    // There before anybody was asked.
    let (none, typo) = (json!({}), json!({TYPO: ""}));
    let old = workload("Deployment", "old", &none, &typo);
    apply(plane, namespace, &old)?;
    let client = json!({
        "url": format!("https://localhost:{}/v1/webhooks/validate", injected.operator.port()),
        "caBundle": BASE64.encode(injected.operator.ca()?),
    });
    cluster
        .create(CONFIGURATIONS, &registration(name, name, &client))
        .await?;
    let new = workload("Deployment", "new", &none, &typo);
    let message = wait::until("a refusal", || async {
        match apply(plane, namespace, &new) {
            Err(error) => Ok(format!("{error:#}")),
            Ok(printed) => {
                let args = ["delete", "deployment/new"];
                let _ = kubectl_with(plane, namespace, &args, "");
                Err(format!("{printed:?}"))
            }
        }
    })
    .await?;
    for part in [
        "denied the request",
        "admission_validate.deny (unknown_annotation)",
        MEANT,
    ] {
        ensure!(message.contains(part), "no `{part}` in {message}");
    }
    // It goes on: it is scaled, its controller writes to it, and it is deleted in the foreground.
    let mut scaled = old.clone();
    scaled["spec"]["replicas"] = json!(2);
    let printed = apply(plane, namespace, &scaled)?;
    ensure!(warnings(&printed).len() == 1, "{printed:?}");
    let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/old");
    wait::until("two replicas", || async {
        let found = cluster.get(&path).await.map_err(|error| refusal(&error))?;
        match found["status"]["replicas"] == 2 {
            true => Ok(()),
            false => Err(found["status"].to_string()),
        }
    })
    .await?;
    let args = [
        "delete",
        "deployment/old",
        "--cascade=foreground",
        "--wait=false",
    ];
    kubectl_with(plane, namespace, &args, "").context("deleting it")?;
    // As a garbage collector does, of which this control plane has none.
    cluster
        .merge(&path, &json!({"metadata": {"finalizers": null}}))
        .await?;
    ensure!(cluster.get(&path).await.is_err(), "it is still there");
    Ok(())
}

/// With the certificates that the operator makes, and through its Service.
#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn the_ca_bundle_is_kept_the_same() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let name = "validation-bundle";
    let validation = format!("{name}-validation");
    let flag = format!("--validation-configuration={validation}");
    let installation = Installation::new(&cluster, name, &[&flag]).await?;
    let client = json!({
        "service": {"name": name, "namespace": name, "port": 443, "path": "/v1/webhooks/validate"},
    });
    cluster
        .create(CONFIGURATIONS, &registration(&validation, name, &client))
        .await?;
    // What the chart permits.
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": validation},
        "rules": [{
            "apiGroups": ["admissionregistration.k8s.io"], "resources": ["validatingwebhookconfigurations"],
            "resourceNames": [validation], "verbs": ["list", "watch", "patch"],
        }],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": validation},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": validation},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": name}],
    });
    // Without the right it is ready and injects all the same.
    let mut member = installation.start("first").await?;
    member.replica.until_ready().await?;
    cluster
        .create(&format!("{rbac}/clusterroles"), &role)
        .await?;
    cluster
        .create(&format!("{rbac}/clusterrolebindings"), &binding)
        .await?;
    let path = format!("{CONFIGURATIONS}/{validation}");
    let until_same = || async {
        let bundle = BASE64.encode(installation.bundle().await?);
        wait::until("the same caBundle", || async {
            let found = cluster.get(&path).await.map_err(|error| refusal(&error))?;
            let found = &found["webhooks"][0]["clientConfig"]["caBundle"];
            match *found == bundle {
                true => Ok(()),
                false => Err(format!("{found}")),
            }
        })
        .await
    };
    until_same().await?;
    let (plane, namespace) = (cluster.plane(), installation.pods().name());
    until_asked(plane, namespace).await?;
    // Somebody else writes it.
    let other =
        json!({"webhooks": [registration(&validation, name, &client)["webhooks"][0].clone()]});
    cluster.merge(&path, &other).await?;
    until_same().await?;
    until_asked(plane, namespace).await
}
