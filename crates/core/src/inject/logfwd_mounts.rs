//! From log file patterns to mounts: each directory must be one volume that the writing containers and the sidecar
//! share.
//!
//! Where a container already has an `emptyDir` there, or further up, that volume is shared. Where something else is
//! mounted there, the pattern is skipped: a new volume would hide data that is meant to stay. Everywhere else a new
//! `emptyDir` is mounted into all containers.

use crate::pod::draft::MountView;
use crate::pod::part::{NewMount, NewVolume, NewVolumeSource};
use crate::pod::path::{below, clean, mount_point};
use crate::pod::view::Container;
use crate::pod::{Draft, Edits, Place, VolumeKind};

use super::SIDECARS;
use super::logfwd::POD_INFO_PATH;
use super::note::{Note, PathProblem};

const VOLUME_PREFIX: &str = "datakit-logfwd-volume-";

/// Directories that containers can't do without, so that nothing may be mounted over them.
const SYSTEM: [&str; 14] = [
    "/", "/bin", "/boot", "/etc", "/home", "/lib", "/lib32", "/lib64", "/root", "/run", "/sbin",
    "/usr", "/var", "/var/run",
];

/// Directories that the kernel or the kubelet provides, with all below them.
const PROVIDED: [&str; 5] = ["/dev", "/proc", "/sys", "/run/secrets", "/var/run/secrets"];

/// Where the sidecar's image has its program.
const PROGRAM: &str = "/opt/logfwd";

/// How the files of one directory reach the sidecar.
enum Source {
    /// A volume of the pod's own, and the place of the directory in it.
    Existing { volume: String, sub_path: String },
    /// A new volume.
    New,
}

/// Plans the volumes and mounts of the pod's own containers, and returns the mounts of the sidecar.
pub(crate) fn plan<'p>(
    draft: &Draft<'p, '_>,
    patterns: &[String],
    edits: &mut Edits<'p>,
    notes: &mut Vec<Note>,
) -> Vec<NewMount<'p>> {
    let directories = directories(patterns, notes);
    let mut found: Vec<(usize, &str, Source)> = Vec::new();
    for (index, (pattern, directory)) in directories.iter().enumerate() {
        match source(draft, directory) {
            Ok(source) => found.push((index, directory, source)),
            Err(problem) => notes.push(Note::LogPathSkipped {
                path: pattern.clone(),
                problem,
            }),
        }
    }
    let new: Vec<&str> = found
        .iter()
        .filter(|(.., source)| matches!(source, Source::New))
        .map(|(_, directory, _)| *directory)
        .collect();
    let mut mounts: Vec<NewMount<'p>> = Vec::new();
    for (index, directory, source) in &found {
        let (volume, sub_path) = match source {
            Source::Existing { volume, sub_path } => (volume.clone(), sub_path.clone()),
            // One volume further up holds this directory too.
            Source::New if new.iter().any(|up| is_inside(directory, up)) => continue,
            Source::New => {
                let name = free_name(draft, *index);
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
        share(draft, &mount, edits, notes);
        mounts.push(mount);
    }
    for_sidecar(&mounts)
}

/// The sidecar only reads, except where a mount point has to be made for a directory further down. What a mount further
/// up shows anyway needs none of its own.
fn for_sidecar<'p>(mounts: &[NewMount<'p>]) -> Vec<NewMount<'p>> {
    let shown = |mount: &NewMount<'_>| {
        let shows = |up: &NewMount<'_>| {
            is_inside(&mount.path, &up.path) && is_same(&MountView::of(up), mount)
        };
        mounts.iter().any(shows)
    };
    let needed: Vec<NewMount<'p>> = mounts
        .iter()
        .filter(|mount| !shown(mount))
        .cloned()
        .collect();
    let holds = |up: &NewMount<'_>| needed.iter().any(|mount| is_inside(&mount.path, &up.path));
    let read_only: Vec<bool> = needed.iter().map(|mount| !holds(mount)).collect();
    let both = needed.into_iter().zip(read_only);
    both.map(|(mount, read_only)| NewMount { read_only, ..mount })
        .collect()
}

