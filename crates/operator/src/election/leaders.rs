//! Leader election of newer agents: where its records are kept, and how a request changes one.
//!
//! Every replica answers for itself. The record of a scope is read, decided on, and written only if
//! nobody else has written it meanwhile; so it needs no replica that decides for all. Each replica
//! measures by its own monotonic clock for how long a record hasn't changed.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use datakit_operator_core::election::leader::{
    Answer, Candidate, Problem, Record, Request, Seen, Sighting, check, decide, lease_name, scope,
};
use datakit_operator_core::election::{Caller, fair_share};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::telemetry::leaders::{Access, LeaderMetrics, Levels, Transition};
use crate::tls::provider::sha256;

/// How often a request is decided again because somebody else was faster.
const ATTEMPTS: usize = 5;
/// Scopes that this replica has made a record for, and that have been led within [`ENDED`]. Agents
/// don't authenticate, so a stranger could otherwise fill the cluster's storage. Each caller has
/// its share of them.
const MAX_SCOPES: usize = 1_000;
/// A scope that nobody has led for so long gives way to another one.
const ENDED: Duration = Duration::from_secs(3_600);
/// Scopes that are known to have a leader, made here or not.
const MAX_KNOWN: usize = 4_000;
/// For how long a record that was read is good enough to say that its leader still leads.
const FRESH: Duration = Duration::from_secs(2);
/// Requests that work on records at once; more have to wait their turn.
const MAX_AT_ONCE: usize = 32;
/// The same for scopes of which no leader is known, as all are that strangers make up.
const MAX_UNKNOWN_AT_ONCE: usize = 8;
/// How long a turn is waited for: agents give up after two seconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// For how long a look at the rights counts.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// A future behind a pointer.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a record can't be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// Somebody else has written it since it was read.
    Conflict,
    /// The operator may not.
    Forbidden(String),
    /// The API server can't be reached, or something else is wrong.
    Unavailable(String),
}

/// A record as it was read, with what is needed to write it only if it hasn't changed.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The record; `None` if there is none.
    pub record: Option<Record>,
    /// The store's mark of this version; `None` if nothing is stored.
    pub version: Option<String>,
    /// All that is stored, in the store's own form. What the store doesn't know stays as it is.
    pub object: serde_json::Value,
}

/// Keeps records.
pub trait Store: Debug + Send + Sync + 'static {
    /// Reads one.
    fn read<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Stored, StoreError>>;

    /// Writes one over what was read, and returns the mark of what is stored now.
    fn write<'a>(
        &'a self,
        name: &'a str,
        record: Record,
        over: Stored,
    ) -> Pending<'a, Result<String, StoreError>>;

    /// Whether records can be read and written.
    fn check(&self) -> Pending<'_, Result<(), StoreError>>;
}

/// Answers the requests of newer agents.
#[derive(Debug)]
pub struct Leaders {
    store: Arc<dyn Store>,
    metrics: LeaderMetrics,
    scopes: Mutex<HashMap<String, Scope>>,
    /// Whether changes are heard of as they happen, where somebody is to tell them.
    watch: Option<AtomicBool>,
    /// From when the ages of records are measured.
    origin: Instant,
    at_once: Semaphore,
    unknown_at_once: Semaphore,
    /// The last look at the rights, and when that was.
    checked: tokio::sync::Mutex<Option<(Instant, Result<(), StoreError>)>>,
}

/// A scope that has, or had, a leader. Nothing else is remembered.
#[derive(Debug)]
struct Scope {
    /// Who made its record, if that was done here.
    maker: Option<Caller>,
    /// As it was read or written last.
    record: Record,
    /// Since when it has been like that.
    sighting: Sighting,
    /// When it was read or written last.
    checked: Instant,
}

/// What a request comes to.
#[derive(Debug)]
pub enum Reply {
    /// An answer that agents understand.
    Answer(Box<Answer>),
    /// There are too many scopes, or requests; the text says what to do.
    TooMany(String),
}

/// A request that isn't answered as agents understand it.
enum Failure {
    Store(StoreError),
    TooManyScopes { may: usize },
}

impl Leaders {
    /// Keeps records in `store`, which nobody else writes.
    #[must_use]
    pub fn alone(store: Arc<dyn Store>, metrics: LeaderMetrics) -> Self {
        Self::with(store, metrics, None)
    }

