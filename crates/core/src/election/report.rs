//! What an election tells people: events for the log, numbers for metrics, a table.

use std::sync::Arc;

use serde::ser::{Serialize, SerializeStruct, Serializer};

/// Something worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An agent polled for the first time.
    Joined {
        /// Its id.
        agent: Arc<str>,
        /// Whether an agent with this id was declared dead before.
        returned: bool,
    },
    /// An agent was silent for too long.
    Died {
        /// Its id.
        agent: Arc<str>,
        /// How many inputs became free.
        orphaned: usize,
    },
    /// Free inputs were given to an agent.
    Assigned {
        /// Its id.
        agent: Arc<str>,
        /// The inputs, in the order in which they were placed.
        inputs: Vec<Arc<str>>,
    },
    /// An agent's word that it runs these inputs was taken.
    Adopted {
        /// Its id.
        agent: Arc<str>,
        /// The inputs.
        inputs: Vec<Arc<str>>,
    },
    /// An agent says, after a restart of the operator, that it was told to run inputs which another one has.
    Contested {
        /// The agent that doesn't get them.
        agent: Arc<str>,
        /// The inputs.
        inputs: Vec<Arc<str>>,
    },
    /// Inputs that can't have been started were taken back for one that has just joined.
    TakenBack {
        /// From whom.
        from: Arc<str>,
        /// For whom.
        to: Arc<str>,
        /// The inputs.
        inputs: Vec<Arc<str>>,
    },
    /// An agent no longer offers inputs that it had.
    Released {
        /// Its id.
        agent: Arc<str>,
        /// The inputs.
        inputs: Vec<Arc<str>>,
    },
    /// Nobody offers these inputs any more.
    Forgotten {
        /// The inputs.
        inputs: Vec<Arc<str>>,
    },
    /// Two agents seem to have the same id, so both are told to run the same inputs.
    SharedId {
        /// The id.
        agent: Arc<str>,
    },
    /// An id that seemed to be shared no longer does.
    SharedIdEnded {
        /// The id.
        agent: Arc<str>,
    },
    /// Listening is over; from now on inputs are given out.
    Decides {
        /// Agents known at this moment.
        agents: usize,
        /// Inputs that were adopted.
        adopted: usize,
    },
    /// No event and no tick for so long that the operator itself must have been stopped; nobody is declared dead for
    /// what could not be heard in that time.
    Stalled {
        /// How long, in milliseconds.
        milliseconds: u64,
    },
}

/// What has been counted since the election began. Only ever rises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Polls answered with a list.
    pub allowed: u64,
    /// Polls answered "not yet".
    pub waited: u64,
    /// Polls refused because of a limit.
    pub refused: u64,
    /// Agents that polled for the first time.
    pub joined: u64,
    /// Agents declared dead.
    pub died: u64,
    /// Inputs given to an agent.
    pub assigned: u64,
    /// Inputs adopted from what an agent said.
    pub adopted: u64,
    /// Inputs taken back before they can have been started.
    pub moved_tentative: u64,
    /// Inputs taken from a live agent that may run them and still offers them. Zero, or there is a bug.
    pub moved_active: u64,
    /// Inputs that two agents claimed after a restart of the operator.
    pub contested: u64,
    /// Events that were dropped because nobody fetched them.
    pub events_dropped: u64,
}

/// How things stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Live agents.
    pub agents: usize,
    /// Inputs that at least one of them offers.
    pub inputs: usize,
    /// Of these, those in some agent's answers.
    pub assigned: usize,
    /// Of the assigned, those that can't have been started yet.
    pub tentative: usize,
    /// Inputs that nobody has: free, or being taken back.
    pub orphaned: usize,
    /// Ids that two agents seem to share.
    pub shared_ids: usize,
    /// Whether it still listens and gives out nothing.
    pub relearning: bool,
}

/// Everything about an election, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// `relearning` or `deciding`.
    pub phase: &'static str,
    /// All live agents, by id.
    pub agents: Vec<AgentRow>,
    /// Inputs that nobody has, by name.
    pub unassigned: Vec<Arc<str>>,
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRow {
    /// Its host name.
    pub id: Arc<str>,
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
        let mut out = serializer.serialize_struct("AgentRow", 6)?;
        out.serialize_field("id", &*self.id)?;
        out.serialize_field("last_seen_ms", &self.last_seen_ms)?;
        out.serialize_field("load", &self.load)?;
        out.serialize_field("offers", &self.offers)?;
        out.serialize_field("shared_id", &self.shared_id)?;
        out.serialize_field("inputs", &self.inputs)?;
        out.end()
    }
}

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Table", 3)?;
        out.serialize_field("phase", self.phase)?;
        out.serialize_field("agents", &self.agents)?;
        let unassigned: Vec<&str> = self.unassigned.iter().map(|name| &**name).collect();
        out.serialize_field("unassigned", &unassigned)?;
        out.end()
    }
}
