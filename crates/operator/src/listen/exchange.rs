//! Requests and answers as a listener hands them on: with the memory they take.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Response;
use hyper::body::{Body, Buf, Bytes, Frame, Incoming, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::Receiver;
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

/// The body of an answer, with what it takes of the memory until it is written: complete, or made
/// piece by piece while it is taken.
#[derive(Debug, Default)]
pub struct AnswerBody {
    piece: Option<Piece>,
    more: Option<More>,
}

/// What follows.
#[derive(Debug)]
struct More {
    parts: Receiver<Part>,
    in_flight: Option<Arc<InFlight>>,
}

/// A part of an answer that is made while it is taken.
#[derive(Debug)]
pub struct Part {
    /// The bytes.
    pub bytes: Bytes,
    /// What they take of the memory for answers.
    pub share: Share,
    /// Kept until they are written: so many parts may exist at once.
    pub turn: OwnedSemaphorePermit,
    /// Nothing follows. Without such a part an answer is broken off.
    pub is_last: bool,
}

/// An answer that was begun can't be completed. The connection is cut off, so that its client
/// doesn't take a part for the whole.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the answer can't be completed")]
pub struct BrokenOff;

impl AnswerBody {
    /// What `share` was taken for has become this body.
    #[must_use]
    pub fn counted(bytes: Bytes, mut share: Share) -> Self {
        share.set(bytes.len() + ANSWER);
        Self {
            piece: Some(Piece {
                bytes,
                share: Some(share),
                ..Piece::default()
            }),
            more: None,
        }
    }

    /// A body whose parts come while it is taken. Its headers are sent at once.
    #[must_use]
    pub fn of_parts(parts: Receiver<Part>) -> Self {
        let in_flight = None;
        Self {
            piece: None,
            more: Some(More { parts, in_flight }),
        }
    }

    /// The bytes that are there.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.piece.as_ref().map_or(&[], |piece| &piece.bytes)
    }

    /// How long it is, if that is known.
    pub(super) fn length(&self) -> Option<usize> {
        self.more.is_none().then(|| self.bytes().len())
    }

    /// Whether its memory has been counted.
    pub(super) fn is_counted(&self) -> bool {
        self.piece
            .as_ref()
            .is_none_or(|piece| piece.share.is_some())
    }

    /// Counts its memory, and ends the request when it has been written.
    pub(super) fn hold(&mut self, share: Option<Share>, in_flight: InFlight) {
        if let Some(more) = &mut self.more {
            more.in_flight = Some(Arc::new(in_flight));
        } else if let Some(piece) = &mut self.piece {
            if share.is_some() {
                piece.share = share;
            }
            piece._in_flight = Some(in_flight);
        }
    }
}

impl From<Bytes> for AnswerBody {
    fn from(bytes: Bytes) -> Self {
        let piece = (!bytes.is_empty()).then(|| Piece {
            bytes,
            ..Piece::default()
        });
        Self { piece, more: None }
    }
}

impl Body for AnswerBody {
    type Data = Piece;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, BrokenOff>>> {
        if let Some(piece) = self.piece.take() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let Some(more) = &mut self.more else {
            return Poll::Ready(None);
        };
        let Some(part) = ready!(more.parts.poll_recv(context)) else {
            self.more = None;
            return Poll::Ready(Some(Err(BrokenOff)));
        };
        let piece = Piece {
            bytes: part.bytes,
            share: Some(part.share),
            _in_flight: None,
            _part: more.in_flight.clone().map(InPart),
            _turn: Some(part.turn),
        };
        if part.is_last {
            self.more = None;
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.piece.is_none() && self.more.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.length() {
            Some(length) => SizeHint::with_exact(length as u64),
            None => SizeHint::default(),
        }
    }
}

/// Bytes on their way to a client. HTTP writes them from where they lie and drops them when the
/// last one is written, or when the client has gone; that is when their memory is given back.
#[derive(Debug, Default)]
pub struct Piece {
    bytes: Bytes,
    share: Option<Share>,
    _in_flight: Option<InFlight>,
    _part: Option<InPart>,
    _turn: Option<OwnedSemaphorePermit>,
}

/// A part of an answer that is being written.
#[derive(Debug)]
struct InPart(Arc<InFlight>);

impl Drop for InPart {
    fn drop(&mut self) {
        self.0.went_on();
    }
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
