//! Writing values as YAML that every reader takes for the same value.
//!
//! Strings that some reader could take for a number, a boolean, null or a date are quoted; strings
//! of several lines become block scalars where these hold them exactly. Everything else looks as
//! `kubectl` would print it.

use std::fmt::Write as _;

use serde::Serialize as _;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Number, Value};

use super::resolve;

/// How a document indents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Columns by which an object inside an object is indented.
    pub(super) step: usize,
    /// Columns by which the dashes of a list are indented inside an object; `kubectl` uses none.
    pub(super) dash: usize,
}

impl Default for Layout {
    fn default() -> Self {
        Self { step: 2, dash: 0 }
    }
}

/// A whole document, with a line feed at the end.
pub(super) fn document(value: &Value, layout: Layout) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => entries(map, 0, layout, &mut out),
        Value::Array(items) if !items.is_empty() => list(items, 0, layout, &mut out),
        _ => {
            out.push_str(&inline(value));
            out.push('\n');
        }
    }
    out
}

/// Lines `key: value` for an object whose keys stand in column `indent`.
pub(super) fn entries(map: &Map<String, Value>, indent: usize, layout: Layout, out: &mut String) {
    for (name, value) in map {
        pad(indent, out);
        entry(name, value, indent, layout, out);
    }
}

/// One `key: value`, the first line without indentation.
pub(super) fn entry(name: &str, value: &Value, indent: usize, layout: Layout, out: &mut String) {
    out.push_str(&key(name));
    out.push(':');
    after_colon(value, indent, layout, out);
}

/// What follows the colon of a key in column `indent`, with a line feed at the end.
pub(super) fn after_colon(value: &Value, indent: usize, layout: Layout, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            entries(map, indent + layout.step, layout, out);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            list(items, indent + layout.dash, layout, out);
        }
        _ => {
            out.push(' ');
            scalar(value, indent, layout.step, out);
            out.push('\n');
        }
    }
}

/// Lines `- item` with the dashes in column `indent`.
pub(super) fn list(items: &[Value], indent: usize, layout: Layout, out: &mut String) {
    for value in items {
        pad(indent, out);
        item(value, indent, layout, out);
    }
}

/// One `- item` with its dash in column `indent`, the first line without indentation.
pub(super) fn item(value: &Value, indent: usize, layout: Layout, out: &mut String) {
    out.push_str("- ");
    let inner = indent + 2;
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (index, (name, value)) in map.iter().enumerate() {
                if index > 0 {
                    pad(inner, out);
                }
                entry(name, value, inner, layout, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, value) in items.iter().enumerate() {
                if index > 0 {
                    pad(inner, out);
                }
                item(value, inner, layout, out);
            }
        }
        _ => {
            scalar(value, indent, 2, out);
            out.push('\n');
        }
    }
}

/// A scalar or an empty collection, of a key or dash in column `parent`; the lines of a block
/// scalar stand `step` columns to the right of that.
fn scalar(value: &Value, parent: usize, step: usize, out: &mut String) {
    match value
        .as_str()
        .and_then(|text| Some((text, block_header(text, step)?)))
    {
        Some((text, header)) => {
            out.push_str(&header);
            for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
                out.push('\n');
                if !line.is_empty() {
                    pad(parent + step, out);
                    out.push_str(line);
                }
            }
        }
        None => out.push_str(&inline(value)),
    }
}

/// A value on one line, as it may stand in brackets; this is JSON, so it fits into JSON as well.
pub(super) fn flow(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&self::number(number)),
        Value::String(text) => out.push_str(&double_quoted(text)),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                flow(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (index, (name, value)) in map.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                out.push_str(&double_quoted(name));
                out.push_str(": ");
                flow(value, out);
            }
            out.push('}');
        }
    }
}

/// A value as JSON over several lines, without a line feed at the end.
pub(super) fn pretty_json(value: &Value, unit: &str) -> String {
    let mut out = Vec::new();
    let formatter = PrettyFormatter::with_indent(unit.as_bytes());
    // Neither a `Value` nor a vector can fail to be written.
    let _ = value.serialize(&mut Serializer::with_formatter(&mut out, formatter));
    String::from_utf8(out).unwrap_or_default()
}

/// A scalar that replaces another on the same line: never a block scalar.
pub(super) fn inline(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::String(text) => out.push_str(&quoted_if_needed(text)),
        other => flow(other, &mut out),
    }
    out
}

/// A key, quoted if it has to be.
pub(super) fn key(name: &str) -> String {
    quoted_if_needed(name)
}

fn number(number: &Number) -> String {
    match number.as_f64() {
        // A float with a whole value: `1000`, not `1000.0`.
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => {
            format!("{float:.0}")
        }
        _ => number.to_string(),
    }
}

fn quoted_if_needed(text: &str) -> String {
    if is_plain(text) {
        text.to_owned()
    } else if text.contains(['"', '\\']) && text.chars().all(is_printable) {
        format!("'{}'", text.replace('\'', "''"))
    } else {
        double_quoted(text)
    }
}

/// Whether a text may stand without quotes, anywhere outside brackets.
fn is_plain(text: &str) -> bool {
    let mut chars = text.chars();
    let starts_well = match chars.next() {
        None => false,
        Some('-') => chars.next().is_some_and(|next| next != ' ') && !text.starts_with("---"),
        Some(first) => !"?:,[]{}#&*!|>'\"%@` ".contains(first),
    };
    starts_well
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.starts_with("...")
        && text.chars().all(is_printable)
        && !resolve::ambiguous(text)
}

/// Whether YAML takes a character as it is inside a line.
fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(
            c,
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        )
}

/// JSON's own form of a string, plus escapes for what YAML doesn't take as it is.
fn double_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_printable(c) => out.push(c),
            // None of these is beyond the Basic Multilingual Plane.
            c => _ = write!(out, "\\u{:04x}", u32::from(c)),
        }
    }
    out.push('"');
    out
}

/// The header of a block scalar that holds the text exactly, if there is one.
fn block_header(text: &str, step: usize) -> Option<String> {
    let body = text.trim_end_matches('\n');
    let exact = !body.is_empty()
        && text.contains('\n')
        && text.chars().all(|c| matches!(c, '\n' | '\t') || is_printable(c))
        // Blanks alone on a line are hard to see and easily lost.
        && body.split('\n').all(|line| line.is_empty() || !line.trim().is_empty());
    if !exact {
        return None;
    }
    // Where the first line can't show the indentation, the header says it.
    let indicator = if body.starts_with([' ', '\t', '\n']) {
        step.to_string()
    } else {
        String::new()
    };
    let chomping = match text.len() - body.len() {
        0 => "-",
        1 => "",
        _ => "+",
    };
    Some(format!("|{indicator}{chomping}"))
}

fn pad(columns: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', columns));
}

#[cfg(test)]
mod tests;
