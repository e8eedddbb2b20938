//! What one poll does.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::agent::{Agent, EqualAnswers, Sharing, checksum, checksum_of_offers};
use super::answer::Allowed;
use super::callers::CallerId;
use super::namesakes::{Claimant, NAMESAKES};
use super::offers::Place;
use super::poll::Poll;
use super::report::Event;
use super::state::Election;
use super::{AgentId, InputId, ListId, Refusal, Resource, Wait};
use crate::election::Caller;
use crate::election::millis;

/// Equal answers after which an agent starts what it was told: the third one that says what its
/// request said.
const EQUAL_ANSWERS: u8 = 3;

/// Whether an agent was declared dead before and, if so, whether it then had all it offered.
type Departed = Option<bool>;

impl Election {
    pub(super) fn decide(
        &mut self,
        poll: &Poll<'_>,
        caller: &Caller,
        now: u64,
    ) -> Result<Result<Arc<Allowed>, Wait>, Refusal> {
        let known = self.known(poll.id(), caller);
        if let Some(agent) = known {
            // Even if the rest is refused: it lives.
            self.heard(agent, now);
        }
        let mut joined = None;
        let (agent, offered) = match known {
            Some(agent) => (agent, self.update_list(agent, poll, now)?),
            None => {
                if let Claimant::Unclear(wait) = self.claim(poll, caller, now) {
                    return Ok(Err(wait));
                }
                let (agent, departed) = self.join(poll, caller, now)?;
                joined = Some(departed);
                (agent, None)
            }
        };
        let mut running = std::mem::take(&mut self.running);
        running.clear();
        let unknown = self.resolve(poll, &mut running);
        let answer = self.answer(agent, offered.as_deref(), joined, &running, unknown, now);
        self.running = running;
        Ok(answer.ok_or_else(|| self.listening(now)))
    }

    fn heard(&mut self, agent: AgentId, now: u64) {
        let interval = millis(self.settings.poll_interval);
        let Some(known) = self.agents.get_mut(&agent) else {
            return;
        };
        let before = known.sharing.suspected();
        known.sharing.poll(now - known.last_seen, interval, now);
        known.last_seen = now;
        known.silent_since = now;
        self.note_sharing(agent, before);
    }

    /// The inputs of the target list, ascending; true if it also names some that nobody offers.
    fn resolve(&self, poll: &Poll<'_>, running: &mut Vec<InputId>) -> bool {
        let mut unknown = false;
        for name in poll.running() {
            match self.offers.id(name) {
                Some(id) => running.push(id),
                None => unknown = true,
            }
        }
        running.sort_unstable();
        running.dedup();
        unknown
    }

    fn join(
        &mut self,
        poll: &Poll<'_>,
        caller: &Caller,
        now: u64,
    ) -> Result<(AgentId, Departed), Refusal> {
        let share = self.offers.callers.number(caller);
        let found = self.admit(poll, share);
        if found.is_err() {
            self.offers.callers.settle(share);
        }
        let (list, rescored) = found?;
        self.offers.callers.charge(share, Resource::Agents, 1);
        let agent = self.next_agent;
        self.next_agent += 1;
        let namesakes = self.by_id.get_key_value(poll.id());
        let id: Arc<str> = namesakes.map_or_else(|| poll.id().into(), |(id, _)| Arc::clone(id));
        let departed = self.departed.remove(&id, caller);
        let joined = Agent {
            id: Arc::clone(&id),
            caller: caller.clone(),
            share,
            list,
            first_seen: now,
            last_seen: now,
            silent_since: now,
            settles_until: now + millis(self.settings.settling),
            held: Vec::new(),
            losing: Vec::new(),
            expecting: Vec::new(),
            load: 0,
            tentative: 0,
            recovering: false,
            ambiguous: false,
            equal: EqualAnswers::default(),
            answer: None,
            sharing: Sharing::new(checksum_of_offers(poll)),
        };
        self.offers.list_mut(list).agents.insert(joined.key(agent));
        self.agents.insert(agent, joined);
        let namesakes = self.by_id.entry(Arc::clone(&id)).or_default();
        namesakes.agents.push(agent);
        self.in_order.insert((Arc::clone(&id), agent));
        self.deadlines
            .insert((now + millis(self.settings.agent_timeout), agent));
        self.totals.joined += 1;
        self.event(Event::Joined {
            agent: id,
            caller: caller.clone(),
            returned: departed.is_some(),
        });
        self.rescore(&rescored);
        Ok((agent, departed))
    }

