//! `datakit-operator explain`: what injection would do with each pod template, and why.

#[cfg(feature = "server")]
mod cluster;
mod json;
mod logging;

use datakit_operator_core::inject::{
    Calls, Decision, Injection, Miss, Missed, Note, Outcome, Reason, inject_pod, missed,
};
use datakit_operator_core::version::KubernetesVersion;
use serde_json::{Value, json};

use self::json::{decision_to_json, note_to_json};
use super::inject::{general_remarks, unhandled_remark, words};
use super::manifests::{self, Prepared};
use super::table::Table;
use super::{EXIT_FAILURE, EXIT_OK, Streams};
use crate::error::Chain;
use crate::visible::visible;
use datakit_operator_manifest::template::{self, PodTemplate};
use datakit_operator_manifest::{Content, Document, Input, Source};

use self::logging::{Chosen, Objects};

/// Options of `explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    manifests: manifests::ManifestArgs,

    /// ClusterLoggingConfigs: says which of them each pod's sidecar would get. Files or directories
    /// as for -f, or `-`. May be given several times.
    #[arg(long, value_name = "FILE|DIR|-")]
    logging_configs: Vec<Input>,

    #[cfg(feature = "server")]
    #[command(flatten)]
    cluster: cluster::Args,

    /// End with exit code 3 if there is one: a feature that is skipped although it is asked for, or
    /// a note (can be repeated, or separated by commas)
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    fail_on: Vec<FailOn>,

    /// How to print it.
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "table"
    )]
    output: Output,
}

/// What makes `explain` fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    /// A feature that is asked for and skipped, unless it is switched off.
    Skipped,
    /// A note about a feature or the annotations.
    Note,
}

/// The exit code for [`FailOn`].
const EXIT_FOUND: u8 = 3;

/// What `explain` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// A table for each pod template, as wide as the terminal (or COLUMNS).
    Table,
    /// One JSON object, see below.
    Json,
}

const AFTER_HELP: &str = "\
Nothing is changed or sent anywhere; of workloads in a cluster, their namespace and the operator's configuration are read. Which \
configuration is used is said on standard error. Manifests that are injected already are fine: their features are reported as such.

With `-o json`, the object has these keys:
  templates[]    source, document, line: where it is
                 apiVersion, kind, namespace, name: of the object; path: JSON pointer to the template in the document
                 decisions[]; notes[]: as in decisions, about the annotations themselves
                 remarks[]: texts about the template as a whole, those of notes[] among them
                 called: false where the match condition keeps API servers from asking the operator, see
                 --match-conditions of `serve`
                 loggingConfig: null without --logging-configs; else name, of the object (or null), and pod, the name
                 that such a pod may have and that was asked for
  decisions[]    feature: ddtrace, otel, logfwd, flameshot, profiler or logging; language: or null
                 outcome: injected, repaired, already_injected, skipped or not_requested
                 askedBy: null, or kind (annotation, label_selector, namespace_pattern) and value
                 rule: null, or where in the configuration the rule stands that asked
                 reason: null, or code, container (or null), message, remedy
                 notes[]: code, container (or null), message, remedy
                 missed: null, or for a feature that nobody asked for why its rules don't apply: rules[], and
                 more, the number of those that are left out
  rules[]        rule, language: or null; failed[]: condition (namespace, labels, annotation, language, none), message
  configuration  text: where the configuration comes from
  configurationHash  text: the first 12 digits of its SHA-256, as in the status of pods and in the operator's log
  errors[]       source, document, line, message: what could not be read
Codes and keys are kept from version to version; new ones may be added.

Examples:
  datakit-operator explain -f app.yaml
  kubectl get deployments -A -o yaml | datakit-operator explain -f - -o json | jq '.templates[].decisions'
  kubectl get clusterloggingconfigs -o yaml | datakit-operator explain -f app.yaml --logging-configs -
  datakit-operator explain deployment/shop -n shop
  datakit-operator explain -f app.yaml --fail-on skipped,note

