//! Requests and answers as a listener hands them on: with the memory they take.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Response;
use hyper::body::{Body, Buf, Bytes, Frame, Incoming, SizeHint};
use tokio::time::Instant;

use super::activity::{Activity, InFlight};
use super::budget::{Memory, Share};

/// What a request takes beside its body, in bytes: its headers, its stream, and the task that
/// answers it.
pub(super) const REQUEST: usize = 8 * 1024;
/// How long a request may wait for memory.
const REQUEST_WAIT: Duration = Duration::from_secs(1);
/// The same of an answer.
pub(super) const ANSWER: usize = 2 * 1024;

/// The answer to a request.
pub type Answer = Response<AnswerBody>;

/// The body of a request that hasn't been read yet.
#[derive(Debug)]
pub struct Received {
    /// The body.
    pub incoming: Incoming,
    /// What the request takes of the memory for requests; to grow with what is kept of the body.
    pub share: Share,
    /// What working on it and its answer take of the memory for those: nothing yet.
    pub work: Share,
}

impl Received {
    /// What was kept of the body is gone: only the request itself is left.
    pub(crate) fn forget_body(share: &mut Share) {
        share.shrink_to(REQUEST);
    }

    /// A request that isn't counted yet.
    pub(super) fn new(incoming: Incoming, memory: &Memory, holder: &Arc<Activity>) -> Self {
        Self {
            incoming,
            share: Share::new(&memory.requests, holder),
            work: Share::new(&memory.answers, holder),
        }
    }

    /// Counts the request, and waits for room for it if need be. False if there is none.
    pub(super) async fn count(&mut self) -> bool {
        self.share.try_grow(REQUEST) || {
            let until = Instant::now() + REQUEST_WAIT;
            self.share.grow(REQUEST, until).await
        }
    }
}

/// The body of an answer, complete in memory, with what it takes of it until it is written.
#[derive(Debug, Default)]
pub struct AnswerBody(Option<Piece>);

impl AnswerBody {
    /// What `share` was taken for has become this body.
    #[must_use]
    pub fn counted(bytes: Bytes, mut share: Share) -> Self {
        share.set(bytes.len() + ANSWER);
        let (share, in_flight) = (Some(share), None);
        Self(Some(Piece {
            bytes,
            share,
            in_flight,
        }))
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |piece| &piece.bytes)
    }

    /// Whether its memory has been counted.
    pub(super) fn is_counted(&self) -> bool {
        self.0.as_ref().is_none_or(|piece| piece.share.is_some())
    }

    /// Counts its memory, and ends the request when it has been written.
    pub(super) fn hold(&mut self, share: Option<Share>, in_flight: InFlight) {
        if let Some(piece) = &mut self.0 {
            if share.is_some() {
                piece.share = share;
            }
            piece.in_flight = Some(in_flight);
        }
    }
}

impl From<Bytes> for AnswerBody {
    fn from(bytes: Bytes) -> Self {
        Self((!bytes.is_empty()).then_some(Piece {
            bytes,
            share: None,
            in_flight: None,
        }))
    }
}

impl Body for AnswerBody {
    type Data = Piece;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Infallible>>> {
        Poll::Ready(self.0.take().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes().len() as u64)
    }
}

/// Bytes on their way to a client. HTTP writes them from where they lie and drops them when the
/// last one is written, or when the client has gone; that is when their memory is given back.
#[derive(Debug)]
pub struct Piece {
    bytes: Bytes,
    share: Option<Share>,
    in_flight: Option<InFlight>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}
