//! The golden cases, through the API server: whatever it accepts by itself, it accepts injected.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use datakit_operator_e2e::cluster::{Cluster, Mode, Namespace, refusal};
use datakit_operator_e2e::operator::Options;
use datakit_operator_e2e::stored::{comparable, contained};
use datakit_operator_e2e::webhook::{Injected, Policy};
use serde_json::{Value, json};

/// One directory of the golden cases.
struct Case {
    name: String,
    pod: Value,
    /// What the operator makes of the pod as it stands in the file.
    injected: Value,
    /// The namespace that its configuration knows, if that matters.
    namespace: Option<String>,
}

/// Cases whose pod the API server changes, before it asks, in a way that matters: it sets absent
/// requests to the limits, and drops kinds of volumes that it doesn't know.
const CHANGED_BEFORE: [&str; 2] = [
    "env-resource-references-without-a-resource-are-left-out",
    "logfwd-path-on-unknown-kind-of-volume-is-skipped",
];

/// Configuration, version of Kubernetes, and variables: what makes operators different.
type Setting = (Option<String>, Option<String>, Vec<(String, String)>);

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn are_accepted_injected() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let plain = cluster.namespace("cases", &json!({})).await?;
    let (mut accepted, mut golden, mut invalid) = (0, 0, Vec::new());
    for (number, (setting, cases)) in settings()?.into_iter().enumerate() {
        let mut valid = Vec::new();
        for case in cases {
            match plain.create_pod(&case.pod, Mode::DryRun).await {
                Ok(created) => valid.push((case, created.pod)),
                Err(error) => invalid.push(format!("{}: {}", case.name, refusal(&error))),
            }
        }
        if valid.is_empty() {
            continue;
        }
        let (config, kubernetes_version, variables) = setting;
        let options = Options {
            config,
            kubernetes_version,
            variables,
            ..Options::default()
        };
        let injected =
            Injected::start(&cluster, &format!("cases-{number}"), &options, Policy::Fail).await?;
        for (case, without) in valid {
            let same = check(&plain, &injected.namespace, &case, &without).await;
            golden += usize::from(same.with_context(|| case.name.clone())?);
            accepted += 1;
        }
    }
    println!(
        "{accepted} accepted, {golden} of them exactly as in the golden case; {} not valid by themselves:\n{}",
        invalid.len(),
        invalid.join("\n"),
    );
    assert!(
        accepted >= 200 && golden >= 200,
        "too few of the cases say anything"
    );
    Ok(())
}

/// Returns whether the pod is, field for field, what the API server makes of the golden one.
async fn check(
    plain: &Namespace,
    namespace: &Namespace,
    case: &Case,
    without: &Value,
) -> Result<bool> {
    let with = namespace.create_pod(&case.pod, Mode::DryRun).await?.pod;
    contained(without, &with).map_err(anyhow::Error::msg)?;
    if case.namespace.is_some() || CHANGED_BEFORE.contains(&case.name.as_str()) {
        return Ok(false);
    }
    let golden = plain.create_pod(&case.injected, Mode::DryRun).await?.pod;
    let (with, golden) = (comparable(&with), comparable(&golden));
    ensure!(
        with == golden,
        "was stored as {with:#}\nand not as {golden:#}"
    );
    Ok(true)
}

/// All cases, those with the same setting together.
fn settings() -> Result<BTreeMap<Setting, Vec<Case>>> {
    let mut settings: BTreeMap<Setting, Vec<Case>> = BTreeMap::new();
    for directory in directories()? {
        let text = |name: &str| std::fs::read_to_string(directory.join(name)).ok();
        let context: Value =
            serde_json::from_str(&text("context.json").unwrap_or("{}".to_owned()))?;
        let version = context["kubernetes_version"].as_str().map(str::to_owned);
        let variables = context["environment"].as_object().into_iter().flatten();
        let variables = variables
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
        let setting = (text("config.json"), version, variables.collect());
        let pod = text("pod.json").context("a case without a pod")?;
        settings.entry(setting).or_default().push(Case {
            name: directory
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            pod: serde_json::from_str(&pod)?,
            injected: serde_json::from_str(&text("injected.json").context("no injected.json")?)?,
            namespace: context["namespace"].as_str().map(str::to_owned),
        });
    }
    Ok(settings)
}

fn directories() -> Result<Vec<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/inject");
    let mut found: Vec<PathBuf> = std::fs::read_dir(root)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    found.sort();
    Ok(found)
}
