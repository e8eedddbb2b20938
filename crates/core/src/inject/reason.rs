//! The closed list of reasons why a feature was skipped.
//!
//! Each has a code (metrics, JSON), a sentence with the values a person needs, and a remedy.

mod sentences;

use crate::code;
use crate::config::Feature;
use crate::namespace::PodSecurity;
use crate::pod::hiding::What;
use crate::pod::limits::Excess;
use crate::pod::nodes::Managed;
use crate::pod::verify::Violation;

/// Why a feature that was asked for was not injected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A switch annotation turns it off.
    SwitchedOff {
        /// The switch.
        annotation: &'static str,
    },
    /// The configuration has no image for it.
    ImageNotConfigured {
        /// The configuration key that would hold it.
        key: String,
    },
    /// The pod is for Windows nodes; the images are Linux.
    WindowsPod,
    /// The object only shows a static pod, which changes don't reach.
    MirrorPod,
    /// The sidecar needs a shared process namespace, which excludes `hostPID`.
    HostPid,
    /// The sidecar never ends, so it would keep a pod running that is meant to end.
    RestartPolicy {
        /// The pod's policy.
        policy: String,
    },
    /// The sidecar runs as root, which the pod's security context forbids or overrides.
    NonRootPod {
        /// The setting.
        setting: String,
        /// The configuration key that would choose the sidecar's user.
        key: String,
    },
    /// A container of the user's has a name that the operator reserves.
    ReservedContainer {
        /// The name.
        name: &'static str,
    },
    /// A volume of the user's has a name that the operator reserves, or is not of the kind it
    /// needs.
    ReservedVolume {
        /// The name.
        name: String,
    },
    /// Something else is mounted where the feature must mount its own volume.
    MountPathTaken {
        /// The container.
        container: String,
        /// The path.
        path: String,
    },
    /// A start-up variable comes from an optional source, so what it would expand to is unknown.
    OptionalReference {
        /// The container.
        container: String,
        /// The variable.
        variable: &'static str,
    },
    /// The name that a wrapped variable would get is taken.
    ReservedVariable {
        /// The container.
        container: String,
        /// The variable.
        variable: &'static str,
    },
    /// The annotation's value can't be used.
    InvalidAnnotation {
        /// The annotation.
        annotation: &'static str,
        /// What is wrong with it, and where.
        problem: String,
    },
    /// The configuration's policy doesn't let the pod's namespace have the feature.
    NotAllowedHere {
        /// The namespace; empty where it isn't known.
        namespace: String,
        /// The configuration key that says so.
        key: String,
    },
    /// The configuration's policy doesn't let an annotation choose this version.
    VersionNotAllowed {
        /// The annotation.
        annotation: &'static str,
        /// The version, a valid tag.
        version: String,
        /// Whether it would take the place of a configured digest; else it fits no allowed pattern.
        drops_digest: bool,
        /// The configuration key that says so.
        key: String,
    },
    /// The namespace's Pod Security level forbids what would be added.
    PodSecurity {
        /// The namespace.
        namespace: String,
        /// The level that it enforces.
        level: PodSecurity,
        /// What of the addition it forbids.
        problem: String,
        /// What can help.
        remedy: PodSecurityRemedy,
    },
    /// All namespaces are known but this one, so it was made a moment ago, and what would be added
    /// could be forbidden there.
    NewNamespace {
        /// The namespace.
        namespace: String,
        /// What of the addition some levels forbid.
        problem: String,
    },
    /// A LimitRange of the namespace leaves no room for what would be added.
    LimitRange {
        /// Its name.
        limit_range: String,
        /// The bound, and why it can't be kept.
        problem: String,
    },
    /// A ResourceQuota of the namespace leaves no room for what would be added.
    ResourceQuota {
        /// Its name.
        quota: String,
        /// What it bounds, and why that can't be kept.
        problem: String,
    },
    /// The rule says of such pods that they get nothing.
    NothingConfigured {
        /// The configuration key that says what pods get.
        key: String,
    },
    /// The pod itself tells the agent what to collect.
    ToldByThePod,
    /// The edits would have made the pod invalid.
    Unverified(Violation),
    /// The pod, or the patch that it would take, is larger than allowed.
    PodTooLarge(Excess),
    /// Another feature does the same, and a pod gets one of both.
    OtherFeature {
        /// The other feature.
        feature: Feature,
        /// The annotation that switches it off.
        switch: &'static str,
        /// Whether the pod has it, else it only asks for it.
        is_there: bool,
    },
    /// An annotation asks, and no rule of the configuration gives the pod the feature.
    NoRule {
        /// The annotation.
        annotation: &'static str,
    },
    /// A setting that the feature can't do without is missing or can't be used for the pod.
    UnusableSetting {
        /// Its key in the configuration.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The pod uses the node's network, where a port of the sidecar would be the node's.
    HostNetwork,
    /// A container listens on the sidecar's port; all containers of a pod share one network.
    PortTaken {
        /// The container.
        container: String,
        /// The port.
        port: u16,
    },
    /// A container loads another agent that does the same.
    OtherAgent {
        /// The container.
        container: String,
        /// How the agent is recognised.
        agent: String,
        /// The field or variable that says so.
        place: String,
    },
    /// A volume that the feature can't do without would hide something that a container runs or
    /// reads.
    WouldHide {
        /// The container.
        container: String,
        /// What it would hide.
        what: What,
        /// Where that is.
        path: String,
    },
    /// A container relies on being process 1, which it isn't where a sidecar sees its processes.
    ProcessOne {
        /// The container.
        container: String,
        /// What relies on it.
        what: &'static str,
    },
    /// A Node.js process that may not read the library would end.
    NodePermission {
        /// The container.
        container: String,
        /// Where the library is.
        path: &'static str,
    },
    /// The pod is for nodes without a host that it may touch, which a profiler needs.
    ManagedNodes {
        /// What they are.
        nodes: Managed,
    },
    /// The pod's containers together have too little memory for an init container that may have no
    /// more.
    PodTooSmall {
        /// What they have.
        memory: String,
        /// The added container.
        container: &'static str,
    },
}

