//! Task election on this replica: the state machine of [`datakit_operator_core::election::tasks`]
//! behind a lock, a clock for it, and the question who decides.
//!
//! ```text
//! an agent's poll ──▶ this replica holds the Lease ──▶ decides
//!                 ├─▶ another one does             ──▶ forwarded to it, its answer passed on ([`forward`])
//!                 └─▶ nobody, or it can't be told  ──▶ asked of other replicas, which may know better;
//!                                                      else 503: the agent keeps what it has
//! ```
//!
//! Passing on is no opinion: a replica that can't read the Lease any more goes on doing it. Its
//! agents would otherwise look dead to the one who decides.
//!
//! There is never a second opinion: whoever can't be sure to hold the Lease at the moment of
//! answering doesn't answer. docs/election.md has the whole model.

mod args;
pub mod forward;
pub mod leaders;
pub mod senders;

pub use self::args::Args;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use datakit_operator_core::election::Caller;
use datakit_operator_core::election::tasks::{
    Cursor, Election, Event, Outcome, Page, PageSize, Poll, Settings, Start,
};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::state::{Handover, Leadership};
use crate::telemetry::election::ElectionMetrics;

/// What a replica says that held the Lease and can't be sure of it any more.
pub const LAPSED: &str = "this replica could not renew the Lease in time";
/// How often to look whether there is anything to do, at least.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Who decides.
#[derive(Clone, Debug)]
pub enum Coordination {
    /// This process, which is the only one.
    Alone,
    /// The replica that holds the Lease.
    Elected {
        /// Which one that is.
        leadership: watch::Receiver<Leadership>,
        /// What is left for the next one.
        handover: Arc<Handover>,
    },
}

/// What a poll comes to.
#[derive(Debug)]
pub enum Decision<T> {
    /// The answer of the one who decides.
    Here(T),
    /// Another replica decides.
    Elsewhere {
        /// Where it is reached.
        address: Arc<str>,
    },
    /// Nobody does at the moment, for this reason.
    Nobody(String),
}

/// The election as this replica sees it.
#[derive(Debug)]
pub struct Coordinator {
    name: String,
    coordination: Coordination,
    settings: Settings,
    origin: Instant,
    term: Mutex<Option<Term>>,
    metrics: Arc<ElectionMetrics>,
}

/// One uninterrupted time as the one who decides.
#[derive(Debug)]
struct Term {
    number: u32,
    election: Election,
}

impl Coordinator {
    /// The coordinator of the replica of this name, that has not decided anything yet.
    #[must_use]
    pub fn new(
        name: String,
        coordination: Coordination,
        settings: Settings,
        metrics: Arc<ElectionMetrics>,
    ) -> Self {
        Self {
            name,
            coordination,
            settings,
            origin: Instant::now(),
            term: Mutex::new(None),
            metrics,
        }
    }

    /// How it was set up.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Answers a poll of this sender.
    pub fn poll(&self, poll: &Poll<'_>, sender: &Caller) -> Decision<Outcome> {
        let decision = self.decide(|election, now| {
            let outcome = election.poll(poll, sender, now);
            log(election.take_events());
            outcome
        });
        if let Decision::Here(outcome) = &decision {
            self.metrics.answered(outcome);
        }
        decision
    }

    /// Where the replica that decides is reached, as far as this one knows.
    #[must_use]
    pub fn elsewhere(&self) -> Option<Arc<str>> {
        match self.leadership() {
            Leadership::Other { address, .. } => address,
            Leadership::Mine { .. } | Leadership::Nobody { .. } => None,
        }
    }

    /// The name of this replica.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A page of how things stand, for people.
    pub fn page(&self, from: &Cursor, size: PageSize) -> Decision<Page> {
        self.decide(|election, now| election.page(now, from, size))
    }

    /// Does something in the election if this replica decides.
    fn decide<T>(&self, act: impl FnOnce(&mut Election, Duration) -> T) -> Decision<T> {
        let (until, number, full_owners) = match self.leadership() {
            Leadership::Mine {
                until,
                term,
                inherited,
                ..
            } => (until, term, inherited),
            Leadership::Other {
                address: Some(address),
                ..
            } => return Decision::Elsewhere { address },
            Leadership::Other {
                holder,
                address: None,
                ..
            } => {
                return Decision::Nobody(format!(
                    "the replica `{holder}` decides, but doesn't say where it is reached"
                ));
            }
            Leadership::Nobody { why } => return Decision::Nobody(why.to_owned()),
        };
        let now = self.origin.elapsed();
        let mut current = self.term();
        let start = || {
            tracing::info!(term = number, "deciding about task election from now on");
            self.metrics.failed_over();
            let start = Start::Relearn {
                full_owners: full_owners.to_vec(),
            };
            Term {
                number,
                election: Election::new(self.settings.clone(), now, start),
            }
        };
        if current.as_ref().is_none_or(|term| term.number != number) {
            *current = Some(start());
        }
        let Some(term) = current.as_mut() else {
            return Decision::Nobody("this replica is about to decide".to_owned());
        };
        let done = act(&mut term.election, now);
        // The process may have been stopped in between, for any length of time.
        if Instant::now() >= until {
            return Decision::Nobody(
                "this replica can't be sure any more that it holds the Lease".to_owned(),
            );
        }
        Decision::Here(done)
    }

