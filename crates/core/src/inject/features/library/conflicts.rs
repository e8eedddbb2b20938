//! What a container has that the library doesn't go together with: Node.js's permission model,
//! which ends a process for reading the library, and what of the environment will not be as it
//! seems.

use std::collections::HashMap;

use crate::config::Language;
use crate::expansion::references;
use crate::pod::draft::EnvEdit;
use crate::pod::path::{below, clean};
use crate::pod::view::{Container, EnvSource};

use crate::inject::note::{self, Note};
use crate::inject::reason::Reason;
use crate::inject::spec::StartUp;

use super::env_from;

/// The longest JAVA_TOOL_OPTIONS that every JVM reads whole: JDK 8 cuts it at the 1,024 bytes of
/// its buffer.
const LONGEST_JAVA_OPTIONS: usize = 1023;

/// Variables whose options a JVM, or the scripts around it, start with.
const JAVA_OPTIONS: [&str; 6] = [
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "_JAVA_OPTIONS",
    "JAVA_OPTS",
    "JAVA_OPTIONS",
    "CATALINA_OPTS",
];

/// A library, as far as containers may not go together with it.
pub(super) struct Loaded<'l> {
    pub(super) language: Option<Language>,
    pub(super) start_up: &'l StartUp,
    /// Where it is.
    pub(super) path: &'static str,
    /// The variable whose values are merged, with references of its own.
    pub(super) merged: Option<&'static str>,
}

