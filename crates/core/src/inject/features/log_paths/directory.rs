//! From log file patterns to directories that a volume can be mounted at.

use std::collections::HashSet;

use crate::json::Str;
use crate::pod::logs::{SCRATCH, is_of_logs};
use crate::pod::path::{below, clean};

use crate::inject::note::{self, Note, PathProblem};

/// Directories that containers can't do without, so that nothing may be mounted over them.
const SYSTEM: [&str; 19] = [
    "/",
    "/home",
    "/opt",
    "/root",
    "/run",
    "/usr",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/local",
    "/var/mail",
    "/var/opt",
    "/var/run",
    "/var/spool",
    "/var/www",
    "/srv/www",
    "/mnt",
    "/media",
    "/etc",
];

/// Directories that hold programs and libraries wherever one looks in them.
const PROGRAMS: [&str; 13] = [
    "/bin", "/boot", "/busybox", "/cnb", "/ko-app", "/layers", "/lib", "/lib32", "/lib64",
    "/libx32", "/nix", "/sbin", "/snap",
];

/// Directories in which images keep programs, libraries and settings in directories of any name.
/// Only one that is called after logs may be mounted over there.
const FILLED: [&str; 2] = ["/usr", "/etc"];

/// Directories that the kernel or the kubelet provides, with all below them.
const PROVIDED: [&str; 5] = ["/dev", "/proc", "/sys", "/run/secrets", "/var/run/secrets"];

/// Settings that programs look for in any image, whatever their directory is called.
const SETTINGS: [&str; 3] = ["/etc/ssl", "/etc/pki", "/etc/ca-certificates"];

/// The longest path that a program can open, and so the longest at which anything is mounted
/// (`PATH_MAX` in <https://man7.org/linux/man-pages/man3/realpath.3.html>, with its end).
const LONGEST_PATH: usize = 4095;

/// Where the sidecar's image has its program.
const PROGRAM: &str = "/opt/logfwd";

/// Where the sidecar has the pod's labels.
pub(in crate::inject::features) const POD_INFO_PATH: &str = "/etc/podinfo";

/// Where images keep what several programs log, each in a directory that it doesn't make.
const ALL_LOGS: &str = "/var/log";

/// The directories to share, with the pattern each came from: first seen first, no repetitions.
pub(super) fn directories<'t>(
    patterns: &'t [Str<'_>],
    notes: &mut Vec<Note>,
) -> Vec<(&'t str, String)> {
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

/// The directory of a file pattern: what stands before the first part with a wildcard or variable,
/// or before the file name.
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
    if directory != "/"
        && let Some(needed) = needed_by_the_sidecar(&directory)
    {
        return Err(PathProblem::Sidecar(needed.to_owned()));
    }
    if is_of_the_system(&directory) {
        return Err(PathProblem::System(directory));
    }
    Ok(directory)
}

fn is_of_the_system(directory: &str) -> bool {
    let in_any = |list: &[&str]| list.iter().any(|up| below(directory, up).is_some());
    SYSTEM.contains(&directory)
        || in_any(&PROGRAMS)
        || in_any(&PROVIDED)
        || in_any(&SETTINGS)
        || (in_any(&FILLED) && !is_of_logs(directory))
}

/// What the sidecar itself would lose, or share, if a volume were mounted at a path of it.
pub(super) fn needed_by_the_sidecar(path: &str) -> Option<&'static str> {
    [PROGRAM, POD_INFO_PATH]
        .into_iter()
        .find(|needed| below(path, needed).is_some() || below(needed, path).is_some())
}

/// Whether a volume of the pod's can be mounted into the sidecar where the pod has it.
pub(super) fn fits_the_sidecar(path: &str) -> Result<(), PathProblem> {
    let in_any = |list: &[&str]| list.iter().any(|up| below(path, up).is_some());
    let holds = |list: &[&str]| list.iter().any(|down| below(down, path).is_some());
    if let Some(needed) = needed_by_the_sidecar(path) {
        return Err(PathProblem::Sidecar(needed.to_owned()));
    }
    let needed = path == "/usr" || in_any(&PROGRAMS) || in_any(&PROVIDED) || in_any(&SETTINGS);
    if needed || holds(&PROVIDED) || holds(&SETTINGS) {
        return Err(PathProblem::Sidecar(path.to_owned()));
    }
    Ok(())
}

/// Whether an image may have files in a directory that only its author knows of: nothing says that
/// it is for logs, or it holds the directories of all.
pub(super) fn may_hold_files(directory: &str) -> bool {
    let is_scratch = SCRATCH.iter().any(|up| below(directory, up).is_some());
    directory == ALL_LOGS || !(is_scratch || is_of_logs(directory))
}

/// Notes that a pattern gets no volume.
pub(super) fn skip(notes: &mut Vec<Note>, pattern: &str, problem: PathProblem) {
    note::add(notes, Note::LOG_PATH_SKIPPED, || Note::LogPathSkipped {
        path: pattern.to_owned(),
        problem,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("/usr/local/app/*.log", None),
            (
                "/usr/local/tomcat/logs/*.log",
                Some("/usr/local/tomcat/logs"),
            ),
            ("/usr/share/*.log", None),
            ("/lib/x/logs/*.log", None),
            ("/lib64/x/*.log", None),
            ("/bin/logs/*", None),
            ("/etc/ssl/*.log", None),
            ("/etc/ssl/logs/*.log", None),
            ("/etc/nginx/*.log", None),
            ("/var/lib/*.log", None),
            ("/var/lib/app/*.log", Some("/var/lib/app")),
            ("/ko-app/x.log", None),
            ("/opt/logfwd/x.log", None),
            ("/opt/app/x.log", Some("/opt/app")),
            ("/etc/podinfo/x.log", None),
            ("/etc/app/logs/x.log", Some("/etc/app/logs")),
            ("/var/run/*.log", None),
            ("/var/run/secrets/x/*.log", None),
        ] {
            assert_eq!(directory(pattern).ok().as_deref(), expected, "{pattern}");
        }
    }

    #[test]
    fn a_volume_of_the_pod_in_the_sidecar() {
        for (path, fits) in [
            ("/var/log", true),
            ("/app", true),
            ("/srv", true),
            ("/home", true),
            ("/opt/app", true),
            ("/opt", false),
            ("/opt/logfwd", false),
            ("/", false),
            ("/etc", false),
            ("/etc/podinfo/x", false),
            ("/usr", false),
            ("/usr/local/app", true),
            ("/var", false),
            ("/run", false),
            ("/lib/x", false),
            ("/proc", false),
        ] {
            assert_eq!(fits_the_sidecar(path).is_ok(), fits, "{path}");
        }
    }

    #[test]
    fn where_images_may_have_files() {
        for (directory, may) in [
            ("/var/log", true),
            ("/var/log/nginx", false),
            ("/app", true),
            ("/app/logs", false),
            ("/srv/shop", true),
            ("/tmp/app", false),
        ] {
            assert_eq!(may_hold_files(directory), may, "{directory}");
        }
    }
}
