//! Measures `datakit-operator serve` under load.
//!
//! Numbers of a busy machine mean little by themselves. So the operator runs in turns with a null
//! server: the same accept loop, TLS, HTTP and runtime, which reads the body and answers a constant
//! of the same length. What remains of the null server's throughput is what a review costs.

mod client;
mod election;
mod load;
mod memory;
mod null;
mod pods;
mod server;
mod soak;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use hyper::body::Bytes;

#[derive(Debug, Parser)]
#[command(name = "datakit-operator-bench", about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Throughput and latency of the operator and of the null server, in alternating rounds
    Load(load::Args),
    /// Resident memory of the operator while it answers many reviews
    Memory(memory::Args),
    /// A steady load for a long time, under a ceiling for resident memory
    Soak(soak::Args),
    /// What agents that share out inputs cost: joining, and polling beside the null server
    Election(election::Args),
    /// What it costs to keep the pods of a large cluster and to show them
    Pods(pods::Args),
    /// Pods as typed objects; started by `pods`
    #[command(hide = true)]
    TypedPods(pods::TypedArgs),
    /// The server to compare with; started by `load` and `election`
    #[command(hide = true)]
    NullServer(null::Args),
}

/// What is sent, and to which program.
#[derive(Clone, Debug, clap::Args)]
struct Target {
    /// The operator's program [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    operator: Option<PathBuf>,

    /// The admission review to send [default: the Java example]
    #[arg(long, value_name = "FILE")]
    review: Option<PathBuf>,

    /// Where the operator's log goes [default: to nowhere]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,

    /// Connections
    #[arg(long, value_name = "N", default_value_t = 8)]
    connections: usize,

    /// Requests at once on each connection
    #[arg(long, value_name = "N", default_value_t = 4)]
    streams: usize,
}

/// The Java example: a pod that asks for the Java library, as an API server sends it.
const JAVA_REVIEW: &[u8] = include_bytes!("../../testdata/reviews/java.json");

impl Target {
    fn operator(&self) -> anyhow::Result<PathBuf> {
        let beside = || Ok(std::env::current_exe()?.with_file_name("datakit-operator"));
        self.operator.clone().map_or_else(beside, Ok)
    }

    fn bodies(&self) -> anyhow::Result<Arc<[Bytes]>> {
        let review = match &self.review {
            Some(path) => std::fs::read(path)?.into(),
            None => Bytes::from_static(JAVA_REVIEW),
        };
        Ok(Arc::new([review]))
    }
}

fn main() -> anyhow::Result<()> {
    let command = Cli::parse().command;
    if let Command::NullServer(args) = command {
        return null::run(&args);
    }
    if let Command::TypedPods(args) = command {
        return pods::typed(&args);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match command {
            Command::Load(args) => load::run(&args).await,
            Command::Election(args) => election::run(&args).await,
            Command::Memory(args) => memory::run(&args).await,
            Command::Soak(args) => soak::run(&args).await,
            Command::Pods(args) => pods::run(&args).await,
            Command::NullServer(_) | Command::TypedPods(_) => Ok(()),
        }
    })
}
