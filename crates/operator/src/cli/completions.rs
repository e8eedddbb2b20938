//! `datakit-operator completions`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, EXIT_OK, NAME, Streams};

/// Options of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The shell that they are for.
    pub shell: Shell,
}

const AFTER_HELP: &str = "\
Examples:
  source <(datakit-operator completions bash)
      complete commands and options in this shell
  datakit-operator completions fish > ~/.config/fish/completions/datakit-operator.fish
      in every shell from now on";

/// Prints the script that teaches a shell the commands and options.
pub fn run(args: &Args, streams: &mut Streams<'_>) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut script);
    let mut script = String::from_utf8(script)?;
    if args.shell == Shell::Bash {
        // The generator writes a dash in the program's name in two ways, and what it calls one way
        // it looks for by the other: options would not be offered behind a command.
        script = script.replace(&NAME.replace('-', "__subcmd__"), &NAME.replace('-', "__"));
    }
    streams.stdout.write_all(script.as_bytes())?;
    Ok(EXIT_OK)
}
