//! The connections of one listener: who is there, since when idle, and how to make them go.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{Id, JoinSet};

use super::activity::{Activity, Standing};

/// So many connections that were told to give way, and say goodbye, don't count as taking a place:
/// a newcomer need not wait for them. The listener thus holds up to this many more sockets than its
/// limit.
const LEAVING: usize = 64;
/// When a place is needed: who has been idle for less than this gives way after who is slow. It may
/// be about to ask its first question.
const YOUNG: Duration = Duration::from_secs(1);
/// When a place is needed: a body that has been arriving for this long (milliseconds) gives way if
/// it is the slowest, unless it comes at [`FAST`] or more. API servers send a review as fast as it
/// can go.
const SLOW_AFTER: u64 = 500;
/// Bytes a second.
const FAST: u64 = 1024 * 1024;
/// When a place is needed: so long (milliseconds) an answer may wait for its client.
const UNREAD_AFTER: u64 = 1_000;
/// When memory is needed: so long (milliseconds) a connection may hold some without anything going
/// on.
const STALLED_AFTER: u64 = 250;

/// How a connection shall end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// When its requests in flight are answered.
    Finished,
    /// At once: it has no requests in flight, and its place is needed.
    Reclaimed,
    /// At once, whatever it is doing: it takes too long, and others need what it has.
    Cut,
}

/// What made room for a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gave {
    /// Somebody who was idle.
    Idle,
    /// Somebody who was slow.
    Slow,
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
        let activity = Arc::new(Activity::new());
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

    /// Tells a connection to end so that a newcomer gets its place: who is least known first; of
    /// these the one that has been idle longest, unless that is not long; else the one whose body
    /// comes slowest, else the one that has left an answer unread longest, else one that is idle
    /// after all. Nothing if all are busy and quick, or already ending; and while strangers have
    /// most places, nobody else gives way: a flood of them only has to wait for one of its own to
    /// become slow.
    pub(super) fn make_room(&mut self) -> Option<Gave> {
        if let Some(gave) = self.make_room_of(Standing::Stranger) {
            return Some(gave);
        }
        let is_stranger = |place: &&Place| place.activity.standing() == Standing::Stranger;
        let strangers = self.by_task.values().filter(is_stranger).count();
        if strangers > self.by_task.len() / 2 {
            return None;
        }
        [Standing::Proved, Standing::Known]
            .into_iter()
            .find_map(|standing| self.make_room_of(standing))
    }

    fn make_room_of(&mut self, standing: Standing) -> Option<Gave> {
        let idle = |activity: &Activity| {
            (activity.standing() == standing).then_some(())?;
            activity.idle_since()
        };
        let long_idle = self.told_first(Close::Reclaimed, |activity| {
            idle(activity).filter(|since| since.elapsed() >= YOUNG)
        });
        if long_idle {
            return Some(Gave::Idle);
        }
        let slow = self.told_first(Close::Cut, |activity| {
            (activity.standing() == standing).then_some(())?;
            let (time, rate) = activity.sending()?;
            (time >= SLOW_AFTER && rate < FAST).then_some(rate)
        });
        let cut = slow
            || self.told_first(Close::Cut, |activity| {
                (activity.standing() == standing).then_some(())?;
                let time = activity.oldest_unwritten()?;
                (time >= UNREAD_AFTER).then_some(u64::MAX - time)
            });
        if cut {
            return Some(Gave::Slow);
        }
        self.told_first(Close::Reclaimed, idle)
            .then_some(Gave::Idle)
    }

    /// Cuts off the connection that holds most memory of those where nothing goes on, else of those
    /// that are slow, least known first. False if there is none.
    pub(super) fn relieve(&mut self) -> bool {
        let rank = |activity: &Activity| {
            let held = activity.held();
            (held > 0).then(|| (activity.standing(), u64::MAX - held))
        };
        self.told_first(Close::Cut, |activity| {
            let stalled = activity.stalled_for()? >= STALLED_AFTER;
            stalled.then(|| rank(activity)).flatten()
        }) || self.told_first(Close::Cut, |activity| {
            is_slow(activity).then(|| rank(activity)).flatten()
        })
    }

    /// Cuts off whoever has left an answer unread for this long. Returns how many that were.
    pub(super) fn cut_unread_for(&mut self, limit: Duration) -> usize {
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let unread = |place: &&mut Place| {
            let time = place.activity.oldest_unwritten();
            time.is_some_and(|time| time >= limit)
        };
        let told = self.by_task.values_mut().filter(unread);
        let told = told
            .map(|place| place.end(Close::Cut))
            .filter(|told| *told)
            .count();
        self.ending += told;
        told
    }

    /// Tells the connection to end for which `rank` gives the smallest value. False if it gives
    /// none for all that aren't ending already.
    fn told_first<R: Ord>(&mut self, how: Close, rank: impl Fn(&Activity) -> Option<R>) -> bool {
        let staying = (self.by_task.values_mut()).filter(|place| place.close.is_some());
        let ranked = staying.filter_map(|place| Some((rank(&place.activity)?, place)));
        let first = ranked.min_by(|(one, _), (other, _)| one.cmp(other));
        let told = first.is_some_and(|(_, place)| place.end(how));
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

/// Whether a client sends a body slowly, or leaves an answer unread.
fn is_slow(activity: &Activity) -> bool {
    let sends = activity.sending();
    sends.is_some_and(|(time, rate)| time >= SLOW_AFTER && rate < FAST)
        || (activity.oldest_unwritten()).is_some_and(|time| time >= UNREAD_AFTER)
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