/// Looks at one container and the edits that are planned for its `env`. `by_env_from` says that it
/// gets the start-up variable so, and that this value is kept.
///
/// # Errors
/// Why the container would not run with the library.
pub(super) fn check(
    container: &Container<'_>,
    library: &Loaded<'_>,
    by_env_from: bool,
    edits: &[EnvEdit<'_>],
    notes: &mut Vec<Note>,
) -> Result<(), Reason> {
    let own = || container.name.clone().into_owned();
    let start_up = library.start_up;
    let mut added: Option<HashMap<&str, usize>> = None;
    let mut value = None;
    let mut is_defined = false;
    for (at, env) in container.env.iter().enumerate() {
        is_defined |= env.name == start_up.variable;
        let EnvSource::Literal(text) = &env.source else {
            continue;
        };
        if env.name == start_up.variable {
            value = Some(text.as_ref());
        }
        if text.as_bytes().contains(&b'$') && library.merged.is_none_or(|merged| env.name != merged)
        {
            let added = added.get_or_insert_with(|| places(edits));
            for name in references(text) {
                if added.get(name).is_some_and(|place| *place > at) {
                    note::add(notes, Note::DEFINED_BELOW, || Note::DefinedBelow {
                        container: own(),
                        variable: env.name.clone().into_owned(),
                        refers_to: name.to_owned(),
                    });
                }
            }
        }
    }
    if value.is_some_and(|value| start_up.loads(value)) {
        return Ok(());
    }
    match library.language {
        Some(Language::Java) => {
            let length = match value.unwrap_or_default() {
                "" => start_up.bare.len(),
                own => start_up.before.len() + own.len() + start_up.behind.len(),
            };
            if length > LONGEST_JAVA_OPTIONS {
                notes.push(Note::JavaOptionsLong {
                    container: own(),
                    length,
                });
            }
            if let Some(agent) = other_agent(container) {
                notes.push(Note::SecondAgent {
                    container: own(),
                    agent,
                });
            }
        }
        Some(Language::Nodejs)
            if denies_the_library(container, value.unwrap_or_default(), library.path) =>
        {
            return Err(Reason::NodePermission {
                container: own(),
                path: library.path,
            });
        }
        _ => {}
    }
    if !is_defined
        && !by_env_from
        && let Some(source) = env_from::may_define(container, start_up.variable)
    {
        note::add(notes, Note::ENV_FROM, || Note::EnvFrom {
            container: own(),
            variable: start_up.variable,
            source,
        });
    }
    Ok(())
}

/// Where each added variable will stand, by the index of the entry that it stands before.
fn places<'e>(edits: &'e [EnvEdit<'_>]) -> HashMap<&'e str, usize> {
    let place = |edit: &'e EnvEdit<'_>| match edit {
        EnvEdit::Append(env) => Some((env.name, usize::MAX)),
        EnvEdit::Insert { index, env } => Some((env.name, *index)),
        EnvEdit::SetValue { .. } | EnvEdit::Rename { .. } => None,
    };
    edits.iter().filter_map(place).collect()
}

/// An agent that the JVM loads beside ours.
fn other_agent(container: &Container<'_>) -> Option<String> {
    const OPTION: &str = "-javaagent:";
    let in_text = |text: &str| {
        let mut words =
            text.split(|letter: char| letter.is_ascii_whitespace() || matches!(letter, '"' | '\''));
        let agent = words.find_map(|word| word.strip_prefix(OPTION))?;
        Some(agent.split('=').next().unwrap_or_default().to_owned())
    };
    let options = container
        .env
        .iter()
        .filter(|env| JAVA_OPTIONS.contains(&env.name.as_ref()));
    let by_variable = options.filter_map(|env| match &env.source {
        EnvSource::Literal(text) => in_text(text),
        EnvSource::Reference { .. } => None,
    });
    by_variable.into_iter().next().or_else(|| {
        let mut found = None;
        container.runs.words(|word| {
            if found.is_none() {
                found = in_text(word.text);
            }
        });
        found
    })
}

/// Whether the container's Node.js runs by the permission model
/// (<https://nodejs.org/api/permissions.html>) and may not read the library. Options stand in
/// NODE_OPTIONS or among the words of the command.
fn denies_the_library(container: &Container<'_>, options: &str, path: &str) -> bool {
    let mut permission = Permission::new(path);
    permission.read(options);
    container.runs.words(|word| permission.read(word.text));
    permission.asked && !permission.reads_the_library
}

struct Permission<'l> {
    /// Where the library is.
    library: &'l str,
    asked: bool,
    reads_the_library: bool,
    /// Whether the next word is the value of the option.
    expects_paths: bool,
}

impl<'l> Permission<'l> {
    fn new(library: &'l str) -> Self {
        Self {
            library,
            asked: false,
            reads_the_library: false,
            expects_paths: false,
        }
    }

    fn read(&mut self, text: &str) {
        const READ: &str = "--allow-fs-read";
        if !self.expects_paths && !text.contains("--") {
            return;
        }
        let splits =
            |letter: char| letter.is_ascii_whitespace() || matches!(letter, '"' | '\'' | ';');
        for word in text.split(splits).filter(|word| !word.is_empty()) {
            if std::mem::take(&mut self.expects_paths) {
                self.allow(word);
                continue;
            }
            match word.strip_prefix(READ) {
                Some("") => self.expects_paths = true,
                Some(paths) => self.allow(paths.strip_prefix('=').unwrap_or_default()),
                None => self.asked |= matches!(word, "--permission" | "--experimental-permission"),
            }
        }
    }

    fn allow(&mut self, paths: &str) {
        let holds = |path: &str| {
            let directory = path.trim_end_matches('*');
            let whole = match directory.trim_end_matches('/') {
                "" => "/",
                directory => directory,
            };
            !path.is_empty() && below(self.library, &clean(whole)).is_some()
        };
        self.reads_the_library |= paths.split(',').any(holds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_node_may_read() {
        for (words, denied) in [
            (&["node", "app.js"][..], false),
            (&["node", "--permission", "app.js"], true),
            (
                &[
                    "node",
                    "--experimental-permission",
                    "--allow-fs-read=/srv/*",
                ],
                true,
            ),
            (&["node", "--permission", "--allow-fs-read=*"], false),
            (
                &[
                    "node",
                    "--permission",
                    "--allow-fs-read=/srv/*,/datadog-lib/*",
                ],
                false,
            ),
            (
                &["node", "--permission", "--allow-fs-read=/datadog-lib"],
                false,
            ),
            (&["node", "--permission", "--allow-fs-read=/"], false),
            (
                &[
                    "node",
                    "--permission",
                    "--allow-fs-read",
                    "/srv",
                    "--allow-fs-read",
                    "/datadog-lib/",
                ],
                false,
            ),
            (&["node", "--permission", "--allow-fs-read", "/srv"], true),
            (
                &["node", "--permission", "--allow-fs-read=/datadog-library"],
                true,
            ),
            (&["node", "--permission", "--allow-fs-read="], true),
            (&["node --permission '--allow-fs-read=/srv'"], true),
            (&["app", "--permissions"], false),
            (&["app", "--permission=x"], false),
        ] {
            let mut permission = Permission::new("/datadog-lib");
            words.iter().for_each(|word| permission.read(word));
            assert_eq!(
                permission.asked && !permission.reads_the_library,
                denied,
                "{words:?}"
            );
        }
    }
}
