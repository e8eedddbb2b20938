//! Runs the program.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What the program did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the program in an empty directory with nothing in its environment but what is given, and
/// text on its standard input.
pub(crate) fn run_with(variables: &[(&str, &str)], args: &[&str], stdin: &str) -> Ran {
    let directory = tempfile::tempdir().expect("a directory");
    let mut child = Command::new(env!("CARGO_BIN_EXE_datakit-operator"))
        .args(args)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(&directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut input = child.stdin.take().expect("piped");
    let text = stdin.to_owned();
    // The program may write before it has read everything.
    let writer = std::thread::spawn(move || _ = input.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("ends");
    writer.join().expect("writes");
    Ran {
        code: output.status.code().expect("no signal"),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

/// Runs the program with a text on its standard input.
pub(crate) fn run(args: &[&str], stdin: &str) -> Ran {
    run_with(&[], args, stdin)
}

/// The examples' directory.
pub(crate) fn examples() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// The path of every example.
pub(crate) fn example_files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(examples()).expect("examples");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    assert!(files.len() >= 8, "{files:?}");
    files
}
