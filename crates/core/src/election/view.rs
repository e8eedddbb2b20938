//! How things stand, for metrics, for people, and for the next decision maker.

use std::sync::Arc;
use std::time::Duration;

use super::agent::Agent;
use super::offers::Place;
use super::report::{AgentRow, Gauges, InputRow, Standing, Table};
use super::state::{Election, millis};

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

    /// Everything, for people.
    pub fn table(&self, now: Duration) -> Table {
        let now = millis(now).max(self.last_event);
        let mut agents: Vec<_> = self
            .agents
            .values()
            .map(|agent| self.row(agent, now))
            .collect();
        agents.sort_by(|a, b| a.id.cmp(&b.id));
        let mut unassigned: Vec<_> = self
            .offers
            .all()
            .filter(|(_, input)| !matches!(input.place, Place::Held { .. }))
            .map(|(_, input)| Arc::clone(&input.name))
            .collect();
        unassigned.sort();
        Table {
            phase: if self.relearning.is_some() {
                "relearning"
            } else {
                "deciding"
            },
            agents,
            unassigned,
        }
    }

    fn row(&self, agent: &Agent, now: u64) -> AgentRow {
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
            last_seen_ms: now - agent.last_seen,
            load: agent.load,
            offers: self.offers.list(agent.list).entries.len(),
            shared_id: agent.sharing.suspected(),
            inputs,
        }
    }

    /// Ids of agents that hold all they offer, where somebody else offers some of it too; ascending.
    ///
    /// What such an agent says after a restart of the operator reads like the word of one that has just started. Where
    /// this list was kept (beside the Lease, say) the next decision maker can tell them apart, see
    /// [`Start::Relearn`](super::Start::Relearn).
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
            .map(|agent| Arc::clone(&agent.id))
            .collect();
        owners.sort();
        owners
    }
}
