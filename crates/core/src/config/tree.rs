//! JSON with the order and the duplicates that its author wrote.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

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
        "failed to read the configuration as JSON at line {line}, column {column}: {reason}, near `{excerpt}`"
    )]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// Counted in characters from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
        /// The text around the place, from the same line.
        excerpt: String,
    },
    /// JSON, but something else than an object.
    #[error("failed to read the configuration: expected a JSON object, found {0}")]
    NotAnObject(&'static str),
}

/// Reads a document, which must be an object.
pub(super) fn parse(text: &str) -> Result<Vec<(String, Node)>, ConfigError> {
    let text = strip_mark(text);
    let node: Node = serde_json::from_str(text).map_err(|error| syntax_error(text, &error))?;
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
        Err(error) => Err(error.to_string()),
    }
}

/// Without the byte order mark that some editors put at the start.
pub(super) fn strip_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Characters shown on either side of the place of an error.
const EXCERPT: usize = 24;

fn syntax_error(text: &str, error: &serde_json::Error) -> ConfigError {
    let line_text = text
        .lines()
        .nth(error.line().max(1) - 1)
        .unwrap_or_default();
    let mut at = error.column().min(line_text.len());
    while !line_text.is_char_boundary(at) {
        at += 1;
    }
    let (before, after) = line_text.split_at(at);
    let start = before
        .char_indices()
        .rev()
        .nth(EXCERPT - 1)
        .map_or(0, |(index, _)| index);
    let end = after
        .char_indices()
        .nth(EXCERPT)
        .map_or(after.len(), |(index, _)| index);
    let excerpt = format!("{}{}", &before[start..], &after[..end]);
    let position = format!(" at line {} column {}", error.line(), error.column());
    let message = error.to_string();
    ConfigError::Syntax {
        line: error.line().max(1),
        column: before.chars().count().max(1),
        reason: message
            .strip_suffix(&position)
            .unwrap_or(&message)
            .to_owned(),
        excerpt: excerpt.trim().to_owned(),
    }
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

/// Compact JSON.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

/// A JSON string literal.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let literal = serde_json::to_string(self.0).map_err(|_| fmt::Error)?;
        f.write_str(&literal)
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
            assert_eq!(parse(text).unwrap_err().to_string(), expected, "{text:?}");
        };
        check(
            "{\n  \"log_level\": \"info\",\n}",
            "failed to read the configuration as JSON at line 3, column 1: trailing comma, near `}`",
        );
        check(
            "{\"ä\": 'x'}",
            "failed to read the configuration as JSON at line 1, column 7: expected value, near `{\"ä\": 'x'}`",
        );
        check(
            "{\"a\": 1",
            "failed to read the configuration as JSON at line 1, column 7: EOF while parsing an object, near `{\"a\": 1`",
        );
        check(
            "{} x",
            "failed to read the configuration as JSON at line 1, column 4: trailing characters, near `{} x`",
        );
        check(
            "server_listen: 0.0.0.0:9543",
            "failed to read the configuration as JSON at line 1, column 1: expected value, near `server_listen: 0.0.0.0:95`",
        );
        check(
            &"[".repeat(1000),
            "failed to read the configuration as JSON at line 1, column 128: recursion limit exceeded, near `[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[`",
        );
        check(
            "null",
            "failed to read the configuration: expected a JSON object, found null",
        );
        check(
            "[]",
            "failed to read the configuration: expected a JSON object, found an array",
        );
        assert!(parse("{\"a\": 1e999}").is_err());
    }
}
