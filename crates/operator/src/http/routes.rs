//! The HTTPS listener: which path goes where.

use std::sync::Arc;

use http::{HeaderValue, Request, StatusCode};

use super::election::Election;
use super::logging::{LOGGING_PATH, LoggingRoute};
use super::metrics::{METRICS_PATH, MetricsRoute};
use super::pods::{PODS_PATH, PodRoutes};
use super::respond::{self, TEXT};
use super::webhook::{INJECT_PATH, VALIDATE_PATH, Webhook};
use crate::listen::{Answer, Handler, Received};

/// Everything that is answered over HTTPS.
#[derive(Debug)]
pub struct Routes {
    /// Admission reviews.
    pub webhook: Webhook,
    /// Agents.
    pub election: Arc<Election>,
    /// Sidecars that ask what to collect.
    pub logging: LoggingRoute,
    /// Agents that ask for pods.
    pub pods: PodRoutes,
    /// Scrapers that know version 1.9.
    pub metrics: MetricsRoute,
}

impl Handler for Routes {
    fn no_room(&self) -> Answer {
        respond::no_room()
    }

    async fn handle(&self, request: Request<Received>) -> Answer {
        match request.uri().path() {
            INJECT_PATH => self.webhook.inject(request).await,
            VALIDATE_PATH => self.webhook.validate(request).await,
            // Agents decide by this one path, once, whether task election is to be had here.
            "/ping" => respond::readable(request.method(), || {
                respond::with_body(StatusCode::OK, TEXT, "OK\n")
            }),
            "/v1/ping" | "/v1/ready" => respond::readable(request.method(), || {
                const UTF8: HeaderValue =
                    HeaderValue::from_static("application/json; charset=utf-8");
                respond::with_body(StatusCode::OK, UTF8, r#"{"status":"ok"}"#)
            }),
            METRICS_PATH => respond::readable(request.method(), || self.metrics.page()),
            LOGGING_PATH => self.logging.handle(&request),
            // Apart, so that a review doesn't take the memory that this needs.
            path if Election::has(path) => Box::pin(self.election.handle(request)).await,
            path if path.starts_with(PODS_PATH) => Box::pin(self.pods.handle(request)).await,
            _ => respond::not_found(),
        }
    }
}
