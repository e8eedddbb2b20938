//! What a hostile or broken client meets. Limits are tiny here, and tests wait for what the server
//! does about them.

use std::convert::Infallible;

use http::{HeaderValue, Request};
use http_body_util::channel::{Channel, Sender};
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::frames::{GOAWAY, HEADERS, HalfSent, RST_STREAM, Raw};
use crate::support::{INJECT, JAVA_REVIEW, Operator, Protocol, connect, get, post, within};

/// A review whose body comes when the test says so, and ends when the sender is dropped.
fn piecewise() -> (
    Request<Channel<Bytes, Infallible>>,
    Sender<Bytes, Infallible>,
) {
    let (sender, body) = Channel::new(64);
    (post("").map(|_| body), sender)
}

/// Sends a piece of a body that the server may not want.
async fn offer(sender: &mut Sender<Bytes, Infallible>, bytes: &'static [u8]) {
    let _ = within(sender.send_data(Bytes::from_static(bytes))).await;
}

/// Whether the peer closed the connection, in whichever way.
async fn closed(mut stream: impl AsyncReadExt + Unpin) -> bool {
    let mut rest = Vec::new();
    let _ = within(stream.read_to_end(&mut rest)).await;
    true
}

#[tokio::test]
async fn a_client_that_never_shakes_hands() {
    let operator = Operator::start(&["--handshake-timeout", "50ms"]);
    let silent = TcpStream::connect(operator.https)
        .await
        .expect("a connection");
    assert!(closed(silent).await);
    let mut slow = TcpStream::connect(operator.https)
        .await
        .expect("a connection");
    slow.write_all(&[0x16, 0x03, 0x01, 0x02])
        .await
        .expect("the start of a ClientHello");
    assert!(closed(slow).await);
    operator.has_hit("handshake_time", 2).await;
}

