//! `datakit-operator man`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use super::{Cli, EXIT_OK, NAME, Streams, Usage};

/// Options of `man`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The command that the page is about; without one, the program as a whole.
    #[arg(conflicts_with = "output")]
    pub command: Option<String>,
    /// Write the pages of all commands into this directory, which is made if it isn't there.
    #[arg(long, short, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Examples:
  datakit-operator man inject | man -l -
      read the page of `inject`
  datakit-operator man --output /usr/local/share/man/man1
      install all pages";

/// Prints one manual page, or writes all of them.
pub fn run(args: &Args, streams: &mut Streams<'_>) -> anyhow::Result<u8> {
    let pages = pages();
    match (&args.output, &args.command) {
        (Some(directory), _) => write(directory, &pages)?,
        (None, wanted) => {
            let name = wanted
                .as_ref()
                .map_or(NAME.to_owned(), |command| format!("{NAME}-{command}"));
            let found = pages.iter().find(|page| page.name == name);
            let Some(page) = found else {
                let known: Vec<_> = pages.iter().filter_map(Page::command).collect();
                let wanted = wanted.as_deref().unwrap_or_default();
                let known = known.join(", ");
                return Err(Usage(anyhow::anyhow!(
                    "there is no command `{wanted}`; expected one of {known}"
                ))
                .into());
            };
            streams.stdout.write_all(page.text.as_bytes())?;
        }
    }
    Ok(EXIT_OK)
}

/// A manual page, in roff.
struct Page {
    name: String,
    text: String,
}

impl Page {
    /// The subcommand that it is about.
    fn command(&self) -> Option<&str> {
        self.name.strip_prefix(NAME)?.strip_prefix('-')
    }
}

/// That of the program, and one for each subcommand but `help`.
fn pages() -> Vec<Page> {
    let mut program = Cli::command();
    program.build();
    let commands: Vec<Command> = program
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
        .cloned()
        .collect();
    let mut pages = vec![page(NAME.to_owned(), program)];
    pages.extend(commands.into_iter().map(|command| {
        let name = format!("{NAME}-{}", command.get_name());
        page(name, command)
    }));
    pages
}

fn page(name: String, command: Command) -> Page {
    let mut text = Vec::new();
    // The same program gives the same page: no date.
    let man = Man::new(command).title(name.clone()).date("");
    // Writing into memory can't fail.
    let _ = man.render(&mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    Page { name, text }
}

fn write(directory: &Path, pages: &[Page]) -> anyhow::Result<()> {
    fs::create_dir_all(directory)
        .with_context(|| format!("failed to make the directory {}", directory.display()))?;
    for page in pages {
        let path = directory.join(format!("{}.1", page.name));
        fs::write(&path, &page.text)
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}
