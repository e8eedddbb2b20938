//! How much memory clients may make the process use.
//!
//! Whatever a client causes to be kept is taken from a [`Budget`] before it is kept, and given back
//! when it is gone: a body from its first byte, a review's working memory, an answer until it is
//! written. What doesn't fit waits for a moment and is then refused. Waiting calls for
//! [relief](Budget::pressed): the listener then cuts off who holds much and does nothing with it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::activity::{Activity, Standing};

/// A gauge that is also what it measures.
pub type Level = Gauge<u64, AtomicU64>;

/// A share up to this many bytes is small: the usual review, its working memory or its answer.
const SMALL: u64 = 64 * 1024;
/// The part of a budget that is kept for small shares: an eighth.
const KEPT: u64 = 8;
/// The part that is kept for small shares of connections that have proved themselves: a sixteenth.
const KEPT_FOR_PROVED: u64 = 16;
/// A connection with more than this in use doesn't get at what is kept for small shares.
const MODEST: u64 = 1024 * 1024;
/// So many may wait for one budget, and as many small shares of connections that have proved
/// themselves: as many as there are connections. What they have sent lies in buffers that each has
/// anyway. With a third of it, a thousand strangers who send slowly turned away one newcomer in
/// seven.
const MAX_WAITING: u32 = 768;
/// While waiting: how often to call for relief.
const CALL_INTERVAL: Duration = Duration::from_millis(25);

/// An amount of memory that is shared out.
pub struct Budget {
    total: u64,
    used: Level,
    waiting: AtomicU32,
    freed: Notify,
    pressed: Arc<Notify>,
}

impl Budget {
    /// So many bytes, of which `used` shows how many are in use. `pressed` is told when they don't
    /// suffice.
    #[must_use]
    pub fn new(total: usize, used: Level, pressed: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            total: total as u64,
            used,
            waiting: AtomicU32::new(0),
            freed: Notify::new(),
            pressed,
        })
    }

    /// The largest single share there can be.
    #[must_use]
    pub fn largest(&self) -> u64 {
        self.total - self.total / KEPT
    }

    fn try_take(&self, bytes: u64, class: Class) -> bool {
        let limit = match class {
            Class::Large => self.largest(),
            Class::Small => self.total - self.total / KEPT_FOR_PROVED,
            Class::SmallOfProved => self.total,
        };
        let used = self.used.inner();
        let taken = used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| {
            used.checked_add(bytes).filter(|used| *used <= limit)
        });
        taken.is_ok()
    }

    fn give_back(&self, bytes: u64) {
        self.used.inner().fetch_sub(bytes, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.freed.notify_waiters();
        }
    }

    async fn take(&self, bytes: u64, class: Class, until: Instant) -> bool {
        let most = match class {
            Class::SmallOfProved => 2 * MAX_WAITING,
            Class::Small | Class::Large => MAX_WAITING,
        };
        let Some(_waiting) = Waiting::new(&self.waiting, most) else {
            self.pressed.notify_one();
            return false;
        };
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            // From here on nothing that is given back goes unnoticed.
            freed.as_mut().enable();
            if self.try_take(bytes, class) {
                return true;
            }
            let now = Instant::now();
            if now >= until || bytes > self.total {
                return false;
            }
            self.pressed.notify_one();
            let _ = timeout_at(until.min(now + CALL_INTERVAL), freed).await;
        }
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self.used.get();
        write!(formatter, "Budget({used} of {} bytes)", self.total)
    }
}

/// How much of a budget a share can get at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Large,
    Small,
    SmallOfProved,
}

/// Somebody who waits for room.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicU32, most: u32) -> Option<Self> {
        let more = |count| (count < most).then_some(count + 1);
        let counted = waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        // Made only where it was counted: dropping one takes it off the count.
        counted.is_ok().then(|| Self(waiting))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What one thing takes of a budget, on account of a connection. Given back when dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    holder: Arc<Activity>,
    bytes: u64,
}

impl Share {
    /// Nothing yet.
    pub(super) fn new(budget: &Arc<Budget>, holder: &Arc<Activity>) -> Self {
        Self {
            budget: Arc::clone(budget),
            holder: Arc::clone(holder),
            bytes: 0,
        }
    }

