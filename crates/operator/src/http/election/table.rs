//! The table of agents as it is asked for, a page at a time, and how it looks.

use std::borrow::Cow;
use std::fmt::Write as _;

use datakit_operator_core::election::tasks::{AgentRow, Cursor, Page, PageSize};
use datakit_operator_core::election::text::escaped;
use http::header::ACCEPT;
use http::{HeaderMap, Method, Request, StatusCode};
use hyper::body::Bytes;
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use super::replicas::Origin;
use super::{ELECTION_PATH, Election};
use crate::election::Decision;
use crate::election::forward::Forwarded;
use crate::http::query::Query;
use crate::http::respond::{self, JSON};
use crate::listen::{Answer, Received};

/// Rows of a page, unless another number is asked for.
const ROWS: usize = 500;
/// Rows of a page at most.
const MAX_ROWS: usize = 5_000;
/// A page ends with the row that takes it beyond so many bytes. One row has 2,000 inputs of 253
/// bytes at most, so that no answer is larger than 4 MiB.
const BYTES: usize = 1 << 20;

/// How task election stands, in short.
#[derive(Debug, Serialize)]
#[serde(tag = "decides", rename_all = "camelCase")]
pub enum Summary {
    /// This replica decides.
    #[serde(rename_all = "camelCase")]
    Here {
        /// `relearning` or `deciding`.
        phase: &'static str,
        /// Agents by id.
        agents: Vec<Agent>,
        /// Whether there are more.
        more_agents: bool,
        /// How many inputs nobody has, of those that were looked at.
        unassigned: usize,
    },
    /// Another one does.
    Elsewhere {
        /// Where it is reached.
        address: String,
    },
    /// Nobody does.
    Nobody {
        /// Why.
        why: String,
    },
}

/// One agent, in short.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// Its host name, as it can be seen.
    pub id: String,
    /// Milliseconds since its last poll.
    pub last_seen_ms: u64,
    /// The sum of its inputs' scores.
    pub load: u64,
    /// How many inputs it has.
    pub inputs: usize,
    /// Whether two agents seem to share this id.
    pub shared_id: bool,
}

impl Election {
    /// How things stand, with at most so many agents.
    #[must_use]
    pub fn summary(&self, rows: usize) -> Summary {
        match self.coordinator.page(&Cursor::Start, size(rows)) {
            Decision::Here(page) => Summary::Here {
                phase: page.phase,
                more_agents: matches!(page.next, Some(Cursor::Agent { .. })),
                unassigned: page.unassigned.len(),
                agents: page.agents.iter().map(Agent::of).collect(),
            },
            Decision::Elsewhere { address } => Summary::Elsewhere {
                address: address.to_string(),
            },
            Decision::Nobody(why) => Summary::Nobody { why },
        }
    }

    pub(super) async fn table(&self, request: &Request<Received>, origin: Origin) -> Answer {
        let query = Query::of(request.uri());
        let (limit, from) = match asked(&query.get("limit"), &query.get("continue")) {
            Ok(asked) => asked,
            Err(line) => return respond::text(StatusCode::BAD_REQUEST, &line),
        };
        match self.coordinator.page(&from, size(limit)) {
            Decision::Here(page) if wants_text(request.headers()) => respond::with_body(
                StatusCode::OK,
                respond::TEXT,
                as_text(self.coordinator.name(), &page),
            ),
            Decision::Here(page) => {
                let json = as_json(self.coordinator.name(), &page);
                respond::with_body(StatusCode::OK, JSON, json)
            }
            undecided @ (Decision::Nobody(_) | Decision::Elsewhere { .. }) => {
                let path = format!("{ELECTION_PATH}?limit={limit}&continue={from}");
                let copy = Forwarded {
                    method: Method::GET,
                    path: path.into(),
                    client: None,
                    accept: request.headers().get(ACCEPT).cloned(),
                    body: Bytes::new(),
                    hops: 0,
                };
                self.ask_others(undecided, origin, copy).await
            }
        }
    }
}

