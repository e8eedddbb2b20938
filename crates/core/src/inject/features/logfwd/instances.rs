//! The annotation that says what logfwd collects: a JSON array of instances, each with a list of `loggings`.
//!
//! Syntax and types are checked; what the values mean is the sidecar's business. The text is handed on compacted, with
//! its order of keys and with keys that we don't know.

use std::collections::HashSet;

use crate::diagnostic::did_you_mean;
use crate::json::{Error, Kind, Problem, Reader, Result, Str};

use crate::inject::note::Note;

/// The longest text that one environment variable can hold and a program still be started: 128 KiB with the
/// variable's name (`MAX_ARG_STRLEN` in <https://man7.org/linux/man-pages/man2/execve.2.html>).
const LONGEST: usize = 128 * 1024 - "LOGFWD_JSON_CONFIG=\0".len();

/// The longest annotation that is read: what the API server takes for all annotations of an object
/// together
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/annotations/#syntax-and-character-set>).
/// What is compacted may be half of it.
const LONGEST_WRITTEN: usize = 256 * 1024;

/// So many patterns are taken; nobody writes a hundredth of it.
const MOST_PATHS: usize = 10_000;

/// For so many unknown keys it is looked up what was meant.
const MOST_LOOKED_UP: usize = 32;

const INSTANCE_KEYS: [&str; 2] = ["datakit_addr", "loggings"];
const LOGGING_KEYS: [&str; 10] = [
    "logfiles",
    "ignore",
    "source",
    "service",
    "pipeline",
    "character_encoding",
    "multiline_match",
    "remove_ansi_escape_codes",
    "storage_index",
    "tags",
];

/// What the annotation says.
#[derive(Debug, Default)]
pub(crate) struct Instances<'a> {
    /// The patterns of all `logfiles`, in order, without repetitions.
    pub paths: Vec<Str<'a>>,
    /// The compacted text, without elements that are `null`.
    pub text: String,
    /// Keys that are probably misspelled.
    pub unknown_keys: Vec<Note>,
    looked_up: usize,
    too_many_paths: bool,
}

/// Reads the annotation's value.
///
/// # Errors
/// A sentence about what is wrong and where.
pub(crate) fn read(text: &str) -> std::result::Result<Instances<'_>, String> {
    if text.len() > LONGEST_WRITTEN {
        return Err(format!(
            "it has {} bytes, and annotations may have {LONGEST_WRITTEN} together",
            text.len()
        ));
    }
    if text.trim().is_empty() {
        return Err("it is empty, expected a JSON array of instances".to_owned());
    }
    let mut instances = Instances::default();
    let mut reader = Reader::new(text);
    let mut raw: Vec<&str> = Vec::new();
    if reader.kind().map_err(|error| sentence(&error))? != Kind::Array {
        return Err("expected a JSON array of instances, `[{\"loggings\":[…]}]`".to_owned());
    }
    let read = reader.array(|reader, index| {
        let mut ahead = reader.clone();
        let element = reader.skip()?;
        if element != "null" {
            instances.read_instance(&mut ahead, index)?;
            raw.push(element);
        }
        Ok(())
    });
    read.and_then(|()| reader.end())
        .map_err(|error| sentence(&error))?;
    if raw.is_empty() {
        return Err("it names no instance, so there is nothing to collect".to_owned());
    }
    if instances.too_many_paths {
        return Err(format!(
            "it has more than {MOST_PATHS} patterns of log files"
        ));
    }
    if instances.paths.len() > 1 {
        let mut known = HashSet::new();
        instances.paths.retain(|path| known.insert(path.clone()));
    }
    instances.text = format!("[{}]", compact(&raw.join(",")));
    if instances.text.len() > LONGEST {
        return Err(format!(
            "it has {} bytes, and an environment variable holds {LONGEST}",
            instances.text.len()
        ));
    }
    Ok(instances)
}

impl<'a> Instances<'a> {
    fn read_instance(&mut self, reader: &mut Reader<'a>, index: usize) -> Result<()> {
        reader.object(|reader, key| match known(key, &INSTANCE_KEYS) {
            Some("loggings") => reader.array(|reader, at| {
                let place = || format!("[{index}].loggings[{at}]");
                self.read_logging(reader, place)
            }),
            Some(_) => reader.string().map(|_| ()),
            None => self.unknown(reader, key, || format!("[{index}]"), &INSTANCE_KEYS),
        })
    }

