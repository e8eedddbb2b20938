//! Counters whose labels are the closed lists of the decision record, as arrays: counting is one
//! atomic addition.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datakit_operator_core::config::Language;
use datakit_operator_core::inject::{Decision, Feature, Note, Outcome, Reason};
use datakit_operator_core::review::{Disposition, Record};
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::Labels;

/// The values of the label `language`; empty for features without languages.
const LANGUAGES: [&str; 1 + Language::ALL.len()] = {
    let mut names = [""; 1 + Language::ALL.len()];
    let mut at = 1;
    while at < names.len() {
        names[at] = Language::ALL[at - 1].as_str();
        at += 1;
    }
    names
};
/// What becomes of a feature: an outcome, and a reason where it was skipped.
const ENDS: usize = Outcome::ALL.len() + Reason::CODES.len();
const CELLS: usize = Feature::ALL.len() * LANGUAGES.len() * ENDS;
/// Notes belong to a feature, or to none and then stand last.
const NOTE_CELLS: usize = (Feature::ALL.len() + 1) * Note::CODES.len();

/// `reviews_total{outcome}` and `validations_total{outcome}`.
#[derive(Clone, Debug)]
pub struct ReviewCounts([Counter; Disposition::ALL.len()]);

impl ReviewCounts {
    /// Reviews of pods.
    pub(super) fn of_pods(registry: &mut Registry) -> Self {
        let help = "Admission reviews by what became of them";
        Self::new(registry, "reviews", help, |disposition| {
            use Disposition::{Refused, Unreadable, Warned};
            !matches!(disposition, Unreadable | Warned | Refused)
        })
    }

    /// Reviews of workloads.
    pub(super) fn of_workloads(registry: &mut Registry) -> Self {
        let help = "Validations of workloads by what became of them";
        Self::new(registry, "validations", help, |disposition| {
            use Disposition::{Injected, UnreadablePod};
            !matches!(disposition, Injected | UnreadablePod)
        })
    }

    /// Shows the counts of what can occur.
    fn new(
        registry: &mut Registry,
        name: &'static str,
        help: &'static str,
        occurs: fn(Disposition) -> bool,
    ) -> Self {
        let family = Family::<Labels<1>, Counter>::default();
        registry.register(name, help, family.clone());
        Self(
            Disposition::ALL.map(|disposition| match occurs(disposition) {
                true => family.get_or_create_owned(&[("outcome", disposition.as_str())]),
                false => Counter::default(),
            }),
        )
    }

    /// Counts a review.
    pub fn count(&self, disposition: Disposition) {
        self.0[disposition as usize].inc();
    }
}

/// `injections_total{feature,language,outcome,reason}`. Combinations that never happened are not
/// shown.
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

/// `skips_total{feature,reason}`: what [`InjectionCounts`] has under `skipped`, every pair from the
/// start. Prometheus sees a counter rise only if it has seen it before, so a series that begins
/// with its first skip would hide that one from an alert.
#[derive(Clone, Debug)]
pub struct SkipCounts(pub InjectionCounts);

impl EncodeMetric for SkipCounts {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for feature in Feature::ALL {
            for (reason, code) in Reason::CODES.into_iter().enumerate() {
                let count: u64 = (0..LANGUAGES.len())
                    .map(|language| feature as usize * LANGUAGES.len() + language)
                    .map(|row| row * ENDS + Outcome::ALL.len() + reason)
                    .map(|cell| self.0.0[cell].load(Ordering::Relaxed))
                    .sum();
                let labels: Labels<2> = [("feature", feature.as_str()), ("reason", code)];
                encoder
                    .encode_family(&labels)?
                    .encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

/// `notes_total{feature,note}`; the feature is empty for notes about the annotations themselves.
/// Combinations that never happened are not shown.
#[derive(Clone)]
pub struct NoteCounts(Arc<[AtomicU64; NOTE_CELLS]>);

impl NoteCounts {
    /// Counts all notes of a review, those that are only counted in it too.
    pub fn count(&self, record: &Record<'_>) {
        for decision in &record.decisions {
            for note in &decision.notes {
                self.add(decision.feature as usize, note);
            }
        }
        for note in &record.notes {
            self.add(Feature::ALL.len(), note);
        }
    }

    fn add(&self, feature: usize, note: &Note) {
        let (code, count) = note.counted();
        let cell = feature * Note::CODES.len() + code;
        self.0[cell].fetch_add(count as u64, Ordering::Relaxed);
    }
}

impl Default for NoteCounts {
    fn default() -> Self {
        Self(Arc::new([const { AtomicU64::new(0) }; NOTE_CELLS]))
    }
}

impl fmt::Debug for NoteCounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("NoteCounts(…)")
    }
}

impl EncodeMetric for NoteCounts {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (cell, count) in self.0.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            if count == 0 {
                continue;
            }
            let (feature, code) = (cell / Note::CODES.len(), cell % Note::CODES.len());
            let feature = Feature::ALL.get(feature);
            let labels: Labels<2> = [
                ("feature", feature.map_or("", |feature| feature.as_str())),
                ("note", Note::CODES[code]),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(name: &str, metric: impl EncodeMetric + Send + Sync + fmt::Debug + 'static) -> String {
        let mut registry = Registry::default();
        registry.register(name, "Help", metric);
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        page.lines()
            .filter(|line| !line.starts_with('#'))
            .flat_map(|line| [line, "\n"])
            .collect()
    }

    #[test]
    fn skips_are_there_before_the_first_and_count_all_languages() {
        let injections = InjectionCounts::default();
        let page = || lines("skips", SkipCounts(injections.clone()));
        let before = page();
        assert_eq!(
            before.lines().count(),
            Feature::ALL.len() * Reason::CODES.len()
        );
        assert!(before.lines().all(|line| line.ends_with(" 0")), "{before}");
        for language in ["java", "python"] {
            injections.count(&Decision {
                feature: Feature::Ddtrace,
                language: Some(language),
                asked_by: None,
                rule: None,
                outcome: Outcome::Skipped,
                reason: Some(Reason::MirrorPod),
                notes: Vec::new(),
            });
        }
        let changed: Vec<_> = page()
            .lines()
            .filter(|line| !line.ends_with(" 0"))
            .map(str::to_owned)
            .collect();
        let want = r#"skips_total{feature="ddtrace",reason="mirror_pod"} 2"#;
        assert_eq!(changed, [want]);
    }

    #[test]
    fn notes_are_counted_by_feature_and_code() {
        let not_shared = || Note::NotShared {
            container: "app".to_owned(),
            path: "/a".to_owned(),
        };
        let more = Note::More {
            kind: "not_shared",
            count: 19,
        };
        let unknown = Note::UnknownAnnotation {
            annotation: "admission.datakit/x".to_owned(),
            suggestion: None,
        };
        let logfwd = Decision {
            feature: Feature::Logfwd,
            language: None,
            asked_by: None,
            rule: None,
            outcome: Outcome::Injected,
            reason: None,
            notes: vec![not_shared(), more],
        };
        let record = Record {
            decisions: vec![logfwd],
            notes: vec![unknown],
            ..Record::default()
        };
        let counts = NoteCounts::default();
        counts.count(&record);
        counts.count(&record);
        let page = lines("notes", counts);
        let shown: Vec<&str> = page.lines().collect();
        let want = [
            r#"notes_total{feature="logfwd",note="not_shared"} 40"#,
            r#"notes_total{feature="",note="unknown_annotation"} 2"#,
        ];
        assert_eq!(shown, want);
    }
}
