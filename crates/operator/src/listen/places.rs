//! The connections of one listener: who is there, since when idle, and how to make them go.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::{Id, JoinSet};

/// So many connections that were told to give way, and say goodbye, don't count as taking a place: a newcomer need not
/// wait for them. The listener thus holds up to this many more sockets than its limit.
const LEAVING: usize = 64;

/// How a connection shall end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// When its requests in flight are answered.
    Finished,
    /// At once: it has no requests in flight, and its place is needed.
    Reclaimed,
}

/// Whether a connection does anything. Shared between its task and the accepting one.
#[derive(Debug)]
pub(super) struct Activity {
    opened: Instant,
    requests_in_flight: AtomicU32,
    /// When the last request ended, in milliseconds after `opened`.
    idle_since: AtomicU64,
}

impl Activity {
    /// Marks a request in flight until the returned guard is dropped.
    pub(super) fn begin(self: Arc<Self>) -> InFlight {
        self.requests_in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self)
    }

    /// Since when there has been no request in flight; `None` while there is one.
    fn idle_since(&self) -> Option<Instant> {
        let idle = self.requests_in_flight.load(Ordering::Relaxed) == 0;
        idle.then(|| self.opened + Duration::from_millis(self.idle_since.load(Ordering::Relaxed)))
    }
}

/// One request in flight.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let activity = &self.0;
        let now = u64::try_from(activity.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        activity.idle_since.store(now, Ordering::Relaxed);
        activity.requests_in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Place {
    activity: Arc<Activity>,
    /// `None` once the connection has been told to end.
    close: Option<oneshot::Sender<Close>>,
}

/// All connections of a listener.
#[derive(Default)]
pub(super) struct Places {
    tasks: JoinSet<()>,
    by_task: HashMap<Id, Place>,
    /// How many were told to end and have not yet.
    ending: usize,
}

impl Places {
    /// How many places are taken.
    pub(super) fn taken(&self) -> usize {
        self.tasks.len() - self.ending.min(LEAVING)
    }

    /// Whether there is no connection at all.
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Starts a connection as a task of its own.
    pub(super) fn occupy<F>(
        &mut self,
        serve: impl FnOnce(Arc<Activity>, oneshot::Receiver<Close>) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let (close, closed) = oneshot::channel();
        let activity = Arc::new(Activity {
            opened: Instant::now(),
            requests_in_flight: AtomicU32::new(0),
            idle_since: AtomicU64::new(0),
        });
        let task = self.tasks.spawn(serve(Arc::clone(&activity), closed));
        self.by_task.insert(
            task.id(),
            Place {
                activity,
                close: Some(close),
            },
        );
    }

    /// Waits until a connection has ended and forgets it. At once if there is none.
    ///
    /// Cancel safe: what has ended stays to be collected by the next call.
    pub(super) async fn one_ended(&mut self) {
        let id = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            // A panic; the panic hook has said so.
            Some(Err(error)) => error.id(),
            None => return,
        };
        if self
            .by_task
            .remove(&id)
            .is_some_and(|place| place.close.is_none())
        {
            self.ending -= 1;
        }
    }

    /// Tells the connection that has been idle longest to end. False if all are busy or already ending.
    pub(super) fn close_idlest(&mut self) -> bool {
        let staying = self
            .by_task
            .values_mut()
            .filter(|place| place.close.is_some());
        let idle = staying.filter_map(|place| Some((place.activity.idle_since()?, place)));
        let idlest = idle.min_by_key(|(since, _)| *since);
        let told = idlest.is_some_and(|(_, place)| place.end(Close::Reclaimed));
        self.ending += usize::from(told);
        told
    }

    /// Tells every connection that has been idle for this long to end. Returns how many were told.
    pub(super) fn close_idle_for(&mut self, limit: Duration) -> usize {
        let idle = self
            .by_task
            .values_mut()
            .filter(|place| place.is_idle_for(limit));
        let told = idle
            .map(|place| place.end(Close::Reclaimed))
            .filter(|told| *told)
            .count();
        self.ending += told;
        told
    }

    /// Tells every connection to end when it has answered what it was asked.
    pub(super) fn drain(&mut self) {
        let told = self
            .by_task
            .values_mut()
            .map(|place| place.end(Close::Finished));
        self.ending += told.filter(|told| *told).count();
    }

    /// Whether no connection has had a request in flight for this long.
    pub(super) fn all_idle_for(&self, limit: Duration) -> bool {
        self.by_task.values().all(|place| place.is_idle_for(limit))
    }

    /// Cuts off what is left. Returns how many of these had requests in flight.
    pub(super) async fn abort(&mut self) -> usize {
        let busy = self
            .by_task
            .values()
            .filter(|place| place.activity.idle_since().is_none())
            .count();
        self.tasks.shutdown().await;
        self.by_task.clear();
        busy
    }
}

impl Place {
    fn is_idle_for(&self, limit: Duration) -> bool {
        self.activity
            .idle_since()
            .is_some_and(|since| since.elapsed() >= limit)
    }

    /// Tells the connection to end. False if it had been told before.
    fn end(&mut self, how: Close) -> bool {
        // The receiver is gone if the connection ended by itself a moment ago, which is as well.
        self.close.take().map(|close| close.send(how)).is_some()
    }
}
