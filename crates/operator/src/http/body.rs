//! Reads request bodies, within limits.

pub mod args;

use std::ops::Deref;
use std::pin::Pin;
use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Bytes, Incoming};
use tokio::time::{Instant, timeout_at};

use super::respond;
use crate::listen::{Answer, Received, Share};
use crate::telemetry::metrics::Limit;

/// A refused body is read on and thrown away up to this multiple of the limit, so that a client
/// that sends before it listens gets to see the answer instead of a reset connection.
const DISCARD_FACTOR: usize = 4;
/// The first allocation for a body that arrives in pieces is no larger than this, whatever length
/// was announced.
const FIRST_ALLOCATION: usize = 64 * 1024;
/// Over this time the rate of a body is looked at.
const RATE_TIME: Duration = Duration::from_secs(2);
/// How long a body may wait for memory.
const ROOM_WAIT: Duration = Duration::from_secs(2);

/// Limits on request bodies. Every one of them is a flag of `serve`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size of one body in bytes.
    pub bytes: usize,
    /// Time for one whole body, counted from the end of the headers.
    pub time: Duration,
    /// Bytes a second that must come, in each two seconds.
    pub rate: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // The API server's own limit on an object is 1.5 MiB in storage and 3 MiB in a request; a
        // review may carry an old and a new one.
        Self {
            bytes: 6 * 1024 * 1024,
            time: Duration::from_secs(10),
            rate: 16 * 1024,
        }
    }
}

/// Reads bodies for all connections of a server.
#[derive(Debug)]
pub struct Reader {
    limits: Limits,
}

/// A body that was read, with what it takes of the memory.
#[derive(Debug)]
pub struct Whole {
    /// The body.
    pub bytes: Bytes,
    /// What it takes of the memory for requests.
    pub share: Share,
    /// What working on it takes of the memory for that: nothing yet.
    pub work: Share,
}

impl Deref for Whole {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

/// Why a body could not be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Larger than this many bytes.
    TooLarge(usize),
    /// Not there after this time.
    TooSlow(Duration),
    /// Less than this many bytes a second.
    TooFewASecond(usize),
    /// There is no memory for it.
    NoRoom,
    /// The client stopped, or broke the protocol.
    Broken,
}

impl Reader {
    /// A reader with these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// Reads a whole body.
    ///
    /// # Errors
    ///
    /// If it breaks a limit or ends early.
    pub async fn read(&self, body: Received) -> Result<Whole, Unreadable> {
        let Received {
            mut incoming,
            mut share,
            work,
        } = body;
        let mut arriving = Arriving::new(&mut incoming, self.limits);
        let bytes = match self.collect(&mut arriving, &mut share).await {
            Ok(bytes) => bytes,
            Err(why) => {
                Received::forget_body(&mut share);
                return Err(self.refuse(&mut arriving, why).await);
            }
        };
        Ok(Whole { bytes, share, work })
    }

    async fn collect(
        &self,
        body: &mut Arriving<'_>,
        share: &mut Share,
    ) -> Result<Bytes, Unreadable> {
        let limit = self.limits.bytes;
        let announced = body.incoming.size_hint().lower();
        if announced > limit as u64 {
            return Err(Unreadable::TooLarge(limit));
        }
        // Nearly every review arrives in one piece, which is then used where it lies.
        let first = body.next_piece().await?.unwrap_or_default();
        if first.len() > limit {
            return Err(Unreadable::TooLarge(limit));
        }
        if body.incoming.is_end_stream() {
            return match share.grow(first.len(), body.room_until()).await {
                true => Ok(first),
                false => Err(Unreadable::NoRoom),
            };
        }
        let holder = share.holder();
        let receiving = holder.receive();
        let mut whole = Gathering::new(announced as usize);
        whole.push(&first, share, body.room_until()).await?;
        // It lies in the connection's read buffer and would keep that from being used again.
        drop(first);
        while let Some(piece) = body.next_piece().await? {
            if whole.bytes.len() + piece.len() > limit {
                return Err(Unreadable::TooLarge(limit));
            }
            whole.push(&piece, share, body.room_until()).await?;
            receiving.piece(piece.len());
        }
        Ok(whole.bytes.into())
    }

