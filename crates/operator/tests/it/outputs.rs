//! What happens where the operator writes: a log that nobody reads any more, or that has no room.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{JAVA_REVIEW, Operator, Protocol, get, post};

/// More log lines than a pipe and the operator's own buffer hold together.
const REVIEWS: usize = 6_000;

/// Every review is answered, whatever becomes of its log line.
async fn review(operator: &Operator) {
    let mut client = operator.client(Protocol::Http2).await;
    for _ in 0..REVIEWS {
        let answer = client.ask(post(JAVA_REVIEW.clone())).await;
        assert_eq!(answer.expect("an answer").status(), 200);
    }
    assert_eq!(operator.probe(get("/readyz")).await.status(), 200);
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_nothing_up() {
    let mut operator = Operator::start_logging_to(Stdio::piped()).await;
    let mut pipe = operator.log_pipe();
    review(&operator).await;
    let dropped = operator.metric("datakit_operator_log_lines_dropped_total");
    assert!(dropped.await > 0.0);
    operator.stop().await;
    // What was written before is whole lines, up to the one at which the pipe was full.
    let mut written = String::new();
    pipe.read_to_string(&mut written).expect("UTF-8");
    let (whole, _) = written.rsplit_once('\n').expect("lines");
    for line in whole.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
    }
}

#[tokio::test]
async fn a_log_on_a_full_disk_holds_nothing_up() {
    // A device on which every write fails for want of room.
    let full = OpenOptions::new().write(true).open("/dev/full");
    let operator = Operator::start_logging_to(full.expect("/dev/full").into()).await;
    review(&operator).await;
    operator.stop().await;
}
