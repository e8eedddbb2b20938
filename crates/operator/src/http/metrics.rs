//! The page of metrics as the HTTPS listener has it, where version 1.9 in Go had its own.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode};
use hyper::body::Bytes;

use super::respond;
use crate::listen::Answer;
use crate::telemetry::metrics::Metrics;

/// The path of the page.
pub const METRICS_PATH: &str = "/metrics";
/// The content type of the Prometheus text format.
pub(super) const PROMETHEUS: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// A page is given to all who ask for so long: anybody may ask, as often as they like.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// Shows the metrics to whoever asks.
#[derive(Debug)]
pub struct MetricsRoute {
    metrics: Arc<Metrics>,
    made: Mutex<Option<(Instant, Bytes)>>,
}

impl MetricsRoute {
    /// Shows these.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            made: Mutex::default(),
        }
    }

    pub(super) fn page(&self) -> Answer {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let page = match &*made {
            Some((at, page)) if at.elapsed() < GOOD_FOR => page.clone(),
            _ => {
                let page = Bytes::from(self.metrics.prometheus());
                *made = Some((Instant::now(), page.clone()));
                page
            }
        };
        respond::with_body(StatusCode::OK, PROMETHEUS, page)
    }
}
