//! `deploy/datakit-operator.yaml` is the chart for those who use no Helm, and both are of one piece
//! with the program.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use datakit_operator_e2e::cluster::Cluster;
use datakit_operator_e2e::helm::{chart, operator_prints};
use datakit_operator_e2e::kubectl::{kubectl, kubectl_with};
use datakit_operator_e2e::repository::repository;
use serde_json::{Value, json};

use super::{Objects, accepted, render};

#[test]
#[ignore = "needs helm: run e2e/run"]
fn is_the_chart() -> Result<()> {
    let render = repository().join("deploy/render");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        ensure!(
            Command::new(&render).status()?.success(),
            "deploy/render failed"
        );
    }
    let output = Command::new(&render).arg("-").output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let rendered = String::from_utf8(output.stdout)?;
    assert!(
        rendered == single_file()?,
        "deploy/datakit-operator.yaml is not what the chart gives; run deploy/render"
    );
    Ok(())
}

/// The chart's default is the program's, so that leaving it out and keeping it are the same.
#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn carries_the_built_in_configuration() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let namespace = "chart-default";
    cluster.namespace(namespace, &json!({})).await?;
    let built_in = operator_prints(&["config"])?;
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        update_configuration(&built_in)?;
    }
    let manifests = render(cluster.plane(), "release", namespace, &json!({}))?;
    let objects = Objects::parse(&accepted(cluster.plane(), namespace, &manifests)?.stdout)?;
    let carried = &objects.one("ConfigMap")["data"]["jsonconfig"];
    assert_eq!(carried, &built_in, "UPDATE_EXPECT=1 changes values.yaml");
    Ok(())
}

/// One release has one number.
#[test]
fn has_the_version_of_the_program() -> Result<()> {
    let description = std::fs::read_to_string(chart().join("Chart.yaml"))?;
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        format!("version: {version}"),
        format!("appVersion: \"{version}\""),
    ] {
        assert!(
            description.lines().any(|found| found == line),
            "`{line}` is not in Chart.yaml"
        );
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn can_be_applied_again_and_again() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let (plane, name) = (cluster.plane(), "chart-single-file");
    cluster.namespace(name, &json!({})).await?;
    // Under another name, since other tests share the control plane.
    let manifests = called(name, &single_file()?);
    accepted(plane, name, &manifests)?;

    let apply = || kubectl_with(plane, name, &["apply", "-f=-"], &manifests);
    let first = apply()?;
    assert_eq!(first.stderr, "");
    // kubectl never says of a PodDisruptionBudget that it is unchanged, so the API server is asked
    // about that below.
    let expected = first.stdout.replace(" created\n", " unchanged\n").replace(
        "chart-single-file unchanged\nserviceaccount",
        "chart-single-file configured\nserviceaccount",
    );
    let mut created: Vec<_> = first.stdout.lines().collect();
    created.sort_unstable();
    let mut all = [
        "clusterrole.rbac.authorization.k8s.io/chart-single-file created",
        "clusterrolebinding.rbac.authorization.k8s.io/chart-single-file created",
        "configmap/chart-single-file-config created",
        "deployment.apps/chart-single-file created",
        "mutatingwebhookconfiguration.admissionregistration.k8s.io/chart-single-file-mutation created",
        "validatingwebhookconfiguration.admissionregistration.k8s.io/chart-single-file-validation created",
        "networkpolicy.networking.k8s.io/chart-single-file created",
        "poddisruptionbudget.policy/chart-single-file created",
        "role.rbac.authorization.k8s.io/chart-single-file created",
        "rolebinding.rbac.authorization.k8s.io/chart-single-file created",
        "secret/chart-single-file-ca created",
        "service/chart-single-file created",
        "serviceaccount/chart-single-file created",
    ];
    all.sort_unstable();
    assert_eq!(created, all);
    assert_eq!(apply()?.stdout, expected);

    // What the operator has registered and stored stays.
    register(&cluster, name)?;
    store(&cluster, name).await?;
    assert_eq!(apply()?.stdout, expected);
    assert_eq!(stored(&cluster, name).await?, json!(AUTHORITY));
    assert_eq!(
        registered(&cluster, name).await?,
        json!(BASE64.encode("the authority"))
    );

    let generation = [
        "get",
        "poddisruptionbudget",
        name,
        "-o=jsonpath={.metadata.generation}",
    ];
    assert_eq!(kubectl(plane, name, &generation)?.stdout, "1");

    // Nothing of it is left.
    kubectl_with(plane, name, &["delete", "-f=-"], &manifests)?;
    let left = [
        "get",
        "deployment,service,configmap,role,rolebinding,networkpolicy,poddisruptionbudget,serviceaccount",
        "-lapp=chart-single-file",
    ];
    assert_eq!(kubectl(plane, name, &left)?.stdout, "");
    Ok(())
}

