//! Simulated time: agents, a network that loses and delays, and operators that come and go.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use datakit_operator_core::election::Caller;
use datakit_operator_core::election::tasks::{Election, Limits, Outcome, Poll, Settings, Start};

use super::accounts::Accounts;
use super::agent::{Agent, Inputs};
use super::history::{History, Kind, Op, Strangers};
use super::reshuffling::Reshuffling;

/// Between two polls of an agent.
const POLL: u64 = 4_000;
/// Silence after which an operator may take an agent for dead; also how long a new one listens.
const TIMEOUT: u64 = 10_000;
/// From then on nothing is lost any more.
const QUIET: u64 = 110_000;
const END: u64 = 190_000;
/// After the last disturbance everything that is offered is collected within the longer of two: the
/// time-out and four polls, for what a dead agent had; seven polls, for what is taken back for an
/// agent that has just started. And the answers' way.
const RECOVERY: u64 = if TIMEOUT + 4 * POLL > 7 * POLL {
    TIMEOUT + 4 * POLL
} else {
    7 * POLL
} + 3_500;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Operation(usize),
    OperatorStarts,
    OperatorTicks,
    AgentStarts(usize),
    AgentPolls(usize, u32),
    /// A request: agent, process, its offers and target list, and whether it still waits.
    Arrives(usize, u32, Inputs, Inputs, bool),
    /// What a request came to; nothing if it failed.
    Ends(usize, u32, Option<Inputs>),
    StrangerPolls,
    Disturbance,
}

#[derive(Debug, Default)]
struct Slot {
    process: u32,
    agent: Option<Agent>,
    offers: Inputs,
    paused_until: u64,
    cut_until: u64,
    waiting: bool,
    heard: Option<u64>,
    /// What it offered and had as its target list when an operator last heard it, and when that
    /// was.
    said: Option<(Inputs, Inputs, u64)>,
    /// The latest answer that was sent to this process.
    latest: Inputs,
    excused: Inputs,
}

enum Operator {
    Ours(Box<Election>),
    Reshuffling(Reshuffling),
}

struct World<'h> {
    history: &'h History,
    kind: Kind,
    now: u64,
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    pushed: u64,
    random: u64,
    slots: Vec<Slot>,
    operator: Option<Operator>,
    operator_since: u64,
    relearning: bool,
    /// What this operator, while it listened, heard from somebody who had no right to it any more.
    misled: Inputs,
    note: Vec<String>,
    disturbed: u64,
    /// Since when an input that somebody offers is not collected.
    missing_since: [Option<u64>; NAMES.len()],
    accounts: Accounts,
}

const NAMES: [&str; 16] = [
    "i00", "i01", "i02", "i03", "i04", "i05", "i06", "i07", "i08", "i09", "i10", "i11", "i12",
    "i13", "i14", "i15",
];
/// What strangers have.
const OTHERS: [&str; 16] = [
    "s00", "s01", "s02", "s03", "s04", "s05", "s06", "s07", "s08", "s09", "s10", "s11", "s12",
    "s13", "s14", "s15",
];
const IDS: [&str; 6] = ["node-a", "node-b", "node-c", "node-d", "node-e", "node-f"];

/// Plays a history and returns what came of it.
pub(super) fn run(history: &History, kind: Kind) -> Accounts {
    let mut world = World::new(history, kind);
    while let Some(Reverse((time, _, event))) = world.queue.pop() {
        if time >= END {
            break;
        }
        world.pass(time);
        world.happens(event);
    }
    world.pass(END);
    world.count_own();
    world.accounts
}

