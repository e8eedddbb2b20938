//! Helm, and the chart that it installs.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::kubectl::Printed;
use crate::plane::Plane;
use crate::process::without_proxies;
use crate::repository::repository;

/// The folder of the chart.
#[must_use]
pub fn chart() -> PathBuf {
    repository().join("deploy/chart/datakit-operator")
}

/// The helm that `e2e/run` found or built.
pub fn program() -> Result<PathBuf> {
    let program = std::env::var_os("HELM");
    let program = program.context("HELM is not set; `e2e/run` sets it and runs the tests")?;
    Ok(PathBuf::from(program))
}

/// Runs `helm` as an administrator in a namespace; an exit code other than 0 is an error with what
/// it printed.
pub fn helm<A: AsRef<OsStr>>(plane: &Plane, namespace: &str, args: &[A]) -> Result<Printed> {
    helm_with(plane, namespace, args, "")
}

/// The same with text on standard input, for example values for `--values -`.
pub fn helm_with<A: AsRef<OsStr>>(
    plane: &Plane,
    namespace: &str,
    args: &[A],
    stdin: &str,
) -> Result<Printed> {
    let mut command = Command::new(program()?);
    let home = plane.directory().join("helm");
    without_proxies(&mut command)
        .arg("--kubeconfig")
        .arg(plane.kubeconfig())
        .args(["--namespace", namespace])
        .args(args)
        .env("HELM_CACHE_HOME", home.join("cache"))
        .env("HELM_CONFIG_HOME", home.join("config"))
        .env("HELM_DATA_HOME", home.join("data"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("failed to start helm")?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(stdin.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let printed = Printed {
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    };
    if !output.status.success() {
        let args: Vec<_> = args
            .iter()
            .map(|arg| arg.as_ref().to_string_lossy())
            .collect();
        bail!(
            "helm {} ended with {}: {}{}",
            args.join(" "),
            output.status,
            printed.stdout,
            printed.stderr
        );
    }
    Ok(printed)
}

/// What the operator prints for these arguments, in no environment but that of the tests.
pub fn operator_prints(args: &[&str]) -> Result<String> {
    let output = Command::new(crate::operator::program()?)
        .args(args)
        .env_clear()
        .output()
        .context("failed to start the operator")?;
    if !output.status.success() {
        bail!(
            "datakit-operator {} ended with {}",
            args.join(" "),
            output.status
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The shared libraries that the operator can't start without.
pub fn linked_libraries() -> Result<Vec<String>> {
    let output = Command::new("ldd")
        .arg(crate::operator::program()?)
        .output()
        .context("failed to start ldd")?;
    let printed = String::from_utf8(output.stdout)?;
    let names = printed
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    Ok(names.map(str::to_owned).collect())
}
