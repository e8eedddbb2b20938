//! Whether a container loads another agent already: two of them instrument the same calls, and what
//! comes of that is nobody's wish.

use crate::inject::environment::directories;
use crate::inject::reason::Reason;
use crate::inject::spec::StartUp;
use crate::pod::path::mount_point;
use crate::pod::view::{Container, EnvSource};

/// Where ddtrace is mounted, whoever mounts it.
const DDTRACE: &str = "/datadog-lib";

/// What other agents are called in start-up variables.
const AGENTS: [&str; 5] = [
    DDTRACE,
    "dd-java-agent.jar",
    "dd-trace/init",
    "opentelemetry-javaagent",
    "@opentelemetry/auto-instrumentations-node",
];

/// Checks that a container loads no other agent, as far as the pod says it.
///
/// # Errors
/// The agent, and where it was found.
pub(super) fn none(container: &Container<'_>, start_up: &StartUp) -> Result<(), Reason> {
    let found = |agent: &str, place: &str| Reason::OtherAgent {
        container: container.name.clone().into_owned(),
        agent: agent.to_owned(),
        place: place.to_owned(),
    };
    let mut mounts = container.mounts.iter();
    if mounts.any(|mount| mount_point(&mount.path) == DDTRACE) {
        return Err(found(DDTRACE, "volumeMounts"));
    }
    for env in &container.env {
        let EnvSource::Literal(value) = &env.source else {
            continue;
        };
        if env.name != start_up.variable {
            continue;
        }
        let mut agents = AGENTS.into_iter();
        if let Some(agent) = agents.find(|agent| value.contains(agent)) {
            return Err(found(agent, start_up.variable));
        }
        // Both directories of ours, or none: one alone is somebody else's doing.
        if start_up.separator == ':' {
            let has = |wanted: &&str| directories(value).any(|part| part == *wanted);
            let ours = directories(start_up.bare);
            let (there, missing): (Vec<&str>, Vec<&str>) = ours.partition(has);
            if let (Some(agent), false) = (there.first(), missing.is_empty()) {
                return Err(found(agent, start_up.variable));
            }
        }
    }
    Ok(())
}
