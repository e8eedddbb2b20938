//! The command people use.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::plane::Plane;
use crate::process::without_proxies;

/// What a command printed.
#[derive(Clone, Debug)]
pub struct Printed {
    /// Standard output.
    pub stdout: String,
    /// Standard error: warnings, among others.
    pub stderr: String,
}

/// Runs `kubectl` as an administrator in a namespace; an exit code other than 0 is an error with
/// what it printed.
pub fn kubectl(plane: &Plane, namespace: &str, args: &[&str]) -> Result<Printed> {
    kubectl_with(plane, namespace, args, "")
}

/// The same with text on standard input.
pub fn kubectl_with(plane: &Plane, namespace: &str, args: &[&str], stdin: &str) -> Result<Printed> {
    let mut command = Command::new(plane.program("kubectl"));
    // HOME: it caches what it learns about the server.
    without_proxies(&mut command)
        .arg("--kubeconfig")
        .arg(plane.kubeconfig())
        .args(["--namespace", namespace])
        .args(args)
        .env("HOME", plane.directory())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("failed to start kubectl")?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(stdin.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let printed = Printed {
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    };
    if !output.status.success() {
        bail!(
            "kubectl {} ended with {}: {}{}",
            args.join(" "),
            output.status,
            printed.stdout,
            printed.stderr
        );
    }
    Ok(printed)
}
