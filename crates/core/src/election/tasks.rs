//! Who runs which input: the pure part of sharing collectors out among agents.
//!
//! Agents poll every few seconds with the inputs that they can run and the list that they were last
//! told; the answer is the list of those that they may run. An agent that has begun to run an input
//! never stops it again before it restarts, so the whole art is to know which inputs *may* be
//! running, and never to give those to anybody else.
//!
//! [`Election`] is a state machine: `(state, event, now) → (state, answer)`. It has no clock; `now`
//! is the time since an arbitrary origin and should come from a clock that doesn't jump.
//! docs/election.md explains the model and why its promises hold.

mod agent;
mod answer;
mod balance;
mod callers;
mod namesakes;
mod offers;
mod page;
mod poll;
mod polling;
mod relearn;
mod report;
mod state;
mod view;

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

pub use answer::Allowed;
pub use page::{AgentRow, BadCursor, Cursor, InputRow, Page, PageSize, Standing};
pub use poll::{BadPoll, Field, Poll};
pub use report::{Event, Gauges, Totals};
pub use state::Election;

use std::sync::Arc;

/// An agent's number. Never reused, so that a stale one can't mean somebody else.
type AgentId = u64;
/// An input's number. Reused after the input was forgotten.
type InputId = u32;
/// An offer list's number. Reused likewise.
type ListId = u32;

/// How an [`Election`] behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// An agent that is silent for longer is dead: its inputs go to others. Two polls and some
    /// slack, or more.
    pub agent_timeout: Duration,
    /// How long a new decision maker listens to what agents run before it gives out anything.
    pub relearning: Duration,
    /// How often agents poll. Agents decide this, not the operator; here it is only used to judge
    /// what is unusual.
    pub poll_interval: Duration,
    /// For how long after it joined an agent's inputs may be given to agents that join later, as
    /// long as none of them can have started. Zero turns this off.
    pub settling: Duration,
    /// What a caller can cost at most.
    pub limits: Limits,
}

/// Bounds on what callers may send and what is kept for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a body.
    pub body: usize,
    /// Bytes of an agent's id.
    pub id: usize,
    /// Bytes of an input's name.
    pub name: usize,
    /// Inputs of one agent.
    pub inputs_of_agent: usize,
    /// Agents at once.
    pub agents: usize,
    /// Different input names at once.
    pub inputs: usize,
    /// Entries of all different offer lists together. Agents with equal lists share one.
    pub entries: usize,
}

/// What is known when an [`Election`] begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Nobody decided before: nothing can be running, so inputs are given out at once.
    Fresh,
    /// Somebody may have decided before (a restart, or another replica): listen first.
    Relearn {
        /// Agents that held all they offer when the last decision maker wrote them down, see
        /// [`Election::full_owners`]. Empty if unknown.
        full_owners: Vec<String>,
    },
}

/// The answer to a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// 200: the inputs that the agent may run.
    Allowed(Arc<Allowed>),
    /// 503: no decision yet. Agents go on as they are and ask again.
    Wait(Wait),
    /// 429: a limit is reached. Agents treat it like [`Wait`](Outcome::Wait).
    Refused(Refusal),
}

/// Why there is no decision yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The decision maker has just begun, and listens.
    Listening {
        /// How long the decision will take at most.
        remaining: Duration,
    },
    /// An agent with this id was heard from somebody else.
    Namesake {
        /// How long until it is clear who this is, at most.
        remaining: Duration,
    },
}

/// Something of which there is only so much for all agents together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// [`Limits::agents`]
    Agents,
    /// [`Limits::inputs`]
    Inputs,
    /// [`Limits::entries`]
    Entries,
}

/// Which limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no more for anybody.
    #[error("there would be more than {limit} {of}, which is the limit for all agents together")]
    Full {
        /// Of what.
        of: Resource,
        /// How much there is.
        limit: usize,
    },
    /// There is some left, but not that much for one caller.
    #[error(
        "agents of your address have {has} {of} and want {more} more; with what is left, one address may have {may}"
    )]
    Share {
        /// Of what.
        of: Resource,
        /// How much the caller has.
        has: usize,
        /// How much more it wants.
        more: usize,
        /// How much it may have.
        may: usize,
    },
    /// Too many callers have agents of one id.
    #[error(
        "{0} addresses have an agent with this id, which is the limit; give agents different host names"
    )]
    Namesakes(usize),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            agent_timeout: Duration::from_secs(10),
            relearning: Duration::from_secs(10),
            poll_interval: Duration::from_secs(4),
            settling: Duration::from_secs(12),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 1 << 20,
            // The longest DNS name.
            id: 253,
            name: 253,
            inputs_of_agent: 2_000,
            agents: 20_000,
            inputs: 20_000,
            entries: 500_000,
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wait::Listening { remaining } => write!(
                f,
                "this operator has just begun to decide and listens first to what agents run, for {} ms more; keep what you have",
                remaining.as_millis()
            ),
            Wait::Namesake { remaining } => write!(
                f,
                "an agent with this id polls from another address; whether there are two is clear in {} ms at most; keep what you have",
                remaining.as_millis()
            ),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Resource::Agents => "agents",
            Resource::Inputs => "different names of inputs",
            Resource::Entries => "entries in different lists of inputs",
        })
    }
}
