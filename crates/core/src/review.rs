//! One admission review: request bytes in, response bytes and a record out.
//!
//! It can't fail. What can be answered is answered "allowed", with a patch or unchanged and a
//! warning; a body without a uid to answer to, or of another kind than `admission.k8s.io/v1`
//! AdmissionReview, is a bad request. A panic is caught here and answered like any other review
//! that can't be handled.
//! (<https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#webhook-request-and-response>)

mod envelope;
mod validate;
mod warnings;
mod workload;

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use base64_simd::STANDARD;

use crate::config::Fingerprint;
use crate::inject::{self, Decision, Engine, Injection, Note, Outcome, ReviewContext};
use crate::json::{self, Str, write_string};
use crate::pod::Owner;
use crate::pod::limits::{AdmissionLimits, VIEW_BYTES};

use envelope::Envelope;
use warnings::ALL_WARNINGS;

pub use validate::validate;
pub use warnings::{Finding, Weight, findings, warnings};

/// What a plan takes beside what goes into the patch, at most: the annotation of logfwd taken
/// apart, indexes, notes.
const PLAN: usize = 4 << 20;
/// The longest `request.uid` that is answered to. API servers send 36 characters.
const LONGEST_UID: usize = 256;
/// The longest message of a response.
const LONGEST_MESSAGE: usize = 1024;
/// What an answer has beside its patch, at most: uid, message and warnings, of which each byte may
/// take six as JSON, and the frame around them.
const ANSWER_WITHOUT_PATCH: usize = 6 * (LONGEST_UID + LONGEST_MESSAGE + ALL_WARNINGS) + 4096;

/// The outcome of a review.
#[derive(Debug)]
pub struct Reviewed<'a> {
    /// What to send back.
    pub answer: Answer,
    /// What happened, for log and metrics.
    pub record: Record<'a>,
}

/// What to send back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An AdmissionReview as JSON, with HTTP status 200.
    Review(Vec<u8>),
    /// One sentence as text, with HTTP status 400: there is no review to answer.
    BadRequest(String),
}

/// What happened in a review. Texts are the client's own and not escaped.
#[derive(Debug, Default)]
pub struct Record<'a> {
    /// `request.uid`
    pub uid: Str<'a>,
    /// The namespace of the pod.
    pub namespace: Str<'a>,
    /// The pod's name, or the prefix its name will be made from.
    pub pod_name: Str<'a>,
    /// The version of the API of the workload that made the pod; empty for a bare pod.
    pub owner_api_version: Str<'a>,
    /// Kind of the workload that made the pod; empty for a bare pod.
    pub owner_kind: Str<'a>,
    /// Name of that workload.
    pub owner_name: Str<'a>,
    /// What tells that workload from others of its name.
    pub owner_uid: Str<'a>,
    /// `request.operation`
    pub operation: Str<'a>,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// What became of the review.
    pub disposition: Disposition,
    /// The configuration that decided, if its engine was told.
    pub config: Option<Fingerprint>,
    /// The code for which a workload was refused.
    pub refused: Option<&'static str>,
    /// One decision a feature; empty where the review wasn't about a pod to inject.
    pub decisions: Vec<Decision>,
    /// What is wrong with the pod's annotations themselves.
    pub notes: Vec<Note>,
    /// Number of operations in the patch.
    pub patch_ops: usize,
    /// Size of the patch.
    pub patch_bytes: usize,
}

/// What became of a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Disposition {
    /// Something was added to the pod.
    Injected,
    /// Nothing to add. The pod may have got a status that says so.
    #[default]
    Unchanged,
    /// Another operation than CREATE.
    OtherOperation,
    /// Another resource than the one that such reviews are about.
    OtherResource,
    /// The object can't be read as a pod.
    UnreadablePod,
    /// The object can't be read as a workload.
    Unreadable,
    /// Something was said about a workload.
    Warned,
    /// A workload was refused, as the configuration says.
    Refused,
    /// The review is damaged behind its uid.
    DamagedReview,
    /// The body is no review that could be answered.
    BadRequest,
    /// A defect of ours was caught.
    Panicked,
}

impl Disposition {
    /// Every disposition.
    pub const ALL: [Self; 11] = [
        Self::Injected,
        Self::Unchanged,
        Self::OtherOperation,
        Self::OtherResource,
        Self::UnreadablePod,
        Self::Unreadable,
        Self::Warned,
        Self::Refused,
        Self::DamagedReview,
        Self::BadRequest,
        Self::Panicked,
    ];

    /// The name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::Unchanged => "unchanged",
            Self::OtherOperation => "other_operation",
            Self::OtherResource => "other_resource",
            Self::UnreadablePod => "unreadable_pod",
            Self::Unreadable => "unreadable",
            Self::Warned => "warned",
            Self::Refused => "refused",
            Self::DamagedReview => "damaged_review",
            Self::BadRequest => "bad_request",
            Self::Panicked => "panicked",
        }
    }
}