impl<'h> World<'h> {
    fn new(history: &'h History, kind: Kind) -> Self {
        let slots = history.offers.iter().map(|offers| Slot {
            offers: Inputs::from(*offers),
            ..Slot::default()
        });
        let mut world = Self {
            history,
            kind,
            now: 0,
            queue: BinaryHeap::new(),
            pushed: 0,
            random: history.seed,
            slots: slots.collect(),
            operator: None,
            operator_since: 0,
            relearning: false,
            misled: 0,
            note: Vec::new(),
            disturbed: 0,
            missing_since: [None; NAMES.len()],
            accounts: Accounts::default(),
        };
        world.start_operator(history.relearn_first);
        world.push(500, Event::OperatorTicks);
        for (slot, start) in history.starts.iter().enumerate() {
            world.push(u64::from(*start), Event::AgentStarts(slot));
        }
        for (at, (time, _)) in history.ops.iter().enumerate() {
            world.push(u64::from(*time), Event::Operation(at));
        }
        world.push(QUIET, Event::Disturbance);
        if history.strangers != Strangers::None && kind == Kind::Ours {
            world.push(1, Event::StrangerPolls);
        }
        world
    }

    fn push(&mut self, time: u64, event: Event) {
        self.pushed += 1;
        self.queue.push(Reverse((time, self.pushed, event)));
    }

    /// A number below `bound`.
    fn random(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }

    fn loses(&mut self) -> bool {
        let lost = self.now < QUIET && self.random(100) < u64::from(self.history.loss);
        if lost {
            self.disturb(0);
        }
        lost
    }

    /// Whatever should be collected may be late because of what happens now and for some time.
    fn disturb(&mut self, time: u64) {
        self.disturbed = self.disturbed.max(self.now + time);
    }

    fn delay(&mut self) -> u64 {
        1 + self.random(u64::from(self.history.delay))
    }

    /// Keeps the accounts up to `time`.
    fn pass(&mut self, time: u64) {
        let span = time - self.now;
        let (mut once, mut twice, mut all, mut twice_all, mut offered) = (0, 0, 0, 0, 0);
        for slot in &self.slots {
            let Some(agent) = &slot.agent else { continue };
            let clean = agent.running & !slot.excused;
            twice |= once & clean;
            once |= clean;
            twice_all |= all & agent.running;
            all |= agent.running;
            offered |= agent.offers;
        }
        let time_of = |inputs: Inputs| u64::from(inputs.count_ones()) * span;
        self.accounts.twice += time_of(twice);
        self.accounts.twice_excused += time_of(twice_all & !twice);
        self.accounts.collected += time_of(all);
        self.accounts.missed += time_of(offered & !all);
        if self.now >= self.disturbed + RECOVERY {
            self.accounts.late += time_of(offered & !all);
        }
        for (input, since) in self.missing_since.iter_mut().enumerate() {
            if (offered & !all) >> input & 1 == 0 || self.now < 45_000 {
                *since = None;
            } else {
                let gap = time - *since.get_or_insert(self.now);
                self.accounts.longest_gap = self.accounts.longest_gap.max(gap);
            }
        }
        self.now = time;
        self.excuse();
    }

    /// What no operator can prevent: an agent that was silent for longer than the time-out goes on
    /// with what it was told, or will have been told when it hears the last answer.
    fn excuse(&mut self) {
        if self.operator.is_none() {
            return;
        }
        for slot in &mut self.slots {
            let (Some(agent), Some(heard)) = (&slot.agent, slot.heard) else {
                continue;
            };
            // A new operator stops listening when the time is over, not after it.
            let limit = TIMEOUT - u64::from(heard < self.operator_since);
            if self.now - heard.max(self.operator_since) > limit {
                slot.excused |= agent.running | agent.target | slot.latest;
                slot.latest = 0;
                self.disturbed = self.disturbed.max(self.now);
            }
        }
    }

