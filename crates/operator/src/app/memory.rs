//! The options about memory for clients, and how it is shared out.

use std::path::Path;

use anyhow::bail;

use crate::http::body;
use crate::listen;
use crate::values::bytes;

/// The budget where nothing limits the container, in bytes. With it the process stays below 128
/// MiB.
const DEFAULT_BUDGET: usize = 80 << 20;
/// What a review takes while it runs, in bytes, beside its body: the most that any shape took in
/// core's `tests/memory.rs`.
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

/// How much memory clients of the HTTPS server may make the process use.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Limits on clients")]
pub struct Args {
    /// Memory that clients may make the process use: connections, requests, reviews, answers
    /// [default: five eighths of the container's memory limit, or 80MiB if there is none]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub memory_budget: Option<usize>,

    /// Was once a limit on bodies alone.
    #[arg(long, hide = true, value_name = "SIZE", value_parser = replaced_by_memory_budget)]
    pub max_buffered_size: Option<usize>,

    /// Threads for large reviews, beside those, at 10MiB each of the memory budget [default: 2, or
    /// 1 with little memory]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub review_threads: Option<u16>,
}

/// How much memory clients of the HTTPS server may make the process use beside what connections
/// take, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// For requests.
    pub requests: usize,
    /// For reviews and answers.
    pub answers: usize,
}

/// What each kind of use gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Connections at once.
    pub connections: usize,
    /// Threads for large reviews.
    pub review_threads: usize,
    /// Size of one body, in bytes.
    pub body: usize,
    /// What is left for what comes over them.
    pub memory: MemoryLimits,
}

impl Shares {
    /// All of them together, in bytes.
    #[must_use]
    pub fn total(&self) -> usize {
        self.connections * listen::CONNECTION
            + self.review_threads * REVIEW
            + self.memory.requests
            + self.memory.answers
    }
}

/// The memory limit of the container, in bytes.
pub fn container_limit() -> Option<usize> {
    LIMIT_FILES
        .iter()
        .find_map(|file| read_limit(Path::new(file)))
}

fn read_limit(file: &Path) -> Option<usize> {
    let limit = std::fs::read_to_string(file).ok()?;
    // Version 2 says `max` where there is none.
    limit.trim().parse().ok().filter(|limit| *limit < NO_LIMIT)
}

impl Args {
    /// Shares out what the options give, or what suits a container with this limit. The options of
    /// connections and bodies say what they want of it.
    ///
    /// # Errors
    ///
    /// If the options can't be kept together.
    pub fn share_out(
        &self,
        max_connections: Option<u32>,
        max_body_size: Option<usize>,
        container: Option<usize>,
    ) -> anyhow::Result<Shares> {
        let budget = self
            .memory_budget
            .unwrap_or_else(|| container.map_or(DEFAULT_BUDGET, |limit| limit / 8 * 5));
        let review_threads = self.review_threads.map_or_else(
            || (budget / 4 / REVIEW).clamp(1, REVIEW_THREADS),
            usize::from,
        );
        let least = review_threads * REVIEW + LEAST;
        let Some(left) = budget.checked_sub(least).map(|more| more + LEAST) else {
            bail!(
                "a memory budget of {} is too small for {review_threads} review threads at {} each; expected at least {}",
                size(budget),
                size(REVIEW),
                size(least),
            );
        };
        let most = left / 2 / listen::CONNECTION;
        let connections = match max_connections {
            None => listen::Limits::default().connections.min(most),
            Some(connections) if connections as usize <= most => connections as usize,
            Some(connections) => {
                let needed = least - LEAST + connections as usize * listen::CONNECTION * 2;
                bail!(
                    "--max-connections {connections} don't fit into the memory budget of {}, which has room for {most}; \
                     lower it, or give --memory-budget {}",
                    size(budget),
                    size(needed.next_multiple_of(MIB)),
                );
            }
        };
        let left = left - connections * listen::CONNECTION;
        let (requests, answers) = (left / 2, left - left / 2);
        // Budgets keep an eighth for small requests.
        let largest = (requests.min(answers) / 8 * 7).saturating_sub(BESIDE_BODY);
        let body = match max_body_size {
            None => body::Limits::default().bytes.min(largest),
            Some(body) if body <= largest => body,
            Some(body) => bail!(
                "--max-body-size {} doesn't fit into the memory budget of {}, which has room for bodies of {} beside \
                 {connections} connections; lower one of these, or give a larger --memory-budget",
                size(body),
                size(budget),
                size(largest),
            ),
        };
        Ok(Shares {
            connections,
            review_threads,
            body,
            memory: MemoryLimits { requests, answers },
        })
    }
}

fn replaced_by_memory_budget(_: &str) -> Result<usize, String> {
    Err("replaced by --memory-budget, which covers everything that clients may make the process keep".to_owned())
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

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        memory: Args,
        #[command(flatten)]
        listen: listen::args::Args,
        #[command(flatten)]
        body: body::args::Args,
    }

    fn shares(flags: &[&str], container: Option<usize>) -> Result<Shares, String> {
        let line = Line::parse_from(["x"].iter().chain(flags));
        let wanted = (line.listen.max_connections, line.body.max_body_size);
        let shares = line.memory.share_out(wanted.0, wanted.1, container);
        shares.map_err(|error| error.to_string())
    }

    #[test]
    fn every_container_gets_shares_that_fit() {
        for container in [None, Some(24), Some(32), Some(64), Some(128), Some(1024)] {
            let limit = container.map(|mib| mib * MIB);
            let budget = limit.map_or(DEFAULT_BUDGET, |limit| limit / 8 * 5);
            let shares = shares(&[], limit).unwrap();
            let Shares {
                connections, body, ..
            } = shares;
            assert!(shares.total() <= budget, "{container:?}: {shares:?}");
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
