//! What a review takes from the allocator stays below what `review::memory_at_most` promises,
//! whatever the body.
//!
//! The allocator counts what all threads take, so this is the only test of its program.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

use datakit_operator_core::review::{Answer, longest_answer, memory_at_most, review};
use peak_alloc::PeakAlloc;

mod shapes;

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
                ALLOCATOR.reset_peak_usage();
                let before = ALLOCATOR.current_usage();
                let reviewed = review(&shape.body, &shape.engine, &shape.context);
                let taken = ALLOCATOR.peak_usage().saturating_sub(before);
                let promised = memory_at_most(shape.body.len(), &limits);
                let answer = match &reviewed.answer {
                    Answer::Review(answer) => answer.len(),
                    Answer::BadRequest(sentence) => sentence.len(),
                };
                println!(
                    "{name}, {n}: {} KiB took {} KiB of {} KiB, answer {} KiB",
                    shape.body.len() >> 10,
                    taken >> 10,
                    promised >> 10,
                    answer >> 10,
                );
                if taken > promised || answer > longest_answer(&limits) {
                    wrong.push(format!(
                        "{name}, {n}: {taken} of {promised}, answer {answer}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