    /// Keeps records in `store`, beside others. Somebody tells what they write, see
    /// [`observe`](Self::observe).
    #[must_use]
    pub fn watched(store: Arc<dyn Store>, metrics: LeaderMetrics) -> Self {
        Self::with(store, metrics, Some(AtomicBool::new(false)))
    }

    fn with(store: Arc<dyn Store>, metrics: LeaderMetrics, watch: Option<AtomicBool>) -> Self {
        Self {
            store,
            metrics,
            scopes: Mutex::default(),
            watch,
            origin: Instant::now(),
            at_once: Semaphore::new(MAX_AT_ONCE),
            unknown_at_once: Semaphore::new(MAX_UNKNOWN_AT_ONCE),
            checked: tokio::sync::Mutex::default(),
        }
    }

    /// Answers a campaign or a heartbeat of this sender. `may_try` is asked if the scope has no
    /// leader that is known here.
    pub async fn answer(
        &self,
        request: Request,
        candidate: &Candidate<'_>,
        sender: &Caller,
        may_try: impl FnOnce() -> bool,
    ) -> Reply {
        if let Err(answer) = check(candidate) {
            return Reply::Answer(answer);
        }
        let name = lease_name(&sha256(&scope(candidate.token, candidate.namespace)));
        let turns = match self.known(&name) {
            Some(leader) => {
                let seen = leader
                    .as_ref()
                    .map(|(record, age)| Seen { record, age: *age });
                let (answer, written) = decide(seen, request, candidate);
                // A leadership that lasts ends for nobody before its time.
                if leader.is_some() && written.is_none() {
                    return Reply::Answer(Box::new(answer));
                }
                &self.at_once
            }
            None if !may_try() => {
                return Reply::TooMany(
                    "your address asks too often for leadership of what has no leader".to_owned(),
                );
            }
            None => &self.unknown_at_once,
        };
        let answer = match timeout(PATIENCE, turns.acquire()).await {
            Ok(Ok(_turn)) => self.decide(request, candidate, &name, sender).await,
            // It is never closed.
            _ => Err(Failure::Store(StoreError::Unavailable(
                "too many requests are waiting for the API server".to_owned(),
            ))),
        };
        match answer {
            Ok(answer) => Reply::Answer(Box::new(answer)),
            Err(Failure::Store(error)) => {
                let (problem, message) = error.problem();
                Reply::Answer(Box::new(Answer::error(candidate, problem, message)))
            }
            Err(Failure::TooManyScopes { may }) => Reply::TooMany(format!(
                "there are so many combinations of token and namespace that one address may have {may} of them"
            )),
        }
    }

    /// Takes note of a record that somebody has written. Without this, a replica would first see it
    /// when an agent asks, and would wait for its whole duration from then on.
    pub fn observe(&self, name: &str, record: &Record, version: &str) {
        if !self.is_older(name, version) {
            self.saw(name, record, version, None);
        }
    }

    /// Whether changes are heard of from now on.
    pub fn set_live(&self, live: bool) {
        if let Some(watch) = &self.watch {
            watch.store(live, Ordering::Relaxed);
        }
    }

    /// Whether a version is from before the one that is known: what a watch tells may be older than
    /// an answer to a read.
    /// (<https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>)
    fn is_older(&self, name: &str, version: &str) -> bool {
        let scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        let number = |version: &str| version.parse::<u64>().ok();
        let known = scopes.get(name).map(|scope| scope.sighting.version());
        known.and_then(number) > number(version)
    }

