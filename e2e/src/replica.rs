//! One operator of several, each at an address of its own, as pods are.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Result, anyhow, bail};
use serde_json::Value;

use crate::connection::{self, Connection};
use crate::operator::{lines, program};
use crate::process::{Process, Signal};
use crate::wait;

/// The port of the webhook.
pub const WEBHOOK: u16 = 9543;
/// The port of probes and metrics.
pub const PROBES: u16 = 9544;

/// A running operator. Killed when dropped.
#[derive(Debug)]
pub struct Replica {
    name: String,
    address: Ipv4Addr,
    process: Process,
}

impl Replica {
    /// Starts `datakit-operator` with these arguments, by which it listens at this address, and
    /// these variables. Its log is in `directory`.
    pub fn start(
        directory: &Path,
        name: &str,
        address: Ipv4Addr,
        args: &[String],
        variables: &[(String, String)],
    ) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let log = directory.join(format!("{name}.log"));
        let process = Process::start(&program()?, args, variables, &log)?;
        Ok(Self {
            name: name.to_owned(),
            address,
            process,
        })
    }

    /// The name of its pod.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Whether it says that it is ready, and if not why.
    pub async fn ready(&self) -> Result<(), String> {
        probe((self.address, PROBES), "/readyz").await
    }

    /// Waits until it is ready.
    pub async fn until_ready(&mut self) -> Result<()> {
        let address = self.address;
        let ready = wait::until(&format!("{} to be ready", self.name), || {
            let ended = self.process.ended();
            async move {
                match ended {
                    Ok(Some(status)) => Ok(Err(anyhow!("it ended with {status}"))),
                    Ok(None) => probe((address, PROBES), "/readyz").await.map(Ok),
                    Err(error) => Ok(Err(error)),
                }
            }
        })
        .await;
        match ready {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) | Err(error) => {
                Err(error.context(format!("{} wrote:\n{}", self.name, self.log())))
            }
        }
    }

    /// Waits until its process has ended, and returns its exit code, unless a signal ended it.
    pub async fn until_ended(&mut self) -> Result<Option<i32>> {
        let name = format!("{} to end", self.name);
        let status = wait::until(&name, || {
            let ended = self.process.ended();
            async move {
                match ended {
                    Ok(Some(status)) => Ok(Ok(status)),
                    Ok(None) => Err("it runs".to_owned()),
                    Err(error) => Ok(Err(error)),
                }
            }
        })
        .await??;
        // The shell that holds it adds 128 to the number of a signal.
        Ok(status.code().filter(|code| *code < 128))
    }

    /// Whether its process has ended.
    pub fn ended(&mut self) -> Result<bool> {
        Ok(self.process.ended()?.is_some())
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Connects to it as to the Service of this name, trusting the authorities in `bundle` (PEM).
    pub fn connect(&self, name: &str, bundle: &str) -> Result<Connection> {
        Connection::open(SocketAddr::from((self.address, WEBHOOK)), name, bundle)
    }

    /// The sum of a metric over those of its series that have all of these labels (each
    /// `name="value"`).
    pub async fn metric(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let probes = SocketAddr::from((self.address, PROBES));
        let (_, text) =
            tokio::task::spawn_blocking(move || connection::get(probes, "/metrics")).await??;
        let mut series = text
            .lines()
            .filter(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with(['{', ' ']))
                    && labels.iter().all(|label| line.contains(label))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .peekable();
        if series.peek().is_none() {
            bail!("{} has no metric {name} {labels:?}:\n{text}", self.name);
        }
        Ok(series.sum())
    }

    /// Everything it has written.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// Its log lines.
    #[must_use]
    pub fn lines(&self) -> Vec<Value> {
        lines(&self.process.output()).collect()
    }
}

/// The flags by which an operator listens at an address.
#[must_use]
pub fn listening(address: Ipv4Addr) -> [String; 2] {
    [
        format!("--listen={address}:{WEBHOOK}"),
        format!("--probe-listen={address}:{PROBES}"),
    ]
}

/// Asks a probe, and says why the answer isn't 200.
pub async fn probe(server: impl Into<SocketAddr>, path: &str) -> Result<(), String> {
    let (server, path) = (server.into(), path.to_owned());
    match tokio::task::spawn_blocking(move || connection::get(server, &path)).await {
        Ok(Ok((200, _))) => Ok(()),
        Ok(Ok((status, body))) => Err(format!("{status}: {body}")),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(error) => Err(error.to_string()),
    }
}
