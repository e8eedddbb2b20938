//! What task election counts.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use datakit_operator_core::election::tasks::{Gauges, Outcome, Totals};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Labels;
use crate::clock;

/// Task election, as seen by this replica. All but the answers and the polls passed on are those of
/// the replica that decides, and zero on the others.
#[derive(Debug)]
pub struct ElectionMetrics {
    agents: Gauge,
    shared_ids: Gauge,
    inputs: [Gauge; 3],
    moves: [Counter; 2],
    allowed: Counter,
    waited: Counter,
    refused: Counter,
    /// Polls that could not be read.
    pub bad: Counter,
    /// Requests of an address that sends too many.
    pub too_often: Counter,
    /// Requests of somebody who doesn't prove to be an agent.
    pub denied: Counter,
    /// Polls that came while nobody decided.
    pub nobody: Counter,
    /// Polls passed on to the replica that decides, and answered by it.
    pub forwarded: Counter,
    /// Polls that could not be passed on.
    pub unreachable: Counter,
    holder_changes: Counter,
    last_failover: Gauge<f64, AtomicU64>,
    /// What of the totals has been counted already.
    counted: Mutex<Totals>,
}

impl ElectionMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let agents = Gauge::default();
        registry.register("election_agents", "Live agents", agents.clone());
        let shared_ids = Gauge::default();
        registry.register(
            "election_shared_ids",
            "Host names that two agents seem to share",
            shared_ids.clone(),
        );
        let inputs = Family::<Labels<1>, Gauge>::default();
        registry.register(
            "election_inputs",
            "Inputs by state: active, tentative (can't have been started yet), orphaned (nobody has it)",
            inputs.clone(),
        );
        let moves = Family::<Labels<1>, Counter>::default();
        registry.register(
            "election_moves",
            "Inputs taken from a live agent; of active ones there should be none",
            moves.clone(),
        );
        let answers = Family::<Labels<1>, Counter>::default();
        registry.register(
            "election_answers",
            "Polls of agents by what was answered",
            answers.clone(),
        );
        let holder_changes = Counter::default();
        registry.register(
            "election_holder_changes",
            "How often this replica began to decide",
            holder_changes.clone(),
        );
        let last_failover = Gauge::<f64, AtomicU64>::default();
        registry.register(
            "election_last_failover_timestamp_seconds",
            "When this replica began to decide for the last time, in seconds since 1970; 0 if never",
            last_failover.clone(),
        );
        let answer = |outcome| answers.get_or_create_owned(&[("outcome", outcome)]);
        Self {
            agents,
            shared_ids,
            inputs: ["active", "tentative", "orphaned"]
                .map(|state| inputs.get_or_create_owned(&[("state", state)])),
            moves: ["active", "tentative"]
                .map(|state| moves.get_or_create_owned(&[("state", state)])),
            allowed: answer("allowed"),
            waited: answer("listening"),
            refused: answer("refused"),
            bad: answer("bad_request"),
            too_often: answer("too_often"),
            denied: answer("denied"),
            nobody: answer("nobody_decides"),
            forwarded: answer("forwarded"),
            unreachable: answer("holder_unreachable"),
            holder_changes,
            last_failover,
            counted: Mutex::default(),
        }
    }

    /// A poll was decided here.
    pub fn answered(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Allowed(_) => self.allowed.inc(),
            Outcome::Wait(_) => self.waited.inc(),
            Outcome::Refused(_) => self.refused.inc(),
        };
    }

    /// This replica began to decide.
    pub fn failed_over(&self) {
        self.holder_changes.inc();
        self.last_failover.set(clock::since_1970().as_secs_f64());
        if let Ok(mut counted) = self.counted.lock() {
            *counted = Totals::default();
        }
    }

    /// How things stand in the election that this replica decides.
    pub fn update(&self, gauges: &Gauges, totals: &Totals) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.agents.set(number(gauges.agents));
        self.shared_ids.set(number(gauges.shared_ids));
        let active = gauges.assigned.saturating_sub(gauges.tentative);
        for (gauge, count) in self
            .inputs
            .iter()
            .zip([active, gauges.tentative, gauges.orphaned])
        {
            gauge.set(number(count));
        }
        if let Ok(mut counted) = self.counted.lock() {
            let [active, tentative] = &self.moves;
            active.inc_by(totals.moved_active.saturating_sub(counted.moved_active));
            tentative.inc_by(
                totals
                    .moved_tentative
                    .saturating_sub(counted.moved_tentative),
            );
            *counted = *totals;
        }
    }

    /// Another replica decides now.
    pub fn clear(&self) {
        let gauges = Gauges::default();
        self.update(&gauges, &Totals::default());
    }
}
