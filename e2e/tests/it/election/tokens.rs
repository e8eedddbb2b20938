//! Agents that must prove who they are, by tokens that the API server has issued.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use datakit_operator_e2e::caller::Caller;
use datakit_operator_e2e::cluster::Cluster;
use datakit_operator_e2e::replica::{Replica, WEBHOOK, listening};
use datakit_operator_e2e::service::address;
use datakit_operator_e2e::wait;
use serde_json::{Value, json};

const NAME: &str = "tokens";
const AUDIENCE: &str = "the-operator";

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn only_agents_with_tokens_are_heard() -> Result<()> {
    let cluster = Cluster::connect().await?;
    cluster.namespace(NAME, &json!({})).await?;
    let replica = start(&cluster)?;
    wait::until("the operator", || replica.ready()).await?;
    let token = async |account: &str, audience: &str| {
        let accounts = format!("/api/v1/namespaces/{NAME}/serviceaccounts");
        let made = json!({"metadata": {"name": account}});
        let _ = cluster.create(&accounts, &made).await;
        let asked = json!({"spec": {"audiences": [audience], "expirationSeconds": 600}});
        let path = format!("{accounts}/{account}/token");
        let made = cluster.create(&path, &asked).await?;
        let token = made["status"]["token"].as_str().context("no token")?;
        Ok::<_, anyhow::Error>(token.to_owned())
    };
    let agent = token("agent", AUDIENCE).await?;
    let (status, body) = poll(&replica, Some(&agent)).await?;
    assert_eq!(
        (status, body.as_str()),
        (200, r#"{"allowed_inputs":["mysql"]}"#)
    );
    // Again, from memory.
    assert_eq!(poll(&replica, Some(&agent)).await?.0, 200);
    assert_eq!(poll(&replica, None).await?.0, 401);
    let elsewhere = token("agent", "somebody-else").await?;
    assert_eq!(poll(&replica, Some(&elsewhere)).await?.0, 401);
    assert_eq!(poll(&replica, Some("nonsense")).await?.0, 401);
    let other = token("somebody", AUDIENCE).await?;
    let (status, body) = poll(&replica, Some(&other)).await?;
    assert_eq!(status, 403);
    ensure!(
        body.contains("system:serviceaccount:tokens:somebody"),
        "{body}"
    );
    let table: Value = serde_json::from_str(&call(&replica, "GET", "", String::new()).await?.1)?;
    let from = table["agents"][0]["from"].as_str().unwrap_or_default();
    ensure!(
        from.starts_with("system:serviceaccount:tokens:agent at "),
        "{table}"
    );
    let log = replica.log();
    for token in [&agent, &elsewhere, &other] {
        ensure!(!log.contains(token.as_str()), "a token is in the log");
    }
    Ok(())
}

fn start(cluster: &Cluster) -> Result<Replica> {
    let address = address()?;
    let mut args: Vec<_> = [
        "serve",
        "--log-format=json",
        "--tls-source=ephemeral",
        "--election-listening=0s",
        "--election-auth=required",
        "--election-agent=system:serviceaccount:tokens:agent",
    ]
    .map(str::to_owned)
    .into();
    args.push(format!("--election-audience={AUDIENCE}"));
    args.extend(listening(address));
    let kubeconfig = cluster.plane().kubeconfig().display().to_string();
    let variables = [("KUBECONFIG".to_owned(), kubeconfig)];
    let directory = cluster.plane().directory().join(NAME);
    std::fs::create_dir_all(&directory)?;
    Replica::start(&directory, "pod-0", address, &args, &variables)
}

async fn poll(replica: &Replica, token: Option<&str>) -> Result<(u16, String)> {
    let agent = json!({"id": "agent", "application_inputs": {"mysql": 1}, "running_inputs": []});
    let header = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let header = header.unwrap_or_default();
    call(replica, "POST", &header, agent.to_string()).await
}

async fn call(
    replica: &Replica,
    method: &'static str,
    headers: &str,
    body: String,
) -> Result<(u16, String)> {
    let server = SocketAddr::from((replica.address(), WEBHOOK));
    let headers = headers.to_owned();
    tokio::task::spawn_blocking(move || {
        let answer = Caller::of(server)?.call(method, "/v1/datakit/election", &headers, &body)?;
        Ok((answer.status, answer.body))
    })
    .await?
}
