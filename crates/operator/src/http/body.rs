//! Reads request bodies, within limits.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Bytes, Incoming};
use tokio::time::timeout;

use super::respond;
use crate::listen::Answer;
use crate::telemetry::metrics::Limit;

/// A refused body is read on and thrown away up to this multiple of the limit, so that a client that sends before
/// it listens gets to see the answer instead of a reset connection.
const DISCARD_FACTOR: usize = 4;
/// The first allocation for a body that arrives in pieces is no larger than this, whatever length was announced.
const FIRST_ALLOCATION: usize = 64 * 1024;

/// Limits on request bodies. Every one of them is a flag of `serve`.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Size of one body in bytes.
    pub bytes: usize,
    /// Bytes of all unfinished bodies together.
    pub buffered: usize,
    /// Time for one whole body, counted from the end of the headers.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        // The API server's own limit on an object is 1.5 MiB in storage and 3 MiB in a request; a review may carry
        // an old and a new one.
        Self {
            bytes: 6 * 1024 * 1024,
            buffered: 64 * 1024 * 1024,
            time: Duration::from_secs(10),
        }
    }
}

/// Reads bodies for all connections of a server.
#[derive(Debug)]
pub struct Reader {
    limits: Limits,
    buffered: Arc<AtomicUsize>,
}

/// Why a body could not be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Larger than this many bytes.
    TooLarge(usize),
    /// Not there after this time.
    TooSlow(Duration),
    /// Too many other bodies are being read.
    TooMany,
    /// The client stopped, or broke the protocol.
    Broken,
}

impl Reader {
    /// A reader with these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffered: Arc::default(),
        }
    }

    /// Reads a whole body.
    ///
    /// # Errors
    ///
    /// If it breaks a limit or ends early.
    pub async fn read(&self, body: Incoming) -> Result<Bytes, Unreadable> {
        match timeout(self.limits.time, self.collect(body)).await {
            Ok(read) => read,
            Err(_) => Err(Unreadable::TooSlow(self.limits.time)),
        }
    }

    async fn collect(&self, mut body: Incoming) -> Result<Bytes, Unreadable> {
        let limit = self.limits.bytes;
        let announced = body.size_hint().lower();
        if announced > limit as u64 {
            return self.refuse(body, 0, Unreadable::TooLarge(limit)).await;
        }
        // Nearly every review arrives in one piece, which is then used where it lies.
        let first = next_piece(&mut body).await?.unwrap_or_default();
        if first.len() > limit {
            let why = Unreadable::TooLarge(limit);
            return self.refuse(body, first.len(), why).await;
        }
        if body.is_end_stream() {
            return Ok(first);
        }
        let Some(second) = next_piece(&mut body).await? else {
            return Ok(first);
        };
        let mut whole = Gathering::new(&self.buffered, self.limits.buffered);
        whole
            .bytes
            .reserve((announced as usize).min(FIRST_ALLOCATION));
        if let Err(why) = whole.push(&first) {
            drop(whole);
            return self.refuse(body, first.len(), why).await;
        }
        drop(first);
        let mut piece = Some(second);
        while let Some(bytes) = piece {
            let length = whole.bytes.len() + bytes.len();
            if length > limit {
                drop(whole);
                let why = Unreadable::TooLarge(limit);
                return self.refuse(body, length, why).await;
            }
            if let Err(why) = whole.push(&bytes) {
                drop(whole);
                return self.refuse(body, length, why).await;
            }
            piece = next_piece(&mut body).await?;
        }
        Ok(std::mem::take(&mut whole.bytes).into())
    }

    /// Reads on and throws away, so that a client that sends before it listens gets to see the answer `why`.
    async fn refuse(
        &self,
        mut body: Incoming,
        mut seen: usize,
        why: Unreadable,
    ) -> Result<Bytes, Unreadable> {
        while seen <= self.limits.bytes.saturating_mul(DISCARD_FACTOR) {
            match next_piece(&mut body).await {
                Ok(Some(piece)) => seen += piece.len(),
                Ok(None) | Err(_) => break,
            }
        }
        Err(why)
    }
}

impl Unreadable {
    /// The limit that was hit, if it was one.
    #[must_use]
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::TooLarge(_) => Some(Limit::BodySize),
            Self::TooSlow(_) => Some(Limit::BodyTime),
            Self::TooMany => Some(Limit::BufferedBytes),
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
            Self::TooMany => respond::text(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many large requests at once; try again",
            ),
            Self::Broken => respond::text(StatusCode::BAD_REQUEST, "the request body ended early"),
        }
    }
}

/// A body that arrives in pieces. What it holds counts against a limit shared by all.
struct Gathering<'a> {
    bytes: Vec<u8>,
    counted: usize,
    shared: &'a AtomicUsize,
    limit: usize,
}

impl<'a> Gathering<'a> {
    fn new(shared: &'a AtomicUsize, limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            counted: 0,
            shared,
            limit,
        }
    }

    fn push(&mut self, piece: &[u8]) -> Result<(), Unreadable> {
        self.counted += piece.len();
        if self.shared.fetch_add(piece.len(), Ordering::Relaxed) + piece.len() > self.limit {
            return Err(Unreadable::TooMany);
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }
}

impl Drop for Gathering<'_> {
    fn drop(&mut self) {
        self.shared.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

/// The next piece of data; `None` at the end. Trailers are skipped.
async fn next_piece(body: &mut Incoming) -> Result<Option<Bytes>, Unreadable> {
    loop {
        match Pin::new(&mut *body).frame().await {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                Err(_trailers) => {}
            },
            Some(Err(_)) => return Err(Unreadable::Broken),
            None => return Ok(None),
        }
    }
}
