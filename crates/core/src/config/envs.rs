//! The `envs` of a feature: an object whose order is the order of injection.

use super::env_overrides::{self, EnvOverrides};
use super::reader::{Reader, Section};
use super::syntax::child;
use super::tree::Node;
use super::{EnvVar, reference};
use crate::diagnostic::{Code, Diagnostic};
use crate::expansion;

/// A key whose value a deprecated environment variable replaces, if the key is there.
pub(super) type Replacement = (&'static str, &'static str);

/// Reads `envs` of a feature's section.
pub(super) fn read(
    reader: &mut Reader,
    section: &Section<'_>,
    replacements: &[Replacement],
    overrides: &EnvOverrides,
) -> Vec<EnvVar> {
    let path = section.path("envs");
    let mut texts: Vec<(&str, &str)> = Vec::new();
    match section.get("envs") {
        None => {}
        Some(Node::Object(entries)) => {
            for (name, node) in entries {
                entry(reader, &path, name, node, &mut texts);
            }
        }
        Some(other) => {
            reader.wrong_kind(&path, "an object of names and values", other);
            if let (Some(last), Node::Array(_)) = (reader.diagnostics.last_mut(), other) {
                last.suggestion = Some("write {\"NAME\": \"value\"}".to_owned());
            }
        }
    }
    for (name, variable) in replacements {
        let Some(value) = overrides.get(variable) else {
            continue;
        };
        match texts.iter_mut().find(|(known, _)| known == name) {
            Some((_, text)) => {
                *text = value;
                reader.report(env_overrides::used(variable, &child(&path, name)));
            }
            None => reader.report(
                Diagnostic::warning(
                    *variable,
                    format!("the variable is deprecated and without effect, because `{path}` has no `{name}`"),
                )
                .code(Code::Deprecated)
                .suggest(format!("set `{}` in the configuration", child(&path, name))),
            ),
        }
    }
    check_order(reader, &path, &texts);
    texts
        .into_iter()
        .map(|(name, text)| {
            let (value, lookalike) = reference::parse(text);
            if let Some(lookalike) = lookalike {
                let diagnostic = Diagnostic::warning(child(&path, name), lookalike.message)
                    .code(Code::Reference);
                reader.report(Diagnostic {
                    suggestion: lookalike.suggestion,
                    ..diagnostic
                });
            }
            EnvVar {
                name: name.to_owned(),
                value,
            }
        })
        .collect()
}

fn entry<'n>(
    reader: &mut Reader,
    path: &str,
    name: &'n str,
    node: &'n Node,
    texts: &mut Vec<(&'n str, &'n str)>,
) {
    let place = child(path, name);
    if !is_env_name(name) {
        reader.report(
            Diagnostic::error(
                place,
                "not a name for an environment variable (letters, digits, `_`, `-` and `.`, not starting with a digit); skipped",
            )
            .found(name),
        );
        return;
    }
    let text = match node {
        Node::String(text) => text.as_str(),
        other => {
            let diagnostic = Diagnostic::warning(
                place,
                format!("a value must be a string, not {}; skipped", other.kind()),
            )
            .code(Code::WrongType)
            .found(other.to_string());
            reader.report(match other {
                Node::Bool(_) | Node::Number(_) => diagnostic.suggest(format!("write \"{other}\"")),
                _ => diagnostic,
            });
            return;
        }
    };
    if text.contains('\0') {
        reader.report(Diagnostic::error(
            place,
            "a value can't contain a NUL character; skipped",
        ));
        return;
    }
    match texts.iter_mut().find(|(known, _)| *known == name) {
        Some((_, value)) => {
            *value = text;
            reader.report(
                Diagnostic::warning(
                    place,
                    "the name appears more than once; the first place and the last value count",
                )
                .code(Code::Repeated),
            );
        }
        None => texts.push((name, text)),
    }
}

/// Kubernetes expands `$(NAME)` only from variables that come earlier in the same list. A name that
/// isn't in this list may come from the container itself.
fn check_order(reader: &mut Reader, path: &str, texts: &[(&str, &str)]) {
    for (index, (name, text)) in texts.iter().enumerate() {
        let mut seen = Vec::new();
        for used in expansion::references(text) {
            if seen.contains(&used) {
                continue;
            }
            seen.push(used);
            let Some(later) = texts[index..].iter().position(|(other, _)| *other == used) else {
                continue;
            };
            let place = child(path, name);
            reader.report(if later == 0 {
                Diagnostic::warning(
                    place,
                    format!(
                        "`$({used})` refers to the variable itself, which Kubernetes leaves as text"
                    ),
                )
                .code(Code::Reference)
            } else {
                Diagnostic::warning(
                    place,
                    format!("`$({used})` stays text, because `{used}` is defined after `{name}`"),
                )
                .code(Code::Reference)
                .suggest(format!("move `{used}` before `{name}`"))
            });
        }
    }
}

/// The stricter rule of API servers before 1.32; later ones take nearly everything.
fn is_env_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name != "."
        && !name.starts_with("..")
        && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["A", "_", "a.b", "-x", ".x", "DD_TAGS", "a-1"] {
            assert!(is_env_name(good), "{good}");
        }
        for bad in ["", "1A", ".", "..", "..a", "A B", "A=B", "é", "A\0", "A\n"] {
            assert!(!is_env_name(bad), "{bad}");
        }
    }
}