    /// One for something else, on the same account: nothing yet.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::new(&self.budget, &self.holder)
    }

    /// The connection on whose account it is.
    pub(crate) fn holder(&self) -> Arc<Activity> {
        Arc::clone(&self.holder)
    }

    /// How many bytes it has.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes more, if there is room at this moment.
    #[must_use]
    pub fn try_grow(&mut self, by: usize) -> bool {
        let by = by as u64;
        let taken = self.budget.try_take(by, self.class_with(by));
        if taken {
            self.add(by);
        }
        taken
    }

    /// Takes more, and waits for room until then. False if there was none.
    #[must_use]
    pub async fn grow(&mut self, by: usize, until: Instant) -> bool {
        if self.try_grow(by) {
            return true;
        }
        let by = by as u64;
        let waits = self.holder.wait();
        let taken = self.budget.take(by, self.class_with(by), until).await;
        drop(waits);
        if taken {
            self.add(by);
        }
        taken
    }

    /// Has this much from now on. More than it had is taken whether there is room or not: it is for
    /// what is there already, and keeps others from getting room until it is gone.
    pub fn set(&mut self, bytes: usize) {
        let lacking = (bytes as u64).saturating_sub(self.bytes);
        if lacking > 0 {
            self.budget
                .used
                .inner()
                .fetch_add(lacking, Ordering::SeqCst);
            self.add(lacking);
        }
        self.shrink_to(bytes);
    }

    /// Gives back what is beyond this.
    pub fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.bytes.saturating_sub(bytes as u64);
        if surplus > 0 {
            self.bytes -= surplus;
            self.holder.give_back(surplus);
            self.budget.give_back(surplus);
        }
    }

    fn class_with(&self, by: u64) -> Class {
        if self.bytes + by > SMALL || self.holder.held() + by > MODEST {
            Class::Large
        } else if self.holder.standing() == Standing::Stranger {
            Class::Small
        } else {
            Class::SmallOfProved
        }
    }

    fn add(&mut self, by: u64) {
        self.bytes += by;
        self.holder.hold(by);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

/// The memory of a listener's clients. Two parts, so that what waits for the second, holding some
/// of the first, can't keep it from those who are about to give back of the second.
#[derive(Clone, Debug)]
pub struct Memory {
    /// For requests and their bodies.
    pub requests: Arc<Budget>,
    /// For answers, from when a review begins.
    pub answers: Arc<Budget>,
    /// Told when either doesn't suffice.
    pub(super) pressed: Arc<Notify>,
}

impl Memory {
    /// Parts of these sizes in bytes, whose use these gauges show.
    #[must_use]
    pub fn new(
        (requests, requests_used): (usize, Level),
        (answers, answers_used): (usize, Level),
    ) -> Self {
        let pressed = Arc::new(Notify::new());
        Self {
            requests: Budget::new(requests, requests_used, Arc::clone(&pressed)),
            answers: Budget::new(answers, answers_used, Arc::clone(&pressed)),
            pressed,
        }
    }

    /// So much, of which a half is for requests, and nobody looks at how much is in use.
    #[must_use]
    pub fn of(bytes: usize) -> Self {
        let requests = bytes / 2;
        Self::new(
            (requests, Level::default()),
            (bytes - requests, Level::default()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small_budget() -> (Arc<Budget>, Level) {
        let used = Level::default();
        let budget = Budget::new(800_000, used.clone(), Arc::default());
        (budget, used)
    }

    #[test]
    fn shares_are_given_back() {
        let (budget, used) = small_budget();
        let holder = Arc::new(Activity::new());
        let mut share = Share::new(&budget, &holder);
        assert!(share.try_grow(300_000) && share.try_grow(400_000));
        assert_eq!((used.get(), holder.held()), (700_000, 700_000));
        assert!(!share.try_grow(1));
        share.shrink_to(100_000);
        assert_eq!((used.get(), holder.held()), (100_000, 100_000));
        share.set(900_000);
        assert_eq!((used.get(), holder.held()), (900_000, 900_000));
        drop(share);
        assert_eq!((used.get(), holder.held()), (0, 0));
    }

    #[test]
    fn an_eighth_is_for_small_shares_and_half_of_it_for_who_is_known() {
        let (budget, _) = small_budget();
        let (much, little) = (Arc::new(Activity::new()), Arc::new(Activity::new()));
        let known = Arc::new(Activity::new());
        known.is_known();
        let mut large = Share::new(&budget, &much);
        assert!(!large.try_grow(700_001));
        assert!(large.try_grow(700_000));
        let mut shares: Vec<Share> = (0..3).map(|_| Share::new(&budget, &little)).collect();
        let grown: Vec<bool> = (shares.iter_mut())
            .map(|share| share.try_grow(50_000))
            .collect();
        assert_eq!(grown, [true, false, false]);
        let mut share = Share::new(&budget, &known);
        assert!(share.try_grow(50_000) && !share.try_grow(1));
    }

    #[tokio::test]
    async fn waiting_ends_with_room_or_time() {
        let (budget, _) = small_budget();
        let holder = Arc::new(Activity::new());
        let mut first = Share::new(&budget, &holder);
        assert!(first.try_grow(700_000));
        let mut second = Share::new(&budget, &holder);
        assert!(!second.grow(100_001, Instant::now()).await);
        let soon = Instant::now() + Duration::from_secs(60);
        let waiting = tokio::spawn(async move { second.grow(100_001, soon).await });
        budget.pressed.notified().await;
        drop(first);
        assert!(waiting.await.unwrap());
    }
    #[tokio::test]
    async fn who_is_not_let_wait_does_not_count() {
        let (budget, _) = small_budget();
        let holder = Arc::new(Activity::new());
        let mut all = Share::new(&budget, &holder);
        assert!(all.try_grow(700_000));
        let mut places: Vec<Waiting<'_>> = (0..MAX_WAITING)
            .filter_map(|_| Waiting::new(&budget.waiting, MAX_WAITING))
            .collect();
        let long = Instant::now() + Duration::from_secs(60);
        for _ in 0..2 * MAX_WAITING {
            let mut late = Share::new(&budget, &holder);
            assert!(!late.grow(100_001, long).await);
            assert_eq!(budget.waiting.load(Ordering::SeqCst), MAX_WAITING);
        }
        places.pop();
        assert!(Waiting::new(&budget.waiting, MAX_WAITING).is_some());
        drop(places);
        assert_eq!(budget.waiting.load(Ordering::SeqCst), 0);
    }
}
