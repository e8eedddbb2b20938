//! Changing a document's text so that it holds a new value, and nothing else in it changes.
//!
//! The changes between the old and the new value become edits of the text: lines added and removed,
//! scalars replaced. Comments, quoting, key order and number formats elsewhere stay as they are.
//! The edited text is parsed again; should it not hold exactly the new value (an anchor was edited
//! whose aliases must not change, say), or should there be a change that can't be made in place,
//! the document is written anew instead, which is right but loses its comments.

use std::ops::Range;

use serde_json::{Map, Value};

use super::align;
use super::emit::{self, Layout};
use super::node::{Entry, Kind, Node, Style};
use super::text::{column, json_unit, layout, line_end, line_start, next_line, with_newlines_of};

/// A document's text after a change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rewritten {
    /// The text.
    pub(super) text: String,
    /// Whether it was written anew, without the comments that it had below its first line.
    pub(super) anew: bool,
}

/// `text`, which was parsed to `root`, changed to hold `new`. `parse` is what the result has to
/// pass.
pub(super) fn rewrite(
    text: &str,
    root: &Node,
    new: &Value,
    parse: impl Fn(&str) -> Option<Value>,
) -> Rewritten {
    let mut editor = Editor {
        text,
        layout: layout(text, root),
        unit: json_unit(text, root),
        json: matches!(
            root.kind,
            Kind::Mapping(Style::Flow, _) | Kind::Sequence(Style::Flow, _)
        ),
        edits: Vec::new(),
    };
    if editor.change(root, new, &Place::Root).is_some() {
        let edited = editor.apply();
        if parse(&edited).as_ref() == Some(new) {
            return Rewritten {
                text: edited,
                anew: false,
            };
        }
    }
    let head = &text[..line_start(text, root.span.start)];
    let body = if editor.json {
        emit::pretty_json(new, editor.unit.unwrap_or("  ")) + "\n"
    } else {
        emit::document(new, editor.layout)
    };
    Rewritten {
        text: format!("{head}{}", with_newlines_of(text, body)),
        anew: true,
    }
}

/// Where the node stands whose value changes.
enum Place {
    /// The document itself.
    Root,
    /// Behind the colon of a key of a block mapping.
    Value {
        /// The byte behind the colon.
        start: usize,
        /// Column of the key.
        indent: usize,
    },
    /// Behind the dash of a block sequence.
    Item {
        /// The byte behind the dash.
        start: usize,
    },
    /// In brackets.
    Flow,
}

struct Edit {
    range: Range<usize>,
    text: String,
}

struct Editor<'t> {
    text: &'t str,
    layout: Layout,
    /// One step of indentation in JSON; none if all of it stands on one line.
    unit: Option<&'t str>,
    json: bool,
    edits: Vec<Edit>,
}