/// How long an answer can be, in bytes, whatever the review.
pub fn longest_answer(limits: &AdmissionLimits) -> usize {
    ANSWER_WITHOUT_PATCH + limits.patch_bytes.div_ceil(3) * 4
}

/// What [`review`] can take from the allocator for a body of that length, in bytes, beside the body
/// and until the answer has been written: texts with escapes in them once more, the view of the
/// pod, the plan, the patch in three forms. `tests/memory.rs` holds hostile reviews to it.
pub fn memory_at_most(body: usize, limits: &AdmissionLimits) -> usize {
    // A view's list is copied when it grows, and the shortest entry takes three bytes.
    let view = (VIEW_BYTES / 2 * 3).min(body.saturating_mul(256));
    // A container takes three bytes as well, and is given mounts and variables.
    let plan = PLAN + 4 * limits.patch_bytes + 512 * limits.patch_operations;
    let plan = plan.min(body.saturating_mul(1024));
    let answer = 2 * longest_answer(limits);
    body + view + plan + answer
}

/// Answers a review.
pub fn review<'a>(body: &'a [u8], engine: &Engine, context: &ReviewContext) -> Reviewed<'a> {
    guarded(body, Subject::Pod, engine, |mut envelope| {
        if !envelope.is_about_pods() {
            let message = format!(
                "Unsupported resource {}, expected pods of v1",
                envelope.resource()
            );
            return unchanged(envelope, Disposition::OtherResource, &message, true);
        }
        if envelope.operation != "CREATE" {
            return other_operation(envelope);
        }
        match envelope.take_pod() {
            Ok(pod) => {
                let injection = inject::inject(pod, Some(&envelope.namespace), engine, context);
                injected(envelope, injection)
            }
            Err(error) => {
                let message = format!("the pod can't be read and is left as it is: {error}");
                unchanged(envelope, Disposition::UnreadablePod, &message, true)
            }
        }
    })
}

/// What a review is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Pod,
    Workload,
}

impl Subject {
    /// What follows if it can't be looked at.
    fn consequence(self) -> &'static str {
        match self {
            Self::Pod => "the pod is left as it is",
            Self::Workload => "the workload is not checked",
        }
    }
}

/// Answers a review by `answer`, whatever the body and whatever happens.
fn guarded<'a>(
    body: &'a [u8],
    subject: Subject,
    engine: &Engine,
    answer: impl FnOnce(Envelope<'a>) -> Reviewed<'a>,
) -> Reviewed<'a> {
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(error) => return not_utf8(body, subject, &error),
    };
    let reviewed = catch_unwind(AssertUnwindSafe(|| match open(text, subject) {
        Ok(envelope) => answer(envelope),
        Err(unusable) => *unusable,
    }));
    let mut reviewed = reviewed.unwrap_or_else(|_| panicked(text, subject));
    reviewed.record.config = engine.fingerprint();
    reviewed
}

/// Reads a review that can be answered, or answers it.
fn open(text: &str, subject: Subject) -> Result<Envelope<'_>, Box<Reviewed<'_>>> {
    let mut envelope = Envelope::default();
    if envelope.read(text, subject == Subject::Pod).is_err() {
        // Read once more without looking into the object: what is wrong may be the pod or the
        // whole text.
        envelope = Envelope::default();
        if let Err(error) = envelope.read(text, false) {
            return Err(Box::new(damaged(envelope, subject, &error)));
        }
    }
    match envelope.problem() {
        Some(problem) => Err(Box::new(bad_request(problem))),
        None => Ok(envelope),
    }
}

fn injected<'a>(envelope: Envelope<'a>, injection: Injection<'a>) -> Reviewed<'a> {
    let Injection {
        pod,
        patch,
        decisions,
        notes,
    } = injection;
    let is_new =
        |decision: &Decision| matches!(decision.outcome, Outcome::Injected | Outcome::Repaired);
    // A patch may have nothing but the pod's status.
    let disposition = match decisions.iter().any(is_new) {
        true => Disposition::Injected,
        false => Disposition::Unchanged,
    };
    let patch_json = if patch.is_empty() {
        Vec::new()
    } else {
        patch.to_json()
    };
    let answer = Response {
        uid: &envelope.uid,
        refusal: None,
        message: "",
        patch: &patch_json,
    }
    .with(warnings(&decisions, &notes));
    let Owner {
        api_version,
        kind,
        name,
        uid,
    } = pod.owner.unwrap_or_default();
    let mut record = envelope.record(disposition);
    if !pod.namespace.is_empty() {
        record.namespace = pod.namespace;
    }
    Reviewed {
        answer,
        record: Record {
            pod_name: if pod.name.is_empty() {
                pod.generate_name
            } else {
                pod.name
            },
            owner_api_version: api_version,
            owner_kind: kind,
            owner_name: name,
            owner_uid: uid,
            decisions,
            notes,
            patch_ops: patch.len(),
            patch_bytes: patch_json.len(),
            ..record
        },
    }
}

