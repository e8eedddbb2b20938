//! How the memory for clients is shared out.

use std::path::Path;

use anyhow::anyhow;

use super::super::Usage;
use super::LimitArgs;
use crate::app::MemoryLimits;
use crate::http::body;
use crate::listen;

/// The budget where nothing limits the container, in bytes. With it the process stays below 128 MiB.
const DEFAULT_BUDGET: usize = 80 << 20;
/// What a review takes while it runs, in bytes, beside its body: the most that any shape took in core's `tests/memory.rs`.
const REVIEW: usize = 10 << 20;
/// Threads for large reviews, unless there is little memory or the user says otherwise.
const REVIEW_THREADS: usize = 2;
/// What is left for connections, requests and answers at least, in bytes.
const LEAST: usize = 1 << 20;
/// What the largest body leaves to the request around it, in bytes.
const BESIDE_BODY: usize = 16 << 10;
/// Where the kernel tells the container's memory limit: control groups version 2, then 1.
const LIMIT_FILES: [&str; 2] = [
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
];
/// What a limit of the first version says that isn't one: as many pages as a number can count.
const NO_LIMIT: usize = 1 << 50;

/// What each kind of use gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    /// Connections at once.
    pub(super) connections: usize,
    /// Threads for large reviews.
    pub(super) review_threads: usize,
    /// Size of one body, in bytes.
    pub(super) body: usize,
    /// What is left for what comes over them.
    pub(super) memory: MemoryLimits,
}

/// The memory limit of the container, in bytes.
pub(super) fn container_limit() -> Option<usize> {
    LIMIT_FILES
        .iter()
        .find_map(|file| read_limit(Path::new(file)))
}

fn read_limit(file: &Path) -> Option<usize> {
    let limit = std::fs::read_to_string(file).ok()?;
    // Version 2 says `max` where there is none.
    limit.trim().parse().ok().filter(|limit| *limit < NO_LIMIT)
}

/// Shares out what the flags give, or what suits a container with this limit.
///
/// # Errors
///
/// If the flags can't be kept together.
pub(super) fn share_out(
    limits: &LimitArgs,
    review_threads: Option<u16>,
    container: Option<usize>,
) -> anyhow::Result<Shares> {
    let budget = limits
        .memory_budget
        .unwrap_or_else(|| container.map_or(DEFAULT_BUDGET, |limit| limit / 8 * 5));
    let review_threads = review_threads.map_or_else(
        || (budget / 4 / REVIEW).clamp(1, REVIEW_THREADS),
        usize::from,
    );
    let least = review_threads * REVIEW + LEAST;
    let Some(left) = budget.checked_sub(least).map(|more| more + LEAST) else {
        return Err(wrong(format!(
            "a memory budget of {} is too small for {review_threads} review threads at {} each; expected at least {}",
            size(budget),
            size(REVIEW),
            size(least),
        )));
    };
    let most = left / 2 / listen::CONNECTION;
    let connections = match limits.max_connections {
        None => listen::Limits::default().connections.min(most),
        Some(connections) if connections as usize <= most => connections as usize,
        Some(connections) => {
            let needed = least - LEAST + connections as usize * listen::CONNECTION * 2;
            return Err(wrong(format!(
                "--max-connections {connections} don't fit into the memory budget of {}, which has room for {most}; \
                 lower it, or give --memory-budget {}",
                size(budget),
                size(needed.next_multiple_of(MIB)),
            )));
        }
    };
    let left = left - connections * listen::CONNECTION;
    let (requests, answers) = (left / 2, left - left / 2);
    // Budgets keep an eighth for small requests.
    let largest = (requests.min(answers) / 8 * 7).saturating_sub(BESIDE_BODY);
    let body = match limits.max_body_size {
        None => body::Limits::default().bytes.min(largest),
        Some(body) if body <= largest => body,
        Some(body) => {
            return Err(wrong(format!(
                "--max-body-size {} doesn't fit into the memory budget of {}, which has room for bodies of {} beside \
                 {connections} connections; lower one of these, or give a larger --memory-budget",
                size(body),
                size(budget),
                size(largest),
            )));
        }
    };
    Ok(Shares {
        connections,
        review_threads,
        body,
        memory: MemoryLimits { requests, answers },
    })
}

fn wrong(message: String) -> anyhow::Error {
    Usage::from(anyhow!(message)).into()
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// A size as flags take it, rounded down to KiB.
fn size(bytes: usize) -> String {
    match bytes {
        0..KIB => format!("{bytes}B"),
        _ if bytes.is_multiple_of(MIB) => format!("{}MiB", bytes / MIB),
        _ => format!("{}KiB", bytes / KIB),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn shares(flags: &[&str], container: Option<usize>) -> Result<Shares, String> {
        let line = ["datakit-operator", "serve"].iter().chain(flags);
        let Command::Serve(args) = Cli::parse_from(line).command else {
            panic!("{flags:?}");
        };
        let shares = share_out(&args.limits, args.review_threads, container);
        shares.map_err(|error| error.to_string())
    }

    #[test]
    fn every_container_gets_shares_that_fit() {
        for container in [None, Some(24), Some(32), Some(64), Some(128), Some(1024)] {
            let limit = container.map(|mib| mib * MIB);
            let budget = limit.map_or(DEFAULT_BUDGET, |limit| limit / 8 * 5);
            let shares = shares(&[], limit).unwrap();
            let Shares {
                connections,
                review_threads,
                body,
                memory,
            } = shares;
            let sum = connections * listen::CONNECTION
                + review_threads * REVIEW
                + memory.requests
                + memory.answers;
            assert!(sum <= budget, "{container:?}: {shares:?}");
            assert!(
                connections > 0 && body > 100 * KIB,
                "{container:?}: {shares:?}"
            );
        }
        let of_the_chart = shares(&[], Some(128 * MIB)).unwrap();
        assert_eq!(of_the_chart, shares(&[], None).unwrap());
        assert_eq!(
            (of_the_chart.connections, of_the_chart.body),
            (768, 6 * MIB)
        );
    }

    #[test]
    fn flags_that_do_not_fit_together() {
        let check = |flags: &[&str], want: &str| {
            assert_eq!(shares(flags, None).unwrap_err(), want, "{flags:?}");
        };
        check(
            &["--memory-budget", "8MiB"],
            "a memory budget of 8MiB is too small for 1 review threads at 10MiB each; expected at least 11MiB",
        );
        check(
            &["--max-connections", "2000"],
            "--max-connections 2000 don't fit into the memory budget of 80MiB, which has room for 960; lower it, or give --memory-budget 145MiB",
        );
        check(
            &["--max-body-size", "20MiB"],
            "--max-body-size 20MiB doesn't fit into the memory budget of 80MiB, which has room for bodies of 16112KiB beside 768 connections; lower one of these, or give a larger --memory-budget",
        );
        assert!(
            shares(
                &["--max-connections", "2000", "--memory-budget", "145MiB"],
                None
            )
            .is_ok()
        );
    }

    #[test]
    fn limits_of_containers() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("limit");
        let check = |text: &str, want: Option<usize>| {
            std::fs::write(&file, text).unwrap();
            assert_eq!(read_limit(&file), want, "{text}");
        };
        check("134217728\n", Some(128 * MIB));
        check("max\n", None);
        check("9223372036854771712\n", None);
        check("", None);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(read_limit(&file), None);
    }
}
