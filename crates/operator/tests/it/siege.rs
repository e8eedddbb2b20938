//! The promise about memory: whatever clients do, an operator that gets what the chart gives it
//! lives, goes on answering ordinary reviews, and ends up with what it had at rest.
//!
//! Each attack runs for some seconds beside a client that asks for an ordinary review again and
//! again over the connection it keeps. `SIEGE_OPERATOR` names an optimised build, of which more is
//! expected, `SIEGE_SECONDS` makes each take longer, `SIEGE_ONLY` chooses those with this in their
//! names.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::confined::{Confinement, peak, resident};
use crate::frames::Raw;
use crate::support::{Client, INJECT, JAVA_REVIEW, Operator, Protocol, connect, get, post};

/// The memory limit of the chart.
const LIMIT: u64 = 128 << 20;
/// A program that isn't optimised takes 24 MiB more by itself, which clients don't get then.
const UNOPTIMISED: &[&str] = &["--memory-budget=56MiB"];
/// How long an attack takes, unless the environment says otherwise.
const SECONDS: u64 = 3;
/// In this time an ordinary review is answered. A build that isn't optimised takes several times as
/// long for everything.
fn prompt() -> Duration {
    Duration::from_secs(if optimised() { 1 } else { 5 })
}

/// Whether the program is an optimised build: one that `SIEGE_OPERATOR` names.
fn optimised() -> bool {
    std::env::var_os("SIEGE_OPERATOR").is_some() || !cfg!(debug_assertions)
}

/// Pause of an attacker that was cut off.
const AGAIN: Duration = Duration::from_millis(200);
/// With each so many ordinary reviews, somebody new comes and asks for one.
const NEWCOMER: u32 = 5;
/// Those who send slowly can't take all places: of ten newcomers beside them, nine are served, by a
/// program that doesn't spend its time on handshakes. Floods of fast strangers may turn newcomers
/// away, not those who were there before.
const SLOW: &str = "slow bodies";
/// Pause between ordinary reviews.
const PACE: Duration = Duration::from_millis(25);
/// How much more memory than at rest it may have afterwards, in KiB.
const LEFT_OVER: u64 = 2 * 1024;
/// In this time what was taken is given back: the time for answers, and what the allocator needs.
const RECOVERY: Duration = Duration::from_secs(40);

/// Who is attacked.
struct Target {
    address: SocketAddr,
    plain: TlsConnector,
    /// Presents a chain of certificates of 15 KB, which is accepted.
    large_chain: TlsConnector,
    /// Presents one of 60 KB.
    huge_chain: TlsConnector,
}

type Attack = fn(Arc<Target>, usize) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Name, how many do it at once, what each does again and again.
const ATTACKS: [(&str, usize, Attack); 10] = [
    ("answers over HTTP/2 that nobody takes", 8, |target, _| {
        Box::pin(zero_window(target))
    }),
    (
        "answers over HTTP/1.1 that nobody takes",
        60,
        |target, _| Box::pin(unread(target)),
    ),
    ("first pieces over HTTP/1.1", 900, |target, _| {
        Box::pin(first_piece(target, 60 << 10))
    }),
    ("first pieces over HTTP/2", 100, |target, _| {
        Box::pin(first_pieces(target))
    }),
    ("halves of large bodies", 100, |target, _| {
        Box::pin(first_piece(target, 3 << 20))
    }),
    (SLOW, 1_100, |target, _| Box::pin(slow_body(target))),
    ("certificates", 1_000, |target, number| {
        Box::pin(certificates(target, number))
    }),
    ("large reviews", 200, |target, _| {
        Box::pin(large_review(target))
    }),
    ("readers of the election's table", 60, |target, _| {
        Box::pin(table(target))
    }),
    ("hostile reviews", 8, |target, number| {
        Box::pin(hostile_review(target, number))
    }),
];

