//! The admission webhook: reviews of pods, which are injected, and of workloads, whose authors are
//! told what will become of their pods. Both are held to the same bounds.

pub mod args;

use std::sync::Arc;
use std::time::Duration;

use datakit_operator_core::review::{self, Record, Reviewed};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use hyper::body::Bytes;
use tokio::time::Instant;

use super::body::{self, Whole};
use super::pool::{Pool, Undone};
use super::respond::{self, JSON};
use crate::listen::{Answer, AnswerBody, Peer, Received, Share};
use crate::state::{Outlets, Reviewing};
use crate::telemetry::metrics::{Limit, Metrics};
use crate::telemetry::{Sink, review_line};

/// The path of the admission webhook.
pub const INJECT_PATH: &str = "/v1/webhooks/inject";
/// The path of the one that workloads are validated by.
pub const VALIDATE_PATH: &str = "/v1/webhooks/validate";

/// Larger reviews (in bytes) are handed to threads of their own. They take longer than the
/// hand-over, and would hold up all other requests: an API server may send all its reviews over one
/// connection.
const LARGE: usize = 16 * 1024;
/// How long a client waits if it doesn't say: what the chart tells API servers.
const PATIENCE: Duration = Duration::from_secs(5);
/// The part of a client's patience that is left for the way back and for the API server itself: a
/// tenth, at least this.
const MARGIN: Duration = Duration::from_millis(200);
/// How long a review may wait for memory.
const ROOM_WAIT: Duration = Duration::from_secs(2);

/// Answers admission reviews.
#[derive(Debug)]
pub struct Webhook {
    reviewer: Arc<Reviewer>,
    bodies: body::Reader,
    pool: Pool,
    access: Access,
    metrics: Arc<Metrics>,
}

/// Who may have pods reviewed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Everybody who can connect.
    #[default]
    Everybody,
    /// Who has a certificate of the authority for clients, with one of these names; with any, if
    /// there are none.
    Authenticated(Vec<String>),
}

/// What a review is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// A pod is injected.
    Injection,
    /// A workload is looked at.
    Validation,
}

/// Reviews, and tells log and metrics about it.
#[derive(Debug)]
struct Reviewer {
    reviewing: Arc<Reviewing>,
    outlets: Outlets,
    metrics: Arc<Metrics>,
    log: Sink,
}

impl Webhook {
    /// Reviews with what is shared in `reviewing`, and tells `outlets`.
    #[must_use]
    pub fn new(
        reviewing: Arc<Reviewing>,
        outlets: Outlets,
        bodies: body::Limits,
        pool: Pool,
        access: Access,
        metrics: Arc<Metrics>,
        log: Sink,
    ) -> Self {
        let bodies = body::Reader::new(bodies);
        let reviewer = Reviewer {
            reviewing,
            outlets,
            metrics: Arc::clone(&metrics),
            log,
        };
        Self {
            reviewer: Arc::new(reviewer),
            bodies,
            pool,
            access,
            metrics,
        }
    }

    /// Answers a request for [`INJECT_PATH`].
    pub async fn inject(&self, request: Request<Received>) -> Answer {
        self.answer(request, Purpose::Injection).await
    }

    /// Answers a request for [`VALIDATE_PATH`].
    pub async fn validate(&self, request: Request<Received>) -> Answer {
        self.answer(request, Purpose::Validation).await
    }

    async fn answer(&self, request: Request<Received>, purpose: Purpose) -> Answer {
        if request.method() != Method::POST {
            return respond::method_not_allowed(request.method(), "POST");
        }
        if !self.access.lets_in(request.extensions().get::<Peer>()) {
            self.metrics.reviews_denied.inc();
            let line = "reviews are for clients that have a certificate of the authority in --client-ca-file, and one of \
                        the names in --review-client if there are any";
            return respond::text(StatusCode::FORBIDDEN, line);
        }
        if !is_json(request.headers()) {
            let line = "the Content-Type must be application/json";
            return respond::text(StatusCode::BAD_REQUEST, line);
        }
        let until = Instant::now() + patience(request.uri());
        let mut body = match self.bodies.read(request.into_body()).await {
            Ok(body) => body,
            Err(unreadable) => {
                if let Some(limit) = unreadable.limit() {
                    self.metrics.webhook.hit(limit);
                }
                return unreadable.answer();
            }
        };
        // Most answers are no longer than this. One that is takes what it needs when it is there;
        // what a review takes while it runs is bounded by the number of threads.
        let answer = body.len();
        if !body.work.try_grow(answer) {
            let wait = until.min(Instant::now() + ROOM_WAIT);
            if !body.work.grow(answer, wait).await {
                self.metrics.webhook.hit(Limit::Memory);
                return respond::no_room();
            }
        }
        if body.len() < LARGE {
            // Pure computation of microseconds: done on the spot.
            self.reviewer.review(body, purpose)
        } else {
            self.review_elsewhere(body, purpose, until).await
        }
    }