    /// The other such case: one agent runs all that it offers, another one has just started, and no
    /// note was left.
    fn excuse_contested(&mut self) {
        let since = self.operator_since.max(self.now.saturating_sub(TIMEOUT));
        let claims: Vec<Inputs> = self
            .slots
            .iter()
            .map(|slot| match slot.said {
                Some((offers, target, at)) if offers == target && at >= since => offers,
                _ => 0,
            })
            .collect();
        for (at, claimed) in claims.iter().enumerate() {
            let mut others = claims.iter().enumerate().filter(|(other, _)| *other != at);
            let contested = others.any(|(_, others)| others & claimed != 0);
            let running = self.slots[at]
                .agent
                .as_ref()
                .map_or(0, |agent| agent.running);
            if contested && !self.note.iter().any(|id| id == IDS[at]) {
                self.accounts.contested += u64::from(claimed & running != 0);
                self.slots[at].excused |= running;
                // Told by the operator before, but not started.
                self.slots[at].latest = 0;
            }
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Operation(at) => self.operate(at),
            Event::OperatorStarts => {
                self.disturb(0);
                self.start_operator(true);
            }
            Event::OperatorTicks => {
                if let Some(Operator::Ours(election)) = &mut self.operator {
                    election.tick(Duration::from_millis(self.now));
                }
                self.watch_relearning();
                self.push(self.now + 500, Event::OperatorTicks);
            }
            Event::AgentStarts(at) => {
                self.disturb(0);
                let slot = &mut self.slots[at];
                slot.agent = Some(Agent::new(slot.offers));
                slot.waiting = false;
                slot.heard = None;
                slot.latest = 0;
                slot.excused = 0;
                slot.process += 1;
                let process = slot.process;
                self.push(self.now + POLL, Event::AgentPolls(at, process));
            }
            Event::AgentPolls(at, process) => self.agent_polls(at, process),
            Event::Arrives(at, process, offers, target, waits) => {
                self.arrives(at, process, offers, target, waits);
            }
            Event::Ends(at, process, answer) => self.ends(at, process, answer),
            Event::StrangerPolls => self.stranger_polls(),
            Event::Disturbance => self.disturb(0),
        }
    }

    fn operate(&mut self, at: usize) {
        self.disturb(0);
        match self.history.ops[at].1 {
            Op::Kill(at) => self.slots[at].agent = None,
            Op::Restart {
                agent,
                down,
                offers,
            } => {
                let slot = &mut self.slots[agent];
                slot.agent = None;
                if offers % 3 == 0 {
                    slot.offers = Inputs::from(offers);
                }
                // Any earlier process must not come back beside this one.
                slot.process += 1;
                self.push(self.now + u64::from(down), Event::AgentStarts(agent));
            }
            Op::Pause { agent, time } => {
                let until = self.now + u64::from(time);
                self.slots[agent].paused_until = until;
                self.push(until, Event::Disturbance);
            }
            Op::Cut { agent, time } => {
                let until = self.now + u64::from(time);
                self.slots[agent].cut_until = until;
                self.push(until, Event::Disturbance);
            }
            Op::OperatorRestart { down } => {
                self.note.clear();
                if let Some(Operator::Ours(election)) = &self.operator
                    && self.history.notes
                {
                    self.note = election
                        .full_owners()
                        .iter()
                        .map(ToString::to_string)
                        .collect();
                }
                self.count_own();
                self.operator = None;
                self.push(self.now + u64::from(down), Event::OperatorStarts);
            }
        }
    }

    fn start_operator(&mut self, listens: bool) {
        self.operator_since = self.now;
        self.misled = 0;
        self.operator = Some(match self.kind {
            Kind::Ours => {
                let start = if listens {
                    Start::Relearn {
                        full_owners: self.note.clone(),
                    }
                } else {
                    Start::Fresh
                };
                Operator::Ours(Box::new(Election::new(
                    Settings::default(),
                    Duration::from_millis(self.now),
                    start,
                )))
            }
            Kind::Reshuffling => {
                Operator::Reshuffling(Reshuffling::new(self.history.seed ^ self.now))
            }
        });
        self.watch_relearning();
    }

