//! The command line: parses it, runs one subcommand, turns its end into an exit code.
//!
//! Each subcommand is a file with an `Args` struct and a `run` function. Commands never print by
//! themselves: they write to the [`Streams`] they are given, so tests run them in the same way as
//! the shell does.

#[cfg(feature = "server")]
pub mod check;
pub mod check_config;
pub mod completions;
pub mod config;
pub mod convert_config;
#[cfg(feature = "server")]
pub mod election;
pub mod explain;
mod fetch;
pub mod inject;
pub mod man;
mod manifests;
#[cfg(feature = "server")]
pub mod missed;
#[cfg(feature = "server")]
mod remote;
mod rewrite;
#[cfg(feature = "server")]
pub mod serve;
pub mod source;
#[cfg(feature = "server")]
pub mod status;
mod table;
pub mod uninject;
pub mod version;

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::error::Chain;
use crate::visible::Visible;

/// What every command does when it did what it was asked for.
pub const EXIT_OK: u8 = 0;
/// The command was understood but could not do its work: a port in use, a file that can't be
/// written. `check-config --strict` uses it for warnings.
pub const EXIT_FAILURE: u8 = 1;
/// The command line, the configuration or a certificate is wrong: running again without changing it
/// can't help.
pub const EXIT_USAGE: u8 = 2;

/// What the program is called.
pub const NAME: &str = "datakit-operator";
/// What it is called where kubectl runs it, as `kubectl datakit`.
const PLUGIN: &str = "kubectl-datakit";

/// Puts observability into pods when they are created: APM libraries, a log sidecar, profilers.
#[derive(Debug, Parser)]
#[command(name = NAME, version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands, one file each.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the admission webhook.
    #[cfg(feature = "server")]
    Serve(Box<serve::Args>),
    /// Inject manifests as the webhook would inject their pods, and print them.
    Inject(inject::Args),
    /// Take out of manifests what was injected, and print them.
    Uninject(uninject::Args),
    /// Say for each pod template what would be injected, and if not, why not and what to change.
    Explain(explain::Args),
    /// Ask the cluster whether an installation is well, or whether there can be one.
    #[cfg(feature = "server")]
    Check(check::Args),
    /// Print everything that is doubtful about a configuration.
    CheckConfig(check_config::Args),
    /// Print the configuration in effect.
    Config(config::Args),
    /// Rewrite a configuration's sections of `admission_inject` as rules.
    ConvertConfig(convert_config::Args),
    /// Print which agent runs which input, as a running operator knows it.
    #[cfg(feature = "server")]
    Election(election::Args),
    /// List pods that would be injected if they were made now, and aren't.
    #[cfg(feature = "server")]
    Missed(missed::Args),
    /// Print how the replicas of an installation are doing and what they decided last.
    #[cfg(feature = "server")]
    Status(status::Args),
    /// Print the script that teaches a shell the commands and options.
    Completions(completions::Args),
    /// Print a manual page, or write all of them into a directory.
    Man(man::Args),
    /// Print the version, the commit it was built from and the platform it was built for.
    Version(version::Args),
}

/// Where a command reads and writes. The shell's streams in production, buffers in tests.
pub struct Streams<'a> {
    /// Standard input.
    pub stdin: &'a mut dyn Read,
    /// Standard output: what the user asked for.
    pub stdout: &'a mut dyn Write,
    /// Standard error: remarks about it.
    pub stderr: &'a mut dyn Write,
}

/// An error whose cause is the user's input, and which therefore ends with [`EXIT_USAGE`].
///
/// Wrap the error that explains what is wrong; `Usage` itself adds no words to it.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Usage(#[from] pub anyhow::Error);

const AFTER_HELP: &str = "\
Examples:
  datakit-operator serve --write-ca ca.pem
      run the webhook here, with a certificate made at start
  datakit-operator inject -f app.yaml | kubectl apply -f -
      inject manifests without any webhook
  datakit-operator explain -f app.yaml
      say what would be injected, and if not, why not

Exit codes:
  0  done
  1  failed for a reason outside the command line, such as a port in use
  2  wrong command line, configuration or certificate
  The subcommands' own help says where theirs differ.";

/// Runs the program with the process's arguments and streams.
#[must_use]
pub fn main() -> ExitCode {
    let mut command = Cli::command();
    if is_plugin() {
        command = command.bin_name(PLUGIN.replacen('-', " ", 1));
    }
    let matches = command.try_get_matches();
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        // Clap knows whether this is `--help` (standard output, 0) or a mistake (standard error,
        // 2).
        Err(error) => error.exit(),
    };
    let (mut stdin, mut stdout, mut stderr) =
        (io::stdin(), io::stdout().lock(), Visible(io::stderr()));
    let mut streams = Streams {
        stdin: &mut stdin,
        stdout: &mut stdout,
        stderr: &mut stderr,
    };
    run(cli.command, &mut streams).into()
}

/// Runs one subcommand and reports its error, if any, as one line on standard error. Returns the
/// exit code.
pub fn run(command: Command, streams: &mut Streams<'_>) -> u8 {
    let result = match command {
        #[cfg(feature = "server")]
        Command::Serve(args) => serve::run(&args, streams),
        Command::Inject(args) => inject::run(&args, streams),
        Command::Uninject(args) => uninject::run(&args, streams),
        Command::Explain(args) => explain::run(&args, streams),
        #[cfg(feature = "server")]
        Command::Check(args) => check::run(&args, streams),
        Command::CheckConfig(args) => check_config::run(&args, streams),
        Command::Config(args) => config::run(&args, streams),
        Command::ConvertConfig(args) => convert_config::run(&args, streams),
        #[cfg(feature = "server")]
        Command::Election(args) => election::run(&args, streams),
        #[cfg(feature = "server")]
        Command::Missed(args) => missed::run(&args, streams),
        #[cfg(feature = "server")]
        Command::Status(args) => status::run(&args, streams),
        Command::Completions(args) => completions::run(&args, streams),
        Command::Man(args) => man::run(&args, streams),
        Command::Version(args) => version::run(&args, streams),
    };
    match result.and_then(|code| Ok(streams.stdout.flush().map(|()| code)?)) {
        Ok(code) => code,
        // `… | head` closed the pipe: it has what it wanted.
        Err(error) if is_broken_pipe(&error) => EXIT_OK,
        Err(error) => {
            let _ = writeln!(
                streams.stderr,
                "datakit-operator: {}",
                Chain(error.as_ref())
            );
            if error.is::<Usage>() {
                EXIT_USAGE
            } else {
                EXIT_FAILURE
            }
        }
    }
}

/// Whether the program was started by the name that makes it a plugin of kubectl.
fn is_plugin() -> bool {
    let program = std::env::args_os().next().map(PathBuf::from);
    let name = program.as_ref().and_then(|program| program.file_stem());
    name.is_some_and(|name| name == PLUGIN)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
