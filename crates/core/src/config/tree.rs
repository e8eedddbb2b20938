//! JSON with the order and the duplicates that its author wrote.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::place::Position;
use super::syntax::{self, Fault, Quoted};

/// A JSON value. Unlike a map, an object keeps its order and repeated keys.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

/// Why a document can't be read at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not JSON.
    #[error(
        "failed to read the configuration as JSON at {at}{}: {reason} (near `{excerpt}`)",
        Within(.path)
    )]
    Syntax {
        /// Where it stops being JSON.
        at: Position,
        /// The path of the entry that this is in; empty at the top.
        path: String,
        /// What is wrong there, and what to do.
        reason: String,
        /// The text around the place, from the same line.
        excerpt: String,
    },
    /// JSON, but something else than an object.
    #[error("failed to read the configuration: expected a JSON object, found {0}")]
    NotAnObject(&'static str),
}

struct Within<'a>(&'a str);

impl fmt::Display for Within<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => Ok(()),
            path => {
                let shown: String = path.chars().take(PATH).collect();
                let more = if shown.len() < path.len() { "…" } else { "" };
                write!(f, ", in {shown}{more}")
            }
        }
    }
}

/// Reads a document, which must be an object.
pub(super) fn parse(text: &str) -> Result<Vec<(String, Node)>, ConfigError> {
    let text = syntax::strip_mark(text);
    let node: Node = serde_json::from_str(text).map_err(|error| {
        let Fault { at, path, reason } = fault(text, &error);
        ConfigError::Syntax {
            at: Position::of(text, at),
            path,
            reason,
            excerpt: excerpt(text, at),
        }
    })?;
    match node {
        Node::Object(entries) => Ok(entries),
        other => Err(ConfigError::NotAnObject(other.kind())),
    }
}

/// Reads a list that stands in a text of the document.
///
/// # Errors
/// A sentence about what it is instead.
pub(super) fn parse_list(text: &str) -> Result<Vec<Node>, String> {
    match serde_json::from_str(text) {
        Ok(Node::Array(items)) => Ok(items),
        Ok(other) => Err(format!("it holds {}", other.kind())),
        Err(error) => {
            let fault = fault(text, &error);
            let at = Position::of(text, fault.at);
            Err(format!("at its {at}: {}", fault.reason))
        }
    }
}

/// Characters shown on either side of the place of an error.
const EXCERPT: usize = 24;
/// Characters shown of the path to it.
const PATH: usize = 120;

/// What the parser refused, in our words as far as we have some.
fn fault(text: &str, error: &serde_json::Error) -> Fault {
    if let Err(fault) = syntax::walk(text, &mut |_, _| {}) {
        return fault;
    }
    let lines = text.split_inclusive('\n').take(error.line().max(1) - 1);
    let line: usize = lines.map(str::len).sum();
    let mut at = (line + error.column().saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let position = format!(" at line {} column {}", error.line(), error.column());
    let message = error.to_string();
    Fault {
        at,
        path: String::new(),
        reason: message
            .strip_suffix(&position)
            .unwrap_or(&message)
            .to_owned(),
    }
}

/// The text around a place, from the same line.
fn excerpt(text: &str, at: usize) -> String {
    let (before, after) = text.split_at(at.min(text.len()));
    let before = before.rsplit('\n').next().unwrap_or_default();
    let after = after.split('\n').next().unwrap_or_default();
    let start = before
        .char_indices()
        .rev()
        .nth(EXCERPT - 1)
        .map_or(0, |(index, _)| index);
    let end = after
        .char_indices()
        .nth(EXCERPT)
        .map_or(after.len(), |(index, _)| index);
    format!("{}{}", &before[start..], &after[..end])
        .trim()
        .to_owned()
}

impl Node {
    /// The kind of value, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Bool(_) => "a boolean",
            Node::Number(_) => "a number",
            Node::String(_) => "a string",
            Node::Array(_) => "an array",
            Node::Object(_) => "an object",
        }
    }
}

impl Node {
    /// Entries on lines of their own, by four blanks further in than what they are in.
    fn pretty(&self, f: &mut fmt::Formatter<'_>, level: usize) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, level: usize| write!(f, "\n{:1$}", "", level * 4);
        match self {
            Node::Array(items) if !items.is_empty() => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    f.write_str(if index > 0 { "," } else { "" })?;
                    line(f, level + 1)?;
                    item.pretty(f, level + 1)?;
                }
                line(f, level)?;
                f.write_str("]")
            }
            Node::Object(entries) if !entries.is_empty() => {
                f.write_str("{")?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    f.write_str(if index > 0 { "," } else { "" })?;
                    line(f, level + 1)?;
                    write!(f, "{}: ", Quoted(key))?;
                    value.pretty(f, level + 1)?;
                }
                line(f, level)?;
                f.write_str("}")
            }
            other => write!(f, "{other}"),
        }
    }
}

/// Compact JSON; `{:#}` is the same on several lines.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return self.pretty(f, 0);
        }
        match self {
            Node::Null => f.write_str("null"),
            Node::Bool(value) => write!(f, "{value}"),
            Node::Number(value) => write!(f, "{value}"),
            Node::String(value) => write!(f, "{}", Quoted(value)),
            Node::Array(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    write!(f, "{comma}{item}")?;
                }
                f.write_str("]")
            }
            Node::Object(entries) => {
                f.write_str("{")?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    write!(f, "{comma}{}:{value}", Quoted(key))?;
                }
                f.write_str("}")
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Number::from_f64(value).map_or(Node::Null, Node::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Node::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut object = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            object.push(entry);
        }
        Ok(Node::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_duplicates() {
        let text = r#"{"b":1,"a":[null,true,-1,0.5,"x\n"],"b":{"é":18446744073709551615}}"#;
        assert_eq!(Node::Object(parse(text).unwrap()).to_string(), text);
        assert_eq!(parse("\u{feff}{}"), Ok(vec![]));
    }

    #[test]
    fn says_where_the_document_breaks() {
        let check = |text: &str, expected: &str| {
            let error = parse(text).unwrap_err().to_string();
            let expected = format!("failed to read the configuration{expected}");
            assert_eq!(error, expected, "{text:?}");
        };
        check(
            "{\n  \"log_level\": \"info\",\n}",
            " as JSON at line 2, column 22, in log_level: a comma before `}` isn't JSON; remove it (near `\"log_level\": \"info\",`)",
        );
        check(
            "\u{feff}{\"ä\": // x\n1}",
            " as JSON at line 1, column 7, in [\"ä\"]: comments aren't JSON; remove this one (near `{\"ä\": // x`)",
        );
        check(
            "{\"a\": 1",
            " as JSON at line 1, column 1: the text ends, but this `{` isn't closed (near `{\"a\": 1`)",
        );
        check(
            "server_listen: 0.0.0.0:9543",
            " as JSON at line 1, column 1: expected a value, found `server_listen`; JSON has true, false, null and numbers, and text in double quotes (near `server_listen: 0.0.0.0:9`)",
        );
        check(
            &"[".repeat(1000),
            &format!(
                " as JSON at line 1, column 128, in {}…: 128 levels are too deep (near `{}`)",
                "[0]".repeat(40),
                "[".repeat(48)
            ),
        );
        check(
            "{\"a\":\n  1e999}",
            " as JSON at line 2, column 3, in a: the number `1e999` is too large (near `1e999}`)",
        );
        check("null", ": expected a JSON object, found null");
        check("[]", ": expected a JSON object, found an array");
    }
}
