//! Each ClusterLoggingConfig says what becomes of it.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use datakit_operator_e2e::cluster::{Cluster, refusal};
use datakit_operator_e2e::connection;
use datakit_operator_e2e::installation::{Installation, Member};
use datakit_operator_e2e::kubectl::{kubectl, kubectl_with};
use datakit_operator_e2e::replica::{PROBES, WEBHOOK};
use datakit_operator_e2e::repository::repository;
use datakit_operator_e2e::wait;
use serde_json::{Value, json};

use super::{KIND, OBJECTS, THE_KIND, ask, create, install_kind, object, until_served};

const NAME: &str = "logging-conditions";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const PART: &str = "write_logging_conditions";

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn objects_say_what_becomes_of_them() -> Result<()> {
    let _kind = THE_KIND.lock().await;
    let cluster = Cluster::connect().await?;
    let plane = cluster.plane();
    let installation = Installation::new(&cluster, NAME, &["--lease-duration=2s"]).await?;
    let events = json!([{"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]}]);
    installation.grant("events", &events).await?;
    let members = installation.start_many(2).await?;
    let (holder, other) = holder(&members).await?;

    // A kind as earlier versions installed it has no status: there are Events all the same.
    let kind = kind_without_status(&cluster)?;
    kubectl_with(
        plane,
        "default",
        &["create", "--filename=-"],
        &kind.to_string(),
    )?;
    until_served(&cluster).await?;
    let broken = json!({"namespaceRegex": "^shop("});
    create(&cluster, "cond-broken", broken.clone()).await?;
    // The current kind wouldn't take it any more.
    let without_path = json!({"selector": {"namespaceRegex": "^depot$"}, "configs": [{"type": "file", "source": "a"}]});
    cluster
        .create(OBJECTS, &object("cond-no-path", &without_path))
        .await?;
    let list = "/apis/events.k8s.io/v1/namespaces/default/events";
    wait::until("the Event on the object", || async {
        let list = cluster.get(list).await.map_err(|error| refusal(&error))?;
        let events = list["items"].as_array().into_iter().flatten();
        let mut ours = events.filter(|event| event["regarding"]["name"] == "cond-broken");
        let event = ours.next().ok_or(list.to_string())?;
        let told = event["reason"] == "InvalidSelector"
            && event["type"] == "Warning"
            && event["regarding"]["kind"] == "ClusterLoggingConfig"
            && event["note"]
                .as_str()
                .is_some_and(|note| note.contains("spec.selector.namespaceRegex `^shop(`"));
        if told { Ok(()) } else { Err(event.to_string()) }
    })
    .await?;
    until_part(holder, "[+]", "ok: the kind in the cluster has no status").await?;
    until_part(
        other,
        "[+]",
        "ok: the replica that holds the Lease writes them",
    )
    .await?;
    ensure!(errors(holder).await? == 0.0, "{}", holder.replica.log());

    // The current one has.
    install_kind(&cluster).await?;
    let condition = until_condition(&cluster, "cond-broken", "False").await?;
    assert_eq!(condition["reason"], "InvalidSelector");
    assert_eq!(condition["observedGeneration"], 1);
    let message = condition["message"].as_str().unwrap_or_default();
    ensure!(
        message.contains("namespaceRegex `^shop(` isn't"),
        "{message}"
    );
    let shown = kubectl(plane, "default", &["get", "logging", "cond-broken"])?;
    ensure!(shown.stdout.contains("False"), "{}", shown.stdout);
    let shown = kubectl(plane, "default", &["describe", "logging", "cond-broken"])?;
    for part in ["Observed Generation", "`^shop(`", "datakit-operator"] {
        ensure!(shown.stdout.contains(part), "{part}: {}", shown.stdout);
    }
    let object = cluster.get(&format!("{OBJECTS}/cond-broken")).await?;
    let managers = object["metadata"]["managedFields"].as_array();
    let of_status = managers
        .into_iter()
        .flatten()
        .filter(|entry| entry["subresource"] == "status" && entry["operation"] == "Apply");
    let of_status: Vec<_> = of_status.map(|entry| &entry["manager"]).collect();
    assert_eq!(of_status, ["datakit-operator-status"]);

    let condition = until_condition(&cluster, "cond-no-path", "True").await?;
    assert_eq!(condition["reason"], "PartlyIgnored");
    let message = condition["message"].as_str().unwrap_or_default();
    ensure!(message.contains("has no path"), "{message}");

    // Mended, and looked at again.
    let mended = json!({"spec": {"selector": {"namespaceRegex": "^shop$"}}});
    let path = format!("{OBJECTS}/cond-broken");
    cluster.merge(&path, &mended).await?;
    let condition = until_condition(&cluster, "cond-broken", "True").await?;
    assert_eq!(
        (&condition["reason"], &condition["observedGeneration"]),
        (&json!("Accepted"), &json!(2))
    );
    // Objects with the same time of creation are ordered by name.
    create(&cluster, "cond-zz", json!({"namespaceRegex": "^shop$"})).await?;
    let condition = until_condition(&cluster, "cond-zz", "True").await?;
    assert_eq!(condition["reason"], "Shadowed");
    let message = condition["message"].as_str().unwrap_or_default();
    ensure!(message.contains("cond-broken"), "{message}");
    until_part(holder, "[+]", "ok").await?;

    // Without the right, nothing else changes.
    set_right(&cluster, false).await?;
    let mut number = 0;
    wait::until("a refusal", || {
        // Other operators of this cluster may be faster with some of them.
        number += 1;
        let (cluster, broken, name) = (
            cluster.clone(),
            broken.clone(),
            format!("cond-more-{number}"),
        );
        async move {
            create(&cluster, &name, broken)
                .await
                .map_err(|error| format!("{error:#}"))?;
            let parts = parts(holder).await?;
            let line = format!(
                "[-]{PART} failing: clusterloggingconfigs.logging.datakits.io \"cond-more-"
            );
            let told = parts.contains(&line) && parts.contains("clusterloggingconfigs/status");
            if told { Ok(()) } else { Err(parts) }
        }
    })
    .await?;
    ensure!(errors(holder).await? > 0.0);
    holder.replica.ready().await.map_err(anyhow::Error::msg)?;
    let server: SocketAddr = (holder.replica.address(), WEBHOOK).into();
    assert_eq!(ask(server, "namespace=shop&pod_name=web").await?.0, 200);

    set_right(&cluster, true).await?;
    until_part(holder, "[+]", "ok").await?;
    for number in 1..=number {
        until_condition(&cluster, &format!("cond-more-{number}"), "False").await?;
    }
    cluster.delete(KIND, &Value::Null).await?;
    wait::until("the end of the kind", || async {
        match cluster.get(KIND).await {
            Ok(_) => Err("it is there".to_owned()),
            Err(_) => Ok(()),
        }
    })
    .await
}

/// Who holds the Lease, and who doesn't.
async fn holder(members: &[Member]) -> Result<(&Member, &Member)> {
    wait::until("a holder", || async {
        for (number, member) in members.iter().enumerate() {
            let held = member.replica.metric("datakit_operator_lease_held", &[]);
            if held.await.map_err(|error| format!("{error:#}"))? == 1.0 {
                return Ok((member, &members[1 - number]));
            }
        }
        Err("nobody".to_owned())
    })
    .await
}

/// The kind as it was before objects had conditions, and before it asked for paths.
fn kind_without_status(cluster: &Cluster) -> Result<Value> {
    let file = repository().join("deploy/clusterloggingconfigs.yaml");
    let file = format!("--filename={}", file.display());
    let args = ["create", "--dry-run=client", "--output=json", &file];
    let printed = kubectl(cluster.plane(), "default", &args)?;
    let mut kind: Value = serde_json::from_str(&printed.stdout)?;
    let version = &mut kind["spec"]["versions"][0];
    let version = version.as_object_mut().context("no version")?;
    version.remove("subresources").context("no subresources")?;
    version.remove("additionalPrinterColumns");
    version["schema"]["openAPIV3Schema"]["properties"]
        .as_object_mut()
        .and_then(|properties| properties.remove("status"))
        .context("no status")?;
    let configs =
        &mut version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["configs"];
    let item = configs["items"].as_object_mut().context("no items")?;
    item.remove("x-kubernetes-validations")
        .context("no rules")?;
    Ok(kind)
}

/// Gives the operator the right to write conditions, or takes it away.
async fn set_right(cluster: &Cluster, given: bool) -> Result<()> {
    let path = format!("{RBAC}/clusterroles/e2e-{NAME}");
    let mut role = cluster.get(&path).await?;
    let rules = role["rules"].as_array_mut().context("no rules")?;
    let rule = json!({
        "apiGroups": ["logging.datakits.io"], "resources": ["clusterloggingconfigs/status"], "verbs": ["patch"],
    });
    let before = rules.len();
    rules.retain(|one| one["resources"] != rule["resources"]);
    if given {
        rules.push(rule);
    } else {
        ensure!(rules.len() < before, "it wasn't there");
    }
    cluster.replace(&path, &role).await?;
    Ok(())
}

async fn errors(member: &Member) -> Result<f64> {
    let label = format!("operation=\"{PART}\"");
    let name = "datakit_operator_cluster_errors_total";
    member.replica.metric(name, &[&label]).await
}

/// Waits until an object has the condition with this status, and returns it.
async fn until_condition(cluster: &Cluster, name: &str, status: &str) -> Result<Value> {
    let path = format!("{OBJECTS}/{name}");
    wait::until(&format!("{status} for {name}"), || async {
        let object = cluster.get(&path).await.map_err(|error| refusal(&error))?;
        let conditions = object["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        let found = conditions.find(|one| one["type"] == "Accepted" && one["status"] == status);
        found.cloned().ok_or(object["status"].to_string())
    })
    .await
}

async fn until_part(member: &Member, mark: &str, text: &str) -> Result<()> {
    let line = format!("{mark}{PART} {text}");
    wait::until(&line, || async {
        let parts = parts(member).await?;
        match parts.lines().any(|one| one.starts_with(&line)) {
            true => Ok(()),
            false => Err(parts),
        }
    })
    .await
}

async fn parts(member: &Member) -> Result<String, String> {
    let probes = SocketAddr::from((member.replica.address(), PROBES));
    let asked = move || connection::get(probes, "/readyz?verbose");
    let answer = tokio::task::spawn_blocking(asked).await;
    let answer = answer.map_err(|error| error.to_string())?;
    answer
        .map(|(_, text)| text)
        .map_err(|error| format!("{error:#}"))
}
