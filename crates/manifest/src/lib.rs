//! Manifests: files of Kubernetes objects, as YAML or JSON, read and written as `kubectl`
//! understands them.
//!
//! A [`Source`] is one text, cut into [`Document`]s. A document that isn't changed is written as it
//! was read, byte for byte; one that is changed keeps its comments, quoting and order wherever the
//! change allows.

// A module uses those listed above it. Blank lines keep the formatter from sorting them.
mod error;
mod node;
mod resolve;

mod align;
mod json;
mod split;
mod yaml;

mod emit;

mod text;

mod edit;

mod output;
pub mod patch;
mod source;
pub mod template;

pub mod uninject;

use std::ops::Range;

use serde_json::Value;

pub use error::SyntaxError;
use node::Node;
pub use output::{Format, Writer};
pub use source::{Input, ReadError, Surroundings, read};

/// A text with manifests in it: a file, or standard input.
#[derive(Debug)]
pub struct Source {
    /// The file's path as given or found, `-` for standard input.
    pub name: String,
    /// The text, without a byte order mark.
    text: String,
    /// Whether a byte order mark stands before it.
    marked: bool,
    /// The documents that hold something, and the stretches between them that don't, in order.
    pub documents: Vec<Document>,
}

/// One document of a [`Source`].
#[derive(Debug)]
pub struct Document {
    range: Range<usize>,
    /// Its number in its source, from 1; stretches without content have that of the document
    /// before.
    pub number: usize,
    /// The line of its source that its content starts at, from 1.
    pub line: usize,
    /// The line of its source that its text starts at, from 1.
    first_line: usize,
    /// How it is written.
    pub format: Format,
    /// What it holds.
    pub content: Content,
}

/// What a [`Document`] holds.
#[derive(Debug)]
pub enum Content {
    /// Nothing but comments, white space and markers.
    Nothing,
    /// A value.
    Value(Parsed),
    /// Something that can't be parsed.
    Broken(SyntaxError),
}

/// A parsed document.
#[derive(Debug)]
pub struct Parsed {
    node: Node,
    /// The value as Kubernetes reads it.
    pub value: Value,
}

impl Source {
    /// Cuts a text into documents and parses each.
    #[must_use]
    pub fn parse(name: impl Into<String>, text: &str) -> Self {
        let unmarked = text.strip_prefix('\u{feff}');
        let (text, marked) = (unmarked.unwrap_or(text).to_owned(), unmarked.is_some());
        let mut documents = Vec::new();
        for range in split::documents(&text) {
            parse_part(&text, range, &mut documents);
        }
        let (mut number, mut line, mut at) = (0, 1, 0);
        for document in &mut documents {
            line += text[at..document.range.start].matches('\n').count();
            at = document.range.start;
            number += usize::from(!matches!(document.content, Content::Nothing));
            let before_content = match &document.content {
                Content::Value(parsed) => &text[at..at + parsed.node.span.start],
                _ => "",
            };
            document.number = number;
            document.first_line = line;
            document.line = line + before_content.matches('\n').count();
        }
        Self {
            name: name.into(),
            text,
            marked,
            documents,
        }
    }

    /// The formats of the documents that hold a value.
    pub fn formats(&self) -> impl Iterator<Item = Format> {
        let valued = self
            .documents
            .iter()
            .filter(|document| matches!(document.content, Content::Value(_)));
        valued.map(|document| document.format)
    }

    /// The whole as it was read.
    #[must_use]
    pub fn whole(&self) -> String {
        let mark = if self.marked { "\u{feff}" } else { "" };
        format!("{mark}{}", self.text)
    }

    /// A document's text.
    #[must_use]
    pub fn text(&self, document: &Document) -> &str {
        &self.text[document.range.clone()]
    }

    /// A document's text changed to hold another value, and whether it had to be written anew,
    /// without its comments.
    ///
    /// `parsed` must be the content of the document.
    #[must_use]
    pub fn rewritten(&self, document: &Document, parsed: &Parsed, new: &Value) -> (String, bool) {
        let text = self.text(document);
        let format = document.format;
        let rewritten = edit::rewrite(text, &parsed.node, new, |text| {
            parse_as(format, text).ok()?.map(|node| node.to_value())
        });
        (rewritten.text, rewritten.anew)
    }
}

impl Document {
    /// The line of its source that an error in this document is at, from 1.
    #[must_use]
    pub fn line_of(&self, error: &SyntaxError) -> usize {
        self.first_line + error.line - 1
    }
}

/// Parses what stands between two markers: one YAML document, or any number of JSON values.
fn parse_part(text: &str, range: Range<usize>, documents: &mut Vec<Document>) {
    let part = &text[range.clone()];
    let mut push = |place: Range<usize>, format, content| {
        let range = range.start + place.start..range.start + place.end;
        documents.push(Document {
            range,
            number: 0,
            line: 0,
            first_line: 0,
            format,
            content,
        });
    };
    if !json::looks_like_json(part) {
        return push(0..part.len(), Format::Yaml, content(yaml::parse(part)));
    }
    let (values, error) = json::stream(part);
    if error.is_some()
        && let Ok(node) = yaml::parse(part)
    {
        return push(0..part.len(), Format::Yaml, content(Ok(node)));
    }
    let end = values.last().map_or(0, |last| last.end);
    for place in values {
        let content = content(json::parse(&part[place.clone()]).map(Some));
        push(place, Format::Json, content);
    }
    if let Some(mut error) = error {
        error.line -= part[..end].matches('\n').count();
        push(end..part.len(), Format::Json, Content::Broken(error));
    }
}

fn content(result: Result<Option<Node>, SyntaxError>) -> Content {
    match result {
        Ok(None) => Content::Nothing,
        Ok(Some(node)) => Content::Value(Parsed {
            value: node.to_value(),
            node,
        }),
        Err(error) => Content::Broken(error),
    }
}

fn parse_as(format: Format, text: &str) -> Result<Option<Node>, SyntaxError> {
    match format {
        Format::Json => json::parse(text).map(Some),
        Format::Yaml => yaml::parse(text),
    }
}
