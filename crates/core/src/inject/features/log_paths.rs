//! From log file patterns to mounts, for features that collect files: each directory must be one
//! volume that the writing containers and the sidecar share.
//!
//! Where a container already has an `emptyDir` there, or further up, the sidecar gets that volume,
//! at the path where the container has it: with a `subPath` of its own the kubelet would make a
//! directory in the user's volume, maybe before `git clone` or `initdb` find it not empty. Where
//! something else is mounted there, the pattern is skipped: a new volume would hide data that is
//! meant to stay. Everywhere else a new `emptyDir` is mounted into all containers, unless it would
//! hide what one of them runs or reads.

mod containers;
mod directory;
mod sidecar_mounts;

use std::collections::HashSet;

use crate::json::Str;
use crate::pod::draft::MountView;
use crate::pod::hiding::{Directories, Hidden};
use crate::pod::index::PathIndex;
use crate::pod::limits::Cost;
use crate::pod::part::{NewMount, NewVolume, NewVolumeSource};
use crate::pod::view::{Container, Mount};
use crate::pod::{Draft, Edits, Place, VolumeKind};

use super::application;
use crate::inject::note::{self, Note, PathProblem};
use crate::inject::reason::Reason;
use containers::{Containers, Source, is_same};
use directory::{directories, may_hold_files, skip};
use sidecar_mounts::SidecarMounts;

pub(super) use directory::POD_INFO_PATH;

/// A directory, its place among all, and the pattern that it came from.
struct Wanted<'d> {
    index: usize,
    pattern: &'d str,
    directory: &'d str,
    source: Source<'d>,
}

/// Plans the volumes and mounts of the pod's own containers, and returns the mounts of the sidecar.
/// New volumes are named by `prefix` and a number. `native` says that the sidecar starts before
/// everything else.
///
/// # Errors
/// The limit that a mount of every directory in every container exceeds.
pub(super) fn plan<'p>(
    draft: &Draft<'p, '_>,
    patterns: &[Str<'_>],
    prefix: &str,
    native: bool,
    edits: &mut Edits<'p>,
    notes: &mut Vec<Note>,
) -> Result<Vec<NewMount<'p>>, Reason> {
    let directories = directories(patterns, notes);
    affordable(draft, directories.iter().map(|(_, directory)| &**directory))?;
    let there = Containers::new(draft, directories.len());
    let mut wanted: Vec<Wanted<'_>> = Vec::new();
    for (index, (pattern, directory)) in directories.iter().enumerate() {
        match there.source(directory) {
            Ok(source) => wanted.push(Wanted {
                index,
                pattern,
                directory,
                source,
            }),
            Err(problem) => skip(notes, pattern, problem),
        }
    }
    leave_out_hiding(draft, patterns, &mut wanted, notes);
    let is_new = |wanted: &&Wanted<'_>| matches!(wanted.source, Source::New);
    let new = PathIndex::new(wanted.iter().filter(is_new).map(|wanted| wanted.directory));
    let mut sidecar = SidecarMounts::new(&there, native);
    let mut ours: Vec<(&str, &str)> = Vec::new();
    for wanted in &wanted {
        match &wanted.source {
            Source::Existing(place, cover) => {
                match sidecar.add_existing(wanted.pattern, *place, cover) {
                    Ok(()) if is_named_as_ours(cover, prefix) && cover.path == wanted.directory => {
                        ours.push((cover.volume, wanted.directory));
                    }
                    Ok(()) => there.note_unshared(wanted.directory, cover, notes),
                    Err(problem) => skip(notes, wanted.pattern, problem),
                }
            }
            // One volume further up holds this directory too.
            Source::New if new.above(wanted.directory).next().is_some() => {}
            Source::New => {
                let name = free_name(draft, prefix, wanted.index);
                edits.volumes.push(NewVolume {
                    name: name.clone().into(),
                    source: NewVolumeSource::EmptyDir,
                });
                if may_hold_files(wanted.directory) {
                    note::add(notes, Note::MAY_HIDE, || Note::MayHide {
                        directory: wanted.directory.to_owned(),
                    });
                }
                let mount = NewMount::new(name, wanted.directory.to_owned());
                for (at, _) in application(draft.pod) {
                    edits.mount(Place::Own(at), mount.clone());
                }
                sidecar.add_new(mount);
            }
        }
    }
    let mounts = sidecar.done(notes);
    there.complete(&ours, edits);
    Ok(for_sidecar(&mounts))
}

