//! The plain listener for kubelet and scraper: `/healthz`, `/readyz`, `/metrics`; and for people,
//! `/status`.

use std::sync::Arc;

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Request, StatusCode};

use super::metrics::PROMETHEUS;
use super::respond::{self, TEXT};
use super::status::{PAGE_PATH, STATUS_PATH, Status};
use crate::listen::{Answer, Handler, Received};
use crate::state::{Phase, Readiness};
use crate::telemetry::metrics::Metrics;

/// The content type of the OpenMetrics text format.
const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Answers the plain listener.
#[derive(Debug)]
pub struct Probes {
    readiness: Readiness,
    metrics: Arc<Metrics>,
    status: Status,
}

impl Probes {
    /// Answers from these.
    #[must_use]
    pub fn new(readiness: Readiness, metrics: Arc<Metrics>, status: Status) -> Self {
        Self {
            readiness,
            metrics,
            status,
        }
    }

    /// In one line; `verbose`, with a line for each part behind it.
    fn ready(&self, verbose: bool) -> Answer {
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        let (status, mut text) = match self.readiness.phase() {
            Phase::Starting => {
                let waiting_for = self.readiness.waiting_for();
                let line = match waiting_for.as_str() {
                    "" => "starting".to_owned(),
                    why => format!("starting: {why}"),
                };
                (unavailable, line)
            }
            Phase::Ready => (StatusCode::OK, "ok".to_owned()),
            Phase::Draining => (unavailable, "shutting down".to_owned()),
        };
        text.push('\n');
        if verbose {
            text += &self.metrics.parts.lines();
        }
        respond::with_body(status, TEXT, text)
    }

    fn metrics(&self, headers: &HeaderMap) -> Answer {
        let openmetrics = headers.get_all(ACCEPT).iter().any(|accept| {
            accept
                .to_str()
                .is_ok_and(|accept| accept.contains("application/openmetrics-text"))
        });
        if openmetrics {
            respond::with_body(StatusCode::OK, OPENMETRICS, self.metrics.openmetrics())
        } else {
            respond::with_body(StatusCode::OK, PROMETHEUS, self.metrics.prometheus())
        }
    }
}

impl Handler for Probes {
    fn no_room(&self) -> Answer {
        respond::no_room()
    }

    async fn handle(&self, request: Request<Received>) -> Answer {
        let method = request.method();
        match request.uri().path() {
            // Alive as long as it answers: what could be wrong besides would not get better by a
            // restart.
            "/healthz" => respond::readable(method, || respond::text(StatusCode::OK, "ok")),
            "/readyz" => {
                let query = request.uri().query().unwrap_or_default();
                let verbose = query
                    .split('&')
                    .any(|part| part == "verbose" || part.starts_with("verbose="));
                respond::readable(method, || self.ready(verbose))
            }
            "/metrics" => respond::readable(method, || self.metrics(request.headers())),
            STATUS_PATH | PAGE_PATH => self.status.handle(&request),
            "/" => respond::readable(method, || {
                let mut paths = "/healthz\n/readyz\n/metrics\n".to_owned();
                if self.status.is_shown() {
                    paths += &format!("{STATUS_PATH}\n{PAGE_PATH}\n");
                }
                respond::with_body(StatusCode::OK, TEXT, paths)
            }),
            _ => respond::not_found(),
        }
    }
}
