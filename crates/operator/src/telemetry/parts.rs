//! How each part of the process is doing, for people who ask.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::mem::discriminant;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use datakit_operator_core::election::text::escaped;
use serde::Serialize;

use crate::clock;

/// A text is no longer than this, in characters.
const LONGEST: usize = 500;

/// How each part is doing, said by itself. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Parts(Arc<Mutex<BTreeMap<&'static str, (State, SystemTime)>>>);

/// How a part is doing, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// The part.
    pub name: &'static str,
    /// `unknown`, `well` or `failing`.
    pub state: &'static str,
    /// Since when it is that.
    #[serde(serialize_with = "clock::rfc3339")]
    pub since: SystemTime,
    /// More about it, or why it is failing.
    pub text: String,
    /// What to do, if it is failing.
    pub remedy: Option<&'static str>,
}

/// How a part is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It has begun and can't tell yet.
    Begun,
    /// Well; the text says more, if there is more to say.
    Well(String),
    /// It doesn't work.
    Failing { why: String, remedy: &'static str },
}

impl Parts {
    /// It has begun, and there is nothing to say yet.
    pub fn begun(&self, part: &'static str) {
        self.enter(part, State::Begun);
    }

    /// It works. The text says more.
    pub fn well(&self, part: &'static str, more: impl Into<String>) {
        self.enter(part, State::Well(more.into()));
    }

    /// It doesn't work: why, and what to do.
    pub fn failing(&self, part: &'static str, why: impl Into<String>, remedy: &'static str) {
        let why = why.into();
        self.enter(part, State::Failing { why, remedy });
    }

    fn enter(&self, part: &'static str, state: State) {
        let now = clock::now();
        let mut parts = self.lock();
        let before = parts.get(part);
        let same = before.filter(|(before, _)| discriminant(before) == discriminant(&state));
        let since = same.map_or(now, |(_, since)| *since);
        parts.insert(part, (state, since));
    }

    /// Each part, in the order of their names.
    #[must_use]
    pub fn all(&self) -> Vec<Part> {
        let parts = self.lock();
        let part = |(name, (state, since)): (&&'static str, &(State, SystemTime))| {
            let (state, text, remedy) = match state {
                State::Begun => ("unknown", "", None),
                State::Well(more) => ("well", more.as_str(), None),
                State::Failing { why, remedy } => ("failing", why.as_str(), Some(*remedy)),
            };
            Part {
                name,
                state,
                since: *since,
                text: shown(text),
                remedy,
            }
        };
        parts.iter().map(part).collect()
    }

    /// One line for each part, in the order of their names.
    #[must_use]
    pub fn lines(&self) -> String {
        let mut lines = String::new();
        for (part, (state, _)) in &*self.lock() {
            let _ = match state {
                State::Begun => writeln!(lines, "[ ]{part} not known yet"),
                State::Well(more) if more.is_empty() => writeln!(lines, "[+]{part} ok"),
                State::Well(more) => writeln!(lines, "[+]{part} ok: {}", shown(more)),
                State::Failing { why, remedy } => {
                    writeln!(lines, "[-]{part} failing: {}; {remedy}", shown(why))
                }
            };
        }
        lines
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, (State, SystemTime)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A text that others may have written, as one line of a bounded length.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(LONGEST).collect();
    escaped(&short).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_a_line() {
        let parts = Parts::default();
        parts.begun("c");
        parts.failing("b", "no\nway", "look");
        parts.well("a", "");
        assert_eq!(
            parts.lines(),
            "[+]a ok\n[-]b failing: no\\u{a}way; look\n[ ]c not known yet\n"
        );
        let since = |name: &str| {
            let all = parts.all();
            let part = all.iter().find(|part| part.name == name).unwrap();
            (part.state, part.since)
        };
        let failing = since("b");
        assert_eq!(failing.0, "failing");
        parts.failing("b", "for another reason", "look");
        assert_eq!(since("b"), failing);
        parts.well("b", "again");
        assert_eq!(since("b").0, "well");
        parts.failing("c", "x".repeat(9_999), "look");
        assert!(parts.lines().len() < 600);
        assert!(parts.lines().contains("[+]b ok: again\n"));
    }
}
