//! Installing, upgrading and uninstalling, with releases side by side.

use std::path::Path;

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use datakit_operator_e2e::cluster::Cluster;
use datakit_operator_e2e::helm::{chart, helm, helm_with};
use datakit_operator_e2e::kubectl::{kubectl, kubectl_with};
use datakit_operator_e2e::plane::Plane;
use serde_json::{Value, json};

use super::Objects;
use super::single_file::{
    AUTHORITY, assert_replaced, called, earlier_deployment, earlier_registration, made, register,
    registered, secrets, single_file, store, stored,
};

/// Where something of an installation could be.
const KINDS: &str = "serviceaccounts,configmaps,secrets,services,deployments.apps,poddisruptionbudgets.policy,\
    horizontalpodautoscalers.autoscaling,networkpolicies.networking.k8s.io,leases.coordination.k8s.io,\
    roles.rbac.authorization.k8s.io,rolebindings.rbac.authorization.k8s.io,clusterroles.rbac.authorization.k8s.io,\
    clusterrolebindings.rbac.authorization.k8s.io,mutatingwebhookconfigurations.admissionregistration.k8s.io,\
    validatingwebhookconfigurations.admissionregistration.k8s.io";

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn side_by_side() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let plane = cluster.plane();
    let (one, two) = ("chart-install-one", "chart-install-two");
    for namespace in [one, two] {
        cluster.namespace(namespace, &json!({})).await?;
    }

    // Two in one namespace and a third elsewhere, which is called after its release.
    install(plane, one, "first", "chart-first")?;
    install(plane, one, "second", "chart-second")?;
    install(plane, two, "chart-third", "")?;
    let third = "chart-third-datakit-operator";
    for (namespace, name) in [(one, "chart-first"), (one, "chart-second"), (two, third)] {
        assert_eq!(installed(plane, namespace, name)?, everything(name));
    }
    // What belongs to the cluster is there once for each name. A second of the same name is
    // refused, and changes nothing.
    let refused = install(plane, two, "fourth", "chart-first")
        .unwrap_err()
        .to_string();
    assert!(refused.contains("chart-first"), "{refused}");
    assert!(
        refused.contains("cannot be imported into the current release"),
        "{refused}"
    );

    // What the operator makes when it runs.
    register(&cluster, "chart-first")?;
    let path = format!("{}/chart-first-ca", secrets(one));
    let mut secret = cluster.get(&path).await?;
    secret["data"] = json!({"ca.crt": AUTHORITY});
    cluster.replace(&path, &secret).await?;
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "chart-first"}, "spec": {}});
    kubectl_with(plane, one, &["create", "-f=-"], &lease.to_string())?;

    // An upgrade leaves that alone, and changes what it is to change.
    let authority = json!(BASE64.encode("the authority"));
    let chart = chart();
    let upgrade = [
        "upgrade".as_ref(),
        "first".as_ref(),
        chart.as_os_str(),
        "--reuse-values".as_ref(),
        "--set=replicaCount=3,autoscaling.enabled=false,webhook.timeoutSeconds=7".as_ref(),
    ];
    helm(plane, one, &upgrade)?;
    assert_eq!(registered(&cluster, "chart-first").await?, authority);
    let kept = async || -> Result<Value> {
        let path = format!("{}/chart-first-ca", secrets(one));
        Ok(cluster.get(&path).await?["data"]["ca.crt"].take())
    };
    assert_eq!(kept().await?, json!(AUTHORITY));
    let path =
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/chart-first-mutation";
    assert_eq!(cluster.get(path).await?["webhooks"][0]["timeoutSeconds"], 7);
    let deployment = cluster
        .get(&format!(
            "/apis/apps/v1/namespaces/{one}/deployments/chart-first"
        ))
        .await?;
    assert_eq!(deployment["spec"]["replicas"], 3);
    let mut more = everything("chart-first");
    more.extend(["Lease/chart-first".to_owned()]);
    more.sort();
    assert_eq!(installed(plane, one, "chart-first")?, more);

    // Uninstalling takes all but what the operator made, and nothing of the others.
    helm(plane, one, &["uninstall", "first", "--cascade=foreground"])?;
    assert_eq!(
        installed(plane, one, "chart-first")?,
        ["Lease/chart-first", "Secret/chart-first-ca"]
    );
    assert_eq!(
        installed(plane, one, "chart-second")?,
        everything("chart-second")
    );
    // The command of the notes takes that, too.
    kubectl(
        plane,
        one,
        &["delete", "secret/chart-first-ca", "lease/chart-first"],
    )?;
    helm(plane, one, &["uninstall", "second", "--cascade=foreground"])?;
    helm(
        plane,
        two,
        &["uninstall", "chart-third", "--cascade=foreground"],
    )?;
    assert_eq!(installed(plane, one, "chart-first")?, [""; 0]);
    for (namespace, name) in [(one, "chart-second"), (two, third)] {
        let left = installed(plane, namespace, name)?;
        assert_eq!(left, [format!("Secret/{name}-ca")]);
    }
    Ok(())
}

