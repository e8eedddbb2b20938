//! HTTP spoken by hand: clients that break rules which a library would keep, and that stop in the
//! middle.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::support::{INJECT, Operator, within};

/// Frame types (RFC 9113, section 6).
const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A frame as it came.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A raw connection whose preface has been sent.
pub(crate) struct Raw(TlsStream<TcpStream>);

impl Raw {
    pub(crate) async fn connect(operator: &Operator) -> Self {
        Self::connect_set(operator, &[]).await
    }

    /// A connection whose streams take this many bytes of an answer.
    pub(crate) async fn connect_with_window(operator: &Operator, bytes: u32) -> Self {
        // SETTINGS_INITIAL_WINDOW_SIZE.
        let [a, b, c, d] = bytes.to_be_bytes();
        Self::connect_set(operator, &[0, 4, a, b, c, d]).await
    }

    async fn connect_set(operator: &Operator, settings: &[u8]) -> Self {
        let stream = operator.tls(&["h2"]).await;
        Self::on(stream, settings).await.expect("written")
    }

    /// Begins to speak HTTP/2 with these settings.
    pub(crate) async fn on(stream: TlsStream<TcpStream>, settings: &[u8]) -> io::Result<Self> {
        let mut raw = Self(stream);
        raw.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
        raw.try_send(SETTINGS, 0, 0, settings).await?;
        Ok(raw)
    }

    /// Sends a whole review.
    pub(crate) async fn try_review(&mut self, stream: u32, body: &[u8]) -> io::Result<()> {
        self.try_begin_review(stream).await?;
        // No frame is larger than this (RFC 9113, section 4.2).
        let mut pieces = body.chunks(16_384).peekable();
        while let Some(piece) = pieces.next() {
            let flags = if pieces.peek().is_none() {
                END_STREAM
            } else {
                0
            };
            self.try_send(DATA, flags, stream, piece).await?;
        }
        Ok(())
    }

    /// Sends the beginning of a review.
    pub(crate) async fn try_first_piece(&mut self, stream: u32, body: &[u8]) -> io::Result<()> {
        self.try_begin_review(stream).await?;
        self.try_send(DATA, 0, stream, body).await
    }

    /// Reads until the server closes the connection, for however long it takes.
    pub(crate) async fn read_to_end(&mut self) {
        let mut buffer = vec![0; 16 << 10];
        while self.0.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    }

    /// Asks for a page.
    pub(crate) async fn ask(&mut self, stream: u32, path: &str) {
        let mut headers = vec![0x82, 0x87]; // :method GET, :scheme https
        for (name, value) in [(4, path), (1, "localhost")] {
            headers.extend([name, value.len() as u8]);
            headers.extend(value.as_bytes());
        }
        let flags = END_STREAM | END_HEADERS;
        self.send(HEADERS, flags, stream, &headers).await;
    }

    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.try_send(kind, flags, stream, payload)
            .await
            .expect("written");
    }

    async fn try_send(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> io::Result<()> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await?;
        self.0.flush().await
    }

    /// Begins a review without its body.
    pub(crate) async fn begin_review(&mut self, stream: u32) {
        self.try_begin_review(stream).await.expect("written");
    }

    /// Begins a review and takes it back at once. Fails when the server has had enough.
    pub(crate) async fn try_begin_and_reset(&mut self, stream: u32) -> io::Result<()> {
        self.try_begin_review(stream).await?;
        self.try_send(RST_STREAM, 0, stream, &[0, 0, 0, 8]).await
    }

    async fn try_begin_review(&mut self, stream: u32) -> io::Result<()> {
        // HPACK with entries of the static table only (RFC 7541, appendix A).
        let mut headers = vec![0x83, 0x87]; // :method POST, :scheme https
        for (name, value) in [(4, INJECT), (1, "localhost"), (31, "application/json")] {
            // A literal that is not added to the table; names above 14 need a second byte.
            if name < 15 {
                headers.push(name);
            } else {
                headers.extend([15, name - 15]);
            }
            headers.push(value.len() as u8);
            headers.extend(value.as_bytes());
        }
        self.try_send(HEADERS, END_HEADERS, stream, &headers).await
    }

    /// Begins a review without its body, and returns once the server is waiting for that.
    pub(crate) async fn wait_in_review(operator: &Operator) -> Self {
        let mut raw = Self::connect(operator).await;
        raw.begin_review(1).await;
        // The answer to the second ping is from a later turn of the server than the one in which it
        // took the request.
        for _ in 0..2 {
            raw.send(PING, 0, 0, b"are you?").await;
            raw.next_of(PING).await;
        }
        raw
    }

    /// Sends a body to the review begun on stream 1, and returns whether the answer is 400, as the
    /// body deserves.
    pub(crate) async fn finish_review(&mut self) -> bool {
        self.send(DATA, END_STREAM, 1, b"garbage").await;
        // The first byte is the status: 400 has the number 12 in the static table.
        self.next_of(HEADERS).await.payload[0] == 0x80 | 12
    }

    /// The next frame; `None` when the server has closed the connection.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        within(self.0.read_exact(&mut head)).await.ok()?;
        let [a, b, c, kind, _flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        within(self.0.read_exact(&mut payload)).await.ok()?;
        Some(Frame {
            kind,
            stream: u32::from_be_bytes(stream),
            payload,
        })
    }

    /// The next frame of this type.
    pub(crate) async fn next_of(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await.expect("the connection stays open");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Reads until the server closes the connection.
    pub(crate) async fn closed(&mut self) {
        while self.next().await.is_some() {}
    }
}

/// An HTTP/1.1 connection in the middle of a review.
pub(crate) struct HalfSent(TlsStream<TcpStream>);

impl HalfSent {
    /// Begins a review without its body, and returns once the server is waiting for that.
    pub(crate) async fn wait_in_review(operator: &Operator) -> Self {
        let mut stream = operator.tls(&["http/1.1"]).await;
        let head = format!(
            "POST {INJECT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: 7\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("written");
        let mut answer = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
        within(stream.read_exact(&mut answer))
            .await
            .expect("asked for the body");
        assert!(answer.starts_with(b"HTTP/1.1 100 "));
        Self(stream)
    }

    /// Sends the body, and returns whether the answer is 400, as the body deserves.
    pub(crate) async fn finish_review(&mut self) -> bool {
        self.0.write_all(b"garbage").await.expect("written");
        self.0.flush().await.expect("written");
        let mut answer = Vec::new();
        let _ = within(self.0.read_to_end(&mut answer)).await;
        answer.starts_with(b"HTTP/1.1 400 ")
    }
}
