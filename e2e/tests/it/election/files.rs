//! Replicas with certificates from files: they recognise each other by the authority beside these,
//! or not at all.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use datakit_operator_e2e::caller::Caller;
use datakit_operator_e2e::certs::Authority;
use datakit_operator_e2e::cluster::Cluster;
use datakit_operator_e2e::replica::{Replica, WEBHOOK, listening};
use datakit_operator_e2e::service::address;
use datakit_operator_e2e::wait;
use serde_json::{Value, json};

const NAME: &str = "own-files";

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn replicas_with_files_know_each_other_by_the_authority_beside_them() -> Result<()> {
    let cluster = Cluster::connect().await?;
    cluster.namespace(NAME, &json!({})).await?;
    let authority = Authority::new()?;
    let directory = cluster.plane().directory().join(NAME);
    let start = |name: &str, with_authority: bool| {
        let files = directory.join(name);
        start(&cluster, &authority, &files, name, with_authority)
    };
    let mut holder = start("pod-0", true)?;
    holder.until_ready().await?;
    let table = until_answered(&holder).await?;
    assert_eq!(table["holder"], "pod-0");

    let mut follower = start("pod-1", true)?;
    follower.until_ready().await?;
    assert_eq!(until_answered(&follower).await?["holder"], "pod-0");
    let (status, body) = poll(&follower).await?;
    let given = r#"{"allowed_inputs":["mysql"]}"#;
    assert_eq!((status, body.as_str()), (200, given));
    let forwarded = "datakit_operator_election_answers_total";
    let forwarded = follower.metric(forwarded, &["outcome=\"forwarded\""]);
    assert!(forwarded.await? >= 1.0);

    let mut stranger = start("pod-2", false)?;
    stranger.until_ready().await?;
    wait::until("the reason", || async {
        match poll(&stranger).await {
            Ok((503, body)) if body.contains("knows no CA") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

fn start(
    cluster: &Cluster,
    authority: &Authority,
    files: &Path,
    name: &str,
    with_authority: bool,
) -> Result<Replica> {
    std::fs::create_dir_all(files)?;
    let pair = authority.replica(&format!("{NAME}.{NAME}.svc"))?;
    let (certificate, key) = (files.join("tls.crt"), files.join("tls.key"));
    std::fs::write(&certificate, pair.certificate)?;
    std::fs::write(&key, pair.key)?;
    if with_authority {
        std::fs::write(files.join("ca.crt"), authority.pem())?;
    }
    let address = address()?;
    let mut args = vec![
        "serve".to_owned(),
        "--log-format=json".to_owned(),
        "--tls-source=files".to_owned(),
        format!("--tls-cert-file={}", certificate.display()),
        format!("--tls-key-file={}", key.display()),
        format!("--service-name={NAME}"),
        format!("--service-namespace={NAME}"),
        format!("--lease={NAME}"),
        "--lease-duration=4s".to_owned(),
        "--election-listening=0s".to_owned(),
    ];
    args.extend(listening(address));
    let variables = [
        (
            "KUBECONFIG",
            cluster.plane().kubeconfig().display().to_string(),
        ),
        ("POD_NAME", name.to_owned()),
        ("POD_IP", address.to_string()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value));
    Replica::start(files, name, address, &args, &variables)
}

/// One poll of an agent that offers one input.
async fn poll(replica: &Replica) -> Result<(u16, String)> {
    let agent = json!({"id": "agent", "application_inputs": {"mysql": 1}, "running_inputs": []});
    call(replica, "POST", agent.to_string()).await
}

/// Waits until a replica, or the one that it asks, decides; returns the table.
async fn until_answered(replica: &Replica) -> Result<Value> {
    let table = wait::until("somebody to decide", || async {
        match call(replica, "GET", String::new()).await {
            Ok((200, table)) => Ok(table),
            Ok((status, body)) => Err(format!("{status}: {body}")),
            Err(error) => Err(format!("{error:#}")),
        }
    });
    Ok(serde_json::from_str(&table.await?)?)
}

async fn call(replica: &Replica, method: &'static str, body: String) -> Result<(u16, String)> {
    let server = SocketAddr::from((replica.address(), WEBHOOK));
    tokio::task::spawn_blocking(move || {
        let answer = Caller::of(server)?.call(method, "/v1/datakit/election", "", &body)?;
        Ok((answer.status, answer.body))
    })
    .await?
}
