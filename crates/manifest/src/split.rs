//! Cutting a text into documents, so that a broken one doesn't take its neighbours with it.

use std::ops::Range;

/// Bytes of each document of a YAML text, in order; together they cover the whole text.
///
/// A document begins with its `---` line, if it has one, and ends before the next, or after a `...`
/// line. Directives (`%YAML 1.1`) and comments before a `---` belong to what follows it if nothing
/// else stands before them.
pub(super) fn documents(text: &str) -> Vec<Range<usize>> {
    let mut documents = Vec::new();
    let mut start = 0;
    // What the lines since `start` hold.
    let (mut marker, mut content, mut directive) = (false, false, false);
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if is_marker(line, "---") {
            let prefix_only = directive && !marker && !content;
            if at > start && !prefix_only {
                documents.push(start..at);
                start = at;
            }
            (marker, content, directive) = (true, line.trim_end().len() > 3, false);
        } else if is_marker(line, "...") {
            documents.push(start..at + line.len());
            start = at + line.len();
            (marker, content, directive) = (false, false, false);
        } else if !marker && !content && line.starts_with('%') {
            directive = true;
        } else if !matches!(line.trim_start().bytes().next(), None | Some(b'#')) {
            content = true;
        }
        at += line.len();
    }
    if start < text.len() {
        documents.push(start..text.len());
    }
    documents
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let found: Vec<&str> = documents(text)
            .into_iter()
            .map(|range| &text[range])
            .collect();
        assert_eq!(found, expected);
        assert_eq!(found.concat(), text, "no byte may get lost");
    }

    #[test]
    fn cuts_at_markers_only() {
        check("", &[]);
        check("a: 1\n", &["a: 1\n"]);
        check("a: 1\n---\nb: 2\n", &["a: 1\n", "---\nb: 2\n"]);
        check("---\na: 1\n---\nb: 2", &["---\na: 1\n", "---\nb: 2"]);
        check(
            "--- # first\na: 1\r\n---\r\nb: 2\r\n",
            &["--- # first\na: 1\r\n", "---\r\nb: 2\r\n"],
        );
        check("---\n---\na: 1\n---\n", &["---\n", "---\na: 1\n", "---\n"]);
        check("# head\n---\na: 1\n", &["# head\n", "---\na: 1\n"]);
        check(
            "a: |\n  x\n  ---\n  y\n----\n---x\n",
            &["a: |\n  x\n  ---\n  y\n----\n---x\n"],
        );
        check(
            "a: 1\n...\n---\nb: 2\n...\n",
            &["a: 1\n...\n", "---\nb: 2\n...\n"],
        );
        check(
            "%YAML 1.1\n# c\n---\na: 1\n",
            &["%YAML 1.1\n# c\n---\na: 1\n"],
        );
        check("--- {a: 1}\n--- |\n x\n", &["--- {a: 1}\n", "--- |\n x\n"]);
    }
}
