//! One YAML document as a tree of [`Node`]s.
//!
//! The parser underneath reads YAML 1.2 events with byte positions; what the scalars mean follows
//! Kubernetes ([`resolve`](super::resolve)), as do merge keys: a merge overwrites keys above it and
//! is overwritten by keys below.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use serde_json::Value;
use serde_saphyr::granit_parser::{
    Event, Options, Parser, ScalarStyle, ScanError, Span, StructureStyle, Tag, options,
};

use super::SyntaxError;
use super::node::{Entry, Kind, Node, Style};
use super::resolve;

/// How many values all aliases of a document may stand for together. A hostile document can nest
/// aliases so that a few lines stand for billions of values.
const MAX_ALIASED_VALUES: usize = 100_000;

/// Parses one document; `None` if it holds nothing but comments.
///
/// # Errors
/// The first place where the text is not YAML, or is YAML that JSON can't hold.
pub(super) fn parse(text: &str) -> Result<Option<Node>, SyntaxError> {
    let mut builder = Builder {
        text,
        events: Parser::new_from_str_with_options(text, parser_options()),
        anchors: HashMap::new(),
        aliased: 0,
    };
    loop {
        match builder.next()? {
            (Event::DocumentStart(..), _) => break,
            (Event::StreamEnd, _) => return Ok(None),
            _ => {}
        }
    }
    let (event, span) = builder.next()?;
    let root = builder.node(event, span)?;
    // What follows must be the end: a second document without a separator is a mistake.
    loop {
        match builder.next()? {
            (Event::StreamEnd, _) => break,
            (Event::DocumentStart(..), span) => {
                return Err(SyntaxError::at(
                    text,
                    offset(span),
                    "a second document starts here without `---` before it",
                ));
            }
            _ => {}
        }
    }
    let root = match root {
        // `---` alone, or a document of comments.
        Node {
            kind: Kind::Scalar(Value::Null),
            span,
        } if span.is_empty() => return Ok(None),
        root => root,
    };
    Ok(Some(root))
}

fn parser_options() -> Options {
    let mut options = options! {
        // A block scalar cut off by the end of the file has no line feed, as Kubernetes reads it.
        block_scalar_eof_without_line_feed: true,
    };
    options.set_emit_comments(false);
    options
}

struct Builder<'t> {
    text: &'t str,
    events: Parser<'t, serde_saphyr::granit_parser::StrInput<'t>>,
    anchors: HashMap<usize, (Rc<Value>, usize)>,
    aliased: usize,
}

