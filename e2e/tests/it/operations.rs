//! What docs/operations.md says is so: its commands are run as they stand there, and what it names
//! exists.

pub(crate) mod document;
mod follow;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use datakit_operator_e2e::cluster::Cluster;
use datakit_operator_e2e::helm::{operator_prints, program as helm_program};
use datakit_operator_e2e::kubectl::kubectl_with;
use datakit_operator_e2e::plane::{Plane, target_directory};
use datakit_operator_e2e::process::Process;
use datakit_operator_e2e::repository::repository;
use datakit_operator_e2e::service::address;
use datakit_operator_e2e::traffic::until_injected;
use datakit_operator_e2e::{connection, wait};
use serde_json::json;

use self::document::{blocks, document, flags, literals, meant, names, slug};
use self::follow::{ROUTES, follow};

/// Set in the process that follows the document.
const ALONE: &str = "OPERATIONS_ALONE";
/// How long following it may take; far more than it does.
const LIMIT: Duration = Duration::from_secs(900);

/// Follows the document in a cluster of its own, since it says which names things have and the
/// others use them, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the control plane: run e2e/run"]
async fn can_be_followed() -> Result<()> {
    if std::env::var_os(ALONE).is_some() {
        return follow().await;
    }
    let directory = target_directory()?
        .join("e2e")
        .join(std::process::id().to_string());
    std::fs::create_dir_all(&directory)?;
    let args = [
        "operations::can_be_followed",
        "--exact",
        "--ignored",
        "--nocapture",
    ];
    let variables = [(ALONE.to_owned(), "1".to_owned())];
    let log = directory.join("operations.log");
    let mut alone = Process::start(&std::env::current_exe()?, args, &variables, &log)?;
    let start = Instant::now();
    let status = loop {
        match alone.ended()? {
            Some(status) => break status,
            None if start.elapsed() > LIMIT => {
                bail!("it takes longer than {LIMIT:?}: {}", alone.output())
            }
            None => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    };
    ensure!(status.success(), "{}", alone.output());
    // A filter that matches no test succeeds, too.
    ensure!(alone.output().contains("1 passed"), "{}", alone.output());
    Ok(())
}

/// Only the name under which the API server reaches the desk is another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the control plane: run e2e/run"]
async fn can_be_followed_from_a_desk() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let plane = cluster.plane();
    let blocks = blocks(&document()?);
    let desk = |language| {
        let mut desk = blocks.iter().filter(|block| block.heading == "From a desk");
        let block = desk.find(|block| block.language == language);
        block.with_context(|| format!("no {language}"))
    };
    let address = address()?.to_string();
    let here = |text: &str| text.replace("dev.example", &address);
    let kubeconfig = plane.kubeconfig().display().to_string();
    let command = here(&desk("sh no_run")?.text)
        .replace("~/.kube/config", &kubeconfig)
        .replace('\\', "");
    let mut args: Vec<_> = command.split_whitespace().map(str::to_owned).collect();
    ensure!(args.remove(0) == "datakit-operator", "{command}");
    args.push(format!("--listen={address}:9543"));
    args.push(format!("--probe-listen={address}:9544"));

    let playground = cluster.namespace("playground", &json!({})).await?;
    let registration = here(&desk("yaml")?.text);
    kubectl_with(plane, "default", &["apply", "--filename=-"], &registration)?;
    let log = plane.directory().join("desk.log");
    let operator = Process::start(&program()?, args, &[], &log)?;
    let injected = until_injected(&playground).await;
    injected.with_context(|| operator.output())
}

#[test]
fn has_no_block_that_nobody_runs() -> Result<()> {
    let blocks = blocks(&document()?);
    let mut run = BTreeSet::new();
    for (heading, part) in ROUTES.into_iter().flatten() {
        let meant: Vec<_> = meant(&blocks, heading, part).collect();
        assert!(!meant.is_empty(), "nothing to run: {heading:?} {part:?}");
        run.extend(meant.iter().map(|block| block.line));
    }
    for block in &blocks {
        let commands = block.language == "sh";
        assert_eq!(commands, run.contains(&block.line), "{block:?}");
        let known = ["sh", "sh no_run", "text", "yaml"].contains(&block.language.as_str());
        assert!(known, "{block:?}");
    }
    Ok(())
}

