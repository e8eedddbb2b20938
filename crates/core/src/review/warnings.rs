//! The warnings of a response: the record of a review, in sentences for who creates the pod or the
//! workload.

use crate::inject::{Decision, Note, Reason};
use crate::json::write_string;

use super::{Record, shortened};

/// The API server shortens longer warnings
/// (<https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#response>).
const LONGEST_WARNING: usize = 256;
/// It drops all warnings of a response beyond 4096 characters in total.
pub(super) const ALL_WARNINGS: usize = 4096;

/// What an author is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// A pod that is made now.
    Pod,
    /// The pods that a workload will make.
    FuturePods,
}

/// One thing that an author is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Of a reason or a note.
    pub code: &'static str,
    /// What it comes to.
    pub weight: Weight,
    /// What it is, and what can be done.
    pub sentence: String,
}

/// What a finding comes to for its author.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// It was asked for and isn't there.
    Skipped,
    /// The same, since the pod would have become invalid.
    Failed,
    /// It is there, but not as one would expect.
    Different,
    /// An annotation is wrong by itself.
    Mistake,
}

/// What to tell the author of the pod: one sentence for each thing that was asked for by annotation
/// and didn't happen, or happened differently. `notes` are those that belong to no feature.
pub fn warnings(decisions: &[Decision], notes: &[Note]) -> impl Iterator<Item = String> {
    findings_about(About::Pod, decisions, notes).map(|finding| finding.sentence)
}

/// What the author of a pod is told, with codes.
pub fn findings(record: &Record<'_>) -> impl Iterator<Item = Finding> {
    findings_about(About::Pod, &record.decisions, &record.notes)
}

/// The same about a pod or a workload.
pub(super) fn findings_about(
    about: About,
    decisions: &[Decision],
    notes: &[Note],
) -> impl Iterator<Item = Finding> {
    let verdict = match about {
        About::Pod => "not injected",
        About::FuturePods => "will not be injected",
    };
    let disappointing = || decisions.iter().filter(|decision| decision.disappoints());
    // The API server passes on only so much: what didn't happen at all goes first.
    let skipped = disappointing().filter_map(move |decision| {
        let reason = decision.reason.as_ref()?;
        let (subject, remedy) = (decision.subject(), reason.remedy());
        Some(Finding {
            code: reason.as_str(),
            weight: match reason {
                Reason::Unverified(_) => Weight::Failed,
                _ => Weight::Skipped,
            },
            sentence: format!("{subject} {verdict}: {reason}; {remedy}"),
        })
    });
    let different = disappointing().flat_map(|decision| {
        let notes = decision.notes.iter();
        notes.map(|note| Finding {
            code: code(note),
            weight: Weight::Different,
            sentence: format!("{}: {note}; {}", decision.subject(), note.remedy()),
        })
    });
    let general = notes.iter();
    let general = general.map(|note| Finding {
        code: code(note),
        weight: Weight::Mistake,
        sentence: format!("{note}; {}", note.remedy()),
    });
    skipped.chain(different).chain(general)
}

/// The code of a note; of one that only counts others, theirs.
fn code(note: &Note) -> &'static str {
    Note::CODES[note.counted().0]
}

/// Writes the field, if there are any; no text is made that the API server wouldn't pass on.
pub(super) fn write(out: &mut Vec<u8>, warnings: impl Iterator<Item = String>) {
    let mut total = 0;
    let mut any = false;
    for warning in warnings {
        let warning = shortened(&warning, LONGEST_WARNING);
        total += warning.len();
        if total > ALL_WARNINGS {
            break;
        }
        out.extend_from_slice(if any { b"," } else { b",\"warnings\":[" });
        write_string(out, &warning);
        any = true;
    }
    if any {
        out.push(b']');
    }
}
