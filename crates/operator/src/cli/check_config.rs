//! `datakit-operator check-config`: everything that is doubtful about a configuration.

use std::path::PathBuf;

use anyhow::Context as _;
use datakit_operator_core::config::{Config, EnvOverrides};
use datakit_operator_core::diagnostic::{Diagnostic, Severity};

use super::source::{self, Loaded, Source};
use super::{EXIT_FAILURE, EXIT_OK, EXIT_USAGE, Streams, Usage, manifests};
use crate::file::{self, MAX_CONFIG};

/// Options of `check-config`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The configuration, `-` for standard input; without it ENV_CONFIG_FILE, then ENV_JSON_CONFIG,
    /// then the embedded default.
    file: Option<PathBuf>,

    /// Treat warnings as a failure.
    #[arg(long)]
    strict: bool,
}

const AFTER_HELP: &str = "\
Prints one line for each finding: how bad it is, the JSON path, what is wrong, the value that was found and what to write \
instead. An error takes the value out of use, a warning leaves it in use. The deprecated environment variables that \
override parts of the configuration are checked as well.

Examples:
  datakit-operator check-config operator.json
  kubectl get configmap -n datakit datakit-operator-config -o jsonpath='{.data.jsonconfig}' |
    datakit-operator check-config --strict -

Exit codes:
  0  nothing found, or only warnings
  1  warnings, with --strict
  2  errors, or not readable as JSON";

/// Prints every diagnostic of a configuration.
///
/// # Errors
///
/// For a configuration that can't be read or is no JSON, and for output that can't be written.
pub fn run(args: &Args, streams: &mut Streams<'_>) -> anyhow::Result<u8> {
    let (name, loaded) = match &args.file {
        Some(path) if path.as_os_str() == "-" => {
            let bytes = file::read_to_end(&mut streams.stdin, MAX_CONFIG)
                .context("failed to read standard input")
                .map_err(Usage)?;
            let text = source::decode(bytes)
                .context("failed to read standard input")
                .map_err(Usage)?;
            ("standard input".to_owned(), load(&text)?)
        }
        file => {
            let source = Source::choose(file.as_deref())?;
            (source.to_string(), source.load()?)
        }
    };
    let Loaded {
        config,
        mut diagnostics,
    } = loaded;
    if config.injects_nothing() {
        diagnostics.push(Diagnostic::warning(
            "",
            "no feature has an image, so nothing is injected",
        ));
    }
    for diagnostic in &diagnostics {
        writeln!(streams.stdout, "{diagnostic}")?;
    }
    let of = |severity| {
        diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == severity)
            .count()
    };
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    let verdict = match (errors, warnings) {
        (0, 0) => "nothing to complain about".to_owned(),
        _ => format!(
            "{}, {}",
            manifests::count(errors, "error"),
            manifests::count(warnings, "warning")
        ),
    };
    writeln!(streams.stderr, "configuration from {name}: {verdict}")?;
    Ok(match (errors, warnings) {
        (0, 0) => EXIT_OK,
        (0, _) if !args.strict => EXIT_OK,
        (0, _) => EXIT_FAILURE,
        _ => EXIT_USAGE,
    })
}

fn load(text: &str) -> Result<Loaded, Usage> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    let set = EnvOverrides::VARIABLES
        .iter()
        .filter_map(|name| Some((*name, std::env::var(name).ok()?)));
    let (config, diagnostics) = Config::load(text, &EnvOverrides::from_vars(set))
        .context("failed to load the configuration from standard input")?;
    Ok(Loaded {
        config,
        diagnostics,
    })
}
