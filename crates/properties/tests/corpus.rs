//! The fuzzer's seeds and deterministic mutations of them, through the fuzzer's own functions.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use datakit_operator_properties::mutate::{Numbers, mutated};
use datakit_operator_properties::{Target, seeds};

/// Checks every seed, then so many mutations.
fn check(target: Target, mutations: usize) {
    let seeds = seeds::of(target).unwrap();
    assert!(!seeds.is_empty(), "{} has no seeds", target.name());
    for seed in &seeds {
        judge(target, seed);
    }
    let mut numbers = Numbers::new(1);
    for turn in 0..mutations {
        let seed = &seeds[turn % seeds.len()];
        let other = &seeds[numbers.below(seeds.len())];
        judge(target, &mutated(seed, other, &mut numbers));
    }
}

fn judge(target: Target, bytes: &[u8]) {
    if let Err(broken) = target.check(bytes) {
        let input = String::from_utf8_lossy(bytes);
        panic!("{}: {broken}\nfor these bytes:\n{input:?}", target.name());
    }
}

#[test]
fn reviews() {
    check(Target::Review, 20_000);
}

#[test]
fn pods() {
    check(Target::Pod, 5_000);
}

#[test]
fn logfwd() {
    check(Target::Logfwd, 5_000);
}

#[test]
fn configurations() {
    check(Target::Config, 2_000);
}

#[test]
fn polls() {
    check(Target::Poll, 20_000);
}

#[test]
fn manifests() {
    check(Target::Manifest, 3_000);
}

#[test]
fn http() {
    check(Target::Http, 500);
}
