//! How the work of a review grows with its size, over hostile shapes: instructions counted by
//! callgrind at a size, twice and four times that. Growth beyond what a linear cost allows fails.
//!
//! `cargo bench -p datakit-operator-core --bench shapes`, for one shape with its name behind `--`.
//! Takes minutes and needs valgrind.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark tells on the terminal, and stops where the build is broken"
)]

use std::env;
use std::hint::black_box;
use std::process::{Command, ExitCode};

use datakit_operator_core::review::review;
use shapes::Shape;

#[path = "../tests/shapes/mod.rs"]
mod shapes;

/// Entries of each list at the smallest size.
const SIZE: usize = 1000;
/// How much more twice the size may cost: two, the logarithm of sorting, and caches of a fixed
/// size.
const MOST_GROWTH: f64 = 2.3;
/// The function that is counted.
const COUNTED: &str = "*counted_review*";

fn main() -> ExitCode {
    let mut args = env::args().skip(1).filter(|arg| arg != "--bench");
    let name = args.next().unwrap_or_default();
    if let Some(size) = args.next() {
        let size = size.parse().expect("a size");
        let (_, make) = shapes::ALL
            .iter()
            .find(|(shape, _)| *shape == name)
            .expect("a shape");
        counted_review(&make(size));
        return ExitCode::SUCCESS;
    }
    println!("| shape | review | instructions a byte | growth at twice the size | at four times |");
    println!("|---|---|---|---|---|");
    let mut failed = false;
    for (shape, make) in shapes::ALL {
        if !shape.contains(&name) {
            continue;
        }
        let sizes = [SIZE, 2 * SIZE, 4 * SIZE];
        let [one, two, four] = sizes.map(|size| instructions(shape, size));
        let bytes = sizes.map(|size| make(size).body.len());
        // A limit that is reached between two sizes makes a step, so both doublings count together.
        // Bodies of which a part is fixed grow less.
        let growth = [two / one, four / two];
        let larger = bytes[2] as f64 / bytes[0] as f64;
        failed |= four / one > larger.max(1.0) * (MOST_GROWTH / 2.0).powi(2);
        println!(
            "| {shape} | {} KB | {:.0} | {:.2} | {:.2} |",
            bytes[2] / 1000,
            four / bytes[2] as f64,
            growth[0],
            growth[1]
        );
    }
    if failed {
        eprintln!("a shape costs more than in proportion to its size");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

#[inline(never)]
fn counted_review(shape: &Shape) {
    black_box(review(
        black_box(&shape.body),
        &shape.engine,
        &shape.context,
    ));
}

/// Runs this program under callgrind.
fn instructions(shape: &str, size: usize) -> f64 {
    let this = env::current_exe().expect("this program");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(this)
        .args([shape, &size.to_string()])
        .output()
        .expect("valgrind, which counts the instructions, is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said
        .lines()
        .find_map(|line| line.split("Collected :").nth(1))
        .and_then(|count| count.trim().parse().ok());
    collected.unwrap_or_else(|| panic!("{shape} {size}: {said}"))
}
