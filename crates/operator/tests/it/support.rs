//! A real operator process, and real clients for it.
//!
//! Nothing here measures time. [`within`] only turns a wait that would never end into a failure.

use std::convert::Infallible;
use std::future::Future;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::confined::Confinement;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_datakit-operator");

/// The path of the webhook.
pub(crate) const INJECT: &str = "/v1/webhooks/inject";

/// A review of a pod that asks for the Java library.
pub(crate) static JAVA_REVIEW: LazyLock<Bytes> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/reviews/java.json");
    std::fs::read(path).expect("the review").into()
});

/// Fails a test that waits for something that does not happen.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("should have happened")
}

/// A command without the variables of the surrounding environment that the program heeds.
pub(crate) fn command(args: &[&str]) -> Command {
    prepare(Command::new(PROGRAM), args)
}

fn prepare(mut command: Command, args: &[&str]) -> Command {
    for name in [
        "ENV_CONFIG_FILE",
        "ENV_JSON_CONFIG",
        "ENV_LOG_LEVEL",
        "ENV_SERVER_LISTEN",
    ] {
        command.env_remove(name);
    }
    command
        .env_remove("POD_NAMESPACE")
        .env_remove("KUBERNETES_SERVICE_HOST");
    command.args(args).stdin(Stdio::null());
    command
}

/// A running operator. Killed when dropped.
pub(crate) struct Operator {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
    /// The HTTPS address.
    pub(crate) https: SocketAddr,
    /// The plain address.
    pub(crate) probes: SocketAddr,
    /// What the client trusts.
    pub(crate) roots: RootCertStore,
    directory: TempDir,
}

/// How an operator ended.
pub(crate) struct Stopped {
    /// The exit code; `None` if a signal killed it.
    pub(crate) code: Option<i32>,
    /// All log lines, as JSON.
    pub(crate) lines: Vec<Value>,
}

