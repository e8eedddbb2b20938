//! `soak`: a steady load for a long time, under a ceiling for resident memory.
//!
//! What costs a little each time is seen only after many times: a byte kept for each review, each
//! connection or each refused request. So all of them go on, at a rate that leaves the machine
//! idle, and memory is looked at all the while.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use hyper::body::Bytes;

use crate::Target;
use crate::client::{Client, REVIEW_PATH};
use crate::server::Server;

/// Options of `soak`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,

    /// Minutes to go on
    #[arg(long, value_name = "N", default_value_t = 60)]
    minutes: u64,

    /// Reviews a second
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    rate: u64,

    /// Resident memory that ends the run as a failure, in MiB
    #[arg(long, value_name = "N", default_value_t = 64)]
    rss_limit: u64,
}

/// Reviews leave in groups, so many times a second.
const GROUPS: u64 = 20;
/// How long a review may take. One that takes longer fails the run.
const LONGEST: Duration = Duration::from_secs(5);
/// How often connections are closed and made anew.
const RECONNECT: Duration = Duration::from_secs(10);
/// How often a line is printed.
const REPORT: Duration = Duration::from_secs(60);
/// What is sent in between that isn't answered with a patch.
const ODD: [&[u8]; 4] = [
    b"",
    b"{",
    b"\xff\xfe",
    br#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u"}}"#,
];

/// What happened since the last line.
#[derive(Default)]
struct Minute {
    latencies: Vec<Duration>,
    resident: u64,
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let target = &args.target;
    let operator = Server::operator(&target.operator()?, target.log.as_deref()).await?;
    let bodies = target.bodies()?;
    let odd: Arc<[Bytes]> = ODD.into_iter().map(Bytes::from_static).collect();
    let connect = || {
        let shape = (target.connections, target.streams);
        let (address, roots) = (operator.address, &operator.roots);
        Client::connect(address, roots, shape, REVIEW_PATH, Arc::clone(&bodies))
    };
    let mut client = connect().await?;
    writeln!(out, "at rest: {} KiB", operator.resident_kib()?)?;
    writeln!(
        out,
        "{:>7}{:>10}{:>10}{:>10}{:>12}{:>12}",
        "minute", "reviews", "p50", "p99", "highest", "now"
    )?;
    let started = Instant::now();
    let end = Duration::from_secs(args.minutes * 60);
    let period = Duration::from_secs(1) / u32::try_from(GROUPS)?;
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut minute, mut first_full) = (Minute::default(), None);
    let (mut total, mut highest) = (0, 0);
    let (mut connected, mut reported) = (started, started);
    while started.elapsed() < end {
        ticks.tick().await;
        let group = usize::try_from((args.rate / GROUPS).max(1))?;
        for took in client.group(group).await? {
            ensure!(took < LONGEST, "a review took {took:?}");
            minute.latencies.push(took);
        }
        let resident = operator.resident_kib()?;
        minute.resident = minute.resident.max(resident);
        if resident > args.rss_limit * 1024 {
            bail!(
                "resident memory is {resident} KiB after {:?}, more than {} MiB",
                started.elapsed(),
                args.rss_limit
            );
        }
        if connected.elapsed() >= RECONNECT {
            connected = Instant::now();
            client = connect().await?;
            client.refused(&odd).await?;
        }
        if reported.elapsed() >= REPORT || started.elapsed() >= end {
            reported = Instant::now();
            total += minute.latencies.len();
            highest = highest.max(minute.resident);
            first_full.get_or_insert(minute.resident);
            minute.latencies.sort_unstable();
            let at = |share: usize| minute.latencies[(minute.latencies.len() - 1) * share / 100];
            writeln!(
                out,
                "{:>7}{:>10}{:>10}{:>10}{:>12}{:>12}",
                started.elapsed().as_secs() / 60,
                minute.latencies.len(),
                format!("{} us", at(50).as_micros()),
                format!("{} us", at(99).as_micros()),
                format!("{} KiB", minute.resident),
                format!("{resident} KiB"),
            )?;
            minute = Minute::default();
        }
    }
    writeln!(
        out,
        "\n{total} reviews in {:.1} min, none failed; resident memory at most {highest} KiB, {} KiB in the first minute",
        started.elapsed().as_secs_f64() / 60.0,
        first_full.unwrap_or_default(),
    )?;
    Ok(())
}
