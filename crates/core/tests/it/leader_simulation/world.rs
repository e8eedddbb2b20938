//! Simulated time: agents, replicas, and the storage of one record.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use datakit_operator_core::election::leader::{
    Candidate, Record, Request, Seen, Sighting, Status, decide,
};

/// Between two requests of an agent.
const INTERVAL: u64 = 3_000;
/// An agent gives up on a request then.
const GIVES_UP: u64 = 2_000;
/// An agent acts as the leader until so long after the answer that made or kept it one.
const ACTS: u64 = 27_000;
/// From then on nothing goes wrong any more.
const QUIET: u64 = 250_000;
const END: u64 = 350_000;
/// How often a request is decided again, as in the operator.
const ATTEMPTS: u32 = 5;

/// What happens, besides what agents do by themselves. Times are in milliseconds.
#[derive(Debug, Clone)]
pub(super) enum Op {
    /// An agent ends for good.
    Kill(usize),
    /// An agent's requests reach nobody.
    Cut { agent: usize, time: u32 },
    /// An agent stands still.
    Freeze { agent: usize, time: u32 },
    /// A replica ends; another one without memory is there after this time.
    Restart { replica: usize, time: u32 },
    /// A replica stands still, in the middle of whatever it does.
    Stop { replica: usize, time: u32 },
    /// A replica may not read or write.
    Forbid { replica: usize, time: u32 },
}

/// One replica.
#[derive(Debug, Clone)]
pub(super) struct Replica {
    /// Whether it decides by what a watch has told it, as the operator in Go does, instead of
    /// reading each time.
    pub(super) watches: bool,
    /// How far its wall clock is from the right time.
    pub(super) skew: i64,
}

/// All that a run depends on.
#[derive(Debug, Clone)]
pub(super) struct History {
    pub(super) starts: Vec<u32>,
    pub(super) replicas: Vec<Replica>,
    pub(super) ops: Vec<(u32, Op)>,
    /// Of a hundred messages between agents and replicas.
    pub(super) loss: u32,
    /// Of each message, at most.
    pub(super) delay: u32,
    /// Of what a watch tells, at most.
    pub(super) watch_delay: u32,
    pub(super) seed: u64,
}

/// By what replicas tell that a leadership has run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    /// For how long the record has been seen unchanged: the rule of the operator.
    Seen,
    /// The time in the record, by one's own wall clock.
    WallClock,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Accounts {
    /// Milliseconds in which two agents acted as leaders.
    pub(super) two_leaders: u64,
    /// New terms whose epoch was not above the last one.
    pub(super) epochs_back: u64,
    pub(super) terms: u64,
    pub(super) led_at_the_end: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stored {
    record: Record,
    /// By the wall clock of who wrote it.
    renewed: i64,
    version: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Operation(usize),
    AgentAsks(usize),
    AgentGivesUp(usize, u64),
    Arrives(Asked),
    /// A replica has read the storage as it was at this version.
    HasRead(Asked, u64),
    /// A write of this record over this version reaches the storage.
    Writes(Asked, u64, u64, i64),
    HasWritten(Asked, u64),
    /// The answer's status and epoch.
    Hears(Asked, bool, u64),
    WatchTells(usize, u32, u64),
}

/// A request: who asks, its number, for what, and who answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    agent: usize,
    number: u64,
    heartbeat: bool,
    replica: usize,
    /// Of the replica; one that has ended finishes nothing.
    process: u32,
    attempt: u32,
}

#[derive(Debug, Default)]
struct Agent {
    alive: bool,
    cut_until: u64,
    frozen_until: u64,
    waits_for: Option<u64>,
    /// Until when it acts as the leader, unless it hears something else.
    acts_until: u64,
    leads: bool,
}

#[derive(Debug, Default)]
struct State {
    process: u32,
    down_until: u64,
    stopped_until: u64,
    forbidden_until: u64,
    sighting: Option<Sighting>,
    /// The version that the watch has told last.
    told: u64,
}

struct World<'h> {
    history: &'h History,
    expiry: Expiry,
    now: u64,
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    pushed: u64,
    random: u64,
    agents: Vec<Agent>,
    replicas: Vec<State>,
    /// All versions; the last one is stored. Index 0 is "nothing yet".
    stored: Vec<Option<Stored>>,
    accounts: Accounts,
}

/// Plays a history and returns what came of it.
pub(super) fn run(history: &History, expiry: Expiry) -> Accounts {
    let mut world = World::new(history, expiry);
    while let Some(Reverse((time, _, event))) = world.queue.pop() {
        if time >= END {
            break;
        }
        world.pass(time);
        world.happens(event);
    }
    let alive = world.agents.iter().any(|agent| agent.alive);
    world.accounts.led_at_the_end = !alive || world.acting().count() == 1;
    world.accounts
}

