//! A process that can't outlive the one that started it, however that one ends.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a program beside a reader of standard input. That is a pipe to the test process: the kernel
/// closes it when the test process is gone, also after a panic or SIGKILL, and the reader then ends
/// the program. What these programs keep is thrown away, so none gets a chance to shut down slowly.
///
/// The first argument is a file for the program's process id, so that it can be sent signals.
const LEASH: &str = r#"
exec 3<&0 </dev/null
id=$1; shift
"$@" 3<&- & program=$!
echo "$program" >"$id"
{ read -r _ <&3; kill -KILL "$program" 2>/dev/null; } & leash=$!
exec 3<&-
wait "$program"; status=$?
kill "$leash" 2>/dev/null
exit "$status"
"#;

/// Variables that would send requests to loopback through a proxy.
const PROXIES: [&str; 6] = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
];

/// A running program. Killed when dropped, and when this process ends.
#[derive(Debug)]
pub struct Process {
    guard: Child,
    leash: Option<ChildStdin>,
    log: PathBuf,
    id: PathBuf,
}

/// What a program can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Asks it to end: SIGTERM.
    Terminate,
    /// Ends it without asking: SIGKILL.
    Kill,
    /// Freezes it: SIGSTOP.
    Stop,
    /// Thaws it: SIGCONT.
    Continue,
}

impl Process {
    /// Starts a program that writes all its output to `log`.
    pub fn start<A: AsRef<OsStr>>(
        program: &Path,
        args: impl IntoIterator<Item = A>,
        variables: &[(String, String)],
        log: &Path,
    ) -> Result<Self> {
        let output =
            File::create(log).with_context(|| format!("failed to create `{}`", log.display()))?;
        let id = log.with_added_extension("pid");
        let mut command = Command::new("sh");
        command.args(["-c", LEASH, "leash"]).arg(&id);
        command.arg(program).args(args);
        without_proxies(&mut command)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            // A signal from the terminal ends the tests, and only by that what they started.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output);
        let mut guard = command
            .spawn()
            .with_context(|| format!("failed to start `{}`", program.display()))?;
        let leash = guard.stdin.take();
        Ok(Self {
            guard,
            leash,
            log: log.to_owned(),
            id,
        })
    }

    /// Sends the program a signal. A program that has ended is left alone.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        let name = match signal {
            Signal::Terminate => "TERM",
            Signal::Kill => "KILL",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
        };
        let id = std::fs::read_to_string(&self.id).unwrap_or_default();
        let id = id.strip_suffix('\n').context("it has only just started")?;
        // The shell's own `kill` is there wherever the shell is.
        let mut command = Command::new("sh");
        let sent = command.args(["-c", r#"kill -s "$0" "$1""#, name, id]);
        let status = sent.status()?;
        if !status.success() && self.ended()?.is_none() {
            bail!("failed to send {name} to process {id}: {status}");
        }
        Ok(())
    }

    /// How the program ended, if it did.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.guard.try_wait()?)
    }

    /// Everything the program has written so far.
    #[must_use]
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.leash.take());
        let _ = self.guard.wait();
    }
}

/// Takes the proxy settings out of a command's environment.
pub fn without_proxies(command: &mut Command) -> &mut Command {
    for name in PROXIES {
        command.env_remove(name);
    }
    command
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_dropped_process_is_gone() {
        let directory = std::env::temp_dir().join(format!("leash-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let log = directory.join("log");
        let script = ["-c", "echo $$; exec sleep 1000"];
        let process = Process::start(Path::new("sh"), script, &[], &log).unwrap();
        let id = loop {
            if let Some((id, _)) = process.output().split_once('\n') {
                break id.to_owned();
            }
            std::thread::yield_now();
        };
        let entry = PathBuf::from(format!("/proc/{id}"));
        assert!(entry.exists());
        drop(process);
        assert!(!entry.exists());
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_program_that_ends_by_itself_leaves_its_status() {
        let log = std::env::temp_dir().join(format!("leash-{}.log", std::process::id()));
        let mut process = Process::start(Path::new("sh"), ["-c", "exit 3"], &[], &log).unwrap();
        let status = loop {
            if let Some(status) = process.ended().unwrap() {
                break status;
            }
            std::thread::yield_now();
        };
        assert_eq!(status.code(), Some(3));
        std::fs::remove_file(&process.id).unwrap();
        std::fs::remove_file(log).unwrap();
    }

    #[test]
    fn a_signal_reaches_the_program() {
        let log = std::env::temp_dir().join(format!("signal-{}.log", std::process::id()));
        let script = "trap 'exit 5' TERM; echo armed; while :; do sleep 0.01; done";
        let mut process = Process::start(Path::new("sh"), ["-c", script], &[], &log).unwrap();
        while process.output().is_empty() {
            std::thread::yield_now();
        }
        // The shell that holds the program writes its id at the same time.
        while process.signal(Signal::Terminate).is_err() {
            std::thread::yield_now();
        }
        let status = loop {
            if let Some(status) = process.ended().unwrap() {
                break status;
            }
            std::thread::yield_now();
        };
        assert_eq!(status.code(), Some(5));
        std::fs::remove_file(&process.id).unwrap();
        std::fs::remove_file(log).unwrap();
    }
}
