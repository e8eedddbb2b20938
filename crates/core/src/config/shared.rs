//! Keys that sections and rules have in common.

use super::keys::{Key, Kind};
use super::security_context;
use super::{PullPolicy, SidecarMode, resources};

pub(super) const ENVS: Key = Key::new(
    "envs",
    Kind::Variables,
    "variables for the containers (ddtrace, otel: yours; the others: the sidecar), in this order",
);

pub(super) const RESOURCES: Key = Key::new(
    "resources",
    Kind::Object(&resources::KEYS),
    "`{\"requests\": {\"cpu\", \"memory\", \"ephemeral-storage\"}, \"limits\": {…}}`; what is left out isn't set; moved so that the pod [keeps its class](injection.md#what-holds-for-all)",
)
.or(r#"{"requests":{"cpu":"100m","memory":"64Mi"},"limits":{"cpu":"500m","memory":"512Mi"}}"#);

pub(super) const SECURITY_CONTEXT: Key = Key::new(
    "security_context",
    Kind::Object(&security_context::FIELDS),
    "a container's `securityContext`, instead of the one that the [rule](injection.md#what-holds-for-all) gives it",
);

pub(super) const SIDECAR_MODE: Key = Key::new(
    "sidecar_mode",
    Kind::Choice(|| SidecarMode::ALL.map(SidecarMode::as_str).to_vec()),
    "`auto`, `container`, `native`: see [Jobs](injection.md#jobs)",
)
.or("\"auto\"");

/// The forms have different defaults.
pub(super) const fn pull_policy(default: &'static str) -> Key {
    Key::new(
        "image_pull_policy",
        Kind::Choice(|| PullPolicy::ALL.map(PullPolicy::as_str).to_vec()),
        "`Always`, `IfNotPresent`, `Never`",
    )
    .or(default)
}
