//! What is known of one agent.

use std::sync::Arc;

use super::answer::Allowed;
use super::callers::CallerId;
use super::poll::Poll;
use super::{AgentId, InputId, ListId};
use crate::election::Caller;

/// One agent, from its first poll until it is dead.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) id: Arc<str>,
    /// Who it is heard from. Polls by anybody else are not its own.
    pub(super) caller: Caller,
    /// Whose share of agents it takes.
    pub(super) share: CallerId,
    pub(super) list: ListId,
    pub(super) first_seen: u64,
    pub(super) last_seen: u64,
    /// From when silence counts.
    pub(super) silent_since: u64,
    /// Until when its inputs may be taken back, if none can have been started.
    pub(super) settles_until: u64,
    pub(super) held: Vec<InputId>,
    /// Taken back; not confirmed yet.
    pub(super) losing: Vec<InputId>,
    /// To come from others.
    pub(super) expecting: Vec<InputId>,
    /// Scores of what it holds and expects.
    pub(super) load: u64,
    /// How many of the held can't have been started.
    pub(super) tentative: usize,
    /// It has tentative inputs of a dead agent, so nothing may delay it.
    pub(super) recovering: bool,
    /// Its target list is all it offers, and nothing it said tells whether it was told so or has
    /// just started.
    pub(super) ambiguous: bool,
    pub(super) equal: EqualAnswers,
    pub(super) answer: Option<Arc<Allowed>>,
    pub(super) sharing: Sharing,
}

/// How many answers were sent that equal their requests, for each of the latest target lists.
///
/// An agent starts its target list at the third answer in a row that equals it. Rows end when the
/// list changes, but that is not what is counted here: a count only ever rises, whatever order
/// requests arrive in, so it is never below the agent's own. Lists are kept as checksums; two with
/// the same one only make a count too high, which is the safe side.
#[derive(Debug, Default)]
pub(super) struct EqualAnswers {
    latest: [(u64, u8); 4],
    /// The highest count that had to make room.
    forgotten: u8,
}

/// Signs of two agents behind one id.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    /// Fills by three quarters of an interval a poll, drains with time; one agent alone can't fill
    /// it.
    pressure: u64,
    crowded: bool,
    /// The list before the present one, and until when it was offered.
    before: Option<(u64, u64)>,
    /// While set, the id's list is the union of all that its agents offer; ends then, unless they
    /// differ again.
    pub(super) union_until: Option<u64>,
    /// The checksum of the offers last seen.
    last: u64,
}

impl Agent {
    /// Where it stands in its list: the first is given work first.
    pub(super) fn key(&self, agent: AgentId) -> (u64, usize, Arc<str>, AgentId) {
        (
            self.load,
            self.held.len() + self.expecting.len(),
            Arc::clone(&self.id),
            agent,
        )
    }
}

impl EqualAnswers {
    /// Counts an answer that equals its request, and returns how many there were for this list.
    pub(super) fn count(&mut self, list: u64) -> u8 {
        let at = self
            .latest
            .iter()
            .position(|(known, count)| *known == list && *count > 0);
        let count = match at {
            Some(at) => {
                self.latest[..=at].rotate_right(1);
                self.latest[0].1
            }
            None => {
                self.latest.rotate_right(1);
                self.forgotten = self.forgotten.max(self.latest[0].1);
                // It may be one that had to make room.
                self.forgotten
            }
        };
        let count = count.saturating_add(1);
        self.latest[0] = (list, count);
        count
    }
}

impl Sharing {
    /// No signs so far, of an agent that offers this.
    pub(super) fn new(offers: u64) -> Self {
        Self {
            last: offers,
            ..Self::default()
        }
    }

    pub(super) fn suspected(&self) -> bool {
        self.crowded || self.union_until.is_some()
    }

    pub(super) fn poll(&mut self, elapsed: u64, interval: u64, now: u64) {
        self.pressure =
            (self.pressure.saturating_sub(elapsed) + interval * 3 / 4).min(interval * 8);
        if self.pressure > interval * 4 {
            self.crowded = true;
        } else if self.pressure <= interval {
            self.crowded = false;
        }
        if self.union_until.is_some_and(|until| now >= until) {
            self.union_until = None;
        }
    }

    /// An agent changes what it offers by restarting. One that changes it back within so short a
    /// time is two agents, or one whose last request before the restart was late; which it is shows
    /// within the same time.
    pub(super) fn offered(&mut self, sum: u64, now: u64, timeout: u64) {
        if sum == self.last {
            return;
        }
        let back = self
            .before
            .is_some_and(|(before, at)| before == sum && now - at <= timeout);
        if back || self.union_until.is_some() {
            self.union_until = Some(now + timeout);
        }
        self.before = Some((self.last, now));
        self.last = sum;
    }
}

/// FNV-1a over numbers.
pub(super) fn checksum(ids: &[InputId]) -> u64 {
    ids.iter().fold(0xcbf2_9ce4_8422_2325, |sum, id| {
        (sum ^ u64::from(*id)).wrapping_mul(0x0100_0000_01b3)
    })
}

pub(super) fn checksum_of_offers(poll: &Poll<'_>) -> u64 {
    let mut sum: u64 = 0xcbf2_9ce4_8422_2325;
    for (name, score) in poll.offers() {
        for byte in name.bytes().chain([0xff]).chain(score.to_le_bytes()) {
            sum = (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    sum
}