// The attackers have a runtime of their own: they mustn't slow down whoever asks for ordinary
// reviews beside them.
#[tokio::test]
async fn nothing_that_clients_do_stops_it() {
    let confinement = Confinement::new(LIMIT);
    let budget = if optimised() { &[] } else { UNOPTIMISED };
    let operator = Operator::start_in(&confinement, budget);
    let target = Arc::new(Target::of(&operator));
    let attackers = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("threads");
    warm_up(&operator).await;
    let rest = resident(operator.process());
    let seconds = std::env::var("SIEGE_SECONDS").ok();
    let seconds = seconds.map_or(SECONDS, |text| text.parse().expect("seconds"));
    let time = Duration::from_secs(seconds);
    let only = std::env::var("SIEGE_ONLY").unwrap_or_default();
    for (name, number, attack) in ATTACKS {
        if !name.contains(&only) {
            continue;
        }
        let mut ordinary = ordinary_client(&operator, Protocol::Http1).await;
        let siege = besiege(&attackers, &target, &[(number, attack)]);
        beside(&operator, name, &mut ordinary, time).await;
        drop(siege);
    }
    let mut ordinary = ordinary_client(&operator, Protocol::Http2).await;
    let all = ATTACKS.map(|(_, number, attack)| (number.div_ceil(4), attack));
    let siege = besiege(&attackers, &target, &all);
    beside(&operator, "everything", &mut ordinary, time).await;
    drop(siege);
    recovers(&operator, rest).await;
    attackers.shutdown_background();
}

/// A new connection for a client that has lost its own, however often it must try.
async fn reconnected(operator: &Operator) -> Client {
    loop {
        let stream = connect(operator.https, &operator.roots, "localhost", &["h2"]).await;
        if let Ok(stream) = stream
            && let Ok(client) = Client::try_http2(stream).await
        {
            return client;
        }
        sleep(PACE).await;
    }
}

/// A client that was there before. What the last attack left behind may turn it away at first.
async fn ordinary_client(operator: &Operator, protocol: Protocol) -> Client {
    let end = Instant::now() + RECOVERY;
    let mut client = operator.client(protocol).await;
    loop {
        match client.ask(post(JAVA_REVIEW.clone())).await {
            Ok(answer) if answer.status() == 200 => return client,
            Ok(answer) => assert!(Instant::now() < end, "still {}", answer.status()),
            Err(error) => {
                assert!(Instant::now() < end, "still {error:?}");
                client = operator.client(protocol).await;
            }
        }
        sleep(PACE).await;
    }
}

/// Asks for ordinary reviews while an attack goes on.
async fn beside(operator: &Operator, name: &str, ordinary: &mut Client, time: Duration) {
    let end = Instant::now() + time;
    let (mut asked, mut late, mut slowest) = (0_u32, Vec::new(), Duration::ZERO);
    let mut newcomers = Vec::new();
    while Instant::now() < end {
        if asked.is_multiple_of(NEWCOMER) {
            let (address, roots) = (operator.https, operator.roots.clone());
            newcomers.push(tokio::spawn(timeout(prompt(), newcomer(address, roots))));
        }
        let begun = Instant::now();
        let answer = timeout(prompt(), ordinary.ask(post(JAVA_REVIEW.clone()))).await;
        asked += 1;
        slowest = slowest.max(begun.elapsed());
        match answer {
            Ok(Ok(answer)) if answer.status() == 200 => {}
            Ok(Ok(answer)) => late.push(answer.status().to_string()),
            Ok(Err(error)) => {
                late.push(format!("{error:?}"));
                *ordinary = reconnected(operator).await;
            }
            Err(_) => {
                late.push("late".to_owned());
                *ordinary = reconnected(operator).await;
            }
        }
        sleep(PACE).await;
    }
    let peak = peak(operator.process());
    let mut why = Vec::new();
    for newcomer in &mut newcomers {
        match newcomer.await.expect("no panic") {
            Ok(Ok(())) => {}
            Ok(Err(error)) => why.push(error),
            Err(_) => why.push("late".to_owned()),
        }
    }
    let (turned_away, came) = (why.len(), newcomers.len());
    println!(
        "{name}: {asked} reviews, {turned_away} of {came} newcomers turned away {why:?}, slowest {slowest:?}, failed {late:?}; resident {} KiB, at most {peak} KiB",
        resident(operator.process())
    );
    assert!(
        late.len() as f64 <= f64::from(asked) * 0.01,
        "{name}: of {asked} failed {late:?}"
    );
    assert!(
        !optimised() || name != SLOW || turned_away as f64 <= came as f64 * 0.1,
        "{name}: {turned_away} of {came} newcomers turned away: {why:?}"
    );
    assert!(peak * 1024 < LIMIT, "{name}: {peak} KiB");
    let health = operator.probe(get("/healthz")).await;
    assert_eq!(health.status(), 200, "{name}");
}

