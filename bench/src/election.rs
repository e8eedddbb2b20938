//! `election`: what joining and polling agents cost, beside the null server.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hyper::body::Bytes;
use serde_json::{Value, json};

use crate::client::{Client, Until};
use crate::load::{Totals, WARM_UP, last, median};
use crate::server::Server;

/// Options of `election`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The operator's program [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    operator: Option<PathBuf>,

    /// Agents
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    agents: usize,

    /// Inputs that each of them offers
    #[arg(long, value_name = "N", default_value_t = 200)]
    inputs: usize,

    /// Rounds; each measures both servers
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,

    /// Seconds for each server in each round
    #[arg(long, value_name = "N", default_value_t = 3)]
    seconds: u64,
}

const PATH: &str = "/v1/datakit/election";
/// Connections and requests at once on each.
const SHAPE: (usize, usize) = (8, 4);
/// Cycles of polls after which nothing changes any more: three to settle, three until everything is
/// active.
const CYCLES: usize = 8;
/// Seconds between an agent's polls.
const INTERVAL: f64 = 4.0;

pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let program = match &args.operator {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("datakit-operator"),
    };
    writeln!(
        out,
        "{} inputs for each agent, one worker thread\n",
        args.inputs
    )?;
    for agents in [args.agents / 4, args.agents / 2, args.agents] {
        let (operator, client) = start(&program, args, agents).await?;
        let cpu = operator.cpu_seconds()?;
        let started = Instant::now();
        client.each().await?;
        let elapsed = started.elapsed();
        let cpu = operator.cpu_seconds()? - cpu;
        writeln!(
            out,
            "{agents:>6} agents joined in {:>6.0} ms, {:>6.1} us of CPU each, {} KiB resident",
            elapsed.as_secs_f64() * 1e3,
            cpu * 1e6 / agents as f64,
            operator.resident_kib()?
        )?;
    }
    let (operator, mut client) = start(&program, args, args.agents).await?;
    let mut answer = 0;
    for _ in 0..CYCLES {
        let answers = client.each().await?;
        answer = answers.iter().map(Bytes::len).sum::<usize>() / answers.len();
        let bodies: anyhow::Result<Vec<Bytes>> = answers
            .iter()
            .enumerate()
            .map(|(agent, answer)| {
                let answer: Value = serde_json::from_slice(answer)?;
                Ok(poll(agent, args.inputs, &answer["allowed_inputs"]))
            })
            .collect();
        client.send_from_now_on(bodies?.into());
    }
    let null = Server::null(answer, 1).await?;
    let to_null = Client::connect(null.address, &null.roots, SHAPE, PATH, client.bodies()).await?;
    let (mut ours, mut theirs) = (Totals::default(), Totals::default());
    writeln!(out)?;
    for round in 0..args.rounds {
        let mut pairs = [
            (&operator, &client, &mut ours),
            (&null, &to_null, &mut theirs),
        ];
        // Whoever goes second finds a warmer machine: take turns at that too.
        if round % 2 == 1 {
            pairs.reverse();
        }
        for (server, client, totals) in pairs {
            let warm_up = Until::Deadline(Instant::now() + WARM_UP);
            client.run(&warm_up).await?;
            let cpu = server.cpu_seconds()?;
            let deadline = Instant::now() + Duration::from_secs(args.seconds);
            let seen = client.run(&Until::Deadline(deadline)).await?;
            totals.add(seen, server.cpu_seconds()? - cpu);
        }
        let (ours, theirs) = (last(ours.rates()), last(theirs.rates()));
        writeln!(
            out,
            "round {round}: operator {ours:.0} polls/s, null {theirs:.0}/s, ratio {:.3}",
            ours / theirs
        )?;
    }
    writeln!(
        out,
        "\n{:<10}{:>12}{:>10}{:>10}{:>16}",
        "", "polls/s", "p50", "p99", "CPU us/poll"
    )?;
    ours.print(&mut out, "operator")?;
    theirs.print(&mut out, "null")?;
    let rate = median(&mut ours.rates().to_vec());
    let ratio = rate / median(&mut theirs.rates().to_vec());
    writeln!(out, "\nratio of the medians: {ratio:.3}")?;
    let needed = args.agents as f64 / INTERVAL;
    writeln!(
        out,
        "{} agents poll {needed:.0} times a second: {:.1} % of one worker",
        args.agents,
        needed / rate * 100.0
    )?;
    let table = operator.election().await?;
    writeln!(out, "{table}")?;
    Ok(())
}

/// An operator that gives inputs out at once, and a client with one body for each agent.
async fn start(
    program: &std::path::Path,
    args: &Args,
    agents: usize,
) -> anyhow::Result<(Server, Client)> {
    let flags = [
        "--workers=1",
        "--election-listening=0s",
        // The load is not spread over time as that of real agents is.
        "--agent-timeout=10m",
        // All of them come from one address.
        "--max-agents=50000",
        "--max-requests-per-address=1000000",
    ];
    let operator = Server::operator_with(program, None, &flags).await?;
    let bodies: Arc<[Bytes]> = (0..agents)
        .map(|agent| poll(agent, args.inputs, &Value::Null))
        .collect();
    let client = Client::connect(operator.address, &operator.roots, SHAPE, PATH, bodies);
    let client = client.await.context("no connection to the operator")?;
    Ok((operator, client))
}

fn poll(agent: usize, inputs: usize, running: &Value) -> Bytes {
    let inputs: serde_json::Map<_, _> = (0..inputs)
        .map(|input| (format!("input-{input:03}"), (1 + input % 7).into()))
        .collect();
    let body = json!({
        "namespace": "N/A",
        "id": format!("node-{agent:05}.cluster.example"),
        "timestamp": 1_700_000_000_000_u64,
        "application_inputs": inputs,
        "running_inputs": running,
    });
    body.to_string().into()
}
