//! What a review takes from the allocator stays below what `review::memory_at_most` promises,
//! whatever the body.
//!
//! The allocator counts what all threads take, so this is the only test of its program.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

use datakit_operator_core::review::{Answer, longest_answer, memory_at_most, review, validate};
use peak_alloc::PeakAlloc;

mod shapes;

/// Answers a review.
type Review = for<'a> fn(
    &'a [u8],
    &datakit_operator_core::inject::Engine,
    &datakit_operator_core::inject::ReviewContext,
) -> datakit_operator_core::review::Reviewed<'a>;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

#[test]
fn a_review_takes_what_is_promised_at_most() {
    let mut wrong = Vec::new();
    for (name, make) in shapes::ALL {
        for n in [1, 30, 500, 8_000, 40_000] {
            for narrow in [false, true] {
                let mut shape = make(n);
                if narrow && n > 500 {
                    // The limits that nobody has changed.
                    let config = datakit_operator_core::config::Config::load(
                        datakit_operator_core::config::DEFAULT_CONFIG,
                        &datakit_operator_core::config::EnvOverrides::default(),
                    );
                    shape.engine =
                        datakit_operator_core::inject::Engine::new(&config.expect("a config").0);
                }
                let limits = *shape.engine.limits();
                let workload = as_workload(&shape.body);
                for (what, body, answer) in [
                    ("pod", &shape.body, review as Review),
                    ("workload", &workload, validate),
                ] {
                    ALLOCATOR.reset_peak_usage();
                    let before = ALLOCATOR.current_usage();
                    let reviewed = answer(body, &shape.engine, &shape.context);
                    let taken = ALLOCATOR.peak_usage().saturating_sub(before);
                    let promised = memory_at_most(body.len(), &limits);
                    let answer = match &reviewed.answer {
                        Answer::Review(answer) => answer.len(),
                        Answer::BadRequest(sentence) => sentence.len(),
                    };
                    println!(
                        "{name} of a {what}, {n}: {} KiB took {} KiB of {} KiB, answer {} KiB",
                        body.len() >> 10,
                        taken >> 10,
                        promised >> 10,
                        answer >> 10,
                    );
                    if taken > promised || answer > longest_answer(&limits) {
                        wrong.push(format!(
                            "{name} of a {what}, {n}: {taken} of {promised}, answer {answer}"
                        ));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The review of a StatefulSet whose template is the pod, and which says all else about it that is
/// kept.
fn as_workload(body: &[u8]) -> Vec<u8> {
    const PODS: &[u8] = br#""group":"","version":"v1","resource":"pods""#;
    const SETS: &[u8] = br#""group":"apps","version":"v1","resource":"statefulsets""#;
    const OBJECT: &[u8] = br#""object":"#;
    let mut workload = Vec::with_capacity(body.len() + 65_536);
    let mut rest = body;
    for (from, to) in [(PODS, SETS), (OBJECT, OBJECT)] {
        let at = rest.windows(from.len()).position(|part| part == from);
        let at = at.expect("the review of a pod");
        workload.extend_from_slice(&rest[..at]);
        workload.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    let many = |one: &str| vec![one; 2000].join(",");
    let claims = many(r#"{"metadata":{"name":"c"}}"#);
    let annotations = many(r#""admission.datakit/x":"""#);
    let around = format!(
        r#"{{"metadata":{{"annotations":{{{annotations}}}}},"spec":{{"volumeClaimTemplates":[{claims}],"template":"#
    );
    workload.extend_from_slice(around.as_bytes());
    let (pod, end) = rest.split_at(rest.len().saturating_sub(2));
    workload.extend_from_slice(pod);
    workload.extend_from_slice(b"}}");
    workload.extend_from_slice(end);
    workload
}
