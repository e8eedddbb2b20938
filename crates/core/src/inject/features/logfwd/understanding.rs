//! What the sidecar won't understand as it was meant: no address of DataKit, patterns, and what its
//! version doesn't know of the annotation.

use crate::expansion::references;
use crate::image::Image;
use crate::json::Str;

use super::instances::Instances;
use crate::inject::container::Env;
use crate::inject::note::{AddressProblem, ImageProblem, Note, PatternProblem, add};

/// Notes what the sidecar will not understand as it was meant. `envs` are the variables that the
/// configuration gives it; `has_configs` says that it tells the sidecar what to collect, too.
pub(super) fn check(
    instances: &Instances<'_>,
    has_configs: bool,
    image: &Image,
    envs: &[Env],
    notes: &mut Vec<Note>,
) {
    let has = |name: &str| envs.iter().any(|env| env.name == name);
    let has_configs = has_configs || has("LOGFWD_LOG_CONFIGS");
    let is_told = has("LOGFWD_DATAKIT_HOST") && has("LOGFWD_DATAKIT_PORT");
    if !instances.has_address && !is_told {
        notes.push(Note::Address {
            place: "datakit_addr".to_owned(),
            problem: AddressProblem::Missing,
        });
    }
    for path in &instances.paths {
        if let Some(problem) = of_pattern(path, has) {
            add(notes, Note::LOG_PATTERN, || Note::LogPattern {
                path: path.clone().into_owned(),
                problem,
            });
        }
    }
    // Versions up to 1.85 read the first instance alone, those of 1.86 to 1.90 another variable.
    let problem = match image.version() {
        Some((1, 86..=90)) if !has_configs => ImageProblem::IgnoresAnnotation,
        Some(version) if version < (1, 86) && instances.count > 1 => ImageProblem::FirstInstance,
        _ => return,
    };
    notes.push(Note::ImageOfLogfwd {
        image: image.as_str().to_owned(),
        problem,
    });
}

/// What is wrong with a pattern of log files.
fn of_pattern(path: &Str<'_>, is_defined: impl Fn(&str) -> bool) -> Option<PatternProblem> {
    if is_list(path) {
        return Some(PatternProblem::List);
    }
    if let Some(name) = references(path).find(|name| !is_defined(name)) {
        return Some(PatternProblem::Undefined(name.to_owned()));
    }
    let mut rest = path.as_ref();
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if rest.starts_with(|next: char| next.is_ascii_alphabetic() || matches!(next, '_' | '{')) {
            return Some(PatternProblem::ShellVariable);
        }
    }
    None
}

/// Whether several paths stand in one text.
fn is_list(path: &str) -> bool {
    let mut depth = 0usize;
    for (at, character) in path.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' | ';' | ' ' | '\n' if depth == 0 => {
                let rest = path[at + 1..].trim_start();
                if rest.starts_with('/') {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (path, expected) in [
            ("/var/log/a/*.log", None),
            ("/var/log/{a,b}/*.log", None),
            ("/var/log/a, b.log", None),
            ("/a/$(POD_NAME)/x", None),
            ("/a/x$", None),
            ("/var/log/a.log,/var/log/b.log", Some(PatternProblem::List)),
            ("/var/log/a.log /var/log/b.log", Some(PatternProblem::List)),
            ("/a/$POD_NAME/x", Some(PatternProblem::ShellVariable)),
            ("/a/${POD_NAME}/x", Some(PatternProblem::ShellVariable)),
            (
                "/a/$(OTHER)/x",
                Some(PatternProblem::Undefined("OTHER".to_owned())),
            ),
        ] {
            let found = of_pattern(&path.into(), |name| name == "POD_NAME");
            assert_eq!(found, expected, "{path}");
        }
    }
}
