//! What an HTTP/2 connection has to say is gathered until everything that is ready has been said.
//!
//! HTTP/2 flushes after each answer, and over TLS that is a record and a system call each. Answers
//! that are ready together leave together: what is written is kept until [`Gathered::poll_send`],
//! or until it fills a TLS record.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So much is kept, in bytes: what a TLS record holds (RFC 8446, section 5.1).
const RECORD: usize = 16 * 1024;

/// A stream that keeps what is written. Clones are the same stream: HTTP has one, and who drives
/// the connection has the other.
#[derive(Debug)]
pub(super) struct Gathered<S>(Arc<Mutex<Gathering<S>>>);

#[derive(Debug)]
struct Gathering<S> {
    stream: S,
    /// Has memory only while there is something in it.
    kept: Vec<u8>,
    /// How many bytes of it the stream has taken.
    taken: usize,
    /// The client doesn't take what it was sent. TLS keeps that; nothing is kept here beside it, so
    /// that a connection has one buffer for what is on its way.
    waits: bool,
    /// What sending met with, until HTTP hears of it.
    failed: Option<io::Error>,
}

impl<S> Clone for Gathered<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    pub(super) fn new(stream: S) -> Self {
        Self(Arc::new(Mutex::new(Gathering {
            stream,
            kept: Vec::new(),
            taken: 0,
            waits: false,
            failed: None,
        })))
    }

    /// Sends what is kept, as far as the client takes it. What is left is sent when this is called
    /// again, of which the task is told when it's time.
    pub(super) fn poll_send(&self, context: &mut Context<'_>) {
        let mut gathering = self.lock();
        if let Poll::Ready(Err(error)) = gathering.poll_flush(context) {
            gathering.forget();
            gathering.waits = false;
            // HTTP hears of it when it is polled again; once is enough.
            if gathering.failed.replace(error).is_none() {
                context.waker().wake_by_ref();
            }
        }
    }
}

impl<S> Gathered<S> {
    fn lock(&self) -> MutexGuard<'_, Gathering<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncWrite + Unpin> Gathering<S> {
    /// Keeps as much as there is room for.
    fn keep(&mut self, bytes: &[u8]) -> usize {
        if self.kept.capacity() == 0 {
            self.kept.reserve_exact(RECORD);
        }
        let fits = bytes.len().min(RECORD - self.kept.len());
        self.kept.extend_from_slice(&bytes[..fits]);
        fits
    }

    fn forget(&mut self) {
        self.kept = Vec::new();
        self.taken = 0;
    }

    /// Whether there is room for more, which is made if need be.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        if self.waits || self.kept.len() == RECORD {
            ready!(self.poll_flush(context))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Hands all that is kept to the stream.
    fn poll_empty(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.taken < self.kept.len() {
            let rest = &self.kept[self.taken..];
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => self.taken += taken,
            }
        }
        self.forget();
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.waits = true;
        ready!(self.poll_empty(context))?;
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.waits = false;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut gathering = self.lock();
        ready!(gathering.poll_ready(context))?;
        Poll::Ready(Ok(gathering.keep(bytes)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut gathering = self.lock();
        ready!(gathering.poll_ready(context))?;
        let kept = slices.iter().map(|slice| gathering.keep(slice)).sum();
        Poll::Ready(Ok(kept))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: see [`Gathered::poll_send`].
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.lock().failed.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathering = self.lock();
        ready!(gathering.poll_empty(context))?;
        Pin::new(&mut gathering.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    fn pair(room: usize) -> (Gathered<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(room);
        (Gathered::new(ours), theirs)
    }

    fn arrived(theirs: &mut DuplexStream) -> usize {
        let mut bytes = vec![0; 1 << 20];
        let mut buffer = ReadBuf::new(&mut bytes);
        let mut context = Context::from_waker(Waker::noop());
        let _ = Pin::new(theirs).poll_read(&mut context, &mut buffer);
        buffer.filled().len()
    }

    #[tokio::test]
    async fn what_is_written_leaves_when_it_is_sent() {
        let (ours, mut theirs) = pair(1 << 20);
        let mut http = ours.clone();
        for _ in 0..3 {
            http.write_all(b"answer").await.unwrap();
            http.flush().await.unwrap();
        }
        assert_eq!(arrived(&mut theirs), 0);
        ours.poll_send(&mut Context::from_waker(Waker::noop()));
        assert_eq!(arrived(&mut theirs), 18);
        assert_eq!(ours.lock().kept.capacity(), 0);
    }

    #[tokio::test]
    async fn no_more_is_kept_than_a_record_holds() {
        let (ours, mut theirs) = pair(1 << 20);
        let mut http = ours.clone();
        http.write_all(&[b'x'; 2 * RECORD + 1]).await.unwrap();
        assert_eq!(arrived(&mut theirs), 2 * RECORD);
        assert_eq!(ours.lock().kept, b"x");
    }

    /// Nothing is lost or doubled, and a client that takes nothing is waited for.
    #[tokio::test]
    async fn a_slow_client_gets_all_of_it() {
        let (ours, mut theirs) = pair(1000);
        let sent: Vec<u8> = (0..5 * RECORD).map(|at| (at % 251) as u8).collect();
        let expected = sent.clone();
        let mut http = ours.clone();
        let writing = tokio::spawn(async move {
            http.write_all(&sent).await.unwrap();
            http.shutdown().await.unwrap();
        });
        tokio::task::yield_now().await;
        assert!(!writing.is_finished() && ours.lock().kept.len() <= RECORD);
        let mut came = Vec::new();
        theirs.read_to_end(&mut came).await.unwrap();
        assert!(came == expected);
        writing.await.unwrap();
    }

    /// TLS has one more record for it, and that is all.
    #[tokio::test]
    async fn nothing_is_kept_beside_what_a_client_does_not_take() {
        let (ours, mut theirs) = pair(6);
        let mut http = ours.clone();
        let mut context = Context::from_waker(Waker::noop());
        http.write_all(b"answer and more").await.unwrap();
        ours.poll_send(&mut context);
        assert!(
            Pin::new(&mut http)
                .poll_write(&mut context, b"!")
                .is_pending()
        );
        assert_eq!(ours.lock().kept, b"answer and more");
        let mut came = [0; 15];
        let (read, written) = tokio::join!(theirs.read_exact(&mut came), http.write_all(b"!"));
        read.and(written.map(|()| 0)).unwrap();
        assert_eq!(&came, b"answer and more");
        assert_eq!(ours.lock().kept, b"!");
    }

    #[tokio::test]
    async fn http_hears_what_sending_met_with() {
        let (ours, theirs) = pair(10);
        let mut http = ours.clone();
        http.write_all(b"answer").await.unwrap();
        drop(theirs);
        ours.poll_send(&mut Context::from_waker(Waker::noop()));
        let error = http.flush().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
