//! The rules of the API server that additions to a pod could break.
//!
//! Features avoid these situations themselves and give better reasons; this is the net below them. The rules are those
//! of `ValidatePodSpec` in <https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go>,
//! plus one of the container runtimes: a mount point can't be created on a read-only mount.
//! Only what is added is judged. A pod that was invalid before is the API server's to refuse.

use std::fmt;

use super::draft::{Draft, Edits, MountView, Place};
use super::part::{NewContainer, NewMount};
use super::path;
use super::view::VolumeKind;

/// A rule that a plan would break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// Two containers of one name.
    ContainerName(String),
    /// Two volumes of one name.
    VolumeName(String),
    /// Two mounts of one container at one path, or a mount where a block device is.
    MountPath {
        /// The container.
        container: String,
        /// The path, cleaned.
        path: String,
    },
    /// A mount that would have to be created on something read-only.
    ReadOnlyParent {
        /// The container.
        container: String,
        /// The path of the mount to add.
        path: String,
        /// The read-only mount above it.
        parent: String,
    },
    /// A mount of a volume that the pod doesn't have.
    UnknownVolume(String),
    /// `shareProcessNamespace` beside `hostPID`.
    HostPid,
    /// A pod without containers, which nothing can be added to.
    NoContainers,
}

/// Checks what `plan` would add to `draft`.
///
/// # Errors
/// The first rule that would be broken.
pub fn verify(draft: &Draft<'_, '_>, plan: &Edits<'_>) -> Result<(), Violation> {
    let pod = draft.pod;
    if pod.containers.is_empty() {
        return Err(Violation::NoContainers);
    }
    if plan.share_process_namespace && pod.host_pid {
        return Err(Violation::HostPid);
    }
    volume_names(draft, plan)?;
    container_names(draft, plan)?;
    for (index, own) in plan.own.iter().enumerate() {
        let devices = &pod.containers[index].devices;
        added_mounts(draft, plan, Place::Own(index), &own.mounts, |mount| {
            devices.iter().any(|(volume, path)| {
                path::mount_point(path) == mount.path || *volume == mount.volume
            })
        })?;
    }
    for (index, _) in draft.edits().sidecars.iter().enumerate() {
        let mounts: Vec<_> = plan
            .sidecar_mounts
            .iter()
            .filter(|(at, _)| *at == index)
            .map(|(_, mount)| mount.clone())
            .collect();
        added_mounts(draft, plan, Place::Sidecar(index), &mounts, |_| false)?;
    }
    for container in plan.new_containers() {
        for (at, mount) in container.mounts.iter().enumerate() {
            declared(draft, plan, mount)?;
            unique_path(
                container.name,
                mount,
                container.mounts[..at].iter().map(MountView::of),
            )?;
            creatable_in_new(container, mount)?;
        }
    }
    Ok(())
}

fn volume_names(draft: &Draft<'_, '_>, plan: &Edits<'_>) -> Result<(), Violation> {
    for (at, volume) in plan.volumes.iter().enumerate() {
        let repeated = plan.volumes[..at]
            .iter()
            .any(|other| other.name == volume.name);
        if repeated || draft.volume(&volume.name).is_some() {
            return Err(Violation::VolumeName(volume.name.clone().into_owned()));
        }
    }
    Ok(())
}

fn container_names(draft: &Draft<'_, '_>, plan: &Edits<'_>) -> Result<(), Violation> {
    let pod = draft.pod;
    for (at, container) in plan.new_containers().enumerate() {
        let name = container.name;
        let taken = pod.container(name).is_some()
            || pod.init_container(name).is_some()
            || draft
                .edits()
                .new_containers()
                .any(|other| other.name == name)
            || plan
                .new_containers()
                .take(at)
                .any(|other| other.name == name);
        if taken {
            return Err(Violation::ContainerName(name.to_owned()));
        }
    }
    Ok(())
}

