//! ClusterLoggingConfigs, asked for as logfwd sidecars do.

mod conditions;

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use datakit_operator_e2e::caller::Caller;
use datakit_operator_e2e::cluster::Cluster;
use datakit_operator_e2e::installation::Installation;
use datakit_operator_e2e::kubectl::kubectl;
use datakit_operator_e2e::replica::WEBHOOK;
use datakit_operator_e2e::repository::repository;
use datakit_operator_e2e::wait;
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// Whoever installs and removes the kind has it alone.
static THE_KIND: Mutex<()> = Mutex::const_new(());

const NAME: &str = "logging";
const KIND: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/clusterloggingconfigs.logging.datakits.io";
const OBJECTS: &str = "/apis/logging.datakits.io/v1alpha1/clusterloggingconfigs";

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn sidecars_get_what_is_meant_for_their_pod() -> Result<()> {
    let _kind = THE_KIND.lock().await;
    let cluster = Cluster::connect().await?;
    let installation = Installation::new(&cluster, NAME, &["--lease-duration=2s"]).await?;
    let members = installation.start_many(1).await?;
    let server: SocketAddr = (members[0].replica.address(), WEBHOOK).into();

    // A cluster without the kind has no configurations.
    let web = "namespace=shop&pod_name=web-1";
    until(server, web, 404, r#"{"error":"no matching config found"}"#).await?;
    until(
        server,
        "namespace=shop",
        400,
        r#"{"error":"namespace, pod_name parameters are required"}"#,
    )
    .await?;

    install_kind(&cluster).await?;
    until_served(&cluster).await?;
    // The oldest that fits, by creation; a second apart, since times of creation are whole seconds.
    create(
        &cluster,
        "z-first",
        json!({"namespaceRegex": "^shop$", "podLabelSelector": "app=web"}),
    )
    .await?;
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    create(&cluster, "a-later", json!({"podRegex": "^web-"})).await?;
    create(&cluster, "broken", json!({"namespaceRegex": "("})).await?;
    let of = |name: &str| {
        format!(
            r#"{{"name":"{name}","pod_target_labels":["app"],"configs":"[{{\"newer\":\"kept\",\"path\":\"/log/*.log\",\"source\":\"{name}\",\"type\":\"file\"}}]"}}"#
        )
    };
    until(server, web, 200, &of("z-first")).await?;
    let labelled = |labels: &str| format!("{web}&pod_labels={labels}");
    until(
        server,
        &labelled("app%3Dweb%2Ctier%3Da"),
        200,
        &of("z-first"),
    )
    .await?;
    until(server, &labelled("app%3Ddb"), 200, &of("a-later")).await?;
    until(
        server,
        "namespace=other&pod_name=web-2",
        200,
        &of("a-later"),
    )
    .await?;
    let nothing = "namespace=other&pod_name=db-1";
    until(
        server,
        nothing,
        404,
        r#"{"error":"no matching config found"}"#,
    )
    .await?;
    wait::until("the object that can't be read in the log", || async {
        let log = members[0].replica.log();
        let said = log.lines().any(|line| {
            line.contains("broken")
                && line.contains("namespaceRegex `(` isn't a regular expression")
        });
        if said { Ok(()) } else { Err(log) }
    })
    .await?;

    // What would collect nothing isn't stored.
    let refused = json!({"selector": {}, "configs": [{"type": "file", "source": "s"}]});
    let error = cluster
        .create(OBJECTS, &object("no-path", &refused))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("needs a path"), "{error}");

    // The kind is removed, perhaps by mistake: sidecars keep what they have.
    cluster.delete(KIND, &Value::Null).await?;
    wait::until("a failure instead of `nothing`", || async {
        let (status, body) = ask(server, nothing)
            .await
            .map_err(|error| format!("{error:#}"))?;
        match status {
            503 if body.contains("is gone") => Ok(()),
            _ => Err(format!("{status} {body}")),
        }
    })
    .await?;
    ensure!(ask(server, web).await?.0 != 404);
    install_kind(&cluster).await?;
    until(server, web, 404, r#"{"error":"no matching config found"}"#).await
}

/// As docs/logging.md says.
async fn install_kind(cluster: &Cluster) -> Result<()> {
    let file = repository().join("deploy/clusterloggingconfigs.yaml");
    let file = file.to_str().context("the path is not UTF-8")?;
    let plane = cluster.plane();
    // As who made it by another command has to.
    let apply = ["apply", "--server-side", "--force-conflicts", "-f", file];
    kubectl(plane, "default", &apply)?;
    Ok(())
}

async fn until_served(cluster: &Cluster) -> Result<()> {
    wait::until("the kind", || async {
        match cluster.get(OBJECTS).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
}

async fn create(cluster: &Cluster, name: &str, selector: Value) -> Result<()> {
    let item = json!({"type": "file", "source": name, "path": "/log/*.log", "newer": "kept", "service": ""});
    let spec = json!({"selector": selector, "podTargetLabels": ["app"], "configs": [item]});
    cluster.create(OBJECTS, &object(name, &spec)).await?;
    Ok(())
}

fn object(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "logging.datakits.io/v1alpha1",
        "kind": "ClusterLoggingConfig",
        "metadata": {"name": name},
        "spec": spec,
    })
}

async fn until(server: SocketAddr, query: &str, status: u16, body: &str) -> Result<()> {
    wait::until(&format!("{status} {body}"), || async {
        let found = ask(server, query)
            .await
            .map_err(|error| format!("{error:#}"))?;
        match found == (status, body.to_owned()) {
            true => Ok(()),
            false => Err(format!("{} {}", found.0, found.1)),
        }
    })
    .await
}

async fn ask(server: SocketAddr, query: &str) -> Result<(u16, String)> {
    let path = format!("/v1/logging/configs?{query}");
    let asked = tokio::task::spawn_blocking(move || Caller::of(server)?.call("GET", &path, "", ""));
    let answer = asked.await??;
    Ok((answer.status, answer.body))
}