/// Earlier versions made the Secret themselves; what is in it stays.
#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn takes_over_a_secret_of_the_operators() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let (plane, name) = (cluster.plane(), "chart-stored-file");
    cluster.namespace(name, &json!({})).await?;
    let manifests = called(name, &single_file()?);
    cluster.create(&secrets(name), &made(name)).await?;
    for _ in 0..2 {
        kubectl_with(plane, name, &["apply", "-f=-"], &manifests)?;
        assert_eq!(stored(&cluster, name).await?, json!(AUTHORITY));
    }
    kubectl_with(plane, name, &["delete", "-f=-"], &manifests)?;
    assert!(
        stored(&cluster, name).await.is_err(),
        "it is of the file now"
    );
    Ok(())
}

/// From what people have who installed by an earlier file: other arguments, no account, a
/// certificate in the file.
#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn replaces_an_earlier_one_in_place() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let (plane, name) = (cluster.plane(), "chart-earlier-file");
    cluster.namespace(name, &json!({})).await?;
    let earlier = json!({"apiVersion": "v1", "kind": "List", "items": [
        earlier_deployment(name, "operator", &json!({"app": name})),
        earlier_registration(name),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("{name}-config"), "namespace": name},
            "data": {"jsonconfig": "{}"}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": name}, "spec": {
            "selector": {"app": name}, "ports": [{"name": "http", "port": 443, "targetPort": 9543}]}},
    ]});
    kubectl_with(plane, name, &["apply", "-f=-"], &earlier.to_string())?;
    kubectl_with(
        plane,
        name,
        &["apply", "-f=-"],
        &called(name, &single_file()?),
    )?;
    assert_replaced(&cluster, name).await
}

/// The file as if the program had another name.
pub(super) fn called(name: &str, file: &str) -> String {
    file.replace("namespace: datakit\n", &format!("namespace: {name}\n"))
        .replace("- datakit\n", &format!("- {name}\n"))
        .replace("datakit-operator", name)
}

pub(super) fn single_file() -> Result<String> {
    Ok(std::fs::read_to_string(
        repository().join("deploy/datakit-operator.yaml"),
    )?)
}

fn update_configuration(text: &str) -> Result<()> {
    let path: PathBuf = chart().join("values.yaml");
    let values = std::fs::read_to_string(&path)?;
    // It is the last of the file.
    let marker = "  jsonconfig: |\n";
    let start = values
        .find(marker)
        .context("no jsonconfig in values.yaml")?
        + marker.len();
    let indented: String = text.lines().map(|line| format!("    {line}\n")).collect();
    Ok(std::fs::write(
        &path,
        format!("{}{indented}", &values[..start]),
    )?)
}

/// A Deployment as earlier versions had it.
pub(super) fn earlier_deployment(name: &str, container: &str, selector: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": name},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": selector},
            "template": {"metadata": {"labels": selector}, "spec": {"containers": [{
                "name": container, "image": "earlier", "imagePullPolicy": "Always",
                "env": [{"name": "ENV_JSON_CONFIG", "valueFrom": {"configMapKeyRef": {"name": format!("{name}-config"), "key": "jsonconfig"}}}],
                "ports": [{"containerPort": 9543}],
            }]}},
        },
    })
}