Exit codes:
  0  all templates are explained, whatever would become of them
  1  some manifests could not be read or parsed; the others are explained
  2  wrong command line or configuration
  3  what --fail-on names was found";

/// The width of tables where there is no terminal.
const DEFAULT_WIDTH: usize = 100;

/// Explains every pod template.
///
/// # Errors
///
/// For a configuration that can't be used, and for output that can't be written.
pub fn run(args: &Args, streams: &mut Streams<'_>) -> anyhow::Result<u8> {
    logging::read_once(&args.manifests.inputs, &args.logging_configs)?;
    #[cfg(feature = "server")]
    let prepared = match args.cluster.objects.is_empty() {
        true => args.manifests.prepare(&[], streams)?,
        false => cluster::prepare(&args.cluster, &args.manifests, streams)?,
    };
    #[cfg(not(feature = "server"))]
    let prepared = args.manifests.prepare(&[], streams)?;
    writeln!(
        streams.stderr,
        "configuration: {} ({})",
        prepared.origin, prepared.fingerprint
    )?;
    let mut report = Report {
        configuration: prepared.origin.clone(),
        calls: prepared.narrows.then(|| prepared.engine.calls()),
        hash: prepared.fingerprint.to_string(),
        ..Report::default()
    };
    if !args.logging_configs.is_empty() {
        let (objects, errors, notes) = Objects::read(&args.logging_configs, streams)?;
        report.objects = Some(objects);
        report.notes = notes;
        report.errors.extend(errors.into_iter().map(Error::of));
    }
    for source in &prepared.sources {
        match source {
            Ok(source) => report.source(source, &args.manifests, &prepared),
            Err(error) => {
                report.errors.push(Error::of(Chain(error).to_string()));
            }
        }
    }
    for error in &report.errors {
        writeln!(streams.stderr, "error: {}", error.message)?;
    }
    for note in &report.notes {
        writeln!(streams.stderr, "{note}")?;
    }
    match args.output {
        Output::Json => writeln!(streams.stdout, "{:#}", report.to_json())?,
        Output::Table => report.print(streams, width())?,
    }
    let found = args.fail_on.iter().any(|what| report.has(*what));
    Ok(match (report.errors.is_empty(), found) {
        (false, _) => EXIT_FAILURE,
        (true, true) => EXIT_FOUND,
        (true, false) => EXIT_OK,
    })
}

#[derive(Default)]
struct Report {
    /// ClusterLoggingConfigs, if they are to be looked at.
    objects: Option<Objects>,
    configuration: String,
    /// For which pods API servers call, if they know.
    calls: Option<Calls>,
    /// What tells it from others.
    hash: String,
    /// What is said beside the report.
    notes: Vec<String>,
    templates: Vec<Explained>,
    errors: Vec<Error>,
}

struct Explained {
    source: String,
    document: usize,
    line: usize,
    namespace: String,
    template: PodTemplate,
    decisions: Vec<(Decision, Option<Missed>)>,
    notes: Vec<Note>,
    remarks: Vec<String>,
    /// Whether API servers ask the operator about such a pod.
    called: bool,
    logging: Option<Chosen>,
}

struct Error {
    source: String,
    document: usize,
    line: usize,
    message: String,
}

impl Report {
    fn source(&mut self, source: &Source, args: &manifests::ManifestArgs, prepared: &Prepared) {
        for document in &source.documents {
            match &document.content {
                Content::Nothing => {}
                Content::Broken(error) => {
                    let why = manifests::broken(source, document, error, "it is left out");
                    self.error(source, document, document.line_of(error), why);
                }
                Content::Value(parsed) => {
                    for template in template::find(&parsed.value) {
                        self.template(source, document, &parsed.value, template, args, prepared);
                    }
                    for unhandled in template::unhandled(&parsed.value) {
                        let place = format!("{}:{}", source.name, document.line);
                        self.notes
                            .push(format!("{place}: {}", unhandled_remark(&unhandled)));
                    }
                }
            }
        }
    }

