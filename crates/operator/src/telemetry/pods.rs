//! What is counted about pods that are kept for other programs, and about these programs.

use http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Labels;

/// The values of the label `answer`.
const ANSWERS: [&str; 4] = ["answered", "not_found", "not_known", "denied"];

/// Pods and answers.
#[derive(Clone, Debug)]
pub struct PodMetrics {
    pods: Gauge,
    memory: Gauge,
    /// Events of the watch, and pods of lists.
    pub changes: Counter,
    answers: [Counter; ANSWERS.len()],
    /// Lists that broke off.
    pub broken: Counter,
}

impl PodMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let pods = Gauge::default();
        registry.register("pod_api_pods", "Pods that are kept", pods.clone());
        let memory = Gauge::default();
        registry.register(
            "pod_api_memory_bytes",
            "What the pods take that are kept",
            memory.clone(),
        );
        let changes = Counter::default();
        registry.register(
            "pod_api_changes",
            "Pods read from the API server: each of a list, and each change",
            changes.clone(),
        );
        let answers = Family::<Labels<1>, Counter>::default();
        registry.register(
            "pod_api_requests",
            "Requests of other programs for pods",
            answers.clone(),
        );
        let broken = Counter::default();
        registry.register(
            "pod_api_lists_broken_off",
            "Lists of pods that were cut off because they couldn't be completed",
            broken.clone(),
        );
        Self {
            pods,
            memory,
            changes,
            answers: ANSWERS.map(|answer| answers.get_or_create_owned(&[("answer", answer)])),
            broken,
        }
    }

    /// So many pods are kept now, in so many bytes.
    pub(crate) fn kept(&self, pods: usize, bytes: usize) {
        for (gauge, count) in [(&self.pods, pods), (&self.memory, bytes)] {
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// A request was answered with this status.
    pub(crate) fn answered(&self, status: StatusCode) {
        let [answered, not_found, not_known, denied] = &self.answers;
        let answer = match status {
            StatusCode::OK => answered,
            StatusCode::NOT_FOUND => not_found,
            StatusCode::SERVICE_UNAVAILABLE => not_known,
            _ => denied,
        };
        answer.inc();
    }
}
