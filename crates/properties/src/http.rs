//! Laws about the server: whatever a client sends, the answers are HTTP, and other clients are
//! served as before.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use clap::Parser as _;
use datakit_operator::cli::{self, Cli, Streams};
use datakit_operator_core::config::DEFAULT_CONFIG;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::{Verdict, sentence};

/// How long anything may take. Only a wait that would never end is this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Limits that small inputs reach.
const LIMITS: [&str; 7] = [
    "--max-body-size=16KiB",
    "--memory-budget=12MiB",
    "--max-header-size=8KiB",
    "--header-timeout=10s",
    "--body-timeout=10s",
    "--workers=2",
    "--log-format=json",
];

const REVIEW: &[u8] = include_bytes!("../../../testdata/reviews/java.json");

/// The server of this process. It is never stopped.
struct Server {
    address: SocketAddr,
    config: Arc<ClientConfig>,
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// These bytes, sent by one client, keep the laws.
///
/// # Errors
///
/// The law that is broken, or that the server doesn't start.
pub fn check(bytes: &[u8]) -> Verdict {
    static SERVER: LazyLock<Result<Server, String>> = LazyLock::new(start);
    let server = SERVER.as_ref().map_err(Clone::clone)?;
    let (protocol, sent): (&[u8], _) = match bytes.split_first() {
        None => return Ok(()),
        Some((first, rest)) if first % 2 == 1 => (b"h2", rest),
        Some((_, rest)) => (b"http/1.1", rest),
    };
    let answer = talk(server, protocol, sent, End::Sent)?;
    if protocol == b"http/1.1" && !answer.is_empty() {
        status(&answer)?;
    }
    let mut request = format!(
        "POST /v1/webhooks/inject HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        REVIEW.len()
    )
    .into_bytes();
    request.extend_from_slice(REVIEW);
    let answer = talk(server, b"http/1.1", &request, End::Answered)?;
    let patched = answer.windows(9).any(|window| window == b"JSONPatch");
    if status(&answer)? != 200 || !patched {
        let answer = String::from_utf8_lossy(&answer);
        return Err(format!("the next client wasn't served: {answer}"));
    }
    Ok(())
}

fn status(answer: &[u8]) -> Result<u16, String> {
    let head = String::from_utf8_lossy(&answer[..answer.len().min(200)]).into_owned();
    let status = head
        .strip_prefix("HTTP/1.1 ")
        .or(head.strip_prefix("HTTP/1.0 "));
    let status = status.and_then(|rest| rest.get(..3)?.parse().ok());
    status.ok_or_else(|| format!("no HTTP answer: {head}"))
}

/// When a client says that it has nothing more to send.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// At once. The server may take it for a client that has gone.
    Sent,
    /// Never: it has asked the server to close after the answer.
    Answered,
}

/// Sends everything, then reads to the end.
fn talk(server: &Server, protocol: &[u8], sent: &[u8], end: End) -> Result<Vec<u8>, String> {
    let mut stream = connect(server, protocol).map_err(sentence)?;
    // A server that has seen enough may close while this goes on.
    let _ = stream.write_all(sent).and_then(|()| stream.flush());
    if end == End::Sent {
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return Ok(answer),
            Ok(length) => answer.extend_from_slice(&piece[..length]),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                return Err(format!(
                    "the server neither answers nor closes after {PATIENCE:?}"
                ));
            }
            // Closed without ado.
            Err(_) => return Ok(answer),
        }
    }
}

fn connect(server: &Server, protocol: &[u8]) -> io::Result<Stream> {
    let stream = TcpStream::connect(server.address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut config = ClientConfig::clone(&server.config);
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let client = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(client, stream))
}

fn start() -> Result<Server, String> {
    let address = free_address().map_err(sentence)?;
    let probes = free_address().map_err(sentence)?;
    let folder = tempfile::tempdir().map_err(sentence)?.keep();
    let (ca, config) = (folder.join("ca.pem"), folder.join("config.json"));
    let mut quiet: Value = serde_json::from_str(DEFAULT_CONFIG).map_err(sentence)?;
    quiet["log_level"] = "error".into();
    std::fs::write(&config, quiet.to_string()).map_err(sentence)?;
    let mut args = vec![
        "datakit-operator".to_owned(),
        "serve".to_owned(),
        format!("--listen={address}"),
        format!("--probe-listen={probes}"),
        format!("--write-ca={}", ca.display()),
        format!("--config={}", config.display()),
    ];
    args.extend(LIMITS.map(str::to_owned));
    let cli = Cli::try_parse_from(args).map_err(sentence)?;
    let server = std::thread::spawn(move || {
        let mut said = Vec::new();
        let mut streams = Streams {
            stdin: &mut io::empty(),
            stdout: &mut io::sink(),
            stderr: &mut said,
        };
        let code = cli::run(cli.command, &mut streams);
        format!("exit code {code}: {}", String::from_utf8_lossy(&said))
    });
    let started = Instant::now();
    while TcpStream::connect(address).is_err() {
        if server.is_finished() {
            let said = server.join().unwrap_or_default();
            return Err(format!("the server doesn't start: {said}"));
        }
        if started.elapsed() > PATIENCE {
            return Err(format!("the server doesn't listen after {PATIENCE:?}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let config = Arc::new(client(&ca)?);
    Ok(Server { address, config })
}

fn client(ca: &Path) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(ca).map_err(sentence)?;
    roots.add(certificate).map_err(sentence)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(sentence)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// An address that is free right now.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
