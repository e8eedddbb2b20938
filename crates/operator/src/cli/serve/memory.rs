//! How the memory for clients is shared out.

use std::path::Path;

use anyhow::anyhow;

use super::super::Usage;
use super::LimitArgs;
use crate::app::MemoryLimits;
use crate::http::body;
use crate::http::webhook::WORK;
use crate::listen;

/// The budget where nothing limits the container, in bytes. With it the process stays below 128 MiB.
const DEFAULT_BUDGET: usize = 80 << 20;
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
pub(super) fn share_out(limits: &LimitArgs, container: Option<usize>) -> anyhow::Result<Shares> {
    let budget = limits
        .memory_budget
        .unwrap_or_else(|| container.map_or(DEFAULT_BUDGET, |limit| limit / 8 * 5));
    let most = budget / 2 / listen::CONNECTION;
    let connections = match limits
        .max_connections
        .map(|connections| connections as usize)
    {
        None => listen::Limits::default().connections.min(most).max(1),
        Some(connections) if connections <= most => connections,
        Some(connections) => {
            return Err(Usage::from(anyhow!(
                "--max-connections {connections} would take more than half of the memory budget of {}: at most {most} \
                 fit, or give --memory-budget {}",
                size(budget),
                size((connections * listen::CONNECTION * 2).next_multiple_of(MIB)),
            ))
            .into());
        }
    };
    let left = budget - (connections * listen::CONNECTION).min(budget);
    let requests = left / 3;
    let answers = left - requests;
    // Budgets keep an eighth for small requests.
    let largest = (requests / 8 * 7).min(answers / 8 * 7 / WORK);
    let body = limits.max_body_size;
    if let Some(body) = body.filter(|body| *body > largest) {
        return Err(Usage::from(anyhow!(
            "--max-body-size {} doesn't fit into the memory budget of {}: with {connections} connections it has \
             room for reviews of {}; give a larger --memory-budget, or a smaller --max-body-size or --max-connections",
            size(body),
            size(budget),
            size(largest),
        ))
        .into());
    }
    Ok(Shares {
        connections,
        body: body.unwrap_or_else(|| body::Limits::default().bytes.min(largest)),
        memory: MemoryLimits { requests, answers },
    })
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
