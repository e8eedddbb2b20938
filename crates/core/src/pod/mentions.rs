//! Absolute paths that a text mentions: a word of a command line, a shell script, a variable's
//! value.
//!
//! What is found is what a volume must not hide, so that a path too many only costs a note, and one
//! too few a pod that doesn't start. What a program plainly writes (its log, by a redirection or an
//! option that says so) doesn't count: it comes into being in the volume.

use super::logs::{is_log_name, is_made_by_an_image, is_of_logs, is_scratch};

/// Where the text stands, as far as that says what its paths are for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'c> {
    /// The word before it, or the variable's name.
    pub before: &'c str,
    /// Whether it is the program itself.
    pub is_program: bool,
    /// Whether a shell may read it.
    pub may_be_a_script: bool,
}

/// A path that a text mentions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mention<'t> {
    /// It has to be there before the text is run or read.
    Needed(&'t str),
    /// It is written, so that the directory that it is in has to be there.
    Written(&'t str),
    /// A directory that is made.
    Made(&'t str),
}

/// The shell verb that makes directories.
const MAKER: &str = "mkdir";

/// Shell verbs whose paths come into being, or are only looked at, when they run.
const WRITERS: [&str; 7] = [
    "touch", "chown", "chmod", "tee", "tail", "truncate", "chgrp",
];

/// Words that run the one behind them.
const RUNNERS: [&str; 20] = [
    ".",
    "--",
    "ash",
    "bash",
    "command",
    "dash",
    "dumb-init",
    "env",
    "exec",
    "java",
    "node",
    "nohup",
    "perl",
    "php",
    "python",
    "python3",
    "ruby",
    "sh",
    "source",
    "tini",
];

/// Calls `seen` with each absolute path in `text`.
pub fn visit<'t>(text: &'t str, context: Context<'_>, mut seen: impl FnMut(Mention<'t>)) {
    if !text.contains('/') {
        return;
    }
    let mut verb = "";
    let mut before = context.before;
    let mut is_program = context.is_program;
    let is_script = context.may_be_a_script && text.bytes().any(|byte| byte.is_ascii_whitespace());
    let mut redirected = false;
    let mut at = 0;
    let bytes = text.as_bytes();
    while at < bytes.len() {
        let byte = bytes[at];
        if splits(byte) {
            match byte {
                b'>' => redirected = true,
                b'<' => redirected = false,
                b';' | b'|' | b'&' | b'(' | b'`' | b'\n' => {
                    // `2>&1` and `>|` are still the redirection.
                    redirected &= bytes[at - usize::from(at > 0)] == b'>';
                    (verb, before) = ("", "");
                }
                _ => {}
            }
            at += 1;
            continue;
        }
        let end = at
            + bytes[at..]
                .iter()
                .position(|byte| splits(*byte))
                .unwrap_or(text.len() - at);
        let token = &text[at..end];
        let mut runs = is_program || RUNNERS.contains(&name(before));
        if verb.is_empty() {
            runs |= is_script;
            verb = token;
        }
        runs &= token.starts_with('/');
        // `--log-dir=/a`, or `--log-dir /a`
        let named = token.find(['=', ':', '/']).map_or("", |end| &token[..end]);
        let option = if named.is_empty() { before } else { named };
        let written = WRITERS.contains(&verb) || says_output(option);
        of_token(token, &mut |path| {
            seen(if runs {
                Mention::Needed(path)
            } else if redirected {
                Mention::Written(path)
            } else if verb == MAKER {
                Mention::Made(path)
            } else {
                of_path(path, written)
            });
            runs = false;
        });
        before = token;
        (redirected, is_program) = (false, false);
        at = end;
    }
}

/// A path that stands behind a word or name.
pub fn behind<'t>(path: &'t str, before: &str) -> Mention<'t> {
    of_path(path, says_output(before))
}

/// What a path is, by its name. `written` is what the text around it says.
fn of_path(path: &str, written: bool) -> Mention<'_> {
    let written = written || is_log_name(path) || is_of_logs(path) || is_scratch(path);
    if written && !is_made_by_an_image(path) {
        Mention::Written(path)
    } else {
        Mention::Needed(path)
    }
}

/// The last part of a word that is a path.
fn name(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or_default()
}

/// Whether an option or a variable says that it names an output.
fn says_output(name: &str) -> bool {
    let has = |word: &str| {
        name.as_bytes()
            .windows(word.len())
            .any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
    };
    // A path is no name: what it is called says nothing about the next one.
    !name.starts_with('/') && ["log", "stdout", "stderr", "output"].into_iter().any(has)
}

/// The paths in one token.
fn of_token<'t>(token: &'t str, seen: &mut impl FnMut(&'t str)) {
    let bytes = token.as_bytes();
    let mut at = 0;
    while let Some(slash) = bytes[at..].iter().position(|byte| *byte == b'/') {
        let slash = at + slash;
        let before = slash.checked_sub(1).map(|before| bytes[before]);
        let starts = match before {
            None => true,
            Some(b':') if bytes.get(slash + 1) == Some(&b'/') && slash > 1 => {
                if !token[..slash - 1].ends_with("file") {
                    // An address: nothing in it is a path here.
                    return;
                }
                true
            }
            Some(b'=' | b':' | b',' | b'@' | b'[' | b'{' | b'+' | b'!') => true,
            // `-I/usr/include`
            Some(letter) => slash == 2 && bytes[0] == b'-' && letter.is_ascii_alphabetic(),
        };
        let rest = &token[slash..];
        let end = rest
            .find([':', ',', '=', ']', '}', '{', '@'])
            .unwrap_or(rest.len());
        if starts {
            seen(&rest[..end]);
        }
        at = slash + end.max(1);
        if at >= bytes.len() {
            return;
        }
    }
}

