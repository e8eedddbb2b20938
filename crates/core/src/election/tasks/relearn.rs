//! Finding out what runs where, after a restart or as a new decision maker.
//!
//! An agent's target list is the last answer it got, so what agents say is the state of the
//! previous decision maker, with one exception: an agent that has just started says that its target
//! list is everything it offers, although it runs nothing. One that was told to run everything says
//! the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::offers::Place;
use super::report::Event;
use super::state::Election;
use super::view::noted;
use super::{AgentId, InputId, ListId};

/// The time of listening.
#[derive(Debug)]
pub(super) struct Relearning {
    pub(super) since: u64,
    pub(super) until: u64,
    pub(super) full_owners: BTreeSet<String>,
}

/// Of the ambiguous agents of one list, those that come into question as owners of all of it.
#[derive(Debug, Default)]
struct Claimants {
    /// Named by the previous decision maker. At most one can be right.
    named: Option<Claimant>,
    /// Polled within one interval, as everybody does who was there before.
    early: usize,
    late: usize,
    first: Option<Claimant>,
    /// The first one that nobody else's word contradicts.
    possible: Option<Claimant>,
    /// Whether there is an agent that offers the same but was told to run less.
    witness: bool,
}

/// Ordered by who is to be believed first.
type Claimant = (u64, Arc<str>, AgentId);

impl Election {
    /// Takes an agent's word for what it runs, unless that is ambiguous or another one was first.
    pub(super) fn hear_claims(&mut self, agent: AgentId, running: &[InputId]) {
        let known = &self.agents[&agent];
        let list = self.offers.list(known.list);
        let all = !list.entries.is_empty() && list.within(running);
        if all && known.held.is_empty() && (known.ambiguous || known.answer.is_none()) {
            if let Some(known) = self.agents.get_mut(&agent) {
                known.ambiguous = true;
            }
            return;
        }
        let mut claimed: Vec<_> = running
            .iter()
            .copied()
            .filter(|input| list.contains(*input))
            .collect();
        if all {
            // It restarted after it was heard. What it has, it keeps; the rest it may have no right
            // to.
            claimed.clear();
        }
        if let Some(known) = self.agents.get_mut(&agent) {
            known.ambiguous = false;
        }
        let mut contested = Vec::new();
        claimed.retain(|input| {
            let input = self.offers.input(*input);
            match input.place {
                Place::Free => true,
                Place::Held { by, .. } if by == agent => false,
                _ => {
                    contested.push(Arc::clone(&input.name));
                    false
                }
            }
        });
        if !contested.is_empty() {
            self.totals.contested += contested.len() as u64;
            let agent = Arc::clone(&self.agents[&agent].id);
            self.event(Event::Contested {
                agent,
                inputs: contested,
            });
        }
        self.adopt(agent, &claimed);
    }

    /// The time of listening is over: believe those ambiguous agents that may be right, and give
    /// out the rest.
    pub(super) fn finish_relearning(&mut self, now: u64) {
        let Some(relearning) = self.relearning.take() else {
            return;
        };
        for (agent, inputs) in self.believed(&relearning) {
            self.adopt(agent, &inputs);
        }
        let settles_until =
            now + u64::try_from(self.settings.settling.as_millis()).unwrap_or(u64::MAX);
        for agent in self.agents.values_mut() {
            agent.ambiguous = false;
            // They were only kept waiting.
            agent.settles_until = settles_until;
        }
        let adopted = self.agents.values().map(|agent| agent.held.len()).sum();
        self.event(Event::Decides {
            agents: self.agents.len(),
            adopted,
        });
        self.place_free();
    }

    /// Who gets which of the inputs that only ambiguous agents claim.
    fn believed(&self, relearning: &Relearning) -> BTreeMap<AgentId, Vec<InputId>> {
        let claimants: HashMap<ListId, Claimants> = self
            .offers
            .all_lists()
            .map(|(id, list)| {
                // Whoever has all of it leaves nothing for others to have.
                let possible = list
                    .entries
                    .iter()
                    .all(|(input, _)| self.offers.free.contains(input));
                let mut claimants = Claimants::default();
                for (.., agent) in &list.agents {
                    claimants.add(*agent, possible, self, relearning);
                }
                (id, claimants)
            })
            .collect();
        let mut believed: BTreeMap<AgentId, Vec<InputId>> = BTreeMap::new();
        for input in &self.offers.free {
            let concerned = self
                .offers
                .list_ids_of(*input)
                .filter_map(|list| claimants.get(&list));
            let all = concerned.fold(Claimants::default(), Claimants::join);
            if let Some(agent) = all.owner() {
                believed.entry(agent).or_default().push(*input);
            }
        }
        believed
    }

    fn adopt(&mut self, agent: AgentId, inputs: &[InputId]) {
        if inputs.is_empty() {
            return;
        }
        let mut names = Vec::with_capacity(inputs.len());
        for input in inputs {
            self.give(*input, agent);
            names.push(Arc::clone(&self.offers.input(*input).name));
        }
        // It may have started them long ago.
        self.activate(agent, inputs);
        self.totals.adopted += names.len() as u64;
        names.sort();
        let agent = Arc::clone(&self.agents[&agent].id);
        self.event(Event::Adopted {
            agent,
            inputs: names,
        });
    }
}

impl Claimants {
    fn add(
        &mut self,
        agent: AgentId,
        possible: bool,
        election: &Election,
        relearning: &Relearning,
    ) {
        let known = &election.agents[&agent];
        if !known.ambiguous {
            self.witness = true;
            return;
        }
        let claimant = (known.first_seen, Arc::clone(&known.id), agent);
        let interval =
            u64::try_from(election.settings.poll_interval.as_millis()).unwrap_or(u64::MAX);
        if known.first_seen - relearning.since < interval {
            self.early += 1;
        } else {
            self.late += 1;
        }
        if (relearning.full_owners).contains(&*noted(&known.id, &known.caller)) {
            self.named = first(self.named.take(), Some(claimant.clone()));
        }
        if possible {
            self.possible = first(self.possible.take(), Some(claimant.clone()));
        }
        self.first = first(self.first.take(), Some(claimant));
    }

    fn join(self, other: &Self) -> Self {
        Self {
            named: first(self.named, other.named.clone()),
            early: self.early + other.early,
            late: self.late + other.late,
            first: first(self.first, other.first.clone()),
            possible: first(self.possible, other.possible.clone()),
            witness: self.witness || other.witness,
        }
    }

    /// Whom to believe, if anybody.
    ///
    /// Believing a single claimant is always safe: nobody else can be running it. Of several, at
    /// most one is right. The previous decision maker's note tells which. Without one, whoever
    /// polled within the first interval was there before those that did not. If an agent was told
    /// to run less than it offers, somebody had the rest, so one claimant is believed, unless
    /// others have part of what it would have to have; if not, everybody has just started.
    fn owner(self) -> Option<AgentId> {
        let single = match self.early {
            0 => self.late == 1,
            early => early == 1,
        };
        let believed = match self.named {
            Some(named) => Some(named),
            None if single => self.first,
            None if self.witness => self.possible,
            None => None,
        };
        believed.map(|(.., agent)| agent)
    }
}

fn first(a: Option<Claimant>, b: Option<Claimant>) -> Option<Claimant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
