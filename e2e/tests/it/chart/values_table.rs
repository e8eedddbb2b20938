//! The table of values in the chart's README is values.yaml, written another way.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use datakit_operator_e2e::helm::chart;

const BEGIN: &str = "<!-- values -->\n";
const END: &str = "<!-- /values -->\n";

#[test]
fn is_values_yaml() -> Result<()> {
    let values = std::fs::read_to_string(chart().join("values.yaml"))?;
    let path = chart().join("README.md");
    let readme = std::fs::read_to_string(&path)?;
    let (before, rest) = readme.split_once(BEGIN).context("no begin")?;
    let (found, after) = rest.split_once(END).context("no end")?;
    let expected = tables(&values);
    assert!(expected.lines().count() > 80, "{expected}");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, [before, BEGIN, &expected, END, after].concat())?;
        return Ok(());
    }
    assert!(
        found == expected,
        "the chart's README lacks a change of values.yaml: run this test with UPDATE_EXPECT=1"
    );
    Ok(())
}

/// One table for each part of the file, whose heading is a comment that ends with dashes.
fn tables(values: &str) -> String {
    let mut text = String::new();
    let mut parents: Vec<&str> = Vec::new();
    let mut said: Vec<&str> = Vec::new();
    let mut lines = values.lines().peekable();
    start(&mut text, "General");
    while let Some(line) = lines.next() {
        let trimmed = line.trim_start();
        let depth = (line.len() - trimmed.len()) / 2;
        if let Some(comment) = trimmed.strip_prefix('#') {
            match comment.trim().split_once(" --") {
                Some((heading, _)) => start(&mut text, heading),
                None => said.push(comment.trim()),
            }
            continue;
        }
        let Some((key, value)) = trimmed.split_once(':') else {
            said.clear();
            continue;
        };
        parents.truncate(depth);
        parents.push(key);
        let deeper = |line: &&str| {
            let inner = line.trim_start();
            inner.starts_with('-') || inner.is_empty() || (line.len() - inner.len()) / 2 > depth
        };
        let default = match value.trim() {
            "|" => {
                while lines.next_if(deeper).is_some() {}
                "the built-in configuration".to_owned()
            }
            "" if lines
                .peek()
                .is_some_and(|line| line.trim_start().starts_with("- ")) =>
            {
                let mut items = Vec::new();
                while let Some(line) = lines.next_if(|line| !line.is_empty() && deeper(line)) {
                    items.push(line.trim().trim_start_matches("- "));
                }
                let brackets = if items.iter().any(|item| item.contains(": ")) {
                    ["{", "}"]
                } else {
                    ["", ""]
                };
                format!("`[{}{}{}]`", brackets[0], items.join(", "), brackets[1])
            }
            "" => String::new(),
            value => format!("`{value}`"),
        };
        let meaning = said.join(" ").replace('|', "\\|");
        said.clear();
        // A parent without words of its own says nothing.
        if !default.is_empty() || !meaning.is_empty() {
            let _ = writeln!(text, "| `{}` | {default} | {meaning} |", parents.join("."));
        }
    }
    text
}

fn start(text: &mut String, heading: &str) {
    let gap = if text.is_empty() { "" } else { "\n" };
    let _ = write!(
        text,
        "{gap}#### {heading}\n\n| value | default | |\n|---|---|---|\n"
    );
}

#[test]
fn tables_are_read_from_comments() {
    let values = "# About the file.\n\nglobal:\n  # A mirror,\n  # or none.\n  registry: \"\"\n\n# Pods ----\n# How many.\nreplicas: 2\n\
        names:\n  - a\n  - b\n# Text.\nmap:\n  inner:\n    deep: 1\n";
    assert_eq!(
        tables(values),
        "#### General\n\n| value | default | |\n|---|---|---|\n| `global.registry` | `\"\"` | A mirror, or none. |\n\n\
         #### Pods\n\n| value | default | |\n|---|---|---|\n| `replicas` | `2` | How many. |\n\
         | `names` | `[a, b]` |  |\n| `map` |  | Text. |\n| `map.inner.deep` | `1` |  |\n"
    );
}
