//! Pages in Chinese say what those in English say, as far as a program can tell: the same parts,
//! the same blocks, the same codes in the same rows; and every link of both leads somewhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use datakit_operator_e2e::repository::repository;

use crate::operations::document::{blocks, slug};

const ENDING: &str = ".zh-CN.md";

#[test]
fn are_in_step() -> Result<()> {
    let pages = pages()?;
    let chinese: Vec<_> = pages.iter().filter(|page| is_chinese(page)).collect();
    assert!(chinese.len() > 5, "{chinese:?}");
    for page in chinese {
        let other = PathBuf::from(page.display().to_string().replace(ENDING, ".md"));
        let [here, there] = [page, &other].map(std::fs::read_to_string);
        let (here, there) = (here?, there.with_context(|| other.display().to_string())?);
        let name = &page.display().to_string();
        same(name, "headings", &levels(&here), &levels(&there));
        let code = |text: &str| -> Vec<String> {
            let part = |block: crate::operations::document::Block| {
                format!("{}\n{}", block.language, block.text)
            };
            blocks(text)
                .into_iter()
                .filter(|block| block.language != "mermaid")
                .map(part)
                .collect()
        };
        same(name, "blocks", &code(&here), &code(&there));
        same(name, "rows of tables", &rows(&here), &rows(&there));
    }
    Ok(())
}

/// Those that people read first.
#[test]
fn are_there() {
    for name in [
        "README",
        "docs/injection",
        "docs/configuration",
        "docs/operations",
        "docs/election",
        "docs/security",
        "docs/troubleshooting",
    ] {
        let page = repository().join(format!("{name}{ENDING}"));
        assert!(page.is_file(), "{}", page.display());
    }
}

/// Lines that could be broken end at 100 columns, except in blocks of code and in tables.
#[test]
fn in_english_end_their_lines_at_100_columns() -> Result<()> {
    const COLUMNS: usize = 100;
    let mut long = Vec::new();
    for page in pages()?.iter().filter(|page| !is_chinese(page)) {
        let text = std::fs::read_to_string(page)?;
        let mut in_code = false;
        for (number, line) in text.lines().enumerate() {
            let shown = line.trim_start();
            in_code ^= shown.starts_with("```");
            let is_fixed = in_code || shown.starts_with(['|', '#', '<', '`', '[']);
            if line.chars().count() <= COLUMNS || is_fixed {
                continue;
            }
            if shown.split(' ').count() > 3 {
                long.push(format!("{}:{}", page.display(), number + 1));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
    Ok(())
}

#[test]
fn have_links_that_lead_somewhere() -> Result<()> {
    let pages = pages()?;
    for page in &pages {
        let text = std::fs::read_to_string(page)?;
        let directory = page.parent().context("no directory")?;
        let prose: String = prose(&text).flat_map(|line| [line, "\n"]).collect();
        let targets = prose.split("](").skip(1);
        for target in targets.filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let place = format!("{}: {target}", page.display());
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() {
                page.clone()
            } else {
                directory.join(file)
            };
            assert!(path.exists(), "{place}");
            if !anchor.is_empty() {
                let headings: BTreeSet<_> = prose_of(&path)?
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .map(slug)
                    .collect();
                assert!(headings.contains(anchor), "{place}");
            }
            // Who reads Chinese is led to Chinese where there is some.
            let english = path.display().to_string();
            let Some(name) = english.strip_suffix(".md") else {
                continue;
            };
            let translated = PathBuf::from(format!("{name}{ENDING}"));
            let is_own = translated.file_name() == page.file_name();
            assert!(
                !is_chinese(page) || is_chinese(&path) || !translated.exists() || is_own,
                "{place}: there is {}",
                translated.display()
            );
        }
    }
    Ok(())
}

/// Whether they are run elsewhere or not, commands have no mistake in their quotes.
#[test]
fn have_commands_that_a_shell_understands() -> Result<()> {
    let mut checked = 0;
    for page in pages()? {
        for block in blocks(&std::fs::read_to_string(&page)?) {
            if !block.language.starts_with("sh") {
                continue;
            }
            let checks = ["-n", "-c", &block.text];
            let output = Command::new("bash").args(checks).output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            let place = format!("{}:{}", page.display(), block.line);
            assert!(output.status.success(), "{place}: {said}");
            checked += 1;
        }
    }
    assert!(checked > 50, "{checked} blocks");
    Ok(())
}

/// The READMEs and the pages of docs/.
fn pages() -> Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    for directory in ["docs", "."] {
        for entry in std::fs::read_dir(repository().join(directory))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let ours = directory == "docs" || name.starts_with("README");
            if ours && name.ends_with(".md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    Ok(pages)
}

fn is_chinese(page: &Path) -> bool {
    page.display().to_string().ends_with(ENDING)
}

#[track_caller]
fn same(page: &str, what: &str, here: &[String], there: &[String]) {
    for (here, there) in here.iter().zip(there) {
        assert_eq!(here, there, "{page}: {what}");
    }
    assert_eq!(here.len(), there.len(), "{page}: {what}");
}

/// Lines outside of fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    })
}

fn prose_of(page: &Path) -> Result<String> {
    let text = std::fs::read_to_string(page)?;
    Ok(prose(&text).flat_map(|line| [line, "\n"]).collect())
}

/// The level of each heading.
fn levels(text: &str) -> Vec<String> {
    prose(text)
        .filter(|line| line.starts_with('#'))
        .map(|line| line.chars().take_while(|char| *char == '#').collect())
        .collect()
}

/// What is code in each row of the tables, sorted, with the number of its cells: an order of words
/// is a language's own.
fn rows(text: &str) -> Vec<String> {
    prose(text)
        .map(str::trim)
        .filter(|line| line.starts_with('|'))
        .map(|line| {
            let mut code: Vec<_> = line.split('`').skip(1).step_by(2).collect();
            code.sort_unstable();
            let cells = line.replace("\\|", "").matches('|').count();
            format!("{cells}: {}", code.join(" "))
        })
        .collect()
}

#[test]
fn rows_are_compared_by_their_code() {
    let rows = rows("| `b` and `a` | x |\n```text\n| `no` |\n```\n|---|---|\n");
    assert_eq!(rows, ["3: a b", "3: "]);
}
