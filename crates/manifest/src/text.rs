//! Lines and columns of a text, and how a document in it indents.

use super::emit::Layout;
use super::node::{Kind, Node, Style};

/// How the document indents, by the first places that show it.
pub(super) fn layout(text: &str, root: &Node) -> Layout {
    fn look(text: &str, node: &Node, step: &mut Option<usize>, dash: &mut Option<usize>) {
        match &node.kind {
            Kind::Mapping(Style::Block, entries) => {
                for entry in entries {
                    let key = column(text, entry.key_span.start);
                    let value = column(text, entry.value.span.start);
                    match &entry.value.kind {
                        Kind::Mapping(Style::Block, _) if step.is_none() => {
                            *step = value.checked_sub(key);
                        }
                        Kind::Sequence(Style::Block, _) if dash.is_none() => {
                            *dash = value.checked_sub(key);
                        }
                        _ => {}
                    }
                    look(text, &entry.value, step, dash);
                }
            }
            Kind::Sequence(Style::Block, items) => {
                items.iter().for_each(|item| look(text, item, step, dash));
            }
            _ => {}
        }
    }
    let (mut step, mut dash) = (None, None);
    look(text, root, &mut step, &mut dash);
    let default = Layout::default();
    Layout {
        step: step
            .filter(|step| (1..9).contains(step))
            .unwrap_or(default.step),
        dash: dash.unwrap_or(default.dash),
    }
}

/// The indentation of the first key or item of a JSON document, if that stands on a line of its
/// own.
pub(super) fn json_unit<'t>(text: &'t str, root: &Node) -> Option<&'t str> {
    let first = match &root.kind {
        Kind::Mapping(Style::Flow, entries) => entries.first()?.key_span.start,
        Kind::Sequence(Style::Flow, items) => items.first()?.span.start,
        _ => return None,
    };
    let indent = &text[line_start(text, first)..first];
    (line_start(text, first) > 0 && indent.trim().is_empty()).then_some(indent)
}

/// Line ends as the document writes them.
pub(super) fn with_newlines_of(text: &str, added: String) -> String {
    let windows = text.find('\n').is_some_and(|at| text[..at].ends_with('\r'));
    if windows {
        added.replace('\n', "\r\n")
    } else {
        added
    }
}

/// The start of the line of a byte.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// The end of the line of a byte, without its line feed.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    text[at..]
        .find('\n')
        .map_or(text.len(), |newline| at + newline)
}

/// The start of the line after that of a byte.
pub(super) fn next_line(text: &str, at: usize) -> usize {
    text[at..]
        .find('\n')
        .map_or(text.len(), |newline| at + newline + 1)
}

/// The column of a byte, from 0, in bytes.
pub(super) fn column(text: &str, at: usize) -> usize {
    at - line_start(text, at)
}