/// What uninstalling keeps is good for the next installation, whatever its release is called.
#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn goes_on_with_the_authority_of_an_earlier_installation() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let (plane, name) = (cluster.plane(), "chart-again");
    cluster.namespace(name, &json!({})).await?;
    install(plane, name, "first", name)?;
    store(&cluster, name).await?;
    helm(plane, name, &["uninstall", "first"])?;
    for release in ["first", "renamed", "first"] {
        install(plane, name, release, name)?;
        assert_eq!(stored(&cluster, name).await?, json!(AUTHORITY));
        helm(plane, name, &["uninstall", release])?;
        assert_eq!(
            installed(plane, name, name)?,
            [format!("Secret/{name}-ca")],
            "{release}"
        );
    }
    Ok(())
}

/// An installation whose Secret the operator made itself, as earlier versions did: helm can't make
/// it its own, and needn't.
#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn upgrades_a_release_that_has_no_secret() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let (plane, name) = (cluster.plane(), "chart-stored-release");
    cluster.namespace(name, &json!({})).await?;
    let earlier = plane.directory().join("chart-without-secret");
    let selector = json!({"app": name, "app.kubernetes.io/name": "datakit-operator", "app.kubernetes.io/instance": "stored"});
    let deployment = earlier_deployment(name, "datakit-operator", &selector);
    write_chart(&earlier, &[("deployment.yaml", deployment)])?;
    helm(
        plane,
        name,
        &["install".as_ref(), "stored".as_ref(), earlier.as_os_str()],
    )?;
    cluster.create(&secrets(name), &made(name)).await?;

    let values = json!({"fullnameOverride": name, "webhook": nowhere()}).to_string();
    let chart = chart().display().to_string();
    let upgrade = ["upgrade", "stored", &chart, "--values=-"];
    for _ in 0..2 {
        helm_with(plane, name, &upgrade, &values)?;
        assert_eq!(stored(&cluster, name).await?, json!(AUTHORITY));
    }
    // Made anew by an upgrade if it is gone, and then it is the release's, for which an upgrade
    // keeps it.
    kubectl(plane, name, &["delete", "secret", &format!("{name}-ca")])?;
    helm_with(plane, name, &upgrade, &values)?;
    store(&cluster, name).await?;
    helm_with(plane, name, &upgrade, &values)?;
    assert_eq!(stored(&cluster, name).await?, json!(AUTHORITY));
    // Other certificates don't take it away either.
    let mut other = json!({"fullnameOverride": name, "webhook": nowhere()});
    other["certificates"] = json!({"source": "files", "secretName": "mine"});
    other["admissionregistration"] = json!({"webhooks": {"caBundle": BASE64.encode("mine")}});
    helm_with(plane, name, &upgrade, &other.to_string())?;
    assert_eq!(stored(&cluster, name).await?, json!(AUTHORITY));

    // One of another type is somebody else's.
    kubectl(plane, name, &["delete", "secret", &format!("{name}-ca")])?;
    let mut foreign = made(name);
    foreign["type"] = "example.com/mine".into();
    cluster.create(&secrets(name), &foreign).await?;
    let refused = helm_with(plane, name, &upgrade, &values).unwrap_err();
    let refused = refused.to_string();
    assert!(refused.contains("is of type example.com/mine"), "{refused}");
    helm(plane, name, &["uninstall", "stored"])?;
    Ok(())
}

