//! Who decides, asked of every replica all the time.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use datakit_operator_e2e::caller::{Caller, Cutter};
use datakit_operator_e2e::installation::Member;
use datakit_operator_e2e::replica::WEBHOOK;
use datakit_operator_e2e::wait;
use serde_json::Value;

const PERIOD: Duration = Duration::from_millis(40);

/// Asks until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    stopped: Arc<AtomicBool>,
    cutters: Vec<Cutter>,
    sightings: Arc<Mutex<Vec<Sighting>>>,
}

/// What was learned about a change of who decides.
#[derive(Clone, Debug)]
pub(super) struct Failover {
    from: String,
    to: String,
    /// Between the last answer of the former one and the first of the next one.
    pub(super) silence: Duration,
    /// From the event until the next one said who it is.
    answers: Duration,
    /// From the event until it had listened long enough.
    decides: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Sighting {
    asked: Instant,
    answered: Instant,
    server: SocketAddr,
    holder: String,
    deciding: bool,
}

impl Watch {
    /// Starts asking these replicas.
    pub(super) fn start(members: &[Member]) -> Result<Self> {
        let mut watch = Self {
            stopped: Arc::default(),
            cutters: Vec::new(),
            sightings: Arc::default(),
        };
        for member in members {
            let server = (member.replica.address(), WEBHOOK).into();
            let mut caller = Caller::of(server)?;
            watch.cutters.push(caller.cutter());
            let (stopped, sightings) = (Arc::clone(&watch.stopped), Arc::clone(&watch.sightings));
            std::thread::spawn(move || {
                while !stopped.load(Ordering::SeqCst) {
                    let asked = Instant::now();
                    if let Ok((200, table)) = ask(&mut caller) {
                        let sighting = Sighting {
                            asked,
                            answered: Instant::now(),
                            server,
                            holder: table["holder"].as_str().unwrap_or_default().to_owned(),
                            deciding: table["phase"] == "deciding",
                        };
                        let mut sightings =
                            sightings.lock().unwrap_or_else(PoisonError::into_inner);
                        sightings.push(sighting);
                    }
                    std::thread::sleep(PERIOD);
                }
            });
        }
        Ok(watch)
    }

    /// Waits until somebody who decides is seen.
    pub(super) async fn until_decided_by(&self, who: impl Fn(&str) -> bool) -> Result<()> {
        self.until(|sighting| who(&sighting.holder)).await
    }

    /// Waits until somebody is seen who has listened long enough.
    pub(super) async fn until_deciding(&self, who: impl Fn(&str) -> bool) -> Result<()> {
        self.until(|sighting| sighting.deciding && who(&sighting.holder))
            .await
    }

    async fn until(&self, found: impl Fn(&Sighting) -> bool) -> Result<()> {
        wait::until("another one to decide", || async {
            let sightings = self.sightings();
            match sightings.iter().any(&found) {
                true => Ok(()),
                false => Err(format!("the last that was seen is {:?}", sightings.last())),
            }
        })
        .await
    }

    /// What was seen of a change, which must be the only one. Fails if two decided at one time.
    pub(super) fn finish(self, from: &str, event: Instant) -> Result<Failover> {
        judge(&self.sightings(), from, event)
    }

    fn sightings(&self) -> Vec<Sighting> {
        let sightings = self
            .sightings
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        sightings.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        for cutter in &self.cutters {
            cutter.cut();
        }
    }
}

impl fmt::Display for Failover {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            from,
            to,
            silence,
            answers,
            decides,
        } = self;
        write!(
            formatter,
            "{from} to {to}, nobody answered for {silence:.2?}; the next answers after {answers:.2?}"
        )?;
        match decides {
            Some(decides) => write!(formatter, " and gives out inputs after {decides:.2?}"),
            None => Ok(()),
        }
    }
}

fn judge(sightings: &[Sighting], from: &str, event: Instant) -> Result<Failover> {
    let holders: BTreeSet<&str> = sightings.iter().map(|sighting| &*sighting.holder).collect();
    let next: Vec<_> = holders.iter().filter(|holder| **holder != from).collect();
    ensure!(
        next.len() == 1 && holders.len() == 2,
        "seen to decide: {holders:?}"
    );
    let (old, new): (Vec<_>, Vec<_>) = sightings
        .iter()
        .partition(|sighting| sighting.holder == from);
    let first = new.iter().map(|sighting| sighting.answered).min();
    let first = first.context("no next one")?;
    // A question that was asked when the next one was known to decide can't be answered by the
    // former one.
    if let Some(late) = old.iter().find(|sighting| sighting.asked > first) {
        let server = late.server;
        let after = late.asked - first;
        bail!("two decide: {after:?} after {next:?} did, {server} says that {from} does");
    }
    let last = old.iter().map(|sighting| sighting.answered).max();
    let deciding = new.iter().filter(|sighting| sighting.deciding);
    Ok(Failover {
        from: from.to_owned(),
        to: next[0].to_string(),
        silence: first.saturating_duration_since(last.context("no former one")?),
        answers: first - event,
        decides: deciding.map(|sighting| sighting.answered - event).min(),
    })
}

/// The table that a replica shows, with the status of the answer.
pub(super) async fn table(server: SocketAddr) -> Result<(u16, Value)> {
    let asked = tokio::task::spawn_blocking(move || ask(&mut Caller::of(server)?));
    asked.await?
}

/// The table for people that a replica shows.
pub(super) async fn text(server: SocketAddr) -> Result<String> {
    let accept = "accept: text/plain\r\n";
    let asked = tokio::task::spawn_blocking(move || {
        Caller::of(server)?.call("GET", "/v1/datakit/election", accept, "")
    });
    Ok(asked.await??.body)
}

fn ask(caller: &mut Caller) -> Result<(u16, Value)> {
    let answer = caller.call("GET", "/v1/datakit/election", "", "")?;
    let table = match answer.status {
        200 => serde_json::from_str(&answer.body)?,
        _ => Value::Null,
    };
    Ok((answer.status, table))
}

#[test]
fn two_who_decide_are_noticed() {
    let start = Instant::now();
    let at = |tenths: u32| start + Duration::from_millis(100) * tenths;
    let check = |seen: &[(u32, u32, &str)], expected: &str| {
        let sightings: Vec<_> = seen
            .iter()
            .map(|(asked, answered, holder)| Sighting {
                asked: at(*asked),
                answered: at(*answered),
                server: SocketAddr::from(([127, 0, 0, 1], 1)),
                holder: (*holder).to_owned(),
                deciding: true,
            })
            .collect();
        let found = match judge(&sightings, "a", start) {
            Ok(failover) => failover.to_string(),
            Err(error) => error.to_string(),
        };
        assert!(found.contains(expected), "{seen:?}: {found}");
    };
    check(
        &[(1, 2, "a"), (5, 6, "b")],
        "a to b, nobody answered for 400.00ms",
    );
    // Asked before, answered late.
    check(&[(1, 9, "a"), (5, 6, "b")], "nobody answered for 0.00ns");
    check(&[(1, 2, "a"), (5, 6, "b"), (7, 8, "a")], "two decide");
    check(&[(1, 2, "a"), (5, 6, "b"), (7, 8, "c")], "seen to decide");
    check(&[(1, 2, "a")], "seen to decide");
}
