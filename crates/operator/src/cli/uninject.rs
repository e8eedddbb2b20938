//! `datakit-operator uninject`: takes out of manifests what `inject` or the webhook put in.

use anyhow::Context as _;
use serde_json::Value;

use super::manifests;
use super::rewrite::{self, Outlet};
use super::{EXIT_FAILURE, EXIT_OK, Streams};
use datakit_operator_manifest::template;
use datakit_operator_manifest::uninject::{engine, uninject};
use datakit_operator_manifest::{Content, Format};

/// Options of `uninject`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    manifests: manifests::ManifestArgs,

    #[command(flatten)]
    rewrite: rewrite::Args,

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
    /// No manifests: what would change in them, as a unified difference that `patch -p0` takes.
    Diff,
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
    let changes_files = args.rewrite.changes_files(&args.manifests)?;
    let prepared = args.manifests.prepare(&args.rewrite.named, streams)?;
    let engine = engine(&prepared.config);
    let outlet = match args.output {
        _ if changes_files => Outlet::InPlace,
        Some(Output::Diff) => Outlet::Diff,
        Some(Output::Yaml) => Outlet::Printed(Format::Yaml),
        Some(Output::Json) => Outlet::Printed(Format::Json),
        None => Outlet::Printed(manifests::natural_format(prepared.sources.iter().flatten())),
    };
    let quiet = args.rewrite.quiet;
    let errors = rewrite::each(
        &prepared.sources,
        outlet,
        streams,
        |source, writer, stderr| {
            let mut errors = 0;
            for document in &source.documents {
                let parsed = match &document.content {
                    Content::Nothing => {
                        writer.nothing(source, document)?;
                        continue;
                    }
                    Content::Broken(error) => {
                        errors += 1;
                        let why = manifests::broken(source, document, error, "it is left out");
                        writeln!(stderr, "error: {why}")?;
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
                    let mut features: Vec<&str> = uninjected
                        .features
                        .iter()
                        .map(|feature| feature.as_str())
                        .collect();
                    if features.is_empty() && uninjected.status {
                        features.push("the status");
                    }
                    if features.is_empty() {
                        continue;
                    }
                    let doubt = if uninjected.verified {
                        ""
                    } else {
                        "; injecting the result again gives something else, so compare it: the manifest may have been \
                     injected with another configuration, or changed since"
                    };
                    let owner = manifests::owner(&template);
                    let (name, line) = (&source.name, document.line);
                    if !quiet {
                        let features = features.join(", ");
                        writeln!(stderr, "{name}:{line}: {owner}: took out {features}{doubt}")?;
                    }
                    let whole = result.get_or_insert_with(|| parsed.value.clone());
                    let place = whole
                        .pointer_mut(&pointer)
                        .context("failed to find the pod template again")?;
                    *place = uninjected.template;
                }
                if writer.document(source, document, parsed, result.as_ref())? && !quiet {
                    writeln!(stderr, "{}", rewrite::written_anew(source, document))?;
                }
            }
            Ok(errors)
        },
    )?;
    Ok(if errors == 0 { EXIT_OK } else { EXIT_FAILURE })
}