/// What stands between the words of a shell script, quotes included.
fn splits(byte: u8) -> bool {
    byte.is_ascii_whitespace()
        || matches!(
            byte,
            b'"' | b'\'' | b'`' | b';' | b'|' | b'&' | b'(' | b')' | b'<' | b'>' | b'\\' | 0
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, before: &str) -> Vec<String> {
        let mut all = Vec::new();
        let context = Context {
            before,
            may_be_a_script: true,
            ..Context::default()
        };
        visit(text, context, |mention| {
            if let Mention::Needed(path) = mention {
                all.push(path.to_owned());
            }
        });
        all
    }

    #[test]
    fn what_is_written_and_made() {
        let mut all = Vec::new();
        let context = Context {
            may_be_a_script: true,
            ..Context::default()
        };
        let text = "mkdir -p /srv/x && run --log-dir=/srv/y >> /srv/z";
        visit(text, context, |mention| all.push(mention));
        assert_eq!(
            all,
            [
                Mention::Made("/srv/x"),
                Mention::Written("/srv/y"),
                Mention::Written("/srv/z")
            ]
        );
    }

    #[test]
    fn paths_in_words_and_scripts() {
        for (text, expected) in [
            ("/app/server", vec!["/app/server"]),
            ("server", vec![]),
            ("a/b", vec![]),
            ("./a", vec![]),
            ("--config=/app/a.yaml", vec!["/app/a.yaml"]),
            (
                "-javaagent:/app/agent.jar=port:1,/x/y",
                vec!["/app/agent.jar", "/x/y"],
            ),
            ("/app/lib/*:/app/x.jar", vec!["/app/lib/*", "/app/x.jar"]),
            ("-I/app/include", vec!["/app/include"]),
            ("-Djava.library.path=/app/native", vec!["/app/native"]),
            ("http://host/app/x", vec![]),
            ("--url=https://host/app,/x", vec![]),
            ("file:///app/x.xml", vec!["///app/x.xml"]),
            ("file:/app/x.xml", vec!["/app/x.xml"]),
            (
                "exec /srv/shop/run.sh >> /srv/shop/out.txt",
                vec!["/srv/shop/run.sh"],
            ),
            ("cd '/srv/shop' && ./run", vec!["/srv/shop"]),
            ("a;/srv/b|`/srv/c`", vec!["/srv/b", "/srv/c"]),
            ("x=$(cat /srv/v)", vec!["/srv/v"]),
            ("run 2>/srv/err 2>&1 </srv/in", vec!["/srv/in"]),
            ("mkdir -p /srv/x && /srv/x/run", vec!["/srv/x/run"]),
            ("chmod +x /srv/run.sh", vec!["/srv/run.sh"]),
            ("tail -F /srv/x/app.txt", vec![]),
            ("--log-file=/srv/x --conf /srv/y", vec!["/srv/y"]),
            ("--log-file /srv/x /srv/y", vec!["/srv/y"]),
            ("--log-config=/srv/log.xml", vec!["/srv/log.xml"]),
            ("cat /srv/app.log /srv/logs/x /srv/logs", vec![]),
            ("python /srv/logs/run.py", vec!["/srv/logs/run.py"]),
            (
                "exec /tmp/run /tmp/x && /tmp/y",
                vec!["/tmp/run", "/tmp/x", "/tmp/y"],
            ),
            ("cat /tmp/healthy", vec!["/tmp/healthy"]),
            ("-Djava.io.tmpdir=/tmp", vec![]),
            ("/tmp", vec![]),
            ("java -jar /tmp/x.jar", vec!["/tmp/x.jar"]),
            ("[\"/srv/a\",\"/srv/b\"]", vec!["/srv/a", "/srv/b"]),
            ("/", vec!["/"]),
            ("//", vec!["//"]),
            ("-", vec![]),
            (":/", vec!["/"]),
            ("://", vec!["//"]),
        ] {
            assert_eq!(found(text, ""), expected, "{text}");
        }
    }

    #[test]
    fn what_stands_before_says_what_it_is_for() {
        assert!(found("/srv/x", "--log-dir").is_empty());
        assert!(found("/srv/x", "CATALINA_OUTPUT").is_empty());
        assert_eq!(found("/srv/x", "--dir"), ["/srv/x"]);
        assert_eq!(found("/srv/x.jar", "LOG_AGENT"), ["/srv/x.jar"]);
        assert_eq!(found("/tmp/x", "/bin/sh"), ["/tmp/x"]);
    }

    #[test]
    fn a_program_counts_wherever_it_is() {
        let mut all = Vec::new();
        let context = Context {
            is_program: true,
            ..Context::default()
        };
        visit("/srv/logs/run /srv/logs/x", context, |path| all.push(path));
        visit("--log=/srv/logs/y", context, |path| all.push(path));
        assert_eq!(
            all,
            [
                Mention::Needed("/srv/logs/run"),
                Mention::Written("/srv/logs/x"),
                Mention::Written("/srv/logs/y")
            ]
        );
    }
}
