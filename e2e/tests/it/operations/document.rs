//! Reading a document: its blocks, and what it names.

use std::collections::BTreeSet;

use anyhow::Result;
use datakit_operator_e2e::repository::repository;

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) heading: String,
    pub(crate) line: usize,
    pub(crate) language: String,
    pub(crate) text: String,
    /// The text block behind it, if it is commands: what they print.
    pub(crate) printed: Option<String>,
}

pub(super) fn document() -> Result<String> {
    Ok(std::fs::read_to_string(
        repository().join("docs/operations.md"),
    )?)
}

/// The blocks under a heading that are run and contain a text.
pub(super) fn meant<'a>(
    blocks: &'a [Block],
    heading: &'a str,
    part: &'a str,
) -> impl Iterator<Item = &'a Block> {
    blocks.iter().filter(move |block| {
        block.language == "sh" && block.heading == heading && block.text.contains(part)
    })
}

pub(crate) fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut heading = "";
    let mut between = false;
    let mut lines = document.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        let Some(language) = trimmed.strip_prefix("```") else {
            if line.starts_with('#') {
                heading = line.trim_start_matches(['#', ' ']);
            }
            between |= !line.is_empty();
            continue;
        };
        let text: String = lines
            .by_ref()
            .map(|(line, _)| line.get(indent..).unwrap_or_default())
            .take_while(|line| *line != "```")
            .flat_map(|line| [line, "\n"])
            .collect();
        if language == "text"
            && !between
            && let Some(before) = blocks.last_mut()
        {
            before.printed = Some(text.clone());
        }
        between = false;
        blocks.push(Block {
            heading: heading.to_owned(),
            line: number,
            language: language.to_owned(),
            text,
            printed: None,
        });
    }
    blocks
}

/// Whether a text is as expected, where `…` stands for anything.
pub(super) fn matches(expected: &str, text: &str) -> bool {
    let mut pieces = expected.trim_end().split('…');
    let mut rest = text.trim_end();
    let Some(tail) = pieces.next().and_then(|first| rest.strip_prefix(first)) else {
        return false;
    };
    rest = tail;
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        let Some((_, tail)) = rest.split_once(piece) else {
            return false;
        };
        rest = tail;
    }
    true
}

/// What follows a prefix in a text, with it, as far as it is a name. Parts of histograms count as
/// the whole.
pub(super) fn names(text: &str, prefix: &str) -> BTreeSet<String> {
    let rests = text.split(prefix).skip(1);
    rests
        .map(|rest| {
            let end = rest.find(|char: char| !char.is_ascii_lowercase() && char != '_');
            let name = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            let whole = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|part| name.strip_suffix(part));
            format!("{prefix}{}", whole.unwrap_or(name))
        })
        .collect()
}

/// Everything like `--flag` in a text.
pub(super) fn flags(text: &str) -> BTreeSet<String> {
    let rests = text.split("--").skip(1);
    rests
        .filter(|rest| rest.starts_with(|char: char| char.is_ascii_lowercase()))
        .filter_map(|rest| {
            let end = rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '-');
            rest.get(..end.unwrap_or(rest.len()))
        })
        .map(str::to_owned)
        .collect()
}

/// The strings in a piece of program text.
pub(super) fn literals(source: &str) -> impl Iterator<Item = &str> {
    source.split('"').skip(1).step_by(2)
}

/// The anchor of a heading.
pub(crate) fn slug(heading: &str) -> String {
    heading
        .trim_start_matches(['#', ' '])
        .to_lowercase()
        .chars()
        .filter(|char| char.is_alphanumeric() || " -_".contains(*char))
        .map(|char| if char == ' ' { '-' } else { char })
        .collect()
}

#[test]
fn blocks_are_read_with_what_they_print() {
    let text =
        "## One\n\n- item\n\n  ```sh\n  a\n    b\n  ```\n\n```sh\nc\n```\n\n```text\nd\n```\n";
    let read: Vec<_> = blocks(text)
        .into_iter()
        .map(|block| (block.line, block.text, block.printed))
        .collect();
    assert_eq!(
        read,
        [
            (5, "a\n  b\n".to_owned(), None),
            (10, "c\n".to_owned(), Some("d\n".to_owned())),
            (14, "d\n".to_owned(), None),
        ]
    );
    assert!(matches("a…d…", "abcd\n"));
    assert!(matches("a\n", "a\n"));
    assert!(!matches("a", "ab"));
    assert!(!matches("…b", "bc"));
}
