//! The bytes of a connection, of which a stranger may send only so many.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A socket from which at most so many bytes are read until it is [trusted](Self::trust). What a
/// client sends during a TLS handshake is kept by the TLS library, and it may be 64 KiB of
/// certificates.
#[derive(Debug)]
pub(super) struct Guarded {
    stream: TcpStream,
    /// Bytes that may still come.
    left: Option<usize>,
    full: bool,
}

impl Guarded {
    pub(super) fn new(stream: TcpStream, bytes: usize) -> Self {
        Self {
            stream,
            left: Some(bytes),
            full: false,
        }
    }

    /// Whether more was wanted than may come. A client may send its first request right behind its
    /// part of the handshake, so this means nothing once that is over.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// The handshake is over.
    pub(super) fn trust(&mut self) {
        self.left = None;
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(left) = self.left else {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        };
        if left == 0 {
            // Nobody is woken: whoever drives the handshake looks whether it is full.
            self.full = true;
            return Poll::Pending;
        }
        // A handshake is read in pieces no larger than this anyway.
        let mut some = [0; 4096];
        let most = left.min(buffer.remaining()).min(some.len());
        let mut some = ReadBuf::new(&mut some[..most]);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut some))?;
        buffer.put_slice(some.filled());
        self.left = Some(left - some.filled().len());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
