//! Counters whose labels are the closed lists of the decision record, as arrays: counting is one atomic addition.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datakit_operator_core::inject::{Decision, Feature, Outcome, Reason};
use datakit_operator_core::review::Disposition;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::metrics::Labels;

/// The values of the label `language`; empty for features without languages.
const LANGUAGES: [&str; 5] = ["", "golang", "java", "nodejs", "python"];
/// What becomes of a feature: an outcome, and a reason where it was skipped.
const ENDS: usize = Outcome::ALL.len() + Reason::CODES.len();
const CELLS: usize = Feature::ALL.len() * LANGUAGES.len() * ENDS;

/// `reviews_total{outcome}`.
#[derive(Clone, Debug)]
pub struct ReviewCounts([Counter; Disposition::ALL.len()]);

impl ReviewCounts {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let family = Family::<Labels<1>, Counter>::default();
        registry.register(
            "reviews",
            "Admission reviews by what became of them",
            family.clone(),
        );
        Self(
            Disposition::ALL.map(|disposition| {
                family.get_or_create_owned(&[("outcome", disposition.as_str())])
            }),
        )
    }

    /// Counts a review.
    pub fn count(&self, disposition: Disposition) {
        self.0[disposition as usize].inc();
    }
}

/// `injections_total{feature,language,outcome,reason}`. Combinations that never happened are not shown.
#[derive(Clone)]
pub struct InjectionCounts(Arc<[AtomicU64; CELLS]>);

impl InjectionCounts {
    /// Counts a decision; one about a feature that nobody asked for does not count.
    pub fn count(&self, decision: &Decision) {
        if decision.outcome == Outcome::NotRequested {
            return;
        }
        let language = decision.language.unwrap_or_default();
        let language = LANGUAGES
            .iter()
            .position(|known| *known == language)
            .unwrap_or_default();
        let end = match &decision.reason {
            Some(reason) => Outcome::ALL.len() + reason.index(),
            None => decision.outcome as usize,
        };
        let cell = (decision.feature as usize * LANGUAGES.len() + language) * ENDS + end;
        self.0[cell].fetch_add(1, Ordering::Relaxed);
    }
}

impl Default for InjectionCounts {
    fn default() -> Self {
        Self(Arc::new([const { AtomicU64::new(0) }; CELLS]))
    }
}

impl fmt::Debug for InjectionCounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("InjectionCounts(…)")
    }
}

impl EncodeMetric for InjectionCounts {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (cell, count) in self.0.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            if count == 0 {
                continue;
            }
            let (rest, end) = (cell / ENDS, cell % ENDS);
            let (outcome, reason) = match end.checked_sub(Outcome::ALL.len()) {
                Some(reason) => (Outcome::Skipped, Reason::CODES[reason]),
                None => (Outcome::ALL[end], ""),
            };
            let labels: Labels<4> = [
                ("feature", Feature::ALL[rest / LANGUAGES.len()].as_str()),
                ("language", LANGUAGES[rest % LANGUAGES.len()]),
                ("outcome", outcome.as_str()),
                ("reason", reason),
            ];
            encoder
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}