/// What helps where a Pod Security level forbids an addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodSecurityRemedy {
    /// The feature can't do without it.
    OtherNamespace,
    /// The configuration chose it.
    Configuration,
    /// Containers are added with the restricted set where the pod's own have it.
    OwnContainers,
}

impl Reason {
    /// Every code, for the closed label set of the metrics.
    pub const CODES: [&str; code::REASONS.len()] = code::REASONS;

    /// The code of the reason.
    pub fn as_str(&self) -> &'static str {
        Self::CODES[self.index()]
    }

    /// The position in [`CODES`](Self::CODES).
    pub fn index(&self) -> usize {
        match self {
            Self::SwitchedOff { .. } => 0,
            Self::ImageNotConfigured { .. } => 1,
            Self::WindowsPod => 2,
            Self::MirrorPod => 3,
            Self::HostPid => 4,
            Self::RestartPolicy { .. } => 5,
            Self::NonRootPod { .. } => 6,
            Self::ReservedContainer { .. } => 7,
            Self::ReservedVolume { .. } => 8,
            Self::MountPathTaken { .. } => 9,
            Self::OptionalReference { .. } => 10,
            Self::ReservedVariable { .. } => 11,
            Self::InvalidAnnotation { .. } => 12,
            Self::PodSecurity { .. } => 13,
            Self::LimitRange { .. } => 14,
            Self::NewNamespace { .. } => 15,
            Self::NotAllowedHere { .. } => 16,
            Self::VersionNotAllowed { .. } => 17,
            Self::Unverified(_) => 18,
            Self::PodTooLarge(_) => 19,
            Self::OtherFeature { .. } => 20,
            Self::OtherAgent { .. } => 21,
            Self::NoRule { .. } => 22,
            Self::UnusableSetting { .. } => 23,
            Self::HostNetwork => 24,
            Self::PortTaken { .. } => 25,
            Self::NothingConfigured { .. } => 26,
            Self::ToldByThePod => 27,
            Self::WouldHide { .. } => 28,
            Self::PodTooSmall { .. } => 29,
            Self::ManagedNodes { .. } => 30,
            Self::NodePermission { .. } => 31,
            Self::ProcessOne { .. } => 32,
            Self::ResourceQuota { .. } => 33,
        }
    }

    /// The container that it is about, if it is about one.
    pub fn container(&self) -> Option<&str> {
        match self {
            Self::MountPathTaken { container, .. }
            | Self::OptionalReference { container, .. }
            | Self::OtherAgent { container, .. }
            | Self::PortTaken { container, .. }
            | Self::ReservedVariable { container, .. }
            | Self::NodePermission { container, .. }
            | Self::ProcessOne { container, .. }
            | Self::WouldHide { container, .. } => Some(container),
            Self::ReservedContainer { name } => Some(name),
            Self::PodTooSmall { container, .. } => Some(container),
            Self::Unverified(violation) => violation.container(),
            Self::SwitchedOff { .. }
            | Self::ImageNotConfigured { .. }
            | Self::WindowsPod
            | Self::MirrorPod
            | Self::ManagedNodes { .. }
            | Self::HostPid
            | Self::RestartPolicy { .. }
            | Self::NonRootPod { .. }
            | Self::ReservedVolume { .. }
            | Self::InvalidAnnotation { .. }
            | Self::NotAllowedHere { .. }
            | Self::VersionNotAllowed { .. }
            | Self::PodSecurity { .. }
            | Self::NewNamespace { .. }
            | Self::LimitRange { .. }
            | Self::ResourceQuota { .. }
            | Self::OtherFeature { .. }
            | Self::NoRule { .. }
            | Self::UnusableSetting { .. }
            | Self::HostNetwork
            | Self::NothingConfigured { .. }
            | Self::ToldByThePod
            | Self::PodTooLarge(_) => None,
        }
    }
}

impl From<Violation> for Reason {
    fn from(violation: Violation) -> Self {
        match violation {
            Violation::VolumeName(name) => Self::ReservedVolume { name },
            Violation::MountPath { container, path } => Self::MountPathTaken { container, path },
            other => Self::Unverified(other),
        }
    }
}