#[tokio::test]
async fn a_client_that_does_not_speak_tls() {
    let operator = Operator::start(&[]);
    let mut plain = TcpStream::connect(operator.https)
        .await
        .expect("a connection");
    plain
        .write_all(b"GET /ping HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("written");
    assert!(closed(plain).await);
    let failures = r#"datakit_operator_handshake_failures_total{listener="webhook"}"#;
    // The connection may be closed before that is counted.
    within(async { while operator.metric(failures).await < 1.0 {} }).await;
    assert_eq!(operator.metric(failures).await, 1.0);
    assert_eq!(
        operator.ask(Protocol::Http2, get("/ping")).await.status(),
        200
    );
}

#[tokio::test]
async fn headers_that_never_end() {
    let operator = Operator::start(&["--header-timeout", "50ms"]);
    let mut stream = operator.tls(&["http/1.1"]).await;
    stream
        .write_all(b"POST /v1/webhooks/inject HTTP/1.1\r\nx: ")
        .await
        .expect("written");
    assert!(closed(stream).await);
    operator.has_hit("header_time", 1).await;
}

#[tokio::test]
async fn headers_that_are_too_large() {
    let operator = Operator::start(&["--max-header-size", "2KiB"]);
    for protocol in Protocol::BOTH {
        let mut client = operator.client(protocol).await;
        let mut request = get("/ping");
        let large = HeaderValue::from_bytes(&[b'x'; 4096]).expect("a value");
        request.headers_mut().insert("x-large", large);
        // HTTP/1.1 answers; so does HTTP/2, unless the client already refuses to send what the
        // server won't take.
        if let Ok(answer) = client.ask(request).await {
            assert_eq!(answer.status(), 431, "{protocol:?}");
        }
        assert_eq!(
            operator.ask(protocol, get("/ping")).await.status(),
            200,
            "{protocol:?}"
        );
    }
    operator.has_hit("header_size", 1).await;
}

#[tokio::test]
async fn a_body_that_never_ends() {
    let operator = Operator::start(&["--body-timeout", "50ms"]);
    for protocol in Protocol::BOTH {
        let (request, mut body) = piecewise();
        offer(&mut body, b"{").await;
        let mut client = operator.client(protocol).await;
        let answer = client.ask(request).await.expect("an answer");
        assert_eq!(answer.status(), 408, "{protocol:?}");
        assert_eq!(
            answer.text(),
            "the request body did not arrive within 50ms\n"
        );
    }
    operator.has_hit("body_time", 2).await;
}

#[tokio::test]
async fn a_body_that_is_too_large() {
    let operator = Operator::start(&["--max-body-size", "16KiB"]);
    const FITS: &[u8] = &[b' '; 16_384];
    const TOO_LARGE: &[u8] = &[b' '; 16_385];
    for protocol in Protocol::BOTH {
        // With its length announced.
        assert_eq!(
            operator.ask(protocol, post(FITS)).await.status(),
            400,
            "{protocol:?}"
        );
        let answer = operator.ask(protocol, post(TOO_LARGE)).await;
        assert_eq!(answer.status(), 413, "{protocol:?}");
        assert_eq!(
            answer.text(),
            "the request body is larger than 16384 bytes\n"
        );
        // Without, and in pieces of which each fits.
        for (last, want) in [(&b""[..], 400), (b" ", 413)] {
            let (request, mut body) = piecewise();
            for piece in [&FITS[..8192], &FITS[8192..], last] {
                offer(&mut body, piece).await;
            }
            drop(body);
            let answer = operator
                .client(protocol)
                .await
                .ask(request)
                .await
                .expect("an answer");
            assert_eq!(answer.status(), want, "{protocol:?}");
        }
    }
    operator.has_hit("body_size", 4).await;
}

#[tokio::test]
async fn a_body_far_beyond_the_limit_still_gets_its_answer() {
    let operator = Operator::start(&["--max-body-size", "2MiB"]);
    for protocol in Protocol::BOTH {
        let answer = operator.ask(protocol, post(vec![b' '; 7 << 20])).await;
        assert_eq!(answer.status(), 413, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_length_that_is_a_lie() {
    let operator = Operator::start(&["--max-body-size", "1MiB"]);
    let mut stream = operator.tls(&["http/1.1"]).await;
    let head = "POST /v1/webhooks/inject HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9223372036854775807\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("written");
    stream.shutdown().await.expect("half closed");
    let mut answer = String::new();
    let _ = within(stream.read_to_string(&mut answer)).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

/// Room for two bodies of 150 KiB.
const LITTLE_MEMORY: &[&str] = &["--memory-budget", "11MiB", "--max-connections", "8"];

/// An HTTP/1.1 connection that sends so much of a longer body and then nothing.
async fn stalled(operator: &Operator, sent: usize) -> TlsStream<TcpStream> {
    let mut stream = operator.tls(&["http/1.1"]).await;
    let head = format!(
        "POST {INJECT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        sent + 1
    );
    stream.write_all(head.as_bytes()).await.expect("written");
    stream.write_all(&vec![b' '; sent]).await.expect("written");
    stream.flush().await.expect("written");
    stream
}

#[tokio::test]
async fn who_holds_memory_and_does_nothing_gives_way() {
    let operator = Operator::start(LITTLE_MEMORY);
    let mut idlers = Vec::new();
    for _ in 0..2 {
        idlers.push(stalled(&operator, 150 << 10).await);
    }
    let used = r#"datakit_operator_memory_used_bytes{part="requests"}"#;
    within(async { while operator.metric(used).await < f64::from(300 << 10) {} }).await;
    for protocol in Protocol::BOTH {
        let answer = operator.ask(protocol, post(vec![b' '; 150 << 10])).await;
        assert_eq!(answer.status(), 400, "{protocol:?}");
    }
    operator.has_hit("displaced", 1).await;
    drop(idlers);
    within(async { while operator.metric(used).await > 0.0 {} }).await;
}

#[tokio::test]
async fn an_answer_that_nobody_takes() {
    let operator = Operator::start(&["--answer-timeout", "100ms"]);
    let mut raw = Raw::connect_with_window(&operator, 0).await;
    raw.ask(1, "/ping").await;
    raw.next_of(HEADERS).await;
    raw.closed().await;
    operator.has_hit("answer_time", 1).await;
    let used = r#"datakit_operator_memory_used_bytes{part="answers"}"#;
    assert_eq!(operator.metric(used).await, 0.0);
}

#[tokio::test]
async fn answers_that_nobody_takes_are_counted_and_give_way() {
    let operator = Operator::start(LITTLE_MEMORY);
    let mut raw = Raw::connect_with_window(&operator, 0).await;
    for stream in 0..128 {
        raw.ask(2 * stream + 1, "/ping").await;
        raw.next_of(HEADERS).await;
    }
    let used = r#"datakit_operator_memory_used_bytes{part="answers"}"#;
    assert!(operator.metric(used).await >= f64::from(128 * 2048));
    // For a review of 100 KiB an answer of that size is expected.
    let answer = operator.review(vec![b' '; 100 << 10]).await;
    assert_eq!(answer.status(), 400);
    raw.closed().await;
    operator.has_hit("displaced", 1).await;
}

#[tokio::test]
async fn a_body_that_comes_too_slowly() {
    let operator = Operator::start(&["--min-body-rate", "1KiB"]);
    let mut stream = stalled(&operator, 1).await;
    let mut answer = vec![0; 1024];
    let read = within(stream.read(&mut answer)).await.expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    operator.has_hit("body_rate", 1).await;
}

#[tokio::test]
async fn slow_senders_make_room() {
    let operator = Operator::start(&["--max-connections", "2", "--body-timeout", "1h"]);
    let slow = [stalled(&operator, 1).await, stalled(&operator, 1).await];
    let used = r#"datakit_operator_memory_used_bytes{part="requests"}"#;
    within(async { while operator.metric(used).await < f64::from(2 * (8 << 10) + 4) {} }).await;
    let answer = operator.review(JAVA_REVIEW.clone()).await;
    assert_eq!(answer.status(), 200);
    operator.has_hit("displaced", 1).await;
    drop(slow);
}

#[tokio::test]
async fn a_handshake_that_is_too_large() {
    let operator = Operator::start(&[]);
    let mut stream = TcpStream::connect(operator.https)
        .await
        .expect("a connection");
    // A ClientHello that goes on and on: records of 16 KiB of a handshake message of 60 KiB.
    let mut record = vec![0x16, 3, 1, 0x40, 0, 1, 0, 0xea, 0x60];
    record.resize(5 + 0x4000, 0);
    for _ in 0..3 {
        let _ = stream.write_all(&record).await;
    }
    assert!(closed(stream).await);
    operator.has_hit("handshake_size", 1).await;
}

#[tokio::test]
async fn idle_connections_make_room() {
    let operator = Operator::start(&[
        "--max-connections",
        "2",
        "--handshake-timeout",
        "1h",
        "--body-timeout",
        "1h",
    ]);
    let first = operator.tls(&["h2"]).await;
    let second = TcpStream::connect(operator.https)
        .await
        .expect("a connection");
    // One newcomer after the other, each of which stays.
    let mut third = operator.client(Protocol::Http2).await;
    assert_eq!(
        third.ask(get("/ping")).await.expect("an answer").status(),
        200
    );
    assert!(closed(first).await);
    assert_eq!(
        third.ask(get("/ping")).await.expect("an answer").status(),
        200
    );
    let mut fourth = operator.client(Protocol::Http1).await;
    assert_eq!(
        fourth.ask(get("/ping")).await.expect("an answer").status(),
        200
    );
    assert!(closed(second).await);
    assert_eq!(
        third.ask(get("/ping")).await.expect("an answer").status(),
        200
    );
    operator.has_hit("connections", 2).await;
}

#[tokio::test]
async fn busy_connections_do_not() {
    let operator = Operator::start(&[
        "--max-connections",
        "2",
        "--handshake-timeout",
        "1h",
        "--body-timeout",
        "1h",
    ]);
    let mut http1 = HalfSent::wait_in_review(&operator).await;
    let mut http2 = Raw::wait_in_review(&operator).await;
    let waiting = {
        let (https, roots) = (operator.https, operator.roots.clone());
        tokio::spawn(async move { connect(https, &roots, "localhost", &["h2"]).await })
    };
    // Seen by the server, and made to wait.
    operator
        .logged("all connections are taken; closing idle ones for new ones")
        .await;
    assert_eq!(operator.hits("connections").await, 0.0);
    assert!(http1.finish_review().await && http2.finish_review().await);
    within(waiting).await.expect("no panic").expect("a place");
}

#[tokio::test]
async fn more_streams_than_allowed() {
    let operator = Operator::start(&["--max-streams", "1"]);
    let mut raw = Raw::connect(&operator).await;
    raw.begin_review(1).await;
    raw.begin_review(3).await;
    let refused = raw.next_of(RST_STREAM).await;
    assert_eq!(
        (refused.stream, &refused.payload[..]),
        (3, &[0, 0, 0, 7][..]),
        "REFUSED_STREAM"
    );
    // The first one goes on.
    raw.send(0, 1, 1, b"garbage").await;
    assert_eq!(raw.next_of(HEADERS).await.stream, 1);
}

#[tokio::test]
async fn a_flood_of_reset_streams() {
    let operator = Operator::start(&[]);
    let mut raw = Raw::connect(&operator).await;
    let flood = async {
        for stream in (1..20_001).step_by(2) {
            if raw.try_begin_and_reset(stream).await.is_err() {
                break;
            }
        }
        raw.closed().await;
    };
    within(flood).await;
    assert_eq!(
        operator.ask(Protocol::Http2, get("/ping")).await.status(),
        200
    );
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let operator = Operator::start(&["--idle-timeout", "100ms"]);
    let mut raw = Raw::connect(&operator).await;
    raw.next_of(GOAWAY).await;
    raw.closed().await;
    let silent = operator.tls(&["http/1.1"]).await;
    assert!(closed(silent).await);
    operator.has_hit("idle_time", 2).await;
}

#[tokio::test]
async fn a_peer_that_does_not_answer_pings() {
    let operator = Operator::start(&["--ping-interval", "50ms", "--ping-timeout", "50ms"]);
    let mut raw = Raw::connect(&operator).await;
    raw.begin_review(1).await;
    raw.closed().await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle() {
    let operator = Operator::start(&[]);
    for _ in 0..50 {
        let mut stream = operator.tls(&["http/1.1"]).await;
        let head = format!(
            "POST {INJECT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).await.expect("written");
        stream.flush().await.expect("written");
        drop(stream);
        let mut raw = Raw::connect(&operator).await;
        raw.begin_review(1).await;
    }
    let open = r#"datakit_operator_connections{listener="webhook"}"#;
    within(async { while operator.metric(open).await > 0.0 {} }).await;
    assert_eq!(operator.review(JAVA_REVIEW.clone()).await.status(), 200);
    assert_eq!(operator.metric("datakit_operator_panics_total").await, 0.0);
}
