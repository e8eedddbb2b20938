//! The last decisions, for people who look: a ring of fixed size that a review never waits for.
//!
//! Each place of the ring has a lock of its own. A review that finds its place locked, which is
//! while somebody reads that one place, goes on without it.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, TryLockError};
use std::time::SystemTime;

use datakit_operator_core::inject::{Decision, Note, Outcome};
use datakit_operator_core::review::{Disposition, Record};
use serde::Serialize;

use crate::clock;
use crate::visible::visible;

/// So many reviews are kept.
pub const KEPT: usize = 256;
/// The longest name that is kept, in bytes; API servers allow 253, and few are longer than 63.
const LONGEST_NAME: usize = 128;
/// The longest sentence, in bytes: what API servers show of a warning.
const LONGEST_SENTENCE: usize = 256;
/// The sentences of one review, in bytes.
const SENTENCES: usize = 640;
/// Features of one review; there are fewer.
const FEATURES: usize = 8;
/// Notes of one review.
const NOTES: usize = 16;

/// The last reviews in which something was asked for, or said.
#[derive(Debug)]
pub struct Decisions(Option<Ring>);

#[derive(Debug)]
struct Ring {
    next: AtomicU64,
    places: Box<[Mutex<Option<Kept>>]>,
    skipped: AtomicU64,
}

/// One review, shortened, with every character in it that can be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// How many were kept before it, since the process began.
    pub number: u64,
    /// When it was.
    #[serde(serialize_with = "clock::rfc3339")]
    pub at: SystemTime,
    /// What became of the review.
    pub outcome: &'static str,
    /// The pod's namespace.
    pub namespace: Box<str>,
    /// The pod's name, or the prefix its name will be made from.
    pub pod: Box<str>,
    /// Kind and name of what made the pod; empty for a bare pod.
    pub owner: Box<str>,
    /// Whether nothing was stored.
    pub dry_run: bool,
    /// What was asked for.
    pub features: Vec<Feature>,
    /// What is wrong with the pod's annotations themselves.
    pub notes: Vec<Said>,
}

/// What became of one feature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Feature {
    /// Its name.
    pub feature: &'static str,
    /// The language it was asked for, where it has languages.
    pub language: Option<&'static str>,
    /// What was done.
    pub outcome: &'static str,
    /// Who asked.
    pub asked_by: Box<str>,
    /// Why it was skipped.
    pub reason: Option<Said>,
    /// What was done differently than asked.
    pub notes: Vec<Said>,
}

/// A reason or a note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    /// Its code.
    pub code: &'static str,
    /// What it is and what can be done; empty where a review has too much to say.
    pub sentence: Box<str>,
}

impl Decisions {
    /// Keeps the last [`KEPT`] reviews.
    #[must_use]
    pub fn kept() -> Self {
        Self(Some(Ring {
            next: AtomicU64::new(0),
            places: (0..KEPT).map(|_| Mutex::default()).collect(),
            skipped: AtomicU64::new(0),
        }))
    }