    /// Whether records can be read and written at this moment, and changes are heard of. An agent
    /// asks once, when it starts, and never again.
    ///
    /// # Errors
    ///
    /// If not, with the reason.
    pub async fn status(&self) -> Result<(), (Problem, String)> {
        // Whoever asks at the same time shares one look, so that asking costs the API server
        // little.
        let looking = timeout(PATIENCE, self.checked.lock()).await;
        let Ok(mut checked) = looking else {
            let why = "too many requests are waiting for the API server";
            return Err(StoreError::Unavailable(why.to_owned()).problem());
        };
        let checked = match &*checked {
            Some((at, result)) if at.elapsed() < GOOD_FOR => result.clone(),
            _ => {
                let result = self.store.check().await;
                *checked = Some((Instant::now(), result.clone()));
                result
            }
        };
        checked.map_err(StoreError::problem)?;
        match &self.watch {
            Some(live) if !live.load(Ordering::Relaxed) => Err((
                Problem::CacheNotReady,
                "the Leases of agents' leaders are not watched yet".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    async fn decide(
        &self,
        request: Request,
        candidate: &Candidate<'_>,
        name: &str,
        sender: &Caller,
    ) -> Result<Answer, Failure> {
        for _ in 0..ATTEMPTS {
            let stored = self.store.read(name).await;
            let stored = stored.map_err(|error| self.failed(Access::Get, error))?;
            let age = match (&stored.record, &stored.version) {
                (Some(record), Some(version)) => self.saw(name, record, version, None),
                _ => Duration::ZERO,
            };
            let record = stored.record.as_ref();
            let seen = record.map(|record| Seen { record, age });
            let (answer, written) = decide(seen, request, candidate);
            let Some(written) = written else {
                return Ok(answer);
            };
            let maker = stored.version.is_none().then_some(sender);
            if maker.is_some() {
                self.admit(sender)?;
            }
            let access = match stored.version {
                None => Access::Create,
                Some(_) => Access::Update,
            };
            let transition = match record {
                None => Some(Transition::FirstAcquire),
                Some(before) if before.epoch != written.epoch => Some(Transition::LeaseExpired),
                Some(_) => None,
            };
            match self.store.write(name, written.clone(), stored).await {
                Ok(version) => {
                    if let Some(transition) = transition {
                        self.metrics.given(transition);
                    }
                    self.saw(name, &written, &version, maker);
                    return Ok(answer);
                }
                Err(StoreError::Conflict) => {
                    self.metrics.conflicts.inc();
                }
                Err(error) => return Err(self.failed(access, error)),
            }
        }
        Err(Failure::Store(StoreError::Conflict))
    }

    fn failed(&self, access: Access, error: StoreError) -> Failure {
        self.metrics.failed(access);
        Failure::Store(error)
    }

    /// How things stand, for metrics.
    pub fn levels(&self) -> Levels {
        let scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.origin.elapsed();
        let mut levels = Levels::default();
        for scope in scopes.values() {
            let age = scope.sighting.age(now);
            if !scope.lasts(age) {
                continue;
            }
            let remaining = scope.record.duration.saturating_sub(age);
            levels.remaining = match levels.active {
                0 => remaining,
                _ => levels.remaining.min(remaining),
            };
            levels.age = levels.age.max(age);
            levels.active += 1;
        }
        levels
    }

    /// Nothing if no leader is known; else who leads, if that was seen just now, and for how long
    /// the record has been like that.
    fn known(&self, name: &str) -> Option<Option<(Record, Duration)>> {
        let scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        let scope = scopes.get(name)?;
        let age = scope.sighting.age(self.origin.elapsed());
        let fresh = scope.checked.elapsed() < FRESH && scope.lasts(age);
        Some(fresh.then(|| (scope.record.clone(), age)))
    }

    /// Whether a caller may make one more record.
    fn admit(&self, sender: &Caller) -> Result<(), Failure> {
        let share = sender.share();
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |scopes: &HashMap<String, Scope>| {
            let makers = || scopes.values().filter_map(|scope| scope.maker.as_ref());
            (
                makers().count(),
                makers().filter(|maker| **maker == share).count(),
            )
        };
        let may = |made| match share {
            Caller::Anybody => MAX_SCOPES - made,
            _ => fair_share(MAX_SCOPES, made),
        };
        let (mut made, mut own) = count(&scopes);
        if own >= may(made) || made >= MAX_SCOPES {
            scopes.retain(|_, scope| scope.checked.elapsed() < ENDED);
            (made, own) = count(&scopes);
        }
        let may = may(made);
        match made < MAX_SCOPES && (own < may || share == Caller::Anybody) {
            true => Ok(()),
            false => Err(Failure::TooManyScopes { may }),
        }
    }

    /// Takes note of a record that has just been read or written; returns for how long it has been
    /// like that. Where there is no room for the note, that is unknown, and so no time at all.
    fn saw(&self, name: &str, record: &Record, version: &str, maker: Option<&Caller>) -> Duration {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, checked) = (self.origin.elapsed(), Instant::now());
        if let Some(scope) = scopes.get_mut(name) {
            scope.sighting.update(version, now);
            scope.checked = checked;
            scope.record.clone_from(record);
            return scope.sighting.age(now);
        }
        if scopes.len() >= MAX_KNOWN {
            scopes.retain(|_, scope| {
                let made = scope.maker.is_some() && scope.checked.elapsed() < ENDED;
                made || scope.lasts(scope.sighting.age(now))
            });
        }
        if scopes.len() < MAX_KNOWN || maker.is_some() {
            let scope = Scope {
                maker: maker.map(Caller::share),
                record: record.clone(),
                sighting: Sighting::new(version, now),
                checked,
            };
            scopes.insert(name.to_owned(), scope);
        }
        Duration::ZERO
    }
}

impl Scope {
    fn lasts(&self, age: Duration) -> bool {
        let record = &self.record;
        Seen { record, age }.lasts()
    }
}

impl StoreError {
    fn problem(self) -> (Problem, String) {
        match self {
            Self::Conflict => (
                Problem::StorageUnavailable,
                "the record was written by others at every attempt".to_owned(),
            ),
            Self::Forbidden(why) => (Problem::RbacForbidden, why),
            Self::Unavailable(why) => (Problem::StorageUnavailable, why),
        }
    }
}

/// Records in memory: for a process without a cluster, which is the only one.
#[derive(Debug, Default)]
pub struct InMemory(Mutex<BTreeMap<String, (Record, u64)>>);

impl Store for InMemory {
    fn read<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Stored, StoreError>> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = match records.get(name) {
            Some((record, version)) => Stored {
                record: Some(record.clone()),
                version: Some(version.to_string()),
                object: serde_json::Value::Null,
            },
            None => Stored::default(),
        };
        Box::pin(async { Ok(stored) })
    }

    fn write<'a>(
        &'a self,
        name: &'a str,
        record: Record,
        over: Stored,
    ) -> Pending<'a, Result<String, StoreError>> {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let current = records.get(name).map(|(_, version)| *version);
        let written = if current.map(|current| current.to_string()) == over.version {
            let next = current.map_or(0, |current| current + 1);
            records.insert(name.to_owned(), (record, next));
            Ok(next.to_string())
        } else {
            Err(StoreError::Conflict)
        };
        Box::pin(async { written })
    }

