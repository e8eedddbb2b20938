//! What the name of a path says: a place for logs, or a file that an image brings.

/// Endings of files that an image or a volume brings, and that no program writes as its log.
const MADE: [&str; 44] = [
    "bash",
    "bat",
    "bin",
    "cer",
    "cfg",
    "cjs",
    "class",
    "cnf",
    "conf",
    "config",
    "crt",
    "dll",
    "ear",
    "env",
    "exe",
    "hocon",
    "ini",
    "jar",
    "js",
    "jks",
    "key",
    "ksh",
    "lua",
    "mjs",
    "p12",
    "pem",
    "phar",
    "php",
    "pl",
    "ps1",
    "properties",
    "py",
    "pyc",
    "rb",
    "sh",
    "so",
    "sql",
    "toml",
    "ts",
    "war",
    "xml",
    "yaml",
    "yml",
    "zsh",
];

/// Endings of what a program writes.
const WRITTEN: [&str; 5] = ["log", "out", "err", "pid", "sock"];

/// Whether a file is one that an image brings, by its ending.
pub fn is_made_by_an_image(path: &str) -> bool {
    ending(path).is_some_and(|ending| MADE.iter().any(|made| ending.eq_ignore_ascii_case(made)))
}

/// Whether a file is one that a program writes, by its ending.
pub fn is_log_name(path: &str) -> bool {
    ending(path).is_some_and(|ending| {
        WRITTEN
            .iter()
            .any(|written| ending.eq_ignore_ascii_case(written))
    })
}

/// Directories in which programs expect nothing to be. What is named in them may be there all the
/// same.
pub const SCRATCH: [&str; 2] = ["/tmp", "/var/tmp"];

/// Whether a path is such a directory itself.
pub fn is_scratch(path: &str) -> bool {
    SCRATCH.contains(&path.trim_end_matches('/'))
}

/// Whether a path is a directory for logs or lies in one: a part of it is called so.
pub fn is_of_logs(path: &str) -> bool {
    path.split('/').any(is_log_part)
}

fn is_log_part(part: &str) -> bool {
    let bytes = part.as_bytes();
    ["logs", "log", "logging", "logfiles"]
        .into_iter()
        .any(|word| {
            let Some(start) = bytes.len().checked_sub(word.len()) else {
                return false;
            };
            bytes[start..].eq_ignore_ascii_case(word.as_bytes())
                && (start == 0 || matches!(bytes[start - 1], b'-' | b'_' | b'.'))
        })
}

fn ending(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next()?;
    name.rsplit_once('.').map(|(_, ending)| ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_path_is() {
        for (path, made, written, of_logs) in [
            ("/app/server.jar", true, false, false),
            ("/app/app.log", false, true, true),
            ("/app/app.log.1", false, false, false),
            ("/app/logs/x", false, false, true),
            ("/app/app-logs", false, false, true),
            ("/srv/blog/app", false, false, false),
            ("/srv/catalog/app.PY", true, false, false),
            ("/var/log", false, false, true),
            ("/", false, false, false),
            ("", false, false, false),
            ("/a.b/c", false, false, false),
        ] {
            assert_eq!(is_made_by_an_image(path), made, "{path}");
            assert_eq!(is_log_name(path), written, "{path}");
            assert_eq!(is_of_logs(path), of_logs, "{path}");
        }
    }
}