impl Agent {
    fn of(row: &AgentRow) -> Self {
        Self {
            id: escaped(&row.id).into_owned(),
            last_seen_ms: row.last_seen_ms,
            load: row.load,
            inputs: row.inputs.len(),
            shared_id: row.shared_id,
        }
    }
}

/// What `?limit=&continue=` ask for.
///
/// # Errors
///
/// If they can't be read; the line says what was expected.
fn asked(limit: &str, from: &str) -> Result<(usize, Cursor), String> {
    let rows = match limit {
        "" => Ok(ROWS),
        limit => limit.parse(),
    };
    let rows = rows
        .ok()
        .filter(|rows| (1..=MAX_ROWS).contains(rows))
        .ok_or_else(|| {
            let found: String = limit.chars().take(20).collect();
            format!(
                "`limit` is `{}`, expected a number from 1 to {MAX_ROWS}",
                escaped(&found)
            )
        })?;
    let from = from.parse();
    Ok((rows, from.map_err(|bad| format!("`continue`: {bad}"))?))
}

/// How large a page of so many rows may be.
fn size(rows: usize) -> PageSize {
    PageSize { rows, bytes: BYTES }
}

/// Whether the client wants to see it.
fn wants_text(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.trim_start().starts_with("text/plain"))
}

/// A page for programs.
fn as_json(holder: &str, page: &Page) -> Vec<u8> {
    #[derive(Serialize)]
    struct Held<'a> {
        holder: &'a str,
        #[serde(flatten)]
        page: &'a Page,
    }
    serde_json::to_vec(&Held { holder, page }).unwrap_or_default()
}

/// A page for a terminal: one line an agent, then what nobody has.
fn as_text(holder: &str, page: &Page) -> String {
    let mut rows = vec![[
        "AGENT".to_owned(),
        "LAST SEEN".to_owned(),
        "LOAD".to_owned(),
        "INPUTS".to_owned(),
    ]];
    for agent in &page.agents {
        let inputs: Vec<Cow<'_, str>> = agent
            .inputs
            .iter()
            .map(|input| match input.standing.as_str() {
                "active" => escaped(&input.name),
                standing => Cow::from(format!("{} ({standing})", escaped(&input.name))),
            })
            .collect();
        let shared = if agent.shared_id { " (shared!)" } else { "" };
        rows.push([
            format!("{}{shared}", escaped(&agent.id)),
            format!("{:.1}s ago", agent.last_seen_ms as f64 / 1000.0),
            agent.load.to_string(),
            if inputs.is_empty() {
                "-".to_owned()
            } else {
                inputs.join(", ")
            },
        ]);
    }
    let mut widths = [0; 4];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let mut text = String::new();
    for [agent, seen, load, inputs] in &rows {
        let [a, s, l, _] = widths;
        // A format's width counts characters, of which Chinese ones take two columns.
        let blanks = a.saturating_sub(agent.width());
        let _ = writeln!(
            text,
            "{agent}{:blanks$}  {seen:s$}  {load:>l$}  {inputs}",
            ""
        );
    }
    if !page.unassigned.is_empty() {
        let unassigned: Vec<_> = page.unassigned.iter().map(|name| escaped(name)).collect();
        let _ = writeln!(text, "\nnobody has: {}", unassigned.join(", "));
    }
    let _ = writeln!(text, "\nholder: {}, {}", escaped(holder), page.phase);
    if let Some(next) = &page.next {
        let _ = writeln!(text, "continue: {next}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for() {
        assert_eq!(asked("", ""), Ok((ROWS, Cursor::Start)));
        assert_eq!(asked("5", "u-3"), Ok((5, Cursor::Unassigned(3))));
        for limit in ["0", "5001", "-1", "x", "\u{1b}"] {
            let line = asked(limit, "").unwrap_err();
            assert!(line.ends_with("expected a number from 1 to 5000"), "{line}");
        }
        let line = asked("", "x").unwrap_err();
        assert_eq!(
            line,
            "`continue`: expected what the page before gave as `continue`"
        );
    }
}
