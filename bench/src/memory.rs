//! `memory`: whether answering many reviews leaves anything behind.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::Target;
use crate::client::{Client, REVIEW_PATH, Until};
use crate::server::Server;

/// Options of `memory`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,

    /// Reviews to send
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    requests: u64,
}

/// How often resident memory is shown.
const STEPS: u64 = 10;

pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let target = &args.target;
    let operator = Server::operator(&target.operator()?, target.log.as_deref()).await?;
    let shape = (target.connections, target.streams);
    writeln!(
        out,
        "{:>10} reviews: {:>6} KiB",
        0,
        operator.resident_kib()?
    )?;
    let client = Client::connect(
        operator.address,
        &operator.roots,
        shape,
        REVIEW_PATH,
        target.bodies()?,
    );
    let client = client.await?;
    for step in 1..=STEPS {
        let left = Arc::new(AtomicU64::new(args.requests / STEPS));
        client.run(&Until::Count(left)).await?;
        let sent = args.requests / STEPS * step;
        writeln!(
            out,
            "{sent:>10} reviews: {:>6} KiB",
            operator.resident_kib()?
        )?;
    }
    Ok(())
}
