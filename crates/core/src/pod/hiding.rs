//! What a new volume would hide of what a container says that it runs or reads.
//!
//! A volume shows an empty directory where the image has files. So what the pod names is looked
//! through once, and each directory that a volume is planned for learns what it would hide. The
//! work is linear in the pod: a directory that is known to hide something isn't asked again, nor
//! are those above it.

use std::borrow::Cow;

use super::index::{FEW, Located, PathIndex};
use super::mentions::{self, Context, Mention};
use super::path::{below, clean, mount_point};
use super::view::{Container, EnvSource};

/// A relative word is taken from the working directory, if that is no longer than this: it is
/// joined with each of them.
const LONGEST_WORKING_DIR: usize = 255;

/// Directories that volumes are planned for.
#[derive(Debug)]
pub struct Directories<'d> {
    index: PathIndex<Directory<'d>>,
    count: usize,
}

/// What one of them would hide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    /// What it is to the container.
    pub what: What,
    /// Its path.
    pub path: String,
}

/// What a path is to a container that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Its program.
    Program,
    /// Its working directory.
    WorkingDir,
    /// Something that its command line, a probe, a hook or its environment names.
    NamedBy(&'static str),
}

#[derive(Debug)]
struct Directory<'d> {
    path: &'d str,
    at: usize,
}

impl Located for Directory<'_> {
    fn path(&self) -> &str {
        self.path
    }
}

impl<'d> Directories<'d> {
    /// The directories, which must be distinct, clean and absolute.
    pub fn new(paths: impl IntoIterator<Item = &'d str>) -> Self {
        let directory = |(at, path)| Directory { path, at };
        let directories: Vec<_> = paths.into_iter().enumerate().map(directory).collect();
        Self {
            count: directories.len(),
            index: PathIndex::new(directories),
        }
    }

    /// What a volume at each of them would hide in a container, in the order in which they were
    /// given. `is_written` says of a path that it comes into being in the volume.
    pub fn hidden(
        &self,
        container: &Container<'_>,
        is_written: impl Fn(&str) -> bool,
    ) -> Vec<Option<Hidden>> {
        let mut asked = Asked {
            directories: self,
            hidden: vec![None; self.count],
            container,
            mounts: None,
            made: Vec::new(),
        };
        if self.count == 0 {
            return asked.hidden;
        }
        let working_dir = clean(&container.working_dir);
        asked.needs(&working_dir, What::WorkingDir);
        let joins = working_dir.starts_with('/') && working_dir.len() <= LONGEST_WORKING_DIR;
        let mut joined = String::new();
        let mut before = String::new();
        container.runs.words(|word| {
            let context = Context {
                before: &before,
                is_program: word.is_program,
                may_be_a_script: true,
            };
            let mut is_program = word.is_program && word.text.starts_with('/');
            mentions::visit(word.text, context, |mention| {
                let what = match is_program {
                    true => What::Program,
                    false => What::NamedBy(word.source.as_str()),
                };
                is_program = false;
                asked.mentioned(mention, what, &is_written);
            });
            if joins && may_be_relative(word.text) {
                joined.clear();
                joined.push_str(&working_dir);
                joined.push('/');
                joined.push_str(word.text);
                let mention = mentions::behind(&joined, &before);
                asked.mentioned(mention, What::NamedBy(word.source.as_str()), &is_written);
            }
            before.clear();
            // Only the name of an option matters, and none is longer.
            before.extend(word.text.chars().take(64));
        });
        for env in &container.env {
            if let EnvSource::Literal(value) = &env.source {
                let context = Context {
                    before: &env.name,
                    ..Context::default()
                };
                mentions::visit(value, context, |mention| {
                    asked.mentioned(mention, What::NamedBy("environment"), &is_written);
                });
            }
        }
        asked.hidden
    }
}

