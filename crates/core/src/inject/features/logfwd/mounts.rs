//! From log file patterns to mounts: each directory must be one volume that the writing containers and the sidecar
//! share.
//!
//! Where a container already has an `emptyDir` there, or further up, that volume is shared. Where something else is
//! mounted there, the pattern is skipped: a new volume would hide data that is meant to stay. Everywhere else a new
//! `emptyDir` is mounted into all containers.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::json::Str;
use crate::pod::draft::MountView;
use crate::pod::index::{FEW, PathIndex, PlaceIndex};
use crate::pod::limits::Cost;
use crate::pod::part::{NewMount, NewVolume, NewVolumeSource};
use crate::pod::path::{below, clean, mount_point};
use crate::pod::view::{Container, Mount};
use crate::pod::{Draft, Edits, Place, VolumeKind};

use super::super::SIDECARS;
use crate::inject::note::{self, Note, PathProblem};
use crate::inject::reason::Reason;

/// Where the sidecar has the pod's labels.
pub(super) const POD_INFO_PATH: &str = "/etc/podinfo";

/// Name of the volumes that are added, followed by a number.
pub(super) const VOLUME_PREFIX: &str = "datakit-logfwd-volume-";

/// Directories that containers can't do without, so that nothing may be mounted over them.
const SYSTEM: [&str; 14] = [
    "/", "/bin", "/boot", "/etc", "/home", "/lib", "/lib32", "/lib64", "/root", "/run", "/sbin",
    "/usr", "/var", "/var/run",
];

/// Directories that the kernel or the kubelet provides, with all below them.
const PROVIDED: [&str; 5] = ["/dev", "/proc", "/sys", "/run/secrets", "/var/run/secrets"];

/// The longest path that a program can open, and so the longest at which anything is mounted
/// (`PATH_MAX` in <https://man7.org/linux/man-pages/man3/realpath.3.html>, with its end).
const LONGEST_PATH: usize = 4095;

/// Where the sidecar's image has its program.
const PROGRAM: &str = "/opt/logfwd";

/// How the files of one directory reach the sidecar.
enum Source {
    /// A volume of the pod's own, and the place of the directory in it.
    Existing { volume: String, sub_path: String },
    /// A new volume.
    New,
}

/// Plans the volumes and mounts of the pod's own containers, and returns the mounts of the sidecar. New volumes are named
/// by `prefix` and a number.
///
/// # Errors
/// The limit that a mount of every directory in every container exceeds.
pub(crate) fn plan<'p>(
    draft: &Draft<'p, '_>,
    patterns: &[Str<'_>],
    prefix: &str,
    edits: &mut Edits<'p>,
    notes: &mut Vec<Note>,
) -> Result<Vec<NewMount<'p>>, Reason> {
    let directories = directories(patterns, notes);
    affordable(draft, directories.iter().map(|(_, directory)| &**directory))?;
    let there = Containers::new(draft, directories.len());
    let mut found: Vec<(usize, &str, Source)> = Vec::new();
    for (index, (pattern, directory)) in directories.iter().enumerate() {
        match there.source(directory) {
            Ok(source) => found.push((index, directory, source)),
            Err(problem) => note::add(notes, Note::LOG_PATH_SKIPPED, || Note::LogPathSkipped {
                path: (*pattern).to_owned(),
                problem,
            }),
        }
    }
    let new = PathIndex::new(
        found
            .iter()
            .filter(|(.., source)| matches!(source, Source::New))
            .map(|(_, directory, _)| *directory),
    );
    let mut mounts: Vec<NewMount<'p>> = Vec::new();
    for (index, directory, source) in &found {
        let (volume, sub_path) = match source {
            Source::Existing { volume, sub_path } => (volume.clone(), sub_path.clone()),
            // One volume further up holds this directory too.
            Source::New if new.above(directory).next().is_some() => continue,
            Source::New => {
                let name = free_name(draft, prefix, *index);
                edits.volumes.push(NewVolume {
                    name: name.clone().into(),
                    source: NewVolumeSource::EmptyDir,
                });
                (name, String::new())
            }
        };
        let mount = NewMount {
            volume: volume.into(),
            path: (*directory).to_owned().into(),
            sub_path: sub_path.into(),
            read_only: false,
        };
        there.share(&mount, edits, notes);
        mounts.push(mount);
    }
    Ok(for_sidecar(&mounts))
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

