//! What a run depends on: what happens, and when.

/// What happens, besides what agents do by themselves. Times are in milliseconds.
#[derive(Debug, Clone)]
pub(super) enum Op {
    /// An agent ends for good.
    Kill(usize),
    /// An agent ends and starts again, sometimes with another list.
    Restart {
        agent: usize,
        down: u32,
        offers: u16,
    },
    /// An agent's control loop stands still; what it collects goes on.
    Pause { agent: usize, time: u32 },
    /// An agent can't reach any operator.
    Cut { agent: usize, time: u32 },
    /// The operator ends; another one decides from then on, after listening.
    OperatorRestart { down: u32 },
}

/// All that a run depends on.
#[derive(Debug, Clone)]
pub(super) struct History {
    pub(super) starts: Vec<u32>,
    pub(super) offers: Vec<u16>,
    pub(super) scores: Vec<u32>,
    pub(super) ops: Vec<(u32, Op)>,
    /// Of a hundred messages.
    pub(super) loss: u32,
    /// One way, at most.
    pub(super) delay: u32,
    /// Whether some lost requests arrive after all, when nobody waits for the answer any more.
    pub(super) late: bool,
    /// Whether operators leave a note on who had everything.
    pub(super) notes: bool,
    /// Whether an agent that starts again comes from a new address, as a new pod does.
    pub(super) pods: bool,
    /// Who else polls.
    pub(super) strangers: Strangers,
    /// Whether the first operator listens first, too.
    pub(super) relearn_first: bool,
    pub(super) seed: u64,
}

/// Who polls besides the agents, from other addresses: in the agents' names or in their own, with
/// whatever, until nothing is lost any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strangers {
    None,
    /// They want inputs of their own.
    Idle,
    /// They want the agents' inputs, and claim to run them. Only what is free may become theirs;
    /// nobody collects it then.
    Greedy,
}

/// Which operator runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ours,
    Reshuffling,
}