    fn check(&self) -> Pending<'_, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }
}

#[cfg(test)]
mod tests {
    use datakit_operator_core::election::leader::Status;

    use super::*;
    use crate::telemetry::metrics::Metrics;

    fn metrics() -> LeaderMetrics {
        Metrics::new("", "").leaders
    }

    /// What is told late changes nothing, and there is no readiness without somebody who tells.
    #[tokio::test]
    async fn what_is_watched() {
        let leaders = Leaders::watched(Arc::new(InMemory::default()), metrics());
        let not_ready = leaders.status().await.unwrap_err();
        assert_eq!(not_ready.0, Problem::CacheNotReady);
        leaders.set_live(true);
        assert_eq!(leaders.status().await, Ok(()));

        let record = |incumbent: &str| Record {
            incumbent: incumbent.to_owned(),
            epoch: 1,
            duration: Duration::from_secs(30),
        };
        let led_by = || {
            leaders
                .known("n")
                .flatten()
                .map(|(record, _)| record.incumbent)
        };
        assert_eq!(led_by(), None);
        leaders.observe("n", &record("a"), "9");
        assert_eq!(led_by().as_deref(), Some("a"));
        leaders.observe("n", &record("b"), "10");
        leaders.observe("n", &record("a"), "9");
        assert_eq!(led_by().as_deref(), Some("b"));
    }

    /// As version 1.9 in Go names them: agents keep their leader when the operator is replaced.
    #[test]
    fn names_of_leases() {
        let check = |token, namespace, expected| {
            assert_eq!(lease_name(&sha256(&scope(token, namespace))), expected);
        };
        check(
            "secret",
            "east",
            "datakit-election-92a85642ccb69c99de84de09e7f26e7867c3150f479f08676f5638d534e7125e",
        );
        check(
            "tkn_abc",
            "default",
            "datakit-election-a317b811f8d7bce663164f6eb3ee15aef89b8fd2f32b982a7c5a1ba3be753042",
        );
    }