/// The sidecar only reads, except where a mount point has to be made for a directory further down. What a mount further
/// up shows anyway needs none of its own.
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

/// Gives containers that were added since what the sidecar reads from.
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
    let is_shared = |mount: &&Mount<'_>| {
        directories.contains(mount.path.as_ref())
            && !mount.sub_path_expr
            && draft.volume(&mount.volume) == Some(VolumeKind::EmptyDir)
    };
    let shared: Vec<_> = sidecar.mounts.iter().filter(is_shared).collect();
    affordable(draft, shared.iter().map(|mount| mount.path.as_ref()))?;
    let there = Containers::new(draft, shared.len());
    for mount in shared {
        let mount = NewMount {
            volume: mount.volume.as_ref().into(),
            path: mount.path.as_ref().into(),
            sub_path: mount.sub_path.as_ref().into(),
            read_only: false,
        };
        there.share(&mount, edits, &mut Vec::new());
    }
    Ok(())
}

/// The containers of a draft and what stands where in them.
struct Containers<'d, 'p, 'a> {
    draft: &'d Draft<'p, 'a>,
    /// In the order of [`Draft::places`]; empty where few questions will be asked.
    indexes: Vec<PlaceIndex<'d>>,
    /// What a volume must not hide: container, what it is, and its path.
    needed: Vec<(usize, &'static str, Cow<'d, str>)>,
}

