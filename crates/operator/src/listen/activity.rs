//! What a connection is doing, shared between its task, the accepting one, and whatever it holds.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// A client whose request is answered within this time has proved that it isn't here to take a
/// place.
const PROMPT: u64 = 1_000;
/// So many requests in flight for which there was no room are refused one by one; the connection of
/// a client that goes on is cut off.
const MAX_UNCOUNTED: u32 = 8;

/// What a connection is doing. Times are in milliseconds since it was opened.
#[derive(Debug)]
pub(crate) struct Activity {
    opened: Instant,
    requests_in_flight: AtomicU32,
    /// When the last request ended.
    idle_since: AtomicU64,
    /// Of the budgets, in bytes.
    held: AtomicU64,
    /// Bodies being received.
    receiving: AtomicU32,
    /// When the first of these began.
    receiving_since: AtomicU64,
    /// Bytes of bodies that came since then.
    received: AtomicU64,
    /// When a piece of a body last came.
    piece_came: AtomicU64,
    /// Requests that wait for memory: that their clients have to wait isn't their doing.
    waiting: AtomicU32,
    /// When an answer was last written.
    written: AtomicU64,
    /// When each answer that isn't written yet was given, by its number, the oldest first.
    unwritten: Mutex<Unwritten>,
    /// Requests in flight that there was no room for.
    uncounted: AtomicU32,
    proved: AtomicBool,
    known: AtomicBool,
    cut: Notify,
}

#[derive(Debug, Default)]
struct Unwritten {
    next: u64,
    since: VecDeque<(u64, u64)>,
}

/// Where a connection stands among those that can be cut off for a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Nobody knows it.
    Stranger,
    /// It has asked something and taken the answer.
    Proved,
    /// Its certificate says who it is.
    Known,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            opened: Instant::now(),
            requests_in_flight: AtomicU32::new(0),
            idle_since: AtomicU64::new(0),
            held: AtomicU64::new(0),
            receiving: AtomicU32::new(0),
            receiving_since: AtomicU64::new(0),
            received: AtomicU64::new(0),
            piece_came: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
            written: AtomicU64::new(0),
            unwritten: Mutex::default(),
            uncounted: AtomicU32::new(0),
            proved: AtomicBool::new(false),
            known: AtomicBool::new(false),
            cut: Notify::new(),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Marks a request in flight until the returned guard is dropped.
    pub(super) fn begin(self: Arc<Self>) -> InFlight {
        self.requests_in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight {
            begun: self.now(),
            answer: None,
            good: false,
            uncounted: false,
            activity: self,
        }
    }

    /// Since when there has been no request in flight; `None` while there is one.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let idle = self.requests_in_flight.load(Ordering::Relaxed) == 0;
        idle.then(|| self.opened + Duration::from_millis(self.idle_since.load(Ordering::Relaxed)))
    }

    /// How much it holds of the budgets, in bytes.
    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    pub(super) fn hold(&self, bytes: u64) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Marks a body that is being received until the returned guard is dropped.
    pub(crate) fn receive(&self) -> Receiving<'_> {
        if self.receiving.fetch_add(1, Ordering::Relaxed) == 0 {
            self.expect_pieces();
        }
        Receiving(self)
    }

    fn expect_pieces(&self) {
        let now = self.now();
        self.received.store(0, Ordering::Relaxed);
        self.receiving_since.store(now, Ordering::Relaxed);
        self.piece_came.store(now, Ordering::Relaxed);
    }

    /// Marks a request that waits for memory until the returned guard is dropped.
    pub(super) fn wait(&self) -> Waits<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waits(self)
    }

    /// Whether its client has to go on with a body.
    fn is_to_send(&self) -> bool {
        let receiving = self.receiving.load(Ordering::Relaxed);
        receiving > self.waiting.load(Ordering::Relaxed)
    }

    /// For how long nothing has gone on, if something should: it has a body to send or answers to
    /// take. Milliseconds.
    pub(super) fn stalled_for(&self) -> Option<u64> {
        let now = self.now();
        let sending = (self.is_to_send()).then(|| self.piece_came.load(Ordering::Relaxed));
        let taking = self.unwritten().since.front().map(|(_, since)| *since);
        let taking = taking.map(|since| since.max(self.written.load(Ordering::Relaxed)));
        let since = sending.into_iter().chain(taking).min()?;
        Some(now.saturating_sub(since))
    }

    /// For how long it has been sending a body (milliseconds), and how many bytes a second came.
    pub(super) fn sending(&self) -> Option<(u64, u64)> {
        if !self.is_to_send() {
            return None;
        }
        let since = self.receiving_since.load(Ordering::Relaxed);
        let time = self.now().saturating_sub(since);
        let received = self.received.load(Ordering::Relaxed);
        Some((time, received.saturating_mul(1_000) / time.max(1)))
    }

    /// For how long the oldest answer has been waiting to be written, in milliseconds.
    pub(super) fn oldest_unwritten(&self) -> Option<u64> {
        let (_, since) = self.unwritten().since.front().copied()?;
        Some(self.now().saturating_sub(since))
    }

    fn unwritten(&self) -> MutexGuard<'_, Unwritten> {
        self.unwritten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose certificate is known is cut off last.
    pub(super) fn is_known(&self) {
        self.known.store(true, Ordering::Relaxed);
    }

    pub(super) fn standing(&self) -> Standing {
        if self.known.load(Ordering::Relaxed) {
            Standing::Known
        } else if self.proved.load(Ordering::Relaxed) {
            Standing::Proved
        } else {
            Standing::Stranger
        }
    }

    /// Ends the connection at once.
    pub(super) fn cut(&self) {
        self.cut.notify_one();
    }

    /// Resolves when the connection shall end at once.
    pub(super) async fn is_cut(&self) {
        self.cut.notified().await;
    }
}

