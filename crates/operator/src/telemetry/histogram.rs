//! A histogram of durations made of atomics: observing one takes no lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Upper bounds of the buckets, in nanoseconds. A review takes microseconds; what takes longer than
/// the webhook's time-out of 5 s needs no finer distinction.
const BOUNDS: [u64; 15] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    100_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
];

const NANOS_PER_SECOND: f64 = 1e9;

/// How long something took, in seconds, as Prometheus counts it. Clones share their counts.
#[derive(Clone, Debug, Default)]
pub struct DurationHistogram(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// One count per bound, and one for all that is longer.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_nanos: AtomicU64,
}

impl DurationHistogram {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < nanos);
        self.0.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.0.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl EncodeMetric for DurationHistogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut total = 0;
        let mut buckets = [(f64::INFINITY, 0); BOUNDS.len() + 1];
        for (index, count) in self.0.buckets.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            total += count;
            // The encoder adds up the counts itself.
            let bound = BOUNDS
                .get(index)
                .map_or(f64::INFINITY, |bound| *bound as f64 / NANOS_PER_SECOND);
            buckets[index] = (bound, count);
        }
        let sum = self.0.sum_nanos.load(Ordering::Relaxed) as f64 / NANOS_PER_SECOND;
        encoder.encode_histogram::<NoLabelSet>(sum, total, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn buckets_are_cumulative_and_bounds_inclusive() {
        let histogram = DurationHistogram::default();
        for micros in [0, 10, 11, 400, 60_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let mut registry = Registry::default();
        registry.register("took", "Durations", histogram);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        expect![[r#"
            # HELP took Durations.
            # TYPE took histogram
            took_sum 60.000421
            took_count 5
            took_bucket{le="0.00001"} 2
            took_bucket{le="0.000025"} 3
            took_bucket{le="0.00005"} 3
            took_bucket{le="0.0001"} 3
            took_bucket{le="0.00025"} 3
            took_bucket{le="0.0005"} 4
            took_bucket{le="0.001"} 4
            took_bucket{le="0.0025"} 4
            took_bucket{le="0.005"} 4
            took_bucket{le="0.01"} 4
            took_bucket{le="0.025"} 4
            took_bucket{le="0.1"} 4
            took_bucket{le="0.5"} 4
            took_bucket{le="1.0"} 4
            took_bucket{le="5.0"} 4
            took_bucket{le="+Inf"} 5
            # EOF
        "#]]
        .assert_eq(&text);
    }
}
