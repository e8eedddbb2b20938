//! `datakit-operator inject`: what the webhook does to pods, done to manifests.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Context as _;
use datakit_operator_core::inject::{Decision, Feature, Injection, Note, Outcome, inject_pod};
use serde_json::{Value, json};

use super::manifests::{self, Prepared};
use super::rewrite::{self, Outlet};
use super::{EXIT_FAILURE, EXIT_OK, Streams};
use datakit_operator_manifest::template::{self, PodTemplate, Unhandled};
use datakit_operator_manifest::{Content, Document, Format, Parsed, Source, Writer, patch};

/// Options of `inject`.
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

    /// Also tell about features that nobody asked for, and end with the summary.
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,
}

/// What `inject` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// YAML documents; JSON input is turned into YAML.
    Yaml,
    /// JSON objects, one after the other, which kubectl and jq read.
    Json,
    /// No manifests: for each pod template one line with a JSON object that has the object's kind
    /// and name and the JSON patch (RFC 6902) that would be applied to it.
    Patch,
    /// No manifests: what would change in them, as a unified difference that `patch -p0` takes.
    Diff,
}

const AFTER_HELP: &str = "\
The pod templates of Pod, Deployment, DaemonSet, StatefulSet, ReplicaSet, ReplicationController, Job, CronJob and \
PodTemplate objects are injected, also in lists, and those of any other kind that has one at spec.template or \
spec.jobTemplate.spec.template. Everything else is printed as it was read, byte for byte; a note names objects with \
annotations for the operator elsewhere. In documents \
that change, comments, order and quoting stay wherever the change allows; where it doesn't (the pod template comes from \
a YAML alias, say), the document is written anew and a note says so.

What was decided goes to standard error, one line a feature. Several files end with a summary.

Examples:
  datakit-operator inject -f app.yaml | kubectl apply -f -
  helm template shop ./chart | datakit-operator inject -f - --kubernetes-version 1.34 > shop.yaml
  datakit-operator inject -f manifests/ -o patch | jq -c .patch
  datakit-operator inject --in-place --quiet 'manifests/**/*.yaml'
  datakit-operator inject -o diff https://k8s.io/examples/application/deployment.yaml

Exit codes:
  0  all manifests are printed; a feature that was asked for and skipped does not count as a failure
  1  some could not be read or parsed: these are left out, the others are printed
  2  wrong command line or configuration; nothing is printed";

/// What was seen and done.
#[derive(Default)]
struct Summary {
    files: usize,
    documents: usize,
    templates: usize,
    errors: usize,
    outcomes: BTreeMap<(Feature, Outcome), usize>,
}

/// Prints the manifests with their pod templates injected.
///
/// # Errors
///
/// For a configuration that can't be used, and for output that can't be written.
pub fn run(args: &Args, streams: &mut Streams<'_>) -> anyhow::Result<u8> {
    let changes_files = args.rewrite.changes_files(&args.manifests)?;
    let prepared = args.manifests.prepare(&args.rewrite.named, streams)?;
    let outlet = match args.output {
        _ if changes_files => Outlet::InPlace,
        Some(Output::Diff) => Outlet::Diff,
        Some(Output::Yaml) => Outlet::Printed(Format::Yaml),
        Some(Output::Json | Output::Patch) => Outlet::Printed(Format::Json),
        None => Outlet::Printed(manifests::natural_format(prepared.sources.iter().flatten())),
    };
    let mut summary = Summary::default();
    let errors = rewrite::each(
        &prepared.sources,
        outlet,
        streams,
        |source, writer, stderr| {
            let before = summary.errors;
            let mut run = Run {
                args,
                prepared: &prepared,
                summary: &mut summary,
                stderr,
            };
            run.source(source, writer)?;
            Ok(summary.errors - before)
        },
    )?;
    summary.errors = errors;
    if !args.rewrite.quiet && (prepared.sources.len() > 1 || args.verbose) {
        summary.print(streams.stderr)?;
    }
    Ok(if summary.errors == 0 {
        EXIT_OK
    } else {
        EXIT_FAILURE
    })
}