/// One body that is being received.
pub(crate) struct Receiving<'a>(&'a Activity);

impl Receiving<'_> {
    /// A piece of so many bytes came.
    pub(crate) fn piece(&self, bytes: usize) {
        self.0.received.fetch_add(bytes as u64, Ordering::Relaxed);
        self.0.piece_came.store(self.0.now(), Ordering::Relaxed);
    }
}

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        self.0.receiving.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One request that waits for memory.
pub(super) struct Waits<'a>(&'a Activity);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.expect_pieces();
    }
}

/// One request in flight, from its headers until its answer is written.
#[derive(Debug)]
pub(super) struct InFlight {
    activity: Arc<Activity>,
    begun: u64,
    /// The number of its answer, once that is given.
    answer: Option<u64>,
    /// It was worth asking: the answer is none of the refusals.
    good: bool,
    uncounted: bool,
}

impl InFlight {
    /// There was no room for the request.
    pub(super) fn refused(&mut self) {
        self.uncounted = true;
        if self.activity.uncounted.fetch_add(1, Ordering::Relaxed) >= MAX_UNCOUNTED {
            self.activity.cut();
        }
    }

    /// Its answer is there, and to be written now. `good` unless it refuses something.
    pub(super) fn answered(&mut self, good: bool) {
        self.good = good;
        let now = self.activity.now();
        let mut unwritten = self.activity.unwritten();
        let number = unwritten.next;
        unwritten.next += 1;
        unwritten.since.push_back((number, now));
        drop(unwritten);
        self.answer = Some(number);
    }
}

impl InFlight {
    /// A part of its answer has been written.
    pub(super) fn went_on(&self) {
        let activity = &self.activity;
        activity.written.store(activity.now(), Ordering::Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let activity = &*self.activity;
        let now = activity.now();
        if let Some(number) = self.answer {
            let mut unwritten = activity.unwritten();
            let at = unwritten
                .since
                .iter()
                .position(|(other, _)| *other == number);
            if let Some(at) = at {
                unwritten.since.remove(at);
            }
            drop(unwritten);
            activity.written.store(now, Ordering::Relaxed);
            if self.good && now.saturating_sub(self.begun) <= PROMPT {
                activity.proved.store(true, Ordering::Relaxed);
            }
        }
        if self.uncounted {
            activity.uncounted.fetch_sub(1, Ordering::Relaxed);
        }
        activity.idle_since.store(now, Ordering::Relaxed);
        activity.requests_in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
