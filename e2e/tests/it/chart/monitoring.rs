//! What the chart has for monitoring is about metrics that the program has, and Prometheus's own
//! engine reads it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use datakit_operator_e2e::cluster::{Cluster, Mode};
use datakit_operator_e2e::helm::chart;
use datakit_operator_e2e::operator::Options;
use datakit_operator_e2e::repository::repository;
use datakit_operator_e2e::webhook::{Injected, Policy};
use serde_json::{Value, json};

use super::definitions::install_definitions;
use super::{Objects, accepted, render};
use crate::operations::document::slug;

/// What Prometheus adds to each series.
const TARGET: &str = r#"namespace="datakit",pod="a",instance="1",job="j""#;

#[test]
#[ignore = "needs promtool: run e2e/run"]
fn alerts_fire_when_they_should() -> Result<()> {
    let directory = repository().join("e2e/promtool");
    let alerts = std::fs::read_to_string(chart().join("files/alerts.yaml"))?;
    let tests = std::fs::read_to_string(directory.join("alerts.test.yaml"))?;
    let mut names = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .peekable();
    assert!(names.peek().is_some(), "no alert");
    for name in names {
        for end in ["fires", "is silent"] {
            let case = format!("- name: {name} {end}\n");
            assert!(tests.contains(&case), "alerts.test.yaml has no `{case}`");
        }
    }
    let rules = chart().join("files/alerts.yaml").display().to_string();
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", &rules])?;
    let tests = directory.join("alerts.test.yaml").display().to_string();
    promtool(&["test", "rules", &tests])
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn alerts_say_what_to_do() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let plane = cluster.plane();
    let namespace = "chart-alerts";
    cluster.namespace(namespace, &json!({})).await?;
    install_definitions(plane).await?;
    let operations = std::fs::read_to_string(repository().join("docs/operations.md"))?;
    let headings: BTreeSet<_> = operations
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(slug)
        .collect();
    let description = std::fs::read_to_string(chart().join("Chart.yaml"))?;
    let home = description
        .lines()
        .find_map(|line| line.strip_prefix("home: "))
        .context("no home")?;
    let usual = format!("{home}/blob/main/docs/operations.md");
    for (runbooks, prefix) in [("", usual.as_str()), ("https://wiki/op", "https://wiki/op")] {
        let values = json!({"metrics": {"prometheusRule": {
            "enabled": true, "runbooks": runbooks, "alertLabels": {"team": "observability"}}}});
        let manifests = render(plane, "release", namespace, &values)?;
        let objects = Objects::parse(&accepted(plane, namespace, &manifests)?.stdout)?;
        let rules = &objects.one("PrometheusRule")["spec"]["groups"][0]["rules"];
        for rule in rules.as_array().context("no rules")? {
            let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
            assert!(
                ["critical", "warning", "info"].contains(&severity),
                "{rule}"
            );
            assert_eq!(rule["labels"]["team"], "observability", "{rule}");
            let annotations = &rule["annotations"];
            assert!(annotations["summary"].as_str().is_some(), "{rule}");
            let url = annotations["runbook_url"].as_str().unwrap_or_default();
            let (page, heading) = url.split_once('#').context("no heading")?;
            assert_eq!(page, prefix, "{rule}");
            assert!(headings.contains(heading), "{heading} is no heading");
            let name = rule["alert"].as_str().unwrap_or_default();
            let row = format!("| `{name}` |");
            assert!(
                operations.contains(&row),
                "{name} isn't in docs/operations.md"
            );
        }
    }
    Ok(())
}

