//! Which Events are written when: one series for each thing that an owner is told, and no more of
//! them than people can read or an API server should store.
//!
//! Pure: time comes in, what to write comes out.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use crate::state::{Incident, Object};

/// So many series are known at a time; so many owners, too.
const MOST: usize = 1024;
/// An owner is told of so many things at once, and of another one after so long.
const OWNER: Rate = Rate {
    burst: 5,
    every: Duration::from_secs(60),
};
/// So many writes at once and over time, for all owners together.
const ALL: Rate = Rate {
    burst: 30,
    every: Duration::from_millis(500),
};
/// A series that goes on is written again after so long.
const AGAIN: Duration = Duration::from_secs(60);
/// A series that nothing was heard of for so long is over. API servers keep Events for an hour.
const OVER: Duration = Duration::from_secs(3600);
/// So often writing one is tried.
const ATTEMPTS: u32 = 5;

/// So many at once, and one more every so often.
#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: u32,
    every: Duration,
}

/// What is left of a rate: when all of it would be there again.
#[derive(Clone, Copy, Debug)]
struct Bucket(Instant);

/// Names a series: the same on all replicas of one build, so that they write the same Event. Builds
/// of different compilers may differ, and then write one each.
pub(super) type Id = u64;

/// What an owner is told, and how often it happened.
#[derive(Clone, Debug)]
pub(super) struct Series {
    /// What happened, with the owner that is told.
    pub(super) incident: Incident,
    /// How often it happened since it was written.
    pub(super) unwritten: u32,
    /// How often all in all, as far as it was written by this replica.
    pub(super) written: u32,
    /// When it may be written next.
    due: Instant,
    /// When it happened last.
    seen: Instant,
    failed: u32,
}

/// What was heard, and what of it is to be written.
#[derive(Debug)]
pub(super) struct Book {
    series: HashMap<Id, Series>,
    owners: HashMap<String, Bucket>,
    all: Bucket,
}

/// How many questions may be asked on the way, as many as Events be written.
#[derive(Debug)]
pub(super) struct Questions(Bucket);

impl Questions {
    pub(super) fn new(now: Instant) -> Self {
        Self(Bucket(now))
    }

    /// Whether one may be asked now.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        self.0.take(ALL, now)
    }
}

/// It is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limited;

impl Bucket {
    /// When there is something to take.
    fn ready(self, rate: Rate) -> Instant {
        let burst = rate.every * (rate.burst - 1);
        self.0.checked_sub(burst).unwrap_or(self.0)
    }

    fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let ready = self.ready(rate) <= now;
        if ready {
            self.0 = self.0.max(now) + rate.every;
        }
        ready
    }
}

impl Book {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            series: HashMap::new(),
            owners: HashMap::new(),
            all: Bucket(now),
        }
    }

    /// Something happened. Its owner is told at once or later, or not at all.
    pub(super) fn happened(&mut self, incident: Incident, now: Instant) -> Result<(), Limited> {
        let id = id(&incident);
        if let Some(series) = self.series.get_mut(&id) {
            series.unwritten = series.unwritten.saturating_add(1);
            series.seen = now;
            return Ok(());
        }
        if self.series.len() >= MOST || self.owners.len() >= MOST {
            self.forget(now);
        }
        if self.series.len() >= MOST || self.owners.len() >= MOST {
            return Err(Limited);
        }
        let owner = self.owners.entry(incident.owner.uid.clone());
        if !owner.or_insert(Bucket(now)).take(OWNER, now) {
            return Err(Limited);
        }
        let series = Series {
            incident,
            unwritten: 1,
            written: 0,
            due: now,
            seen: now,
            failed: 0,
        };
        self.series.insert(id, series);
        Ok(())
    }

    /// A series that is to be written now.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Id, Series)> {
        if self.all.ready(ALL) > now {
            return None;
        }
        let waiting = self.series.iter().filter(|(_, series)| series.is_waiting());
        let due = waiting.filter(|(_, series)| series.due <= now);
        let (id, series) = due.min_by_key(|(_, series)| series.due)?;
        let found = (*id, series.clone());
        self.all.take(ALL, now);
        Some(found)
    }

    /// When there will be one.
    pub(super) fn wake(&self) -> Option<Instant> {
        let waiting = self.series.values().filter(|series| series.is_waiting());
        let due = waiting.map(|series| series.due).min()?;
        Some(due.max(self.all.ready(ALL)))
    }

    /// A series as it was taken from [`next`](Self::next) is written, `count` times all in all.
    pub(super) fn wrote(&mut self, id: Id, taken: &Series, count: u32, now: Instant) {
        if let Some(series) = self.series.get_mut(&id) {
            series.unwritten = series.unwritten.saturating_sub(taken.unwritten);
            series.written = count;
            series.failed = 0;
            series.due = now + AGAIN;
        }
    }

    /// It could not be written.
    pub(super) fn failed(&mut self, id: Id, now: Instant) {
        if let Some(series) = self.series.get_mut(&id) {
            series.failed += 1;
            series.due = now + AGAIN;
            if series.failed >= ATTEMPTS {
                self.series.remove(&id);
            }
        }
    }

    /// Nobody can be told.
    pub(super) fn drop(&mut self, id: Id) {
        self.series.remove(&id);
    }

    /// Nobody can be told of anything.
    pub(super) fn drop_all(&mut self) {
        self.series.clear();
    }

    /// Forgets what is over: series that are written and old, and owners who have their rate again.
    fn forget(&mut self, now: Instant) {
        self.series
            .retain(|_, series| series.is_waiting() || now < series.seen + OVER);
        self.owners.retain(|_, bucket| now < bucket.0);
        // Of those that go on, the oldest have to give way.
        if self.series.len() >= MOST {
            let mut written: Vec<_> = self
                .series
                .iter()
                .filter(|(_, series)| !series.is_waiting())
                .map(|(id, series)| (series.seen, *id))
                .collect();
            written.sort_unstable();
            for (_, id) in written.into_iter().take(MOST / 8) {
                self.series.remove(&id);
            }
        }
    }
}

