//! Where a document stops being one.

/// A place in a document that could not be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// What is wrong there.
    pub message: String,
    /// Line in the document's text, from 1.
    pub line: usize,
    /// Column in that line, from 1, in characters.
    pub column: usize,
    /// What to do about it, where that can be told.
    pub hint: Option<&'static str>,
}

impl SyntaxError {
    /// An error at a byte of `text`.
    pub(super) fn at(text: &str, offset: usize, message: impl Into<String>) -> Self {
        let before = &text[..text.floor_char_boundary(offset.min(text.len()))];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[line_start..]
            .find('\n')
            .map_or(text.len(), |at| line_start + at);
        Self {
            message: message.into(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            hint: hint(text, &text[line_start..line_end]),
        }
    }
}

/// Recognises the mistakes that manifests are known for.
fn hint(text: &str, line: &str) -> Option<&'static str> {
    if text.contains("{{") && text.contains("}}") {
        Some(
            "this looks like a template: render it first, as in `helm template CHART | datakit-operator … -f -`",
        )
    } else if line.trim_start_matches(' ').starts_with('\t') {
        Some("indent with spaces: YAML does not allow tabs there")
    } else if text.contains("<<<<<<<") && text.contains(">>>>>>>") {
        Some("this file holds an unresolved merge conflict")
    } else {
        None
    }
}