    /// Reads on and throws away, so that a client that sends before it listens gets to see the
    /// answer `why`.
    async fn refuse(&self, body: &mut Arriving<'_>, why: Unreadable) -> Unreadable {
        if matches!(why, Unreadable::TooSlow(_) | Unreadable::TooFewASecond(_)) {
            return why;
        }
        while body.seen <= self.limits.bytes.saturating_mul(DISCARD_FACTOR) {
            match body.next_piece().await {
                Ok(Some(_)) => {}
                Ok(None) | Err(Unreadable::Broken) => break,
                Err(_slow) => break,
            }
        }
        why
    }
}

impl Unreadable {
    /// The limit that was hit, if it was one.
    #[must_use]
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::TooLarge(_) => Some(Limit::BodySize),
            Self::TooSlow(_) => Some(Limit::BodyTime),
            Self::TooFewASecond(_) => Some(Limit::BodyRate),
            Self::NoRoom => Some(Limit::Memory),
            Self::Broken => None,
        }
    }

    /// The response that says so.
    #[must_use]
    pub fn answer(&self) -> Answer {
        match self {
            Self::TooLarge(bytes) => respond::text(
                StatusCode::PAYLOAD_TOO_LARGE,
                &format!("the request body is larger than {bytes} bytes"),
            ),
            Self::TooSlow(time) => respond::text(
                StatusCode::REQUEST_TIMEOUT,
                &format!("the request body did not arrive within {time:?}"),
            ),
            Self::TooFewASecond(bytes) => respond::text(
                StatusCode::REQUEST_TIMEOUT,
                &format!("less than {bytes} bytes of the request body arrived a second"),
            ),
            Self::NoRoom => respond::no_room(),
            Self::Broken => respond::text(StatusCode::BAD_REQUEST, "the request body ended early"),
        }
    }
}

/// A body that is arriving, and whether it does so fast enough.
struct Arriving<'a> {
    incoming: &'a mut Incoming,
    limits: Limits,
    /// When all of it must be there.
    until: Instant,
    /// When its rate is looked at next.
    look: Instant,
    /// Bytes that came since the last look.
    since_look: usize,
    /// Bytes that came.
    seen: usize,
}

impl<'a> Arriving<'a> {
    fn new(incoming: &'a mut Incoming, limits: Limits) -> Self {
        let now = Instant::now();
        Self {
            incoming,
            limits,
            until: now + limits.time,
            look: now + RATE_TIME,
            since_look: 0,
            seen: 0,
        }
    }

    /// Until when it may wait for memory.
    fn room_until(&self) -> Instant {
        self.until.min(Instant::now() + ROOM_WAIT)
    }

    /// The next piece of data; `None` at the end. Trailers are skipped.
    async fn next_piece(&mut self) -> Result<Option<Bytes>, Unreadable> {
        loop {
            let wake = self.until.min(self.look);
            match timeout_at(wake, Pin::new(&mut *self.incoming).frame()).await {
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        self.seen += data.len();
                        self.since_look += data.len();
                        return Ok(Some(data));
                    }
                    Err(_trailers) => {}
                },
                Ok(Some(Err(_))) => return Err(Unreadable::Broken),
                Ok(None) => return Ok(None),
                Err(_) if wake == self.until => {
                    return Err(Unreadable::TooSlow(self.limits.time));
                }
                Err(_) => {
                    let expected = self.limits.rate as u128 * RATE_TIME.as_millis() / 1_000;
                    if (self.since_look as u128) < expected {
                        return Err(Unreadable::TooFewASecond(self.limits.rate));
                    }
                    self.since_look = 0;
                    self.look = Instant::now() + RATE_TIME;
                }
            }
        }
    }
}

/// A body that arrives in pieces. What it takes is counted before it is taken.
struct Gathering {
    bytes: Vec<u8>,
    announced: usize,
}

impl Gathering {
    fn new(announced: usize) -> Self {
        Self {
            bytes: Vec::new(),
            announced,
        }
    }

    async fn push(
        &mut self,
        piece: &[u8],
        share: &mut Share,
        until: Instant,
    ) -> Result<(), Unreadable> {
        let needed = self.bytes.len() + piece.len();
        let capacity = self.bytes.capacity();
        if needed > capacity {
            let wanted = (2 * capacity).max(FIRST_ALLOCATION);
            // What was announced is enough, unless it was nothing.
            let wanted = match self.announced {
                0 => wanted.max(needed),
                announced => wanted.min(announced).max(needed),
            };
            if !share.grow(wanted - capacity, until).await {
                return Err(Unreadable::NoRoom);
            }
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }
}