impl Series {
    fn is_waiting(&self) -> bool {
        self.unwritten > 0
    }
}

fn id(incident: &Incident) -> Id {
    let Incident {
        namespace,
        owner: Object { uid, .. },
        code,
        matter: _,
        sentence,
    } = incident;
    let mut hasher = DefaultHasher::new();
    (namespace, uid, code, sentence).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use datakit_operator_core::review::Weight;

    use super::*;
    use crate::state::Matter;

    fn incident(owner: usize, sentence: usize) -> Incident {
        Incident {
            namespace: "n".to_owned(),
            owner: Object {
                api_version: "apps/v1".to_owned(),
                kind: "Deployment".to_owned(),
                name: format!("o{owner}"),
                uid: format!("u{owner}"),
            },
            code: "unknown_annotation",
            matter: Matter::Injection(Weight::Mistake),
            sentence: format!("s{sentence}"),
        }
    }

    /// Writes all that may be written now.
    fn write(book: &mut Book, now: Instant) -> Vec<(String, String, u32)> {
        let mut written = Vec::new();
        while let Some((id, series)) = book.next(now) {
            let count = series.written + series.unwritten;
            book.wrote(id, &series, count, now);
            let incident = series.incident;
            written.push((incident.owner.name, incident.sentence, count));
        }
        written
    }

    #[test]
    fn the_same_is_one_series() {
        let start = Instant::now();
        let mut book = Book::new(start);
        for _ in 0..3 {
            book.happened(incident(1, 1), start).unwrap();
        }
        let told = |count| vec![("o1".to_owned(), "s1".to_owned(), count)];
        assert_eq!(write(&mut book, start), told(3));
        assert_eq!(book.wake(), None);
        // It goes on, and is told again after a while, not each time.
        for seconds in 1..40 {
            let now = start + Duration::from_secs(seconds);
            book.happened(incident(1, 1), now).unwrap();
            assert_eq!(write(&mut book, now), []);
        }
        assert_eq!(book.wake(), Some(start + AGAIN));
        assert_eq!(write(&mut book, start + AGAIN), told(42));
    }

    #[test]
    fn an_owner_is_told_of_few_things_at_once() {
        let start = Instant::now();
        let mut book = Book::new(start);
        let told = |book: &mut Book, now| {
            let told = (0..100).filter(|n| book.happened(incident(1, *n), now).is_ok());
            told.count()
        };
        assert_eq!(told(&mut book, start), 5);
        // Another one is told all the same.
        assert_eq!(book.happened(incident(2, 1), start), Ok(()));
        assert_eq!(book.happened(incident(1, 200), start), Err(Limited));
        let later = start + OWNER.every;
        assert_eq!(book.happened(incident(1, 200), later), Ok(()));
        assert_eq!(book.happened(incident(1, 201), later), Err(Limited));
    }

    #[test]
    fn writes_are_limited_and_none_is_lost_by_that() {
        let start = Instant::now();
        let mut book = Book::new(start);
        for owner in 0..200 {
            book.happened(incident(owner, 1), start).unwrap();
        }
        let mut total = write(&mut book, start).len();
        assert_eq!(total, 30);
        let mut now = start;
        while let Some(wake) = book.wake() {
            assert!(wake > now);
            now = wake;
            total += write(&mut book, now).len();
        }
        assert_eq!(total, 200);
        assert_eq!(now, start + ALL.every * 170);
    }

    #[test]
    fn what_is_known_is_bounded() {
        let start = Instant::now();
        let mut book = Book::new(start);
        let mut limited = 0;
        for owner in 0..5000 {
            limited += usize::from(book.happened(incident(owner, 1), start).is_err());
            assert!(book.series.len() <= MOST && book.owners.len() <= MOST);
        }
        assert_eq!(limited, 5000 - MOST);
        // All are written, and over an hour later.
        let mut now = start;
        while let Some(wake) = book.wake() {
            now = wake;
            write(&mut book, now);
        }
        assert_eq!(book.happened(incident(9999, 1), now), Ok(()));
        let later = now + OVER * 2;
        assert_eq!(book.happened(incident(9998, 1), later), Ok(()));
        assert!(book.owners.len() <= MOST && book.series.len() <= MOST);
    }

    #[test]
    fn what_fails_is_tried_a_few_times() {
        let start = Instant::now();
        let mut book = Book::new(start);
        book.happened(incident(1, 1), start).unwrap();
        let (mut now, mut attempts) = (start, 0);
        while let Some((id, _)) = book.next(now) {
            attempts += 1;
            book.failed(id, now);
            now += AGAIN;
        }
        assert_eq!((attempts, book.series.len()), (ATTEMPTS, 0));
    }
}
