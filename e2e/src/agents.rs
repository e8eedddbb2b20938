//! Agents that ask the operator which inputs they may run, as real ones do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde_json::{Value, json};

use crate::caller::{Balancer, Caller, Cutter};
use crate::referee::{Life, Offers, Polled, Referee};

/// How often real agents poll.
pub const INTERVAL: Duration = Duration::from_secs(4);
/// An agent starts its target list with this many answers in a row that equal it.
const EQUAL_ANSWERS: u32 = 3;

/// A living agent. It dies when dropped.
#[derive(Debug)]
pub struct Agent {
    id: String,
    life: Life,
    referee: Arc<Referee>,
    cutter: Cutter,
    /// Its end ends the agent's thread.
    _running: Sender<()>,
}

/// What an agent is told by its configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its host name.
    pub id: String,
    /// What it offers.
    pub offers: Offers,
    /// The time between two polls.
    pub interval: Duration,
    /// How it says that its target list is empty.
    pub nothing: Nothing,
}

/// An empty list, as different agents send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// `[]`
    List,
    /// `null`
    Null,
    /// The field isn't there.
    Absent,
}

/// What an agent knows and does, apart from polling.
#[derive(Debug)]
struct Mind {
    target: BTreeSet<String>,
    equal: u32,
    running: BTreeSet<String>,
}

impl Agent {
    /// Starts an agent that calls the operator behind `balancer`.
    pub fn start(
        settings: &Settings,
        balancer: &Arc<Balancer>,
        referee: &Arc<Referee>,
    ) -> Result<Self> {
        let life = referee.born(&settings.id, &settings.offers);
        let seed = settings.id.bytes().fold(7, |seed: u64, byte| {
            seed.wrapping_mul(31).wrapping_add(byte.into())
        });
        let caller = Caller::new(balancer, seed)?;
        let cutter = caller.cutter();
        let (running, ended) = channel();
        let body = Body {
            settings: settings.clone(),
            life: life.clone(),
            referee: Arc::clone(referee),
            caller,
        };
        std::thread::Builder::new()
            .name(settings.id.clone())
            .spawn(move || body.live(&ended))?;
        Ok(Self {
            id: settings.id.clone(),
            life,
            referee: Arc::clone(referee),
            cutter,
            _running: running,
        })
    }

    /// Ends its connection. It makes a new one for its next poll.
    pub fn disconnect(&self) {
        self.cutter.cut();
    }

    /// Its host name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.referee.died(&self.life);
        self.cutter.cut();
    }
}

/// An agent as its own thread sees it.
struct Body {
    settings: Settings,
    life: Life,
    referee: Arc<Referee>,
    caller: Caller,
}

impl Body {
    fn live(mut self, ended: &Receiver<()>) {
        let id = &self.settings.id;
        match self.caller.call("HEAD", "/ping", "", "") {
            Ok(answer) if (200..300).contains(&answer.status) => {}
            // It would never poll.
            Ok(answer) => {
                let status = answer.status;
                return self
                    .referee
                    .fault(&self.life, &format!("{id}: /ping gave {status}"));
            }
            Err(error) => {
                return self
                    .referee
                    .fault(&self.life, &format!("{id}: /ping failed: {error:#}"));
            }
        }
        let mut mind = Mind::new(&self.settings.offers);
        let mut next = Instant::now();
        loop {
            next += self.settings.interval;
            let now = Instant::now();
            // A ticker that nobody listened to has one tick ready, not more.
            while next + self.settings.interval < now {
                next += self.settings.interval;
            }
            let wait = next.saturating_duration_since(now);
            if ended.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            self.poll(&mut mind);
        }
    }

