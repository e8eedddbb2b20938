//! Servers as child processes, and what the kernel knows of them.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(10);
/// Clock ticks a second in `/proc/<pid>/stat`; fixed on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running server. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) roots: RootCertStore,
    /// From starting the process until it said that it was ready.
    pub(crate) started_in: Duration,
    probes: Option<SocketAddr>,
    _directory: TempDir,
}

impl Server {
    /// Starts the operator with the default configuration.
    pub(crate) async fn operator(program: &Path, log: Option<&Path>) -> anyhow::Result<Self> {
        Self::operator_with(program, log, &[]).await
    }

    /// Starts the operator with these flags, too.
    pub(crate) async fn operator_with(
        program: &Path,
        log: Option<&Path>,
        flags: &[&str],
    ) -> anyhow::Result<Self> {
        let (listen, probes) = (free_address()?, free_address()?);
        let mut command = Command::new(program);
        command
            .arg("serve")
            .args([
                "--listen",
                &listen.to_string(),
                "--probe-listen",
                &probes.to_string(),
            ])
            .args(flags)
            .env_remove("KUBECONFIG")
            .env_remove("ENV_CONFIG_FILE")
            .env_remove("ENV_JSON_CONFIG");
        Self::start(command, listen, Some(probes), log).await
    }

    /// Starts the null server, with this many worker threads; 0 for as many as the operator takes
    /// by default.
    pub(crate) async fn null(answer_bytes: usize, workers: usize) -> anyhow::Result<Self> {
        let listen = free_address()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("null-server").args([
            "--listen",
            &listen.to_string(),
            "--answer-bytes",
            &answer_bytes.to_string(),
            "--workers",
            &workers.to_string(),
        ]);
        Self::start(command, listen, None, None).await
    }

    async fn start(
        mut command: Command,
        address: SocketAddr,
        probes: Option<SocketAddr>,
        log: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let ca = directory.path().join("ca.pem");
        let log = match log {
            Some(path) => File::create(path)?.into(),
            None => Stdio::null(),
        };
        command
            .arg("--write-ca")
            .arg(&ca)
            .stdin(Stdio::null())
            .stderr(log);
        let program = PathBuf::from(command.get_program());
        let started = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| format!("failed to start `{}`", program.display()))?;
        while !is_ready(probes, &ca).await {
            if let Some(status) = child.try_wait()? {
                bail!("`{}` ended while starting: {status}", program.display());
            }
            if started.elapsed() > PATIENCE {
                bail!("`{}` is not ready after {PATIENCE:?}", program.display());
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        let started_in = started.elapsed();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&ca)?)?;
        Ok(Self {
            child,
            address,
            roots,
            started_in,
            probes,
            _directory: directory,
        })
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let value = value.and_then(|value| value.trim().strip_suffix(" kB"));
        Ok(value.context("no VmRSS")?.trim().parse()?)
    }

    /// What the operator itself measured: seconds spent in reviews so far, and how many there were.
    pub(crate) async fn reviews(&self) -> anyhow::Result<(f64, f64)> {
        let page = get(self.probes.context("no metrics")?, "/metrics").await?;
        let value = |name: &str| {
            let name = format!("datakit_operator_review_duration_seconds_{name} ");
            let value = page.lines().find_map(|line| line.strip_prefix(&name));
            anyhow::Ok(value.context("no such metric")?.parse::<f64>()?)
        };
        Ok((value("sum")?, value("count")?))
    }

    /// A metric without labels.
    pub(crate) async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let page = get(self.probes.context("no metrics")?, "/metrics").await?;
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        page.lines().find_map(value).context("no such metric")
    }

    /// The first lines of what the operator says about task election.
    pub(crate) async fn election(&self) -> anyhow::Result<String> {
        let page = get(self.probes.context("no metrics")?, "/metrics").await?;
        let lines = page.lines().filter(|line| {
            line.starts_with("datakit_operator_election_inputs")
                || line.starts_with("datakit_operator_election_moves")
                || line.starts_with("datakit_operator_election_agents")
        });
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }

    /// Processor time so far, of all threads, in seconds.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The second field is the program's name in brackets; user and system time are the 14th and
        // 15th.
        let after_name = stat.rsplit(')').next().context("no name")?;
        let ticks: Result<Vec<f64>, _> = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(str::parse)
            .collect();
        Ok(ticks?.iter().sum::<f64>() / TICKS_PER_SECOND)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn is_ready(probes: Option<SocketAddr>, ca: &Path) -> bool {
    let Some(probes) = probes else {
        return ca.exists();
    };
    get(probes, "/readyz")
        .await
        .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// The whole response, head included, to a plain request.
async fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// An address that is free right now. Another process may take it first; then the start fails and
/// says so.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
