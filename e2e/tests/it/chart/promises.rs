//! What people are told to run after installing shows what it is to show.

use std::process::{Command, Output};

use anyhow::{Context, Result};
use datakit_operator_e2e::cluster::Cluster;
use datakit_operator_e2e::helm::{chart, helm};
use datakit_operator_e2e::operator::{Operator, Options};
use datakit_operator_e2e::process::without_proxies;
use datakit_operator_e2e::webhook::{Injected, Policy};
use serde_json::json;

use super::{Objects, accepted, render};

/// The script of `helm test`, at a server of this machine instead of a Service.
#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn the_test_passes_and_fails() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let (plane, namespace) = (cluster.plane(), "chart-test");
    cluster.namespace(namespace, &json!({})).await?;
    let manifests = render(plane, "release", namespace, &json!({}))?;
    let objects = Objects::parse(&accepted(plane, namespace, &manifests)?.stdout)?;
    let container = &objects.one("Pod")["spec"]["containers"][0];
    let variables = container["env"].as_array().context("no variables")?;
    let variable = |name: &str| {
        let found = variables.iter().find(|variable| variable["name"] == name);
        found.and_then(|variable| variable["value"].as_str())
    };
    assert_eq!(
        variable("URL"),
        Some("https://datakit-operator.chart-test.svc:443")
    );
    let review = variable("REVIEW").context("no REVIEW")?;

    let operator = Operator::start(plane, namespace, &Options::default()).await?;
    let other = Operator::start(plane, "chart-test-other", &Options::default()).await?;
    let run = |url: &str, authority: &str| -> Result<Output> {
        let directory = plane.directory().join(namespace);
        std::fs::create_dir_all(&directory)?;
        std::fs::write(directory.join("ca.crt"), authority)?;
        let script = container["args"][0].as_str().context("no script")?;
        let script = script.replace("/authority", &directory.display().to_string());
        let mut command = Command::new("sh");
        without_proxies(&mut command).args(["-ec", &script]);
        Ok(command.env("URL", url).env("REVIEW", review).output()?)
    };
    let url = format!("https://localhost:{}", operator.port());
    let passed = run(&url, operator.ca()?)?;
    assert!(passed.status.success(), "{passed:?}");
    let printed = String::from_utf8(passed.stdout)?;
    assert!(printed.ends_with("it works\n"), "{printed}");
    // Nobody there, somebody else, and no webhook.
    for (url, authority) in [
        ("https://localhost:1", operator.ca()?),
        (url.as_str(), other.ca()?),
        (&format!("{url}/elsewhere"), operator.ca()?),
    ] {
        let failed = run(url, authority)?;
        assert!(!failed.status.success(), "{failed:?}");
        assert!(!failed.stderr.is_empty(), "{failed:?}");
    }
    Ok(())
}

/// The command of the notes, in a namespace of its own.
#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn the_notes_command_prints_what_they_say() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let plane = cluster.plane();
    let injected =
        Injected::start(&cluster, "chart-notes", &Options::default(), Policy::Fail).await?;
    let chart = chart().display().to_string();
    let notes = helm(
        plane,
        "datakit",
        &["install", "release", &chart, "--dry-run=client"],
    )?
    .stdout;
    let (_, rest) = notes
        .split_once("\n   kubectl -n default run ")
        .context("no command")?;
    let (command, rest) = rest.split_once("\n\n").context("no end of the command")?;
    let (_, rest) = rest.split_once("prints: ").context("no result")?;
    let (expected, _) = rest.split_once('\n').context("no end of the result")?;

    let namespace = injected.namespace.name();
    let command = format!("kubectl -n {namespace} run {command}");
    let programs = plane.program("kubectl");
    let programs = programs.parent().context("no directory of kubectl")?;
    let output = without_proxies(&mut Command::new("/bin/sh"))
        .args(["-ec", &command])
        .env("PATH", programs)
        .env("KUBECONFIG", plane.kubeconfig())
        .env("HOME", plane.directory())
        .output()?;
    assert_eq!(
        String::from_utf8(output.stdout)?,
        format!("{expected}\n"),
        "{command}"
    );
    Ok(())
}
