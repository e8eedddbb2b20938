//! What a container says that it runs.

use crate::json::{Reader, Result, Str};

/// `command`, `args`, exec probes and lifecycle hooks as they stand in the JSON. Few pods need
/// them, so they are read when one does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Runs<'a> {
    /// `command`: a list of words; empty where there is none.
    pub(super) command: &'a str,
    /// `args`: the same.
    pub(super) args: &'a str,
    /// `livenessProbe`, `readinessProbe` and `startupProbe`.
    pub(super) probes: [&'a str; 3],
    /// `lifecycle`
    pub(super) lifecycle: &'a str,
}

/// Where a word stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// In `command` or `args`.
    Command,
    /// In an exec probe.
    Probe,
    /// In a lifecycle hook.
    Hook,
}

/// A word of a command.
#[derive(Debug, Clone, Copy)]
pub struct Word<'w> {
    /// The list that it is in.
    pub source: Source,
    /// Whether it is certainly the program: the first word, except of `args`.
    pub is_program: bool,
    /// The word.
    pub text: &'w str,
}

impl Runs<'_> {
    /// Calls `seen` with each word, in order.
    pub fn words(&self, mut seen: impl FnMut(Word<'_>)) {
        list(self.command, Source::Command, true, &mut seen);
        // Without a command the image may say what runs, and `args` are handed to it.
        list(self.args, Source::Command, false, &mut seen);
        let handlers = self.probes.map(|probe| (probe, Source::Probe));
        for (json, source) in handlers {
            // The text has been stepped over before, so that it is JSON; another type than expected
            // ends the visit.
            let _ = handler(&mut Reader::new(json), json, source, &mut seen);
        }
        if !self.lifecycle.is_empty() {
            let _ = Reader::new(self.lifecycle).object(|reader, _hook| {
                let hook = reader.skip()?;
                handler(&mut Reader::new(hook), hook, Source::Hook, &mut seen)
            });
        }
    }
}

/// The words of an `exec` handler.
fn handler(
    reader: &mut Reader<'_>,
    json: &str,
    source: Source,
    seen: &mut impl FnMut(Word<'_>),
) -> Result<()> {
    if json.is_empty() {
        return Ok(());
    }
    reader.object(|reader, key| {
        if key != "exec" {
            return reader.skip().map(|_| ());
        }
        reader.object(|reader, key| {
            let value = reader.skip()?;
            if key == "command" {
                list(value, source, true, seen);
            }
            Ok(())
        })
    })
}

fn list(json: &str, source: Source, has_program: bool, seen: &mut impl FnMut(Word<'_>)) {
    if json.is_empty() {
        return;
    }
    let _ = Reader::new(json).array(|reader, index| {
        let text: Str<'_> = reader.string()?.unwrap_or_default();
        seen(Word {
            source,
            is_program: has_program && index == 0,
            text: &text,
        });
        Ok(())
    });
}

impl Source {
    /// The name for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Probe => "probe",
            Self::Hook => "lifecycle hook",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(runs: Runs<'_>) -> Vec<String> {
        let mut all = Vec::new();
        runs.words(|word| {
            let program = if word.is_program { "!" } else { "" };
            all.push(format!("{}{program} {}", word.source.as_str(), word.text));
        });
        all
    }

    #[test]
    fn words_of_everything_that_runs() {
        let runs = Runs {
            command: r#"["/bin/sh", "-c"]"#,
            args: r#"["a\tb"]"#,
            probes: [
                r#"{"periodSeconds": 3, "exec": {"command": ["/p"]}}"#,
                r#"{"httpGet": {"path": "/x"}}"#,
                "",
            ],
            lifecycle: r#"{"preStop": {"exec": {"command": ["sh", "/q"]}}, "postStart": {"sleep": {"seconds": 1}}}"#,
        };
        assert_eq!(
            words(runs),
            [
                "command! /bin/sh",
                "command -c",
                "command a\tb",
                "probe! /p",
                "lifecycle hook! sh",
                "lifecycle hook /q",
            ]
        );
    }

    #[test]
    fn arguments_alone_name_no_program() {
        let runs = Runs {
            args: r#"["/run", "x"]"#,
            ..Runs::default()
        };
        assert_eq!(words(runs), ["command /run", "command x"]);
    }

    #[test]
    fn other_types_name_nothing() {
        let runs = Runs {
            command: r#"{"a": 1}"#,
            args: r#"["a", 1, "b"]"#,
            probes: ["7", r#"{"exec": [1]}"#, "null"],
            lifecycle: "[]",
        };
        assert_eq!(words(runs), ["command a"]);
    }
}
