//! `datakit-operator check` finds what is broken on purpose, and says so of nothing else.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use datakit_operator_e2e::certs::Authority;
use datakit_operator_e2e::cluster::Cluster;
use datakit_operator_e2e::installation::Installation;
use datakit_operator_e2e::operator::program;
use datakit_operator_e2e::process::without_proxies;
use datakit_operator_e2e::wait;
use serde_json::{Value, json};

/// What a check found: its outcome and its message.
type Found = BTreeMap<String, (String, String)>;

/// Runs the command; returns its exit code and what it printed.
fn run(cluster: &Cluster, name: &str, args: &[&str]) -> Result<(Option<i32>, String)> {
    let plane = cluster.plane();
    let output = without_proxies(&mut Command::new(program()?))
        .args(["check", "--namespace", name, "--service-name", name])
        .args(["--dry-run-namespace", &format!("{name}-pods")])
        .arg("--kubeconfig")
        .arg(plane.kubeconfig())
        .args(args)
        .env("LANG", "C.UTF-8")
        .env_remove("LC_ALL")
        .output()?;
    ensure!(output.stderr.is_empty(), "{output:?}");
    Ok((output.status.code(), String::from_utf8(output.stdout)?))
}

/// What isn't well, by name.
fn trouble(cluster: &Cluster, name: &str) -> Result<Found> {
    let (code, printed) = run(cluster, name, &["--output", "json"])?;
    let report: Value = serde_json::from_str(&printed)?;
    let mut found = Found::new();
    for check in report["checks"].as_array().context("no checks")? {
        let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
        let link = format!("docs/operations.md#check-{}", text("name"));
        ensure!(text("link") == link, "{check}");
        if text("outcome") != "ok" {
            found.insert(text("name"), (text("outcome"), text("message")));
        }
    }
    let failed = found.values().filter(|(outcome, _)| outcome == "failed");
    ensure!(report["failed"] == failed.clone().count(), "{report}");
    ensure!(
        code == Some(i32::from(failed.count() > 0)),
        "{code:?} {report}"
    );
    Ok(found)
}

/// Waits until exactly these checks aren't well, beside those that never are here; `part` is what one
/// of them says.
async fn expect(cluster: &Cluster, name: &str, checks: &[&str], part: &str) -> Result<()> {
    // Pods are processes here, so there is no Deployment, nobody who forwards ports, and no
    // registration of validation.
    let mut expected = vec![
        "election",
        "logging-configs",
        "replicas",
        "validation",
        "versions",
    ];
    expected.extend(checks);
    expected.sort_unstable();
    wait::until(&format!("trouble with {checks:?}"), || async {
        let found = trouble(cluster, name).map_err(|error| format!("{error:#}"))?;
        let names: Vec<_> = found.keys().map(String::as_str).collect();
        let says = found.values().any(|(_, message)| message.contains(part));
        match names == expected && says {
            true => Ok(()),
            false => Err(format!("{found:#?}")),
        }
    })
    .await
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn it_finds_what_is_broken() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let name = "check";
    let installation = Installation::new(&cluster, name, &[]).await?;
    let config = |text: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("{name}-config")},
            "data": {"jsonconfig": text},
        })
    };
    let configs = format!("/api/v1/namespaces/{name}/configmaps");
    let path = format!("{configs}/{name}-config");
    cluster
        .create(&configs, &config("{\"log_level\":\"info\"}"))
        .await?;
    let mut members = installation.start_many(1).await?;
    installation.until_secret().await?;
    expect(&cluster, name, &[], "does not exist").await?;

    cluster
        .replace(&path, &config("{\"log_level\":\"inf\"}"))
        .await?;
    expect(&cluster, name, &["configuration"], "did you mean").await?;
    cluster
        .replace(&path, &config("{\"log_level\":\"info\"}"))
        .await?;

    // The replicas have another configuration than the ConfigMap says.
    let rule = json!({"language": "java", "image": "java:1", "namespace_selectors": ["^x$"]});
    let rules = json!({"admission_inject_v2": {"ddtraces": [rule]}});
    cluster.replace(&path, &config(&rules.to_string())).await?;
    let part = "isn't that of the configuration";
    expect(&cluster, name, &["match-conditions"], part).await?;
    cluster
        .replace(&path, &config("{\"log_level\":\"info\"}"))
        .await?;

    // The registration points elsewhere, which the API server finds out, too.
    let registered = installation.configuration().await?;
    let registrations = format!(
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{name}-mutation"
    );
    let mut moved = json!({"webhooks": registered["webhooks"].clone()});
    moved["webhooks"][0]["clientConfig"]["service"]["name"] = json!("elsewhere");
    cluster.merge(&registrations, &moved).await?;
    expect(&cluster, name, &["dry-run", "webhook"], "elsewhere").await?;
    cluster
        .merge(&registrations, &json!({"webhooks": registered["webhooks"]}))
        .await?;
    expect(&cluster, name, &[], "does not exist").await?;

    // The rights are taken away; what the operator has it keeps.
    installation.forbid().await?;
    expect(&cluster, name, &["rights"], "may not").await?;
    installation.permit().await?;
    expect(&cluster, name, &[], "does not exist").await?;

    // The last replica is gone, its Lease with it.
    for member in members.drain(..) {
        member.stop().await?;
    }
    let endpoints = ["dry-run", "endpoints", "lease"];
    expect(&cluster, name, &endpoints, "nobody holds the Lease").await?;

    // Nobody puts back what somebody overwrites.
    let other = Authority::new()?.pem();
    installation.overwrite_bundle(&other).await?;
    let bundle = ["ca-bundle", "dry-run", "endpoints", "lease"];
    expect(&cluster, name, &bundle, "lacks the authority of Secret").await?;

    installation.withdraw().await?;
    let found = trouble(&cluster, name)?;
    ensure!(found["webhook"].0 == "failed", "{found:#?}");
    ensure!(!found.contains_key("ca-bundle"), "{found:#?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn it_reads_well() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let (code, printed) = run(&cluster, "check-nothing", &["--pre"])?;
    ensure!(code == Some(0), "{printed}");
    let lines: Vec<_> = printed.lines().collect();
    ensure!(
        lines[0].starts_with("✔ api-server: Kubernetes v1."),
        "{printed}"
    );
    ensure!(
        lines.contains(&"‼ namespace: `check-nothing` does not exist"),
        "{printed}"
    );
    ensure!(
        lines.contains(&"✔ rights-to-install: you may create what is installed"),
        "{printed}"
    );
    ensure!(!printed.contains('\u{1b}'), "colours in a pipe: {printed}");
    let (code, printed) = run(&cluster, "check-nothing", &["--output", "short"])?;
    ensure!(code == Some(1), "{printed}");
    ensure!(!printed.contains('✔'), "{printed}");
    ensure!(printed.contains("✘ webhook: "), "{printed}");
    Ok(())
}
