//! The load: connections that each keep a fixed number of requests in flight.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
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

/// The path of reviews, as an API server asks for it.
pub(crate) const REVIEW_PATH: &str = "/v1/webhooks/inject?timeout=5s";

/// Connections to one server.
pub(crate) struct Client {
    connections: Vec<SendRequest<Full<Bytes>>>,
    streams: usize,
    request: Request<()>,
    bodies: Arc<[Bytes]>,
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
        path: &str,
        bodies: Arc<[Bytes]>,
    ) -> anyhow::Result<Self> {
        ensure!(!bodies.is_empty(), "there is nothing to send");
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
        let request = Request::post(format!("https://{address}{path}"))
            .header("content-type", "application/json")
            .header("user-agent", "kube-apiserver-admission")
            .body(())?;
        Ok(Self {
            connections: open,
            streams,
            request,
            bodies,
        })
    }

    /// Sends the first body and returns the answer.
    pub(crate) async fn once(&self) -> anyhow::Result<Bytes> {
        let connection = self.connections.first().context("no connection")?;
        let body = self.bodies[0].clone();
        let request = self.request.clone().map(|()| Full::new(body));
        send(&mut connection.clone(), request).await
    }

    /// Sends every body once and returns the answers in the order of the bodies.
    pub(crate) async fn each(&self) -> anyhow::Result<Vec<Bytes>> {
        let turn = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for connection in &self.connections {
            for _ in 0..self.streams {
                let (mut connection, request) = (connection.clone(), self.request.clone());
                let (bodies, turn) = (Arc::clone(&self.bodies), Arc::clone(&turn));
                tasks.spawn(async move {
                    let mut answers = Vec::new();
                    loop {
                        let index = turn.fetch_add(1, Ordering::Relaxed);
                        let Some(body) = bodies.get(index) else {
                            return anyhow::Ok(answers);
                        };
                        let request = request.clone().map(|()| Full::new(body.clone()));
                        answers.push((index, send(&mut connection, request).await?));
                    }
                });
            }
        }
        let mut answers = Vec::with_capacity(self.bodies.len());
        while let Some(some) = tasks.join_next().await {
            answers.extend(some??);
        }
        answers.sort_unstable_by_key(|(index, _)| *index);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }

    /// Sends so many requests at once, in turn over the connections, and returns how long each
    /// took.
    pub(crate) async fn group(&self, count: usize) -> anyhow::Result<Vec<Duration>> {
        let mut tasks = JoinSet::new();
        for (number, connection) in (0..count).zip(self.connections.iter().cycle()) {
            let body = self.bodies[number % self.bodies.len()].clone();
            let request = self.request.clone().map(|()| Full::new(body));
            let mut connection = connection.clone();
            let sent = Instant::now();
            tasks.spawn(async move {
                send(&mut connection, request).await?;
                anyhow::Ok(sent.elapsed())
            });
        }
        let mut took = Vec::with_capacity(count);
        while let Some(one) = tasks.join_next().await {
            took.push(one??);
        }
        Ok(took)
    }

    /// Sends these bodies, whatever the answers are.
    pub(crate) async fn refused(&self, bodies: &[Bytes]) -> anyhow::Result<()> {
        let mut connection = self.connections.first().context("no connection")?.clone();
        for body in bodies {
            let request = self.request.clone().map(|()| Full::new(body.clone()));
            connection.ready().await?;
            let answer = connection.send_request(request).await?;
            answer.into_body().collect().await?;
        }
        Ok(())
    }

    /// What is sent.
    pub(crate) fn bodies(&self) -> Arc<[Bytes]> {
        Arc::clone(&self.bodies)
    }

    /// Changes what is sent.
    pub(crate) fn send_from_now_on(&mut self, bodies: Arc<[Bytes]>) {
        self.bodies = bodies;
    }

    /// Keeps all streams busy until told otherwise. Bodies are sent in turn, over and over.
    pub(crate) async fn run(&self, until: &Until) -> anyhow::Result<Seen> {
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        let turn = Arc::new(AtomicUsize::new(0));
        for connection in &self.connections {
            for _ in 0..self.streams {
                let (mut connection, until) = (connection.clone(), until.clone());
                let (request, bodies) = (self.request.clone(), Arc::clone(&self.bodies));
                let turn = Arc::clone(&turn);
                tasks.spawn(async move {
                    let mut latencies = Vec::new();
                    while until.goes_on() {
                        let sent = Instant::now();
                        let body =
                            bodies[turn.fetch_add(1, Ordering::Relaxed) % bodies.len()].clone();
                        let request = request.clone().map(|()| Full::new(body));
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