    fn template(
        &mut self,
        source: &Source,
        document: &Document,
        value: &Value,
        template: PodTemplate,
        args: &manifests::ManifestArgs,
        prepared: &Prepared,
    ) {
        let pod = value.pointer(&template.pointer()).unwrap_or(&Value::Null);
        let text = pod.to_string();
        let namespace = args.namespace_of(&template).to_owned();
        let objects = self.objects.as_ref();
        let logging = objects.map(|objects| objects.choose(&template, pod, &namespace));
        match inject_pod(&text, Some(&namespace), &prepared.engine, &prepared.context) {
            Ok(injection) => {
                let remarks = general_remarks(&template, &injection);
                let calls = self.calls.as_ref();
                let called = calls.is_none_or(|calls| calls.include(&injection.pod, &namespace));
                let Injection {
                    decisions,
                    notes,
                    pod,
                    ..
                } = injection;
                let with_missed = |decision: Decision| {
                    let missed = missed(decision.feature, &pod, Some(&namespace), &prepared.engine);
                    (decision, missed)
                };
                let decisions = decisions.into_iter().map(with_missed).collect();
                self.templates.push(Explained {
                    source: source.name.clone(),
                    document: document.number,
                    line: document.line,
                    namespace,
                    template,
                    decisions,
                    notes,
                    remarks,
                    called,
                    logging,
                });
            }
            Err(error) => {
                let owner = manifests::owner(&template);
                let message = format!(
                    "failed to read the pod template of {owner} in `{}`: {error}",
                    source.name
                );
                self.error(source, document, document.line, message);
            }
        }
    }

    fn error(&mut self, source: &Source, document: &Document, line: usize, message: String) {
        self.errors.push(Error {
            source: source.name.clone(),
            document: document.number,
            line,
            message,
        });
    }

    fn print(&self, streams: &mut Streams<'_>, width: usize) -> std::io::Result<()> {
        for (index, explained) in self.templates.iter().enumerate() {
            if index > 0 {
                writeln!(streams.stdout)?;
            }
            explained.print(streams, width)?;
        }
        if self.templates.is_empty() && self.errors.is_empty() {
            writeln!(
                streams.stderr,
                "no pod templates found: they are in Pod, Deployment, DaemonSet, StatefulSet, ReplicaSet, \
                 ReplicationController, Job, CronJob and PodTemplate objects"
            )?;
        }
        Ok(())
    }

    fn to_json(&self) -> Value {
        let templates: Vec<Value> = self.templates.iter().map(Explained::to_json).collect();
        let errors: Vec<Value> = self.errors.iter().map(Error::to_json).collect();
        json!({
            "configuration": self.configuration,
            "configurationHash": self.hash,
            "templates": templates,
            "errors": errors,
        })
    }

    fn has(&self, what: FailOn) -> bool {
        let mut templates = self.templates.iter();
        templates.any(|template| {
            let mut decisions = template.decisions.iter().map(|(decision, _)| decision);
            match what {
                FailOn::Skipped => decisions.any(|decision| {
                    let reason = decision.reason.as_ref();
                    reason.is_some_and(|reason| !matches!(reason, Reason::SwitchedOff { .. }))
                }),
                FailOn::Note => {
                    !template.remarks.is_empty()
                        || decisions.any(|decision| !decision.notes.is_empty())
                }
            }
        })
    }
}

