//! Placing what is free, and taking back what nobody can have started for one that joins.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::offers::Place;
use super::report::Event;
use super::state::Election;
use super::{AgentId, InputId};

impl Election {
    /// Gives all free inputs out, the heaviest first, each to the agent with the lowest load of
    /// those that offer it.
    ///
    /// As every input is offered by some agent, nothing is free afterwards. While the election
    /// listens, nothing is given out.
    pub(super) fn place_free(&mut self) {
        if self.relearning.is_some() || self.offers.free.is_empty() {
            return;
        }
        let offers = &self.offers;
        let mut free: Vec<InputId> = offers.free.iter().copied().collect();
        free.sort_by(|a, b| {
            let (a, b) = (offers.input(*a), offers.input(*b));
            b.score.cmp(&a.score).then_with(|| a.name.cmp(&b.name))
        });
        let mut given: BTreeMap<AgentId, Vec<Arc<str>>> = BTreeMap::new();
        for input in free {
            let first = self
                .offers
                .lists_of(input)
                .filter_map(|list| list.agents.first())
                .min();
            let Some((.., agent)) = first.cloned() else {
                continue;
            };
            let name = Arc::clone(&self.offers.input(input).name);
            given.entry(agent).or_default().push(name);
            self.give(input, agent);
        }
        for (agent, inputs) in given {
            self.totals.assigned += inputs.len() as u64;
            let agent = Arc::clone(&self.agents[&agent].id);
            self.event(Event::Assigned { agent, inputs });
        }
    }

    /// Takes inputs back from agents that have joined shortly before, as long as that lowers the
    /// higher one of two loads. They reach the newcomer when their agents have shown that they
    /// know.
    ///
    /// Nothing is taken from an agent of which anything may be running, nor from one that stands in
    /// for a dead one: a changed list makes it start later.
    pub(super) fn balance(&mut self, newcomer: AgentId, now: u64) {
        let Some(agent) = self.agents.get(&newcomer) else {
            return;
        };
        if agent.recovering || agent.settles_until <= now {
            return;
        }
        let mut taken: BTreeMap<AgentId, Vec<Arc<str>>> = BTreeMap::new();
        let mut candidates = self.movable(newcomer, now);
        while let Some((from, input)) = self.next_move(newcomer, &candidates) {
            let name = Arc::clone(&self.offers.input(input).name);
            taken.entry(from).or_default().push(name);
            self.take_back(input, from, newcomer);
            if let Some(inputs) = candidates.get_mut(&from) {
                inputs.retain(|(_, candidate)| *candidate != input);
            }
        }
        let to = Arc::clone(&self.agents[&newcomer].id);
        for (from, inputs) in taken {
            self.totals.moved_tentative += inputs.len() as u64;
            let from = Arc::clone(&self.agents[&from].id);
            let to = Arc::clone(&to);
            self.event(Event::TakenBack { from, to, inputs });
        }
    }

    /// What the newcomer offers and could get, by present holder; ascending by score.
    fn movable(&self, newcomer: AgentId, now: u64) -> BTreeMap<AgentId, Vec<(u32, InputId)>> {
        let mut candidates: BTreeMap<AgentId, Vec<(u32, InputId)>> = BTreeMap::new();
        for (input, _) in self.offers.list(self.agents[&newcomer].list).entries.iter() {
            let known = self.offers.input(*input);
            let (Place::Held { by, active: false } | Place::TakenBack { to: Some(by), .. }) =
                known.place
            else {
                continue;
            };
            let holder = &self.agents[&by];
            let settles = holder.settles_until > now
                && holder.tentative == holder.held.len()
                && !holder.recovering;
            if by != newcomer && settles {
                candidates
                    .entry(by)
                    .or_default()
                    .push((known.score, *input));
            }
        }
        for inputs in candidates.values_mut() {
            // They come in the order of names, which stays where scores are equal.
            inputs.sort_by_key(|(score, _)| *score);
        }
        candidates
    }

    /// From the holder with the highest load, what comes closest to halving the difference without
    /// turning it around.
    fn next_move(
        &self,
        newcomer: AgentId,
        candidates: &BTreeMap<AgentId, Vec<(u32, InputId)>>,
    ) -> Option<(AgentId, InputId)> {
        let target = self.agents[&newcomer].load;
        let mut best: Option<(u64, AgentId, InputId)> = None;
        for (from, inputs) in candidates {
            let load = self.agents[from].load;
            if load <= target || best.is_some_and(|(highest, ..)| highest >= load) {
                continue;
            }
            let difference = load - target;
            let half = inputs.partition_point(|(score, _)| u64::from(*score) * 2 <= difference);
            let choice = match half.checked_sub(1) {
                Some(at) if inputs[at].0 > 0 => Some(inputs[at]),
                // Too heavy for half, but still an improvement.
                _ => inputs
                    .get(half)
                    .copied()
                    .filter(|(score, _)| u64::from(*score) < difference),
            };
            if let Some((_, input)) = choice {
                best = Some((load, *from, input));
            }
        }
        best.map(|(_, from, input)| (from, input))
    }

    /// Takes an input back from who holds it, or lets one that is on its way go to the newcomer
    /// instead.
    fn take_back(&mut self, input: InputId, from: AgentId, to: AgentId) {
        let known = self.offers.input_mut(input);
        let score = u64::from(known.score);
        let before = known.place;
        known.place = match before {
            Place::TakenBack { from, told, .. } => Place::TakenBack {
                from,
                to: Some(to),
                told,
            },
            _ => Place::TakenBack {
                from,
                to: Some(to),
                told: false,
            },
        };
        self.offers.taken_back.insert(input);
        if let Some(mut holder) = self.take_out(from) {
            holder.load -= score;
            if let Place::Held { active, .. } = before {
                // Counted where it would happen, rather than trusted.
                self.totals.moved_active += u64::from(active);
                self.tentative -= usize::from(!active);
                holder.tentative -= usize::from(!active);
                holder.held.retain(|held| *held != input);
                holder.losing.push(input);
                holder.answer = None;
            } else {
                holder.expecting.retain(|expected| *expected != input);
            }
            self.put_back(from, holder);
        }
        if let Some(mut newcomer) = self.take_out(to) {
            newcomer.expecting.push(input);
            newcomer.load += score;
            self.put_back(to, newcomer);
        }
    }
}