fn other_operation(envelope: Envelope<'_>) -> Reviewed<'_> {
    let message = format!("nothing is done on {}", excerpt(&envelope.operation));
    unchanged(envelope, Disposition::OtherOperation, &message, false)
}

/// "Allowed, unchanged" with a message, which is a warning too if something went wrong.
fn unchanged<'a>(
    envelope: Envelope<'a>,
    disposition: Disposition,
    message: &str,
    warn: bool,
) -> Reviewed<'a> {
    let warning = warn.then(|| message.to_owned());
    let answer = Response {
        uid: &envelope.uid,
        refusal: None,
        message,
        patch: &[],
    }
    .with(warning.into_iter());
    Reviewed {
        answer,
        record: envelope.record(disposition),
    }
}

/// A text that isn't JSON to its end, but may have told its uid before.
fn damaged<'a>(envelope: Envelope<'a>, subject: Subject, error: &json::Error) -> Reviewed<'a> {
    let consequence = subject.consequence();
    let is_review = envelope.problem().is_none();
    if is_review {
        let message = format!("the review is damaged and {consequence}: {error}");
        return unchanged(envelope, Disposition::DamagedReview, &message, true);
    }
    bad_request(format!("the body is no AdmissionReview in JSON: {error}"))
}

/// Go's decoder replaces bytes that are no UTF-8 where ours refuses them; the review is still
/// answered.
fn not_utf8<'a>(body: &[u8], subject: Subject, error: &std::str::Utf8Error) -> Reviewed<'a> {
    let consequence = subject.consequence();
    let text = readable(body);
    let mut envelope = Envelope::default();
    let read = envelope.read(&text, false);
    let at = error.valid_up_to();
    if read.is_err() || envelope.problem().is_some() {
        return bad_request(format!(
            "the body is no AdmissionReview: byte {at} is no UTF-8"
        ));
    }
    let message = format!("{consequence}: byte {at} of the review is no UTF-8");
    let uid = envelope.uid.clone().into_owned();
    let Reviewed { answer, record } =
        unchanged(envelope, Disposition::DamagedReview, &message, true);
    Reviewed {
        answer,
        record: Record {
            uid: Cow::Owned(uid),
            disposition: record.disposition,
            ..Record::default()
        },
    }
}

/// The text with a question mark for every byte that is no UTF-8: no longer than the body.
fn readable(body: &[u8]) -> String {
    let mut text = String::with_capacity(body.len());
    for chunk in body.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

fn panicked(text: &str, subject: Subject) -> Reviewed<'_> {
    let consequence = subject.consequence();
    let mut envelope = Envelope::default();
    let _ = envelope.read(text, false);
    let message = format!("a defect of the operator was caught and {consequence}");
    unchanged(envelope, Disposition::Panicked, &message, true)
}

fn bad_request<'a>(problem: String) -> Reviewed<'a> {
    Reviewed {
        answer: Answer::BadRequest(problem),
        record: Record {
            disposition: Disposition::BadRequest,
            ..Record::default()
        },
    }
}

/// What a response says beside its warnings.
struct Response<'r> {
    uid: &'r str,
    /// Why it isn't allowed.
    refusal: Option<String>,
    /// What to say where it is.
    message: &'r str,
    /// As JSON; empty if there is none.
    patch: &'r [u8],
}

impl Response<'_> {
    fn with(self, warnings: impl Iterator<Item = String>) -> Answer {
        let Self {
            uid,
            refusal,
            message,
            patch,
        } = self;
        let mut out = Vec::with_capacity(patch.len().div_ceil(3) * 4 + 512);
        out.extend_from_slice(
            br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"#,
        );
        write_string(&mut out, uid);
        let message = match &refusal {
            Some(refusal) => {
                out.extend_from_slice(br#","allowed":false,"status":{"code":403,"message":"#);
                refusal
            }
            None => {
                out.extend_from_slice(br#","allowed":true"#);
                if !message.is_empty() {
                    out.extend_from_slice(br#","status":{"message":"#);
                }
                message
            }
        };
        if !message.is_empty() {
            write_string(&mut out, &shortened(message, LONGEST_MESSAGE));
            out.push(b'}');
        }
        if !patch.is_empty() {
            out.extend_from_slice(br#","patchType":"JSONPatch","patch":""#);
            STANDARD.encode_append(patch, &mut out);
            out.push(b'"');
        }
        warnings::write(&mut out, warnings);
        out.extend_from_slice(b"}}");
        Answer::Review(out)
    }
}

fn shortened(text: &str, longest: usize) -> Cow<'_, str> {
    if text.len() <= longest {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(longest - '…'.len_utf8());
    Cow::Owned(format!("{}…", &text[..end]))
}

fn excerpt(text: &str) -> Cow<'_, str> {
    shortened(text, 80)
}
