//! What an agent says at each poll, read and bounded.

use std::fmt;

use crate::json::{self, Kind, Reader, Str};

use super::Limits;
use crate::election::text::unprintable;

/// One poll of an agent, borrowed from the request's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll<'a> {
    id: Str<'a>,
    /// Sorted by name, each name once.
    offers: Vec<(Str<'a>, u32)>,
    running: Vec<Str<'a>>,
}

/// Why a body is not a poll; the answer is 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPoll {
    /// The body isn't UTF-8.
    #[error("the body is not UTF-8 (byte {offset}), expected a JSON object")]
    NotUtf8 {
        /// Where the first wrong byte is.
        offset: usize,
    },
    /// The body isn't the JSON that was expected; the source says where and why.
    #[error("failed to read the poll")]
    Json(#[source] Box<json::Error>),
    /// No `id`, or an empty one.
    #[error("`id` is missing or empty, expected the agent's host name")]
    NoId,
    /// A text or a list is longer than the limit.
    #[error("{what} has {found} {unit}, expected at most {limit}")]
    TooLong {
        /// What is too long.
        what: Field,
        /// How long it is.
        found: usize,
        /// How long it may be.
        limit: usize,
        /// What was counted.
        unit: &'static str,
    },
    /// A character that can't be seen, or that would steer a terminal.
    #[error("{what} has the character U+{:04X} at byte {offset}, expected only ones that are seen as they are", u32::from(*found))]
    Unprintable {
        /// What has it.
        what: Field,
        /// The character.
        found: char,
        /// The byte that it begins with.
        offset: usize,
    },
    /// An input without a name.
    #[error("{0} has an input with an empty name, expected names such as `mysql`")]
    EmptyName(Field),
}

/// A part of a poll, as messages name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The whole body.
    Body,
    /// `id`
    Id,
    /// `application_inputs`
    Offers,
    /// `running_inputs`
    Running,
    /// The name of an input.
    Name,
}

impl<'a> Poll<'a> {
    /// Reads the body of a poll.
    ///
    /// `id` is required. `application_inputs` and `running_inputs` may be absent or `null`; other
    /// fields (`namespace`, `timestamp` and what newer agents may add) are stepped over. A score is
    /// any number; it is cut to 0 ..= 1,000,000.
    ///
    /// # Errors
    /// [`BadPoll`] if the body is not such an object or exceeds `limits`.
    pub fn parse(body: &'a [u8], limits: &Limits) -> Result<Self, BadPoll> {
        within(Field::Body, body.len(), limits.body, "bytes")?;
        let text = std::str::from_utf8(body).map_err(|error| BadPoll::NotUtf8 {
            offset: error.valid_up_to(),
        })?;
        let mut id = None;
        let mut offers = Vec::new();
        let mut running = Vec::new();
        let mut reader = Reader::new(text);
        // `null` reads as an object without fields, and so ends as a poll without id.
        reader
            .object(|reader, key| match key {
                "id" => {
                    id = reader.string()?;
                    Ok(())
                }
                "application_inputs" => {
                    offers.clear();
                    reader.entries(|reader, name| {
                        offers.push((name, score(reader)?));
                        Ok(())
                    })
                }
                "running_inputs" => {
                    running.clear();
                    reader.array(|reader, _| {
                        running.extend(reader.string()?);
                        Ok(())
                    })
                }
                _ => reader.skip().map(|_| ()),
            })
            .and_then(|()| reader.end())
            .map_err(BadPoll::Json)?;
        Self::new(id.unwrap_or_default(), offers, running, limits)
    }

