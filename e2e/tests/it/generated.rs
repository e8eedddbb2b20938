//! Pods made by chance: what the API server accepts without the operator it accepts with it, and
//! nothing is lost.

use std::time::{Duration, Instant};

use anyhow::Result;
use datakit_operator_e2e::cluster::{Cluster, Mode, refusal};
use datakit_operator_e2e::operator::Options;
use datakit_operator_e2e::stored::{comparable, contained, without_derived_resources};
use datakit_operator_e2e::webhook::{Injected, Policy};
use serde_json::{Value, json};

use crate::generate::{Dice, pod};

/// Pods that are made, unless the time is up before.
const PODS: u64 = 400;
const TIME: Duration = Duration::from_secs(60);
/// Whatever the machine, so many must have been checked.
const LEAST: usize = 200;

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn by_chance_are_accepted_injected() -> Result<()> {
    let start = Instant::now();
    // The same pods every time, unless asked otherwise: a failure is to be found again.
    let seed = std::env::var("E2E_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(1);
    let cluster = Cluster::connect().await?;
    let options = Options {
        kubernetes_version: Some("1.37".to_owned()),
        ..Options::default()
    };
    let injected = Injected::start(&cluster, "generated", &options, Policy::Fail).await?;
    let plain = cluster.namespace("generated-plain", &json!({})).await?;
    let sets = sets();
    let (mut valid, mut checked, mut changed, mut problems) = (0, 0, 0, Vec::new());
    for number in 0..PODS {
        if start.elapsed() > TIME && checked >= LEAST {
            break;
        }
        let pod = pod(&mut Dice::new(seed ^ (number << 32)));
        let Ok(without) = plain.create_pod(&pod, Mode::DryRun).await else {
            continue;
        };
        let before = without_derived_resources(&without.pod, &pod);
        valid += 1;
        for (name, annotations) in &sets {
            let mut asking = pod.clone();
            for (key, value) in annotations {
                asking["metadata"]["annotations"][format!("admission.datakit/{key}")] =
                    (*value).into();
            }
            checked += 1;
            let problem = match injected.namespace.create_pod(&asking, Mode::DryRun).await {
                Err(error) => Some(format!("is refused: {}", refusal(&error))),
                Ok(with) => {
                    let same = comparable(&with.pod)["spec"] == comparable(&without.pod)["spec"];
                    changed += usize::from(!same);
                    contained(&before, &with.pod).err()
                }
            };
            if let Some(problem) = problem {
                problems.push(format!(
                    "pod {number} asking for {name}: {problem}\n{asking}"
                ));
            }
        }
    }
    println!("seed {seed}: {valid} valid pods, {checked} reviews, {changed} injected");
    assert!(
        problems.is_empty(),
        "seed {seed}, {} problems: {}",
        problems.len(),
        problems[..problems.len().min(3)].join("\n\n")
    );
    assert!(
        checked >= LEAST && changed * 2 > checked,
        "the generator makes too few pods that say anything"
    );
    Ok(())
}

/// Sets of annotations, each with a name.
fn sets() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
    let logs = r#"[{"loggings":[{"logfiles":["/var/log/app/*.log"]}]}]"#;
    let clashes = r#"[{"loggings":[{"logfiles":["/tmp/*.log","/datadog-lib/x.log","/app/datakit-profiler/*","/var/log/*.log","/var/log/app/*.log","/data/logs/x","/opt/x y/*"]}]}]"#;
    let refused = r#"[{"loggings":[{"logfiles":["/x.log","","/etc/x","a/b.log","/var/log/$(POD_NAME)/*.log"]}]}]"#;
    vec![
        ("java", vec![("java-lib.version", "")]),
        ("js", vec![("js-lib.version", "v1")]),
        ("python", vec![("python-lib.version", "bad tag!")]),
        ("logs", vec![("logfwd.instances", logs)]),
        ("clashing logs", vec![("logfwd.instances", clashes)]),
        (
            "refused logs",
            vec![
                ("logfwd.instances", refused),
                ("java-profiler.version", "latest"),
            ],
        ),
        ("profiler", vec![("golang-profiler.version", "")]),
        (
            "all",
            vec![
                ("java-lib.version", "latest"),
                ("logfwd.instances", clashes),
                ("python-profiler.version", ""),
            ],
        ),
    ]
}

/// A generator that always makes the same would find nothing.
#[test]
fn the_dice_differ() {
    let made: Vec<Value> = (0..20).map(|seed| pod(&mut Dice::new(seed))).collect();
    let different = made
        .iter()
        .enumerate()
        .filter(|(index, pod)| !made[..*index].contains(pod))
        .count();
    assert_eq!(different, made.len());
    assert_eq!(pod(&mut Dice::new(7)), pod(&mut Dice::new(7)));
}
