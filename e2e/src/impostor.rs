//! Servers that stand in for the operator and misbehave, or stand beside it.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::certs::Pair;

/// What a server does with a connection.
#[derive(Clone, Debug)]
pub enum Manners {
    /// Accepts it and says nothing, not even in the TLS handshake.
    Silent,
    /// Speaks TLS with this certificate, reads what comes first, writes these bytes whatever it
    /// was, and closes.
    Says(Pair, Vec<u8>),
    /// Is a well-behaved webhook of someone else: allows each pod, with this JSON Patch.
    Patches(Pair, Value),
}

/// A running server. It ends when dropped.
#[derive(Debug)]
pub struct Impostor {
    port: u16,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

/// How a server that speaks TLS answers.
#[derive(Debug)]
enum Speech {
    Always(Vec<u8>),
    Patch(String),
}

#[derive(Debug, Default)]
struct State {
    stopped: AtomicBool,
    connections: AtomicUsize,
}

impl Impostor {
    /// Starts a server on a port of loopback.
    pub fn start(port: u16, manners: Manners) -> Result<Self> {
        let listener = bind(port)?;
        let speech = match manners {
            Manners::Silent => None,
            Manners::Says(pair, bytes) => Some((tls(&pair)?, Speech::Always(bytes))),
            Manners::Patches(pair, patch) => Some((tls(&pair)?, Speech::Patch(patch.to_string()))),
        };
        let state = Arc::new(State::default());
        let thread = std::thread::spawn({
            let state = Arc::clone(&state);
            move || accept(&listener, &state, speech.as_ref())
        });
        Ok(Self {
            port,
            state,
            thread: Some(thread),
        })
    }

    /// How many connections it got.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Listens there. A connection that a test beside this one has opened may have got the port in the
/// meantime; it is waited for.
fn bind(port: u16) -> std::io::Result<TcpListener> {
    let begin = Instant::now();
    loop {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Err(error)
                if error.kind() == std::io::ErrorKind::AddrInUse
                    && begin.elapsed() < Duration::from_secs(30) =>
            {
                std::thread::sleep(Duration::from_millis(100));
            }
            bound => return bound,
        }
    }
}

fn accept(listener: &TcpListener, state: &State, speech: Option<&(Arc<ServerConfig>, Speech)>) {
    let mut open = Vec::new();
    for connection in listener.incoming().flatten() {
        if state.stopped.load(Ordering::SeqCst) {
            return;
        }
        state.connections.fetch_add(1, Ordering::SeqCst);
        match speech {
            // A client that gives up in the middle is no fault of this test.
            Some((config, speech)) => drop(say(connection, config, speech)),
            None => open.push(connection),
        }
    }
}

fn say(connection: TcpStream, config: &Arc<ServerConfig>, speech: &Speech) -> Result<()> {
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(config))?, connection);
    let answer = match speech {
        Speech::Always(bytes) => {
            let mut request = [0; 16 * 1024];
            let _ = stream.read(&mut request)?;
            bytes.clone()
        }
        Speech::Patch(patch) => allow(&body(&mut stream)?, patch)?,
    };
    stream.write_all(&answer)?;
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(())
}

/// The body of a request whose length is stated.
pub(crate) fn body(stream: &mut impl Read) -> Result<Vec<u8>> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse()?;
            }
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(body)
}

fn allow(review: &[u8], patch: &str) -> Result<Vec<u8>> {
    let review: Value = serde_json::from_slice(review)?;
    let answer = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {
            "uid": review["request"]["uid"],
            "allowed": true,
            "patchType": "JSONPatch",
            "patch": BASE64.encode(patch),
        },
    });
    let answer = answer.to_string();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
    Ok(format!("{head}\r\ncontent-length: {}\r\n\r\n{answer}", answer.len()).into_bytes())
}

fn tls(pair: &Pair) -> Result<Arc<ServerConfig>> {
    let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes())?];
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Arc::new(config))
}
