//! The program under test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::certs::{Authority, Pair};
use crate::connection;
use crate::plane::{Plane, target_directory};
use crate::process::Process;
use crate::repository::repository;
use crate::wait;

/// How to start an operator.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The configuration; without one, the built-in.
    pub config: Option<String>,
    /// `--kubernetes-version`.
    pub kubernetes_version: Option<String>,
    /// Further environment variables.
    pub variables: Vec<(String, String)>,
    /// The port to listen on; without one, any.
    pub port: Option<u16>,
    /// A certificate that stays the same when the operator is started again; without one, it makes
    /// its own.
    pub certificate: Option<Pair>,
}

/// A running operator, as `datakit-operator serve`. Killed when dropped.
#[derive(Debug)]
pub struct Operator {
    process: Process,
    port: u16,
    ca: Option<String>,
}

impl Operator {
    /// Starts an operator and waits until it is ready. `name` tells its log apart from others'.
    pub async fn start(plane: &Plane, name: &str, options: &Options) -> Result<Self> {
        let directory = plane.directory().join(format!("operator-{name}"));
        std::fs::create_dir_all(&directory)?;
        let ca = directory.join("ca.pem");
        let file = |name: &str, content: &str| -> Result<String> {
            let path = directory.join(name);
            std::fs::write(&path, content)?;
            Ok(path.display().to_string())
        };
        let mut args = vec![
            "serve".to_owned(),
            "--log-format=json".to_owned(),
            "--probe-listen=127.0.0.1:0".to_owned(),
        ];
        args.push(format!("--listen=127.0.0.1:{}", options.port.unwrap_or(0)));
        match &options.certificate {
            Some(pair) => {
                args.push(format!(
                    "--tls-cert-file={}",
                    file("tls.crt", &pair.certificate)?
                ));
                args.push(format!("--tls-key-file={}", file("tls.key", &pair.key)?));
            }
            None => args.push(format!("--write-ca={}", ca.display())),
        }
        if let Some(config) = &options.config {
            args.push(format!("--config={}", file("config.json", config)?));
        }
        if let Some(version) = &options.kubernetes_version {
            args.push(format!("--kubernetes-version={version}"));
        }
        let log = directory.join("log");
        let mut process = Process::start(&program()?, args, &options.variables, &log)?;
        let port = wait::until("the operator", || {
            let ready = port_in(&process.output());
            let ended = process.ended().ok().flatten();
            async move {
                match (ready, ended) {
                    (Some(port), _) => Ok(Ok(port)),
                    (None, Some(status)) => Ok(Err(status)),
                    (None, None) => Err("it has not logged that it is ready".to_owned()),
                }
            }
        })
        .await?;
        let port = match port {
            Ok(port) => port,
            Err(status) => bail!("the operator ended with {status}: {}", process.output()),
        };
        let ca = match options.certificate {
            Some(_) => None,
            None => Some(std::fs::read_to_string(&ca).context("the operator wrote no CA")?),
        };
        Ok(Self { process, port, ca })
    }

    /// The port of the webhook.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The CA of the certificate it made.
    pub fn ca(&self) -> Result<&str> {
        self.ca
            .as_deref()
            .context("the operator was given a certificate")
    }

    /// Where its probes are.
    pub fn probes(&self) -> Result<SocketAddr> {
        let output = self.process.output();
        let ready = lines(&output).find(|line| line["msg"] == "ready");
        ready
            .and_then(|line| line["probes"].as_str()?.split('/').nth(2)?.parse().ok())
            .context("the operator has not logged where its probes are")
    }

    /// Its metrics page.
    pub async fn metrics(&self) -> Result<String> {
        let address = self.probes()?;
        let answer = tokio::task::spawn_blocking(move || connection::get(address, "/metrics"));
        let (status, page) = answer.await??;
        ensure!(status == 200, "{status}: {page}");
        Ok(page)
    }

    /// Its log lines about pods: one for each review.
    #[must_use]
    pub fn reviews(&self) -> Vec<Value> {
        lines(&self.process.output())
            .filter(|line| line["msg"] == "pod reviewed")
            .collect()
    }
}

/// Makes its image, as `deploy/image-archive` does for whoever has no engine.
pub fn image_archive(tag: &str, archive: &Path) -> Result<()> {
    let mut command = Command::new(repository().join("deploy/image-archive"));
    command.args(["--tag", tag, "--output"]).arg(archive);
    let made = command.arg("--program").arg(program()?).output()?;
    if !made.status.success() {
        bail!(
            "deploy/image-archive ended with {}: {}",
            made.status,
            String::from_utf8_lossy(&made.stderr)
        );
    }
    Ok(())
}

/// An authority and a certificate from it that an operator can be started with more than once.
pub fn lasting_certificate() -> Result<(String, Pair)> {
    let authority = Authority::new()?;
    Ok((authority.pem(), authority.localhost()?))
}

/// The program: what the environment names, else what the build has left beside the tests.
pub fn program() -> Result<PathBuf> {
    let program = match std::env::var_os("E2E_OPERATOR") {
        Some(path) => PathBuf::from(path),
        None => target_directory()?.join("debug/datakit-operator"),
    };
    if !program.exists() {
        bail!(
            "`{}` does not exist; build datakit-operator first, or run `e2e/run`",
            program.display()
        );
    }
    Ok(program)
}

fn port_in(log: &str) -> Option<u16> {
    let ready = lines(log).find(|line| line["msg"] == "ready")?;
    let authority = ready["webhook"].as_str()?.split('/').nth(2)?;
    authority.rsplit(':').next()?.parse().ok()
}

pub(crate) fn lines(log: &str) -> impl Iterator<Item = Value> {
    log.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
}