/// Gives containers that were added since what the sidecar reads from.
pub(crate) fn repair<'p>(
    draft: &Draft<'p, '_>,
    sidecar: &'p Container<'_>,
    patterns: &[String],
    edits: &mut Edits<'p>,
) {
    let directories = directories(patterns, &mut Vec::new());
    for mount in &sidecar.mounts {
        let is_log_directory = directories
            .iter()
            .any(|(_, directory)| mount.path == *directory);
        let is_shared = draft.volume(&mount.volume) == Some(VolumeKind::EmptyDir);
        if is_log_directory && is_shared && !mount.sub_path_expr {
            let mount = NewMount {
                volume: mount.volume.as_ref().into(),
                path: mount.path.as_ref().into(),
                sub_path: mount.sub_path.as_ref().into(),
                read_only: false,
            };
            share(draft, &mount, edits, &mut Vec::new());
        }
    }
}

/// Mounts a volume into every container that has nothing there. A container that mounts it elsewhere has its own use for
/// it and is left alone.
fn share<'p>(
    draft: &Draft<'p, '_>,
    mount: &NewMount<'p>,
    edits: &mut Edits<'p>,
    notes: &mut Vec<Note>,
) {
    for (index, container) in draft.pod.containers.iter().enumerate() {
        if SIDECARS.contains(&container.name.as_ref()) {
            continue;
        }
        let place = Place::Own(index);
        match draft.covering(place, &mount.path) {
            Some(cover) if is_same(&cover, mount) => {}
            Some(cover) => notes.push(Note::NotShared {
                container: container.name.clone().into_owned(),
                path: cover.path.into_owned(),
            }),
            None if draft
                .mounts(place)
                .any(|other| other.volume == mount.volume) => {}
            None => edits.mount(place, mount.clone()),
        }
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
fn free_name(draft: &Draft<'_, '_>, index: usize) -> String {
    let documented = format!("{VOLUME_PREFIX}{index}");
    let others = (1..).map(|n| format!("{documented}-{n}"));
    let mut names = std::iter::once(documented.clone()).chain(others);
    names
        .find(|name| draft.volume(name).is_none())
        .unwrap_or(documented)
}

/// Where the files of a directory are to come from.
fn source(draft: &Draft<'_, '_>, directory: &str) -> Result<Source, PathProblem> {
    let taken = |place, what, path: &str| PathProblem::Taken {
        container: draft.name(place).to_owned(),
        what,
        path: path.to_owned(),
    };
    for (index, container) in draft.pod.containers.iter().enumerate() {
        if container
            .devices
            .iter()
            .any(|(_, path)| mount_point(path) == directory)
        {
            return Err(taken(Place::Own(index), "block device", directory));
        }
    }
    let mut other = None;
    for place in draft.places() {
        let Some(cover) = draft.covering(place, directory) else {
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
    for container in &draft.pod.containers {
        let needed = [
            ("program", &container.program),
            ("working directory", &container.working_dir),
        ];
        for (what, path) in needed {
            if path.starts_with('/') && below(&clean(path), directory).is_some() {
                return Err(PathProblem::Hides {
                    container: container.name.clone().into_owned(),
                    directory: directory.to_owned(),
                    what,
                });
            }
        }
    }
    Ok(Source::New)
}

/// The directories to share, with the pattern each came from: first seen first, no repetitions.
fn directories(patterns: &[String], notes: &mut Vec<Note>) -> Vec<(String, String)> {
    let mut directories: Vec<(String, String)> = Vec::new();
    for pattern in patterns {
        match directory(pattern) {
            Ok(directory) => {
                if !directories.iter().any(|(_, known)| *known == directory) {
                    directories.push((pattern.clone(), directory));
                }
            }
            Err(problem) => notes.push(Note::LogPathSkipped {
                path: pattern.clone(),
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

/// Whether a directory is strictly inside another.
fn is_inside(directory: &str, up: &str) -> bool {
    below(directory, up).is_some_and(|rest| !rest.is_empty())
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
