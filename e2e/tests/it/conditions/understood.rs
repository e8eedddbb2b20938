//! What the operator thinks of a condition and what API servers make of it.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use datakit_operator_e2e::cluster::{Cluster, Mode, Namespace};
use datakit_operator_e2e::operator::program;
use datakit_operator_e2e::process::without_proxies;
use datakit_operator_e2e::webhook::labels;
use serde_json::{Value, json};

use super::scene::{Scene, evaluation_errors, pod, registered, until_registered};

/// The API server calls for exactly those pods for which the operator thinks that it does.
#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn api_servers_understand_the_same() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let name = "understood";
    let mut scene = Scene::new(&cluster, name, &[], 1).await?;
    let mut namespaces = vec![scene.installation.pods().clone()];
    for suffix in ["a", "ab1", "a-2b"] {
        let namespace = format!("{name}-{suffix}");
        namespaces.push(cluster.namespace(&namespace, &labels(name)).await?);
    }
    let mut checked = 0;
    let mut called_for = 0;
    for (round, rules) in rounds().iter().enumerate() {
        scene.reload(rules)?;
        // Nothing else has it, so that it tells when the condition is registered.
        let marker = format!("'round-{round}'");
        until_registered(&scene.installation, &format!("rules {rules:?}"), |found| {
            found.is_some_and(|found| found.contains(&marker))
        })
        .await?;
        scene
            .until_called(&json!({format!("round-{round}"): ""}))
            .await?;
        let mut expected = BTreeSet::new();
        let mut all = BTreeSet::new();
        for namespace in &namespaces {
            let pods = pods(round, namespace.name());
            let verdicts = called(&scene, namespace, &pods)?;
            for (pod, called) in pods.iter().zip(verdicts) {
                let name = pod["metadata"]["name"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                namespace.create_pod(pod, Mode::DryRun).await?;
                if called {
                    expected.insert(name.clone());
                }
                all.insert(name);
            }
        }
        scene.until_sentinel().await?;
        let found: BTreeSet<String> = scene.reviewed().intersection(&all).cloned().collect();
        let missed: Vec<_> = expected.difference(&found).collect();
        let more: Vec<_> = found.difference(&expected).collect();
        ensure!(
            missed.is_empty() && more.is_empty(),
            "round {round}: not called for {missed:?}, called for {more:?}: {:?}",
            registered(&scene.installation).await?
        );
        checked += all.len();
        called_for += found.len();
    }
    ensure!(evaluation_errors(&cluster, name)?.is_empty());
    ensure!(called_for > checked / 10 && called_for < checked * 9 / 10);
    println!("{checked} pods, {called_for} of them called for");
    Ok(())
}

/// Rules that are written in each way that a condition has.
fn rounds() -> Vec<Vec<Value>> {
    let rounds: [&[Value]; 9] = [
        &[
            json!({"namespace_selectors": ["^understood-a$"]}),
            json!({"label_selectors": ["k=x"]}),
        ],
        &[
            json!({"namespace_selectors": ["ab", "2b$"]}),
            json!({"label_selectors": ["k=x*", "l=*y"]}),
        ],
        &[json!({"namespace_selectors": ["^understood-a", "^x"], "label_selectors": ["k!=x,l"]})],
        &[
            json!({"namespace_selectors": ["-(a|x)$", "[0-9]{1,2}$"]}),
            json!({"label_selectors": ["!k"]}),
        ],
        &[
            json!({"namespace_selectors": [r"^understood\-a(?:b\d)?$"], "label_selectors": ["k in (x,y)", "l notin (y,)"]}),
        ],
        &[json!({"label_selectors": ["k=*.*", "k=?", "l=[!x]y", "l=[a-x]x"]})],
        &[json!({"label_selectors": ["k=", "k!=*x*,l!=?y"]})],
        &[
            json!({"namespace_selectors": ["a-?.b$", "^(understood|none)-[^b]+$"], "label_selectors": ["k>1,l", r"l=\*x"]}),
        ],
        &[
            json!({"namespace_selectors": ["^understood-a-2b$", "^understood-ab1$"], "label_selectors": ["k=x,l=y", "example.com/k"]}),
        ],
    ];
    let marked = |(round, rules): (usize, &&[Value])| {
        let marker = json!({"label_selectors": [format!("round-{round}")]});
        rules.iter().cloned().chain([marker]).collect()
    };
    rounds.iter().enumerate().map(marked).collect()
}

fn pods(round: usize, namespace: &str) -> Vec<Value> {
    let values = [
        None,
        Some(""),
        Some("x"),
        Some("xy"),
        Some("y"),
        Some("ax.y"),
        Some("2"),
    ];
    let mut pods = Vec::new();
    for k in values {
        for l in values {
            let mut labels = serde_json::Map::new();
            labels.extend(k.map(|value| ("k".to_owned(), value.into())));
            labels.extend(l.map(|value| ("l".to_owned(), value.into())));
            let number = pods.len();
            if number % 10 == 9 {
                labels.insert("example.com/k".to_owned(), "".into());
            }
            let annotations = match number % 7 {
                5 => json!({"admission.datakit/enabled": "false"}),
                6 => json!({"admission.datakit": "", "datakit/logs": ""}),
                _ => Value::Null,
            };
            let labels = if labels.is_empty() {
                Value::Null
            } else {
                labels.into()
            };
            let name = format!("r{round}-{namespace}-{number}");
            pods.push(pod(&name, &labels, &annotations));
        }
    }
    pods
}

/// What the operator itself says of each pod.
fn called(scene: &Scene, namespace: &Namespace, pods: &[Value]) -> Result<Vec<bool>> {
    let file = scene.config.with_extension("pods.json");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": pods});
    std::fs::write(&file, list.to_string())?;
    let output = without_proxies(&mut Command::new(program()?))
        .args([
            "explain",
            "--output=json",
            "--namespace",
            namespace.name(),
            "--config",
        ])
        .arg(&scene.config)
        .arg("--filename")
        .arg(&file)
        .output()?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let templates = report["templates"].as_array().context("no templates")?;
    ensure!(templates.len() == pods.len(), "{report}");
    let called = templates
        .iter()
        .map(|template| template["called"].as_bool());
    called.collect::<Option<_>>().context("not said")
}