impl<'t> Builder<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), SyntaxError> {
        match self.events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(self.scan_error(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn scan_error(&self, error: &ScanError) -> SyntaxError {
        SyntaxError::at(
            self.text,
            offset(Span::empty(*error.marker())),
            error.info(),
        )
    }

    fn fail<T>(&self, span: Span, message: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError::at(self.text, offset(span), message))
    }

    fn node(&mut self, event: Event<'t>, span: Span) -> Result<Node, SyntaxError> {
        match event {
            Event::Alias(id) => self.alias(id, span),
            Event::Scalar(text, style, anchor, tag) => {
                let value = self.scalar(&text, style, tag.as_deref(), span)?;
                self.remember(anchor, &value);
                Ok(Node {
                    span: self.scalar_span(style, span),
                    kind: Kind::Scalar(value),
                })
            }
            Event::SequenceStart(style, anchor, _) => {
                let node = self.sequence(style, span)?;
                self.remember_node(anchor, &node);
                Ok(node)
            }
            Event::MappingStart(style, anchor, _) => {
                let node = self.mapping(style, span)?;
                self.remember_node(anchor, &node);
                Ok(node)
            }
            other => self.fail(span, format!("unexpected {other:?}")),
        }
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<Node, SyntaxError> {
        let Some((value, size)) = self.anchors.get(&id) else {
            return self.fail(span, "an anchor's value can't contain the anchor itself");
        };
        let value = Rc::clone(value);
        self.aliased += size;
        if self.aliased > MAX_ALIASED_VALUES {
            return self.fail(
                span,
                format!("the aliases up to here stand for over {MAX_ALIASED_VALUES} values"),
            );
        }
        Ok(Node {
            span: range(span),
            kind: Kind::Alias(value),
        })
    }

    fn sequence(&mut self, style: StructureStyle, start: Span) -> Result<Node, SyntaxError> {
        let mut items = Vec::new();
        let end = loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                break span;
            }
            items.push(self.node(event, span)?);
        };
        let last = items.last().map(|item| item.span.end);
        let mut place = collection_span(style, start, end, last);
        let at_dash = self.text[place.start..].starts_with('-');
        if style == StructureStyle::Block
            && (!at_dash
                || items
                    .first()
                    .is_some_and(|item| item.span.start == place.start))
        {
            // Of a list that is not indented, the parser gives the place of the first item, not of
            // its dash.
            let before = self.text[..place.start].trim_end();
            if before.ends_with('-') {
                place.start = before.len() - 1;
            }
        }
        Ok(Node {
            span: place,
            kind: Kind::Sequence(style_of(style), items),
        })
    }

    fn mapping(&mut self, style: StructureStyle, start: Span) -> Result<Node, SyntaxError> {
        let mut entries = Vec::new();
        let end = loop {
            let (event, key_span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break key_span;
            }
            let (key, merge) = self.key(event, key_span)?;
            let (event, value_span) = self.next()?;
            let mut value = self.node(event, value_span)?;
            if merge {
                self.check_merge(&value, value_span)?;
            }
            let key_span = range(key_span);
            if value.span.is_empty() {
                // The parser places a missing value somewhere before its colon.
                let place = self.after_colon(key_span.end);
                value.span = place..place;
            }
            entries.push(Entry {
                key,
                key_span,
                merge,
                value,
            });
        };
        let last = entries.last().map(|entry| entry.value.span.end);
        Ok(Node {
            span: collection_span(style, start, end, last),
            kind: Kind::Mapping(style_of(style), entries),
        })
    }

    fn key(&mut self, event: Event<'t>, span: Span) -> Result<(String, bool), SyntaxError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let merge_tag = tag
                    .as_deref()
                    .is_none_or(|tag| schema_type(tag).as_deref() == Some("merge"));
                if text == "<<" && style == ScalarStyle::Plain && merge_tag {
                    return Ok((text.into_owned(), true));
                }
                let value = match (style, &tag) {
                    (ScalarStyle::Plain, None) => {
                        resolve::key(plain_text(&text, span)).map(Value::String)
                    }
                    _ => Some(self.scalar(&text, style, tag.as_deref(), span)?),
                };
                if let Some(value) = &value {
                    self.remember(anchor, value);
                }
                let key = match value {
                    Some(Value::String(key)) => Some(key),
                    None | Some(Value::Null) => None,
                    Some(value) => resolve::key(&value.to_string()),
                };
                key.map_or_else(
                    || self.fail(span, "a key can't be null"),
                    |key| Ok((key, false)),
                )
            }
            Event::Alias(id) => match self.alias(id, span)?.kind {
                Kind::Alias(value) if value.is_string() || value.is_boolean() || value.is_i64() => {
                    Ok((
                        value
                            .as_str()
                            .map_or_else(|| value.to_string(), str::to_owned),
                        false,
                    ))
                }
                _ => self.fail(
                    span,
                    "this key is an alias for something that can't be a key",
                ),
            },
            _ => self.fail(span, "a key must be a text, not a list or an object"),
        }
    }

    fn scalar(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<Value, SyntaxError> {
        let text = if style == ScalarStyle::Plain {
            plain_text(text, span)
        } else {
            text
        };
        let value = match tag.map(schema_type) {
            None if style == ScalarStyle::Plain => resolve::plain(text),
            Some(Some(name)) => resolve::tagged(&name, text),
            // Quoted, `!`, or a tag that means nothing to Kubernetes.
            None | Some(None) => Ok(Value::String(text.to_owned())),
        };
        value.or_else(|error| self.fail(span, error.to_string()))
    }

    /// The bytes of a scalar. Those of a block scalar end with its last line that counts, without
    /// the line feed.
    fn scalar_span(&self, style: ScalarStyle, span: Span) -> Range<usize> {
        let span = range(span);
        if !matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
            return span;
        }
        let content = &self.text[span.clone()];
        let header = self.text[..span.start]
            .trim_end_matches(['\n', '\r', ' '])
            .rsplit('\n')
            .next();
        let keeps_blank_lines = header
            .and_then(|line| line.rfind(['|', '>']).map(|at| &line[at..]))
            .is_some_and(|header| {
                header
                    .split('#')
                    .next()
                    .is_some_and(|header| header.contains('+'))
            });
        let content = if keeps_blank_lines {
            // The last partial line is the indentation of what follows.
            let end = content.rfind('\n').unwrap_or(content.len());
            content[..end].trim_end_matches('\r')
        } else {
            content.trim_end()
        };
        span.start..span.start + content.len()
    }

    /// The place behind the colon of a key that ends at `key_end`, or behind the key if it has none
    /// (`{key}`, `? key`).
    fn after_colon(&self, key_end: usize) -> usize {
        let rest = &self.text[key_end..];
        let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        if rest[blank..].starts_with(':') {
            key_end + blank + 1
        } else {
            key_end
        }
    }

    fn check_merge(&self, node: &Node, span: Span) -> Result<(), SyntaxError> {
        let is_map = |node: &Node| match &node.kind {
            Kind::Mapping(..) => true,
            Kind::Alias(value) => value.is_object(),
            _ => false,
        };
        let fits = is_map(node)
            || matches!(&node.kind, Kind::Sequence(_, items) if items.iter().all(is_map));
        if fits {
            Ok(())
        } else {
            self.fail(span, "`<<` takes an object, or a list of objects")
        }
    }

    fn remember(&mut self, anchor: usize, value: &Value) {
        if anchor != 0 {
            self.anchors.insert(anchor, (Rc::new(value.clone()), 1));
        }
    }

    fn remember_node(&mut self, anchor: usize, node: &Node) {
        if anchor != 0 {
            let value = node.to_value();
            let size = size(&value);
            self.anchors.insert(anchor, (Rc::new(value), size));
        }
    }
}

/// The parser reports a missing scalar as `~`.
fn plain_text(text: &str, span: Span) -> &str {
    if range(span).is_empty() { "" } else { text }
}

/// The part after `!!` of a tag of YAML's own types.
fn schema_type(tag: &Tag) -> Option<Cow<'_, str>> {
    tag.suffix_in_namespace("tag:yaml.org,2002:")
        .filter(|name| !name.is_empty())
}

fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(map) => map.values().map(size).sum(),
        _ => 0,
    }
}

fn collection_span(
    style: StructureStyle,
    start: Span,
    end: Span,
    last: Option<usize>,
) -> Range<usize> {
    match style {
        StructureStyle::Flow => range(start).start..range(end).end,
        StructureStyle::Block => range(start).start..last.unwrap_or(range(start).start),
    }
}

fn style_of(style: StructureStyle) -> Style {
    match style {
        StructureStyle::Flow => Style::Flow,
        StructureStyle::Block => Style::Block,
    }
}

fn range(span: Span) -> Range<usize> {
    span.byte_range().unwrap_or_default()
}

fn offset(span: Span) -> usize {
    span.start.byte_offset().unwrap_or_default()
}

#[cfg(test)]
mod tests;