impl Operator {
    /// Starts an operator with a certificate of its own and these additional arguments.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_with(args, &[])
    }

    /// Starts an operator with these environment variables too.
    pub(crate) fn start_with(args: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start_by(command(&["serve"]), args, variables)
    }

    /// Starts an operator that gets only so much memory.
    pub(crate) fn start_in(confinement: &Confinement, args: &[&str]) -> Self {
        let other = std::env::var("SIEGE_OPERATOR").ok();
        let program = other.as_deref().unwrap_or(PROGRAM);
        let command = prepare(confinement.command(program), &["serve"]);
        Self::start_by(command, args, &[])
    }

    /// The number of the process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    fn start_by(mut command: Command, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        let ca = directory.path().join("ca.pem");
        let own_certificate = args.contains(&"--tls-cert-file");
        command.args(["--log-format", "json"]);
        command.args(["--listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0"]);
        if !own_certificate {
            command.arg("--write-ca").arg(&ca);
        }
        command
            .args(args)
            .envs(variables.iter().copied())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut output = BufReader::new(child.stderr.take().expect("piped"));
        let mut before = Vec::new();
        let ready = loop {
            let mut line = String::new();
            assert_ne!(
                output.read_line(&mut line).expect("UTF-8"),
                0,
                "ended early: {before:#?}"
            );
            let value = parse(&line);
            before.push(line);
            if value["msg"] == "ready" {
                break value;
            }
        };
        let address = |key: &str| {
            let url = ready[key].as_str().expect("a URL");
            let address = url.split('/').nth(2).expect("an authority");
            address.parse().expect("an address")
        };
        let mut roots = RootCertStore::empty();
        if !own_certificate {
            roots
                .add(CertificateDer::from_pem_file(&ca).expect("a CA"))
                .expect("a CA");
        }
        let lines = Arc::new(Mutex::new(before));
        let reader = std::thread::spawn({
            let lines = Arc::clone(&lines);
            move || {
                for line in output.lines() {
                    lines.lock().unwrap().push(line.expect("UTF-8"));
                }
            }
        });
        Self {
            child,
            lines,
            reader: Some(reader),
            https: address("webhook"),
            probes: address("probes"),
            roots,
            directory,
        }
    }

    /// Starts an operator that writes its log here. Nobody reads it.
    pub(crate) async fn start_logging_to(stderr: Stdio) -> Self {
        let free = || {
            let bound = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            bound.local_addr().expect("an address")
        };
        let (https, probes) = (free(), free());
        let directory = tempfile::tempdir().expect("temporary directory");
        let ca = directory.path().join("ca.pem");
        let mut command = command(&["serve", "--log-format", "json"]);
        command
            .args(["--listen", &https.to_string()])
            .args(["--probe-listen", &probes.to_string()])
            .arg("--write-ca")
            .arg(&ca)
            .stderr(stderr);
        let child = command.spawn().expect("the program starts");
        within(async { while TcpStream::connect(probes).await.is_err() {} }).await;
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(&ca).expect("a CA");
        roots.add(certificate).expect("a CA");
        Self {
            child,
            lines: Arc::default(),
            reader: None,
            https,
            probes,
            roots,
            directory,
        }
    }

    /// The pipe that the log is written to, if it is one and nobody reads it.
    pub(crate) fn log_pipe(&mut self) -> ChildStderr {
        self.child.stderr.take().expect("a pipe")
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill")
            .args([name, &id])
            .status()
            .expect("kill");
        assert!(status.success());
    }

    /// Waits until the process has ended.
    pub(crate) async fn ended(mut self) -> Stopped {
        let code = within(async {
            loop {
                if let Some(status) = self.child.try_wait().expect("wait") {
                    break status.code();
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        if let Some(reader) = self.reader.take() {
            reader.join().expect("reads to the end");
        }
        let lines = self
            .lines
            .lock()
            .unwrap()
            .iter()
            .map(|line| parse(line))
            .collect();
        Stopped { code, lines }
    }

    /// Ends the process by SIGTERM and returns its log lines.
    pub(crate) async fn stop(self) -> Vec<Value> {
        self.signal("-TERM");
        let stopped = self.ended().await;
        assert_eq!(stopped.code, Some(0), "{:#?}", stopped.lines);
        stopped.lines
    }

    /// Waits until a line with this message is logged.
    pub(crate) async fn logged(&self, message: &str) -> Value {
        self.logged_with(message, "msg", message).await
    }

    /// Waits until a line with this message is logged that has this text under the key.
    pub(crate) async fn logged_with(&self, message: &str, key: &str, text: &str) -> Value {
        within(async {
            loop {
                let lines: Vec<Value> = self
                    .lines
                    .lock()
                    .unwrap()
                    .iter()
                    .map(|line| parse(line))
                    .collect();
                let mut lines = lines.into_iter();
                if let Some(line) = lines.find(|line| {
                    let found = line[key].as_str().unwrap_or_default();
                    line["msg"] == message && found.contains(text)
                }) {
                    return line;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await
    }

    /// The lines of the log so far that have this word.
    pub(crate) fn log_lines(&self, word: &str) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        let found = lines.iter().filter(|line| line.contains(word));
        found.cloned().collect()
    }

    /// A file in a directory that lives as long as the operator.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A TLS connection that offers these protocols.
    pub(crate) async fn tls(&self, protocols: &[&str]) -> TlsStream<TcpStream> {
        connect(self.https, &self.roots, "localhost", protocols)
            .await
            .expect("a TLS connection")
    }

    /// An HTTP/1.1 or HTTP/2 connection for one request after the other.
    pub(crate) async fn client(&self, protocol: Protocol) -> Client {
        match protocol {
            Protocol::Http1 => {
                let io = TokioIo::new(self.tls(&["http/1.1"]).await);
                let (sender, connection) = http1::handshake(io).await.expect("HTTP/1.1");
                tokio::spawn(connection);
                Client::Http1(sender)
            }
            Protocol::Http2 => Client::http2(self.tls(&["h2"]).await).await,
        }
    }

    /// One request on a connection of its own.
    pub(crate) async fn ask(&self, protocol: Protocol, request: Request<Full<Bytes>>) -> Answer {
        let mut client = self.client(protocol).await;
        client.ask(request).await.expect("an answer")
    }

    /// Sends a body to the webhook on an HTTP/2 connection of its own.
    pub(crate) async fn review(&self, body: impl Into<Bytes>) -> Answer {
        self.ask(Protocol::Http2, post(body)).await
    }

    /// An HTTP/1.1 connection from another address of this machine: `127.0.0.N`.
    pub(crate) async fn client_from(&self, last: u8) -> Client {
        let socket = TcpSocket::new_v4().expect("a socket");
        let source = SocketAddr::from(([127, 0, 0, last], 0));
        socket.bind(source).expect("an address of this machine");
        let stream = within(socket.connect(self.https))
            .await
            .expect("a connection");
        let tls = shake_hands(
            stream,
            &self.roots,
            "localhost",
            &["http/1.1"],
            rustls::ALL_VERSIONS,
        );
        let io = TokioIo::new(tls.await.expect("a TLS connection"));
        let (sender, connection) = http1::handshake(io).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        Client::Http1(sender)
    }

    /// The same to the plain listener, from another address of this machine: `127.0.0.N`.
    pub(crate) async fn probe_from(&self, last: u8, request: Request<Full<Bytes>>) -> Answer {
        let socket = TcpSocket::new_v4().expect("a socket");
        let source = SocketAddr::from(([127, 0, 0, last], 0));
        socket.bind(source).expect("an address of this machine");
        let stream = within(socket.connect(self.probes)).await;
        let io = TokioIo::new(stream.expect("a connection"));
        let (sender, connection) = http1::handshake(io).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        Client::Http1(sender).ask(request).await.expect("an answer")
    }

    /// One request to the plain listener.
    pub(crate) async fn probe(&self, request: Request<Full<Bytes>>) -> Answer {
        let io = TokioIo::new(TcpStream::connect(self.probes).await.expect("a connection"));
        let (sender, connection) = http1::handshake(io).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        Client::Http1(sender).ask(request).await.expect("an answer")
    }

    /// The value of a series on the metrics page; the name includes the labels.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let page = self.probe(get("/metrics")).await.text();
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no series {series} in:\n{page}"))
            .parse()
            .expect("a number")
    }

    /// How often the HTTPS listener's clients ran into a limit.
    pub(crate) async fn hits(&self, limit: &str) -> f64 {
        let labels = format!("listener=\"webhook\",limit=\"{limit}\"");
        self.metric(&format!("datakit_operator_limit_hits_total{{{labels}}}"))
            .await
    }
}

impl Operator {
    /// Waits until clients have run into a limit so many times. A connection may be closed before
    /// that is counted.
    pub(crate) async fn has_hit(&self, limit: &str, times: u32) {
        let times = f64::from(times);
        within(async { while self.hits(limit).await < times {} }).await;
        assert_eq!(self.hits(limit).await, times, "{limit}");
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the program to its end. Returns its exit code, standard output and standard error.
pub(crate) fn run(args: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let output = command(args)
        .envs(variables.iter().copied())
        .output()
        .expect("the program runs");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// The version of HTTP to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    pub(crate) const BOTH: [Self; 2] = [Self::Http1, Self::Http2];
}

/// A connection of either version.
pub(crate) enum Client {
    Http1(http1::SendRequest<AnyBody>),
    Http2(http2::SendRequest<AnyBody>),
}

type AnyBody = UnsyncBoxBody<Bytes, Infallible>;

impl Client {
    /// Speaks HTTP/2 on a connection.
    pub(crate) async fn http2(stream: TlsStream<TcpStream>) -> Self {
        Self::try_http2(stream).await.expect("HTTP/2")
    }

    /// The same, on a connection that may be closed at any moment.
    pub(crate) async fn try_http2(stream: TlsStream<TcpStream>) -> hyper::Result<Self> {
        let io = TokioIo::new(stream);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
        tokio::spawn(connection);
        Ok(Self::Http2(sender))
    }

    pub(crate) async fn ask<B>(&mut self, request: Request<B>) -> hyper::Result<Answer>
    where
        B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let request = request.map(BodyExt::boxed_unsync);
        let exchange = async {
            let response = match self {
                Self::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
                Self::Http2(sender) => sender.send_request(request).await?,
            };
            let (parts, body) = response.into_parts();
            Ok(Answer(Response::from_parts(
                parts,
                body.collect().await?.to_bytes(),
            )))
        };
        within(exchange).await
    }
}

/// A response whose body has arrived.
#[derive(Debug)]
pub(crate) struct Answer(Response<Bytes>);

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.0
            .headers()
            .get(name)
            .map(|value| value.to_str().expect("ASCII"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.body().to_vec()).expect("UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(self.0.body()).expect("JSON")
    }
}

/// A request that every server needs an authority for, whatever it is.
pub(crate) fn request(method: Method, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let uri = format!("https://localhost{path}");
    let builder = Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "localhost");
    builder.body(Full::new(body.into())).expect("a request")
}

/// A request that reads.
pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    request(Method::GET, path, "")
}

/// A review.
pub(crate) fn post(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let mut request = request(Method::POST, INJECT, body);
    request
        .headers_mut()
        .insert("content-type", "application/json".parse().expect("a value"));
    request
}

/// Opens a TLS connection that verifies `name`.
pub(crate) async fn connect(
    address: SocketAddr,
    roots: &RootCertStore,
    name: &str,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    connect_with(address, roots, name, protocols, rustls::ALL_VERSIONS).await
}

/// The same, with these versions of TLS.
pub(crate) async fn connect_with(
    address: SocketAddr,
    roots: &RootCertStore,
    name: &str,
    protocols: &[&str],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = within(TcpStream::connect(address)).await?;
    shake_hands(stream, roots, name, protocols, versions).await
}

async fn shake_hands(
    stream: TcpStream,
    roots: &RootCertStore,
    name: &str,
    protocols: &[&str],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("supported versions")
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    // Headers and body are written one after the other; without this the second waits for an
    // acknowledgement.
    stream.set_nodelay(true)?;
    within(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

/// Reads a file that must exist.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let mut text = String::new();
    std::fs::File::open(path)
        .expect("a file")
        .read_to_string(&mut text)
        .expect("UTF-8");
    text
}