/// A registration as earlier versions had it.
pub(super) fn earlier_registration(name: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": format!("{name}-mutation")},
        "webhooks": [{
            "name": "mutation.datakit.svc", "failurePolicy": "Ignore", "timeoutSeconds": 5, "reinvocationPolicy": "Never",
            "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "rules": [{"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "scope": "Namespaced"}],
            "clientConfig": {
                "caBundle": BASE64.encode("an earlier certificate"),
                "service": {"name": name, "namespace": name, "path": "/v1/webhooks/inject", "port": 443},
            },
        }],
    })
}

/// Nothing is left of the earlier version in its objects.
pub(super) async fn assert_replaced(cluster: &Cluster, name: &str) -> Result<()> {
    let deployment = cluster
        .get(&format!(
            "/apis/apps/v1/namespaces/{name}/deployments/{name}"
        ))
        .await?;
    let containers = &deployment["spec"]["template"]["spec"]["containers"];
    let environment = containers[0]["env"].as_array().context("no variables")?;
    let names: Vec<_> = environment
        .iter()
        .map(|variable| &variable["name"])
        .collect();
    assert_eq!(names, ["POD_NAME", "POD_NAMESPACE", "POD_IP"]);
    assert_eq!(containers.as_array().map(Vec::len), Some(1), "{containers}");
    let registration = cluster.get(&registration_path(name)).await?;
    let webhooks = registration["webhooks"].as_array().context("no webhooks")?;
    assert_eq!(webhooks.len(), 1, "{webhooks:?}");
    assert_eq!(webhooks[0]["rules"][0]["operations"], json!(["CREATE"]));
    assert_eq!(webhooks[0]["clientConfig"]["caBundle"], Value::Null);
    Ok(())
}

/// Registers an authority, as the operator does: that field alone, as a writer of its own.
pub(super) fn register(cluster: &Cluster, name: &str) -> Result<()> {
    let mine = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": format!("{name}-mutation")},
        "webhooks": [{"name": "mutation.datakit.svc", "clientConfig": {"caBundle": BASE64.encode("the authority")}}],
    });
    let apply = [
        "apply",
        "--server-side",
        "--field-manager=datakit-operator",
        "-f=-",
    ];
    kubectl_with(cluster.plane(), "default", &apply, &mine.to_string())?;
    Ok(())
}

/// The authority that is registered.
pub(super) async fn registered(cluster: &Cluster, name: &str) -> Result<Value> {
    let registration = cluster.get(&registration_path(name)).await?;
    Ok(registration["webhooks"][0]["clientConfig"]["caBundle"].clone())
}

fn registration_path(name: &str) -> String {
    format!("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{name}-mutation")
}

/// What a Secret holds in these tests.
pub(super) const AUTHORITY: &str = "dGhlIGF1dGhvcml0eQ==";

/// The Secret as earlier versions of the operator made it.
pub(super) fn made(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"ca.crt": AUTHORITY},
        "metadata": {
            "name": format!("{name}-ca"), "labels": {"app.kubernetes.io/managed-by": "datakit-operator"},
        },
    })
}

/// The path of the Secrets of a namespace.
pub(super) fn secrets(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets")
}

/// Fills the Secret, as the operator does: whole, with its version.
pub(super) async fn store(cluster: &Cluster, name: &str) -> Result<()> {
    let path = format!("{}/{name}-ca", secrets(name));
    let mut secret = cluster.get(&path).await?;
    secret["data"] = json!({"ca.crt": AUTHORITY});
    cluster.replace(&path, &secret).await?;
    Ok(())
}

/// What is in it.
pub(super) async fn stored(cluster: &Cluster, name: &str) -> Result<Value> {
    let secret = cluster.get(&format!("{}/{name}-ca", secrets(name))).await?;
    Ok(secret["data"]["ca.crt"].clone())
}
