//! The algorithm that operators used before: whenever an agent joins or leaves, everything is given
//! out anew.

use super::agent::Inputs;

/// Silence after which an agent is forgotten, checked only when somebody polls.
const TIMEOUT: u64 = 10_000;

/// The state of such an operator. It is lost when the operator restarts.
#[derive(Debug, Default)]
pub(super) struct Reshuffling {
    /// From the first agent that polls, ascending by score.
    tasks: Vec<(u32, usize)>,
    workers: Vec<Worker>,
    /// Plans go to agents in random order.
    random: u64,
}

#[derive(Debug)]
struct Worker {
    id: usize,
    seen: u64,
    inputs: Inputs,
}

impl Reshuffling {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: seed | 1,
            ..Self::default()
        }
    }

    /// The answer to a poll; none if it is refused.
    pub(super) fn poll(
        &mut self,
        id: usize,
        offers: Inputs,
        scores: &[u32],
        now: u64,
    ) -> Option<Inputs> {
        let offered = (0..scores.len()).filter(|input| offers >> input & 1 == 1);
        if self.tasks.is_empty() {
            self.tasks = offered.map(|input| (scores[input], input)).collect();
            self.tasks.sort_unstable();
        } else if self
            .tasks
            .iter()
            .fold(0, |all, (_, input)| all | 1 << input)
            != offers
        {
            return None;
        }
        let before = self.workers.len();
        self.workers.retain(|worker| now - worker.seen <= TIMEOUT);
        if self.workers.len() < before {
            self.reassign();
        }
        if !self.workers.iter().any(|worker| worker.id == id) {
            self.workers.push(Worker {
                id,
                seen: now,
                inputs: 0,
            });
            self.reassign();
        }
        let worker = self.workers.iter_mut().find(|worker| worker.id == id)?;
        worker.seen = now;
        Some(worker.inputs)
    }

    fn reassign(&mut self) {
        let plans = self.plans();
        for at in (1..self.workers.len()).rev() {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            self.workers
                .swap(at, (self.random % (at as u64 + 1)) as usize);
        }
        for (at, worker) in self.workers.iter_mut().enumerate() {
            worker.inputs = plans.get(at).copied().unwrap_or(0);
        }
    }

    /// Each plan begins with the next from the light end and is filled from the heavy end.
    fn plans(&self) -> Vec<Inputs> {
        let agents = self.workers.len();
        let mut plans = Vec::new();
        if agents == 0 {
            return plans;
        }
        let total: u32 = self.tasks.iter().map(|(score, _)| score).sum();
        let factor = total / agents as u32;
        let mut right = self.tasks.len();
        let mut left = 0;
        while left < agents && left < right {
            let (mut sum, first) = self.tasks[left];
            let mut plan = 1 << first;
            while right > left + 1 {
                let (score, input) = self.tasks[right - 1];
                if score + sum > factor && left + 1 < agents {
                    break;
                }
                sum += score;
                plan |= 1 << input;
                right -= 1;
            }
            plans.push(plan);
            left += 1;
        }
        plans
    }
}

#[test]
fn worked_examples() {
    let sums = |scores: &[u32], agents: usize| -> Vec<u32> {
        let mut operator = Reshuffling::new(1);
        for id in 0..agents {
            operator.poll(id, (1 << scores.len()) - 1, scores, 0);
        }
        let plans = operator.plans();
        plans
            .iter()
            .map(|plan| {
                (0..scores.len())
                    .filter(|input| plan >> input & 1 == 1)
                    .map(|input| scores[input])
                    .sum()
            })
            .collect()
    };
    assert_eq!(sums(&[1, 1, 2, 4, 8], 3), [1, 1, 14]);
    assert_eq!(sums(&[1, 1, 2, 4], 2), [1, 7]);
}
