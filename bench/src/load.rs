//! `load`: rounds in which the operator and the null server take turns.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use hyper::body::Bytes;

use crate::Target;
use crate::client::{Client, REVIEW_PATH, Seen, Until};
use crate::server::Server;

/// Options of `load`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,

    /// Rounds; each measures both servers
    #[arg(long, value_name = "N", default_value_t = 7)]
    rounds: usize,

    /// Seconds for each server in each round
    #[arg(long, value_name = "N", default_value_t = 3)]
    seconds: u64,
}

/// Part of each measurement that is thrown away: connections, caches and clocks warm up.
pub(crate) const WARM_UP: Duration = Duration::from_millis(500);

/// What a server did over all rounds.
#[derive(Default)]
pub(crate) struct Totals {
    rates: Vec<f64>,
    cpu_micros: Vec<f64>,
    latencies: Vec<Duration>,
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let operator = Server::operator(&args.target.operator()?, args.target.log.as_deref()).await?;
    let bodies = args.target.bodies()?;
    let (address, roots) = (operator.address, &operator.roots);
    let client = Client::connect(address, roots, (1, 1), REVIEW_PATH, Arc::clone(&bodies)).await?;
    let answer = client.once().await?;
    ensure!(
        answer.windows(9).any(|window| window == b"JSONPatch"),
        "the operator did not patch the pod; this would measure nothing"
    );
    let null = Server::null(answer.len(), 0).await?;
    writeln!(
        out,
        "review {} bytes, answer {} bytes, {} connections x {} streams, {} rounds of {} s each",
        bodies[0].len(),
        answer.len(),
        args.target.connections,
        args.target.streams,
        args.rounds,
        args.seconds
    )?;
    let before = operator.resident_kib()?;
    let (mut ours, mut theirs) = (Totals::default(), Totals::default());
    for round in 0..args.rounds {
        let mut pairs = [(&operator, &mut ours), (&null, &mut theirs)];
        // Whoever goes second finds a warmer machine: take turns at that too.
        if round % 2 == 1 {
            pairs.reverse();
        }
        for (server, totals) in pairs {
            measure(server, totals, args, &bodies).await?;
        }
        let (ours, theirs) = (last(&ours.rates), last(&theirs.rates));
        writeln!(
            out,
            "round {round}: operator {ours:.0}/s, null {theirs:.0}/s, ratio {:.3}",
            ours / theirs
        )?;
    }
    writeln!(
        out,
        "\n{:<10}{:>12}{:>10}{:>10}{:>16}",
        "", "requests/s", "p50", "p99", "CPU us/request"
    )?;
    ours.print(&mut out, "operator")?;
    theirs.print(&mut out, "null")?;
    let ratio = median(&mut ours.rates) / median(&mut theirs.rates);
    writeln!(out, "\nratio of the medians: {ratio:.3}")?;
    let (seconds, reviews) = operator.reviews().await?;
    writeln!(
        out,
        "operator: {:.1} us a review by its own measure, over {reviews} reviews",
        seconds / reviews * 1e6
    )?;
    writeln!(
        out,
        "operator: ready {:.1} ms after its start",
        operator.started_in.as_secs_f64() * 1e3
    )?;
    writeln!(
        out,
        "operator: resident memory {before} KiB before, {} KiB after",
        operator.resident_kib()?
    )?;
    Ok(())
}

async fn measure(
    server: &Server,
    totals: &mut Totals,
    args: &Args,
    bodies: &Arc<[Bytes]>,
) -> anyhow::Result<()> {
    let shape = (args.target.connections, args.target.streams);
    let (address, roots) = (server.address, &server.roots);
    let client = Client::connect(address, roots, shape, REVIEW_PATH, Arc::clone(bodies)).await?;
    client
        .run(&Until::Deadline(Instant::now() + WARM_UP))
        .await?;
    let cpu = server.cpu_seconds()?;
    let deadline = Instant::now() + Duration::from_secs(args.seconds);
    let seen: Seen = client.run(&Until::Deadline(deadline)).await?;
    totals.add(seen, server.cpu_seconds()? - cpu);
    Ok(())
}

impl Totals {
    /// Adds a measurement that cost the server this many seconds of processor time.
    pub(crate) fn add(&mut self, seen: Seen, cpu: f64) {
        self.rates.push(seen.rate());
        self.cpu_micros
            .push(cpu * 1e6 / seen.latencies.len() as f64);
        self.latencies.extend(seen.latencies);
    }

    /// Requests a second, in each round.
    pub(crate) fn rates(&self) -> &[f64] {
        &self.rates
    }

    pub(crate) fn print(&mut self, out: &mut impl Write, name: &str) -> std::io::Result<()> {
        self.latencies.sort_unstable();
        let micros = |share: f64| {
            let index = ((self.latencies.len() as f64 - 1.0) * share) as usize;
            self.latencies.get(index).map_or(0, Duration::as_micros)
        };
        let (p50, p99) = (
            format!("{} us", micros(0.5)),
            format!("{} us", micros(0.99)),
        );
        let (rate, cpu) = (median(&mut self.rates), median(&mut self.cpu_micros));
        writeln!(out, "{name:<10}{rate:>12.0}{p50:>10}{p99:>10}{cpu:>16.1}")
    }
}

pub(crate) fn last(values: &[f64]) -> f64 {
    values.last().copied().unwrap_or_default()
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