    /// A poll from its parts: the agent's id, its inputs with their scores, and its current target
    /// list.
    ///
    /// # Errors
    /// [`BadPoll`] if the id is empty or a part exceeds `limits`.
    pub fn new(
        id: Str<'a>,
        mut offers: Vec<(Str<'a>, u32)>,
        running: Vec<Str<'a>>,
        limits: &Limits,
    ) -> Result<Self, BadPoll> {
        if id.is_empty() {
            return Err(BadPoll::NoId);
        }
        within(Field::Id, id.len(), limits.id, "bytes")?;
        printable(Field::Id, &id)?;
        within(
            Field::Offers,
            offers.len(),
            limits.inputs_of_agent,
            "inputs",
        )?;
        within(
            Field::Running,
            running.len(),
            limits.inputs_of_agent,
            "inputs",
        )?;
        for (field, name) in offers
            .iter()
            .map(|(name, _)| (Field::Offers, name))
            .chain(running.iter().map(|name| (Field::Running, name)))
        {
            within(Field::Name, name.len(), limits.name, "bytes")?;
            if name.is_empty() {
                return Err(BadPoll::EmptyName(field));
            }
            printable(Field::Name, name)?;
        }
        // Agents send their map sorted; anything else is put in order here. Of repeated names the
        // last one wins.
        if !offers.is_sorted_by(|(a, _), (b, _)| a < b) {
            offers.reverse();
            offers.sort_by(|(a, _), (b, _)| a.cmp(b));
            offers.dedup_by(|(later, _), (earlier, _)| later == earlier);
        }
        Ok(Self {
            id,
            offers,
            running,
        })
    }

    /// The agent's id: its host name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The inputs that the agent can run, with their scores; sorted by name, each once.
    pub fn offers(&self) -> impl ExactSizeIterator<Item = (&str, u32)> + Clone {
        self.offers.iter().map(|(name, score)| (&**name, *score))
    }

    /// The agent's current target list, in the agent's order.
    pub fn running(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.running.iter().map(|name| &**name)
    }
}

/// The highest score that counts. Real ones are the numbers of configured instances.
pub(super) const MAX_SCORE: u32 = 1_000_000;

fn score(reader: &mut Reader<'_>) -> json::Result<u32> {
    // The text is kept because a number may be larger than any integer type.
    let number = match reader.kind()? {
        Kind::Number => reader.skip()?,
        // Says which type was found, and reads `null` as Go does: as zero.
        _ => return reader.integer().map(|_| 0),
    };
    Ok(match number.parse::<u32>() {
        Ok(score) => score.min(MAX_SCORE),
        // The cast saturates, so minus infinity becomes 0.
        Err(_) => (number.parse::<f64>().unwrap_or(0.0) as u32).min(MAX_SCORE),
    })
}

fn within(what: Field, found: usize, limit: usize, unit: &'static str) -> Result<(), BadPoll> {
    if found <= limit {
        return Ok(());
    }
    Err(BadPoll::TooLong {
        what,
        found,
        limit,
        unit,
    })
}

fn printable(what: Field, text: &str) -> Result<(), BadPoll> {
    match unprintable(text) {
        None => Ok(()),
        Some((offset, found)) => Err(BadPoll::Unprintable {
            what,
            found,
            offset,
        }),
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Field::Body => "the body",
            Field::Id => "`id`",
            Field::Offers => "`application_inputs`",
            Field::Running => "`running_inputs`",
            Field::Name => "the name of an input",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    fn parse(body: &str) -> String {
        match Poll::parse(body.as_bytes(), &Limits::default()) {
            Ok(poll) => {
                let offers: Vec<_> = poll.offers().collect();
                let running: Vec<_> = poll.running().collect();
                format!("{} {offers:?} {running:?}", poll.id())
            }
            Err(error) => match error.source() {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            },
        }
    }

    #[test]
    fn what_agents_send() {
        for (body, expected) in [
            (
                r#"{"namespace":"N/A","id":"a","timestamp":1,"application_inputs":{"mysql":2,"redis":1},"running_inputs":["redis","mysql"]}"#,
                r#"a [("mysql", 2), ("redis", 1)] ["redis", "mysql"]"#,
            ),
            (
                r#"{"id":"a","running_inputs":null,"new":{"x":[1]}}"#,
                "a [] []",
            ),
            (r#"{"id":"a","application_inputs":null}"#, "a [] []"),
            (
                r#"{"id":"a","application_inputs":{"z":-4,"b":1e30,"a":99999999999999999999999,"c":2.9,"z":null,"b":7}}"#,
                r#"a [("a", 1000000), ("b", 7), ("c", 2), ("z", 0)] []"#,
            ),
            (
                r#"{"id":"a","application_inputs":{"z":-4}}"#,
                r#"a [("z", 0)] []"#,
            ),
            (r#"{"id":"\u0061"}"#, "a [] []"),
        ] {
            assert_eq!(parse(body), expected, "{body}");
        }
    }

    #[test]
    fn what_is_refused() {
        let long = "x".repeat(300);
        for (body, expected) in [
            (
                "",
                "failed to read the poll: the text ends inside a value (byte 0)",
            ),
            (
                "null",
                "`id` is missing or empty, expected the agent's host name",
            ),
            (
                "{}",
                "`id` is missing or empty, expected the agent's host name",
            ),
            (
                r#"{"id":""}"#,
                "`id` is missing or empty, expected the agent's host name",
            ),
            (
                "[]",
                "failed to read the poll: expected an object, found a list (byte 0)",
            ),
            (
                r#"{"id":"a","application_inputs":{"mysql":"2"}}"#,
                "failed to read the poll: `application_inputs.mysql`: expected a number, found a string (byte 40)",
            ),
            (
                r#"{"id":"a","application_inputs":{"":2}}"#,
                "`application_inputs` has an input with an empty name, expected names such as `mysql`",
            ),
            (
                &format!(r#"{{"id":"{long}"}}"#),
                "`id` has 300 bytes, expected at most 253",
            ),
            (
                &format!(r#"{{"id":"a","running_inputs":["{long}"]}}"#),
                "the name of an input has 300 bytes, expected at most 253",
            ),
            (
                r#"{"id":"a\u001b[2J"}"#,
                "`id` has the character U+001B at byte 1, expected only ones that are seen as they are",
            ),
            (
                r#"{"id":"a","application_inputs":{"my\u202esql":2}}"#,
                "the name of an input has the character U+202E at byte 2, expected only ones that are seen as they are",
            ),
            (
                r#"{"id":"a","running_inputs":["\u00ad"]}"#,
                "the name of an input has the character U+00AD at byte 0, expected only ones that are seen as they are",
            ),
            (
                r#"{"id":"a"} x"#,
                "failed to read the poll: something follows the document (byte 11)",
            ),
        ] {
            assert_eq!(parse(body), expected, "{body}");
        }
        let few = Limits {
            inputs_of_agent: 1,
            body: 60,
            ..Limits::default()
        };
        let refused = |body: &str| Poll::parse(body.as_bytes(), &few).unwrap_err().to_string();
        assert_eq!(
            refused(r#"{"id":"a","application_inputs":{"a":1,"b":1}}"#),
            "`application_inputs` has 2 inputs, expected at most 1"
        );
        assert_eq!(
            refused(&long),
            "the body has 300 bytes, expected at most 60"
        );
        let error = Poll::parse(&[b'{', 0xff], &few).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the body is not UTF-8 (byte 1), expected a JSON object"
        );
    }
}