impl<'d, 'p, 'a> Containers<'d, 'p, 'a> {
    fn new(draft: &'d Draft<'p, 'a>, questions: usize) -> Self {
        let mut needed = Vec::new();
        for (index, container) in draft.pod.containers.iter().enumerate() {
            for (what, path) in [
                ("program", &container.program),
                ("working directory", &container.working_dir),
            ] {
                if path.starts_with('/') {
                    needed.push((index, what, clean(path)));
                }
            }
        }
        let indexes = if questions > FEW {
            let places = draft.places();
            places.map(|place| PlaceIndex::new(draft, place)).collect()
        } else {
            Vec::new()
        };
        Self {
            draft,
            indexes,
            needed,
        }
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

    /// Mounts a volume into every container that has nothing there. A container that mounts it
    /// elsewhere has its own use for it and is left alone.
    fn share(&self, mount: &NewMount<'p>, edits: &mut Edits<'p>, notes: &mut Vec<Note>) {
        for (at, container) in self.draft.pod.containers.iter().enumerate() {
            if SIDECARS.contains(&container.name.as_ref()) {
                continue;
            }
            let place = Place::Own(at);
            match self.covering(at, place, &mount.path) {
                Some(cover) if is_same(&cover, mount) => {}
                Some(cover) => note::add(notes, Note::NOT_SHARED, || Note::NotShared {
                    container: container.name.clone().into_owned(),
                    path: cover.path.into_owned(),
                }),
                None if self.mounts_volume(at, place, &mount.volume) => {}
                None => edits.mount(place, mount.clone()),
            }
        }
    }

    /// Where the files of a directory are to come from.
    fn source(&self, directory: &str) -> Result<Source, PathProblem> {
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
                return Ok(Source::Existing {
                    volume: cover.volume.to_owned(),
                    sub_path: place_in_volume(&cover, directory),
                });
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
        let hidden = self
            .needed
            .iter()
            .find(|(.., path)| below(path, directory).is_some());
        if let Some((at, what, _)) = hidden {
            return Err(PathProblem::Hides {
                container: draft.name(Place::Own(*at)).to_owned(),
                directory: directory.to_owned(),
                what,
            });
        }
        Ok(Source::New)
    }
}

/// Whether a container sees at the mount's path what the mount would show there.
fn is_same(cover: &MountView<'_>, mount: &NewMount<'_>) -> bool {
    cover.volume == mount.volume
        && !cover.sub_path_expr
        && place_in_volume(cover, &mount.path) == mount.sub_path
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

/// The directories to share, with the pattern each came from: first seen first, no repetitions.
fn directories<'t>(patterns: &'t [Str<'_>], notes: &mut Vec<Note>) -> Vec<(&'t str, String)> {
    let mut known: HashSet<String> = HashSet::new();
    let mut directories: Vec<(&str, String)> = Vec::new();
    for pattern in patterns {
        match directory(pattern) {
            Ok(directory) => {
                if known.insert(directory.clone()) {
                    directories.push((pattern, directory));
                }
            }
            Err(problem) => note::add(notes, Note::LOG_PATH_SKIPPED, || Note::LogPathSkipped {
                path: pattern.clone().into_owned(),
                problem,
            }),
        }
    }
    directories
}

/// The directory of a file pattern: what stands before the first part with a wildcard or variable, or before the file
/// name.
fn directory(pattern: &str) -> Result<String, PathProblem> {
    if !pattern.starts_with('/') {
        return Err(PathProblem::Relative);
    }
    if pattern.contains(|character: char| character == ':' || character.is_control()) {
        return Err(PathProblem::Unmountable);
    }
    let wildcard = pattern.find(['*', '?', '[', '{']);
    let variable = pattern.find("$(");
    let end = wildcard.into_iter().chain(variable).min();
    let literal = end.map_or(pattern, |at| &pattern[..at]);
    let parent = literal.rfind('/').map_or("", |at| &literal[..at]);
    let directory = clean(if parent.is_empty() { "/" } else { parent }).into_owned();
    if directory.len() > LONGEST_PATH {
        return Err(PathProblem::TooLong);
    }
    let provided = PROVIDED.iter().any(|up| below(&directory, up).is_some());
    if provided || SYSTEM.contains(&directory.as_str()) {
        return Err(PathProblem::System(directory));
    }
    for needed in [PROGRAM, POD_INFO_PATH] {
        if below(&directory, needed).is_some() || below(needed, &directory).is_some() {
            return Err(PathProblem::Sidecar(needed.to_owned()));
        }
    }
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::directory;

    #[test]
    fn directory_of_a_pattern() {
        for (pattern, expected) in [
            ("/var/log/nginx/*.log", Some("/var/log/nginx")),
            ("/data/logs/**/123", Some("/data/logs")),
            ("/data/app-*/x.log", Some("/data")),
            ("/var/log/app.log", Some("/var/log")),
            ("/var/log", None),
            ("/data/logs/", Some("/data/logs")),
            ("/*.log", None),
            ("/", None),
            ("", None),
            ("*.log", None),
            ("*/logs", None),
            ("x/y.log", None),
            ("/var/log/app-?/x.log", Some("/var/log")),
            ("/a/[ab]/x", Some("/a")),
            ("/a/{b,c}/x", Some("/a")),
            ("/a/../../etc/x.log", None),
            ("/proc/1/fd/*", None),
            ("/dev/shm/app/*.log", None),
            ("/a:b/x.log", None),
            ("/var/log/$(POD_NAME)/*.log", Some("/var/log")),
            ("/a$b/c/*.log", Some("/a$b/c")),
            ("/opt/*.log", None),
            ("/opt/logfwd/x.log", None),
            ("/opt/app/x.log", Some("/opt/app")),
            ("/etc/podinfo/x.log", None),
            ("/etc/app/x.log", Some("/etc/app")),
            ("/var/run/*.log", None),
            ("/var/run/secrets/x/*.log", None),
        ] {
            assert_eq!(directory(pattern).ok().as_deref(), expected, "{pattern}");
        }
    }
}