    /// Whether there is room for an agent that offers this; and the list that it would have.
    fn admit(
        &mut self,
        poll: &Poll<'_>,
        share: CallerId,
    ) -> Result<(ListId, Vec<(InputId, u32)>), Refusal> {
        let limits = &self.settings.limits;
        let namesakes = self.by_id.get(poll.id());
        if namesakes.is_some_and(|namesakes| namesakes.agents.len() >= NAMESAKES) {
            return Err(Refusal::Namesakes(NAMESAKES));
        }
        let used = self.agents.len();
        let callers = &self.offers.callers;
        callers.admit(share, Resource::Agents, 1, used, limits.agents)?;
        self.offers.find(poll.offers(), limits, share, 0)
    }

    /// Takes note of what a known agent offers. Where that is not the list it is kept with, because
    /// two agents share the id, returns what the one at hand offers.
    fn update_list(
        &mut self,
        agent: AgentId,
        poll: &Poll<'_>,
        now: u64,
    ) -> Result<Option<Vec<InputId>>, Refusal> {
        let known = &self.agents[&agent];
        let old = known.list;
        let united = known.sharing.union_until.is_some();
        if !united && self.offers.is(old, poll) {
            return Ok(None);
        }
        let timeout = millis(self.settings.agent_timeout);
        let sum = checksum_of_offers(poll);
        let before = known.sharing.suspected();
        let Some(known) = self.agents.get_mut(&agent) else {
            return Ok(None);
        };
        let share = known.share;
        known.sharing.offered(sum, now, timeout);
        let united = known.sharing.union_until.is_some();
        self.note_sharing(agent, before);
        let mut offers: BTreeMap<&str, u32> = poll.offers().collect();
        let kept: Vec<(Arc<str>, u32)> = if united {
            let entries = self.offers.list(old).entries.iter();
            entries
                .map(|(id, score)| (Arc::clone(&self.offers.input(*id).name), *score))
                .collect()
        } else {
            Vec::new()
        };
        for (name, score) in &kept {
            offers.entry(name).or_insert(*score);
        }
        let sorted: Vec<(&str, u32)> = offers.into_iter().collect();
        let replaced = self.offers.sole(old);
        let limits = &self.settings.limits;
        let (list, rescored) = self
            .offers
            .find(sorted.iter().copied(), limits, share, replaced)?;
        self.rescore(&rescored);
        if list != old {
            self.change_list(agent, list);
        }
        if !united {
            return Ok(None);
        }
        let mut own: Vec<_> = poll
            .offers()
            .filter_map(|(name, _)| self.offers.id(name))
            .collect();
        own.sort_unstable();
        Ok(Some(own))
    }

    fn change_list(&mut self, agent: AgentId, list: ListId) {
        let Some(mut known) = self.take_out(agent) else {
            return;
        };
        let old = std::mem::replace(&mut known.list, list);
        let offered = self.offers.list(list);
        let gone = |input: &InputId| !offered.contains(*input);
        let released: Vec<_> = known.held.extract_if(.., |input| gone(input)).collect();
        let lost: Vec<_> = known.losing.extract_if(.., |input| gone(input)).collect();
        let unexpected: Vec<_> = known
            .expecting
            .extract_if(.., |input| gone(input))
            .collect();
        let mut names = Vec::new();
        for input in &released {
            let input = self.offers.input(*input);
            known.load -= u64::from(input.score);
            known.tentative -= usize::from(
                input.place
                    == Place::Held {
                        by: agent,
                        active: false,
                    },
            );
            names.push(Arc::clone(&input.name));
        }
        for input in &unexpected {
            let input = self.offers.input_mut(*input);
            known.load -= u64::from(input.score);
            if let Place::TakenBack { to, .. } = &mut input.place {
                *to = None;
            }
        }
        if !released.is_empty() {
            known.answer = None;
            self.event(Event::Released {
                agent: Arc::clone(&known.id),
                inputs: names,
            });
        }
        self.put_back(agent, known);
        for input in released.into_iter().chain(lost) {
            self.release(input, false);
        }
        self.forget(old);
        self.place_free();
    }

