//! The rules of the API server that additions to a pod could break.
//!
//! Features avoid these situations themselves and give better reasons; this is the net below them.
//! The rules are those of `ValidatePodSpec` in
//! <https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go>,
//! plus one of the container runtimes: a mount point can't be created on a read-only mount. Only
//! what is added is judged. A pod that was invalid before is the API server's to refuse.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use crate::json::Str;

use super::FEW;
use super::draft::{Draft, Edits, MountView, Place};
use super::index::PathIndex;
use super::part::{NewContainer, NewMount};
use super::path;
use super::view::{Container, VolumeKind};

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

impl Violation {
    /// The container that breaks the rule, if one does.
    pub fn container(&self) -> Option<&str> {
        match self {
            Self::ContainerName(container)
            | Self::MountPath { container, .. }
            | Self::ReadOnlyParent { container, .. } => Some(container),
            Self::VolumeName(_) | Self::UnknownVolume(_) | Self::HostPid | Self::NoContainers => {
                None
            }
        }
    }
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
    let names = volume_names(draft, plan)?;
    container_names(draft, plan)?;
    let check = Check { draft, plan, names };
    for (index, own) in plan.own.iter().enumerate() {
        let devices = Devices::of(&pod.containers[index], own.mounts.len());
        check.added_mounts(Place::Own(index), &own.mounts, |mount| {
            devices.blocks(mount)
        })?;
    }
    for (index, _) in draft.edits().sidecars.iter().enumerate() {
        let mounts: Vec<_> = plan
            .sidecar_mounts
            .iter()
            .filter(|(at, _)| *at == index)
            .map(|(_, mount)| mount.clone())
            .collect();
        check.added_mounts(Place::Sidecar(index), &mounts, |_| false)?;
    }
    for container in plan.new_containers() {
        check.new_mounts(container)?;
    }
    Ok(())
}

/// A plan and what is looked up in it for each of its mounts.
struct Check<'c, 'd, 'p, 'a> {
    draft: &'c Draft<'d, 'a>,
    plan: &'c Edits<'p>,
    /// Names of added volumes, where there are many.
    names: HashSet<&'c str>,
}

/// The block devices of a container.
enum Devices<'c, 'a> {
    Few(&'c [(Str<'a>, Str<'a>)]),
    Many {
        volumes: HashSet<&'c str>,
        paths: HashSet<Cow<'c, str>>,
    },
}

impl<'c, 'a> Devices<'c, 'a> {
    fn of(container: &'c Container<'a>, questions: usize) -> Self {
        let devices = &container.devices;
        if devices.len() <= FEW || questions <= FEW {
            return Self::Few(devices);
        }
        Self::Many {
            volumes: devices.iter().map(|(volume, _)| volume.as_ref()).collect(),
            paths: devices
                .iter()
                .map(|(_, path)| path::mount_point(path))
                .collect(),
        }
    }

    /// Whether a device stands where the mount would, or is of the same volume.
    fn blocks(&self, mount: &NewMount<'_>) -> bool {
        match self {
            Self::Few(devices) => devices.iter().any(|(volume, path)| {
                path::mount_point(path) == mount.path || *volume == mount.volume
            }),
            Self::Many { volumes, paths } => {
                volumes.contains(mount.volume.as_ref()) || paths.contains(mount.path.as_ref())
            }
        }
    }
}

/// The names of the added volumes, where there are many.
fn volume_names<'c>(
    draft: &Draft<'_, '_>,
    plan: &'c Edits<'_>,
) -> Result<HashSet<&'c str>, Violation> {
    let volumes = &plan.volumes;
    let mut names = HashSet::new();
    for (at, volume) in volumes.iter().enumerate() {
        let name = volume.name.as_ref();
        let repeated = if volumes.len() > FEW {
            !names.insert(name)
        } else {
            volumes[..at].iter().any(|other| other.name == name)
        };
        if repeated || draft.volume(name).is_some() {
            return Err(Violation::VolumeName(name.to_owned()));
        }
    }
    Ok(names)
}

fn container_names(draft: &Draft<'_, '_>, plan: &Edits<'_>) -> Result<(), Violation> {
    let pod = draft.pod;
    // A feature adds one or two.
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

impl Check<'_, '_, '_, '_> {
    fn added_mounts(
        &self,
        place: Place,
        added: &[NewMount<'_>],
        on_device: impl Fn(&NewMount<'_>) -> bool,
    ) -> Result<(), Violation> {
        let draft = self.draft;
        let taken = |mount: &NewMount<'_>| {
            Err(Violation::MountPath {
                container: draft.name(place).to_owned(),
                path: path::mount_point(&mount.path).into_owned(),
            })
        };
        let index = (added.len() > FEW).then(|| PathIndex::new(draft.mounts(place)));
        let mut seen = HashSet::new();
        for (at, mount) in added.iter().enumerate() {
            self.declared(mount)?;
            let path = path::mount_point(&mount.path);
            let repeated = match &index {
                Some(index) => index.at(&path).is_some() || !seen.insert(path),
                None => draft
                    .mounts(place)
                    .chain(added[..at].iter().map(MountView::of))
                    .any(|other| other.path == path),
            };
            if repeated || on_device(mount) {
                return taken(mount);
            }
            let parent = match &index {
                Some(index) => index.covering(&mount.path).cloned(),
                None => draft.covering(place, &mount.path),
            };
            creatable(draft, place, mount, parent)?;
        }
        Ok(())
    }

    fn new_mounts(&self, container: &NewContainer<'_>) -> Result<(), Violation> {
        let mounts = &container.mounts;
        let index = (mounts.len() > FEW).then(|| PathIndex::new(mounts.iter().map(MountView::of)));
        let mut seen = HashSet::new();
        for (at, mount) in mounts.iter().enumerate() {
            self.declared(mount)?;
            let path = path::mount_point(&mount.path);
            let repeated = if index.is_some() {
                !seen.insert(path)
            } else {
                let mut others = mounts[..at].iter().map(MountView::of);
                others.any(|other| other.path == path)
            };
            if repeated {
                return Err(Violation::MountPath {
                    container: container.name.to_owned(),
                    path: path::mount_point(&mount.path).into_owned(),
                });
            }
            // The runtime mounts parents first, whatever the order of the list.
            let is_above = |other: &&NewMount<'_>| {
                other.path != mount.path && path::below(&mount.path, &other.path).is_some()
            };
            let parent = match &index {
                Some(index) => index.above(&mount.path).next().cloned(),
                None => {
                    let above = mounts.iter().filter(is_above);
                    above
                        .max_by_key(|other| other.path.len())
                        .map(MountView::of)
                }
            };
            if let Some(parent) = parent.filter(|parent| parent.read_only) {
                return Err(Violation::ReadOnlyParent {
                    container: container.name.to_owned(),
                    path: mount.path.clone().into_owned(),
                    parent: parent.path.into_owned(),
                });
            }
        }
        Ok(())
    }

    fn declared(&self, mount: &NewMount<'_>) -> Result<(), Violation> {
        let name = mount.volume.as_ref();
        let volumes = &self.plan.volumes;
        let added = if volumes.len() > FEW {
            self.names.contains(name)
        } else {
            volumes.iter().any(|volume| volume.name == name)
        };
        if added || self.draft.volume(name).is_some() {
            return Ok(());
        }
        Err(Violation::UnknownVolume(name.to_owned()))
    }
}

fn creatable(
    draft: &Draft<'_, '_>,
    place: Place,
    mount: &NewMount<'_>,
    parent: Option<MountView<'_>>,
) -> Result<(), Violation> {
    let Some(parent) = parent else {
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
