//! A client that lists pods as an agent does: over HTTP/1.1, and nothing of it kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::server::Server;

/// What a pod begins with in a list.
const BEGIN: &[u8] = b"{\"metadata\":{\"name\":";

/// What came.
pub(crate) struct Seen {
    pub(crate) headers: Duration,
    pub(crate) whole: Duration,
    pub(crate) bytes: usize,
    pub(crate) pods: usize,
    /// The most that was resident meanwhile.
    pub(crate) resident_kib: u64,
}

/// Lists pods. Counts them only if that is asked for: it takes longer than receiving them.
pub(crate) async fn list(server: &Server, path: &str, count: bool) -> anyhow::Result<Seen> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(server.roots.clone())
        .with_no_client_auth();
    let stream = TcpStream::connect(server.address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost")?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .context("TLS handshake")?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header("host", "localhost")
        .body(Empty::<Bytes>::new())?;
    let started = Instant::now();
    let answer = sender.send_request(request).await?;
    let headers = started.elapsed();
    ensure!(
        answer.status() == StatusCode::OK,
        "the server answered {}",
        answer.status()
    );
    let mut body = answer.into_body();
    let mut seen = Seen {
        headers,
        whole: Duration::ZERO,
        bytes: 0,
        pods: 0,
        resident_kib: 0,
    };
    let mut counter = Counter::default();
    let mut looked = Instant::now();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        seen.bytes += data.len();
        if count {
            counter.count(&data);
        }
        if looked.elapsed() > Duration::from_millis(10) {
            looked = Instant::now();
            seen.resident_kib = seen.resident_kib.max(server.resident_kib()?);
        }
    }
    seen.whole = started.elapsed();
    seen.pods = counter.found;
    seen.resident_kib = seen.resident_kib.max(server.resident_kib()?);
    Ok(seen)
}

/// Counts pods in pieces that end anywhere.
#[derive(Default)]
struct Counter {
    matched: usize,
    found: usize,
}

impl Counter {
    fn count(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.matched = match BEGIN.get(self.matched) {
                Some(expected) if expected == byte => self.matched + 1,
                _ => usize::from(*byte == b'{'),
            };
            if self.matched == BEGIN.len() {
                self.found += 1;
                self.matched = 0;
            }
        }
    }
}
