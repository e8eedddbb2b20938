//! A list of logs to collect, as the log sidecar and the agent read it: a JSON array in a text.
//!
//! Whoever reads it gives up on the whole list where one value has the wrong type, so that is
//! checked here.

use super::reader::{Reader, Section};
use super::syntax::child;
use super::tree::{self, Node};
use crate::diagnostic::{Code, Diagnostic, did_you_mean};

/// Logs to collect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfigs {
    text: String,
    paths: Vec<String>,
}

/// The longest text that one environment variable can hold and a program still be started: 128 KiB
/// with the variable's name (`MAX_ARG_STRLEN` in
/// <https://man7.org/linux/man-pages/man2/execve.2.html>). All annotations of a pod together may
/// have twice as much.
const LONGEST: usize = 128 * 1024 - "LOGFWD_LOG_CONFIGS=\0".len();

/// What an entry can say, and of which kind its value is.
const KEYS: [(&str, Kind); 13] = [
    ("disable", Kind::Bool),
    ("type", Kind::Text),
    ("path", Kind::Text),
    ("source", Kind::Text),
    ("storage_index", Kind::Text),
    ("service", Kind::Text),
    ("character_encoding", Kind::Text),
    ("pipeline", Kind::Text),
    ("multiline_match", Kind::Text),
    ("remove_ansi_escape_codes", Kind::Bool),
    ("from_beginning", Kind::Bool),
    ("from_beginning_threshold_size", Kind::Number),
    ("tags", Kind::Texts),
];

/// Who reads the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadBy {
    /// The log sidecar, by a variable: it takes each entry with a path for files.
    Sidecar,
    /// The agent, by an annotation that has the text as it is written: only entries of type `file`
    /// are files.
    Agent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Number,
    Text,
    Texts,
}

impl LogConfigs {
    /// The list as JSON, in the form that its reader gets.
    pub fn as_json(&self) -> &str {
        &self.text
    }

    /// The file patterns of the entries that aren't disabled.
    pub fn paths(&self) -> &[String] {
        &self.paths
    }
}

/// Reads the list at a key; it is left out as a whole where it can't be read.
pub(super) fn read(
    reader: &mut Reader,
    section: &Section<'_>,
    key: &str,
    read_by: ReadBy,
) -> Option<LogConfigs> {
    let text = reader.string(section, key)?;
    if text.is_empty() {
        return None;
    }
    let path = section.path(key);
    let items = match tree::parse_list(text) {
        Ok(items) => items,
        Err(problem) => {
            reader.report(
                Diagnostic::error(
                    path,
                    format!("expected a JSON array in the text: {problem}; ignored"),
                )
                .found(text),
            );
            return None;
        }
    };
    let errors = reader.errors();
    let mut paths: Vec<String> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let place = format!("{path}[{index}]");
        match item {
            Node::Object(entries) => {
                let Some(path) = entry(reader, &place, entries, read_by) else {
                    continue;
                };
                if read_by == ReadBy::Agent && paths.contains(&path) {
                    reader.report(
                        Diagnostic::warning(
                            child(&place, "path"),
                            "the path is listed twice, for which the agent takes nothing of the list",
                        )
                        .code(Code::Repeated)
                        .found(path.as_str()),
                    );
                }
                paths.push(path);
            }
            other => reader.wrong_kind(&place, "an object", other),
        }
    }
    let text = match read_by {
        ReadBy::Sidecar => Node::Array(items).to_string(),
        ReadBy::Agent => text.to_owned(),
    };
    if text.len() > LONGEST {
        reader.report(Diagnostic::error(
            path.as_str(),
            format!("has {} bytes, and may have {LONGEST}", text.len()),
        ));
    }
    if reader.errors() > errors {
        reader.report(Diagnostic::warning(
            path,
            "the whole list is left out because of the errors in it: its reader would take nothing of it",
        ));
        return None;
    }
    Some(LogConfigs { text, paths })
}

/// Checks one entry and returns the path that it collects.
fn entry(
    reader: &mut Reader,
    place: &str,
    entries: &[(String, Node)],
    read_by: ReadBy,
) -> Option<String> {
    let mut disabled = false;
    let mut is_file = read_by == ReadBy::Sidecar;
    let mut path = None;
    for (index, (key, node)) in entries.iter().enumerate() {
        let is_same = |(earlier, _): &(String, Node)| earlier.eq_ignore_ascii_case(key);
        if entries.iter().take(index).any(is_same) {
            reader.report(
                Diagnostic::warning(
                    child(place, key),
                    "the key appears more than once; the last one counts",
                )
                .code(Code::Repeated),
            );
        }
        let known = KEYS.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
        let Some((name, kind)) = known else {
            // It may belong to a newer reader; only a likely misspelling is worth a word.
            if let Some(meant) = did_you_mean(key, KEYS.map(|(name, _)| name)) {
                reader.report(
                    Diagnostic::warning(child(place, key), "unknown key")
                        .code(Code::UnknownKey)
                        .suggest(format!("did you mean `{meant}`?")),
                );
            }
            continue;
        };
        match (kind, node) {
            (_, Node::Null) => {}
            (Kind::Bool, Node::Bool(value)) => disabled |= *name == "disable" && *value,
            (Kind::Text, Node::String(text)) if *name == "path" => path = Some(text.clone()),
            (Kind::Text, Node::String(text)) if *name == "type" => is_file |= text == "file",
            (Kind::Text, Node::String(_)) | (Kind::Number, Node::Number(_)) => {}
            (Kind::Texts, Node::Object(tags)) => {
                for (tag, value) in tags {
                    if !matches!(value, Node::String(_)) {
                        reader.wrong_kind(&child(&child(place, key), tag), "a string", value);
                    }
                }
            }
            (kind, other) => reader.wrong_kind(&child(place, key), kind.as_str(), other),
        }
    }
    path.filter(|path| is_file && !disabled && !path.is_empty())
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Number => "a number",
            Self::Text => "a string",
            Self::Texts => "an object of strings",
        }
    }
}
