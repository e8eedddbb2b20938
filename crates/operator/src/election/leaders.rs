//! Leader election of newer agents: where its records are kept, and how a request changes one.
//!
//! Every replica answers for itself. The record of a scope is read, decided on, and written only if nobody else has
//! written it meanwhile; so it needs no replica that decides for all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use datakit_operator_core::election::leader::{
    Answer, Candidate, Problem, Record, Request, check, decide, lease_name, scope,
};
use tokio::sync::Semaphore;

use crate::clock;
use crate::tls::provider::sha256;

/// How often a request is decided again because somebody else was faster.
const ATTEMPTS: usize = 5;
/// Different scopes that are served. Agents don't authenticate, so a stranger could otherwise fill the cluster's storage.
const MAX_SCOPES: usize = 1_000;
/// Requests that work on records at once; more have to wait their turn.
const MAX_AT_ONCE: usize = 32;

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
    /// The store's mark of this version.
    pub version: Option<String>,
}

/// Keeps records.
pub trait Store: Debug + Send + Sync + 'static {
    /// Reads one.
    fn read<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Stored, StoreError>>;

    /// Writes one over what was read.
    fn write<'a>(
        &'a self,
        name: &'a str,
        record: Record,
        version: Option<String>,
    ) -> Pending<'a, Result<(), StoreError>>;
}

/// Answers the requests of newer agents.
#[derive(Debug)]
pub struct Leaders {
    store: Arc<dyn Store>,
    scopes: Mutex<BTreeSet<String>>,
    at_once: Semaphore,
}

/// What a request comes to.
#[derive(Debug)]
pub enum Reply {
    /// An answer that agents understand.
    Answer(Box<Answer>),
    /// There are too many scopes; the text says what to do.
    TooMany(String),
}

impl Leaders {
    /// Keeps records in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            scopes: Mutex::default(),
            at_once: Semaphore::new(MAX_AT_ONCE),
        }
    }

    /// Answers a campaign or a heartbeat.
    pub async fn answer(&self, request: Request, candidate: &Candidate<'_>) -> Reply {
        if let Err(answer) = check(candidate) {
            return Reply::Answer(answer);
        }
        let name = lease_name(&sha256(&scope(candidate.token, candidate.namespace)));
        if !self.admits(&name) {
            return Reply::TooMany(format!(
                "{MAX_SCOPES} combinations of token and namespace are known, which is the limit"
            ));
        }
        let answer = match self.at_once.acquire().await {
            Ok(_turn) => self.decide(request, candidate, &name).await,
            // It is never closed.
            Err(_) => Err(StoreError::Unavailable("shutting down".to_owned())),
        };
        Reply::Answer(Box::new(answer.unwrap_or_else(|error| {
            let (problem, message) = error.problem();
            Answer::error(candidate, problem, message)
        })))
    }

    /// Whether records can be read at this moment.
    ///
    /// # Errors
    ///
    /// If not, with the reason.
    pub async fn status(&self) -> Result<(), (Problem, String)> {
        let name = lease_name(&[0; 32]);
        let turn = self.at_once.acquire().await;
        let read = self.store.read(&name).await;
        drop(turn);
        read.map(drop).map_err(StoreError::problem)
    }

    async fn decide(
        &self,
        request: Request,
        candidate: &Candidate<'_>,
        name: &str,
    ) -> Result<Answer, StoreError> {
        for _ in 0..ATTEMPTS {
            let Stored { record, version } = self.store.read(name).await?;
            let (answer, written) = decide(record.as_ref(), request, candidate, now());
            let Some(written) = written else {
                return Ok(answer);
            };
            match self.store.write(name, written, version).await {
                Ok(()) => return Ok(answer),
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Conflict)
    }

    fn admits(&self, name: &str) -> bool {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        if scopes.contains(name) {
            return true;
        }
        scopes.len() < MAX_SCOPES && scopes.insert(name.to_owned())
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

fn now() -> u64 {
    u64::try_from(clock::since_1970().as_millis()).unwrap_or(u64::MAX)
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
            },
            None => Stored::default(),
        };
        Box::pin(async { Ok(stored) })
    }

    fn write<'a>(
        &'a self,
        name: &'a str,
        record: Record,
        version: Option<String>,
    ) -> Pending<'a, Result<(), StoreError>> {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let current = records.get(name).map(|(_, version)| *version);
        let written = if current.map(|current| current.to_string()) == version {
            let next = current.map_or(0, |current| current + 1);
            records.insert(name.to_owned(), (record, next));
            Ok(())
        } else {
            Err(StoreError::Conflict)
        };
        Box::pin(async { written })
    }
}

#[cfg(test)]
mod tests {
    use datakit_operator_core::election::leader::Status;

    use super::*;

    #[tokio::test]
    async fn one_leader_a_scope() {
        let leaders = Leaders::new(Arc::new(InMemory::default()));
        let ask = async |request, namespace, id| {
            let token = "t";
            let candidate = Candidate {
                token,
                namespace,
                id,
            };
            match leaders.answer(request, &candidate).await {
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

    #[tokio::test]
    async fn strangers_cannot_make_more_and_more_records() {
        let leaders = Leaders::new(Arc::new(InMemory::default()));
        for number in 0..MAX_SCOPES + 1 {
            let token = format!("t{number}");
            let candidate = Candidate {
                token: &token,
                namespace: "",
                id: "a",
            };
            let reply = leaders.answer(Request::Campaign, &candidate).await;
            let refused = matches!(reply, Reply::TooMany(_));
            assert_eq!(refused, number == MAX_SCOPES);
        }
    }

    #[tokio::test]
    async fn what_changed_meanwhile_is_not_overwritten() {
        let store = InMemory::default();
        let record = |incumbent: &str| Record {
            incumbent: incumbent.to_owned(),
            epoch: 1,
            renewed_ms: 0,
            duration_ms: 1,
        };
        let write = |incumbent, version| store.write("n", record(incumbent), version);
        assert_eq!(write("a", None).await, Ok(()));
        assert_eq!(write("b", None).await, Err(StoreError::Conflict));
        let read = store.read("n").await.unwrap();
        assert_eq!(read.record, Some(record("a")));
        assert_eq!(write("b", read.version.clone()).await, Ok(()));
        assert_eq!(write("c", read.version).await, Err(StoreError::Conflict));
    }
}