struct Run<'r> {
    args: &'r Args,
    prepared: &'r Prepared,
    summary: &'r mut Summary,
    stderr: &'r mut dyn Write,
}

impl Run<'_> {
    fn source<'s>(
        &mut self,
        source: &'s Source,
        writer: &mut Writer<'_, 's>,
    ) -> anyhow::Result<()> {
        self.summary.files += 1;
        let patches_only = self.args.output == Some(Output::Patch);
        for document in &source.documents {
            match &document.content {
                Content::Nothing if patches_only => {}
                Content::Nothing => writer.nothing(source, document)?,
                Content::Broken(error) => {
                    self.summary.errors += 1;
                    let why = manifests::broken(source, document, error, "it is left out");
                    writeln!(self.stderr, "error: {why}")?;
                }
                Content::Value(parsed) => {
                    self.summary.documents += 1;
                    let injected = self.document(
                        source,
                        document,
                        parsed,
                        patches_only.then_some(&mut *writer),
                    )?;
                    if !patches_only
                        && writer.document(source, document, parsed, injected.as_ref())?
                    {
                        let note = rewrite::written_anew(source, document);
                        self.remark(&note)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The document with its templates injected; none if nothing changes. Prints patches instead to
    /// a given writer.
    fn document(
        &mut self,
        source: &Source,
        document: &Document,
        parsed: &Parsed,
        mut patches: Option<&mut Writer<'_, '_>>,
    ) -> anyhow::Result<Option<Value>> {
        let mut injected: Option<Value> = None;
        for template in template::find(&parsed.value) {
            self.summary.templates += 1;
            let pointer = template.pointer();
            let pod = parsed.value.pointer(&pointer).unwrap_or(&Value::Null);
            let text = pod.to_string();
            let namespace = self.args.manifests.namespace_of(&template);
            let injection = match inject_pod(
                &text,
                Some(namespace),
                &self.prepared.engine,
                &self.prepared.context,
            ) {
                Ok(injection) => injection,
                Err(error) => {
                    self.summary.errors += 1;
                    let place = place(source, document, &template);
                    writeln!(
                        self.stderr,
                        "error: {place}: failed to read the pod template: {error}; it is left as it is"
                    )?;
                    continue;
                }
            };
            self.report(source, document, &template, &injection)?;
            if let Some(writer) = &mut patches {
                writer.line(&patch_line(source, document, &template, &injection)?)?;
            } else if !injection.patch.is_empty() {
                let pod =
                    patch::apply(pod, &injection.patch).context("failed to apply the patch")?;
                let whole = injected.get_or_insert_with(|| parsed.value.clone());
                if let Some(place) = whole.pointer_mut(&pointer) {
                    *place = pod;
                }
            }
        }
        for unhandled in template::unhandled(&parsed.value) {
            let place = format!("{}:{}", source.name, document.line);
            self.remark(&format!("{place}: {}", unhandled_remark(&unhandled)))?;
        }
        Ok(injected)
    }

    /// One line for each feature that was asked for or done, and one for each thing worth knowing.
    fn report(
        &mut self,
        source: &Source,
        document: &Document,
        template: &PodTemplate,
        injection: &Injection<'_>,
    ) -> anyhow::Result<()> {
        let place = place(source, document, template);
        for decision in &injection.decisions {
            *self
                .summary
                .outcomes
                .entry((decision.feature, decision.outcome))
                .or_default() += 1;
            if decision.outcome != Outcome::NotRequested || self.args.verbose {
                self.remark(&format!("{place}: {}", sentence(decision)))?;
            }
            for note in &decision.notes {
                let subject = decision.subject();
                self.remark(&format!("{place}: {subject}: {note}; {}", note.remedy()))?;
            }
        }
        for remark in general_remarks(template, injection) {
            self.remark(&format!("{place}: {remark}"))?;
        }
        Ok(())
    }

    /// Tells about what is no error.
    fn remark(&mut self, text: &str) -> std::io::Result<()> {
        if self.args.rewrite.quiet {
            return Ok(());
        }
        writeln!(self.stderr, "{text}")
    }
}

impl Summary {
    fn print(&self, stderr: &mut dyn Write) -> std::io::Result<()> {
        writeln!(
            stderr,
            "{}, {}, {}",
            manifests::count(self.files, "file"),
            manifests::count(self.documents, "document"),
            manifests::count(self.templates, "pod template")
        )?;
        for feature in Feature::ALL {
            let counts: Vec<String> = Outcome::ALL
                .into_iter()
                .filter_map(|outcome| {
                    let count = self.outcomes.get(&(feature, outcome))?;
                    Some(format!("{count} {}", words(outcome)))
                })
                .collect();
            if !counts.is_empty() {
                writeln!(stderr, "  {:<9}  {}", feature.as_str(), counts.join(", "))?;
            }
        }
        if self.errors > 0 {
            writeln!(stderr, "  {}", manifests::count(self.errors, "error"))?;
        }
        Ok(())
    }
}

/// What to say about annotations that nothing comes of.
pub(super) fn unhandled_remark(unhandled: &Unhandled) -> String {
    format!(
        "note: {}/{} has annotations for the operator at {}, where no pod template is known, so nothing is injected; \
         pods that are made from it are injected if their own annotations ask for it",
        unhandled.kind, unhandled.name, unhandled.place
    )
}

/// What is worth knowing about a template and belongs to none of its features.
pub(super) fn general_remarks(template: &PodTemplate, injection: &Injection<'_>) -> Vec<String> {
    let misplaced = template.misplaced.iter().map(|key| {
        let note = Note::MisplacedAnnotation {
            annotation: key.clone(),
            kind: template.kind.clone(),
            template: template.path.trim_start_matches('/').replace('/', "."),
        };
        format!("{note}; {}", note.remedy())
    });
    let has_sidecar = |decision: &Decision| {
        let there = [
            Outcome::Injected,
            Outcome::Repaired,
            Outcome::AlreadyInjected,
        ];
        decision.feature == Feature::Logfwd && there.contains(&decision.outcome)
    };
    let has_sidecar = injection.decisions.iter().any(has_sidecar);
    let rule = template.failure_rule.filter(|_| has_sidecar).map(|rule| {
        format!(
            "rule {rule} of podFailurePolicy names no container, so the code with which the log sidecar ends (143 or 137) \
             counts too when the pod fails; set containerName in its onExitCodes"
        )
    });
    let notes = injection.notes.iter();
    let notes = notes.map(|note| format!("{note}; {}", note.remedy()));
    notes.chain(misplaced).chain(rule).collect()
}

/// An outcome as it is written in sentences and tables.
pub(super) fn words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Injected => "injected",
        Outcome::Repaired => "repaired",
        Outcome::AlreadyInjected => "already injected",
        Outcome::Skipped => "skipped",
        Outcome::NotRequested => "not requested",
    }
}

fn sentence(decision: &Decision) -> String {
    let mut sentence = format!("{} {}", decision.subject(), words(decision.outcome));
    match (&decision.reason, &decision.asked_by) {
        (Some(reason), _) => sentence.push_str(&format!(": {reason}; {}", reason.remedy())),
        (None, Some(asked_by)) => sentence.push_str(&format!(", asked for by {asked_by}")),
        (None, None) => {}
    }
    sentence
}

fn place(source: &Source, document: &Document, template: &PodTemplate) -> String {
    format!(
        "{}:{}: {}",
        source.name,
        document.line,
        manifests::owner(template)
    )
}

/// The patch of one template, with paths from its object on, as `kubectl patch --type=json` takes
/// it.
fn patch_line(
    source: &Source,
    document: &Document,
    template: &PodTemplate,
    injection: &Injection<'_>,
) -> anyhow::Result<Value> {
    let mut patch: Value =
        serde_json::from_slice(&injection.patch.to_json()).context("failed to read the patch")?;
    for operation in patch.as_array_mut().into_iter().flatten() {
        if let Some(path) = operation["path"].as_str() {
            operation["path"] = format!("{}{path}", template.path).into();
        }
    }
    Ok(json!({
        "source": source.name,
        "document": document.number,
        "object": template.object,
        "apiVersion": template.api_version,
        "kind": template.kind,
        "namespace": template.namespace,
        "name": template.name,
        "patch": patch,
    }))
}
