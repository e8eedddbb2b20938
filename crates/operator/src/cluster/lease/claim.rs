//! Who may hold the Lease: `(state, record, now) → step`, as every user of Leases decides it
//! (<https://kubernetes.io/docs/concepts/architecture/leases/>).
//!
//! Clocks of different machines are never compared. A record counts as abandoned when it has not
//! changed for its own duration, by the clock of whoever looks.

use std::time::{Duration, Instant};

/// What the Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; empty after it was released.
    pub holder: String,
    /// For how long a renewal is good.
    pub duration: Duration,
    /// The writer's time of the last renewal; only ever compared for being the same.
    pub renewed: String,
    /// How many times it has changed hands.
    pub transitions: i32,
    /// Where the holder answers other replicas.
    pub address: Option<String>,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write our name into it, and this number of transitions.
    Take {
        /// The number to write.
        transitions: i32,
    },
    /// It is ours: write the time into it.
    Renew {
        /// The number to leave.
        transitions: i32,
    },
    /// Another replica holds it.
    Wait,
}

/// One replica's view.
#[derive(Debug)]
pub struct Claim {
    identity: String,
    seen: Option<(Record, Instant)>,
}

impl Claim {
    /// Nothing has been seen yet.
    #[must_use]
    pub fn new(identity: String) -> Self {
        Self {
            identity,
            seen: None,
        }
    }

    /// Decides on what the Lease says now; `None` where it does not exist.
    pub fn decide(&mut self, record: Option<Record>, now: Instant) -> Step {
        let Some(record) = record else {
            self.seen = None;
            return Step::Take { transitions: 0 };
        };
        let transitions = record.transitions;
        let released = record.holder.is_empty();
        let ours = record.holder == self.identity;
        let duration = record.duration;
        let since = match &self.seen {
            Some((seen, since)) if *seen == record => *since,
            _ => now,
        };
        self.seen = Some((record, since));
        let abandoned = now >= since + duration;
        if ours {
            Step::Renew { transitions }
        } else if released || abandoned {
            Step::Take {
                transitions: transitions.saturating_add(1),
            }
        } else {
            Step::Wait
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn record(holder: &str, renewed: &str) -> Record {
        Record {
            holder: holder.to_owned(),
            duration: 8 * SECOND,
            renewed: renewed.to_owned(),
            transitions: 3,
            address: None,
        }
    }

    #[test]
    fn what_nobody_holds_is_taken() {
        let mut claim = Claim::new("a".to_owned());
        let now = Instant::now();
        assert_eq!(claim.decide(None, now), Step::Take { transitions: 0 });
        let step = claim.decide(Some(record("", "1")), now);
        assert_eq!(step, Step::Take { transitions: 4 });
    }

    #[test]
    fn ours_is_renewed() {
        let mut claim = Claim::new("a".to_owned());
        let step = claim.decide(Some(record("a", "1")), Instant::now());
        assert_eq!(step, Step::Renew { transitions: 3 });
    }

    #[test]
    fn anothers_is_taken_only_when_it_has_not_changed_for_its_duration() {
        let mut claim = Claim::new("a".to_owned());
        let start = Instant::now();
        let mut check = |renewed: &str, after: u32, want: Step| {
            let step = claim.decide(Some(record("b", renewed)), start + after * SECOND);
            assert_eq!(step, want, "{renewed} after {after} s");
        };
        // The first sight says nothing about how old it is.
        check("1", 0, Step::Wait);
        check("1", 7, Step::Wait);
        check("2", 7, Step::Wait);
        check("2", 14, Step::Wait);
        check("2", 15, Step::Take { transitions: 4 });
    }
}