/// Leaves out new volumes that would hide what a container runs or reads.
fn leave_out_hiding(
    draft: &Draft<'_, '_>,
    patterns: &[Str<'_>],
    wanted: &mut Vec<Wanted<'_>>,
    notes: &mut Vec<Note>,
) {
    let is_new = |wanted: &&Wanted<'_>| matches!(wanted.source, Source::New);
    let new = || wanted.iter().filter(is_new);
    let count = new().count();
    if count == 0 {
        return;
    }
    let places = Directories::new(new().map(|wanted| wanted.directory));
    let collected: HashSet<&str> = patterns.iter().map(AsRef::as_ref).collect();
    let mut hidden: Vec<Option<(usize, Hidden)>> = Vec::new();
    hidden.resize_with(count, || None);
    for (at, container) in application(draft.pod) {
        let found = places.hidden(container, |path| collected.contains(path));
        for (known, found) in hidden.iter_mut().zip(found) {
            if known.is_none() {
                *known = found.map(|found| (at, found));
            }
        }
    }
    let mut hidden = hidden.into_iter();
    wanted.retain(|wanted| {
        if !matches!(wanted.source, Source::New) {
            return true;
        }
        let Some((at, hidden)) = hidden.next().flatten() else {
            return true;
        };
        let problem = PathProblem::Hides {
            container: draft.name(Place::Own(at)).to_owned(),
            directory: wanted.directory.to_owned(),
            what: hidden.what,
            path: hidden.path,
        };
        skip(notes, wanted.pattern, problem);
        false
    });
}

/// Each directory may need a mount in each container. What would be more than a patch may have
/// isn't begun.
fn affordable<'d>(
    draft: &Draft<'_, '_>,
    directories: impl Iterator<Item = &'d str>,
) -> Result<(), Reason> {
    let containers = draft.pod.containers.len();
    let mut cost = Cost::default();
    for directory in directories {
        cost.operations += containers;
        cost.bytes += containers * directory.len();
    }
    // The object's size is looked at once it is known what is added to it.
    draft.limits.allow(0, cost).map_err(Reason::PodTooLarge)
}

/// The sidecar only reads, except where a mount point has to be made for a directory further down.
/// What a mount further up shows anyway needs none of its own.
fn for_sidecar<'p>(mounts: &[NewMount<'p>]) -> Vec<NewMount<'p>> {
    let all = PathIndex::new(mounts.iter().map(MountView::of));
    let shown = |mount: &NewMount<'_>| all.above(&mount.path).any(|up| is_same(up, mount));
    let needed: Vec<NewMount<'p>> = mounts
        .iter()
        .filter(|mount| !shown(mount))
        .cloned()
        .collect();
    let index = PathIndex::new(needed.iter().map(MountView::of));
    let read_only: Vec<bool> = needed
        .iter()
        .map(|mount| !index.holds(&mount.path))
        .collect();
    let both = needed.iter().cloned().zip(read_only);
    both.map(|(mount, read_only)| NewMount { read_only, ..mount })
        .collect()
}

/// Gives containers that were added since the volumes that injection made. A volume of the pod's
/// own is in the containers that its author wanted it in.
///
/// # Errors
/// The limit that a mount of every directory in every container exceeds.
pub(super) fn repair<'p>(
    draft: &Draft<'p, '_>,
    sidecar: &'p Container<'_>,
    patterns: &[Str<'_>],
    prefix: &str,
    edits: &mut Edits<'p>,
) -> Result<(), Reason> {
    let directories = directories(patterns, &mut Vec::new());
    let directories: HashSet<&str> = directories.iter().map(|(_, path)| path.as_str()).collect();
    let is_ours = |mount: &&Mount<'_>| {
        mount.volume.starts_with(prefix)
            && directories.contains(mount.path.as_ref())
            && mount.sub_path.is_empty()
            && !mount.sub_path_expr
            && draft.volume(&mount.volume) == Some(VolumeKind::EmptyDir)
    };
    let ours = sidecar.mounts.iter().filter(is_ours);
    let ours: Vec<(&str, &str)> = ours
        .map(|mount| (mount.volume.as_ref(), mount.path.as_ref()))
        .collect();
    affordable(draft, ours.iter().map(|(_, path)| *path))?;
    Containers::new(draft, ours.len()).complete(&ours, edits);
    Ok(())
}

/// Whether a volume has one of our names: it is treated as ours, as it will be when the pod is
/// injected again.
fn is_named_as_ours(cover: &MountView<'_>, prefix: &str) -> bool {
    cover.volume.starts_with(prefix) && cover.sub_path.is_empty()
}

/// The documented name, unless the pod has a volume of that name for something else.
fn free_name(draft: &Draft<'_, '_>, prefix: &str, index: usize) -> String {
    let documented = format!("{prefix}{index}");
    let others = (1..).map(|n| format!("{documented}-{n}"));
    let mut names = std::iter::once(documented.clone()).chain(others);
    names
        .find(|name| draft.volume(name).is_none())
        .unwrap_or(documented)
}
