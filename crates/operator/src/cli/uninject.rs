//! `datakit-operator uninject`: takes out of manifests what `inject` or the webhook put in.

use anyhow::Context as _;
use serde_json::Value;

use super::manifests;
use super::{EXIT_FAILURE, EXIT_OK, Streams};
use crate::error::Chain;
use datakit_operator_manifest::template;
use datakit_operator_manifest::uninject::{engine, uninject};
use datakit_operator_manifest::{Content, Format, Source, Writer};

/// Options of `uninject`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    manifests: manifests::ManifestArgs,

    /// How to print the manifests [default: JSON if all of them are JSON, else YAML].
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Output>,
}

/// What `uninject` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// YAML documents.
    Yaml,
    /// JSON objects, one after the other.
    Json,
}

const AFTER_HELP: &str = "\
Give it the configuration that the manifests were injected with: only that tells which variables are the operator's. \
Each result is injected again to see that it gives the manifest; a note says so where it doesn't. The annotations that \
ask for injection stay. Three things can't be told from what injection made: lists that were empty before are left out, \
`shareProcessNamespace` goes together with the profiler, and a variable of your own with the value and the place that \
injection would have given it counts as injected.

Examples:
  datakit-operator uninject -f injected.yaml > app.yaml
  kubectl get pod web-0 -o yaml | datakit-operator uninject -f - --config operator.json

Exit codes:
  0  all manifests are printed
  1  some could not be read or parsed: these are left out, the others are printed
  2  wrong command line or configuration; nothing is printed";

/// Prints the manifests without what was injected into their pod templates.
///
/// # Errors
///
/// For a configuration that can't be used, and for output that can't be written.
pub fn run(args: &Args, streams: &mut Streams<'_>) -> anyhow::Result<u8> {
    let prepared = args.manifests.prepare(streams)?;
    let engine = engine(&prepared.config);
    let format = match args.output {
        Some(Output::Yaml) => Format::Yaml,
        Some(Output::Json) => Format::Json,
        None => manifests::natural_format(&prepared.sources),
    };
    let mut writer = Writer::new(&mut *streams.stdout, format);
    let mut errors = 0;
    for source in &prepared.sources {
        let source: &Source = match source {
            Ok(source) => source,
            Err(error) => {
                errors += 1;
                writeln!(streams.stderr, "error: {}", Chain(error))?;
                continue;
            }
        };
        for document in &source.documents {
            let parsed = match &document.content {
                Content::Nothing => {
                    writer.nothing(source, document)?;
                    continue;
                }
                Content::Broken(error) => {
                    errors += 1;
                    let why = manifests::broken(source, document, error, "it is left out");
                    writeln!(streams.stderr, "error: {why}")?;
                    continue;
                }
                Content::Value(parsed) => parsed,
            };
            let mut result: Option<Value> = None;
            for template in template::find(&parsed.value) {
                let pointer = template.pointer();
                let pod = parsed.value.pointer(&pointer).unwrap_or(&Value::Null);
                let namespace = args.manifests.namespace_of(&template);
                let uninjected = uninject(pod, Some(namespace), &engine, &prepared.context);
                if uninjected.features.is_empty() {
                    continue;
                }
                let features: Vec<&str> = uninjected
                    .features
                    .iter()
                    .map(|feature| feature.as_str())
                    .collect();
                let doubt = if uninjected.verified {
                    ""
                } else {
                    "; injecting the result again gives something else, so compare it: the manifest may have been \
                     injected with another configuration, or changed since"
                };
                let owner = manifests::owner(&template);
                writeln!(
                    streams.stderr,
                    "{}:{}: {owner}: took out {}{doubt}",
                    source.name,
                    document.line,
                    features.join(", ")
                )?;
                let whole = result.get_or_insert_with(|| parsed.value.clone());
                let place = whole
                    .pointer_mut(&pointer)
                    .context("failed to find the pod template again")?;
                *place = uninjected.template;
            }
            if writer.document(source, document, parsed, result.as_ref())? {
                writeln!(
                    streams.stderr,
                    "note: document {} of `{}` is written anew, without its comments: the changes don't fit into its \
                     text",
                    document.number, source.name
                )?;
            }
        }
    }
    Ok(if errors == 0 { EXIT_OK } else { EXIT_FAILURE })
}
