//! JSON documents as trees of [`Node`]s.

use std::ops::Range;

use serde::de::IgnoredAny;
use serde_json::{Number, Value};

use super::SyntaxError;
use super::node::{Entry, Kind, Node, Style};

/// Whether the text may be JSON: its first character opens an object or a list.
pub(super) fn looks_like_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

/// Cuts a text that holds JSON values one after the other, with or without white space between
/// them.
///
/// The ranges cover the text up to the error, if there is one, and all of it otherwise.
pub(super) fn stream(text: &str) -> (Vec<Range<usize>>, Option<SyntaxError>) {
    let mut ranges = Vec::new();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let mut start = 0;
    loop {
        match values.next() {
            Some(Ok(IgnoredAny)) => {
                ranges.push(start..values.byte_offset());
                start = values.byte_offset();
            }
            Some(Err(error)) => return (ranges, Some(syntax_error(text, &error))),
            None => break,
        }
    }
    if let Some(last) = ranges.last_mut() {
        last.end = text.len();
    }
    (ranges, None)
}

/// Parses one value that [`stream`] cut out.
///
/// # Errors
/// If the text is not exactly one JSON value.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    // Checks all of it, so that the walk below needs no error handling of its own.
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| syntax_error(text, &error))?;
    let mut walk = Walk { text, at: 0 };
    walk.node()
        .ok_or_else(|| SyntaxError::at(text, walk.at, "expected a JSON value"))
}

fn syntax_error(text: &str, error: &serde_json::Error) -> SyntaxError {
    let line_start: usize = text
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum();
    // The message ends with the place, which is given in another form.
    let message = error.to_string();
    let message = message
        .rsplit_once(" at line ")
        .map_or(message.as_str(), |(message, _)| message);
    SyntaxError::at(text, line_start + error.column().saturating_sub(1), message)
}

/// Walks over text that is known to be valid JSON.
struct Walk<'t> {
    text: &'t str,
    at: usize,
}

impl Walk<'_> {
    fn node(&mut self) -> Option<Node> {
        self.skip_blank();
        let start = self.at;
        let kind = match self.peek()? {
            b'{' => Kind::Mapping(Style::Flow, self.collection(b'}', Self::entry)?),
            b'[' => Kind::Sequence(Style::Flow, self.collection(b']', Self::node)?),
            _ => Kind::Scalar(self.scalar()?),
        };
        Some(Node {
            span: start..self.at,
            kind,
        })
    }

    fn collection<T>(
        &mut self,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut items = Vec::new();
        self.at += 1;
        loop {
            self.skip_blank();
            match self.peek()? {
                byte if byte == close => break,
                b',' => self.at += 1,
                _ => items.push(item(self)?),
            }
        }
        self.at += 1;
        Some(items)
    }

    fn entry(&mut self) -> Option<Entry> {
        let start = self.at;
        let key = self.scalar()?;
        let key_span = start..self.at;
        self.skip_blank();
        self.at += 1; // the colon
        let value = self.node()?;
        Some(Entry {
            key: key.as_str()?.to_owned(),
            key_span,
            merge: false,
            value,
        })
    }

    fn scalar(&mut self) -> Option<Value> {
        let rest = &self.text.as_bytes()[self.at..];
        let length = if rest.first() == Some(&b'"') {
            let mut escaped = true; // the opening quote closes nothing
            rest.iter().position(|&byte| {
                let closes = byte == b'"' && !escaped;
                escaped = byte == b'\\' && !escaped;
                closes
            })? + 1
        } else {
            rest.iter()
                .position(|byte| b",]} \t\r\n".contains(byte))
                .unwrap_or(rest.len())
        };
        let text = &self.text[self.at..self.at + length];
        self.at += length;
        match serde_json::from_str(text).ok()? {
            // The standard library rounds to the nearest float; serde_json may miss it by one.
            Value::Number(number) if number.is_f64() => text
                .parse()
                .ok()
                .and_then(Number::from_f64)
                .map(Value::Number),
            value => Some(value),
        }
    }

    fn skip_blank(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn streams_are_cut_between_values() {
        let check = |text: &str, expected: &[&str], error: Option<(usize, usize)>| {
            let (ranges, found) = stream(text);
            let texts: Vec<&str> = ranges.into_iter().map(|range| &text[range]).collect();
            assert_eq!(texts, expected, "{text}");
            assert_eq!(
                found.map(|error| (error.line, error.column)),
                error,
                "{text}"
            );
        };
        check("{}", &["{}"], None);
        check(
            "{\"a\": 1}{}\n\n[1]\n",
            &["{\"a\": 1}", "{}", "\n\n[1]\n"],
            None,
        );
        check("{}\n{\"a\" 1}\n", &["{}"], Some((2, 6)));
        check("{}\n---\n{}", &["{}"], Some((2, 2)));
    }

    #[test]
    fn nodes_know_their_place() {
        let text = r#" {"a" : [1, -2.50e3,true , null,{}], "b\"\\": "x\ud83d\ude00,]", "c":[]} "#;
        let node = parse(text).unwrap();
        assert_eq!(
            node.to_value(),
            serde_json::from_str::<Value>(text).unwrap()
        );
        assert_eq!(&text[node.span.clone()], text.trim());
        let Kind::Mapping(Style::Flow, entries) = &node.kind else {
            panic!("{node:?}")
        };
        let places: Vec<_> = entries
            .iter()
            .map(|entry| {
                (
                    &text[entry.key_span.clone()],
                    &text[entry.value.span.clone()],
                )
            })
            .collect();
        assert_eq!(
            places,
            [
                (r#""a""#, "[1, -2.50e3,true , null,{}]"),
                (r#""b\"\\""#, r#""x\ud83d\ude00,]""#),
                (r#""c""#, "[]")
            ]
        );
        assert_eq!(entries[1].value.to_value(), json!("x😀,]"));
    }
}