/// Somebody connects and has a pod reviewed. The error says what happened instead.
async fn newcomer(address: SocketAddr, roots: RootCertStore) -> Result<(), String> {
    let stream = connect(address, &roots, "localhost", &["h2"]).await;
    let stream = stream.map_err(|error| format!("handshake: {error}"))?;
    let client = Client::try_http2(stream).await;
    let mut client = client.map_err(|error| format!("HTTP/2: {error}"))?;
    let answer = client.ask(post(JAVA_REVIEW.clone())).await;
    match answer.map_err(|error| format!("no answer: {error}"))? {
        answer if answer.status() == 200 => Ok(()),
        answer => Err(answer.status().to_string()),
    }
}

/// Waits until the memory is what it was at rest.
async fn recovers(operator: &Operator, rest: u64) {
    let end = Instant::now() + RECOVERY;
    let mut now = resident(operator.process());
    while now > rest + LEFT_OVER && Instant::now() < end {
        sleep(Duration::from_millis(500)).await;
        // Work lets the allocator look after what it has.
        operator.review(JAVA_REVIEW.clone()).await;
        now = resident(operator.process());
    }
    println!("at rest: {rest} KiB before, {now} KiB afterwards");
    assert!(now <= rest + LEFT_OVER, "{now} KiB, {rest} KiB before");
    for part in ["requests", "answers"] {
        let used = format!("datakit_operator_memory_used_bytes{{part=\"{part}\"}}");
        assert_eq!(operator.metric(&used).await, 0.0, "{part}");
    }
    let panics = operator.metric("datakit_operator_panics_total").await;
    assert_eq!(panics, 0.0, "{:#?}", operator.log_lines("panicked"));
}

/// What a day's work leaves behind: some ordinary reviews, small and large, over some connections.
async fn warm_up(operator: &Operator) {
    for protocol in Protocol::BOTH {
        for _ in 0..20 {
            let mut client = operator.client(protocol).await;
            for _ in 0..50 {
                let answer = client.ask(post(JAVA_REVIEW.clone())).await;
                assert_eq!(answer.expect("an answer").status(), 200);
            }
            let answer = client.ask(post(BIG_ANSWER.clone())).await;
            assert_eq!(answer.expect("an answer").status(), 200);
        }
        assert_eq!(
            operator
                .ask(protocol, post(MEGABYTE.clone()))
                .await
                .status(),
            200
        );
    }
}

/// Attackers, each of whom begins anew whenever it has come to an end. They go when it is dropped.
fn besiege(runtime: &Runtime, target: &Arc<Target>, attacks: &[(usize, Attack)]) -> JoinSet<()> {
    let mut siege = JoinSet::new();
    for &(attackers, attack) in attacks {
        for number in 0..attackers {
            let target = Arc::clone(target);
            let again = async move {
                loop {
                    attack(Arc::clone(&target), number).await;
                    sleep(AGAIN).await;
                }
            };
            siege.spawn_on(again, runtime.handle());
        }
    }
    siege
}

static MEGABYTE: std::sync::LazyLock<Bytes> = std::sync::LazyLock::new(|| {
    let mut review: Value = serde_json::from_slice(&JAVA_REVIEW).expect("JSON");
    let notes = "x".repeat(1 << 20);
    review["request"]["object"]["metadata"]["annotations"]["notes"] = json!(notes);
    review.to_string().into()
});

