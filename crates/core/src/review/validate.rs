//! The review of a workload: what will become of its pods, told to who writes it. A controller
//! makes the pods, and nobody reads what is remarked then.
//!
//! The workload's template is reviewed like a pod of its namespace, by the same engine, and nothing
//! is changed. Who has the configuration may have some of what is found refused.

use crate::inject::{self, Engine, Injection, ReviewContext};

use super::envelope::Envelope;
use super::warnings::{About, Finding, findings_about};
use super::workload::{Kind, Workload};
use super::{
    Disposition, LONGEST_MESSAGE, Record, Response, Reviewed, Subject, guarded, unchanged,
};

/// Answers the review of a workload.
pub fn validate<'a>(body: &'a [u8], engine: &Engine, context: &ReviewContext) -> Reviewed<'a> {
    guarded(body, Subject::Workload, engine, |envelope| {
        let kind = Kind::find(&envelope.group, &envelope.version, &envelope.resource)
            .filter(|_| envelope.sub_resource.is_empty());
        let Some(kind) = kind else {
            let message = format!(
                "Unsupported resource {}, expected a workload of apps/v1 or batch/v1, or another kind with a pod template",
                envelope.resource()
            );
            return unchanged(envelope, Disposition::OtherResource, &message, true);
        };
        if !matches!(&*envelope.operation, "CREATE" | "UPDATE") {
            return super::other_operation(envelope);
        }
        match kind.read(envelope.object.unwrap_or("null")) {
            Ok(workload) if workload.has_template() => {
                validated(envelope, kind, workload, engine, context)
            }
            Ok(workload) => {
                let message = format!(
                    "the {} has no pod template at {} and is not checked",
                    kind.name(&workload.kind),
                    kind.places()
                );
                unchanged(envelope, Disposition::OtherResource, &message, false)
            }
            Err(error) => {
                let message = format!(
                    "the {} can't be read and is not checked: {error}",
                    kind.name("")
                );
                unchanged(envelope, Disposition::Unreadable, &message, true)
            }
        }
    })
}

fn validated<'a>(
    envelope: Envelope<'a>,
    kind: &'static Kind,
    workload: Workload<'a>,
    engine: &Engine,
    context: &ReviewContext,
) -> Reviewed<'a> {
    let misplaced = kind.misplaced(&workload);
    // What is on its way out, made by a controller, or as it was before must not be held up: its
    // author isn't there, and may not be who changes it.
    let may_refuse =
        !workload.is_deleted && !workload.is_made && !is_as_before(&envelope, kind, &workload);
    let Workload {
        kind: of_kind,
        name,
        generate_name,
        pod,
        ..
    } = workload;
    let Injection {
        decisions,
        mut notes,
        ..
    } = inject::inject(pod, Some(&envelope.namespace), engine, context);
    notes.extend(misplaced);

    let denies = |finding: &Finding| may_refuse && engine.validation().denies(finding.code);
    let found = || findings_about(About::FuturePods, &decisions, &notes);
    let mut refused = Vec::new();
    if may_refuse && !engine.validation().codes().is_empty() {
        refused.extend(found().filter(denies));
    }
    let is_clean = found().next().is_none();
    let rest = found().filter(|finding| !denies(finding));
    let answer = Response {
        uid: &envelope.uid,
        refusal: refusal(&refused),
        message: "",
        patch: &[],
    }
    .with(rest.map(|finding| finding.sentence));
    let disposition = match (is_clean, refused.is_empty()) {
        (_, false) => Disposition::Refused,
        (true, true) => Disposition::Unchanged,
        (false, true) => Disposition::Warned,
    };
    Reviewed {
        answer,
        record: Record {
            owner_kind: kind.recorded(of_kind),
            owner_name: if name.is_empty() { generate_name } else { name },
            decisions,
            notes,
            refused: refused.first().map(|finding| finding.code),
            ..envelope.record(disposition)
        },
    }
}

/// Whether an update leaves what pods are made from as it was.
fn is_as_before(envelope: &Envelope<'_>, kind: &Kind, workload: &Workload<'_>) -> bool {
    let old = envelope.old_object.map(|old| kind.read(old));
    matches!(old, Some(Ok(old)) if !old.template.is_empty()
        && old.template == workload.template
        && kind.misplaced(&old) == kind.misplaced(workload))
}

/// The sentence with which a workload is refused, if it is.
fn refusal(refused: &[Finding]) -> Option<String> {
    let (first, others) = refused.split_first()?;
    let mut sentence = format!(
        "refused by admission_validate.deny ({}) of datakit-operator's configuration: {}",
        first.code, first.sentence
    );
    for other in others {
        if sentence.len() > LONGEST_MESSAGE {
            break;
        }
        sentence.push_str(&format!("; and ({}): {}", other.code, other.sentence));
    }
    Some(sentence)
}
