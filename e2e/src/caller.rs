//! An HTTPS client that takes any certificate and waits for answers as long as it takes, as agents
//! do.

use std::io::{BufRead, BufReader, ErrorKind, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
};

/// Agents wait for ever. This only ends the tests' threads when something has gone wrong.
const FOR_EVER: Duration = Duration::from_secs(120);
/// How long a connection may take, as in Go's default client.
const CONNECT: Duration = Duration::from_secs(30);

/// The addresses behind a Service, and which of them the next connection goes to.
#[derive(Debug, Default)]
pub struct Balancer {
    servers: Mutex<Vec<SocketAddr>>,
}

/// Calls one of the servers and keeps the connection for the next call, however the list of servers
/// changes meanwhile.
#[derive(Debug)]
pub struct Caller {
    balancer: Arc<Balancer>,
    config: Arc<ClientConfig>,
    seed: u64,
    kept: Option<Line>,
    line: Arc<Mutex<Option<TcpStream>>>,
}

/// Cuts off a caller in the middle of whatever it does.
#[derive(Clone, Debug)]
pub struct Cutter(Arc<Mutex<Option<TcpStream>>>);

/// What a call gave.
#[derive(Clone, Debug)]
pub struct Response {
    /// The server that gave it.
    pub server: SocketAddr,
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
}

#[derive(Debug)]
struct Line {
    server: SocketAddr,
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Balancer {
    /// Sends new connections to these servers from now on. The present ones stay.
    pub fn set(&self, servers: impl IntoIterator<Item = SocketAddr>) {
        let mut present = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        *present = servers.into_iter().collect();
    }

    fn choose(&self, seed: u64) -> Option<SocketAddr> {
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = u64::try_from(servers.len())
            .ok()
            .filter(|count| *count > 0)?;
        servers.get(usize::try_from(seed % count).ok()?).copied()
    }
}

impl Caller {
    /// A caller that chooses servers by chance. `seed` makes its choices different from other
    /// callers'.
    pub fn new(balancer: &Arc<Balancer>, seed: u64) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth();
        Ok(Self {
            balancer: Arc::clone(balancer),
            config: Arc::new(config),
            seed,
            kept: None,
            line: Arc::default(),
        })
    }

    /// One that always calls the same server.
    pub fn of(server: SocketAddr) -> Result<Self> {
        let balancer = Balancer::default();
        balancer.set([server]);
        Self::new(&Arc::new(balancer), 0)
    }

    /// What cuts it off.
    #[must_use]
    pub fn cutter(&self) -> Cutter {
        Cutter(Arc::clone(&self.line))
    }

    /// Calls. `headers` are whole lines, each ending in a line break.
    pub fn call(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> Result<Response> {
        let open = self.kept.as_mut().is_some_and(Line::is_open);
        let mut line = match self.kept.take() {
            Some(line) if open => line,
            _ => self.connect()?,
        };
        let server = line.server;
        let (status, body, keep) = line
            .exchange(method, path, headers, body)
            .with_context(|| format!("no answer from {server}"))?;
        if keep {
            self.kept = Some(line);
        }
        Ok(Response {
            server,
            status,
            body,
        })
    }

    fn connect(&mut self) -> Result<Line> {
        // splitmix64: neighbouring seeds make unrelated choices.
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let server = self.balancer.choose(mixed >> 33).context("no server")?;
        let tcp = TcpStream::connect_timeout(&server, CONNECT)
            .with_context(|| format!("no connection to {server}"))?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(FOR_EVER))?;
        let mut held = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Some(tcp.try_clone()?);
        drop(held);
        let name = ServerName::from(server.ip());
        let session = ClientConnection::new(Arc::clone(&self.config), name)?;
        Ok(Line {
            server,
            stream: StreamOwned::new(session, tcp),
        })
    }
}

impl Cutter {
    /// Ends the connection.
    pub fn cut(&self) {
        let line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = &*line {
            // It may have ended by itself.
            let _ = line.shutdown(Shutdown::Both);
        }
    }
}

impl Line {
    /// Whether nothing says that the server has closed it. A client that keeps connections notices
    /// that by itself.
    fn is_open(&mut self) -> bool {
        if self.stream.sock.set_nonblocking(true).is_err() {
            return false;
        }
        let open = loop {
            match self.stream.conn.read_tls(&mut self.stream.sock) {
                Ok(0) => break false,
                Ok(_) => match self.stream.conn.process_new_packets() {
                    Ok(state) if !state.peer_has_closed() => {}
                    _ => break false,
                },
                Err(error) => break error.kind() == ErrorKind::WouldBlock,
            }
        };
        open && self.stream.sock.set_nonblocking(false).is_ok()
    }

    /// Sends a request; returns the status, the body, and whether the connection may be kept.
    fn exchange(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> Result<(u16, String, bool)> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: datakit-operator.datakit.svc\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes())?;
        self.stream.flush()?;
        let mut reader = BufReader::new(&mut self.stream);
        let mut start = String::new();
        reader.read_line(&mut start)?;
        let status = start.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("instead of a status: `{start}`"))?;
        let (mut length, mut keep, mut chunked) = (0, true, false);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse()?,
                "transfer-encoding" => chunked = value.trim() == "chunked",
                "connection" => keep = value.trim() != "close",
                _ => {}
            }
        }
        let mut text = Vec::new();
        if method != "HEAD" {
            match chunked {
                true => read_chunks(&mut reader, &mut text)?,
                false => read_more(&mut reader, &mut text, length)?,
            }
        }
        Ok((status, String::from_utf8(text)?, keep))
    }
}

fn read_chunks(reader: &mut impl BufRead, text: &mut Vec<u8>) -> Result<()> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim_end(), 16);
        let length = length.with_context(|| format!("instead of a chunk: `{line}`"))?;
        read_more(reader, text, length)?;
        let mut end = [0; 2];
        reader.read_exact(&mut end)?;
        if length == 0 {
            return Ok(());
        }
    }
}

fn read_more(reader: &mut impl BufRead, text: &mut Vec<u8>, length: usize) -> Result<()> {
    let from = text.len();
    text.resize(from + length, 0);
    reader.read_exact(text.get_mut(from..).unwrap_or_default())?;
    Ok(())
}

/// Verifies nothing about a server, except that it has the key of the certificate it shows.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
