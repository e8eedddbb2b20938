//! The values that docs/for-owners.md shows for GitOps are values of the chart.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use datakit_operator_e2e::helm::{chart, program};
use datakit_operator_e2e::repository::repository;

use crate::operations::document::blocks;

#[test]
#[ignore = "needs helm: run e2e/run"]
fn values_of_gitops_are_accepted() -> Result<()> {
    let page = std::fs::read_to_string(repository().join("docs/for-owners.md"))?;
    let mut tried = 0;
    for block in blocks(&page) {
        let Some(values) = values(&block.text) else {
            continue;
        };
        ensure!(
            values.contains("imageRegistry: registry.example.com"),
            "{values}"
        );
        let rendered = template(&values)?;
        let image = "image: \"registry.example.com/datakit-operator/datakit-operator:";
        ensure!(rendered.contains(image), "{rendered}");
        ensure!(rendered.contains("kind: PodMonitor"), "{rendered}");
        // The versions there are that of the chart.
        let version = concat!(": ", env!("CARGO_PKG_VERSION"), "\n");
        ensure!(block.text.contains(version), "{}", block.text);
        tried += 1;
    }
    ensure!(tried == 2, "{tried} blocks have values");
    Ok(())
}

/// What stands under the key `values` or `valuesObject`, as a document of its own.
fn values(text: &str) -> Option<String> {
    let mut lines = text.lines().skip_while(|line| {
        let key = line.trim();
        key != "values:" && key != "valuesObject:"
    });
    let key = lines.next()?;
    let indent = |line: &str| line.len() - line.trim_start().len();
    let inner = indent(key) + 2;
    let own = lines.take_while(|line| indent(line) >= inner);
    Some(own.flat_map(|line| [&line[inner..], "\n"]).collect())
}

fn template(values: &str) -> Result<String> {
    let mut helm = Command::new(program()?)
        .args(["template", "release", "--values=-"])
        .arg(chart())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = helm.stdin.take().context("no standard input")?;
    input.write_all(values.as_bytes())?;
    drop(input);
    let output = helm.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{values}: {said}");
    Ok(String::from_utf8(output.stdout)?)
}