    fn agent_polls(&mut self, at: usize, process: u32) {
        let now = self.now;
        let slot = &mut self.slots[at];
        let Some(agent) = slot.agent.as_ref().filter(|_| slot.process == process) else {
            return;
        };
        if slot.paused_until > now {
            let resumes = slot.paused_until;
            self.push(resumes, Event::AgentPolls(at, process));
            return;
        }
        let (offers, target) = (agent.offers, agent.target);
        let cut = slot.cut_until > now;
        let busy = std::mem::replace(&mut slot.waiting, true);
        self.push(now + POLL, Event::AgentPolls(at, process));
        if busy {
            return;
        }
        let arrives = now + self.delay();
        if !cut && !self.loses() {
            self.push(arrives, Event::Arrives(at, process, offers, target, true));
            return;
        }
        let fails = arrives + self.delay();
        self.push(fails, Event::Ends(at, process, None));
        if self.history.late && self.random(3) == 0 {
            let arrives = now + self.random(12_000);
            self.push(arrives, Event::Arrives(at, process, offers, target, false));
        }
    }

    fn arrives(&mut self, at: usize, process: u32, offers: Inputs, target: Inputs, waits: bool) {
        // Of a process that has given up on it, or has ended.
        let outdated = !waits || self.slots[at].process != process;
        if outdated {
            // With other offers it looks as if there were two agents, at first.
            // From a former address, it looks alive there.
            let moved = self.history.pods && self.slots[at].process != process;
            let same = self.slots[at].offers == offers && !moved;
            self.disturb(if same { 0 } else { TIMEOUT });
            if self.relearning {
                // An outdated claim that an operator who knows nothing yet has to believe.
                self.slots[at].excused |= target;
            }
        }
        if self.relearning {
            self.misled |= target & self.slots[at].excused;
        }
        let answer = self.answer(at, process, offers, target);
        // Listening may have ended within.
        self.watch_relearning();
        let slot = &mut self.slots[at];
        if self.operator.is_some() {
            slot.said = Some((offers, target, self.now));
        }
        let lives = slot.process == process && slot.agent.is_some();
        if self.operator.is_some() && lives {
            slot.heard = Some(self.now);
        }
        if let Some(answer) = answer.filter(|_| lives) {
            self.slots[at].latest = answer;
            self.check_answer(at, answer);
        }
        if !waits {
            return;
        }
        let lost = self.slots[at].cut_until > self.now || self.loses();
        let ends = self.now + self.delay();
        self.push(
            ends,
            Event::Ends(at, process, if lost { None } else { answer }),
        );
    }

