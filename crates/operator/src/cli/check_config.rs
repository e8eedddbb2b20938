//! `datakit-operator check-config`: everything that is doubtful about a configuration.

use std::path::PathBuf;

use clap::ValueEnum;
use datakit_operator_core::config::{Config, ConfigError, Language, Places, Position, Rule, When};
use datakit_operator_core::diagnostic::{Code, Diagnostic, Severity};
use datakit_operator_core::image::Image;
use datakit_operator_core::selector::{LabelSelector, NamespacePattern};
use serde_json::{Value, json};

use super::source::{self, Source};
use super::{EXIT_FAILURE, EXIT_OK, EXIT_USAGE, Streams, Usage, manifests};

/// Options of `check-config`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The configuration, `-` for standard input; without it ENV_CONFIG_FILE, then ENV_JSON_CONFIG,
    /// then the embedded default.
    file: Option<PathBuf>,

    /// How to print what is found: lines of text, or one JSON object, whose form
    /// docs/configuration.md describes.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,

    /// Treat warnings as a failure.
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    #[default]
    Text,
    Json,
}

const AFTER_HELP: &str = "\
Prints one line for each finding: how bad it is, the JSON path, what is wrong, the value that was found and what to write \
instead. An error takes the value out of use, a warning leaves it in use: some of it can't be read as it stands, some is \
probably not meant, such as a rule that an earlier one leaves nothing for, a pattern that fits more namespaces than it seems to, \
a password in plain text. The deprecated environment variables that override parts of the configuration are checked as well.

Examples:
  datakit-operator check-config operator.json
  datakit-operator check-config -o json operator.json | jq '.diagnostics[] | {code, path, line}'
  kubectl get configmap -n datakit datakit-operator-config -o jsonpath='{.data.jsonconfig}' |
    datakit-operator check-config --strict -

Exit codes:
  0  nothing found, or only warnings
  1  warnings, with --strict
  2  errors, or not readable as JSON";

/// What there is to say about a configuration.
struct Report {
    /// Where it came from.
    source: String,
    diagnostics: Vec<(Diagnostic, Option<Position>)>,
    rules: Vec<Rule>,
}

/// Prints every diagnostic of a configuration.
///
/// # Errors
///
/// For a configuration that can't be read or is no JSON, and for output that can't be written.
pub fn run(args: &Args, streams: &mut Streams<'_>) -> anyhow::Result<u8> {
    let chosen;
    let (source, text) = match &args.file {
        Some(path) if path.as_os_str() == "-" => {
            let text = source::read_stdin(streams.stdin).map_err(Usage)?;
            // A pipe that nothing came through isn't worth a word more than that nothing is
            // injected.
            let text = if text.trim().is_empty() {
                "{}".into()
            } else {
                text.into()
            };
            ("standard input".to_owned(), text)
        }
        file => {
            chosen = Source::choose(file.as_deref())?;
            (chosen.to_string(), chosen.text()?)
        }
    };
    let report = match check(source, &text) {
        Ok(report) => report,
        Err((source, error)) if args.output == Output::Json => unreadable(source, error),
        Err((source, error)) => {
            let error = anyhow::Error::from(error);
            let place = format!("failed to load the configuration from {source}");
            return Err(Usage(error.context(place)).into());
        }
    };
    report.print(args.output, streams)?;
    Ok(
        match (
            report.count(Severity::Error),
            report.count(Severity::Warning),
        ) {
            (0, 0) => EXIT_OK,
            (0, _) if !args.strict => EXIT_OK,
            (0, _) => EXIT_FAILURE,
            _ => EXIT_USAGE,
        },
    )
}

