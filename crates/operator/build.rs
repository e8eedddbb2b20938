//! Tells the program which commit it is built from.
//!
//! `DATAKIT_OPERATOR_COMMIT` says so where there is no repository, as in an image build. Otherwise
//! git is asked. A source tree without either, such as an unpacked archive, builds a program that
//! says `unknown`.

use std::process::Command;

const VARIABLE: &str = "DATAKIT_OPERATOR_COMMIT";

fn main() {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    println!("cargo::rerun-if-changed=build.rs");
    let given = std::env::var(VARIABLE)
        .ok()
        .filter(|commit| !commit.is_empty());
    let commit = given.or_else(|| {
        // An unpacked archive may lie in somebody else's repository.
        if git(&["rev-parse", "--show-prefix"])? != "crates/operator/" {
            return None;
        }
        // Git adds a line to this file whenever the commit that is checked out changes.
        if let Some(log) = git(&[
            "rev-parse",
            "--path-format=absolute",
            "--git-path",
            "logs/HEAD",
        ]) && std::path::Path::new(&log).exists()
        {
            println!("cargo::rerun-if-changed={log}");
        }
        git(&["rev-parse", "--short=12", "HEAD"])
    });
    let commit = commit.unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env={VARIABLE}={commit}");
}

/// What git prints, if it is there and succeeds.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.trim();
    (output.status.success() && !line.is_empty()).then(|| line.to_owned())
}
