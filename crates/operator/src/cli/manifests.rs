//! What the subcommands over manifests have in common: their flags, reading, and reporting what
//! could not be read.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use datakit_operator_core::config::{Config, Fingerprint};
use datakit_operator_core::inject::{Engine, ReviewContext};
use datakit_operator_core::namespace::{Namespace, Namespaces, PodSecurity};
use datakit_operator_core::version::KubernetesVersion;

use super::source::Source as ConfigSource;
use super::{Streams, Usage, fetch};
use datakit_operator_manifest::template::PodTemplate;
use datakit_operator_manifest::{
    Document, Format, Input, ReadError, Source, Surroundings, SyntaxError,
};

/// Flags of all subcommands over manifests.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ManifestArgs {
    /// A manifest, a directory of them (searched for *.yaml, *.yml and *.json, in the order of
    /// their paths), a quoted pattern of paths, a URL, or `-` for standard input. May be given
    /// several times.
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR|URL|-")]
    pub(super) inputs: Vec<Input>,

    /// The operator's configuration; without it ENV_CONFIG_FILE, then ENV_JSON_CONFIG, then the
    /// embedded default.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// The namespace of objects that name none.
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    pub(super) namespace: String,

    /// The version of the cluster that the manifests are for, such as 1.34. From 1.32 on, pods that
    /// have to finish get their log sidecar as a native one.
    #[arg(long, value_name = "VERSION")]
    pub(super) kubernetes_version: Option<KubernetesVersion>,

    /// The Pod Security level that the manifests' namespaces enforce: privileged, baseline or
    /// restricted. What such a level forbids isn't injected.
    #[arg(long, value_name = "LEVEL", default_value = "privileged")]
    pub(super) pod_security: PodSecurity,
}

/// What the flags come to.
pub(super) struct Prepared {
    /// The configuration.
    pub(super) config: Config,
    /// Where it comes from.
    pub(super) origin: String,
    /// What tells it from others.
    pub(super) fingerprint: Fingerprint,
    /// The same, ready for injection.
    pub(super) engine: Engine,
    /// What is known of the cluster.
    pub(super) context: ReviewContext,
    /// Whether API servers are told for which pods to call, by a match condition.
    pub(super) narrows: bool,
    /// The texts that could be read, and why the others could not.
    pub(super) sources: Vec<Result<Source, ReadError>>,
}

impl ManifestArgs {
    /// Loads the configuration, reporting what is doubtful about it, and reads the manifests.
    ///
    /// `named` are manifests that the command line names without a flag, after those with one.
    pub(super) fn prepare(
        &self,
        named: &[Input],
        streams: &mut Streams<'_>,
    ) -> anyhow::Result<Prepared> {
        let inputs = [&self.inputs, named].concat();
        if inputs.is_empty() {
            return Err(Usage(anyhow!(
                "nothing to read: name a manifest, a directory of them or `-` with --filename"
            ))
            .into());
        }
        let is_stdin = |input: &&Input| **input == Input::Stdin;
        if inputs.iter().filter(is_stdin).count() > 1 {
            return Err(Usage(anyhow!(
                "standard input can be read only once: give `-f -` one time"
            ))
            .into());
        }
        let source = ConfigSource::choose(self.config.as_deref())?;
        let loaded = source.load()?;
        for diagnostic in &loaded.diagnostics {
            writeln!(streams.stderr, "configuration from {source}: {diagnostic}")?;
        }
        Ok(Prepared {
            // Without a status: it would change templates, and so restart pods, with each version and
            // configuration. Pods get it when they are made.
            engine: Engine::new(&loaded.config),
            config: loaded.config,
            origin: source.to_string(),
            fingerprint: loaded.fingerprint,
            context: ReviewContext {
                kubernetes_version: self.kubernetes_version,
                namespaces: Arc::new(Namespaces::all_alike(Namespace {
                    pod_security: self.pod_security,
                    ..Namespace::default()
                })),
            },
            narrows: self
                .kubernetes_version
                .is_none_or(|version| version >= KubernetesVersion::MATCH_CONDITIONS),
            sources: read(&inputs, streams)?,
        })
    }

    /// The namespace that counts for a template.
    pub(super) fn namespace_of<'a>(&'a self, template: &'a PodTemplate) -> &'a str {
        template.namespace.as_deref().unwrap_or(&self.namespace)
    }
}

/// Reads what the inputs name. Who waits at a terminal for many files sees their number.
pub(super) fn read(
    inputs: &[Input],
    streams: &mut Streams<'_>,
) -> anyhow::Result<Vec<Result<Source, ReadError>>> {
    const MANY: usize = 50;
    let is_terminal = std::io::stderr().is_terminal();
    let stderr = &mut streams.stderr;
    let mut shown = Ok(());
    let sources = datakit_operator_manifest::read(
        inputs,
        &mut Surroundings {
            stdin: streams.stdin,
            fetch: &fetch::fetch,
            progress: &mut |count| {
                if is_terminal && count % MANY == 0 && shown.is_ok() {
                    shown = write!(stderr, "\rread {count} files").and_then(|()| stderr.flush());
                }
            },
        },
    );
    shown?;
    if is_terminal && sources.len() >= MANY {
        write!(stderr, "\r\x1b[K")?;
    }
    Ok(sources)
}

/// Why a document could not be parsed, and what follows from that.
pub(super) fn broken(
    source: &Source,
    document: &Document,
    error: &SyntaxError,
    consequence: &str,
) -> String {
    let line = document.line_of(error);
    let hint = error.hint.map(|hint| format!("; {hint}"));
    format!(
        "failed to parse document {} of `{}` (line {line}, column {}): {}{}; {consequence}",
        document.number,
        source.name,
        error.column,
        error.message,
        hint.unwrap_or_default()
    )
}

/// `kind/name` of a template's object.
pub(super) fn owner(template: &PodTemplate) -> String {
    let name = if template.name.is_empty() {
        "(no name)"
    } else {
        &template.name
    };
    format!("{}/{name}", template.kind)
}

/// JSON if that is what all documents are, else YAML.
pub(super) fn natural_format<'s>(sources: impl Iterator<Item = &'s Source>) -> Format {
    let mut formats = sources.flat_map(Source::formats).peekable();
    if formats.peek().is_some() && formats.all(|format| format == Format::Json) {
        Format::Json
    } else {
        Format::Yaml
    }
}

/// `1 file`, `2 files`.
pub(super) fn count(number: usize, thing: &str) -> String {
    if number == 1 {
        format!("1 {thing}")
    } else {
        format!("{number} {thing}s")
    }
}
