//! The annotation that says what logfwd collects: a JSON array of instances, each with a list of
//! `loggings`.
//!
//! Syntax and types are checked; what the values mean is the sidecar's business. The text is handed
//! on compacted, with its order of keys and with keys that we don't know.

use std::collections::HashSet;
use std::ops::Range;

use crate::diagnostic::did_you_mean;
use crate::json::{Error, Kind, Problem, Reader, Result, Str};

use super::address;
use crate::inject::note::{self, Note};

/// The longest text that one environment variable can hold and a program still be started: 128 KiB
/// with the variable's name (`MAX_ARG_STRLEN` in
/// <https://man7.org/linux/man-pages/man2/execve.2.html>).
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
    /// What is probably not meant: misspelled keys, what names nothing, addresses that can't be
    /// one.
    pub notes: Vec<Note>,
    /// How many instances there are.
    pub count: usize,
    /// Whether any of them says where DataKit is.
    pub has_address: bool,
    /// How many parts name no log files.
    empty: usize,
    looked_up: usize,
    too_many_paths: bool,
    /// Where in the annotation regular expressions with a dollar sign stand.
    regexes: Vec<Range<usize>>,
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
    let mut raw: Vec<(usize, &str)> = Vec::new();
    if reader.kind().map_err(|error| sentence(&error))? != Kind::Array {
        return Err("expected a JSON array of instances, `[{\"loggings\":[…]}]`".to_owned());
    }
    let read = reader.array(|reader, index| {
        let mut ahead = reader.clone();
        let element = reader.skip()?;
        if element != "null" {
            let (paths, empty) = (instances.paths.len(), instances.empty);
            instances.read_instance(&mut ahead, index)?;
            if instances.paths.len() == paths && instances.empty == empty {
                instances.names_nothing(|| format!("[{index}]"));
            }
            raw.push((reader.offset() - element.len(), element));
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
    if instances.paths.is_empty() {
        return Err(instances.names_no_files());
    }
    instances.count = raw.len();
    if instances.paths.len() > 1 {
        let mut known = HashSet::new();
        instances.paths.retain(|path| known.insert(path.clone()));
    }
    instances.text = compact(&raw, &instances.regexes);
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
                let paths = self.paths.len();
                self.read_logging(reader, place)?;
                if self.paths.len() == paths {
                    self.names_nothing(place);
                }
                Ok(())
            }),
            Some(_) => {
                let address = reader.string()?.unwrap_or_default();
                self.has_address |= !address.is_empty();
                if let Some(problem) = address::problem(&address) {
                    note::add(&mut self.notes, Note::ADDRESS, || Note::Address {
                        place: format!("[{index}].datakit_addr"),
                        problem,
                    });
                }
                Ok(())
            }
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
            Some("multiline_match") => {
                let mut ahead = reader.clone();
                let raw = reader.skip()?;
                if raw.contains('$') {
                    self.regexes
                        .push(reader.offset() - raw.len()..reader.offset());
                }
                ahead.string().map(|_| ())
            }
            Some("ignore") => reader.array(|reader, _| reader.string().map(|_| ())),
            Some("remove_ansi_escape_codes") => reader.bool().map(|_| ()),
            Some("tags") => reader.entries(|reader, _: Str<'_>| reader.string().map(|_| ())),
            Some(_) => reader.string().map(|_| ()),
            None => self.unknown(reader, key, &place, &LOGGING_KEYS),
        })
    }

    fn names_nothing(&mut self, place: impl Fn() -> String) {
        self.empty += 1;
        note::add(&mut self.notes, Note::NOTHING_TO_COLLECT, || {
            Note::NothingToCollect { place: place() }
        });
    }

    /// Why the sidecar would have nothing to do, which it doesn't survive.
    fn names_no_files(&self) -> String {
        let misspelled = self.notes.iter().find_map(|note| match note {
            Note::UnknownKey { path, suggestion } => Some((path, suggestion)),
            _ => None,
        });
        match misspelled {
            Some((path, suggestion)) => format!(
                "it names no log files (unknown key `{path}`, did you mean `{suggestion}`?)"
            ),
            None => "it names no log files: each of `loggings` needs `logfiles`, a list of paths"
                .to_owned(),
        }
    }

    /// Unknown keys may belong to a newer sidecar and stay; only likely misspellings are worth a
    /// word.
    fn unknown(
        &mut self,
        reader: &mut Reader<'_>,
        key: &str,
        place: impl Fn() -> String,
        keys: &[&'static str],
    ) -> Result<()> {
        self.looked_up += 1;
        if self.looked_up <= MOST_LOOKED_UP
            && let Some(meant) = meant(key, keys)
        {
            self.notes.push(Note::UnknownKey {
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

/// The key that was probably meant. What people call the files elsewhere is far from `logfiles` by
/// letters.
fn meant(key: &str, keys: &[&'static str]) -> Option<&'static str> {
    const FILES: [&str; 8] = [
        "path",
        "paths",
        "file",
        "files",
        "filename",
        "log_files",
        "log_paths",
        "log_path",
    ];
    if keys.contains(&"logfiles") && FILES.iter().any(|known| known.eq_ignore_ascii_case(key)) {
        return Some("logfiles");
    }
    did_you_mean(key, keys.iter().copied())
}

/// The elements as a JSON array without the white space between its tokens, as the value of a
/// variable: the kubelet reads `$$` as one dollar sign, and `$(NAME)` as a reference, which is
/// meant wherever a path or a text may hold one, but not in a regular expression. The elements must
/// be well-formed, each given with its place in the annotation.
fn compact(elements: &[(usize, &str)], regexes: &[Range<usize>]) -> String {
    let length: usize = elements.iter().map(|(_, element)| element.len() + 1).sum();
    let mut out = String::with_capacity(length + 2);
    let mut regexes = regexes.iter().peekable();
    out.push('[');
    for (number, (start, element)) in elements.iter().enumerate() {
        if number > 0 {
            out.push(',');
        }
        let mut in_string = false;
        let mut escaped = false;
        let mut characters = element.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            match character {
                '$' => {
                    let at = start + at;
                    while regexes.next_if(|regex| regex.end <= at).is_some() {}
                    let in_regex = regexes.peek().is_some_and(|regex| regex.contains(&at));
                    match characters.peek() {
                        Some((_, '$')) => out.push('$'),
                        Some((_, '(')) if in_regex => out.push('$'),
                        _ => {}
                    }
                    escaped = false;
                }
                _ if escaped => escaped = false,
                '\\' if in_string => escaped = true,
                '"' => in_string = !in_string,
                ' ' | '\n' | '\r' | '\t' if !in_string => continue,
                _ => {}
            }
            out.push(character);
        }
    }
    out.push(']');
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
            r#"[null, {"loggings":[{"logfiles":["/a"]}]}]"#,
            Ok((r#"[{"loggings":[{"logfiles":["/a"]}]}]"#, &["/a"])),
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
    fn what_names_no_files_is_nothing_to_do() {
        let plain = "it names no log files: each of `loggings` needs `logfiles`, a list of paths";
        for text in [
            "[{}]",
            r#"[{"loggings":null}]"#,
            r#"[{"loggings":[]}]"#,
            r#"[{"loggings":[{"logfiles":[]}]}, {"loggings":[{"logfiles":null,"source":"x"}]}]"#,
        ] {
            check(text, Err(plain));
        }
        check(
            r#"[{"loggings":[{"path":"/a/*.log"}]}]"#,
            Err(
                "it names no log files (unknown key `[0].loggings[0].path`, did you mean `logfiles`?)",
            ),
        );
        check(
            r#"[{"logings":[{"logfiles":["/a"]}]}]"#,
            Err("it names no log files (unknown key `[0].logings`, did you mean `loggings`?)"),
        );
    }

    #[test]
    fn what_names_nothing_beside_others_is_noted() {
        let text = r#"[{"loggings":[{"logfiles":["/a"]},{}]},{"loggings":[]}]"#;
        let places = ["[0].loggings[1]", "[1]"];
        let expected = places.map(|place| Note::NothingToCollect {
            place: place.to_owned(),
        });
        assert_eq!(read(text).unwrap().notes, expected);
    }

    #[test]
    fn dollar_signs_reach_the_sidecar() {
        let text = r#"[{"loggings":[{"logfiles":["/a/$(POD_NAME)/$$x"],"multiline_match":"^total \\$$ $(POD_NAME) $a$"}, {"logfiles":["/b"],"multiline_match":"$"}]}]"#;
        let read = read(text).unwrap();
        assert_eq!(
            read.text,
            r#"[{"loggings":[{"logfiles":["/a/$(POD_NAME)/$$$x"],"multiline_match":"^total \\$$$ $$(POD_NAME) $a$"},{"logfiles":["/b"],"multiline_match":"$"}]}]"#
        );
        let kubelet = expanded(&read.text, &[("POD_NAME", "p")]);
        assert_eq!(
            kubelet,
            text.replace("/$(POD_NAME)/", "/p/").replace("}, {", "},{")
        );
    }

    /// What the kubelet makes of a value
    /// (<https://github.com/kubernetes/kubernetes/blob/master/third_party/forked/golang/expansion/expand.go>).
    fn expanded(text: &str, variables: &[(&str, &str)]) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let name = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some((name, after)) = name {
                let value = variables.iter().find(|(known, _)| *known == name);
                match value {
                    Some((_, value)) => out.push_str(value),
                    None => out.push_str(&format!("$({name})")),
                }
                rest = after;
            } else {
                out.push('$');
            }
        }
        out + rest
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

        /// Byte for byte, whatever dollar signs there are.
        #[test]
        fn a_regular_expression_reaches_the_sidecar(regex in r"[$()A\\ a]{0,12}", path in r"[$a/]{0,6}") {
            let text = serde_json::json!([{"loggings": [{"logfiles": [format!("/{path}")], "multiline_match": regex}]}]).to_string();
            let read = read(&text).unwrap();
            proptest::prop_assert_eq!(expanded(&read.text, &[("A", "x")]), text);
        }
    }

    #[test]
    fn too_long_for_an_environment_variable() {
        let long = format!(
            r#"[{{"datakit_addr":"{}","loggings":[{{"logfiles":["/a"]}}]}}]"#,
            "x".repeat(LONGEST)
        );
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
        let text = format!(
            r#"[{{"loggings":[{{"logfiles":["/a"],{}}}]}}]"#,
            keys.join(",")
        );
        let read = read(&text).unwrap();
        assert_eq!(read.notes.len(), MOST_LOOKED_UP);
    }

    #[test]
    fn misspelled_keys_are_noted() {
        let read = read(r#"[{"datakit_adr":"x","loggings":[{"logfiles":["/a"]}]}]"#).unwrap();
        assert_eq!(
            read.notes,
            [Note::UnknownKey {
                path: "[0].datakit_adr".to_owned(),
                suggestion: "datakit_addr".to_owned()
            }]
        );
    }
}
