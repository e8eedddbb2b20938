//! `datakit-operator config`: the configuration in effect.

use std::path::PathBuf;

use datakit_operator_core::config::Config;

use super::source::Source;
use super::{EXIT_OK, Streams};

/// Options of `config`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The configuration; without it ENV_CONFIG_FILE, then ENV_JSON_CONFIG, then the embedded
    /// default.
    #[arg(long, value_name = "FILE", conflicts_with = "schema")]
    config: Option<PathBuf>,

    /// Print the JSON Schema of configurations instead.
    #[arg(long)]
    schema: bool,
}

const AFTER_HELP: &str = "\
Prints the configuration as the operator understands it, as JSON that it would understand in the same way: defaults \
spelled out, environment variables applied, what can't be used left out. Where it came from and what is doubtful about it \
goes to standard error.

Examples:
  datakit-operator config > operator.json            a file to start from
  datakit-operator config --config operator.json | diff operator.json -
  datakit-operator config --schema > config.schema.json

Exit codes:
  0  printed
  2  wrong command line, or a configuration that can't be read";

/// Prints the effective configuration.
///
/// # Errors
///
/// For a configuration that can't be read or is no JSON, and for output that can't be written.
pub fn run(args: &Args, streams: &mut Streams<'_>) -> anyhow::Result<u8> {
    if args.schema {
        writeln!(streams.stdout, "{:#}", Config::schema())?;
        return Ok(EXIT_OK);
    }
    let source = Source::choose(args.config.as_deref())?;
    let loaded = source.load()?;
    writeln!(streams.stderr, "configuration from {source}")?;
    for diagnostic in &loaded.diagnostics {
        writeln!(streams.stderr, "{diagnostic}")?;
    }
    writeln!(streams.stdout, "{}", loaded.config.to_json().trim_end())?;
    Ok(EXIT_OK)
}
