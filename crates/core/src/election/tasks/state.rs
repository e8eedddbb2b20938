//! The state of an election, the passing of time, and the steps that everything else is made of.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::agent::Agent;
use super::namesakes::Namesakes;
use super::offers::{Offers, Place};
use super::poll::Poll;
use super::relearn::Relearning;
use super::report::{Event, Totals};
use super::{AgentId, InputId, ListId, Outcome, Resource, Settings, Start, Wait};
use crate::election::{Caller, millis};

/// How often a tick is wanted at least.
const HEARTBEAT: u64 = 1_000;
/// Without any event for so long, the operator itself was stopped.
const STALL: u64 = 5_000;
/// Events kept for somebody to fetch.
const EVENTS: usize = 10_000;
/// Ids of dead agents that are remembered.
const DEPARTED: usize = 20_000;

/// Decides which agent may run which input.
///
/// Events and `now` in, answers out: [`poll`](Self::poll) for every request, [`tick`](Self::tick)
/// at [`next_deadline`](Self::next_deadline). `now` is the time since an arbitrary origin; a `now`
/// before an earlier one counts as the earlier one.
#[derive(Debug)]
pub struct Election {
    pub(super) settings: Settings,
    pub(super) offers: Offers,
    pub(super) agents: BTreeMap<AgentId, Agent>,
    pub(super) by_id: HashMap<Arc<str>, Namesakes>,
    /// For people, who look them up by id.
    pub(super) in_order: BTreeSet<(Arc<str>, AgentId)>,
    /// When an agent is dead at the earliest; looked at again when that time has come.
    pub(super) deadlines: BTreeSet<(u64, AgentId)>,
    /// Agents that were declared dead, and whether they then had all they offered.
    pub(super) departed: Departed,
    pub(super) relearning: Option<Relearning>,
    pub(super) last_event: u64,
    pub(super) next_agent: AgentId,
    pub(super) totals: Totals,
    events: VecDeque<Event>,
    /// A buffer for the target list of the poll at hand.
    pub(super) running: Vec<InputId>,
    pub(super) tentative: usize,
    pub(super) shared_ids: usize,
}

impl Election {
    /// An election that begins `now`.
    pub fn new(settings: Settings, now: Duration, start: Start) -> Self {
        let now = millis(now);
        let relearning = match start {
            Start::Fresh => None,
            Start::Relearn { full_owners } => Some(Relearning {
                since: now,
                until: now + millis(settings.relearning),
                full_owners: full_owners.into_iter().collect(),
            }),
        };
        Self {
            settings,
            offers: Offers::default(),
            agents: BTreeMap::new(),
            by_id: HashMap::new(),
            in_order: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            departed: Departed::default(),
            relearning,
            last_event: now,
            next_agent: 0,
            totals: Totals::default(),
            events: VecDeque::new(),
            running: Vec::new(),
            tentative: 0,
            shared_ids: 0,
        }
    }

    /// Answers a poll of this caller that arrives `now`.
    pub fn poll(&mut self, poll: &Poll<'_>, caller: &Caller, now: Duration) -> Outcome {
        let now = self.advance(millis(now));
        let outcome = match self.decide(poll, caller, now) {
            Ok(Ok(answer)) => Outcome::Allowed(answer),
            Ok(Err(wait)) => Outcome::Wait(wait),
            Err(refusal) => Outcome::Refused(refusal),
        };
        match outcome {
            Outcome::Allowed(_) => self.totals.allowed += 1,
            Outcome::Wait(_) => self.totals.waited += 1,
            Outcome::Refused(_) => self.totals.refused += 1,
        }
        outcome
    }

    /// Does what is due: declares agents dead and gives their inputs to others, ends the time of
    /// listening.
    pub fn tick(&mut self, now: Duration) {
        self.advance(millis(now));
    }

    /// When [`tick`](Self::tick) is wanted next: at least once a second, by which it is noticed
    /// that the operator itself was stopped.
    pub fn next_deadline(&self) -> Duration {
        let mut next = self.last_event + HEARTBEAT;
        if let Some((deadline, _)) = self.deadlines.first() {
            next = next.min(deadline + 1);
        }
        if let Some(relearning) = &self.relearning {
            next = next.min(relearning.until);
        }
        Duration::from_millis(next)
    }

