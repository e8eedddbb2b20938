//! How things stand, for metrics, for people, and for the next decision maker.

use std::borrow::Cow;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use super::AgentId;
use super::agent::Agent;
use super::offers::Place;
use super::page::{AgentRow, Cursor, InputRow, Page, PageSize, Standing};
use super::report::Gauges;
use super::state::Election;
use crate::election::{Caller, millis};

impl Election {
    /// How things stand.
    pub fn gauges(&self) -> Gauges {
        let assigned = self.agents.values().map(|agent| agent.held.len()).sum();
        Gauges {
            agents: self.agents.len(),
            inputs: self.offers.count(),
            assigned,
            tentative: self.tentative,
            orphaned: self.offers.count() - assigned,
            shared_ids: self.shared_ids,
            relearning: self.relearning.is_some(),
        }
    }

    /// A part of everything, for people: agents by id, then inputs that nobody has. What it costs
    /// is what it shows.
    pub fn page(&self, now: Duration, from: &Cursor, size: PageSize) -> Page {
        let now = millis(now).max(self.last_event);
        let mut page = Page {
            phase: if self.relearning.is_some() {
                "relearning"
            } else {
                "deciding"
            },
            agents: Vec::new(),
            unassigned: Vec::new(),
            next: None,
        };
        let mut bytes = 0;
        let mut rest = size.rows.max(1);
        if let Cursor::Start | Cursor::Agent { .. } = from {
            let after = match from {
                Cursor::Agent { id, number } => Bound::Excluded((id.as_str().into(), *number)),
                _ => Bound::Unbounded,
            };
            for (id, agent) in self.in_order.range((after, Bound::Unbounded)) {
                if rest == 0 || bytes >= size.bytes {
                    page.next = page.last_agent();
                    return page;
                }
                let row = self.row(&self.agents[agent], *agent, now);
                bytes += 160 + id.len();
                bytes += (row.inputs.iter())
                    .map(|input| 64 + input.name.len())
                    .sum::<usize>();
                page.agents.push(row);
                rest -= 1;
            }
        }
        let after = match from {
            Cursor::Unassigned(input) => Bound::Excluded(*input),
            _ => Bound::Unbounded,
        };
        let mut free = self.offers.free.range((after, Bound::Unbounded)).peekable();
        let mut taken = self.offers.taken_back.range((after, Bound::Unbounded));
        let mut taken = taken.by_ref().peekable();
        let mut last = None;
        loop {
            let next = match (free.peek(), taken.peek()) {
                (Some(a), Some(b)) if b < a => taken.next(),
                (None, _) => taken.next(),
                _ => free.next(),
            };
            let Some(input) = next else {
                break;
            };
            if rest == 0 || bytes >= size.bytes {
                page.next = last.map(Cursor::Unassigned).or(page.last_agent());
                break;
            }
            let name = Arc::clone(&self.offers.input(*input).name);
            bytes += 8 + name.len();
            page.unassigned.push(name);
            rest -= 1;
            last = Some(*input);
        }
        page.unassigned.sort();
        page
    }

    fn row(&self, agent: &Agent, number: AgentId, now: u64) -> AgentRow {
        let standings = [
            (&agent.held, None),
            (&agent.losing, Some(Standing::TakenBack)),
            (&agent.expecting, Some(Standing::Expected)),
        ];
        let mut inputs: Vec<InputRow> = standings
            .into_iter()
            .flat_map(|(inputs, standing)| inputs.iter().map(move |id| (*id, standing)))
            .map(|(id, standing)| {
                let input = self.offers.input(id);
                InputRow {
                    name: Arc::clone(&input.name),
                    score: input.score,
                    standing: standing.unwrap_or(match input.place {
                        Place::Held { active: true, .. } => Standing::Active,
                        _ => Standing::Tentative,
                    }),
                }
            })
            .collect();
        inputs.sort_by(|a, b| a.name.cmp(&b.name));
        AgentRow {
            id: Arc::clone(&agent.id),
            number,
            caller: agent.caller.clone(),
            last_seen_ms: now - agent.last_seen,
            load: agent.load,
            offers: self.offers.list(agent.list).entries.len(),
            shared_id: agent.sharing.suspected(),
            inputs,
        }
    }

    /// Agents that hold all they offer, where somebody else offers some of it too; ascending. Each
    /// is an id and, where callers are told apart, the caller behind a blank: somebody else may use
    /// the id for inputs of its own.
    ///
    /// What such an agent says after a restart of the operator reads like the word of one that has
    /// just started. Where this list was kept (beside the Lease, say) the next decision maker can
    /// tell them apart, see [`Start::Relearn`](super::Start::Relearn).
    pub fn full_owners(&self) -> Vec<Arc<str>> {
        let mut owners: Vec<_> = self
            .agents
            .values()
            .filter(|agent| {
                let entries = &self.offers.list(agent.list).entries;
                agent.held.len() == entries.len()
                    && entries.iter().any(|(id, _)| {
                        self.offers
                            .lists_of(*id)
                            .map(|list| list.agents.len())
                            .sum::<usize>()
                            > 1
                    })
            })
            .map(|agent| noted(&agent.id, &agent.caller).into())
            .collect();
        owners.sort();
        owners
    }
}

/// An agent as it is named in the note for the next decision maker.
pub(super) fn noted<'a>(id: &'a str, caller: &Caller) -> Cow<'a, str> {
    match caller {
        Caller::Anybody => Cow::Borrowed(id),
        caller => Cow::Owned(format!("{id} {caller}")),
    }
}
