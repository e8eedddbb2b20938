//! `datakit-operator convert-config`: `admission_inject` as rules of `admission_inject_v2`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;
use datakit_operator_core::config::{Config, Converted, Places};
use datakit_operator_core::diagnostic::{Diagnostic, Severity};
use datakit_operator_manifest::{Content, Source as Manifests, Writer};
use serde_json::{Value, json};

use super::source::{self, Source};
use super::{EXIT_FAILURE, EXIT_OK, Streams, Usage, check_config, manifests};

/// Options of `convert-config`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The configuration, or a manifest of the ConfigMap that holds it; `-` for standard input.
    /// Without it ENV_CONFIG_FILE, then ENV_JSON_CONFIG, then the embedded default.
    file: Option<PathBuf>,

    /// What to print: the document as a file has it, or one JSON object with the document and the
    /// remarks.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    #[default]
    File,
    Json,
}

/// The key of a ConfigMap that holds the document.
const KEY: &str = "jsonconfig";

const AFTER_HELP: &str = "\
Rewrites the sections of `admission_inject` as rules of `admission_inject_v2`, before those that are there already. Everything \
else in the document stays as it is. Of a manifest only the key `jsonconfig` of ConfigMaps is changed. What is left out because \
it had no effect, and what rules do differently, goes to standard error.

Examples:
  datakit-operator convert-config old.json > new.json
  kubectl get configmap -n datakit datakit-operator-config -o yaml | datakit-operator convert-config - | kubectl apply -f -

Exit codes:
  0  printed; the rules do what the sections did, but for what the warnings say
  1  printed, but something can't be said by rules: see the errors
  2  wrong command line, or a configuration that can't be read; nothing is printed";

/// Prints a configuration with rules in the place of sections.
///
/// # Errors
///
/// For a configuration that can't be read or is no JSON, and for output that can't be written.
pub fn run(args: &Args, streams: &mut Streams<'_>) -> anyhow::Result<u8> {
    let chosen;
    let (source, text) = match &args.file {
        Some(path) if path.as_os_str() == "-" => {
            let text = source::read_stdin(streams.stdin).map_err(Usage)?;
            ("standard input".to_owned(), text.into())
        }
        file => {
            chosen = Source::choose(file.as_deref())?;
            (chosen.to_string(), chosen.text()?)
        }
    };
    let remarks = match config_maps(&source, &text) {
        Some(manifest) => in_manifest(args.output, &source, &manifest, streams)?,
        None => {
            let converted = convert(&text)
                .with_context(|| format!("failed to load the configuration from {source}"))
                .map_err(Usage)?;
            print(args.output, &converted, &text, streams)?;
            converted.remarks
        }
    };
    let errors = remarks
        .iter()
        .filter(|remark| remark.severity == Severity::Error)
        .count();
    let verdict = match (errors, remarks.len() - errors) {
        (0, 0) => "converted".to_owned(),
        (errors, warnings) => format!(
            "converted with {}, {}",
            manifests::count(errors, "error"),
            manifests::count(warnings, "warning")
        ),
    };
    writeln!(streams.stderr, "configuration from {source}: {verdict}")?;
    Ok(if errors == 0 { EXIT_OK } else { EXIT_FAILURE })
}

fn convert(text: &str) -> anyhow::Result<Converted> {
    Ok(Config::convert(text, &source::overrides())?)
}

fn print(
    output: Output,
    converted: &Converted,
    text: &str,
    streams: &mut Streams<'_>,
) -> anyhow::Result<()> {
    match output {
        Output::File => {
            write!(streams.stdout, "{}", converted.document)?;
            say(&converted.remarks, streams)
        }
        Output::Json => {
            let document: Value = serde_json::from_str(&converted.document)
                .context("failed to read the converted document")?;
            let places = Places::of(text);
            let remarks = converted.remarks.iter();
            let remarks: Vec<Value> = remarks
                .map(|remark| check_config::finding(remark, places.find(&remark.path)))
                .collect();
            let all = json!({ "document": document, "remarks": remarks });
            writeln!(streams.stdout, "{all:#}")?;
            Ok(())
        }
    }
}

fn say(remarks: &[Diagnostic], streams: &mut Streams<'_>) -> anyhow::Result<()> {
    for remark in remarks {
        writeln!(streams.stderr, "{remark}")?;
    }
    Ok(())
}

/// The manifests in a text, if it holds ConfigMaps instead of a configuration.
fn config_maps(name: &str, text: &str) -> Option<Manifests> {
    let manifests = Manifests::parse(name, text);
    let mut contents = manifests.documents.iter().map(|document| &document.content);
    let has_any = contents.any(|content| match content {
        Content::Value(parsed) => parsed.value["kind"] == "ConfigMap",
        _ => false,
    });
    has_any.then_some(manifests)
}

fn in_manifest(
    output: Output,
    name: &str,
    manifests: &Manifests,
    streams: &mut Streams<'_>,
) -> anyhow::Result<Vec<Diagnostic>> {
    let mut changes = Vec::new();
    for document in &manifests.documents {
        changes.push(match &document.content {
            Content::Value(parsed) if parsed.value["kind"] == "ConfigMap" => {
                match parsed.value["data"][KEY].as_str() {
                    Some(text) => Some((text, convert_in(name, document.line, text)?)),
                    None => None,
                }
            }
            Content::Broken(error) => {
                let line = document.line_of(error);
                return Err(Usage(anyhow::anyhow!(
                    "failed to read {name} at line {line}: {error}"
                ))
                .into());
            }
            _ => None,
        });
    }
    if changes.iter().all(Option::is_none) {
        let missing = format!("no ConfigMap in {name} has a text at `data.{KEY}`");
        return Err(Usage(anyhow::anyhow!(missing)).into());
    }
    if output == Output::Json {
        for (text, converted) in changes.iter().flatten() {
            print(output, converted, text, streams)?;
        }
    } else {
        let format = manifests.formats().next().context("no document")?;
        let mut writer = Writer::new(&mut *streams.stdout, format);
        for (document, change) in manifests.documents.iter().zip(&changes) {
            match (&document.content, change) {
                (Content::Value(parsed), Some((_, converted))) => {
                    let mut value = parsed.value.clone();
                    value["data"][KEY] = converted.document.as_str().into();
                    writer.document(manifests, document, parsed, Some(&value))?;
                }
                (Content::Value(parsed), None) => {
                    writer.document(manifests, document, parsed, None)?;
                }
                _ => writer.nothing(manifests, document)?,
            }
        }
    }
    let remarks: Vec<Diagnostic> = changes
        .into_iter()
        .flatten()
        .flat_map(|(_, converted)| converted.remarks)
        .collect();
    if output == Output::File {
        say(&remarks, streams)?;
    }
    Ok(remarks)
}

fn convert_in(name: &str, line: usize, text: &str) -> Result<Converted, Usage> {
    let place = || format!("failed to load data.{KEY} of the ConfigMap at line {line} of {name}");
    Ok(convert(text).with_context(place)?)
}
