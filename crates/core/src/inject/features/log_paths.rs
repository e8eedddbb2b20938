//! From log file patterns to mounts: each directory must be one volume that the writing containers
//! and the sidecar share.
//!
//! Where a container already has an `emptyDir` there, or further up, the sidecar gets that volume,
//! at the path where the container has it: with a `subPath` of its own the kubelet would make a
//! directory in the user's volume, maybe before `git clone` or `initdb` find it not empty. Where
//! something else is mounted there, the pattern is skipped: a new volume would hide data that is
//! meant to stay. Everywhere else a new `emptyDir` is mounted into all containers, unless it would
//! hide what one of them runs or reads.

use std::collections::{HashMap, HashSet};

use crate::json::Str;
use crate::pod::draft::MountView;
use crate::pod::hiding::{Directories, Hidden};
use crate::pod::index::{FEW, Located, PathIndex, PlaceIndex};
use crate::pod::limits::Cost;
use crate::pod::part::{NewMount, NewVolume, NewVolumeSource};
use crate::pod::path::{below, mount_point};
use crate::pod::view::{Container, Mount};
use crate::pod::{Draft, Edits, Place, VolumeKind};

use super::super::SIDECARS;
use super::directory::{directories, fits_the_sidecar, may_hold_files};
use crate::inject::note::{self, Note, PathProblem};
use crate::inject::reason::Reason;

/// Name of the volumes that are added, followed by a number.
pub(super) const VOLUME_PREFIX: &str = "datakit-logfwd-volume-";

/// How the files of one directory reach the sidecar.
enum Source<'d> {
    /// A volume of the pod's own, as a container mounts it, and that container.
    Existing(Place, MountView<'d>),
    /// A new volume.
    New,
}

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
pub(crate) fn plan<'p>(
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
                for (at, container) in draft.pod.containers.iter().enumerate() {
                    if !SIDECARS.contains(&container.name.as_ref()) {
                        edits.mount(Place::Own(at), mount.clone());
                    }
                }
                sidecar.mounts.push(mount);
                sidecar.from.push(None);
            }
        }
    }
    let mounts = sidecar.done(notes);
    there.complete(&ours, edits);
    Ok(for_sidecar(&mounts))
}

