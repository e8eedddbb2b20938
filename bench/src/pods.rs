//! `pods`: what it costs to keep the pods of a large cluster and to show them.
//!
//! An API server that has nothing but pods stands before the operator. How long things take depends
//! on the machine and on what this program takes of it; processor time is the operator's alone.

mod api;
mod list;
mod reviews;
mod shapes;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Pod;

use crate::server::Server;
use api::Api;
use list::list;
use shapes::Shapes;

/// Options of `pods`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: crate::Target,

    /// Pods of the cluster
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    pods: usize,

    /// Changes of pods that are sent as fast as they are taken
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    changes: usize,

    /// Rounds in which reviews are timed, at rest and beside changes and lists; each in turn
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,

    /// How long each of these lasts, in seconds
    #[arg(long, value_name = "N", default_value_t = 10)]
    seconds: u64,

    /// Also keep the pods as typed objects, in a process of its own, to compare
    #[arg(long)]
    typed: bool,

    /// Also keep them in the cache of an informer in Go: the program that `go build` makes in
    /// bench/typed-cache
    #[arg(long, value_name = "FILE")]
    typed_cache: Option<PathBuf>,
}

/// Options of the process that keeps typed objects.
#[derive(Debug, clap::Args)]
pub(crate) struct TypedArgs {
    #[arg(long)]
    pods: usize,
}

const KEPT: &str = "datakit_operator_pod_api_pods";
const CHANGES: &str = "datakit_operator_pod_api_changes_total";
const FULL: &str = "/v1/cluster/api/v1/pods";
const TRIMMED: &str = "/v1/cluster/api/v1/pods?view=ebpf-v1";
/// For so long, resident memory is given time to settle.
const SETTLE: Duration = Duration::from_secs(5);
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let program = args.target.operator()?;
    let api = Api::start(args.pods, args.changes).await?;
    writeln!(
        out,
        "{} pods of {} bytes on average, {} MiB",
        args.pods,
        api.bytes / args.pods.max(1),
        api.bytes >> 20
    )?;
    let flags = [
        "--kubeconfig",
        api.kubeconfig.to_str().context("the path isn't UTF-8")?,
        "--pod-api=on",
        "--logging-configs=off",
    ];
    let started = Instant::now();
    let operator = Server::operator_with(&program, args.target.log.as_deref(), &flags).await?;
    until(&operator, KEPT, args.pods).await?;
    let cpu = operator.cpu_seconds()?;
    writeln!(
        out,
        "listed in {:.1} s, {cpu:.1} s of processor time",
        started.elapsed().as_secs_f64()
    )?;
    tokio::time::sleep(SETTLE).await;
    let rest = operator.resident_kib()?;
    writeln!(
        out,
        "resident {} MiB, of which pods {} MiB",
        rest >> 10,
        operator
            .metric("datakit_operator_pod_api_memory_bytes")
            .await? as u64
            >> 20
    )?;

    for (what, path) in [("full", FULL), ("ebpf-v1", TRIMMED)] {
        let counted = list(&operator, path, true).await?;
        ensure!(
            counted.pods == args.pods,
            "{} pods in the list",
            counted.pods
        );
        for _ in 0..3 {
            let cpu = operator.cpu_seconds()?;
            let seen = list(&operator, path, false).await?;
            ensure!(seen.bytes == counted.bytes, "{} bytes", seen.bytes);
            writeln!(
                out,
                "list {what:<8} headers {:>6.1} ms, whole {:>5.2} s, {:>4} MiB, {:>4.2} s of processor time, {:>5.1} MiB above rest",
                seen.headers.as_secs_f64() * 1e3,
                seen.whole.as_secs_f64(),
                seen.bytes >> 20,
                operator.cpu_seconds()? - cpu,
                seen.resident_kib.saturating_sub(rest) as f64 / 1024.0
            )?;
        }
    }

    let before = operator.metric(CHANGES).await? as usize;
    let (started, cpu) = (Instant::now(), operator.cpu_seconds()?);
    api.change();
    until(&operator, CHANGES, before + args.changes).await?;
    let (took, cpu) = (started.elapsed(), operator.cpu_seconds()? - cpu);
    let rate = |seconds: f64| args.changes as f64 / seconds;
    writeln!(
        out,
        "{} changes: {:.0} a second as they came, {:.0} a second of processor time",
        args.changes,
        rate(took.as_secs_f64()),
        rate(cpu)
    )?;
    tokio::time::sleep(SETTLE).await;
    writeln!(out, "resident {} MiB", operator.resident_kib()? >> 10)?;

    let rounds = (args.rounds, Duration::from_secs(args.seconds));
    let bodies = args.target.bodies()?;
    reviews::compare((&operator, &api), &program, bodies, rounds).await?;
    if args.typed {
        let typed = std::process::Command::new(std::env::current_exe()?)
            .args(["typed-pods", "--pods", &args.pods.to_string()])
            .output()?;
        write!(out, "{}", String::from_utf8_lossy(&typed.stdout))?;
    }
    if let Some(program) = &args.typed_cache {
        let mut command = std::process::Command::new(program);
        command
            .args(["--server", &api.server])
            // Lists of pages, as the operator reads them; this API server has no others.
            .env("KUBE_FEATURE_WatchListClient", "false");
        let kept = tokio::task::spawn_blocking(move || command.output()).await??;
        ensure!(
            kept.status.success(),
            "{}",
            String::from_utf8_lossy(&kept.stderr)
        );
        write!(out, "{}", String::from_utf8_lossy(&kept.stdout))?;
    }
    Ok(())
}

async fn until(operator: &Server, metric: &str, least: usize) -> anyhow::Result<()> {
    let started = Instant::now();
    while operator.metric(metric).await.unwrap_or_default() < least as f64 {
        ensure!(started.elapsed() < PATIENCE, "{metric} stays below {least}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// `typed-pods`: what the same pods take as objects of a Kubernetes library.
pub(crate) fn typed(args: &TypedArgs) -> anyhow::Result<()> {
    let mut shapes = Shapes::default();
    let mut pods: Vec<Pod> = Vec::with_capacity(args.pods);
    for number in 0..args.pods {
        pods.push(serde_json::from_value(shapes.pod(number, 0))?);
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.and_then(|value| value.trim().strip_suffix(" kB"));
    let kib: u64 = kib.context("no VmRSS")?.trim().parse()?;
    writeln!(
        std::io::stdout(),
        "{} pods as typed objects: resident {} MiB",
        pods.len(),
        kib >> 10
    )?;
    Ok(())
}

/// A file that tells how to reach the API server.
fn kubeconfig(server: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: bench\n\
         contexts: [{{name: bench, context: {{cluster: bench, user: bench}}}}]\n\
         clusters: [{{name: bench, cluster: {{server: \"{server}\"}}}}]\n\
         users: [{{name: bench, user: {{}}}}]\n"
    )
}

/// Where a file of this run is.
fn path_in(directory: &tempfile::TempDir, name: &str) -> PathBuf {
    directory.path().join(name)
}
