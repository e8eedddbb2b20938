//! Runs the requests of an HTTP/2 connection inside the connection's own task.
//!
//! A review takes less time than handing it to another thread and back, and answers that are ready
//! together leave [in one write](super::gathered). hyper asks its executor to run each request; this executor only
//! collects them, and [`Driven`] polls them in turn with the connection. A request that ends with
//! the connection is simply dropped with it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::stream::{FuturesUnordered, Stream as _};
use hyper::rt::Executor;
use tokio::io::AsyncWrite;

use super::gathered::Gathered;

type Request = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Collects the requests that hyper begins. Clones share what they collect.
#[derive(Clone, Default)]
pub(super) struct Begun(Arc<Mutex<Vec<Request>>>);

impl Begun {
    fn lock(&self) -> MutexGuard<'_, Vec<Request>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Begun {
    fn execute(&self, request: F) {
        self.lock().push(Box::pin(request));
    }
}

/// A connection together with its requests.
pub(super) struct Driven<C, S> {
    connection: Pin<Box<C>>,
    begun: Begun,
    stream: Gathered<S>,
    /// Empty; keeps the memory of the list for the next round.
    spare: Vec<Request>,
    /// Requests that are waiting, usually for the rest of their body.
    waiting: FuturesUnordered<Request>,
}

impl<C: Future, S> Driven<C, S> {
    /// Drives `connection`, whose executor is (a clone of) `begun`, and which writes to (a clone
    /// of) `stream`.
    pub(super) fn new(connection: C, begun: Begun, stream: Gathered<S>) -> Self {
        Self {
            connection: Box::pin(connection),
            begun,
            stream,
            spare: Vec::new(),
            waiting: FuturesUnordered::new(),
        }
    }

    /// The connection, to be told something.
    pub(super) fn connection(&mut self) -> Pin<&mut C> {
        self.connection.as_mut()
    }

    /// Polls what was begun, then what was waiting. True if anything has ended, which leaves the
    /// connection something to write.
    fn poll_requests(&mut self, context: &mut Context<'_>) -> bool {
        let mut begun = std::mem::take(&mut self.spare);
        std::mem::swap(&mut begun, &mut *self.begun.lock());
        let mut any_ended = false;
        for mut request in begun.drain(..) {
            match request.as_mut().poll(context) {
                Poll::Ready(()) => any_ended = true,
                Poll::Pending => self.waiting.push(request),
            }
        }
        self.spare = begun;
        while let Poll::Ready(Some(())) = Pin::new(&mut self.waiting).poll_next(context) {
            any_ended = true;
        }
        any_ended
    }
}

impl<C: Future, S: AsyncWrite + Unpin> Future for Driven<C, S> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<C::Output> {
        loop {
            let polled = self.connection.as_mut().poll(context);
            if polled.is_ready() || !self.poll_requests(context) {
                self.stream.poll_send(context);
                return polled;
            }
        }
    }
}