    /// Keeps nothing: nobody may look.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Keeps a review, unless nothing was asked for in it and nothing is to be said.
    pub fn keep(&self, record: &Record<'_>) {
        let Some(ring) = &self.0 else {
            return;
        };
        let asked = (record.decisions.iter()).any(|decision| {
            decision.outcome != Outcome::NotRequested || !decision.notes.is_empty()
        });
        let usual = matches!(
            record.disposition,
            Disposition::Injected
                | Disposition::Unchanged
                | Disposition::OtherOperation
                | Disposition::OtherResource
        );
        if !asked && record.notes.is_empty() && usual {
            return;
        }
        let number = ring.next.fetch_add(1, Ordering::Relaxed);
        let place = &ring.places[(number % KEPT as u64) as usize];
        match place.try_lock() {
            // A review that took long may come after one that took its place.
            Ok(kept) if kept.as_ref().is_some_and(|kept| kept.number > number) => {}
            Ok(mut kept) => *kept = Some(Kept::of(record, number)),
            Err(TryLockError::Poisoned(_) | TryLockError::WouldBlock) => {
                ring.skipped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// What is kept, the latest first, and how many reviews found their place taken. Nothing where
    /// nothing is to be kept.
    #[must_use]
    pub fn latest(&self) -> Option<(Vec<Kept>, u64)> {
        let ring = self.0.as_ref()?;
        let mut latest = Vec::with_capacity(KEPT);
        for place in &ring.places {
            if let Ok(kept) = place.lock() {
                latest.extend(kept.clone());
            }
        }
        latest.sort_unstable_by_key(|kept| std::cmp::Reverse(kept.number));
        Some((latest, ring.skipped.load(Ordering::Relaxed)))
    }
}

impl Kept {
    fn of(record: &Record<'_>, number: u64) -> Self {
        let mut room = Room {
            bytes: SENTENCES,
            notes: NOTES,
        };
        let owner = match &*record.owner_name {
            "" => "".into(),
            name => {
                let (kind, name) = (shown(&record.owner_kind, 64), shown(name, LONGEST_NAME));
                short(&[&*kind, "/", &*name].concat(), LONGEST_NAME)
            }
        };
        let asked =
            (record.decisions.iter()).filter(|decision| decision.outcome != Outcome::NotRequested);
        Self {
            number,
            at: clock::now(),
            outcome: record.disposition.as_str(),
            namespace: short(&record.namespace, LONGEST_NAME),
            pod: short(&record.pod_name, LONGEST_NAME),
            owner,
            dry_run: record.dry_run,
            features: asked
                .take(FEATURES)
                .map(|decision| Feature::of(decision, &mut room))
                .collect(),
            notes: room.notes(&record.notes),
        }
    }
}

impl Feature {
    fn of(decision: &Decision, room: &mut Room) -> Self {
        let asked_by = decision.asked_by.as_ref().map(ToString::to_string);
        Self {
            feature: decision.feature.as_str(),
            language: decision.language,
            outcome: decision.outcome.as_str(),
            asked_by: short(&asked_by.unwrap_or_default(), LONGEST_NAME),
            reason: decision.reason.as_ref().map(|reason| Said {
                code: reason.as_str(),
                sentence: room.sentence(|| format!("{reason}; {}", reason.remedy())),
            }),
            notes: room.notes(&decision.notes),
        }
    }
}

/// What there still is for one review.
struct Room {
    bytes: usize,
    notes: usize,
}

impl Room {
    fn notes(&mut self, notes: &[Note]) -> Vec<Said> {
        let taken = notes.len().min(self.notes);
        self.notes -= taken;
        let said = notes[..taken].iter().map(|note| Said {
            code: Note::CODES[note.counted().0],
            sentence: self.sentence(|| format!("{note}; {}", note.remedy())),
        });
        said.collect()
    }

    fn sentence(&mut self, make: impl FnOnce() -> String) -> Box<str> {
        // A few letters tell nothing.
        if self.bytes < LONGEST_SENTENCE / 4 {
            return "".into();
        }
        let sentence = short(&make(), LONGEST_SENTENCE.min(self.bytes));
        self.bytes -= sentence.len();
        sentence
    }
}

/// The text as it can be seen, cut to so many bytes.
pub(crate) fn short(text: &str, most: usize) -> Box<str> {
    shown(text, most).into()
}

/// The same, where the text itself may do.
fn shown(text: &str, most: usize) -> Cow<'_, str> {
    // What is longer isn't looked at: it may be as long as a body.
    let head = &text[..text.floor_char_boundary(most + 1)];
    let shown = visible(head);
    if head.len() == text.len() && shown.len() <= most {
        return shown;
    }
    const CUT: &str = "…";
    let end = shown.floor_char_boundary(most.saturating_sub(CUT.len()));
    [&shown[..end], CUT].concat().into()
}

#[cfg(test)]
mod tests {
    use datakit_operator_core::inject::Reason;

    use super::*;

    fn decision(outcome: Outcome) -> Decision {
        let skipped = outcome == Outcome::Skipped;
        Decision {
            feature: datakit_operator_core::inject::Feature::Ddtrace,
            language: Some("java"),
            asked_by: None,
            rule: None,
            outcome,
            reason: skipped.then_some(Reason::MirrorPod),
            notes: Vec::new(),
        }
    }

    fn record(pod: &str, outcome: Outcome) -> Record<'_> {
        Record {
            pod_name: pod.into(),
            decisions: vec![decision(outcome)],
            ..Record::default()
        }
    }

    fn pods(decisions: &Decisions) -> Vec<String> {
        let (latest, _) = decisions.latest().unwrap();
        latest.iter().map(|kept| kept.pod.to_string()).collect()
    }

    #[test]
    fn the_last_ones_are_kept_and_the_latest_come_first() {
        let decisions = Decisions::kept();
        for number in 0..KEPT + 3 {
            decisions.keep(&record(&number.to_string(), Outcome::Injected));
        }
        let pods = pods(&decisions);
        assert_eq!(pods.len(), KEPT);
        assert_eq!((&*pods[0], &*pods[KEPT - 1]), ("258", "3"));
    }

    #[test]
    fn what_nobody_asked_for_is_not_kept() {
        let decisions = Decisions::kept();
        decisions.keep(&record("unasked", Outcome::NotRequested));
        decisions.keep(&Record::default());
        let broken = Record {
            disposition: Disposition::UnreadablePod,
            ..record("unreadable", Outcome::NotRequested)
        };
        decisions.keep(&broken);
        decisions.keep(&record("skipped", Outcome::Skipped));
        assert_eq!(pods(&decisions), ["skipped", "unreadable"]);
        let (latest, _) = decisions.latest().unwrap();
        let reason = latest[0].features[0].reason.as_ref().unwrap();
        assert_eq!(reason.code, "mirror_pod");
        assert!(reason.sentence.contains(';'), "{reason:?}");
        assert!(Decisions::off().latest().is_none());
    }

    /// A review whose place is being read goes on at once.
    #[test]
    fn a_review_never_waits() {
        let decisions = Decisions::kept();
        let ring = decisions.0.as_ref().unwrap();
        let reading = ring.places[0].lock().unwrap();
        decisions.keep(&record("skipped", Outcome::Injected));
        decisions.keep(&record("kept", Outcome::Injected));
        drop(reading);
        let (latest, skipped) = decisions.latest().unwrap();
        assert_eq!((latest.len(), &*latest[0].pod, skipped), (1, "kept", 1));
    }

    /// Whatever a client sends, a place has a fixed size.
    #[test]
    fn what_is_kept_is_bounded() {
        let long = "\u{202e}x".repeat(1 << 20);
        let note = || Note::UnknownAnnotation {
            annotation: "x".repeat(10_000),
            suggestion: None,
        };
        let mut decisions = vec![decision(Outcome::Skipped); 40];
        decisions[0].notes = (0..999).map(|_| note()).collect();
        let record = Record {
            namespace: long.as_str().into(),
            pod_name: long.as_str().into(),
            owner_kind: long.as_str().into(),
            owner_name: long.as_str().into(),
            decisions,
            notes: (0..999).map(|_| note()).collect(),
            ..Record::default()
        };
        let kept = Kept::of(&record, 0);
        let json = serde_json::to_string(&kept).unwrap();
        assert!(json.len() < 6_000, "{}: {json}", json.len());
        assert!(kept.pod.len() <= LONGEST_NAME, "{}", kept.pod);
        assert!(!json.contains('\u{202e}'), "{json}");
        let said = kept.features.iter().flat_map(|feature| {
            let reason = feature.reason.iter();
            reason.chain(&feature.notes)
        });
        let sentences: usize = said
            .chain(&kept.notes)
            .map(|said| said.sentence.len())
            .sum();
        assert!(sentences <= SENTENCES, "{sentences}");
    }

    #[test]
    fn shortening() {
        for (text, most, want) in [
            ("", 4, ""),
            ("abcd", 4, "abcd"),
            ("abcde", 4, "a…"),
            ("节点-1", 8, "节点-1"),
            ("节点-12", 8, "节…"),
            ("a\u{7}", 8, r"a\u{7}"),
        ] {
            assert_eq!(&*short(text, most), want, "{text}");
        }
    }
}