/// Commands that aren't run have at least no mistake in their quotes.
#[test]
fn has_commands_that_a_shell_understands() -> Result<()> {
    let blocks = blocks(&document()?);
    for block in blocks.iter().filter(|block| block.language == "sh no_run") {
        let output = Command::new("bash")
            .args(["-n", "-c", &block.text])
            .output()?;
        assert!(
            output.status.success(),
            "{block:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the operator: run e2e/run"]
async fn lists_the_metrics_there_are() -> Result<()> {
    let page = metrics().await?;
    let there: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .map(str::to_owned)
        .collect();
    assert!(there.len() > 10, "{page}");
    let document_names = |prefix| Ok::<_, anyhow::Error>(names(&document()?, prefix));
    let mut named = document_names("datakit_operator_")?;
    named.extend(document_names("process_")?);
    assert_eq!(named, there);
    for name in [
        "README.md",
        "README.zh-CN.md",
        "docs/injection.md",
        "docs/election.md",
    ] {
        let text = std::fs::read_to_string(repository().join(name))?;
        let named = names(&text, "datakit_operator_");
        let unknown: Vec<_> = named.difference(&there).collect();
        assert!(
            unknown.is_empty(),
            "{name} names metrics that don't exist: {unknown:?}"
        );
    }
    // Values of labels of which there are few enough to list.
    for line in page.lines() {
        let listed = ["cluster_errors", "election_", "config_reloads", "reviews_"];
        let metric = line.strip_prefix("datakit_operator_").unwrap_or_default();
        if listed.iter().any(|begin| metric.starts_with(begin))
            && let Some((_, value)) = line.split_once("=\"")
        {
            let value = value.split('"').next().unwrap_or_default();
            assert!(document()?.contains(&format!("`{value}`")), "{line}");
        }
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the operator, kubectl and helm: run e2e/run"]
async fn names_flags_that_exist() -> Result<()> {
    let mut known = String::from(
        // Of cargo, gcloud and curl.
        "--path --network --allow --source-ranges --target-tags --insecure ",
    );
    for command in [
        "serve",
        "election",
        "explain",
        "check",
        "missed",
        "check-config",
    ] {
        known += &operator_prints(&[command, "--help"])?;
    }
    let plane = Plane::get().await?;
    let (kubectl, helm) = (plane.program("kubectl"), helm_program()?);
    let api_server = plane.program("kube-apiserver");
    for (program, command) in [
        (&api_server, "--help"),
        (&kubectl, "options"),
        (&kubectl, "annotate --help"),
        (&kubectl, "apply --help"),
        (&kubectl, "auth can-i --help"),
        (&kubectl, "create configmap --help"),
        (&kubectl, "create secret tls --help"),
        (&kubectl, "delete --help"),
        (&kubectl, "get --help"),
        (&kubectl, "logs --help"),
        (&kubectl, "patch --help"),
        (&kubectl, "rollout status --help"),
        (&kubectl, "run --help"),
        (&kubectl, "scale --help"),
        (&kubectl, "wait --help"),
        (&helm, "install --help"),
        (&helm, "upgrade --help"),
        (&helm, "rollback --help"),
        (&helm, "uninstall --help"),
    ] {
        let output = Command::new(program)
            .args(command.split(' '))
            .env("HOME", plane.directory())
            .output()?;
        ensure!(output.status.success(), "{command}: {output:?}");
        known += &String::from_utf8(output.stdout)?;
    }
    let (named, known) = (flags(&document()?), flags(&known));
    let unknown: Vec<_> = named.difference(&known).collect();
    assert!(unknown.is_empty(), "flags of nothing: {unknown:?}");
    Ok(())
}

/// Whatever `/readyz` can say is in the program's text at two places.
#[test]
fn explains_every_answer_of_readyz() -> Result<()> {
    let source = |path: &str| std::fs::read_to_string(repository().join(path));
    let rotation = source("crates/operator/src/tls/rotation.rs")?;
    let (_, display) = rotation
        .split_once("impl std::fmt::Display for Unaccepted")
        .context("no reasons")?;
    let (display, _) = display.split_once("\n}").context("no end")?;
    let mut answers: Vec<_> = literals(display)
        .map(|why| format!("starting: {why}"))
        .collect();
    let kinds = display.matches("Self::").count();
    assert_eq!(answers.len(), kinds, "{display}");
    let probes = source("crates/operator/src/http/probes.rs")?;
    for answer in ["starting", "shutting down"] {
        assert!(probes.contains(&format!("\"{answer}\"")), "{answer}");
        answers.push(answer.to_owned());
    }
    let document = document()?;
    for answer in answers {
        assert!(
            document.contains(&format!("| `{answer}` |")),
            "{answer:?} is not explained"
        );
    }
    Ok(())
}

/// The table of permissions has a row for each rule that is installed, and no other.
#[test]
fn lists_the_permissions_that_are_given() -> Result<()> {
    let file = std::fs::read_to_string(repository().join("deploy/datakit-operator.yaml"))?;
    let list = |line: &str, key: &str| -> Option<String> {
        let value = line.trim().strip_prefix(key)?.trim();
        Some(value.trim_matches(['[', ']', '"']).to_owned())
    };
    let mut given = BTreeSet::new();
    for rule in file.split("- apiGroups: ").skip(1) {
        let find = |key| rule.lines().find_map(|line| list(line, key));
        // The registration has rules as well, which give nothing.
        let (Some(resource), Some(verbs)) = (find("resources:"), find("verbs:")) else {
            continue;
        };
        let only = find("resourceNames:");
        let only = only.map_or(String::new(), |name| format!(", only `{name}`"));
        let resources = resource.split(", ");
        given.extend(resources.map(|resource| format!("`{resource}`: {verbs}{only}")));
    }
    let document = document()?;
    let (_, table) = document
        .split_once("\n## Permissions\n")
        .context("no permissions")?;
    let (table, _) = table.split_once("\n## ").context("no end")?;
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    // A row may be about several resources.
    let rows: BTreeSet<_> = rows
        .filter_map(|row| row.split_once(" | ")?.0.split_once("`: "))
        .flat_map(|(resources, verbs)| {
            let resources = resources.split("`, `");
            resources.map(move |resource| format!("`{resource}`: {verbs}"))
        })
        .collect();
    assert_eq!(rows, given);
    Ok(())
}

#[test]
fn has_links_that_lead_somewhere() -> Result<()> {
    let anchors = |text: &str| -> BTreeSet<String> {
        let headings = text.lines().filter(|line| line.starts_with('#'));
        headings.map(slug).collect()
    };
    let document = document()?;
    for target in document
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
    {
        let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
        let text = match file {
            "" => document.clone(),
            file => {
                let path = repository().join("docs").join(file);
                std::fs::read_to_string(&path).with_context(|| target.to_owned())?
            }
        };
        assert!(
            anchor.is_empty() || anchors(&text).contains(anchor),
            "{target}"
        );
    }
    Ok(())
}

/// The operator that is tested.
fn program() -> Result<PathBuf> {
    let named = std::env::var_os("E2E_OPERATOR").map(PathBuf::from);
    Ok(named.unwrap_or(target_directory()?.join("debug/datakit-operator")))
}

/// The page of an operator that has just started.
async fn metrics() -> Result<String> {
    let directory = target_directory()?
        .join("e2e")
        .join(std::process::id().to_string());
    std::fs::create_dir_all(&directory)?;
    let args = [
        "serve",
        "--log-format=json",
        "--listen=127.0.0.1:0",
        "--probe-listen=127.0.0.1:0",
    ];
    let log = directory.join("operations-metrics.log");
    let process = Process::start(&program()?, args, &[], &log)?;
    let address: SocketAddr = wait::until("the operator", || async {
        let output = process.output();
        let probes = output
            .split_once("\"probes\":\"http://")
            .and_then(|(_, rest)| rest.split('"').next()?.parse().ok());
        probes.ok_or(output)
    })
    .await?;
    let answer = tokio::task::spawn_blocking(move || connection::get(address, "/metrics"));
    let (status, page) = answer.await??;
    ensure!(status == 200, "{status}: {page}");
    Ok(page)
}