    fn ends(&mut self, at: usize, process: u32, answer: Option<Inputs>) {
        // Where one that was silent for too long goes on beside its successor, or only hasn't heard
        // yet that it has one, a new operator can't know whom to believe. The same where a request
        // of one that has ended came late.
        let others = self
            .slots
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at);
        let disputed = others.fold(self.misled, |all, (_, slot)| match &slot.agent {
            Some(agent) => all | (agent.running | agent.target) & slot.excused,
            None => all,
        });
        let slot = &mut self.slots[at];
        if slot.process != process || slot.agent.is_none() {
            return;
        }
        if slot.paused_until > self.now {
            let resumes = slot.paused_until;
            self.push(resumes, Event::Ends(at, process, answer));
            return;
        }
        slot.waiting = false;
        if let (Some(agent), Some(answer)) = (&mut slot.agent, answer) {
            let dropped = agent.target & agent.running & !answer;
            slot.excused |= dropped & disputed;
            self.accounts.moved += u64::from((dropped & !slot.excused).count_ones());
            self.accounts.moved_excused += u64::from((dropped & slot.excused).count_ones());
            agent.told(answer);
        }
    }

    fn check_answer(&mut self, at: usize, answer: Inputs) {
        let told = &self.slots[at];
        let offers = told.agent.as_ref().map_or(0, |agent| agent.offers);
        self.accounts.not_offered += u64::from((answer & !offers).count_ones());
        for (other, slot) in self.slots.iter().enumerate() {
            if other != at && slot.agent.is_some() {
                let excused = slot.excused | told.excused | self.misled;
                let both = answer & slot.latest & !excused;
                self.accounts.given_twice += u64::from(both.count_ones());
            }
        }
    }

    /// Polls in anybody's name, from one of a few addresses.
    fn stranger_polls(&mut self) {
        let name = self.random(2 * IDS.len() as u64) as usize;
        let id = IDS.get(name).copied().unwrap_or("stranger");
        let address = 200 + self.random(3) as u8;
        // While an operator listens, it has nothing but words to go by.
        let greedy = self.history.strangers == Strangers::Greedy && !self.relearning;
        let names = if greedy { NAMES } else { OTHERS };
        let (offers, running) = (self.random(1 << 16), self.random(1 << 16));
        let running = if self.random(3) == 0 { offers } else { running };
        let inputs = |set: u64| (0..NAMES.len()).filter(move |input| set >> input & 1 == 1);
        let poll = Poll::new(
            Cow::Borrowed(id),
            inputs(offers)
                .map(|input| (Cow::Borrowed(names[input]), 1))
                .collect(),
            inputs(running)
                .map(|input| Cow::Borrowed(names[input]))
                .collect(),
            &Limits::default(),
        );
        let caller = Caller::at([10, 0, 9, address].into());
        if let Some(Operator::Ours(election)) = &mut self.operator {
            election.poll(&poll.unwrap(), &caller, Duration::from_millis(self.now));
        }
        self.watch_relearning();
        // What was given to a stranger is free again when that one is dead.
        self.disturb(TIMEOUT);
        let next = self.now + 1 + self.random(2_500);
        if next < QUIET {
            self.push(next, Event::StrangerPolls);
        }
    }

    fn answer(
        &mut self,
        at: usize,
        process: u32,
        offers: Inputs,
        target: Inputs,
    ) -> Option<Inputs> {
        let scores = &self.history.scores;
        let operator = self.operator.as_mut()?;
        self.accounts.polls += 1;
        let election = match operator {
            Operator::Ours(election) => election,
            Operator::Reshuffling(operator) => return operator.poll(at, offers, scores, self.now),
        };
        let inputs = |set: Inputs| (0..NAMES.len()).filter(move |input| set >> input & 1 == 1);
        let poll = Poll::new(
            Cow::Borrowed(IDS[at]),
            inputs(offers)
                .map(|input| (Cow::Borrowed(NAMES[input]), scores[input]))
                .collect(),
            inputs(target)
                .map(|input| Cow::Borrowed(NAMES[input]))
                .collect(),
            &Limits::default(),
        );
        let pod = if self.history.pods { process as u8 } else { 0 };
        let caller = Caller::at([10, 1, at as u8, pod].into());
        match election.poll(&poll.unwrap(), &caller, Duration::from_millis(self.now)) {
            Outcome::Allowed(allowed) => {
                assert!(allowed.inputs().is_sorted_by(|a, b| a < b));
                Some(
                    allowed
                        .inputs()
                        .fold(0, |set, name| set | 1 << name[1..].parse::<u32>().unwrap()),
                )
            }
            Outcome::Wait(_) => None,
            Outcome::Refused(refusal) => panic!("{refusal}"),
        }
    }

    /// Notices the end of an operator's time of listening, when it must have made up its mind.
    fn watch_relearning(&mut self) {
        let relearning = match &self.operator {
            Some(Operator::Ours(election)) => election.gauges().relearning,
            _ => false,
        };
        if self.relearning && !relearning && self.operator.is_some() {
            self.excuse_contested();
        }
        self.relearning = relearning;
    }

    fn count_own(&mut self) {
        if let Some(Operator::Ours(election)) = &self.operator {
            let totals = election.totals();
            self.accounts.moved_by_own_count += totals.moved_active;
            self.accounts.moved_tentative += totals.moved_tentative;
        }
    }
}
