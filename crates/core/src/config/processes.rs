//! What flameshot watches for: a JSON array in a text, which it reads itself.

use super::reader::{Reader, Section};
use super::tree::{self, Node};
use crate::diagnostic::Diagnostic;

/// The variables without which flameshot can't be added.
const NEEDED: [&str; 2] = ["FLAMESHOT_PROFILING_PATH", "FLAMESHOT_HTTP_LOCAL_PORT"];

/// The longest text that one environment variable can hold and a program still be started: 128 KiB
/// with the variable's name (`MAX_ARG_STRLEN` in
/// <https://man7.org/linux/man-pages/man2/execve.2.html>).
const LONGEST: usize = 128 * 1024 - "FLAMESHOT_PROCESSES=\0".len();

/// Reads the text at a key, and looks for what flameshot needs besides. Empty where it can't be
/// used.
pub(super) fn read(reader: &mut Reader, section: &Section<'_>, key: &str) -> String {
    let envs = match section.get("envs") {
        Some(Node::Object(entries)) => entries.as_slice(),
        _ => &[],
    };
    for needed in NEEDED {
        if !envs.iter().any(|(name, _)| name == needed) {
            reader.report(Diagnostic::error(
                section.path("envs"),
                format!("{needed} is missing, so the pods that the rule fits get nothing"),
            ));
        }
    }
    let text = reader.string(section, key).unwrap_or_default();
    let path = section.path(key);
    let problem = match tree::parse_list(text) {
        _ if text.is_empty() => {
            reader.report(Diagnostic::warning(
                path,
                "there is nothing to watch for, so the pods that the rule fits get nothing",
            ));
            return String::new();
        }
        Err(problem) => format!("expected a JSON array in the text: {problem}; ignored"),
        Ok(_) if text.len() > LONGEST => format!(
            "has {} bytes, and an environment variable holds {LONGEST}; ignored",
            text.len()
        ),
        Ok(_) if text.contains('\0') => "a variable can't hold a NUL character; ignored".to_owned(),
        Ok(_) => return text.to_owned(),
    };
    reader.report(Diagnostic::error(path, problem).found(text));
    String::new()
}