    fn read_logging(&mut self, reader: &mut Reader<'a>, place: impl Fn() -> String) -> Result<()> {
        reader.object(|reader, key| match known(key, &LOGGING_KEYS) {
            Some("logfiles") => reader.array(|reader, _| {
                let path = reader.string()?;
                self.too_many_paths |= self.paths.len() == MOST_PATHS;
                if !self.too_many_paths {
                    self.paths.extend(path);
                }
                Ok(())
            }),
            Some("ignore") => reader.array(|reader, _| reader.string().map(|_| ())),
            Some("remove_ansi_escape_codes") => reader.bool().map(|_| ()),
            Some("tags") => reader.entries(|reader, _: Str<'_>| reader.string().map(|_| ())),
            Some(_) => reader.string().map(|_| ()),
            None => self.unknown(reader, key, &place, &LOGGING_KEYS),
        })
    }

    /// Unknown keys may belong to a newer sidecar and stay; only likely misspellings are worth a word.
    fn unknown(
        &mut self,
        reader: &mut Reader<'_>,
        key: &str,
        place: impl Fn() -> String,
        keys: &[&'static str],
    ) -> Result<()> {
        self.looked_up += 1;
        if self.looked_up <= MOST_LOOKED_UP
            && let Some(meant) = did_you_mean(key, keys.iter().copied())
        {
            self.unknown_keys.push(Note::UnknownKey {
                path: format!("{}.{key}", place()),
                suggestion: meant.to_owned(),
            });
        }
        reader.skip().map(|_| ())
    }
}

/// Keys match without regard to case, as they do in the sidecar.
fn known(key: &str, keys: &[&'static str]) -> Option<&'static str> {
    keys.iter()
        .copied()
        .find(|known| known.eq_ignore_ascii_case(key))
}

fn sentence(error: &Error) -> String {
    match error.problem {
        Problem::WrongType { .. } => error.to_string(),
        _ => format!("it is not JSON: {error}"),
    }
}

/// JSON text without the white space between its tokens. The text must be well-formed.
fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_string = false;
    let mut escaped = false;
    for character in text.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            ' ' | '\n' | '\r' | '\t' if !in_string => continue,
            _ => {}
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: std::result::Result<(&str, &[&str]), &str>) {
        let read = read(text);
        let read = read
            .as_ref()
            .map(|read| (read.text.as_str(), read.paths.as_slice()));
        match (read, expected) {
            (Ok((text, paths)), Ok(expected)) => {
                assert_eq!(text, expected.0);
                assert_eq!(paths, expected.1);
            }
            (Err(error), Err(expected)) => assert_eq!(error, expected),
            (read, expected) => panic!("{text}: got {read:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn compacts_and_keeps_what_it_does_not_know() {
        check(
            r#" [ { "z" : "a b\" c" , "loggings" : [ { "logfiles" : [ "/a/*.log" , "/b" , "/b" ] , "new": [1, {}] } ] } ] "#,
            Ok((
                r#"[{"z":"a b\" c","loggings":[{"logfiles":["/a/*.log","/b","/b"],"new":[1,{}]}]}]"#,
                &["/a/*.log", "/b"],
            )),
        );
    }

    #[test]
    fn null_elements_are_left_out() {
        check(
            "[null]",
            Err("it names no instance, so there is nothing to collect"),
        );
        check(
            r#"[null, {"loggings":null}]"#,
            Ok((r#"[{"loggings":null}]"#, &[])),
        );
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        check("", Err("it is empty, expected a JSON array of instances"));
        check(
            "{}",
            Err("expected a JSON array of instances, `[{\"loggings\":[…]}]`"),
        );
        check(
            "[{]",
            Err("it is not JSON: `[0]`: expected a key in quotes (byte 2)"),
        );
        check(
            r#"[{"loggings":[{"logfiles":"/a"}]}]"#,
            Err("`[0].loggings[0].logfiles`: expected a list, found a string (byte 26)"),
        );
        check(
            r#"[{"loggings":[{"tags":{"a":1}}]}]"#,
            Err("`[0].loggings[0].tags.a`: expected a string, found a number (byte 27)"),
        );
    }

    #[test]
    fn too_long_for_an_environment_variable() {
        let long = format!(r#"[{{"datakit_addr":"{}"}}]"#, "x".repeat(LONGEST));
        assert!(
            read(&long).is_err_and(|problem| problem.contains("an environment variable holds"))
        );
    }

    #[test]
    fn what_is_too_long_is_not_read() {
        // It isn't even JSON.
        let long = "x".repeat(LONGEST_WRITTEN + 1);
        check(
            &long,
            Err("it has 262145 bytes, and annotations may have 262144 together"),
        );
        let paths = vec![r#""/a/b""#; MOST_PATHS + 1].join(",");
        let many = format!(r#"[{{"loggings":[{{"logfiles":[{paths}]}}]}}]"#);
        check(&many, Err("it has more than 10000 patterns of log files"));
    }

    #[test]
    fn only_so_many_unknown_keys_are_compared() {
        let keys: Vec<_> = (0..100).map(|_| r#""sourc":"""#).collect();
        let text = format!(r#"[{{"loggings":[{{{}}}]}}]"#, keys.join(","));
        let read = read(&text).unwrap();
        assert_eq!(read.unknown_keys.len(), MOST_LOOKED_UP);
    }

    #[test]
    fn misspelled_keys_are_noted() {
        let read = read(r#"[{"logings":[{"logfile":["/a"]}]}]"#).unwrap();
        assert_eq!(
            read.unknown_keys,
            [Note::UnknownKey {
                path: "[0].logings".to_owned(),
                suggestion: "loggings".to_owned()
            }]
        );
    }
}
