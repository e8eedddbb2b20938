//! What is counted about ClusterLoggingConfigs and the sidecars that ask for them.

use datakit_operator_core::logging::LoggingConfigs;
use http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Labels;

/// The values of the label `answer`.
const ANSWERS: [&str; 4] = ["found", "nothing_matches", "bad_request", "not_known"];
/// The values of the label `state`.
const STATES: [&str; 2] = ["valid", "invalid"];

/// Objects and answers.
#[derive(Clone, Debug)]
pub struct LoggingMetrics {
    objects: [Gauge; STATES.len()],
    answers: [Counter; ANSWERS.len()],
}

impl LoggingMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let objects = Family::<Labels<1>, Gauge>::default();
        registry.register(
            "logging_configs",
            "ClusterLoggingConfigs; invalid ones select no pod",
            objects.clone(),
        );
        let answers = Family::<Labels<1>, Counter>::default();
        registry.register(
            "logging_config_requests",
            "Requests of sidecars for ClusterLoggingConfigs",
            answers.clone(),
        );
        Self {
            objects: STATES.map(|state| objects.get_or_create_owned(&[("state", state)])),
            answers: ANSWERS.map(|answer| answers.get_or_create_owned(&[("answer", answer)])),
        }
    }

    /// These are the objects now.
    pub(crate) fn objects(&self, configs: &LoggingConfigs) {
        let invalid = (configs.iter())
            .filter(|object| object.invalid().is_some())
            .count();
        let [valid, not] = &self.objects;
        for (gauge, count) in [(valid, configs.len() - invalid), (not, invalid)] {
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// A request was answered with this status.
    pub(crate) fn answered(&self, status: StatusCode) {
        let [found, nothing, bad, not_known] = &self.answers;
        let answer = match status {
            StatusCode::OK => found,
            StatusCode::NOT_FOUND => nothing,
            StatusCode::BAD_REQUEST => bad,
            _ => not_known,
        };
        answer.inc();
    }
}