/// A release of an earlier chart is upgraded in place: its Deployment keeps its selector, and its
/// certificate goes.
#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn upgrades_a_release_of_an_earlier_chart() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let (plane, name) = (cluster.plane(), "chart-earlier-release");
    cluster.namespace(name, &json!({})).await?;
    let selector = json!({"app": name, "app.kubernetes.io/name": "datakit-operator", "app.kubernetes.io/instance": "earlier"});
    let earlier = plane.directory().join("earlier-chart");
    write_chart(
        &earlier,
        &[
            (
                "deployment.yaml",
                earlier_deployment(name, "datakit-operator", &selector),
            ),
            ("webhook.yaml", earlier_registration(name)),
        ],
    )?;
    helm(
        plane,
        name,
        &["install".as_ref(), "earlier".as_ref(), earlier.as_os_str()],
    )?;

    let chart = chart();
    let upgrade = [
        "upgrade".as_ref(),
        "earlier".as_ref(),
        chart.as_os_str(),
        "--values".as_ref(),
        "-".as_ref(),
    ];
    let values = json!({"fullnameOverride": name, "webhook": nowhere(),
        "admissionregistration": {"webhooks": {"caBundle": BASE64.encode("an earlier certificate")}}});
    helm_with(plane, name, &upgrade, &values.to_string())?;
    assert_replaced(&cluster, name).await?;
    helm(plane, name, &["uninstall", "earlier"])?;
    Ok(())
}

/// What `helm get values --all` prints of a release of an earlier chart, which is how upgrades are
/// documented there: an upgrade with it works, or is refused before anything is changed.
#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn upgrades_with_all_values_of_an_earlier_chart() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let (plane, name) = (cluster.plane(), "chart-all-values");
    cluster.namespace(name, &json!({})).await?;
    let selector = json!({"app": name, "app.kubernetes.io/name": "datakit-operator", "app.kubernetes.io/instance": "all"});
    let earlier = plane.directory().join("chart-with-values");
    let deployment = earlier_deployment(name, "datakit-operator", &selector);
    write_chart(&earlier, &[("deployment.yaml", deployment)])?;
    let defaults = json!({
        "replicaCount": 1,
        "image": {"repository": "pubrepo.guance.com/datakit-operator/datakit-operator", "tag": "1.8.10", "pullPolicy": "Always"},
        "imagePullSecrets": [], "nameOverride": "", "fullnameOverride": name,
        "serviceAccount": {"create": true, "name": ""},
        "admissionregistration": {"webhooks": {"caBundle": BASE64.encode("an earlier certificate")}},
        "configmap": {"jsonconfig": "{\"admission_inject_v2\": {}}"},
        "service": {"type": "ClusterIP", "port": 443, "targetPort": 9543},
        "env": {}, "podAnnotations": {}, "podSecurityContext": {}, "securityContext": {}, "resources": {},
        "autoscaling": {"enabled": false, "minReplicas": 1, "maxReplicas": 100, "targetCPUUtilizationPercentage": 80},
        "nodeSelector": {}, "tolerations": [], "affinity": {},
    });
    std::fs::write(earlier.join("values.yaml"), defaults.to_string())?;
    let path = earlier.display().to_string();
    helm(plane, name, &["install", "all", &path])?;
    let all = helm(plane, name, &["get", "values", "all", "--all"])?.stdout;
    assert!(all.starts_with("COMPUTED VALUES:\n"), "{all}");

    let path = format!("/apis/apps/v1/namespaces/{name}/deployments/{name}");
    let deployed = async || -> Result<Value> {
        let mut found = cluster.get(&path).await?;
        Ok(found["spec"].take())
    };
    let before = deployed().await?;
    let chart = chart().display().to_string();
    for (options, remedy) in [
        ("--values=-", "Take image.tag out of your values"),
        ("--reuse-values", "use --reset-then-reuse-values instead"),
    ] {
        let refused = helm_with(plane, name, &["upgrade", "all", &chart, options], &all);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("nothing was changed"), "{refused}");
        assert!(refused.contains(remedy), "{refused}");
        assert_eq!(deployed().await?, before, "{options}");
        let history = helm(plane, name, &["history", "all", "--output=json"])?.stdout;
        let history: Value = serde_json::from_str(&history)?;
        let last = history.as_array().and_then(|all| all.last());
        let installed = last.map(|last| (&last["revision"], &last["chart"]));
        let first = (&json!(1), &json!("datakit-operator-1.4.3"));
        assert_eq!(installed, Some(first), "{history}");
    }

    // With what the refusal says, it is an installation of this chart.
    let nowhere = "--set=image.tag=,webhook.namespaceSelector.matchLabels.no-such=namespace";
    let upgrade = ["upgrade", "all", &chart, "--values=-", nowhere];
    helm_with(plane, name, &upgrade, &all)?;
    let container = &deployed().await?["template"]["spec"]["containers"][0];
    let image = container["image"].as_str().unwrap_or_default();
    assert!(
        image.ends_with(concat!(":", env!("CARGO_PKG_VERSION"))),
        "{container}"
    );
    assert_eq!(container["args"][0], "serve", "{container}");
    helm(plane, name, &["uninstall", "all"])?;
    Ok(())
}