fn skip(notes: &mut Vec<Note>, pattern: &str, problem: PathProblem) {
    note::add(notes, Note::LOG_PATH_SKIPPED, || Note::LogPathSkipped {
        path: pattern.to_owned(),
        problem,
    });
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
    for (at, container) in draft.pod.containers.iter().enumerate() {
        if SIDECARS.contains(&container.name.as_ref()) {
            continue;
        }
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
pub(crate) fn repair<'p>(
    draft: &Draft<'p, '_>,
    sidecar: &'p Container<'_>,
    patterns: &[Str<'_>],
    edits: &mut Edits<'p>,
) -> Result<(), Reason> {
    let directories = directories(patterns, &mut Vec::new());
    let directories: HashSet<&str> = directories.iter().map(|(_, path)| path.as_str()).collect();
    let is_ours = |mount: &&Mount<'_>| {
        mount.volume.starts_with(VOLUME_PREFIX)
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

/// The mounts of the sidecar as they are gathered.
struct SidecarMounts<'c, 'd, 'p, 'a> {
    there: &'c Containers<'d, 'p, 'a>,
    native: bool,
    mounts: Vec<NewMount<'p>>,
    /// For each that is the pod's own volume the pattern that asks for it, and the container that
    /// has it.
    from: Vec<Option<(&'c str, Place)>>,
    /// The pod's own volumes among them by path: their positions.
    by_path: HashMap<String, usize>,
    /// The only `subPath` by which a volume is mounted; nothing where there are several. Looked up
    /// when needed.
    sub_paths: Option<HashMap<&'p str, Option<&'p str>>>,
}

impl<'c, 'd, 'p, 'a> SidecarMounts<'c, 'd, 'p, 'a> {
    fn new(there: &'c Containers<'d, 'p, 'a>, native: bool) -> Self {
        Self {
            there,
            native,
            mounts: Vec::new(),
            from: Vec::new(),
            by_path: HashMap::new(),
            sub_paths: None,
        }
    }

    /// Adds a volume of the pod's as a container mounts it.
    fn add_existing(
        &mut self,
        pattern: &'c str,
        place: Place,
        cover: &MountView<'_>,
    ) -> Result<(), PathProblem> {
        let taken = |what| PathProblem::Taken {
            container: self.there.draft.name(place).to_owned(),
            what,
            path: cover.path.clone().into_owned(),
        };
        if let Some(known) = self.by_path.get(cover.path.as_ref()) {
            let known = &self.mounts[*known];
            let is_same = known.volume == cover.volume && known.sub_path == cover.sub_path;
            return if is_same {
                Ok(())
            } else {
                Err(taken("emptyDir"))
            };
        }
        fits_the_sidecar(&cover.path)?;
        let mount = NewMount {
            volume: cover.volume.to_owned().into(),
            path: cover.path.clone().into_owned().into(),
            sub_path: cover.sub_path.to_owned().into(),
            read_only: false,
        };
        if !cover.sub_path.is_empty() && self.native && !self.is_only_sub_path(&mount) {
            return Err(taken("subPath"));
        }
        self.by_path
            .insert(cover.path.clone().into_owned(), self.mounts.len());
        self.mounts.push(mount);
        self.from.push(Some((pattern, place)));
        Ok(())
    }

    /// The mounts, without those that need a mount point in a volume of the pod's which wouldn't be
    /// there without them: whoever has that volume may not expect a directory in it.
    fn done(self, notes: &mut Vec<Note>) -> Vec<NewMount<'p>> {
        let all = PathIndex::new(self.mounts.iter().map(Mounted));
        let mut kept = Vec::with_capacity(self.mounts.len());
        for (mount, from) in self.mounts.iter().zip(&self.from) {
            let outer = all.above(&mount.path).next();
            let own = outer.filter(|outer| self.by_path.contains_key(outer.path()));
            match (from, own) {
                (Some((pattern, place)), Some(Mounted(outer)))
                    if !self.there.mounts_both(mount, outer) =>
                {
                    let problem = PathProblem::Taken {
                        container: self.there.draft.name(*place).to_owned(),
                        what: "emptyDir",
                        path: mount.path.clone().into_owned(),
                    };
                    skip(notes, pattern, problem);
                }
                _ => kept.push(mount.clone()),
            }
        }
        kept
    }

    /// Whether everybody who mounts a volume, init containers included, mounts the same directory
    /// of it. The sidecar, which starts first, has the kubelet make that directory.
    fn is_only_sub_path(&mut self, mount: &NewMount<'_>) -> bool {
        let pod = self.there.draft.pod;
        let known = self.sub_paths.get_or_insert_with(|| {
            let mut known: HashMap<&str, Option<&str>> = HashMap::new();
            for mount in (pod.containers.iter().chain(&pod.init_containers)).flat_map(|c| &c.mounts)
            {
                let path = (!mount.sub_path_expr).then_some(mount.sub_path.as_ref());
                let only = known.entry(&mount.volume).or_insert(path);
                *only = only.filter(|only| path == Some(only));
            }
            known
        });
        known.get(mount.volume.as_ref()) == Some(&Some(mount.sub_path.as_ref()))
    }
}

/// The containers of a draft and what stands where in them.
struct Containers<'d, 'p, 'a> {
    draft: &'d Draft<'p, 'a>,
    /// In the order of [`Draft::places`]; empty where few questions will be asked.
    indexes: Vec<PlaceIndex<'d>>,
}

impl<'d, 'p, 'a> Containers<'d, 'p, 'a> {
    fn new(draft: &'d Draft<'p, 'a>, questions: usize) -> Self {
        let indexes = if questions > FEW {
            let places = draft.places();
            places.map(|place| PlaceIndex::new(draft, place)).collect()
        } else {
            Vec::new()
        };
        Self { draft, indexes }
    }

    fn covering(&self, at: usize, place: Place, path: &str) -> Option<MountView<'d>> {
        match self.indexes.get(at) {
            Some(index) => index.mounts.covering(path).cloned(),
            None => self.draft.covering(place, path),
        }
    }

    fn has_device(&self, at: usize, path: &str) -> bool {
        match self.indexes.get(at) {
            Some(index) => index.has_device(path),
            None => {
                let devices = &self.draft.pod.containers[at].devices;
                devices
                    .iter()
                    .any(|(_, device)| mount_point(device) == path)
            }
        }
    }

    fn mounts_volume(&self, at: usize, place: Place, volume: &str) -> bool {
        match self.indexes.get(at) {
            Some(index) => index.mounts_volume(volume),
            None => self.draft.mounts(place).any(|mount| mount.volume == volume),
        }
    }

    /// Whether a container has both mounts, so that the one is there for the other in any case.
    fn mounts_both(&self, one: &NewMount<'_>, other: &NewMount<'_>) -> bool {
        let has = |at: usize, mount: &NewMount<'_>| {
            let there = self.covering(at, Place::Own(at), &mount.path);
            there.is_some_and(|there| there.path == mount.path && is_same(&there, mount))
        };
        let containers = 0..self.draft.pod.containers.len();
        containers
            .into_iter()
            .any(|at| has(at, one) && has(at, other))
    }

    /// Mounts volumes under our names, given with their paths, into the containers that lack them,
    /// unless they would hide something there.
    fn complete(&self, ours: &[(&str, &str)], edits: &mut Edits<'p>) {
        let places = Directories::new(ours.iter().map(|(_, path)| *path));
        for (at, container) in self.draft.pod.containers.iter().enumerate() {
            if SIDECARS.contains(&container.name.as_ref()) {
                continue;
            }
            let place = Place::Own(at);
            let mut hidden = None;
            for (number, (volume, path)) in ours.iter().enumerate() {
                let is_there = self.covering(at, place, path).is_some()
                    || self.has_device(at, path)
                    || self.mounts_volume(at, place, volume);
                if is_there {
                    continue;
                }
                let hidden = hidden.get_or_insert_with(|| places.hidden(container, |_| false));
                if hidden[number].is_none() {
                    edits.mount(
                        place,
                        NewMount::new((*volume).to_owned(), (*path).to_owned()),
                    );
                }
            }
        }
    }

    /// Notes whose files in a directory the sidecar doesn't see. A volume of the pod's own isn't
    /// mounted where its author didn't: the container may have something of its image's there. One
    /// that mounts the volume elsewhere has its own use for it.
    fn note_unshared(&self, directory: &str, cover: &MountView<'_>, notes: &mut Vec<Note>) {
        let shown = NewMount {
            volume: cover.volume.into(),
            path: directory.into(),
            sub_path: place_in_volume(cover, directory).into(),
            read_only: false,
        };
        for (at, container) in self.draft.pod.containers.iter().enumerate() {
            if SIDECARS.contains(&container.name.as_ref()) {
                continue;
            }
            let place = Place::Own(at);
            let container = || container.name.clone().into_owned();
            match self.covering(at, place, directory) {
                Some(own) if is_same(&own, &shown) => {}
                Some(own) => note::add(notes, Note::NOT_SHARED, || Note::NotShared {
                    container: container(),
                    path: own.path.into_owned(),
                }),
                None if self.mounts_volume(at, place, cover.volume) => {}
                None => note::add(notes, Note::NOT_MOUNTED, || Note::NotMounted {
                    container: container(),
                    volume: cover.volume.to_owned(),
                    path: directory.to_owned(),
                }),
            }
        }
    }

    /// Where the files of a directory are to come from.
    fn source(&self, directory: &str) -> Result<Source<'d>, PathProblem> {
        let draft = self.draft;
        let taken = |place, what, path: &str| PathProblem::Taken {
            container: draft.name(place).to_owned(),
            what,
            path: path.to_owned(),
        };
        for at in 0..draft.pod.containers.len() {
            if self.has_device(at, directory) {
                return Err(taken(Place::Own(at), "block device", directory));
            }
        }
        let mut other = None;
        for (at, place) in draft.places().enumerate() {
            let Some(cover) = self.covering(at, place, directory) else {
                continue;
            };
            let kind = draft.volume(cover.volume).unwrap_or(VolumeKind::Other);
            if kind == VolumeKind::EmptyDir && !cover.sub_path_expr {
                return Ok(Source::Existing(place, cover));
            }
            let what = if cover.sub_path_expr {
                "subPathExpr"
            } else {
                kind.as_str()
            };
            other.get_or_insert_with(|| taken(place, what, &cover.path));
        }
        if let Some(problem) = other {
            return Err(problem);
        }
        Ok(Source::New)
    }
}

/// A mount to add, by its path.
struct Mounted<'m, 'p>(&'m NewMount<'p>);

impl Located for Mounted<'_, '_> {
    fn path(&self) -> &str {
        &self.0.path
    }
}

/// Whether a container sees at the mount's path what the mount would show there.
fn is_same(cover: &MountView<'_>, mount: &NewMount<'_>) -> bool {
    cover.volume == mount.volume
        && !cover.sub_path_expr
        && place_in_volume(cover, &mount.path) == mount.sub_path
}

/// Whether a volume has one of our names: it is treated as ours, as it will be when the pod is
/// injected again.
fn is_named_as_ours(cover: &MountView<'_>, prefix: &str) -> bool {
    cover.volume.starts_with(prefix) && cover.sub_path.is_empty()
}

/// Where in its volume a directory is that a mount covers.
fn place_in_volume(cover: &MountView<'_>, directory: &str) -> String {
    let rest = below(directory, &cover.path).unwrap_or_default();
    let parts = [cover.sub_path.trim_end_matches('/'), rest];
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("/")
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
