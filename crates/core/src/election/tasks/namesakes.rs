//! Agents of one id, told apart by who sends their polls.
//!
//! An id alone proves nothing, so what an agent has is bound to the caller that it was first heard
//! from. A poll for the id of a living agent that comes from somebody else is one of three: the
//! same agent, which now comes from another address; a new process of it, in a new pod; or another
//! agent, perhaps a forged one. It can't be told at once, so nothing is decided at first (the
//! sender keeps what it has) and nothing changes for the agent that lives:
//!
//! - The agent is heard again from where it was: there are two, and the second one joins as an
//!   agent of its own.
//! - It isn't, and is dead in the end: whoever asked meanwhile takes its place, with all that it
//!   had.

use std::sync::Arc;
use std::time::Duration;

use super::agent::{Sharing, checksum_of_offers};
use super::poll::Poll;
use super::report::Event;
use super::state::Election;
use super::{AgentId, Resource, Wait};
use crate::election::Caller;
use crate::election::millis;

/// Agents of one id at most. More are refused.
pub(super) const NAMESAKES: usize = 64;
/// Claims to one id that are remembered.
const CLAIMS: usize = 4;

/// All agents of one id, and those who claim to be one of them.
#[derive(Debug, Default)]
pub(super) struct Namesakes {
    pub(super) agents: Vec<AgentId>,
    claims: Vec<Claim>,
}

#[derive(Debug)]
struct Claim {
    caller: Caller,
    since: u64,
    last: u64,
    /// Whether what it says is what the living agent would say.
    continues: bool,
    offers: u64,
}

/// Who a caller is, that no agent of this id is bound to.
pub(super) enum Claimant {
    /// Another agent.
    Another,
    /// That isn't clear yet.
    Unclear(Wait),
}

impl Election {
    /// The agent of this id that is bound to this caller.
    pub(super) fn known(&self, id: &str, caller: &Caller) -> Option<AgentId> {
        let agents = &self.by_id.get(id)?.agents;
        let bound = |agent: &&AgentId| self.agents[*agent].caller == *caller;
        agents.iter().find(bound).copied()
    }

    /// Takes note of a poll by a caller that no agent of the poll's id is bound to.
    pub(super) fn claim(&mut self, poll: &Poll<'_>, caller: &Caller, now: u64) -> Claimant {
        // While listening every word counts: whoever is not heard in time loses what it runs.
        if self.relearning.is_some() {
            return Claimant::Another;
        }
        let Some(namesakes) = self.by_id.get(poll.id()) else {
            return Claimant::Another;
        };
        let timeout = millis(self.settings.agent_timeout);
        let since = namesakes
            .claims
            .iter()
            .find(|claim| claim.caller == *caller && claim.last + timeout >= now)
            .map_or(now, |claim| claim.since);
        let (mut remaining, mut continues) = (None, false);
        for agent in &namesakes.agents {
            let agent = &self.agents[agent];
            if agent.last_seen > since {
                // It was heard from where it is since this one began to ask.
                continue;
            }
            let left = (agent.silent_since + timeout).saturating_sub(now);
            remaining = remaining.max(Some(left));
            continues |= self.offers.is(agent.list, poll)
                && agent.answer.as_ref().is_some_and(|answer| {
                    poll.running().len() == answer.inputs().len()
                        && poll.running().eq(answer.inputs())
                });
        }
        let Some(namesakes) = self.by_id.get_mut(poll.id()) else {
            return Claimant::Another;
        };
        namesakes
            .claims
            .retain(|claim| claim.caller != *caller && claim.last + timeout >= now);
        let Some(remaining) = remaining else {
            return Claimant::Another;
        };
        namesakes.note(Claim {
            caller: caller.clone(),
            since,
            last: now,
            continues,
            offers: checksum_of_offers(poll),
        });
        Claimant::Unclear(Wait::Namesake {
            remaining: Duration::from_millis(remaining),
        })
    }

    /// Lets somebody who has claimed to be this agent, which is dead otherwise, take its place.
    /// True if somebody has.
    pub(super) fn succeed(&mut self, agent: AgentId, now: u64) -> bool {
        let timeout = millis(self.settings.agent_timeout);
        let Some(dead) = self.agents.get(&agent) else {
            return false;
        };
        let Some(namesakes) = self.by_id.get_mut(&dead.id) else {
            return false;
        };
        namesakes.claims.retain(|claim| claim.last + timeout >= now);
        let identified = matches!(dead.caller, Caller::Identity(_));
        let fitting = |claim: &&Claim| {
            claim.since >= dead.last_seen
                && identified <= matches!(claim.caller, Caller::Identity(_))
        };
        let best = namesakes
            .claims
            .iter()
            .filter(fitting)
            .min_by_key(|claim| (!claim.continues, claim.since))
            .map(|claim| claim.caller.clone());
        let Some(caller) = best else {
            return false;
        };
        let limits = &self.settings.limits;
        let share = self.offers.callers.number(&caller);
        let (used, limit) = (self.agents.len() - 1, limits.agents);
        let admitted = self
            .offers
            .callers
            .admit(share, Resource::Agents, 1, used, limit);
        if share != dead.share && admitted.is_err() {
            self.offers.callers.settle(share);
            return false;
        }
        let Some(at) = (namesakes.claims.iter()).position(|claim| claim.caller == caller) else {
            return false;
        };
        let claim = namesakes.claims.swap_remove(at);
        let Some(agent_left) = self.agents.get_mut(&agent) else {
            return false;
        };
        let before = agent_left.sharing.suspected();
        self.offers.callers.charge(share, Resource::Agents, 1);
        self.offers
            .callers
            .discharge(agent_left.share, Resource::Agents, 1);
        agent_left.share = share;
        let former = std::mem::replace(&mut agent_left.caller, claim.caller);
        agent_left.last_seen = claim.last;
        agent_left.silent_since = claim.last;
        agent_left.sharing = Sharing::new(claim.offers);
        // Whoever is to get these need not wait until the newcomer shows that it knows: it never
        // had them.
        let lost = std::mem::take(&mut agent_left.losing);
        let event = Event::Moved {
            agent: Arc::clone(&agent_left.id),
            from: former,
            to: agent_left.caller.clone(),
        };
        self.note_sharing(agent, before);
        self.deadlines.insert((claim.last + timeout, agent));
        self.event(event);
        for input in lost {
            self.hand_over(input);
        }
        true
    }
}

impl Namesakes {
    /// Keeps a claim, in place of one that is less likely to be right where there are too many.
    fn note(&mut self, claim: Claim) {
        if self.claims.len() < CLAIMS {
            self.claims.push(claim);
            return;
        }
        let weakest = self
            .claims
            .iter_mut()
            .max_by_key(|claim| (!claim.continues, claim.since));
        if let Some(weakest) = weakest
            && (claim.continues && !weakest.continues)
        {
            *weakest = claim;
        }
    }
}
