//! What an election tells people: events for the log, numbers for metrics.

use std::sync::Arc;

use crate::election::Caller;

/// Something worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An agent polled for the first time.
    Joined {
        /// Its id.
        agent: Arc<str>,
        /// Who it is heard from.
        caller: Caller,
        /// Whether an agent with this id was declared dead before.
        returned: bool,
    },
    /// An agent was silent for too long where it was, but somebody else who asked in its name
    /// meanwhile takes its place.
    Moved {
        /// Its id.
        agent: Arc<str>,
        /// Who it was heard from.
        from: Caller,
        /// Who it is heard from now.
        to: Caller,
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
    /// An agent says, after a restart of the operator, that it was told to run inputs which another
    /// one has.
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
    /// No event and no tick for so long that the operator itself must have been stopped; nobody is
    /// declared dead for what could not be heard in that time.
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
    /// Inputs taken from a live agent that may run them and still offers them. Zero, or there is a
    /// bug.
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