impl<'h> World<'h> {
    fn new(history: &'h History, expiry: Expiry) -> Self {
        let mut world = Self {
            history,
            expiry,
            now: 0,
            queue: BinaryHeap::new(),
            pushed: 0,
            random: history.seed,
            agents: Vec::new(),
            replicas: history.replicas.iter().map(|_| State::default()).collect(),
            stored: vec![None],
            accounts: Accounts::default(),
        };
        for (agent, start) in history.starts.iter().enumerate() {
            world.agents.push(Agent {
                alive: true,
                ..Agent::default()
            });
            world.push(u64::from(*start), Event::AgentAsks(agent));
        }
        for (at, (time, _)) in history.ops.iter().enumerate() {
            world.push(u64::from(*time), Event::Operation(at));
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

    fn delay(&mut self) -> u64 {
        1 + self.random(self.calmed(self.history.delay))
    }

    /// A delay that, when it is quiet, leaves a request time to be answered.
    fn calmed(&self, delay: u32) -> u64 {
        const CALM: u32 = 200;
        u64::from(if self.now < QUIET {
            delay
        } else {
            delay.min(CALM)
        })
    }

    fn loses(&mut self) -> bool {
        self.now < QUIET && self.random(100) < u64::from(self.history.loss)
    }

    /// Those who act as leaders now.
    fn acting(&self) -> impl Iterator<Item = usize> {
        self.agents
            .iter()
            .enumerate()
            .filter(|(_, agent)| agent.alive && agent.leads)
            .filter(|(_, agent)| self.now < agent.acts_until && self.now >= agent.frozen_until)
            .map(|(at, _)| at)
    }

    /// Keeps the accounts up to `time`.
    fn pass(&mut self, time: u64) {
        // Who acts changes by time alone, too: look at each such moment.
        let mut moments: Vec<u64> = self
            .agents
            .iter()
            .flat_map(|agent| [agent.acts_until, agent.frozen_until])
            .filter(|moment| (self.now..time).contains(moment))
            .collect();
        moments.push(time);
        moments.sort_unstable();
        for moment in moments {
            if self.acting().count() > 1 {
                self.accounts.two_leaders += moment - self.now;
            }
            self.now = moment;
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Operation(at) => self.operate(at),
            Event::AgentAsks(agent) => self.agent_asks(agent),
            Event::AgentGivesUp(agent, number) => {
                let agent = &mut self.agents[agent];
                if agent.waits_for == Some(number) {
                    agent.waits_for = None;
                }
            }
            Event::Arrives(asked) => self.arrives(asked),
            Event::HasRead(asked, version) => self.has_read(asked, version),
            Event::Writes(asked, over, epoch, renewed) => self.writes(asked, over, epoch, renewed),
            Event::HasWritten(asked, version) => self.has_written(asked, version),
            Event::Hears(asked, success, epoch) => self.hears(&asked, success, epoch),
            Event::WatchTells(replica, process, version) => {
                let now = Duration::from_millis(self.now);
                let state = &mut self.replicas[replica];
                if state.process == process && version > state.told {
                    state.told = version;
                    see(&mut state.sighting, version, now);
                }
            }
        }
    }

    fn operate(&mut self, at: usize) {
        let until = |time: u32| (self.now + u64::from(time)).min(QUIET);
        match self.history.ops[at].1 {
            Op::Kill(agent) => self.agents[agent].alive = false,
            Op::Cut { agent, time } => self.agents[agent].cut_until = until(time),
            Op::Freeze { agent, time } => self.agents[agent].frozen_until = until(time),
            Op::Stop { replica, time } => self.replicas[replica].stopped_until = until(time),
            Op::Forbid { replica, time } => self.replicas[replica].forbidden_until = until(time),
            Op::Restart { replica, time } => {
                let down_until = until(time);
                let state = &mut self.replicas[replica];
                let process = state.process + 1;
                *state = State {
                    process,
                    down_until,
                    ..State::default()
                };
                self.list(replica, down_until);
            }
        }
    }

    /// A replica that watches gets what is stored, when it has started.
    fn list(&mut self, replica: usize, from: u64) {
        let (process, latest) = (self.replicas[replica].process, self.stored.len() as u64 - 1);
        let time = from + self.delay();
        self.push(time, Event::WatchTells(replica, process, latest));
    }

    fn agent_asks(&mut self, at: usize) {
        let agent = &self.agents[at];
        if !agent.alive {
            return;
        }
        if agent.frozen_until > self.now {
            let resumes = agent.frozen_until;
            self.push(resumes, Event::AgentAsks(at));
            return;
        }
        // A leader that has paused goes on asking as one: it may have been the network only.
        let heartbeat = agent.leads;
        let (busy, cut) = (agent.waits_for.is_some(), agent.cut_until > self.now);
        self.push(self.now + INTERVAL, Event::AgentAsks(at));
        if busy {
            return;
        }
        let number = self.pushed;
        self.agents[at].waits_for = Some(number);
        self.push(self.now + GIVES_UP, Event::AgentGivesUp(at, number));
        let replica = self.random(self.replicas.len() as u64) as usize;
        let asked = Asked {
            agent: at,
            number,
            heartbeat,
            replica,
            process: self.replicas[replica].process,
            attempt: 0,
        };
        let arrives = self.now + self.delay();
        if !cut && !self.loses() {
            self.push(arrives, Event::Arrives(asked));
        }
    }

    /// Whether the replica works at this moment; if it only stands still, the event comes again
    /// when it goes on.
    fn works(&mut self, asked: &Asked, event: impl FnOnce(Asked) -> Event) -> bool {
        let state = &self.replicas[asked.replica];
        if state.process != asked.process || state.down_until > self.now {
            return false;
        }
        if state.stopped_until > self.now {
            let resumes = state.stopped_until;
            self.push(resumes, event(asked.clone()));
            return false;
        }
        true
    }

    fn arrives(&mut self, asked: Asked) {
        if !self.works(&asked, Event::Arrives) {
            return;
        }
        let state = &self.replicas[asked.replica];
        if state.forbidden_until > self.now || asked.attempt >= ATTEMPTS {
            return;
        }
        let (version, time) = match self.history.replicas[asked.replica].watches {
            true => (state.told, self.now),
            false => (self.stored.len() as u64 - 1, self.now + self.delay()),
        };
        self.push(time, Event::HasRead(asked, version));
    }

    fn has_read(&mut self, asked: Asked, version: u64) {
        if !self.works(&asked, |asked| Event::HasRead(asked, version)) {
            return;
        }
        let now = Duration::from_millis(self.now);
        let wall = self.now as i64 + self.history.replicas[asked.replica].skew;
        let stored = self.stored[version as usize].clone();
        let state = &mut self.replicas[asked.replica];
        let age = match &stored {
            Some(_) => see(&mut state.sighting, version, now),
            None => Duration::ZERO,
        };
        let seen = stored.as_ref().map(|stored| Seen {
            record: &stored.record,
            age: match self.expiry {
                Expiry::Seen => age,
                Expiry::WallClock => {
                    Duration::from_millis(u64::try_from(wall - stored.renewed).unwrap_or(0))
                }
            },
        });
        let id = asked.agent.to_string();
        let candidate = Candidate {
            token: "t",
            namespace: "",
            id: &id,
        };
        let request = match asked.heartbeat {
            true => Request::Heartbeat,
            false => Request::Campaign,
        };
        let (answer, written) = decide(seen, request, &candidate);
        assert_eq!(written.is_some(), answer.status == Status::Success);
        match written {
            Some(record) => {
                let arrives = self.now + self.delay();
                self.push(arrives, Event::Writes(asked, version, record.epoch, wall));
            }
            None => self.answer(asked, false, answer.epoch),
        }
    }

    fn writes(&mut self, asked: Asked, over: u64, epoch: u64, renewed: i64) {
        let latest = self.stored.len() as u64 - 1;
        let time = self.now + self.delay();
        if over != latest {
            let again = Asked {
                attempt: asked.attempt + 1,
                ..asked
            };
            self.push(time, Event::Arrives(again));
            return;
        }
        let before = self.stored[over as usize].as_ref();
        let before = before.map_or(0, |before| before.record.epoch);
        if !asked.heartbeat {
            self.accounts.terms += 1;
            self.accounts.epochs_back += u64::from(epoch <= before);
        }
        self.stored.push(Some(Stored {
            record: Record {
                incumbent: asked.agent.to_string(),
                epoch,
                duration: Duration::from_secs(30),
            },
            renewed,
            version: latest + 1,
        }));
        self.push(time, Event::HasWritten(asked, latest + 1));
        for replica in 0..self.replicas.len() {
            let tells = self.now + 1 + self.random(self.calmed(self.history.watch_delay));
            let process = self.replicas[replica].process;
            self.push(tells, Event::WatchTells(replica, process, latest + 1));
        }
    }

    fn has_written(&mut self, asked: Asked, version: u64) {
        if !self.works(&asked, |asked| Event::HasWritten(asked, version)) {
            return;
        }
        let now = Duration::from_millis(self.now);
        see(&mut self.replicas[asked.replica].sighting, version, now);
        let epoch = self.stored[version as usize].as_ref();
        let epoch = epoch.map_or(0, |stored| stored.record.epoch);
        self.answer(asked, true, epoch);
    }

    fn answer(&mut self, asked: Asked, success: bool, epoch: u64) {
        let arrives = self.now + self.delay();
        if !self.loses() && self.agents[asked.agent].cut_until <= self.now {
            self.push(arrives, Event::Hears(asked, success, epoch));
        }
    }

    fn hears(&mut self, asked: &Asked, success: bool, epoch: u64) {
        let now = self.now;
        let agent = &mut self.agents[asked.agent];
        if agent.waits_for != Some(asked.number) {
            return;
        }
        if agent.frozen_until > now {
            // It hears it when it goes on, if it hasn't given up by then.
            let resumes = agent.frozen_until;
            self.push(resumes, Event::Hears(asked.clone(), success, epoch));
            return;
        }
        agent.waits_for = None;
        agent.leads = success;
        if success {
            agent.acts_until = now + ACTS;
        }
    }
}

/// Takes note of a version; returns for how long it has been seen.
fn see(sighting: &mut Option<Sighting>, version: u64, now: Duration) -> Duration {
    let version = version.to_string();
    let sighting = sighting.get_or_insert_with(|| Sighting::new(version.clone(), now));
    sighting.update(&version, now);
    sighting.age(now)
}