    /// Takes the events since the last call, oldest first.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.events.drain(..).collect()
    }

    /// What has been counted so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// What an agent is told that can't be given anything yet.
    pub(super) fn listening(&self, now: u64) -> Wait {
        let until = self.relearning.as_ref();
        Wait::Listening {
            remaining: Duration::from_millis(until.map_or(0, |until| until.until - now)),
        }
    }

    fn advance(&mut self, now: u64) -> u64 {
        let now = now.max(self.last_event);
        let silence = now - self.last_event;
        self.last_event = now;
        if silence > STALL && !self.agents.is_empty() {
            self.forgive(silence, now);
        }
        if self
            .relearning
            .as_ref()
            .is_some_and(|relearning| now >= relearning.until)
        {
            // Those who died meanwhile have no say in what is adopted.
            self.expire(now);
            self.finish_relearning(now);
        }
        self.expire(now);
        now
    }

    /// Nobody could be heard for a while, so nobody is dead for having been silent then.
    fn forgive(&mut self, silence: u64, now: u64) {
        self.event(Event::Stalled {
            milliseconds: silence,
        });
        for agent in self.agents.values_mut() {
            agent.silent_since = now;
        }
        if let Some(relearning) = &mut self.relearning {
            relearning.until += silence;
        }
    }

    fn expire(&mut self, now: u64) {
        let timeout = millis(self.settings.agent_timeout);
        let mut dead = Vec::new();
        let mut due = false;
        while let Some(&(deadline, agent)) = self.deadlines.first() {
            if deadline >= now {
                break;
            }
            self.deadlines.pop_first();
            let Some(known) = self.agents.get(&agent) else {
                continue;
            };
            if known.silent_since + timeout < now {
                due = true;
                if !self.succeed(agent, now) {
                    dead.push(agent);
                }
            } else {
                self.deadlines.insert((known.silent_since + timeout, agent));
            }
        }
        for agent in &dead {
            self.bury(*agent);
        }
        if due {
            self.place_free();
        }
    }

    fn bury(&mut self, agent: AgentId) {
        let Some(dead) = self.agents.remove(&agent) else {
            return;
        };
        let list = self.offers.list_mut(dead.list);
        list.agents.remove(&dead.key(agent));
        let full = dead.held.len() == list.entries.len();
        let orphaned = dead.held.len();
        for input in dead.held.iter().chain(&dead.losing) {
            self.release(*input, true);
        }
        for input in &dead.expecting {
            if let Place::TakenBack { to, .. } = &mut self.offers.input_mut(*input).place {
                *to = None;
            }
        }
        if let Some(namesakes) = self.by_id.get_mut(&dead.id) {
            namesakes.agents.retain(|namesake| *namesake != agent);
            if namesakes.agents.is_empty() {
                self.by_id.remove(&dead.id);
            }
        }
        self.in_order.remove(&(Arc::clone(&dead.id), agent));
        self.shared_ids -= usize::from(dead.sharing.suspected());
        self.departed.insert(&dead.id, &dead.caller, full);
        self.totals.died += 1;
        self.event(Event::Died {
            agent: dead.id,
            orphaned,
        });
        self.forget(dead.list);
        self.offers
            .callers
            .discharge(dead.share, Resource::Agents, 1);
    }

    /// Gives a free input to an agent.
    pub(super) fn give(&mut self, input: InputId, agent: AgentId) {
        let Some(mut known) = self.take_out(agent) else {
            return;
        };
        self.offers.free.remove(&input);
        let given = self.offers.input_mut(input);
        given.place = Place::Held {
            by: agent,
            active: false,
        };
        known.held.push(input);
        known.load += u64::from(given.score);
        known.tentative += 1;
        known.recovering |= given.recovering;
        known.answer = None;
        self.tentative += 1;
        self.put_back(agent, known);
    }

    /// An input that the caller has just removed from its agent is free.
    pub(super) fn release(&mut self, input: InputId, orphaned: bool) {
        let released = self.offers.input_mut(input);
        match released.place {
            Place::Held { active, .. } => self.tentative -= usize::from(!active),
            Place::TakenBack { to: Some(to), .. } => {
                let score = u64::from(released.score);
                if let Some(mut waiting) = self.take_out(to) {
                    waiting.expecting.retain(|expected| *expected != input);
                    waiting.load -= score;
                    self.put_back(to, waiting);
                }
            }
            _ => {}
        }
        let released = self.offers.input_mut(input);
        released.place = Place::Free;
        released.recovering |= orphaned;
        self.offers.taken_back.remove(&input);
        self.offers.free.insert(input);
    }

    /// Passes an input that was taken back, and is now with nobody, on to whom it is meant for.
    pub(super) fn hand_over(&mut self, input: InputId) {
        let to = match self.offers.input(input).place {
            Place::TakenBack { to, .. } => to,
            _ => None,
        };
        self.release(input, false);
        if let Some(to) = to {
            self.give(input, to);
        }
    }

    /// An agent out of the order of its list, for changes that move it there.
    pub(super) fn take_out(&mut self, agent: AgentId) -> Option<Agent> {
        let known = self.agents.remove(&agent)?;
        self.offers
            .list_mut(known.list)
            .agents
            .remove(&known.key(agent));
        Some(known)
    }

    pub(super) fn put_back(&mut self, agent: AgentId, known: Agent) {
        self.offers
            .list_mut(known.list)
            .agents
            .insert(known.key(agent));
        self.agents.insert(agent, known);
    }

    /// Loads follow changed scores. That never moves anything.
    pub(super) fn rescore(&mut self, changed: &[(InputId, u32)]) {
        for (id, old) in changed {
            let input = self.offers.input(*id);
            let score = u64::from(input.score);
            let (Place::Held { by: agent, .. }
            | Place::TakenBack {
                to: Some(agent), ..
            }) = input.place
            else {
                continue;
            };
            if let Some(mut known) = self.take_out(agent) {
                known.load = known.load - u64::from(*old) + score;
                self.put_back(agent, known);
            }
        }
    }

    pub(super) fn forget(&mut self, list: ListId) {
        let forgotten = self.offers.forget(list);
        if !forgotten.is_empty() {
            self.event(Event::Forgotten { inputs: forgotten });
        }
    }

    pub(super) fn note_sharing(&mut self, agent: AgentId, before: bool) {
        let Some(known) = self.agents.get(&agent) else {
            return;
        };
        let id = Arc::clone(&known.id);
        match (before, known.sharing.suspected()) {
            (false, true) => {
                self.shared_ids += 1;
                self.event(Event::SharedId { agent: id });
            }
            (true, false) => {
                self.shared_ids -= 1;
                self.event(Event::SharedIdEnded { agent: id });
            }
            _ => {}
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        if self.events.len() >= EVENTS {
            self.events.pop_front();
            self.totals.events_dropped += 1;
        }
        self.events.push_back(event);
    }
}

/// Agents that were declared dead: the latest ones.
#[derive(Debug, Default)]
pub(super) struct Departed {
    known: HashMap<(Arc<str>, Caller), (bool, u64)>,
    oldest: BTreeMap<u64, (Arc<str>, Caller)>,
    next: u64,
}

impl Departed {
    fn insert(&mut self, id: &Arc<str>, caller: &Caller, full: bool) {
        self.remove(id, caller);
        if self.known.len() >= DEPARTED
            && let Some((_, oldest)) = self.oldest.pop_first()
        {
            self.known.remove(&oldest);
        }
        let who = (Arc::clone(id), caller.clone());
        self.oldest.insert(self.next, who.clone());
        self.known.insert(who, (full, self.next));
        self.next += 1;
    }

    /// Whether this agent then had all it offered, if it is remembered.
    pub(super) fn remove(&mut self, id: &Arc<str>, caller: &Caller) -> Option<bool> {
        let (full, at) = self.known.remove(&(Arc::clone(id), caller.clone()))?;
        self.oldest.remove(&at);
        Some(full)
    }
}
