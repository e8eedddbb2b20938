//! A parsed document that remembers where each part of it stands in the text.

use std::ops::Range;
use std::rc::Rc;

use serde_json::{Map, Value};

/// A value and its place in the text of its document.
#[derive(Debug)]
pub(super) struct Node {
    /// Bytes of the node: for scalars and flow collections (`{…}`, `[…]`, all of JSON) exactly
    /// their text; for block collections from their first key or dash to the end of their last
    /// content.
    pub(super) span: Range<usize>,
    /// What it is.
    pub(super) kind: Kind,
}

/// What a [`Node`] is.
#[derive(Debug)]
pub(super) enum Kind {
    /// Neither a list nor an object.
    Scalar(Value),
    /// A list.
    Sequence(Style, Vec<Node>),
    /// An object; entries in the order of the text, repeated keys included.
    Mapping(Style, Vec<Entry>),
    /// `*name`: what the anchor of that name held.
    Alias(Rc<Value>),
}

/// One `key: value` of a mapping.
#[derive(Debug)]
pub(super) struct Entry {
    /// The key as JSON has it.
    pub(super) key: String,
    /// Bytes of the key's text.
    pub(super) key_span: Range<usize>,
    /// Whether this is a merge key (`<<: *defaults`), whose value's entries count as the mapping's
    /// own.
    pub(super) merge: bool,
    /// The value.
    pub(super) value: Node,
}

/// How a collection is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// One entry a line, structure by indentation.
    Block,
    /// In brackets.
    Flow,
}

impl Node {
    /// The plain value, with aliases and merge keys resolved. Of repeated keys the last one counts.
    pub(super) fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Scalar(value) => value.clone(),
            Kind::Alias(value) => value.as_ref().clone(),
            Kind::Sequence(_, items) => Value::Array(items.iter().map(Node::to_value).collect()),
            Kind::Mapping(_, entries) => {
                let mut map = Map::with_capacity(entries.len());
                for entry in entries {
                    let value = entry.value.to_value();
                    if entry.merge {
                        merge(value, &mut map);
                    } else {
                        map.insert(entry.key.clone(), value);
                    }
                }
                Value::Object(map)
            }
        }
    }
}

/// Takes over the entries of a merged mapping, or of each mapping of a list, of which earlier ones
/// win.
fn merge(value: Value, into: &mut Map<String, Value>) {
    match value {
        Value::Object(map) => into.extend(map),
        Value::Array(maps) => maps.into_iter().rev().for_each(|map| merge(map, into)),
        // The parser lets nothing else through.
        _ => {}
    }
}