/// A container whose words are looked through.
struct Asked<'d, 'c, 'a> {
    directories: &'d Directories<'d>,
    hidden: Vec<Option<Hidden>>,
    container: &'c Container<'a>,
    /// Where it has mounts, if there are many.
    mounts: Option<PathIndex<MountPoint<'c>>>,
    /// Directories that its commands make, as many as are looked through.
    made: Vec<String>,
}

/// Where a mount is.
struct MountPoint<'c>(Cow<'c, str>);

impl Located for MountPoint<'_> {
    fn path(&self) -> &str {
        &self.0
    }
}

impl Asked<'_, '_, '_> {
    /// Takes in what a text says of a path.
    fn mentioned(&mut self, mention: Mention<'_>, what: What, is_written: &dyn Fn(&str) -> bool) {
        match mention {
            Mention::Needed(path) if !is_written(path) => self.needs(&clean(path), what),
            Mention::Written(path) if !is_written(path) => {
                let path = clean(path);
                let made = &mut self.made.iter();
                if !made.any(|made| below(&path, made).is_some()) {
                    self.needs_directory_of(&path, what);
                }
            }
            Mention::Made(path) if self.made.len() < FEW => {
                self.made.push(clean(path).into_owned());
            }
            _ => {}
        }
    }

    /// Notes that the container needs a path, for every directory at or above it.
    fn needs(&mut self, path: &str, what: What) {
        let nearest = self.directories.index.covering(path);
        self.hides(nearest, path, what);
    }

    /// Notes that the container writes a path: a directory of ours may take the place of the one
    /// that it is in, but not of those above that.
    fn needs_directory_of(&mut self, path: &str, what: What) {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let nearest = self.directories.index.above(directory).next();
        self.hides(nearest, path, what);
    }

    fn hides(&mut self, nearest: Option<&Directory<'_>>, path: &str, what: What) {
        let Some(nearest) = nearest.filter(|_| path.starts_with('/')) else {
            return;
        };
        // Then those above are known as well.
        if self.hidden[nearest.at].is_some() || self.has_mounted(path) {
            return;
        }
        let above = self.directories.index.above(nearest.path);
        for directory in std::iter::once(nearest).chain(above) {
            let hidden = &mut self.hidden[directory.at];
            if hidden.is_some() {
                return;
            }
            *hidden = Some(Hidden {
                what,
                path: path.to_owned(),
            });
        }
    }

    /// Whether a mount of the container's own provides the path, wherever a volume is mounted above
    /// it.
    fn has_mounted(&mut self, path: &str) -> bool {
        let mounts = &self.container.mounts;
        if mounts.len() <= FEW {
            return mounts
                .iter()
                .any(|mount| below(path, &mount_point(&mount.path)).is_some());
        }
        let index = self.mounts.get_or_insert_with(|| {
            PathIndex::new(
                mounts
                    .iter()
                    .map(|mount| MountPoint(mount_point(&mount.path))),
            )
        });
        index.covering(path).is_some()
    }
}

/// Whether a word can be a path from the working directory: no option, no script, no address.
fn may_be_relative(word: &str) -> bool {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/' | b'+');
    !word.starts_with(['-', '/']) && !word.is_empty() && word.bytes().all(is_plain)
}

