//! Says once what doesn't work, now and then that it still doesn't, and once that it works again.

use std::error::Error;
use std::time::{Duration, Instant};

use crate::error::Chain;
use crate::telemetry::cluster::{ClusterMetrics, Operation};

/// How long to say nothing more about the same operation.
const SILENCE: Duration = Duration::from_secs(300);

/// The state of one operation against the API server.
#[derive(Debug)]
pub(super) struct Trouble {
    operation: Operation,
    metrics: ClusterMetrics,
    said: Option<Instant>,
    failures: u32,
    /// What has been said of this part.
    works: Option<bool>,
}

impl Trouble {
    pub(super) fn new(operation: Operation, metrics: &ClusterMetrics) -> Self {
        metrics.parts.begun(operation.as_str());
        Self {
            operation,
            metrics: metrics.clone(),
            said: None,
            failures: 0,
            works: None,
        }
    }

    /// It failed. Returns how long to wait before trying again.
    pub(super) fn failed(&mut self, error: &(dyn Error + 'static)) -> Duration {
        self.metrics.failed(self.operation);
        self.failures += 1;
        self.works = Some(false);
        let why = refusal(error).unwrap_or_else(|| Chain(error).to_string());
        let (part, remedy) = (self.operation.as_str(), self.operation.remedy());
        self.metrics.parts.failing(part, why.as_str(), remedy);
        if self.said.is_none_or(|said| said.elapsed() >= SILENCE) {
            self.said = Some(Instant::now());
            tracing::warn!(
                operation = self.operation.as_str(),
                cause = why,
                "failed to talk to the API server; trying again"
            );
        }
        let doublings = (self.failures - 1).min(5);
        (Duration::from_millis(500) * 2_u32.pow(doublings)).min(Duration::from_secs(10))
    }

    /// There is nothing to do for it here, and why; empty if all is done.
    pub(super) fn idle(&mut self, why: &str) {
        self.works = None;
        self.metrics.parts.well(self.operation.as_str(), why);
    }

    /// It worked.
    pub(super) fn worked(&mut self) {
        if self.works.replace(true) != Some(true) {
            self.metrics.parts.well(self.operation.as_str(), "");
        }
        if self.said.take().is_some() {
            tracing::info!(
                operation = self.operation.as_str(),
                failures = self.failures,
                "the API server answers again"
            );
        }
        self.failures = 0;
    }
}

/// What the API server itself says, which names everything.
fn refusal(error: &(dyn Error + 'static)) -> Option<String> {
    let mut error = Some(error);
    while let Some(cause) = error {
        if let Some(kube::Error::Api(status)) = cause.downcast_ref::<kube::Error>() {
            return Some(status.message.clone());
        }
        error = cause.source();
    }
    None
}
