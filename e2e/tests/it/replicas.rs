//! Several replicas of one installation, and several installations in one cluster.

use anyhow::Result;
use datakit_operator_e2e::cluster::Cluster;
use datakit_operator_e2e::connection::certificates;
use datakit_operator_e2e::installation::{Installation, Member};
use datakit_operator_e2e::process::Signal;
use datakit_operator_e2e::traffic::{Traffic, until_injected};
use datakit_operator_e2e::wait;

use crate::seen::{Seen, is_in_use};

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn starting_at_once_agree_on_one_authority() -> Result<()> {
    let cluster = Cluster::connect().await?;
    for count in [2, 3] {
        let installation = Installation::new(&cluster, &format!("{count}-at-once"), &[]).await?;
        let members = installation.start_many(count).await?;
        let stored = installation.stored().await?;
        let bundle = installation.bundle().await?;
        assert_eq!(certificates(&bundle)?, certificates(&stored.certificate)?);
        assert_eq!(certificates(&bundle)?.len(), 1);
        for member in &members {
            installation.connect(member, &bundle)?.review()?;
        }
        until_injected(installation.pods()).await?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn another_takes_over_when_the_holder_dies_or_freezes() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let installation = Installation::new(&cluster, "holder-dies", &["--lease-duration=3s"]).await?;
    let mut members = installation.start_many(3).await?;

    let holder = installation.until_held_by_other("").await?;
    taken(&mut members, &holder).kill().await?;
    let next = installation.until_held_by_other(&holder).await?;
    installation.until_repaired().await?;

    let mut frozen = taken(&mut members, &next);
    frozen.replica.signal(Signal::Stop)?;
    let last = installation.until_held_by_other(&next).await?;
    assert_eq!(last, members[0].replica.name());
    installation.until_repaired().await?;
    // It learns that it has been replaced before it writes anything.
    let stored = installation.stored().await?;
    frozen.replica.signal(Signal::Continue)?;
    until_metric(&frozen, "datakit_operator_lease_held", 0.0).await?;
    until_metric(&members[0], "datakit_operator_lease_held", 1.0).await?;
    assert_eq!(installation.stored().await?, stored);
    assert_eq!(installation.holder().await?, last);
    frozen.replica.until_ready().await?;
    until_injected(installation.pods()).await
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn a_renewal_that_a_dying_holder_began_is_finished() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let flags = [
        "--ca-lifetime=24s",
        "--leaf-lifetime=8s",
        "--lease-duration=3s",
    ];
    let installation = Installation::new(&cluster, "half-renewed", &flags).await?;
    let mut members = installation.start_many(3).await?;
    let holder = installation.until_held_by_other("").await?;
    let mut holder = taken(&mut members, &holder);
    // Its death is not to fail any request.
    holder.retire().await?;
    until_injected(installation.pods()).await?;
    let traffic = Traffic::start(installation.pods());
    // These connections are idle until the renewal, and must be there still: the API server, which
    // keeps connections for 90 s, has no way to tell that one is being closed while it sends a
    // request.
    let mut seen = Seen::of(&installation, &members).await?;
    let first = installation.stored().await?.certificate;
    let begun = wait::until("a new authority", || async {
        match installation.stored().await {
            Ok(stored) if stored.certificate != first => Ok(stored.certificate),
            Ok(_) => Err("it is the first one".to_owned()),
            Err(error) => Err(format!("{error:#}")),
        }
    });
    begun.await?;
    holder.kill().await?;
    seen.until("the end of a renewal", async |_| {
        let stored = installation.stored().await;
        if stored.is_ok_and(|stored| stored.certificate == first) {
            return Err("the first authority is back".to_owned());
        }
        let used = is_in_use(&installation, &members).await;
        used.map_err(|error| format!("{error:#}"))
    })
    .await?;
    println!("{} pods", traffic.finish().await?);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn a_holder_that_is_stopped_lets_go() -> Result<()> {
    let cluster = Cluster::connect().await?;
    // Longer than the test waits for anything.
    let flags = ["--lease-duration=10m"];
    let installation = Installation::new(&cluster, "holder-stops", &flags).await?;
    let mut members = installation.start_many(1).await?;
    let holder = installation.until_held_by_other("").await?;
    assert_eq!(taken(&mut members, &holder).stop().await?, Some(0));
    assert_eq!(installation.holder().await?, "");

    let mut members = installation.start_many(2).await?;
    until_injected(installation.pods()).await?;
    let traffic = Traffic::start(installation.pods());
    let holder = installation.until_held_by_other("").await?;
    assert_eq!(taken(&mut members, &holder).stop().await?, Some(0));
    // The one that is left looks again after a quarter of the duration; one that starts looks at
    // once.
    let mut newcomer = installation.start("pod-2").await?;
    newcomer.replica.until_ready().await?;
    assert_eq!(installation.until_held_by_other("").await?, "pod-2");
    println!("{} pods", traffic.finish().await?);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn two_installations_leave_each_other_alone() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let flags = [
        "--ca-lifetime=24s",
        "--leaf-lifetime=8s",
        "--lease-duration=3s",
    ];
    let one = Installation::new(&cluster, "side-by-side", &[]).await?;
    let other = Installation::new(&cluster, "side-by-side-too", &flags).await?;
    let _one = one.start_many(1).await?;
    let _other = other.start_many(1).await?;
    let (first, second) = (one.bundle().await?, other.bundle().await?);
    assert_ne!(first, second);
    let secret = one.secret().await?;
    until_injected(one.pods()).await?;
    until_injected(other.pods()).await?;
    let traffic = [Traffic::start(one.pods()), Traffic::start(other.pods())];
    wait::until("a new authority of one of them", || async {
        match other.bundle().await {
            Ok(now) if now != second => Ok(()),
            Ok(_) => Err("it is the first one".to_owned()),
            Err(error) => Err(format!("{error:#}")),
        }
    })
    .await?;
    assert_eq!(one.bundle().await?, first);
    assert_eq!(one.secret().await?, secret);
    for traffic in traffic {
        println!("{} pods", traffic.finish().await?);
    }
    Ok(())
}

/// Takes the replica of this name out of the list.
fn taken(members: &mut Vec<Member>, name: &str) -> Member {
    let found = members
        .iter()
        .position(|member| member.replica.name() == name);
    members.remove(found.unwrap_or_else(|| panic!("no replica is called {name}")))
}

async fn until_metric(member: &Member, name: &str, value: f64) -> Result<()> {
    let what = format!("{name} to be {value}");
    wait::until(&what, || async {
        match member.replica.metric(name, &[]).await {
            Ok(now) if (now - value).abs() < f64::EPSILON => Ok(()),
            Ok(now) => Err(format!("it is {now}")),
            Err(error) => Err(format!("{error:#}")),
        }
    })
    .await
}