/// An installation from the single file becomes a release, and later gets its certificates from
/// elsewhere.
#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn takes_over_from_the_single_file() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let (plane, name) = (cluster.plane(), "chart-taken-over");
    cluster.namespace(name, &json!({})).await?;
    kubectl_with(
        plane,
        name,
        &["apply", "-f=-"],
        &called(name, &single_file()?),
    )?;
    register(&cluster, name)?;

    let chart = chart();
    let mut values =
        json!({"fullnameOverride": name, "legacySelector": true, "webhook": nowhere()});
    let path = chart.display().to_string();
    let args = ["taken-over", &path, "--values=-", "--force-conflicts"];
    let install = [&["install", "--take-ownership"], &args[..]].concat();
    helm_with(plane, name, &install, &values.to_string())?;
    let authority = json!(BASE64.encode("the authority"));
    assert_eq!(registered(&cluster, name).await?, authority);

    values["certificates"] = json!({"source": "files", "secretName": "mine"});
    values["admissionregistration"] = json!({"webhooks": {"caBundle": BASE64.encode("mine")}});
    let upgrade = [&["upgrade"], &args[..]].concat();
    let unforced = &upgrade[..upgrade.len() - 1];
    let refused = helm_with(plane, name, unforced, &values.to_string());
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("caBundle"), "{refused}");
    helm_with(plane, name, &upgrade, &values.to_string())?;
    assert_eq!(
        registered(&cluster, name).await?,
        json!(BASE64.encode("mine"))
    );
    helm(plane, name, &["uninstall", "taken-over"])?;
    Ok(())
}

fn install(plane: &Plane, namespace: &str, release: &str, name: &str) -> Result<()> {
    let chart = chart();
    let args = [
        "install".as_ref(),
        release.as_ref(),
        chart.as_os_str(),
        "--values".as_ref(),
        "-".as_ref(),
    ];
    let values = json!({"fullnameOverride": name, "webhook": nowhere()});
    helm_with(plane, namespace, &args, &values.to_string())?;
    Ok(())
}

/// Nothing answers here, and other tests need not wait for it.
fn nowhere() -> Value {
    json!({"namespaceSelector": {"matchLabels": {"no-such": "namespace"}}})
}

/// What there is of an installation: everything whose name is this, or begins with it and a dash.
fn installed(plane: &Plane, namespace: &str, name: &str) -> Result<Vec<String>> {
    let listed = kubectl(plane, namespace, &["get", KINDS, "-o=json"])?;
    let mut objects = Objects::parse(&listed.stdout)?;
    objects.0.retain(|object| {
        let called = object["metadata"]["name"].as_str().unwrap_or_default();
        // Being deleted, and waiting only for what depends on it.
        let going = !object["metadata"]["deletionTimestamp"].is_null();
        !going && (called == name || called.starts_with(&format!("{name}-")))
    });
    Ok(objects.names())
}

fn everything(name: &str) -> Vec<String> {
    let mut all: Vec<_> = [
        "ClusterRole",
        "ClusterRoleBinding",
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Role",
        "RoleBinding",
        "Service",
        "ServiceAccount",
    ]
    .iter()
    .map(|kind| format!("{kind}/{name}"))
    .collect();
    all.push(format!("ConfigMap/{name}-config"));
    all.push(format!("Secret/{name}-ca"));
    all.push(format!("MutatingWebhookConfiguration/{name}-mutation"));
    all.push(format!("ValidatingWebhookConfiguration/{name}-validation"));
    all.sort();
    all
}

fn write_chart(directory: &Path, templates: &[(&str, Value)]) -> Result<()> {
    std::fs::create_dir_all(directory.join("templates"))?;
    let description = json!({"apiVersion": "v2", "name": "datakit-operator", "version": "1.4.3", "appVersion": "1.4.3"});
    std::fs::write(directory.join("Chart.yaml"), description.to_string())?;
    for (file, template) in templates {
        std::fs::write(directory.join("templates").join(file), template.to_string())?;
    }
    Ok(())
}
