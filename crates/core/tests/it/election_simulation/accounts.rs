//! What the agents did in a run, by what is looked at in them alone.

/// What the agents did. "Excused" is what no operator can prevent: see `World::excuse`.
#[derive(Debug, Clone, Default)]
pub(super) struct Accounts {
    /// Input-milliseconds collected by two agents, without the excused ones.
    pub(super) twice: u64,
    pub(super) twice_excused: u64,
    /// Input-milliseconds collected.
    pub(super) collected: u64,
    /// Input-milliseconds that nobody collected although a live agent offers the input.
    pub(super) missed: u64,
    /// Of these, those longer than `RECOVERY` after the last disturbance.
    pub(super) late: u64,
    /// Running inputs that a live agent was told to drop (which it can't).
    pub(super) moved: u64,
    pub(super) moved_excused: u64,
    /// Inputs in an answer while in the latest answer of another live agent.
    pub(super) given_twice: u64,
    /// Inputs in an answer to an agent that doesn't offer them.
    pub(super) not_offered: u64,
    /// The operator's own count of what must not happen.
    pub(super) moved_by_own_count: u64,
    pub(super) moved_tentative: u64,
    pub(super) polls: u64,
    /// The longest time in milliseconds that an input was not collected, after the first 45 s.
    pub(super) longest_gap: u64,
    /// Owners of everything that could not be told from agents that have just started.
    pub(super) contested: u64,
}

/// A line of a table and where its number comes from.
type Column = (&'static str, fn(&Accounts) -> u64);

impl Accounts {
    /// What the comparison shows.
    pub(super) const COLUMNS: [Column; 10] = [
        ("input-seconds collected", |of| of.collected / 1_000),
        ("collected twice", |of| of.twice / 1_000),
        ("collected twice, excused", |of| of.twice_excused / 1_000),
        ("offered, but not collected", |of| of.missed / 1_000),
        ("of these, with nothing to wait for", |of| of.late / 1_000),
        ("running inputs moved", |of| of.moved),
        ("running inputs moved, excused", |of| of.moved_excused),
        ("inputs moved before they ran", |of| of.moved_tentative),
        ("owners of everything that look like starters", |of| {
            of.contested
        }),
        ("polls", |of| of.polls),
    ];

    pub(super) fn add(&mut self, other: &Self) {
        self.collected += other.collected;
        self.twice += other.twice;
        self.twice_excused += other.twice_excused;
        self.missed += other.missed;
        self.late += other.late;
        self.moved += other.moved;
        self.moved_excused += other.moved_excused;
        self.moved_tentative += other.moved_tentative;
        self.contested += other.contested;
        self.polls += other.polls;
    }
}