    fn poll(&mut self, mind: &mut Mind) {
        let body = self.request(mind).to_string();
        let asked = Instant::now();
        let answer = self.caller.call("POST", "/v1/datakit/election", "", &body);
        let (answer, text) = match answer {
            Ok(answer) => (Ok((answer.server, answer.status)), answer.body),
            Err(error) => (Err(format!("{error:#}")), String::new()),
        };
        let success = matches!(answer, Ok((_, 200..300)));
        let allowed = success.then(|| allowed(&text));
        let polled = Polled {
            life: self.life.clone(),
            asked,
            answered: Instant::now(),
            answer,
            reason: if success { String::new() } else { text },
        };
        match allowed {
            None => {}
            Some(None) => self
                .referee
                .fault(&self.life, &format!("{polled:?}: not readable")),
            Some(Some(allowed)) => {
                self.referee.told(&self.life, &allowed);
                let resumed = mind.told(allowed);
                self.referee.resumed(&self.life, &resumed);
            }
        }
        self.referee.polled(polled);
    }

    fn request(&self, mind: &Mind) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_millis();
        let mut request = json!({
            "namespace": "N/A", "id": self.settings.id, "timestamp": u64::try_from(now).unwrap_or_default(),
            "application_inputs": self.settings.offers, "running_inputs": mind.target,
        });
        if mind.target.is_empty() {
            match self.settings.nothing {
                Nothing::List => {}
                Nothing::Null => request["running_inputs"] = Value::Null,
                Nothing::Absent => {
                    request
                        .as_object_mut()
                        .map(|all| all.remove("running_inputs"));
                }
            }
        }
        request
    }
}

impl Mind {
    fn new(offers: &Offers) -> Self {
        Self {
            target: offers.keys().cloned().collect(),
            equal: 0,
            running: BTreeSet::new(),
        }
    }

    /// Takes an answer; returns what is started because of it, or started again.
    fn told(&mut self, allowed: Vec<String>) -> Vec<String> {
        let same = allowed.len() == self.target.len()
            && self.target.iter().all(|input| allowed.contains(input));
        if !same {
            self.equal = 0;
            // What has vanished from it is not stopped.
            self.target = allowed.into_iter().collect();
            return Vec::new();
        }
        self.equal += 1;
        if self.equal != EQUAL_ANSWERS {
            return Vec::new();
        }
        self.running.extend(self.target.iter().cloned());
        self.target.iter().cloned().collect()
    }
}

fn allowed(text: &str) -> Option<Vec<String>> {
    let answer: Value = serde_json::from_str(text).ok()?;
    let names = answer.get("allowed_inputs")?.as_array()?;
    let names = names.iter().map(|name| Some(name.as_str()?.to_owned()));
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers to an agent that offers a, b and c, each with what it starts.
    fn check(answers: &[(&[&str], &[&str])], running: &[&str]) {
        let offers = ["a", "b", "c"].map(|name| (name.to_owned(), 1)).into();
        let mut mind = Mind::new(&offers);
        for (answer, started) in answers {
            let answer = answer.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(mind.told(answer), *started, "{answers:?}");
        }
        assert!(mind.running.iter().eq(running), "{mind:?}");
    }

    #[test]
    fn an_assigned_input_starts_at_the_fourth_answer() {
        let a: &[&str] = &["a"];
        check(&[(a, &[]), (a, &[]), (a, &[]), (a, a), (a, &[])], a);
    }

    #[test]
    fn all_of_them_start_at_the_third() {
        let (all, other): (&[&str], &[&str]) = (&["a", "b", "c"], &["c", "a", "b"]);
        check(&[(all, &[]), (other, &[]), (all, all)], all);
    }

    #[test]
    fn what_vanishes_runs_on() {
        let (a, b): (&[&str], &[&str]) = (&["a"], &["b"]);
        let start = [(a, &[] as &[&str]), (a, &[]), (a, &[]), (a, a)];
        let change = [(b, &[] as &[&str]), (b, &[]), (b, &[]), (b, b)];
        check(&[start, change].concat(), &["a", "b"]);
    }

    #[test]
    fn a_repeated_name_never_starts() {
        let twice: &[&str] = &["a", "a"];
        let once: &[&str] = &["a"];
        check(
            &[
                (once, &[]),
                (twice, &[]),
                (twice, &[]),
                (twice, &[]),
                (twice, &[]),
            ],
            &[],
        );
    }
}