    async fn review_elsewhere(&self, body: Whole, purpose: Purpose, until: Instant) -> Answer {
        let reviewer = Arc::clone(&self.reviewer);
        let abandoned = self.metrics.reviews_abandoned.clone();
        let work = move || reviewer.review(body, purpose);
        let abandon = move || {
            abandoned.inc();
        };
        // Not "allowed, unchanged": whether a pod may be created without being looked at is for the
        // registration's `failurePolicy` to say.
        match self.pool.run(until, work, abandon).await {
            Ok(answer) => answer,
            Err(Undone::Full) => {
                self.metrics.webhook.hit(Limit::ReviewQueue);
                respond::try_again("too many large reviews at once; try again")
            }
            Err(Undone::Late) => {
                self.metrics.webhook.hit(Limit::ReviewTime);
                respond::try_again("the review could not begin in time; try again")
            }
            // A panic outside the review, which catches its own.
            Err(Undone::Broken) => respond::text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the review was not finished",
            ),
        }
    }
}

impl Access {
    fn lets_in(&self, peer: Option<&Peer>) -> bool {
        let Self::Authenticated(names) = self else {
            return true;
        };
        let Some(client) = peer.and_then(Peer::identity) else {
            return false;
        };
        let has = |name: &String| *name == client.common_name || client.alternatives.contains(name);
        names.is_empty() || names.iter().any(has)
    }
}

/// How long the answer is worth making. API servers say in the query how long they wait.
fn patience(uri: &Uri) -> Duration {
    let query = uri.query().unwrap_or_default();
    let said = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("timeout="))
        .and_then(seconds);
    let patience = said.unwrap_or(PATIENCE);
    patience.saturating_sub((patience / 10).max(MARGIN))
}

/// A time in whole seconds as Go writes it: `5s`, `30s`, `1m0s`.
fn seconds(text: &str) -> Option<Duration> {
    let text = text.strip_suffix('s')?;
    let (minutes, seconds) = match text.split_once('m') {
        Some((minutes, seconds)) => (minutes.parse().ok()?, seconds),
        None => (0_u64, text),
    };
    let seconds: u64 = seconds.parse().ok()?;
    Some(Duration::from_secs(
        minutes.checked_mul(60)?.checked_add(seconds)?,
    ))
}

impl Reviewer {
    fn review(&self, body: Whole, purpose: Purpose) -> Answer {
        let Whole { bytes, share, work } = body;
        let answer = self.answer(&bytes, purpose, work);
        drop((bytes, share));
        answer
    }

    fn answer(&self, body: &[u8], purpose: Purpose, work: Share) -> Answer {
        let started = std::time::Instant::now();
        let Reviewed { answer, record } = {
            let (engine, context) = (self.reviewing.engine(), self.reviewing.context());
            match purpose {
                Purpose::Injection => review::review(body, &engine, &context),
                Purpose::Validation => review::validate(body, &engine, &context),
            }
        };
        let took = started.elapsed();
        match purpose {
            Purpose::Injection => {
                self.metrics.review_duration.observe(took);
                self.count(&record);
                self.outlets.tell(&record);
                review_line::log(&self.log, &record, took);
            }
            // Of what its pods get nothing is counted: they are still to be made.
            Purpose::Validation => {
                self.metrics.validations.count(record.disposition);
                review_line::log_validation(&self.log, &record, took);
            }
        }
        match answer {
            review::Answer::Review(json) => {
                let json = Bytes::from(json);
                respond::with(StatusCode::OK, JSON, AnswerBody::counted(json, work))
            }
            review::Answer::BadRequest(why) => respond::text(StatusCode::BAD_REQUEST, &why),
        }
    }

    fn count(&self, record: &Record<'_>) {
        self.metrics.reviews.count(record.disposition);
        for decision in &record.decisions {
            self.metrics.injections.count(decision);
        }
        self.metrics.notes.count(record);
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
    fn patience_of_clients() {
        let check = |query: &str, want: u64| {
            let uri: Uri = format!("{INJECT_PATH}{query}").parse().unwrap();
            assert_eq!(patience(&uri), Duration::from_millis(want), "{query}");
        };
        check("", 4_500);
        check("?timeout=5s", 4_500);
        check("?timeout=30s", 27_000);
        check("?a=b&timeout=1s", 800);
        check("?timeout=1m10s", 63_000);
        check("?timeout=0s", 0);
        for strange in [
            "?timeout=",
            "?timeout=5",
            "?timeout=-1s",
            "?timeout=5ms",
            "?timeout=s",
            "?timeouts=9s",
        ] {
            check(strange, 4_500);
        }
    }

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