impl What {
    /// Words for people: what would be hidden.
    pub fn describe(self, path: &str, container: &str) -> String {
        match self {
            Self::Program => format!("the program of container `{container}`"),
            Self::WorkingDir => format!("the working directory of container `{container}`"),
            Self::NamedBy(source) => {
                format!("{path}, which the {source} of container `{container}` names")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Reader;
    use crate::pod::Pod;
    use serde_json::json;

    /// What volumes at `directories` would hide in a container.
    fn check(container: &serde_json::Value, directories: &[&str], expected: &[&str]) {
        let text = json!({"spec": {"containers": [container]}}).to_string();
        let pod = Pod::read(&mut Reader::new(&text)).unwrap();
        let hidden = Directories::new(directories.iter().copied())
            .hidden(&pod.containers[0], |path| path == "/app/trace.txt");
        let found: Vec<String> = hidden
            .into_iter()
            .map(|hidden| {
                hidden.map_or("-".to_owned(), |hidden| {
                    hidden.what.describe(&hidden.path, "c")
                })
            })
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn everything_that_a_container_names() {
        let dirs = &["/app", "/app/logs", "/srv"];
        for (container, expected) in [
            (
                json!({"command": ["/app/server"]}),
                "the program of container `c`",
            ),
            (
                json!({"workingDir": "/app/"}),
                "the working directory of container `c`",
            ),
            (
                json!({"command": ["java", "-jar", "/app/app.jar"]}),
                "/app/app.jar, which the command of container `c` names",
            ),
            (
                json!({"command": ["sh", "-c"], "args": ["exec /app/run >> /app/out"]}),
                "/app/run, which the command of container `c` names",
            ),
            (
                json!({"livenessProbe": {"exec": {"command": ["cat", "/app/healthy"]}}}),
                "/app/healthy, which the probe of container `c` names",
            ),
            (
                json!({"lifecycle": {"preStop": {"exec": {"command": ["sh", "/app/bye.sh"]}}}}),
                "/app/bye.sh, which the lifecycle hook of container `c` names",
            ),
            (
                json!({"env": [{"name": "JAVA_TOOL_OPTIONS", "value": "-Xmx1g -javaagent:/app/a.jar"}]}),
                "/app/a.jar, which the environment of container `c` names",
            ),
            (
                json!({"env": [{"name": "PYTHONPATH", "value": "/usr/x:/app"}]}),
                "/app, which the environment of container `c` names",
            ),
            (
                json!({"workingDir": "/", "command": ["node", "app/server.js"]}),
                "/app/server.js, which the command of container `c` names",
            ),
        ] {
            check(&container, dirs, &[expected, "-", "-"]);
        }
        for container in [
            json!({"command": ["server", "--log-dir", "/app", "--trace=/app/trace.txt"]}),
            json!({"env": [{"name": "LOG_DIR", "value": "/app"}]}),
            json!({"args": ["http://host/app/x"], "livenessProbe": {"httpGet": {"path": "/app"}}}),
            json!({"command": ["/app/bin/run"], "volumeMounts": [{"name": "v", "mountPath": "/app/bin"}]}),
            json!({"command": ["/application"], "workingDir": "app"}),
            json!({}),
        ] {
            check(&container, dirs, &["-", "-", "-"]);
        }
    }

    #[test]
    fn what_is_written_needs_its_directory() {
        let dirs = &["/var/log", "/var/log/app"];
        let named = "/var/log/app/x.log, which the command of container `c` names";
        check(
            &json!({"command": ["app", "--log=/var/log/app/x.log"]}),
            dirs,
            &[named, "-"],
        );
        for script in [
            "mkdir -p /var/log/app; app >> /var/log/app/x.log",
            "app >> /var/log/x",
        ] {
            check(&json!({"command": ["sh", "-c", script]}), dirs, &["-", "-"]);
        }
    }

    #[test]
    fn every_directory_above_hides_it() {
        check(
            &json!({"command": ["/a/b/c/run", "/a/b/x"]}),
            &["/a", "/a/b/c", "/a/b", "/a/b/c/d"],
            &[
                "the program of container `c`",
                "the program of container `c`",
                "the program of container `c`",
                "-",
            ],
        );
    }

    #[test]
    fn many_mounts_are_found_as_few_are() {
        let mounts: Vec<_> = (0..20)
            .map(|n| json!({"name": "v", "mountPath": format!("/app/{n}")}))
            .collect();
        check(
            &json!({"command": ["/app/7/run", "/app/x/y"], "volumeMounts": mounts}),
            &["/app"],
            &["/app/x/y, which the command of container `c` names"],
        );
    }
}
