//! From log file patterns to mounts: each directory must be one volume that the writing containers and the sidecar
//! share.
//!
//! Where a container already has an `emptyDir` there, or further up, that volume is shared. Where something else is
//! mounted there, the pattern is skipped: a new volume would hide data that is meant to stay. Everywhere else a new
//! `emptyDir` is mounted into all containers.

use crate::pod::part::{NewMount, NewVolume, NewVolumeSource};
use crate::pod::path::{below, clean};
use crate::pod::view::Container;
use crate::pod::{Draft, Edits, Place, VolumeKind};

use super::SIDECARS;
use super::reason::Note;

const VOLUME_PREFIX: &str = "datakit-logfwd-volume-";

/// Directories that containers can't do without, so that nothing may be mounted over them.
const SYSTEM: [&str; 13] = [
    "/", "/bin", "/boot", "/etc", "/home", "/lib", "/lib32", "/lib64", "/root", "/run", "/sbin",
    "/usr", "/var",
];

/// Directories that the kernel provides, with all below them.
const KERNEL: [&str; 3] = ["/dev", "/proc", "/sys"];

/// How the files of one directory reach the sidecar.
enum Source {
    /// A volume of the pod's own.
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
    let mut sidecar = Vec::new();
    for (index, directory, source) in &found {
        let (volume, sub_path) = match source {
            Source::Existing { volume, sub_path } => (volume.clone(), sub_path.clone()),
            // One volume further up holds this directory too.
            Source::New
                if new
                    .iter()
                    .any(|up| up != directory && below(directory, up).is_some()) =>
            {
                continue;
            }
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
        sidecar.push(mount.read_only());
    }
    sidecar
}

/// Gives containers that were added since what the sidecar reads from.
pub(crate) fn repair<'p>(
    draft: &Draft<'p, '_>,
    sidecar: &'p Container<'_>,
    own_volume: &str,
    edits: &mut Edits<'p>,
) {
    for mount in sidecar
        .mounts
        .iter()
        .filter(|mount| mount.volume != own_volume)
    {
        let is_log_directory = mount.read_only && !mount.sub_path_expr;
        if is_log_directory && draft.volume(&mount.volume) == Some(VolumeKind::EmptyDir) {
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

/// Mounts a volume into every container that has nothing there.
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
            Some(cover) if cover.volume == mount.volume => {}
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
fn source(draft: &Draft<'_, '_>, directory: &str) -> Result<Source, String> {
    let mut other = None;
    for place in draft.places() {
        let Some(cover) = draft.covering(place, directory) else {
            continue;
        };
        let kind = draft.volume(cover.volume).unwrap_or_default();
        if kind == VolumeKind::EmptyDir && !cover.sub_path_expr {
            let rest = below(directory, &cover.path).unwrap_or_default();
            let parts = [cover.sub_path.trim_end_matches('/'), rest];
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            return Ok(Source::Existing {
                volume: cover.volume.to_owned(),
                sub_path: parts.join("/"),
            });
        }
        other.get_or_insert_with(|| {
            let (name, path, kind) = (draft.name(place), &cover.path, kind.as_str());
            format!("container `{name}` has a {kind} at {path}")
        });
    }
    if let Some(problem) = other {
        return Err(problem);
    }
    match draft
        .pod
        .containers
        .iter()
        .find(|container| needs(container, directory))
    {
        Some(container) => Err(format!(
            "a volume at {directory} would hide the program of container `{}`",
            container.name
        )),
        None => Ok(Source::New),
    }
}

/// Whether a container says itself that its program or working directory is there.
fn needs(container: &Container<'_>, directory: &str) -> bool {
    [&container.program, &container.working_dir]
        .into_iter()
        .any(|path| path.starts_with('/') && below(&clean(path), directory).is_some())
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

/// The directory of a file pattern: what stands before the first part with a wildcard, or before the file name.
fn directory(pattern: &str) -> Result<String, String> {
    if !pattern.starts_with('/') {
        return Err("it is no absolute path".to_owned());
    }
    if pattern.contains(|character: char| character == ':' || character.is_control()) {
        return Err("a path with a colon or control character can't be mounted".to_owned());
    }
    let literal = pattern
        .find(['*', '?', '[', '{'])
        .map_or(pattern, |at| &pattern[..at]);
    let parent = literal.rfind('/').map_or("", |at| &literal[..at]);
    let directory = clean(if parent.is_empty() { "/" } else { parent }).into_owned();
    let in_kernel = KERNEL
        .iter()
        .any(|kernel| below(&directory, kernel).is_some());
    if in_kernel || SYSTEM.contains(&directory.as_str()) {
        return Err(format!(
            "{directory} is a system directory, which a volume would hide"
        ));
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
        ] {
            assert_eq!(directory(pattern).ok().as_deref(), expected, "{pattern}");
        }
    }
}