    fn answer(
        &mut self,
        agent: AgentId,
        offered: Option<&[InputId]>,
        joined: Option<Departed>,
        running: &[InputId],
        unknown: bool,
        now: u64,
    ) -> Option<Arc<Allowed>> {
        if self.relearning.is_some() {
            self.hear_claims(agent, running);
            if self.agents[&agent].ambiguous {
                return None;
            }
        } else {
            self.place_free();
            if let Some(departed) = joined {
                self.welcome(agent, departed, running, now);
            }
            self.confirm(agent, running);
        }
        for input in &self.agents[&agent].losing {
            if let Place::TakenBack { told, .. } = &mut self.offers.input_mut(*input).place {
                *told = true;
            }
        }
        let answer = self.encoded(agent, offered)?;
        if !unknown && running == answer.ids() {
            self.count_equal(agent, &answer);
        }
        Some(answer)
    }

    /// A newcomer (since the election decides): what it was given may be running there already, or
    /// it may take over something that nobody can have started.
    fn welcome(&mut self, agent: AgentId, departed: Departed, running: &[InputId], now: u64) {
        let newcomer = &self.agents[&agent];
        // One that starts has all it offers as its target list, and runs nothing. One that had all
        // of it before it was declared dead may just as well never have stopped.
        let starts = self.offers.list(newcomer.list).within(running) && departed != Some(true);
        if !starts {
            let claimed: Vec<_> = newcomer
                .held
                .iter()
                .copied()
                .filter(|input| running.binary_search(input).is_ok())
                .collect();
            self.activate(agent, &claimed);
        }
        self.balance(agent, now);
    }

    /// Inputs that were taken back from this agent, which now shows that it knows, go to those who
    /// wait for them.
    fn confirm(&mut self, agent: AgentId, running: &[InputId]) {
        let Some(known) = self.agents.get_mut(&agent) else {
            return;
        };
        if known.losing.is_empty() {
            return;
        }
        let offers = &self.offers;
        let confirmed: Vec<_> = known
            .losing
            .extract_if(.., |input| {
                matches!(
                    offers.input(*input).place,
                    Place::TakenBack { told: true, .. }
                ) && running.binary_search(input).is_err()
            })
            .collect();
        for input in confirmed {
            self.hand_over(input);
        }
        self.place_free();
    }

    fn encoded(&mut self, agent: AgentId, offered: Option<&[InputId]>) -> Option<Arc<Allowed>> {
        let known = self.agents.get_mut(&agent)?;
        let offers = &self.offers;
        let named = |input: &InputId| (Arc::clone(&offers.input(*input).name), *input);
        if let Some(own) = offered {
            let common = known
                .held
                .iter()
                .filter(|input| own.binary_search(input).is_ok());
            return Some(Arc::new(Allowed::new(common.map(named).collect())));
        }
        let answer = known
            .answer
            .get_or_insert_with(|| Arc::new(Allowed::new(known.held.iter().map(named).collect())));
        Some(Arc::clone(answer))
    }

    /// One more answer that equals its request; after the third, all that it names may be running.
    fn count_equal(&mut self, agent: AgentId, answer: &Allowed) {
        let Some(known) = self.agents.get_mut(&agent) else {
            return;
        };
        if known.tentative == 0 || known.equal.count(checksum(answer.ids())) < EQUAL_ANSWERS {
            return;
        }
        self.activate(agent, answer.ids());
    }

    /// From now on these inputs of the agent's may be running.
    pub(super) fn activate(&mut self, agent: AgentId, inputs: &[InputId]) {
        let Some(known) = self.agents.get_mut(&agent) else {
            return;
        };
        for input in inputs {
            let input = self.offers.input_mut(*input);
            if input.place
                == (Place::Held {
                    by: agent,
                    active: false,
                })
            {
                input.place = Place::Held {
                    by: agent,
                    active: true,
                };
                input.recovering = false;
                known.tentative -= 1;
                self.tentative -= 1;
            }
        }
        if known.tentative == 0 {
            known.recovering = false;
            known.equal = EqualAnswers::default();
        }
    }
}
