//! How many pods were missed, as far as anybody looks.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use datakit_operator_core::inject::Feature;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::Labels;

/// Of each feature, how many pods lack all of it, and how many some.
type Counts = [[usize; 2]; Feature::ALL.len()];

/// `missed_pods{feature,lacks}`. There are no series until somebody has looked.
#[derive(Clone, Debug, Default)]
pub struct MissedPods(Arc<ArcSwapOption<Counts>>);

impl MissedPods {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let missed = Self::default();
        registry.register(
            "missed_pods",
            "Pods that would be injected if they were made now, and aren't",
            missed.clone(),
        );
        missed
    }

    /// So many pods lack each feature, in the order of [`Feature::ALL`].
    pub fn found(&self, counts: Counts) {
        self.0.store(Some(Arc::new(counts)));
    }

    /// Nobody knows.
    pub fn forget(&self) {
        self.0.store(None);
    }
}

impl EncodeMetric for MissedPods {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let Some(counts) = self.0.load_full() else {
            return Ok(());
        };
        for (feature, counts) in Feature::ALL.into_iter().zip(*counts) {
            for (lacks, count) in ["all", "some"].into_iter().zip(counts) {
                let labels: Labels<2> = [("feature", feature.as_str()), ("lacks", lacks)];
                encoder
                    .encode_family(&labels)?
                    .encode_gauge(&i64::try_from(count).unwrap_or(i64::MAX))?;
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_series_once_somebody_has_looked() {
        let mut registry = Registry::default();
        let missed = MissedPods::new(&mut registry);
        let page = || {
            let mut page = String::new();
            prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
            page
        };
        let none = page();
        assert!(none.contains("# TYPE missed_pods gauge\n"), "{none}");
        assert!(!none.contains("missed_pods{"), "{none}");
        missed.found([[3, 1]; Feature::ALL.len()]);
        for series in [
            r#"missed_pods{feature="ddtrace",lacks="all"} 3"#,
            r#"missed_pods{feature="ddtrace",lacks="some"} 1"#,
        ] {
            assert!(page().contains(series), "{}", page());
        }
        missed.forget();
        assert_eq!(page(), none);
    }
}
