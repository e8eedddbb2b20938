//! The HTTPS listener: the admission webhook and the pings by which clients find out that it is there.

use std::sync::Arc;
use std::time::Instant;

use datakit_operator_core::review::{self, Record, Reviewed};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request, StatusCode};
use hyper::body::{Bytes, Incoming};

use super::body;
use super::respond::{self, JSON};
use crate::listen::Answer;
use crate::state::Reviewing;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{Sink, review_line};

/// The path of the admission webhook.
pub const INJECT_PATH: &str = "/v1/webhooks/inject";

/// Larger reviews (in bytes) are handed to another worker thread. They take longer than the hand-over, and would hold
/// up the other requests of their connection: an API server sends all its reviews over one.
const LARGE: usize = 32 * 1024;

/// Answers admission reviews.
#[derive(Debug)]
pub struct Webhook {
    reviewer: Arc<Reviewer>,
    bodies: body::Reader,
    metrics: Arc<Metrics>,
}

/// Reviews, and tells log and metrics about it.
#[derive(Debug)]
struct Reviewer {
    reviewing: Arc<Reviewing>,
    metrics: Arc<Metrics>,
    log: Sink,
}

impl Webhook {
    /// Reviews with what is shared in `reviewing`.
    #[must_use]
    pub fn new(
        reviewing: Arc<Reviewing>,
        bodies: body::Limits,
        metrics: Arc<Metrics>,
        log: Sink,
    ) -> Self {
        let bodies = body::Reader::new(bodies);
        let reviewer = Reviewer {
            reviewing,
            metrics: Arc::clone(&metrics),
            log,
        };
        Self {
            reviewer: Arc::new(reviewer),
            bodies,
            metrics,
        }
    }

    /// Answers a request for [`INJECT_PATH`].
    pub async fn inject(&self, request: Request<Incoming>) -> Answer {
        if request.method() != Method::POST {
            return respond::method_not_allowed(request.method(), "POST");
        }
        if !is_json(request.headers()) {
            let line = "the Content-Type must be application/json";
            return respond::text(StatusCode::BAD_REQUEST, line);
        }
        match self.bodies.read(request.into_body()).await {
            // Pure computation of microseconds: done on the spot.
            Ok(body) if body.len() < LARGE => self.reviewer.review(&body),
            Ok(body) => self.review_elsewhere(body).await,
            Err(unreadable) => {
                if let Some(limit) = unreadable.limit() {
                    self.metrics.webhook.hit(limit);
                }
                unreadable.answer()
            }
        }
    }

    async fn review_elsewhere(&self, body: Bytes) -> Answer {
        let reviewer = Arc::clone(&self.reviewer);
        let answer = tokio::spawn(async move { reviewer.review(&body) }).await;
        // Fails only if the runtime is shutting down, or on a panic outside the review, which catches its own.
        answer.unwrap_or_else(|_| {
            respond::text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the review was not finished",
            )
        })
    }
}

impl Reviewer {
    fn review(&self, body: &[u8]) -> Answer {
        let started = Instant::now();
        let Reviewed { answer, record } = {
            let (engine, context) = (self.reviewing.engine(), self.reviewing.context());
            review::review(body, &engine, &context)
        };
        let took = started.elapsed();
        self.metrics.review_duration.observe(took);
        self.count(&record);
        review_line::log(&self.log, &record, took);
        match answer {
            review::Answer::Review(json) => respond::with_body(StatusCode::OK, JSON, json),
            review::Answer::BadRequest(why) => respond::text(StatusCode::BAD_REQUEST, &why),
        }
    }

    fn count(&self, record: &Record<'_>) {
        self.metrics.reviews.count(record.disposition);
        for decision in &record.decisions {
            self.metrics.injections.count(decision);
        }
    }
}

/// Whether there is one content type and it is JSON, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else {
        return false;
    };
    let essence = value
        .as_bytes()
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default();
    essence
        .trim_ascii()
        .eq_ignore_ascii_case(b"application/json")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn content_types() {
        let check = |values: &[&'static str], want: bool| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_TYPE, HeaderValue::from_static(value));
            }
            assert_eq!(is_json(&headers), want, "{values:?}");
        };
        check(&["application/json"], true);
        check(&["Application/JSON"], true);
        check(&["application/json; charset=utf-8"], true);
        check(&["application/json ;charset=utf-8"], true);
        check(&[], false);
        check(&[""], false);
        check(&["text/plain"], false);
        check(&["application/jsonp"], false);
        check(&["application/json-patch+json"], false);
        check(&["application/vnd.kubernetes.protobuf"], false);
        check(&["application/json", "text/plain"], false);
    }
}
