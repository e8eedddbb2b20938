//! Following the document: its commands, run as they stand there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use datakit_operator_e2e::certs::Authority;
use datakit_operator_e2e::cluster::Cluster;
use datakit_operator_e2e::helm::program as helm_program;
use datakit_operator_e2e::kubectl::kubectl;
use datakit_operator_e2e::kubelet::Kubelet;
use datakit_operator_e2e::plane::Plane;
use datakit_operator_e2e::process::without_proxies;
use datakit_operator_e2e::repository::repository;
use datakit_operator_e2e::wait;
use tokio::task::block_in_place;

use super::document::{Block, blocks, document, matches, meant};
use super::program;

/// From an empty cluster to nothing left, in each of the ways there are: headings, and what the
/// blocks meant contain.
pub(super) const ROUTES: [&[(&str, &str)]; 4] = [
    &[
        ("With one file", ""),
        ("See that it works", ""),
        ("Change the configuration", ""),
        ("Upgrade", "kubectl apply"),
        ("See that it works", "kubectl run"),
        ("Made by the operator", ""),
        ("Pods that nobody asks about", ""),
        ("See that it works", "kubectl run"),
        ("Permissions", ""),
        ("Task election", ""),
        ("My pod isn't injected", ""),
        ("The operator isn't ready", ""),
        ("Uninstall", "kubectl delete --filename"),
        ("Uninstall", "kubectl delete secret"),
    ],
    &[
        ("With one file", ""),
        ("From the file to the chart", ""),
        ("Upgrade", "helm upgrade"),
        ("See that it works", "kubectl run"),
        ("Uninstall", "helm uninstall"),
        ("Uninstall", "kubectl delete secret"),
    ],
    &[
        ("With Helm", ""),
        ("See that it works", ""),
        ("Upgrade", "helm upgrade"),
        ("Uninstall", "helm uninstall"),
        ("Uninstall", "kubectl delete secret"),
    ],
    &[
        ("With Helm", ""),
        ("Your own files", ""),
        ("See that it works", "kubectl run"),
        ("Moving between them", ""),
        ("See that it works", "kubectl run"),
        ("Uninstall", "helm uninstall"),
        ("Uninstall", "kubectl delete secret"),
    ],
];

pub(super) async fn follow() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let plane = cluster.plane();
    let blocks = blocks(&document()?);
    for (number, route) in ROUTES.into_iter().enumerate() {
        let site = Site::new(plane, number)?;
        let kubelet = Kubelet::start(&cluster, "datakit");
        for (heading, part) in route {
            for block in meant(&blocks, heading, part) {
                println!("{heading}, line {}:\n{}", block.line, block.text);
                let ran = block_in_place(|| site.run(block));
                ran.with_context(|| format!("docs/operations.md:{}: {heading}", block.line))?;
                kubelet.check()?;
            }
        }
        block_in_place(|| clear(plane))?;
        kubelet.finish().await?;
        let emptied = ["delete", "namespace", "datakit", "--timeout=3m"];
        block_in_place(|| kubectl(plane, "default", &emptied))?;
    }
    Ok(())
}

/// Removes what a garbage collector would, which this control plane has not, and fails if anything
/// else is left.
fn clear(plane: &Plane) -> Result<()> {
    for orphans in ["replicasets", "pods"] {
        kubectl(
            plane,
            "datakit",
            &["delete", orphans, "--all", "--timeout=2m"],
        )?;
    }
    const KINDS: &str = "deployments,services,secrets,configmaps,leases,roles,rolebindings,poddisruptionbudgets,\
        serviceaccounts,clusterroles,clusterrolebindings,mutatingwebhookconfigurations,\
        validatingwebhookconfigurations";
    let left = kubectl(plane, "datakit", &["get", KINDS, "--output=name"])?.stdout;
    let ours: Vec<_> = left
        .lines()
        .filter(|name| name.contains("datakit"))
        .collect();
    ensure!(ours.is_empty(), "left after uninstalling: {ours:?}");
    Ok(())
}

/// Where the commands are run: as in the repository, with the commands there that the document
/// uses.
struct Site {
    directory: PathBuf,
    variables: Vec<(&'static str, PathBuf)>,
    path: String,
}

impl Site {
    fn new(plane: &Plane, number: usize) -> Result<Self> {
        let directory = plane.directory().join(format!("operations-{number}"));
        let programs = directory.join("bin");
        std::fs::create_dir_all(&programs)?;
        let link = |to: &Path, name: PathBuf| -> Result<()> {
            let to = std::fs::canonicalize(to)
                .with_context(|| format!("`{}` does not exist", to.display()))?;
            Ok(std::os::unix::fs::symlink(to, name)?)
        };
        for folder in ["deploy", "examples"] {
            link(&repository().join(folder), directory.join(folder))?;
        }
        link(&plane.program("kubectl"), programs.join("kubectl"))?;
        link(&helm_program()?, programs.join("helm"))?;
        link(&program()?, programs.join("datakit-operator"))?;
        // What whoever brings a certificate of their own has.
        let authority = Authority::new()?;
        let pair = authority.server("datakit-operator.datakit.svc")?;
        for (name, pem) in [
            ("ca.crt", authority.pem()),
            ("tls.crt", pair.certificate),
            ("tls.key", pair.key),
        ] {
            std::fs::write(directory.join(name), pem)?;
        }
        let path = std::env::var("PATH").unwrap_or_default();
        Ok(Self {
            path: format!("{}:{path}", programs.display()),
            variables: vec![
                ("KUBECONFIG", plane.kubeconfig()),
                ("HOME", directory.clone()),
                ("HELM_CACHE_HOME", directory.join("cache")),
                ("HELM_CONFIG_HOME", directory.join("config")),
                ("HELM_DATA_HOME", directory.join("data")),
            ],
            directory,
        })
    }

    /// Runs a block. If it should print something, it is run until it does: changes take their
    /// time.
    fn run(&self, block: &Block) -> Result<()> {
        let start = Instant::now();
        loop {
            let printed = self.run_once(&block.text)?;
            match &block.printed {
                Some(expected) if !matches(expected, &printed) => {
                    if start.elapsed() > wait::LIMIT {
                        bail!("expected {expected:?}, printed {printed:?}");
                    }
                    std::thread::sleep(Duration::from_millis(200));
                }
                _ => return Ok(()),
            }
        }
    }

    fn run_once(&self, commands: &str) -> Result<String> {
        let mut command = Command::new("bash");
        let output = without_proxies(&mut command)
            .args(["-euo", "pipefail", "-c", commands])
            .current_dir(&self.directory)
            .env("PATH", &self.path)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .context("failed to start bash")?;
        let printed = String::from_utf8(output.stdout)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{}: {printed}{errors}",
            output.status
        );
        Ok(printed)
    }
}
