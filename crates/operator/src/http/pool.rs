//! Threads for large reviews, which would hold up all others if they ran where requests are served.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;
use tokio::time::Instant;

/// So many reviews may wait for each thread. Memory bounds them as well.
const WAITING: usize = 64;

/// Threads that do one piece of work after the other, the oldest first.
#[derive(Debug)]
pub struct Pool {
    jobs: SyncSender<Job>,
}

/// Work that was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undone {
    /// Too much other work is waiting.
    Full,
    /// Its time was over before it could begin.
    Late,
    /// A bug ended it.
    Broken,
}

type Job = Box<dyn FnOnce() + Send>;

impl Pool {
    /// Starts so many threads, at least one. They end when the pool is dropped.
    ///
    /// # Errors
    ///
    /// If the operating system has no more threads.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let threads = threads.max(1);
        let (jobs, taken) = sync_channel::<Job>(WAITING * threads);
        let taken = Arc::new(Mutex::new(taken));
        for _ in 0..threads {
            let taken = Arc::clone(&taken);
            thread::Builder::new()
                .name("review".to_owned())
                .spawn(move || work(&taken))?;
        }
        Ok(Self { jobs })
    }

    /// Does some work on another thread, unless its time is over or nobody waits for it any more
    /// when its turn comes: `abandoned` is called then.
    ///
    /// # Errors
    ///
    /// If it was not done.
    pub async fn run<T: Send + 'static>(
        &self,
        until: Instant,
        work: impl FnOnce() -> T + Send + 'static,
        abandoned: impl FnOnce() + Send + 'static,
    ) -> Result<T, Undone> {
        let (done, result) = oneshot::channel();
        let job = Box::new(move || {
            if done.is_closed() {
                abandoned();
            } else if Instant::now() >= until {
                let _ = done.send(Err(Undone::Late));
            } else {
                let _ = done.send(Ok(work()));
            }
        });
        match self.jobs.try_send(job) {
            Ok(()) => result.await.unwrap_or(Err(Undone::Broken)),
            Err(TrySendError::Full(_)) => Err(Undone::Full),
            Err(TrySendError::Disconnected(_)) => Err(Undone::Broken),
        }
    }
}

fn work(taken: &Mutex<Receiver<Job>>) {
    loop {
        let next = taken.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else {
            return;
        };
        // The panic hook has said so; whoever waits learns it, and the thread goes on.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn work_is_done_dropped_or_late() {
        let pool = Arc::new(Pool::start(1).unwrap());
        assert_eq!(pool.run(later(), || 1, || ()).await, Ok(1));
        // The only thread is busy until told.
        let (free, busy) = channel::<()>();
        let (began, begun) = oneshot::channel();
        let first = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move {
                let hold = move || {
                    let _ = began.send(());
                    let _ = busy.recv();
                };
                pool.run(later(), hold, || ()).await
            }
        });
        begun.await.unwrap();
        let (done, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let count = |counter: &Arc<AtomicUsize>| {
            let counter = Arc::clone(counter);
            move || {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        };
        let now = Instant::now();
        // Polled once each: what is queued stays queued, whoever waits for it or doesn't.
        let mut late = Box::pin(pool.run(now, count(&done), count(&dropped)));
        assert!(futures_util::poll!(&mut late).is_pending());
        let mut gone = Box::pin(pool.run(later(), count(&done), count(&dropped)));
        assert!(futures_util::poll!(&mut gone).is_pending());
        drop(gone);
        let mut queued = Vec::new();
        for _ in 2..WAITING {
            let mut waiting = Box::pin(pool.run(later(), || (), || ()));
            assert!(futures_util::poll!(&mut waiting).is_pending());
            queued.push(waiting);
        }
        assert_eq!(pool.run(later(), || (), || ()).await, Err(Undone::Full));
        free.send(()).unwrap();
        first.await.unwrap().unwrap();
        assert_eq!(late.await, Err(Undone::Late));
        assert_eq!(
            pool.run(later(), || panic!("on purpose"), || ()).await,
            Err::<(), _>(Undone::Broken)
        );
        assert_eq!(pool.run(later(), || 2, || ()).await, Ok(2));
        let counted = [&done, &dropped].map(|counter| counter.load(Ordering::SeqCst));
        assert_eq!(counted, [0, 1]);
    }
}