/// Methods return `None` where a change can't be made in place.
impl Editor<'_> {
    fn change(&mut self, node: &Node, new: &Value, place: &Place) -> Option<()> {
        let old = node.to_value();
        if old == *new {
            return Some(());
        }
        let edits = self.edits.len();
        let inside = match (&node.kind, old, new) {
            (Kind::Mapping(style, entries), _, Value::Object(map)) => {
                self.mapping(*style, entries, map)
            }
            (Kind::Sequence(style, items), Value::Array(old), Value::Array(new)) => {
                self.sequence(*style, node, items, &old, new)
            }
            _ => None,
        };
        inside.or_else(|| {
            self.edits.truncate(edits);
            self.replace(node, new, place)
        })
    }

    fn replace(&mut self, node: &Node, new: &Value, place: &Place) -> Option<()> {
        if let Some(text) = self.requoted(node, new) {
            self.push(node.span.clone(), text);
            return Some(());
        }
        match *place {
            Place::Root => None,
            Place::Flow if node.span.is_empty() => None,
            Place::Flow => {
                let start = line_start(self.text, node.span.start);
                let line = &self.text[start..node.span.start];
                let indent = self
                    .unit
                    .map(|_| &line[..line.len() - line.trim_start().len()]);
                self.push(node.span.clone(), self.flow(new, indent));
                Some(())
            }
            Place::Item { .. } if new.is_array() || new.is_object() => None,
            Place::Item { start } => {
                self.push(
                    start..node.span.end.max(start),
                    format!(" {}", emit::inline(new)),
                );
                Some(())
            }
            Place::Value { start, indent } => {
                let end = node.span.end.max(start);
                let line_end = line_end(self.text, end);
                let commented = !self.text[end..line_end].trim().is_empty();
                let mut rendered = String::new();
                emit::after_colon(new, indent, self.layout, &mut rendered);
                let rendered = rendered.strip_suffix('\n').unwrap_or(&rendered);
                if rendered.starts_with('\n') {
                    // The new lines go below the key's, whose comment stays.
                    let behind = end + self.text[end..line_end].trim_end().len();
                    self.push(start..end, String::new());
                    self.push(behind..behind, rendered.to_owned());
                } else if commented && rendered.contains('\n') {
                    self.push(start..end, format!(" {}", emit::inline(new)));
                } else {
                    self.push(start..end, rendered.to_owned());
                }
                Some(())
            }
        }
    }

    /// The new text in the quotes of the old one, so that a text that is changed back is what it
    /// was.
    fn requoted(&self, node: &Node, new: &Value) -> Option<String> {
        let (Kind::Scalar(Value::String(_)), Value::String(new)) = (&node.kind, new) else {
            return None;
        };
        match self.text[node.span.clone()].as_bytes().first()? {
            b'\'' if !new.contains(char::is_control) => {
                Some(format!("'{}'", new.replace('\'', "''")))
            }
            b'"' => Some(Value::String(new.clone()).to_string()),
            _ => None,
        }
    }

    fn mapping(&mut self, style: Style, entries: &[Entry], new: &Map<String, Value>) -> Option<()> {
        let repeated = |(index, entry): (usize, &Entry)| {
            entries[..index].iter().any(|other| other.key == entry.key)
        };
        if entries.iter().any(|entry| entry.merge) || entries.iter().enumerate().any(repeated) {
            return None;
        }
        let parts: Vec<Part> = entries.iter().map(|entry| self.entry_part(entry)).collect();
        let kept: Vec<bool> = entries
            .iter()
            .map(|entry| new.contains_key(&entry.key))
            .collect();
        let last_kept = kept.iter().rposition(|kept| *kept)?;
        // New keys follow the key that they follow in the new value.
        let mut additions: Vec<Vec<(&String, &Value)>> = vec![Vec::new(); entries.len()];
        let mut previous = None;
        for (key, value) in new {
            match entries.iter().position(|entry| entry.key == *key) {
                Some(index) => previous = Some(index),
                None => additions[previous.unwrap_or(last_kept)].push((key, value)),
            }
        }
        let indent = column(self.text, parts[0].start);
        self.delete(style, &parts, &kept)?;
        for (index, entry) in entries.iter().enumerate().filter(|(index, _)| kept[*index]) {
            let place = match style {
                Style::Block => Place::Value {
                    start: self.colon(entry)?,
                    indent,
                },
                Style::Flow => Place::Flow,
            };
            self.change(&entry.value, &new[&entry.key], &place)?;
            for (key, value) in &additions[index] {
                let mut text = String::new();
                match style {
                    Style::Block => {
                        text.extend(std::iter::repeat_n(' ', indent));
                        emit::entry(key, value, indent, self.layout, &mut text);
                    }
                    Style::Flow => {
                        emit::flow(&Value::String((*key).clone()), &mut text);
                        text.push_str(": ");
                        text.push_str(&self.flow(value, self.line_indent(parts[index].start)));
                    }
                }
                self.insert_after(style, &parts[index], text);
            }
        }
        Some(())
    }

    fn sequence(
        &mut self,
        style: Style,
        node: &Node,
        items: &[Node],
        old: &[Value],
        new: &[Value],
    ) -> Option<()> {
        let pairs = align::pairs(old, new)?;
        let first_kept = pairs.first()?.0;
        let parts = match style {
            Style::Block => self.dashes(node, items)?,
            Style::Flow => items
                .iter()
                .map(|item| Part {
                    start: item.span.start,
                    end: item.span.end,
                })
                .collect(),
        };
        let mut kept = vec![false; items.len()];
        pairs.iter().for_each(|&(index, _)| kept[index] = true);
        self.delete(style, &parts, &kept)?;
        let indent = column(self.text, parts[0].start);
        let render = |editor: &Self, value: &Value, near: usize| {
            let mut text = String::new();
            match style {
                Style::Block => {
                    text.extend(std::iter::repeat_n(' ', indent));
                    emit::item(value, indent, editor.layout, &mut text);
                }
                Style::Flow => text.push_str(&editor.flow(value, editor.line_indent(near))),
            }
            text
        };
        let mut previous = None;
        let mut pairs = pairs.into_iter().peekable();
        for (index, value) in new.iter().enumerate() {
            if let Some((at, _)) = pairs.next_if(|pair| pair.1 == index) {
                let place = match style {
                    Style::Block => Place::Item {
                        start: parts[at].start + 1,
                    },
                    Style::Flow => Place::Flow,
                };
                self.change(&items[at], value, &place)?;
                previous = Some(at);
            } else {
                let near = previous.unwrap_or(first_kept);
                let text = render(self, value, parts[near].start);
                match previous {
                    Some(previous) => self.insert_after(style, &parts[previous], text),
                    None => self.insert_before(style, &parts[first_kept], text)?,
                }
            }
        }
        Some(())
    }

    /// Removes the parts that are not kept.
    fn delete(&mut self, style: Style, parts: &[Part], kept: &[bool]) -> Option<()> {
        let first_kept = kept.iter().position(|kept| *kept)?;
        // The first part may share its line with what holds it (`- name: x`): then all up to the
        // first kept one goes.
        let inline = !self.stands_alone(parts[0].start);
        let mut from = 0;
        if first_kept > 0 && (inline || style == Style::Flow) {
            self.push(parts[0].start..parts[first_kept].start, String::new());
            from = first_kept;
        }
        let mut last_kept = first_kept;
        for index in from..parts.len() {
            if kept[index] {
                last_kept = index;
            } else if style == Style::Flow {
                // One edit for a run of removed parts, the comma before it included.
                if kept.get(index + 1).is_none_or(|kept| *kept) {
                    self.push(parts[last_kept].end..parts[index].end, String::new());
                }
            } else if self.stands_alone(parts[index].start) {
                let range = line_start(self.text, parts[index].start)
                    ..next_line(self.text, parts[index].end);
                self.push(range, String::new());
            } else {
                return None;
            }
        }
        Some(())
    }

    /// Adds a rendered part behind another; block parts come with indentation and line feed.
    fn insert_after(&mut self, style: Style, part: &Part, text: String) {
        match style {
            Style::Flow => {
                let text = format!(",{}{text}", self.flow_separator(part.start));
                self.push(part.end..part.end, text);
            }
            Style::Block => {
                let at = next_line(self.text, part.end);
                let unfinished = at == self.text.len() && !self.text.ends_with('\n');
                let text = if unfinished {
                    format!("\n{}", text.strip_suffix('\n').unwrap_or(&text))
                } else {
                    text
                };
                self.push(at..at, text);
            }
        }
    }

    /// Adds a rendered part before the first that stays.
    fn insert_before(&mut self, style: Style, part: &Part, text: String) -> Option<()> {
        let at = part.start;
        match style {
            Style::Flow => {
                let text = format!("{text},{}", self.flow_separator(at));
                self.push(at..at, text);
            }
            Style::Block if self.stands_alone(at) => {
                // Comments right above stay with the part that they were written for.
                let mut at = line_start(self.text, at);
                while at > 0 {
                    let above = line_start(self.text, at - 1);
                    let line = self.text[above..at].trim_start();
                    if !line.starts_with('#') {
                        break;
                    }
                    at = above;
                }
                self.push(at..at, text);
            }
            // In a list that is itself an item.
            Style::Block => return None,
        }
        Some(())
    }

    fn entry_part(&self, entry: &Entry) -> Part {
        let colon = self.colon(entry).unwrap_or(entry.key_span.end);
        Part {
            start: entry.key_span.start,
            end: entry.value.span.end.max(colon),
        }
    }

    /// The byte behind an entry's colon.
    fn colon(&self, entry: &Entry) -> Option<usize> {
        let rest = &self.text[entry.key_span.end..];
        let trimmed = rest.trim_start_matches([' ', '\t']);
        trimmed
            .starts_with(':')
            .then(|| entry.key_span.end + rest.len() - trimmed.len() + 1)
    }

    /// The items of a block sequence, from their dashes on.
    fn dashes(&self, node: &Node, items: &[Node]) -> Option<Vec<Part>> {
        let indent = column(self.text, node.span.start);
        let is_dash = |at: usize| {
            let after = self.text.as_bytes().get(at + 1);
            self.text.as_bytes().get(at) == Some(&b'-') && after.is_none_or(u8::is_ascii_whitespace)
        };
        let mut parts: Vec<Part> = Vec::with_capacity(items.len());
        for item in items {
            let floor = parts.last().map_or(node.span.start, |part| part.end);
            // The dash stands on the item's own line, or above it (`-` alone, then comments).
            let mut line = line_start(self.text, item.span.start);
            while !(line + indent >= floor
                && line + indent <= item.span.start
                && is_dash(line + indent))
            {
                if line <= floor {
                    return None;
                }
                line = line_start(self.text, line - 1);
            }
            let start = line + indent;
            parts.push(Part {
                start,
                end: item.span.end.max(start + 1),
            });
        }
        Some(parts)
    }

    /// A value in brackets: over several lines, with the given indentation, where JSON is written
    /// like that.
    fn flow(&self, value: &Value, indent: Option<&str>) -> String {
        match (self.unit, indent) {
            (Some(unit), Some(indent)) => {
                emit::pretty_json(value, unit).replace('\n', &format!("\n{indent}"))
            }
            _ if self.is_dense() => value.to_string(),
            _ => {
                let mut out = String::new();
                emit::flow(value, &mut out);
                out
            }
        }
    }

    /// Whether the document is JSON without blanks.
    fn is_dense(&self) -> bool {
        self.json && !self.text.contains("\": ")
    }

    /// The indentation of the part that starts with the byte `at`; none if something stands before
    /// it on its line.
    fn line_indent(&self, at: usize) -> Option<&str> {
        self.stands_alone(at)
            .then(|| &self.text[line_start(self.text, at)..at])
    }

    /// What separates a part from the next besides the comma.
    fn flow_separator(&self, at: usize) -> String {
        if self.stands_alone(at) {
            format!("\n{}", &self.text[line_start(self.text, at)..at])
        } else if self.is_dense() {
            String::new()
        } else {
            " ".to_owned()
        }
    }

    fn stands_alone(&self, at: usize) -> bool {
        self.text[line_start(self.text, at)..at].trim().is_empty()
    }

    fn push(&mut self, range: Range<usize>, text: String) {
        self.edits.push(Edit { range, text });
    }

    fn apply(&mut self) -> String {
        // Edits at one place keep the order in which they were made: inner parts first.
        self.edits.sort_by_key(|edit| edit.range.start);
        let mut out = String::with_capacity(self.text.len() + 4096);
        let mut at = 0;
        for edit in &self.edits {
            out.push_str(&self.text[at..edit.range.start.max(at)]);
            out.push_str(&with_newlines_of(self.text, edit.text.clone()));
            at = edit.range.end.max(at);
        }
        out.push_str(&self.text[at..]);
        let tail_removed = self
            .edits
            .last()
            .is_some_and(|edit| edit.range.end == self.text.len() && edit.text.is_empty());
        if tail_removed && !self.text.ends_with('\n') && out.ends_with('\n') {
            out.pop();
        }
        out
    }
}

/// Bytes of an entry or item, its key or dash included.
struct Part {
    start: usize,
    end: usize,
}

#[cfg(test)]
mod tests;