    fn leadership(&self) -> Leadership {
        match &self.coordination {
            Coordination::Alone => Leadership::Mine {
                until: Instant::now() + Duration::from_secs(3600),
                since: None,
                term: 0,
                inherited: Arc::default(),
            },
            Coordination::Elected { leadership, .. } => {
                let leadership = leadership.borrow().clone();
                match leadership {
                    Leadership::Mine { until, .. } if Instant::now() >= until => {
                        Leadership::Nobody { why: LAPSED }
                    }
                    leadership => leadership,
                }
            }
        }
    }

    /// Declares agents dead in time and tells log, metrics and the next one who decides. Runs for
    /// ever.
    pub async fn run(self: Arc<Self>) {
        loop {
            let next = self.tick();
            sleep(next).await;
        }
    }

    /// Does what is due; returns how long that was everything.
    fn tick(&self) -> Duration {
        let leadership = self.leadership();
        match &leadership {
            Leadership::Mine { .. } => {}
            Leadership::Other { .. } => {
                // What it decides from now on is not known here.
                if self.term().take().is_some() {
                    tracing::info!("another replica decides about task election from now on");
                    self.metrics.clear();
                }
                return LONGEST_WAIT;
            }
            // Whoever gets the Lease next: if it is this replica again, nobody has decided in
            // between.
            Leadership::Nobody { .. } => return LONGEST_WAIT,
        }
        let decision = self.decide(|election, now| {
            election.tick(now);
            log(election.take_events());
            let gauges = election.gauges();
            self.metrics.update(&gauges, &election.totals());
            // While it listens, what it inherited is still the best note there is.
            if let Coordination::Elected { handover, .. } = &self.coordination
                && !gauges.relearning
            {
                handover.leave(election.full_owners());
            }
            election.next_deadline().saturating_sub(now)
        });
        match decision {
            Decision::Here(next) => next.min(LONGEST_WAIT),
            Decision::Elsewhere { .. } | Decision::Nobody(_) => LONGEST_WAIT,
        }
    }

    fn term(&self) -> MutexGuard<'_, Option<Term>> {
        // A panic in there is a bug; the state machine itself is still whole enough to go on with.
        self.term.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log(events: Vec<Event>) {
    for event in events {
        match event {
            Event::Joined {
                agent,
                caller,
                returned,
            } => {
                tracing::info!(agent = &*agent, from = %caller, returned, "agent joined");
            }
            Event::Moved { agent, from, to } => tracing::info!(
                agent = &*agent,
                from = %from,
                to = %to,
                "agent has fallen silent, and somebody else of its name takes its place"
            ),
            Event::Died { agent, orphaned } => {
                tracing::warn!(agent = &*agent, orphaned, "agent has fallen silent");
            }
            Event::Assigned { agent, inputs } => {
                tracing::info!(agent = &*agent, inputs = list(&inputs), "inputs assigned");
            }
            Event::Adopted { agent, inputs } => {
                tracing::info!(agent = &*agent, inputs = list(&inputs), "inputs adopted");
            }
            Event::Contested { agent, inputs } => tracing::warn!(
                agent = &*agent,
                inputs = list(&inputs),
                "agent says that it runs inputs which another one has"
            ),
            Event::TakenBack { from, to, inputs } => tracing::info!(
                from = &*from,
                to = &*to,
                inputs = list(&inputs),
                "inputs that can't have started are moved"
            ),
            Event::Released { agent, inputs } => {
                tracing::info!(agent = &*agent, inputs = list(&inputs), "inputs released");
            }
            Event::Forgotten { inputs } => {
                tracing::info!(inputs = list(&inputs), "inputs that nobody offers any more");
            }
            Event::SharedId { agent } => tracing::warn!(
                agent = &*agent,
                "two agents seem to have this host name; both are told to run the same inputs"
            ),
            Event::SharedIdEnded { agent } => {
                tracing::info!(agent = &*agent, "the host name is no longer shared");
            }
            Event::Decides { agents, adopted } => {
                tracing::info!(agents, adopted, "listened long enough; giving out inputs");
            }
            Event::Stalled { milliseconds } => tracing::warn!(
                milliseconds,
                "this process was stopped; agents get the time back"
            ),
        }
    }
}

/// The names in one text, as many as a log line bears.
fn list(inputs: &[Arc<str>]) -> String {
    const SHOWN: usize = 20;
    let shown: Vec<&str> = inputs.iter().take(SHOWN).map(|name| &**name).collect();
    let mut text = shown.join(",");
    if inputs.len() > SHOWN {
        text.push_str(&format!(" and {} more", inputs.len() - SHOWN));
    }
    text
}
