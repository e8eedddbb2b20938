//! How long ordinary reviews take while pods change and are listed.
//!
//! Whatever makes pods change and takes lists needs the machine as well. So a second operator, which
//! has nothing to do with pods, stands beside the first: reviews go to both in turn. What both lose
//! is the machine's, what the first one loses more is the Pod API's.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use hyper::body::Bytes;
use rustls::RootCertStore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::api::Api;
use super::list::list;
use super::{FULL, SETTLE};
use crate::client::{Client, REVIEW_PATH};
use crate::load::WARM_UP;
use crate::server::Server;

/// Reviews a second to each operator.
const REVIEWS: u32 = 100;
/// Changes of pods a second.
const CHANGES: u32 = 2_000;

/// The latencies of one phase, of both operators.
type Took = [Vec<Duration>; 2];

/// Measures so many rounds of this time each, at rest and beside changes and lists.
pub(super) async fn compare(
    (operator, api): (&Server, &Api),
    program: &Path,
    bodies: Arc<[Bytes]>,
    (rounds, time): (usize, Duration),
) -> anyhow::Result<()> {
    let other = Server::operator(program, None).await?;
    let servers = [operator, &other].map(|server| (server.address, server.roots.clone()));
    let measure = || Measuring::start(servers.clone(), Arc::clone(&bodies), time);
    let (mut quiet, mut busy, mut lists) = (Vec::new(), Vec::new(), 0);
    for _ in 0..rounds {
        quiet.push(measure().end().await?);
        api.change_at(CHANGES);
        let measuring = measure();
        let started = Instant::now();
        while started.elapsed() < time + WARM_UP {
            list(operator, FULL, false).await?;
            lists += 1;
        }
        busy.push(measuring.end().await?);
        // The last changes are taken.
        sleep(SETTLE).await;
    }
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{REVIEWS} reviews a second to each, medians of {rounds} rounds of {} s:",
        time.as_secs()
    )?;
    let busy_name = format!(
        "{CHANGES} changes a second, {:.1} lists",
        lists as f64 / rounds.max(1) as f64
    );
    for (phase, took) in [("at rest", &quiet), (busy_name.as_str(), &busy)] {
        for (index, which) in ["with the Pod API", "another operator"]
            .into_iter()
            .enumerate()
        {
            let of = |permille| median(took, index, permille).as_micros();
            writeln!(
                out,
                "{phase:<36} {which:<17} p50 {:>6} us, p99 {:>6} us",
                of(500),
                of(990)
            )?;
        }
    }
    Ok(())
}

/// The median over all rounds of a percentile (in thousandths) of one operator.
fn median(rounds: &[Took], operator: usize, permille: usize) -> Duration {
    let mut values: Vec<Duration> = rounds
        .iter()
        .filter_map(|round| {
            let mut took = round[operator].clone();
            took.sort_unstable();
            let index = took.len().saturating_sub(1) * permille / 1000;
            took.get(index).copied()
        })
        .collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// A client on a thread of its own, which doesn't wait for what else this program does.
struct Measuring(JoinHandle<anyhow::Result<Took>>);

impl Measuring {
    fn start(
        servers: [(SocketAddr, RootCertStore); 2],
        bodies: Arc<[Bytes]>,
        time: Duration,
    ) -> Self {
        Self(std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(measure(servers, bodies, time))
        }))
    }

    async fn end(self) -> anyhow::Result<Took> {
        let ended = tokio::task::spawn_blocking(|| self.0.join()).await?;
        ended.map_err(|_| anyhow!("the client panicked"))?
    }
}

/// Sends reviews at a steady rate, whether those before are answered or not.
async fn measure(
    servers: [(SocketAddr, RootCertStore); 2],
    bodies: Arc<[Bytes]>,
    time: Duration,
) -> anyhow::Result<Took> {
    let mut clients = Vec::new();
    for (address, roots) in &servers {
        let client = Client::connect(*address, roots, (2, 1), REVIEW_PATH, Arc::clone(&bodies));
        clients.push(Arc::new(client.await?));
    }
    let mut asked = JoinSet::new();
    let mut every = tokio::time::interval(Duration::from_secs(1) / (2 * REVIEWS));
    let started = Instant::now();
    for number in 0_usize.. {
        every.tick().await;
        let elapsed = started.elapsed();
        if elapsed >= WARM_UP + time {
            break;
        }
        let which = number % clients.len();
        let client = Arc::clone(&clients[which]);
        asked.spawn(async move {
            let took = client.group(1).await?;
            anyhow::Ok((which, took, elapsed >= WARM_UP))
        });
    }
    let mut took = Took::default();
    while let Some(one) = asked.join_next().await {
        let (which, latencies, counts) = one.context("a review")??;
        if counts {
            took[which].extend(latencies);
        }
    }
    Ok(took)
}