/// Each selector of the alerts and each query of the dashboard finds something on the page of an
/// operator that has injected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the control plane: run e2e/run"]
async fn every_query_answers() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let plane = cluster.plane();
    let name = "chart-metrics";
    let injected = Injected::start(&cluster, name, &Options::default(), Policy::Fail).await?;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "asks", "annotations": {
            "admission.datakit/java-lib.version": "", "admission.datakit/no-such": ""}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    injected.namespace.create_pod(&pod, Mode::DryRun).await?;
    let mut page = injected.operator.metrics().await?;
    // Only where the Pod API is on.
    page.push_str("datakit_operator_missed_pods{feature=\"ddtrace\",lacks=\"all\"} 0\n");
    let input = input_series(&page);
    assert!(input.len() > 100, "{page}");

    install_definitions(plane).await?;
    let values =
        json!({"metrics": {"prometheusRule": {"enabled": true}, "dashboard": {"enabled": true}}});
    let manifests = render(plane, "release", name, &values)?;
    let objects = Objects::parse(&accepted(plane, name, &manifests)?.stdout)?;
    let mut expressions = BTreeSet::new();
    let rules = objects.one("PrometheusRule")["spec"]["groups"][0]["rules"].as_array();
    for rule in rules.context("no rules")? {
        let expression = rule["expr"].as_str().context("no expr")?;
        expressions.extend(selectors(expression));
    }
    let maps: Vec<_> = objects.of("ConfigMap").collect();
    let text = maps
        .iter()
        .find_map(|map| map["data"]["datakit-operator.json"].as_str())
        .context("no dashboard")?;
    let dashboard: Value = serde_json::from_str(text)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let mut queries = 0;
    for target in panels.iter().flat_map(|panel| {
        let targets = panel["targets"].as_array();
        targets.into_iter().flatten()
    }) {
        let expression = target["expr"].as_str().context("no expr")?;
        let expression = expression
            .replace("$__rate_interval", "5m")
            .replace("$namespace", ".*");
        expressions.extend(selectors(&expression));
        expressions.insert(expression);
        queries += 1;
    }
    assert!(queries > 20, "{queries} queries");

    let tests: Vec<_> = expressions
        .iter()
        .map(|expression| {
            json!({"expr": format!("count({expression}) > bool 0"), "eval_time": "1h",
                "exp_samples": [{"labels": "{}", "value": 1}]})
        })
        .collect();
    let document = json!({"evaluation_interval": "1m", "tests": [
        {"interval": "1m", "input_series": input, "promql_expr_test": tests}]});
    let file = plane.directory().join("queries.test.yaml");
    std::fs::write(&file, document.to_string())?;
    promtool(&["test", "rules", &file.display().to_string()])
}

/// A page as what Prometheus would have after an hour: counters rise, gauges stay.
fn input_series(page: &str) -> Vec<Value> {
    let counters: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .filter(|(_, kind)| ["counter", "histogram"].contains(kind))
        .map(|(name, _)| name)
        .collect();
    let rises = |name: &str| {
        let parts = ["", "_bucket", "_sum", "_count"];
        let whole = |part: &&str| name.strip_suffix(*part);
        parts
            .iter()
            .filter_map(whole)
            .any(|it| counters.contains(it))
    };
    page.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(series, value)| {
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.trim_end_matches('}');
            let comma = if labels.is_empty() { "" } else { "," };
            let values = if rises(name) {
                "0+1x60".to_owned()
            } else {
                format!("{value}x60")
            };
            json!({"series": format!("{name}{{{labels}{comma}{TARGET}}}"), "values": values})
        })
        .collect()
}

/// What an expression looks up: names of metrics, with their conditions.
fn selectors(expression: &str) -> impl Iterator<Item = String> {
    let starts = ["datakit_operator_", "process_"]
        .into_iter()
        .flat_map(|prefix| expression.match_indices(prefix).map(|(at, _)| at));
    starts.filter_map(|at| {
        let text = expression.get(at..)?;
        let end = text.find(|char: char| !char.is_ascii_lowercase() && char != '_');
        let (name, rest) = text.split_at(end.unwrap_or(text.len()));
        let conditions = match rest.strip_prefix('{') {
            Some(rest) => format!("{{{}}}", rest.split('}').next()?),
            None => String::new(),
        };
        Some(format!("{name}{conditions}"))
    })
}

fn promtool(args: &[&str]) -> Result<()> {
    let program = std::env::var_os("PROMTOOL").map(PathBuf::from);
    let program = program.context("PROMTOOL is not set; `e2e/run` sets it and runs the tests")?;
    let output = Command::new(program).args(args).output()?;
    ensure!(
        output.status.success(),
        "promtool {args:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[test]
fn selectors_are_found() {
    let text = r#"sum by (a) (rate(datakit_operator_x_total{b="c"}[5m])) / datakit_operator_y"#;
    let found: Vec<_> = selectors(text).collect();
    assert_eq!(
        found,
        [r#"datakit_operator_x_total{b="c"}"#, "datakit_operator_y"]
    );
}
