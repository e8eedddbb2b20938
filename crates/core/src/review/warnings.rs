//! The warnings of a response: the record of a review, in sentences for who creates the pod.

use crate::inject::{Decision, Note};
use crate::json::write_string;

use super::shortened;

/// The API server shortens longer warnings
/// (<https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#response>).
const LONGEST_WARNING: usize = 256;
/// It drops all warnings of a response beyond 4096 characters in total.
pub(super) const ALL_WARNINGS: usize = 4096;

/// What to tell the author of the pod: one sentence for each thing that was asked for by annotation
/// and didn't happen, or happened differently. `notes` are those that belong to no feature.
pub fn warnings(decisions: &[Decision], notes: &[Note]) -> impl Iterator<Item = String> {
    let disappointing = || decisions.iter().filter(|decision| decision.disappoints());
    // The API server passes on only so much: what didn't happen at all goes first.
    let skipped = disappointing().filter_map(|decision| {
        let reason = decision.reason.as_ref()?;
        let (subject, remedy) = (decision.subject(), reason.remedy());
        Some(format!("{subject} not injected: {reason}; {remedy}"))
    });
    let different = disappointing().flat_map(|decision| {
        let notes = decision.notes.iter();
        notes.map(|note| format!("{}: {note}; {}", decision.subject(), note.remedy()))
    });
    let general = notes.iter();
    let general = general.map(|note| format!("{note}; {}", note.remedy()));
    skipped.chain(different).chain(general)
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
