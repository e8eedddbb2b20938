//! A page of the table of agents.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::election::Caller;

/// A part of everything about an election, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// `relearning` or `deciding`.
    pub phase: &'static str,
    /// Live agents, by id.
    pub agents: Vec<AgentRow>,
    /// Inputs that nobody has, by name.
    pub unassigned: Vec<Arc<str>>,
    /// Where the next page begins; nothing if this is the last one.
    pub next: Option<Cursor>,
}

/// How much a page may show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSize {
    /// Agents and unassigned inputs.
    pub rows: usize,
    /// Bytes of JSON, roughly: the row that exceeds it is the last.
    pub bytes: usize,
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor {
    /// With the first agent.
    Start,
    /// After this agent, which may be gone.
    Agent {
        /// Its id.
        id: String,
        /// Its number, which tells it from others of this id.
        number: u64,
    },
    /// After this unassigned input.
    Unassigned(u32),
}

/// Not what a page said that the next one begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected what the page before gave as `continue`")]
pub struct BadCursor;

/// One agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRow {
    /// Its host name.
    pub id: Arc<str>,
    /// Tells it from others of this id.
    pub number: u64,
    /// Who it is heard from.
    pub caller: Caller,
    /// Milliseconds since its last poll.
    pub last_seen_ms: u64,
    /// The sum of its inputs' scores.
    pub load: u64,
    /// Number of inputs it offers.
    pub offers: usize,
    /// Whether two agents seem to share this id.
    pub shared_id: bool,
    /// What it has, by name.
    pub inputs: Vec<InputRow>,
}

/// One input of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputRow {
    /// Its name.
    pub name: Arc<str>,
    /// Its score.
    pub score: u32,
    /// How firmly the agent has it.
    pub standing: Standing,
}

/// How firmly an agent has an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has been told, or will be at its next poll, but can't have started it.
    Tentative,
    /// It may have started it.
    Active,
    /// Taken back before it can have started it; goes to another agent once this one has confirmed.
    TakenBack,
    /// Meant for this agent, once another one has confirmed that it no longer has it.
    Expected,
}

impl Standing {
    /// `tentative`, `active`, `taken back` or `expected`.
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Tentative => "tentative",
            Standing::Active => "active",
            Standing::TakenBack => "taken back",
            Standing::Expected => "expected",
        }
    }
}

impl Serialize for Standing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for InputRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("InputRow", 3)?;
        out.serialize_field("name", &*self.name)?;
        out.serialize_field("score", &self.score)?;
        out.serialize_field("standing", &self.standing)?;
        out.end()
    }
}

impl Serialize for AgentRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("AgentRow", 7)?;
        out.serialize_field("id", &*self.id)?;
        out.serialize_field("from", &format_args!("{}", self.caller))?;
        out.serialize_field("last_seen_ms", &self.last_seen_ms)?;
        out.serialize_field("load", &self.load)?;
        out.serialize_field("offers", &self.offers)?;
        out.serialize_field("shared_id", &self.shared_id)?;
        out.serialize_field("inputs", &self.inputs)?;
        out.end()
    }
}

impl Page {
    pub(super) fn last_agent(&self) -> Option<Cursor> {
        self.agents.last().map(|agent| Cursor::Agent {
            id: agent.id.as_ref().to_owned(),
            number: agent.number,
        })
    }
}

/// A text that needs no escaping in a URL.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cursor::Start => Ok(()),
            Cursor::Agent { id, number } => {
                write!(f, "a-{number}-")?;
                id.bytes().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Cursor::Unassigned(input) => write!(f, "u-{input}"),
        }
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        if text.is_empty() {
            return Ok(Cursor::Start);
        }
        if let Some(input) = text.strip_prefix("u-") {
            return Ok(Cursor::Unassigned(input.parse().map_err(|_| BadCursor)?));
        }
        let rest = text.strip_prefix("a-").ok_or(BadCursor)?;
        let (number, id) = rest.split_once('-').ok_or(BadCursor)?;
        let digits: Option<Vec<u8>> = (id.chars())
            .map(|digit| digit.to_digit(16).map(|digit| digit as u8))
            .collect();
        let digits = digits.filter(|digits| digits.len() % 2 == 0);
        let bytes = digits.ok_or(BadCursor)?;
        let bytes = bytes.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        Ok(Cursor::Agent {
            id: String::from_utf8(bytes).map_err(|_| BadCursor)?,
            number: number.parse().map_err(|_| BadCursor)?,
        })
    }
}

impl Serialize for Page {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = 3 + usize::from(self.next.is_some());
        let mut out = serializer.serialize_struct("Page", fields)?;
        out.serialize_field("phase", self.phase)?;
        out.serialize_field("agents", &self.agents)?;
        let unassigned: Vec<&str> = self.unassigned.iter().map(|name| &**name).collect();
        out.serialize_field("unassigned", &unassigned)?;
        if let Some(next) = &self.next {
            out.serialize_field("continue", &format_args!("{next}"))?;
        }
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_they_are_written() {
        let agent = |id: &str, number| Cursor::Agent {
            id: id.to_owned(),
            number,
        };
        for cursor in [
            Cursor::Start,
            agent("node-1", 7),
            agent("节点 &", u64::MAX),
            Cursor::Unassigned(3),
        ] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for bad in [
            "x", "a-", "a-1", "a-x-61", "a-1-6", "a-1-zz", "a-1-ff", "u-", "u--1",
        ] {
            assert_eq!(bad.parse::<Cursor>(), Err(BadCursor), "{bad}");
        }
    }
}
