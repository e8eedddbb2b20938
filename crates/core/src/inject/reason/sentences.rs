//! What reasons say to people: a sentence with the place and what was found, and a remedy.

use std::fmt;

use super::{PodSecurityRemedy, Reason};

impl Reason {
    /// What a person can change.
    pub fn remedy(&self) -> String {
        match self {
            Self::SwitchedOff { annotation } => format!("remove {annotation} to turn it on"),
            Self::ImageNotConfigured { key } => {
                format!("set {key} in the operator's configuration")
            }
            Self::WindowsPod => "remove the annotation from pods for Windows nodes".to_owned(),
            Self::MirrorPod => "annotate a workload instead of a static pod".to_owned(),
            Self::HostPid => "remove hostPID, or don't ask for it".to_owned(),
            Self::HostNetwork => "remove hostNetwork, or don't ask for it".to_owned(),
            Self::UnusableSetting { key, .. } => {
                format!("correct {key} in the operator's configuration")
            }
            Self::PortTaken { .. } => {
                "let the container or the operator's configuration use another port".to_owned()
            }
            Self::RestartPolicy { .. } => {
                "profile a workload whose pods have restartPolicy Always".to_owned()
            }
            Self::NonRootPod { key, .. } => {
                format!("set {key} in the operator's configuration to choose its user")
            }
            Self::ReservedContainer { name } => format!("rename your container `{name}`"),
            Self::ReservedVolume { name } => format!("rename your volume `{name}`"),
            Self::MountPathTaken { path, .. } => {
                format!("mount your volume elsewhere than at {path}")
            }
            Self::OptionalReference { variable, .. } => {
                format!("remove `optional: true` from the source of {variable}")
            }
            Self::ReservedVariable { variable, .. } => format!("rename your variable {variable}"),
            Self::InvalidAnnotation { annotation, .. } => {
                format!("correct the value of {annotation}")
            }
            Self::NotAllowedHere { key, .. } => {
                format!("ask the owner of the operator's configuration: {key}")
            }
            Self::VersionNotAllowed {
                annotation, key, ..
            } => format!(
                "leave {annotation} empty for the configured version, or ask the owner of the operator's configuration: {key}"
            ),
            Self::PodSecurity { remedy, .. } => match remedy {
                PodSecurityRemedy::OtherNamespace => {
                    "use it in a namespace that enforces privileged"
                }
                PodSecurityRemedy::Configuration => {
                    "change security_context of the feature in the operator's configuration"
                }
                PodSecurityRemedy::OwnContainers => {
                    "harden the pod's own containers, which it follows"
                }
            }
            .to_owned(),
            Self::NewNamespace { .. } => "create the pod again".to_owned(),
            Self::LimitRange { .. } | Self::ResourceQuota { .. } => {
                "change it, or resources of the feature in the operator's configuration".to_owned()
            }
            Self::NothingConfigured { key } => {
                format!("set {key} in the operator's configuration if it should")
            }
            Self::ToldByThePod => {
                "remove the pod's annotations datakit/logs and datakit/<container>.logs to leave it to the rule"
                    .to_owned()
            }
            Self::Unverified(violation) => violation.remedy(),
            Self::PodTooLarge(excess) => excess.remedy(),
            Self::OtherFeature {
                feature,
                is_there: true,
                ..
            } => format!("take {feature} out of the pod"),
            Self::OtherFeature {
                switch,
                is_there: false,
                ..
            } => format!("set {switch} to \"false\""),
            Self::NoRule { annotation } => format!(
                "remove {annotation}, or ask the owner of the operator's configuration for a rule"
            ),
            Self::OtherAgent { agent, .. } => {
                format!("remove {agent} from the container, or don't ask for a second one")
            }
            Self::ProcessOne { .. } => {
                "address the process by its name, or set shareProcessNamespace in the pod if that is right for it"
                    .to_owned()
            }
            Self::NodePermission { path, .. } => {
                format!("add --allow-fs-read={path}/* to its options")
            }
            Self::ManagedNodes { .. } => "profile the workload on nodes of the cluster's own".to_owned(),
            Self::PodTooSmall { .. } => "raise limits.memory of the pod's containers".to_owned(),
            Self::WouldHide { .. } => "keep it in another directory".to_owned(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SwitchedOff { annotation } => write!(f, "switched off by {annotation}"),
            Self::ImageNotConfigured { key } => write!(f, "no image is configured ({key})"),
            Self::WindowsPod => f.write_str("the pod is for Windows nodes and the image is for Linux"),
            Self::MirrorPod => f.write_str("the pod mirrors a static pod, which can't be changed through the API"),
            Self::HostPid => f.write_str(
                "the pod uses the node's process namespace (hostPID), which can't be shared with a sidecar",
            ),
            Self::RestartPolicy { policy } => write!(
                f,
                "restartPolicy is {policy} and a sidecar beside the containers would keep the pod from ending"
            ),
            Self::NonRootPod { setting, .. } => write!(f, "the sidecar runs as root and the pod has {setting}"),
            Self::ReservedContainer { name } => {
                write!(f, "a container of the pod has the reserved name `{name}`")
            }
            Self::ReservedVolume { name } => write!(f, "a volume of the pod has the reserved name `{name}`"),
            Self::MountPathTaken { container, path } => {
                write!(f, "container `{container}` has another volume at {path}")
            }
            Self::OptionalReference { container, variable } => write!(
                f,
                "container `{container}` takes {variable} from an optional source, which can't be extended"
            ),
            Self::ReservedVariable { container, variable } => {
                write!(f, "container `{container}` already has a variable {variable}")
            }
            Self::InvalidAnnotation { annotation, problem } => write!(f, "{annotation} is invalid: {problem}"),
            Self::NotAllowedHere { namespace, .. } if namespace.is_empty() => {
                f.write_str("only some namespaces may have it, and the pod's isn't known")
            }
            Self::NotAllowedHere { namespace, .. } => {
                write!(f, "namespace `{namespace}` may not have it")
            }
            Self::VersionNotAllowed {
                annotation,
                version,
                drops_digest,
                ..
            } => {
                let because = if *drops_digest {
                    "would take the place of the configured digest"
                } else {
                    "isn't among the allowed ones"
                };
                write!(f, "the version `{version}` of {annotation} {because}")
            }
            Self::PodSecurity {
                namespace,
                level,
                problem,
                ..
            } => write!(
                f,
                "namespace `{namespace}` enforces Pod Security level {level}, which forbids {problem}"
            ),
            Self::NewNamespace { namespace, problem } => write!(
                f,
                "namespace `{namespace}` is too new for its Pod Security level to be known, and some forbid {problem}"
            ),
            Self::LimitRange {
                limit_range,
                problem,
            } => write!(f, "LimitRange `{limit_range}` leaves no room: {problem}"),
            Self::ResourceQuota { quota, problem } => {
                write!(f, "ResourceQuota `{quota}` leaves no room: {problem}")
            }
            Self::NothingConfigured { key } => {
                write!(f, "the rule gives such pods nothing ({key} is empty)")
            }
            Self::ToldByThePod => f.write_str("an annotation of the pod tells the agent what to collect"),
            Self::Unverified(violation) => write!(f, "{violation}"),
            Self::PodTooLarge(excess) => write!(f, "{excess}"),
            Self::OtherFeature {
                feature, is_there, ..
            } => {
                let verb = if *is_there { "has" } else { "asks for" };
                write!(f, "the pod {verb} {feature}, and gets one of both")
            }
            Self::UnusableSetting { key, problem } => write!(f, "{key}: {problem}"),
            Self::HostNetwork => f.write_str(
                "the pod uses the node's network (hostNetwork), where its port would be taken from the node",
            ),
            Self::PortTaken { container, port } => {
                write!(f, "container `{container}` has port {port}, which the sidecar needs")
            }
            Self::NoRule { annotation } => {
                write!(f, "{annotation} asks, and no rule of the configuration fits the pod")
            }
            Self::OtherAgent {
                container,
                agent,
                place,
            } => write!(
                f,
                "container `{container}` has an agent of its own: {agent} in {place}"
            ),
            Self::ProcessOne { container, what } => write!(
                f,
                "container `{container}` has {what}, and its program isn't process 1 where processes are shared"
            ),
            Self::NodePermission { container, .. } => write!(
                f,
                "container `{container}` runs Node.js by its permission model, which doesn't let it read the library"
            ),
            Self::ManagedNodes { nodes } => write!(
                f,
                "the pod is for {}, where neither a host path nor the profiler's capabilities are allowed",
                nodes.as_str()
            ),
            Self::PodTooSmall { memory, container } => write!(
                f,
                "the pod's containers may have {memory} of memory together, which is too little to start `{container}`"
            ),
            Self::WouldHide {
                container,
                what,
                path,
            } => write!(f, "its volume would hide {}", what.describe(path, container)),
        }
    }
}
