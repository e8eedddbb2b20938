//! The load: connections that each keep a fixed number of requests in flight.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// Connections to one server.
pub(crate) struct Client {
    connections: Vec<SendRequest<Full<Bytes>>>,
    streams: usize,
    request: Request<()>,
    review: Bytes,
}

/// When to stop.
#[derive(Clone)]
pub(crate) enum Until {
    Deadline(Instant),
    /// So many requests are left, for all streams together.
    Count(Arc<AtomicU64>),
}

/// What a client saw.
#[derive(Default)]
pub(crate) struct Seen {
    /// How long each request took.
    pub(crate) latencies: Vec<Duration>,
    /// How long all of them took together.
    pub(crate) elapsed: Duration,
}

impl Client {
    pub(crate) async fn connect(
        address: SocketAddr,
        roots: &RootCertStore,
        (connections, streams): (usize, usize),
        review: Vec<u8>,
    ) -> anyhow::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        let mut open = Vec::new();
        for _ in 0..connections {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from("localhost")?;
            let stream = connector
                .connect(name, stream)
                .await
                .context("TLS handshake")?;
            let (sender, connection) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            open.push(sender);
        }
        let request = Request::post(format!("https://{address}/v1/webhooks/inject?timeout=5s"))
            .header("content-type", "application/json")
            .header("user-agent", "kube-apiserver-admission")
            .body(())?;
        Ok(Self {
            connections: open,
            streams,
            request,
            review: review.into(),
        })
    }

    /// Sends one review and returns the answer.
    pub(crate) async fn once(&self) -> anyhow::Result<Bytes> {
        let connection = self.connections.first().context("no connection")?;
        send(&mut connection.clone(), self.request(&self.review)).await
    }

    /// Keeps all streams busy until told otherwise.
    pub(crate) async fn run(&self, until: &Until) -> anyhow::Result<Seen> {
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for connection in &self.connections {
            for _ in 0..self.streams {
                let (mut connection, until) = (connection.clone(), until.clone());
                let (request, review) = (self.request.clone(), self.review.clone());
                tasks.spawn(async move {
                    let mut latencies = Vec::new();
                    while until.goes_on() {
                        let sent = Instant::now();
                        let request = request.clone().map(|()| Full::new(review.clone()));
                        send(&mut connection, request).await?;
                        latencies.push(sent.elapsed());
                    }
                    anyhow::Ok(latencies)
                });
            }
        }
        let mut seen = Seen::default();
        while let Some(latencies) = tasks.join_next().await {
            seen.latencies.extend(latencies??);
        }
        seen.elapsed = started.elapsed();
        Ok(seen)
    }

    fn request(&self, review: &Bytes) -> Request<Full<Bytes>> {
        self.request.clone().map(|()| Full::new(review.clone()))
    }
}

impl Until {
    fn goes_on(&self) -> bool {
        match self {
            Self::Deadline(deadline) => Instant::now() < *deadline,
            Self::Count(left) => left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                })
                .is_ok(),
        }
    }
}

impl Seen {
    /// Requests a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }
}

async fn send(
    connection: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<Bytes> {
    connection.ready().await?;
    let answer = connection.send_request(request).await?;
    ensure!(
        answer.status() == StatusCode::OK,
        "the server answered {}",
        answer.status()
    );
    Ok(answer.into_body().collect().await?.to_bytes())
}