impl Explained {
    fn print(&self, streams: &mut Streams<'_>, width: usize) -> std::io::Result<()> {
        let owner = manifests::owner(&self.template);
        writeln!(
            streams.stdout,
            "{} in namespace {} ({}, line {})\n",
            visible(&owner),
            visible(&self.namespace),
            visible(&self.source),
            self.line
        )?;
        let mut table = Table {
            head: [
                "FEATURE",
                "OUTCOME",
                "ASKED FOR BY",
                "REASON",
                "WHAT TO CHANGE",
            ],
            wraps_from: 2,
            rows: Vec::new(),
        };
        for (decision, missed) in &self.decisions {
            let (reason, remedy) = decision
                .reason
                .as_ref()
                .map(|reason| (reason.to_string(), reason.remedy()))
                .unwrap_or_default();
            table.rows.push([
                decision.subject(),
                words(decision.outcome).to_owned(),
                asked_by(decision),
                reason,
                remedy,
            ]);
            for note in &decision.notes {
                let subject = String::new();
                table.rows.push([
                    subject,
                    "note".to_owned(),
                    String::new(),
                    note.to_string(),
                    note.remedy(),
                ]);
            }
            for (rule, problem) in missed.iter().flat_map(misses) {
                table.rows.push([
                    String::new(),
                    "no match".to_owned(),
                    rule,
                    problem,
                    String::new(),
                ]);
            }
        }
        write!(streams.stdout, "{}", table.render(width))?;
        for remark in &self.remarks {
            writeln!(streams.stdout, "\n{}", visible(remark))?;
        }
        if let Some(chosen) = &self.logging {
            writeln!(streams.stdout, "\n{}", visible(&chosen.to_string()))?;
        }
        if self
            .decisions
            .iter()
            .all(|(decision, _)| decision.outcome == Outcome::NotRequested)
            && self.remarks.is_empty()
        {
            writeln!(
                streams.stdout,
                "\nNothing is asked for: annotate the pod template, for instance with \
                 admission.datakit/java-lib.version: \"\""
            )?;
        }
        if !self.called {
            writeln!(
                streams.stdout,
                "With the operator's match condition (Kubernetes {} and newer) API servers don't ask about such pods.",
                KubernetesVersion::MATCH_CONDITIONS
            )?;
        }
        Ok(())
    }

    fn to_json(&self) -> Value {
        let decisions: Vec<Value> = self.decisions.iter().map(decision_to_json).collect();
        let notes: Vec<Value> = self.notes.iter().map(note_to_json).collect();
        json!({
            "source": self.source,
            "document": self.document,
            "line": self.line,
            "apiVersion": self.template.api_version,
            "kind": self.template.kind,
            "namespace": self.namespace,
            "name": self.template.name,
            "path": self.template.pointer(),
            "decisions": decisions,
            "notes": notes,
            "remarks": self.remarks,
            "called": self.called,
            "loggingConfig": self.logging.as_ref().map(Chosen::to_json),
        })
    }
}

impl Error {
    /// Of a text that isn't there.
    fn of(message: String) -> Self {
        Self {
            source: String::new(),
            document: 0,
            line: 0,
            message,
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "source": self.source,
            "document": self.document,
            "line": self.line,
            "message": self.message,
        })
    }
}

/// Who asked for a feature, and by which rule.
fn asked_by(decision: &Decision) -> String {
    let asked_by = decision.asked_by.as_ref().map(ToString::to_string);
    let rule = decision.rule.as_ref().map(|rule| format!("rule {rule}"));
    let parts: Vec<String> = asked_by.into_iter().chain(rule).collect();
    parts.join(", ")
}

/// The rules that don't apply, and why. One that only waits for an annotation is no news: most pods
/// don't ask.
fn misses(missed: &Missed) -> Vec<(String, String)> {
    let near = missed.rules.iter().filter(|miss| !miss.is_opt_in);
    let mut rows: Vec<(String, String)> = near
        .map(|miss| (format!("rule {}", miss.rule), problem(miss)))
        .collect();
    if missed.more > 0 {
        rows.push((
            String::new(),
            format!("{} more rules do not apply", missed.more),
        ));
    }
    rows
}

fn problem(miss: &Miss) -> String {
    let failed: Vec<String> = miss.failed.iter().map(ToString::to_string).collect();
    let failed = failed.join(", ");
    match miss.language {
        Some(language) => format!("{}: {failed}", language.as_str()),
        None => failed,
    }
}

/// The width to write tables in: what COLUMNS says, else the terminal's.
fn width() -> usize {
    let asked = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok());
    let terminal = || {
        terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0))
    };
    asked
        .or_else(terminal)
        .filter(|width| *width >= 20)
        .unwrap_or(DEFAULT_WIDTH)
}
