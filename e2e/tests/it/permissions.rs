//! Without permissions, and without an API server, the webhook answers all the same.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use datakit_operator_e2e::cable::Cable;
use datakit_operator_e2e::cluster::Cluster;
use datakit_operator_e2e::installation::{Installation, Member};
use datakit_operator_e2e::traffic::{Traffic, until_injected};
use datakit_operator_e2e::wait;

const FLAGS: [&str; 1] = ["--lease-duration=3s"];
const ERRORS: &str = "datakit_operator_cluster_errors_total";

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn taken_away_and_given_back() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let installation = Installation::new(&cluster, "forbidden", &FLAGS).await?;
    let mut member = installation.start("pod-0").await?;
    member.replica.until_ready().await?;
    until_injected(installation.pods()).await?;
    let traffic = Traffic::start(installation.pods());

    installation.forbid().await?;
    until_errors(&member).await?;
    wait::until("a log line that says what is missing", || async {
        let log = member.replica.log();
        let told = log
            .lines()
            .any(|line| line.contains("leases") && line.contains("forbidden"));
        if told { Ok(()) } else { Err(log) }
    })
    .await?;
    // Whatever it can't look at, it assumes to be right.
    member
        .replica
        .ready()
        .await
        .map_err(anyhow::Error::msg)
        .context("it should be ready still")?;

    installation.permit().await?;
    installation.until_repaired().await?;
    println!("{} pods", traffic.finish().await?);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn started_without_any() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let installation = Installation::new(&cluster, "forbidden-first", &FLAGS).await?;
    installation.forbid().await?;
    let mut member = installation.start("pod-0").await?;
    until_errors(&member).await?;
    let refusal = member.replica.ready().await.unwrap_err();
    assert!(refusal.starts_with("503"), "{refusal}");
    assert!(!member.replica.ended()?);

    installation.permit().await?;
    member.replica.until_ready().await?;
    until_injected(installation.pods()).await
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn no_way_to_the_api_server() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let installation = Installation::new(&cluster, "cut-off", &FLAGS).await?;
    let server = cluster.plane().server();
    let address: SocketAddr = server.trim_start_matches("https://").parse()?;
    let cable = Cable::to(address).await?;
    let server = format!("https://127.0.0.1:{}", cable.port());
    let mut member = installation.start_by("pod-0", &server).await?;
    member.replica.until_ready().await?;
    until_injected(installation.pods()).await?;
    let traffic = Traffic::start(installation.pods());

    cable.cut();
    until_errors(&member).await?;
    member
        .replica
        .ready()
        .await
        .map_err(anyhow::Error::msg)
        .context("it should be ready still")?;
    // One that starts now waits, and is there.
    let mut newcomer = installation.start_by("pod-1", &server).await?;
    until_errors(&newcomer).await?;
    let refusal = newcomer.replica.ready().await.unwrap_err();
    assert!(refusal.starts_with("503"), "{refusal}");
    // They have not been able to keep the Lease, and find everything changed when they are back.
    installation.delete_secret().await?;
    installation.install_secret().await?;
    cable.mend();
    installation.until_secret().await?;
    newcomer.replica.until_ready().await?;
    println!("{} pods", traffic.finish().await?);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn no_way_for_longer_than_an_authority_lasts() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let flags = ["--ca-lifetime=9s", "--leaf-lifetime=3s", FLAGS[0]];
    let installation = Installation::new(&cluster, "cut-off-for-long", &flags).await?;
    let address = cluster.plane().server().trim_start_matches("https://");
    let cable = Cable::to(address.parse::<SocketAddr>()?).await?;
    let server = format!("https://127.0.0.1:{}", cable.port());
    let mut member = installation.start_by("pod-0", &server).await?;
    member.replica.until_ready().await?;
    until_injected(installation.pods()).await?;

    cable.cut();
    let bundle = installation.bundle().await?;
    wait::until("the end of the authorities", || async {
        match installation.connect(&member, &bundle) {
            Ok(_) => Err("they are good".to_owned()),
            Err(_) => Ok(()),
        }
    })
    .await?;
    assert!(!member.replica.ended()?);
    cable.mend();
    wait::until("a new authority", || async {
        let renewed = installation.bundle().await;
        let renewed = renewed.map_err(|error| format!("{error:#}"))?;
        let connection = installation.connect(&member, &renewed);
        connection.map_err(|error| format!("{error:#}"))
    })
    .await?
    .review()?;
    until_injected(installation.pods()).await
}

/// Waits until an operator has counted more failures to reach or to use the API server than it has
/// by now.
async fn until_errors(member: &Member) -> Result<()> {
    let count = || async { member.replica.metric(ERRORS, &[]).await.unwrap_or(0.0) };
    let before = count().await;
    wait::until("errors in the metrics", || async {
        let now = count().await;
        if now > before + 1.5 {
            Ok(())
        } else {
            Err(format!("{now}\n{}", member.replica.log()))
        }
    })
    .await
}