    #[tokio::test]
    async fn one_leader_a_scope() {
        let leaders = Leaders::alone(Arc::new(InMemory::default()), metrics());
        let ask = async |request, namespace, id| {
            let token = "t";
            let candidate = Candidate {
                token,
                namespace,
                id,
            };
            match leaders.answer(request, &candidate, &at(1), || true).await {
                Reply::Answer(answer) => (answer.status, answer.incumbency_id),
                Reply::TooMany(why) => panic!("{why}"),
            }
        };
        let led_by = |id: &str| id.to_owned();
        use Request::{Campaign, Heartbeat};
        assert_eq!(
            ask(Campaign, "n", "a").await,
            (Status::Success, led_by("a"))
        );
        assert_eq!(ask(Campaign, "n", "b").await, (Status::Defeat, led_by("a")));
        assert_eq!(
            ask(Heartbeat, "n", "a").await,
            (Status::Success, led_by("a"))
        );
        assert_eq!(
            ask(Campaign, "m", "b").await,
            (Status::Success, led_by("b"))
        );
        assert_eq!(ask(Campaign, "n", "").await.0, Status::Error);
    }

    async fn ask(leaders: &Leaders, request: Request, token: &str, from: u8) -> Option<Status> {
        let candidate = Candidate {
            token,
            namespace: "",
            id: "a",
        };
        match leaders
            .answer(request, &candidate, &at(from), || true)
            .await
        {
            Reply::Answer(answer) => Some(answer.status),
            Reply::TooMany(_) => None,
        }
    }

    #[tokio::test]
    async fn what_has_no_leader_is_not_remembered() {
        let leaders = Leaders::alone(Arc::new(InMemory::default()), metrics());
        for number in 0..2 * MAX_SCOPES {
            let token = format!("t{number}");
            let answer = ask(&leaders, Request::Heartbeat, &token, 9).await;
            assert_eq!(answer, Some(Status::Defeat));
        }
        assert_eq!(leaders.scopes.lock().unwrap().len(), 0);
        let answer = ask(&leaders, Request::Campaign, "t", 1).await;
        assert_eq!(answer, Some(Status::Success));
    }

    #[tokio::test]
    async fn strangers_cannot_make_more_and_more_records() {
        let leaders = Leaders::alone(Arc::new(InMemory::default()), metrics());
        for from in 10..30 {
            for number in 0..MAX_SCOPES {
                let token = format!("{from}-{number}");
                if ask(&leaders, Request::Campaign, &token, from)
                    .await
                    .is_none()
                {
                    break;
                }
            }
        }
        let made = leaders.scopes.lock().unwrap().len();
        assert!(made < MAX_SCOPES, "{made}");
        // There is something left for others, and what there is goes on.
        let answer = ask(&leaders, Request::Campaign, "t", 1).await;
        assert_eq!(answer, Some(Status::Success));
        let answer = ask(&leaders, Request::Heartbeat, "10-0", 10).await;
        assert_eq!(answer, Some(Status::Success));
    }

    #[tokio::test]
    async fn a_stranger_that_may_not_try_changes_nothing_for_leaders() {
        let leaders = Leaders::alone(Arc::new(InMemory::default()), metrics());
        let candidate = |id| Candidate {
            token: "t",
            namespace: "",
            id,
        };
        let ask = async |request, id, may_try: bool| {
            let candidate = candidate(id);
            let reply = leaders
                .answer(request, &candidate, &at(1), || may_try)
                .await;
            match reply {
                Reply::Answer(answer) => Some(answer.status),
                Reply::TooMany(_) => None,
            }
        };
        use Request::{Campaign, Heartbeat};
        assert_eq!(ask(Campaign, "a", false).await, None);
        assert_eq!(ask(Campaign, "a", true).await, Some(Status::Success));
        assert_eq!(ask(Heartbeat, "a", false).await, Some(Status::Success));
        assert_eq!(ask(Campaign, "b", false).await, Some(Status::Defeat));
    }

    fn at(last: u8) -> Caller {
        Caller::at([10, 0, 0, last].into())
    }

    #[tokio::test]
    async fn what_changed_meanwhile_is_not_overwritten() {
        let store = InMemory::default();
        let record = |incumbent: &str| Record {
            incumbent: incumbent.to_owned(),
            epoch: 1,
            duration: Duration::from_secs(1),
        };
        let write = |incumbent, over| store.write("n", record(incumbent), over);
        let nothing = Stored::default;
        assert_eq!(write("a", nothing()).await, Ok("0".to_owned()));
        assert_eq!(write("b", nothing()).await, Err(StoreError::Conflict));
        let read = store.read("n").await.unwrap();
        assert_eq!(read.record, Some(record("a")));
        assert_eq!(write("b", read.clone()).await, Ok("1".to_owned()));
        assert_eq!(write("c", read).await, Err(StoreError::Conflict));
    }
}
