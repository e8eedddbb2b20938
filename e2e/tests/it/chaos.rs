//! One thing after another is done to three replicas and the API server, in an order made from a
//! seed; after each, everything is as it should be again, and at the end not one pod is missed.
//!
//! `e2e/run chaos::` runs this, and nothing else does: it disturbs all who share the control plane.
//! `E2E_CHAOS_ROUNDS` says how many things are done (12), `E2E_SEED` in which order.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use datakit_operator_e2e::cable::Cable;
use datakit_operator_e2e::cluster::Cluster;
use datakit_operator_e2e::connection::certificates;
use datakit_operator_e2e::installation::{Installation, Member};
use datakit_operator_e2e::process::Signal;
use datakit_operator_e2e::traffic::{Traffic, until_injected};
use datakit_operator_e2e::wait;

const NAME: &str = "chaos";
const REPLICAS: usize = 3;
/// Short, so that leases end and certificates are renewed while things happen.
const FLAGS: [&str; 3] = [
    "--ca-lifetime=60s",
    "--leaf-lifetime=20s",
    "--lease-duration=3s",
];
/// How long a replica stands still, or is cut off: longer than the Lease lasts.
const AWHILE: Duration = Duration::from_secs(5);
/// How long pods are created at the end.
const TRAFFIC: Duration = Duration::from_secs(10);
/// Where Debian's package `faketime` puts what lets a process see another time.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// A replica dies, and another starts.
    Kill,
    /// A replica stands still.
    Stop,
    /// A replica can't reach the API server.
    Cut,
    /// Nobody can.
    CutAll,
    /// The API server dies, and starts again.
    Restart,
    /// A replica's wall clock goes forward by two days, then back again.
    Clock,
    /// A replica is told to end, and another starts.
    Roll,
}

const BLOWS: [Blow; 7] = [
    Blow::Kill,
    Blow::Stop,
    Blow::Cut,
    Blow::CutAll,
    Blow::Restart,
    Blow::Clock,
    Blow::Roll,
];

/// A replica, and what it depends on.
struct Standing {
    member: Member,
    cable: Cable,
    /// Its clock is what this file says.
    clock: Option<PathBuf>,
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run chaos::"]
async fn one_thing_after_another() -> Result<()> {
    let number = |name: &str, default: u64| {
        let set = std::env::var(name).ok();
        set.map_or(Ok(default), |set| set.parse())
            .context(name.to_owned())
    };
    let (rounds, mut random) = (number("E2E_CHAOS_ROUNDS", 12)?, number("E2E_SEED", 1)?);
    let cluster = Cluster::connect().await?;
    let installation = Installation::new(&cluster, NAME, &FLAGS).await?;
    let mut started = 0;
    let mut standing = Vec::new();
    for _ in 0..REPLICAS {
        standing.push(start(&cluster, &installation, &mut started).await?);
    }
    until_well(&installation, &mut standing).await?;
    for round in 0..rounds {
        let blow = BLOWS[next(&mut random, BLOWS.len())];
        let at = next(&mut random, standing.len());
        println!(
            "{round}: {blow:?} at {}",
            standing[at].member.replica.name()
        );
        match blow {
            Blow::Kill => {
                standing.remove(at).member.kill().await?;
                standing.push(start(&cluster, &installation, &mut started).await?);
            }
            Blow::Roll => {
                assert_eq!(standing.remove(at).member.stop().await?, Some(0));
                standing.push(start(&cluster, &installation, &mut started).await?);
            }
            Blow::Stop => {
                standing[at].member.replica.signal(Signal::Stop)?;
                tokio::time::sleep(AWHILE).await;
                standing[at].member.replica.signal(Signal::Continue)?;
            }
            Blow::Cut => {
                standing[at].cable.cut();
                tokio::time::sleep(AWHILE).await;
                standing[at].cable.mend();
            }
            Blow::CutAll => {
                standing.iter().for_each(|one| one.cable.cut());
                tokio::time::sleep(AWHILE).await;
                standing.iter().for_each(|one| one.cable.mend());
            }
            Blow::Restart => cluster.plane().restart_api_server().await?,
            Blow::Clock => match &standing[at].clock {
                None => println!("  left out: there is no {FAKETIME}"),
                Some(clock) => {
                    std::fs::write(clock, "+2d\n")?;
                    tokio::time::sleep(AWHILE).await;
                    std::fs::write(clock, "+0\n")?;
                }
            },
        }
        until_well(&installation, &mut standing).await?;
    }
    let traffic = Traffic::start(installation.pods());
    tokio::time::sleep(TRAFFIC).await;
    println!("{} pods", traffic.finish().await?);
    for one in &standing {
        let panics = one
            .member
            .replica
            .metric("datakit_operator_panics_total", &[]);
        assert_eq!(panics.await?, 0.0);
    }
    Ok(())
}

/// Starts a replica behind a cable of its own, with a clock of its own where that can be had.
async fn start(
    cluster: &Cluster,
    installation: &Installation,
    started: &mut usize,
) -> Result<Standing> {
    let server = cluster.plane().server();
    let address: SocketAddr = server.trim_start_matches("https://").parse()?;
    let cable = Cable::to(address).await?;
    let pod = format!("pod-{started}");
    *started += 1;
    let clock = Path::new(FAKETIME).exists().then(|| {
        let folder = cluster.plane().directory();
        folder.join(format!("clock-{pod}"))
    });
    let mut variables = Vec::new();
    if let Some(clock) = &clock {
        std::fs::write(clock, "+0\n")?;
        for (name, value) in [
            ("LD_PRELOAD", FAKETIME.to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            // A jump of the wall clock leaves the other one as it is.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ] {
            variables.push((name.to_owned(), value));
        }
    }
    let by = format!("https://127.0.0.1:{}", cable.port());
    let member = installation.start_with(&pod, &by, &variables).await?;
    Ok(Standing {
        member,
        cable,
        clock,
    })
}

/// Waits until every replica is ready, one of them holds the Lease, each presents what is
/// registered, and pods are injected.
async fn until_well(installation: &Installation, standing: &mut [Standing]) -> Result<()> {
    for one in standing.iter_mut() {
        one.member.replica.until_ready().await?;
    }
    let standing = &*standing;
    wait::until("one holder and certificates that are accepted", || async {
        let well = async {
            let mut holders = 0.0;
            let bundle = installation.bundle().await?;
            anyhow::ensure!(!certificates(&bundle)?.is_empty(), "nothing is registered");
            for one in standing {
                let replica = &one.member.replica;
                holders += replica.metric("datakit_operator_lease_held", &[]).await?;
                installation.connect(&one.member, &bundle)?.review()?;
            }
            anyhow::ensure!(holders == 1.0, "{holders} replicas hold the Lease");
            Ok(())
        };
        let well: Result<()> = well.await;
        well.map_err(|error| format!("{error:#}"))
    })
    .await?;
    until_injected(installation.pods()).await
}

/// The next number below `end` that looks random (splitmix64).
fn next(state: &mut u64, end: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) % end as u64) as usize
}