fn added_mounts(
    draft: &Draft<'_, '_>,
    plan: &Edits<'_>,
    place: Place,
    added: &[NewMount<'_>],
    on_device: impl Fn(&NewMount<'_>) -> bool,
) -> Result<(), Violation> {
    for (at, mount) in added.iter().enumerate() {
        declared(draft, plan, mount)?;
        let container = draft.name(place);
        let others = draft
            .mounts(place)
            .chain(added[..at].iter().map(MountView::of));
        unique_path(container, mount, others)?;
        if on_device(mount) {
            return Err(Violation::MountPath {
                container: container.to_owned(),
                path: mount.path.clone().into_owned(),
            });
        }
        creatable(draft, place, mount)?;
    }
    Ok(())
}

fn declared(
    draft: &Draft<'_, '_>,
    plan: &Edits<'_>,
    mount: &NewMount<'_>,
) -> Result<(), Violation> {
    let declared = draft.volume(&mount.volume).is_some()
        || plan
            .volumes
            .iter()
            .any(|volume| volume.name == mount.volume);
    if declared {
        return Ok(());
    }
    Err(Violation::UnknownVolume(mount.volume.clone().into_owned()))
}

fn unique_path<'d>(
    container: &str,
    mount: &NewMount<'_>,
    mut others: impl Iterator<Item = MountView<'d>>,
) -> Result<(), Violation> {
    let path = path::mount_point(&mount.path);
    if others.any(|other| other.path == path) {
        return Err(Violation::MountPath {
            container: container.to_owned(),
            path: path.into_owned(),
        });
    }
    Ok(())
}

/// The runtime mounts parents first, whatever the order of the list.
fn creatable_in_new(container: &NewContainer<'_>, mount: &NewMount<'_>) -> Result<(), Violation> {
    let parent = container
        .mounts
        .iter()
        .filter(|other| other.path != mount.path && path::below(&mount.path, &other.path).is_some())
        .max_by_key(|other| other.path.len());
    match parent {
        Some(parent) if parent.read_only => Err(Violation::ReadOnlyParent {
            container: container.name.to_owned(),
            path: mount.path.clone().into_owned(),
            parent: parent.path.clone().into_owned(),
        }),
        _ => Ok(()),
    }
}

fn creatable(draft: &Draft<'_, '_>, place: Place, mount: &NewMount<'_>) -> Result<(), Violation> {
    let Some(parent) = draft.covering(place, &mount.path) else {
        return Ok(());
    };
    let volume = draft.volume(parent.volume);
    if parent.read_only || volume.as_ref().is_some_and(VolumeKind::is_read_only) {
        return Err(Violation::ReadOnlyParent {
            container: draft.name(place).to_owned(),
            path: mount.path.clone().into_owned(),
            parent: parent.path.into_owned(),
        });
    }
    Ok(())
}

impl Violation {
    /// What a person can change.
    pub fn remedy(&self) -> String {
        match self {
            Self::ContainerName(name) => format!("rename your container `{name}`"),
            Self::VolumeName(name) => format!("rename your volume `{name}`"),
            Self::MountPath { path, .. } => format!("mount your volume elsewhere than at {path}"),
            Self::ReadOnlyParent { parent, .. } => format!("make the mount at {parent} writable"),
            Self::UnknownVolume(name) => format!("declare the volume `{name}`"),
            Self::HostPid => "remove hostPID".to_owned(),
            Self::NoContainers => "give the pod a container".to_owned(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ContainerName(name) => {
                write!(f, "the pod already has a container named `{name}`")
            }
            Self::VolumeName(name) => write!(f, "the pod already has a volume named `{name}`"),
            Self::MountPath { container, path } => {
                write!(
                    f,
                    "container `{container}` already has something mounted at `{path}`"
                )
            }
            Self::ReadOnlyParent {
                container,
                path,
                parent,
            } => write!(
                f,
                "container `{container}` mounts `{parent}` read-only, so nothing can be mounted at `{path}`"
            ),
            Self::UnknownVolume(name) => write!(f, "the pod has no volume named `{name}`"),
            Self::HostPid => f.write_str("the pod uses the node's process namespace (hostPID)"),
            Self::NoContainers => f.write_str("the pod has no containers"),
        }
    }
}