fn check(source: String, text: &str) -> Result<Report, (String, ConfigError)> {
    let (config, mut diagnostics) = match Config::load(text, &source::overrides()) {
        Ok(loaded) => loaded,
        Err(error) => return Err((source, error)),
    };
    if config.injects_nothing() {
        diagnostics.push(
            Diagnostic::warning("", "no feature has an image, so nothing is injected")
                .code(Code::InjectsNothing),
        );
    }
    diagnostics.extend(config.lint());
    let places = Places::of(text);
    let with_place = |diagnostic: Diagnostic| {
        let place = places.find(&diagnostic.path);
        (diagnostic, place)
    };
    Ok(Report {
        source,
        diagnostics: diagnostics.into_iter().map(with_place).collect(),
        rules: config.rules,
    })
}

/// The report on a document of which nothing can be used.
fn unreadable(source: String, error: ConfigError) -> Report {
    let finding = match error {
        ConfigError::Syntax {
            at,
            path,
            reason,
            excerpt,
        } => {
            let error = Diagnostic::error(path, reason).code(Code::NotJson);
            (error.found(excerpt), Some(at))
        }
        error @ ConfigError::NotAnObject(_) => {
            let error = Diagnostic::error("", error.to_string());
            (error.code(Code::NotAnObject), None)
        }
    };
    Report {
        source,
        diagnostics: vec![finding],
        rules: Vec::new(),
    }
}

impl Report {
    fn count(&self, severity: Severity) -> usize {
        let of = |(diagnostic, _): &&(Diagnostic, _)| diagnostic.severity == severity;
        self.diagnostics.iter().filter(of).count()
    }

    fn print(&self, output: Output, streams: &mut Streams<'_>) -> anyhow::Result<()> {
        match output {
            Output::Text => {
                for (diagnostic, _) in &self.diagnostics {
                    writeln!(streams.stdout, "{diagnostic}")?;
                }
            }
            Output::Json => writeln!(streams.stdout, "{:#}", self.to_json())?,
        }
        let verdict = match (self.count(Severity::Error), self.count(Severity::Warning)) {
            (0, 0) => "nothing to complain about".to_owned(),
            (errors, warnings) => format!(
                "{}, {}",
                manifests::count(errors, "error"),
                manifests::count(warnings, "warning")
            ),
        };
        writeln!(
            streams.stderr,
            "configuration from {}: {verdict}",
            self.source
        )?;
        Ok(())
    }

    fn to_json(&self) -> Value {
        let diagnostics = self.diagnostics.iter();
        let diagnostics = diagnostics.map(|(diagnostic, place)| finding(diagnostic, *place));
        json!({
            "source": self.source,
            "errors": self.count(Severity::Error),
            "warnings": self.count(Severity::Warning),
            "diagnostics": diagnostics.collect::<Vec<Value>>(),
            "rules": self.rules.iter().filter(is_written).map(rule).collect::<Vec<Value>>(),
        })
    }
}

/// One finding, as docs/configuration.md describes it.
pub(super) fn finding(diagnostic: &Diagnostic, place: Option<Position>) -> Value {
    json!({
        "severity": diagnostic.severity.as_str(),
        "code": diagnostic.code.as_str(),
        "path": diagnostic.path,
        "line": place.map(|place| place.line),
        "column": place.map(|place| place.column),
        "message": diagnostic.message,
        "found": diagnostic.found,
        "suggestion": diagnostic.suggestion,
    })
}

/// Whether a rule is more than the answer to an annotation that its feature isn't configured.
fn is_written(rule: &&Rule) -> bool {
    rule.image.is_some() || rule.when != When::annotation()
}

/// A rule in short.
fn rule(rule: &Rule) -> Value {
    let namespaces = rule.when.namespaces.iter();
    let labels = rule.when.labels.iter();
    json!({
        "feature": rule.feature.as_str(),
        "path": rule.origin.as_str(),
        "name": rule.origin.name(),
        "language": rule.language.map(Language::as_str),
        "image": rule.image.as_ref().map(Image::as_str),
        "annotation": rule.when.annotation,
        "namespaces": namespaces.map(NamespacePattern::as_str).collect::<Vec<&str>>(),
        "labels": labels.map(LabelSelector::as_str).collect::<Vec<&str>>(),
    })
}