/// A review below 32 KiB with many containers: the answer is several times as large.
static BIG_ANSWER: std::sync::LazyLock<Bytes> = std::sync::LazyLock::new(|| containers(250));

fn containers(count: usize) -> Bytes {
    let mut review: Value = serde_json::from_slice(&JAVA_REVIEW).expect("JSON");
    let containers: Vec<Value> = (0..count)
        .map(|number| json!({"name": format!("c{number}"), "image": "x"}))
        .collect();
    review["request"]["object"]["spec"]["containers"] = json!(containers);
    review.to_string().into()
}

fn head(length: usize) -> String {
    format!(
        "POST {INJECT}?timeout=5s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n"
    )
}

/// Asks for large answers on many streams, none of which may be sent.
async fn zero_window(target: Arc<Target>) {
    let Some(stream) = target.connect(&target.plain, "h2").await else {
        return;
    };
    let Ok(mut raw) = Raw::on(stream, &[0, 4, 0, 0, 0, 0]).await else {
        return;
    };
    for stream in 0..120 {
        if raw.try_review(2 * stream + 1, &BIG_ANSWER).await.is_err() {
            return;
        }
    }
    raw.read_to_end().await;
}

/// Asks again and again and takes no answer.
async fn unread(target: Arc<Target>) {
    let Some(mut stream) = target.connect(&target.plain, "http/1.1").await else {
        return;
    };
    let request = [head(BIG_ANSWER.len()).as_bytes(), &BIG_ANSWER].concat();
    while stream.write_all(&request).await.is_ok() {}
}

/// Sends the beginning of a large body and then nothing.
async fn first_piece(target: Arc<Target>, bytes: usize) {
    let Some(mut stream) = target.connect(&target.plain, "http/1.1").await else {
        return;
    };
    let _ = stream.write_all(head(5 << 20).as_bytes()).await;
    let _ = stream.write_all(&vec![b' '; bytes]).await;
    let _ = stream.flush().await;
    read_to_end(stream).await;
}

/// The same on many streams of one connection.
async fn first_pieces(target: Arc<Target>) {
    let Some(stream) = target.connect(&target.plain, "h2").await else {
        return;
    };
    let Ok(mut raw) = Raw::on(stream, &[]).await else {
        return;
    };
    for stream in 0..120 {
        if raw
            .try_first_piece(2 * stream + 1, &[b' '; 500])
            .await
            .is_err()
        {
            return;
        }
    }
    raw.read_to_end().await;
}

/// Sends a body byte by byte.
async fn slow_body(target: Arc<Target>) {
    let Some(mut stream) = target.connect(&target.plain, "http/1.1").await else {
        return;
    };
    let _ = stream.write_all(head(10_000).as_bytes()).await;
    while stream.write_all(b" ").await.is_ok() && stream.flush().await.is_ok() {
        sleep(Duration::from_millis(200)).await;
    }
}

/// Connects with many certificates, and stays.
async fn certificates(target: Arc<Target>, number: usize) {
    let connector = match number % 4 {
        0 => &target.huge_chain,
        _ => &target.large_chain,
    };
    let Some(stream) = target.connect(connector, "http/1.1").await else {
        return;
    };
    read_to_end(stream).await;
}

/// Asks for an ordinary review of a large pod.
async fn large_review(target: Arc<Target>) {
    ask(&target, &MEGABYTE).await;
}

static HOSTILE: std::sync::LazyLock<[Bytes; 3]> = std::sync::LazyLock::new(|| {
    let mut patterns: Value = serde_json::from_slice(&JAVA_REVIEW).expect("JSON");
    let paths: Vec<String> = (0..10_000)
        .map(|number| format!("/var/log/{number}/*.log"))
        .collect();
    let instances = json!([{"paths": paths, "logfiles": paths}]).to_string();
    patterns["request"]["object"]["metadata"]["annotations"]["admission.datakit/logfwd.instances"] =
        json!(instances);
    [
        containers(40_000),
        containers(3_000),
        patterns.to_string().into(),
    ]
});

