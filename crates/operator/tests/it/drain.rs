//! How the process ends.

use tokio::net::TcpStream;

use crate::frames::{GOAWAY, HalfSent, Raw};
use crate::support::{Operator, Protocol, get, within};

#[tokio::test]
async fn requests_in_flight_finish_and_new_ones_are_refused() {
    for signal in ["-TERM", "-INT", "-QUIT"] {
        let operator = Operator::start(&["--grace-period", "1h", "--body-timeout", "1h"]);
        assert_eq!(operator.probe(get("/readyz")).await.status(), 200);
        let mut http1 = HalfSent::wait_in_review(&operator).await;
        let mut http2 = Raw::wait_in_review(&operator).await;
        operator.signal(signal);
        within(async { while TcpStream::connect(operator.https).await.is_ok() {} }).await;
        let answer = operator.probe(get("/readyz")).await;
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (503, "shutting down\n")
        );
        assert_eq!(operator.probe(get("/healthz")).await.status(), 200);
        assert!(http1.finish_review().await && http2.finish_review().await);
        let stopped = operator.ended().await;
        assert_eq!(stopped.code, Some(0), "{:#?}", stopped.lines);
        assert_eq!(stopped.lines.last().expect("lines")["msg"], "stopped");
    }
}

#[tokio::test]
async fn idle_connections_are_told_and_do_not_hold_up_the_end() {
    let operator = Operator::start(&["--grace-period", "1h"]);
    let mut polite = Raw::connect(&operator).await;
    let _silent = TcpStream::connect(operator.https)
        .await
        .expect("a connection");
    let _http1 = operator.tls(&["http/1.1"]).await;
    operator.signal("-TERM");
    polite.next_of(GOAWAY).await;
    assert_eq!(operator.ended().await.code, Some(0));
}

#[tokio::test]
async fn the_grace_period_ends() {
    let operator = Operator::start(&["--grace-period", "50ms", "--body-timeout", "1h"]);
    let _raw = Raw::wait_in_review(&operator).await;
    operator.signal("-TERM");
    let stopped = operator.ended().await;
    assert_eq!(stopped.code, Some(0));
    let cut = stopped
        .lines
        .iter()
        .find(|line| line["connections"] == 1)
        .expect("a warning");
    assert_eq!(cut["level"], "warn", "{cut}");
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    for (second, code) in [("-TERM", 143), ("-INT", 130), ("-QUIT", 131)] {
        let operator = Operator::start(&["--grace-period", "1h", "--body-timeout", "1h"]);
        let _raw = Raw::wait_in_review(&operator).await;
        operator.signal("-TERM");
        operator
            .logged("shutting down: finishing requests in flight")
            .await;
        operator.signal(second);
        assert_eq!(operator.ended().await.code, Some(code));
    }
}

#[tokio::test]
async fn clients_are_asked_to_leave_while_there_is_time() {
    let operator = Operator::start(&["--shutdown-delay", "1h"]);
    let mut http1 = operator.client(Protocol::Http1).await;
    let before = http1.ask(get("/ping")).await.expect("an answer");
    assert_eq!(before.header("connection"), None);
    let mut http2 = Raw::connect(&operator).await;
    operator.signal("-TERM");
    http2.next_of(GOAWAY).await;
    // A client that asks on a connection it has kept is answered, and told to make another one next
    // time.
    let last = http1.ask(get("/ping")).await.expect("an answer");
    assert_eq!(
        (last.status(), last.header("connection")),
        (200, Some("close"))
    );
    assert!(http1.ask(get("/ping")).await.is_err());
    // Where it comes back to the same process, it is served as well.
    for protocol in Protocol::BOTH {
        let answer = operator.ask(protocol, get("/ping")).await;
        assert_eq!(answer.status(), 200, "{protocol:?}");
    }
    assert_eq!(operator.probe(get("/readyz")).await.status(), 503);
    operator.signal("-TERM");
    assert_eq!(operator.ended().await.code, Some(143));
}

#[tokio::test]
async fn signals_that_mean_nothing_end_nothing() {
    let operator = Operator::start(&["--body-timeout", "1h"]);
    let mut http1 = HalfSent::wait_in_review(&operator).await;
    for (signal, message) in [
        ("-USR1", "ignored a signal that means nothing here"),
        ("-USR2", "ignored a signal that means nothing here"),
        ("-HUP", "looking for changed files now"),
    ] {
        operator.signal(signal);
        let name = format!("SIG{}", &signal[1..]);
        operator.logged_with(message, "signal", &name).await;
    }
    assert!(http1.finish_review().await);
    operator.stop().await;
}