/// Asks for a review that is as much work as its size allows.
async fn hostile_review(target: Arc<Target>, number: usize) {
    ask(&target, &HOSTILE[number % HOSTILE.len()]).await;
}

async fn ask(target: &Target, review: &Bytes) {
    let Some(mut stream) = target.connect(&target.plain, "http/1.1").await else {
        return;
    };
    let head = head(review.len()).replace("host: x", "host: x\r\nconnection: close");
    let sent = async {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(review).await
    };
    if sent.await.is_ok() {
        read_to_end(stream).await;
    }
}

/// Polls as one of many agents, then asks for the table and doesn't take it.
async fn table(target: Arc<Target>) {
    static AGENTS: AtomicUsize = AtomicUsize::new(0);
    let Some(mut stream) = target.connect(&target.plain, "http/1.1").await else {
        return;
    };
    for _ in 0..20 {
        let agent = AGENTS.fetch_add(1, Ordering::Relaxed);
        let inputs: Vec<String> = (0..100).map(|number| format!("input-{number}")).collect();
        let poll = json!({"id": format!("agent-{agent}"), "inputs": inputs}).to_string();
        let poll = format!(
            "POST /v1/datakit/election HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{poll}",
            poll.len()
        );
        if stream.write_all(poll.as_bytes()).await.is_err() {
            return;
        }
    }
    let read = b"GET /v1/datakit/election HTTP/1.1\r\nhost: x\r\n\r\n";
    for _ in 0..200 {
        if stream.write_all(read).await.is_err() {
            return;
        }
    }
    sleep(Duration::from_secs(5)).await;
}

async fn read_to_end(mut stream: TlsStream<TcpStream>) {
    let mut buffer = vec![0; 16 << 10];
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

impl Target {
    fn of(operator: &Operator) -> Self {
        let roots = &operator.roots;
        Self {
            address: operator.https,
            plain: connector(roots, None),
            large_chain: connector(roots, Some(15_000)),
            huge_chain: connector(roots, Some(60_000)),
        }
    }

    async fn connect(
        &self,
        connector: &TlsConnector,
        protocol: &str,
    ) -> Option<TlsStream<TcpStream>> {
        // What the kernel takes from an attacker isn't taken from the operator, but from this
        // machine.
        let socket = TcpSocket::new_v4().ok()?;
        socket.set_send_buffer_size(64 << 10).ok()?;
        socket.set_recv_buffer_size(64 << 10).ok()?;
        let stream = socket.connect(self.address).await.ok()?;
        let _ = stream.set_nodelay(true);
        let name = ServerName::try_from("localhost").expect("a name");
        let alpn = vec![protocol.as_bytes().to_vec()];
        connector.with_alpn(alpn).connect(name, stream).await.ok()
    }
}

/// Connects, and presents a chain of about so many bytes.
fn connector(roots: &RootCertStore, chain: Option<usize>) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots.clone());
    let config = match chain {
        None => builder.with_no_client_auth(),
        Some(bytes) => builder.with_client_cert_resolver(Arc::new(Chain::of(bytes, &provider))),
    };
    TlsConnector::from(Arc::new(config))
}

/// Presents a certificate and behind it much that has nothing to do with it.
#[derive(Debug)]
struct Chain(Arc<CertifiedKey>);

impl Chain {
    fn of(bytes: usize, provider: &rustls::crypto::CryptoProvider) -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(["stranger".to_owned()]).expect("a name");
        let leaf = params
            .self_signed(&key)
            .expect("a certificate")
            .der()
            .clone();
        let filler = CertificateDer::from(vec![0; bytes - leaf.len()]);
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let key = provider.key_provider.load_private_key(key).expect("a key");
        Self(Arc::new(CertifiedKey::new(vec![leaf, filler], key)))
    }
}

impl ResolvesClientCert for Chain {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
