//! Which sources of `envFrom` define a start-up variable: `admission_env_from`.
//!
//! What a ConfigMap or a Secret holds can't be seen in a review. The owner of a cluster can say
//! that some define a start-up variable; it is then extended, as a value in the pod is, instead of
//! overridden. A mistake here says nothing of any source.

use super::keys::{Key, Kind};
use super::policy::{AllowList, read_patterns};
use super::reader::{Reader, Section};
use super::tree::Node;
use crate::diagnostic::{Code, Diagnostic};

/// The variables by which libraries are loaded.
pub const START_UP_VARIABLES: [&str; 4] = [
    "JAVA_TOOL_OPTIONS",
    "NODE_OPTIONS",
    "PYTHONPATH",
    "PHP_INI_SCAN_DIR",
];

/// What is known of sources of `envFrom`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnvFrom {
    /// In the document's order; they add up.
    pub sources: Vec<EnvFromSources>,
}

/// Sources that define one variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvFromSources {
    /// The variable as containers see it, prefix included: one of [`START_UP_VARIABLES`].
    pub variable: &'static str,
    /// The namespaces in which that is so.
    pub namespaces: AllowList,
    /// Names of ConfigMaps.
    pub config_maps: AllowList,
    /// Names of Secrets.
    pub secrets: AllowList,
}

/// What a source of `envFrom` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvFromKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

/// The key in the document.
pub(super) const KEY: &str = "admission_env_from";
/// The keys of an entry.
pub(super) static KEYS: [Key; 4] = [
    Key::new(
        "variable",
        Kind::Choice(|| START_UP_VARIABLES.to_vec()),
        "the variable, as containers see it",
    )
    .needed(),
    Key::new(
        "config_maps",
        Kind::Texts,
        "patterns of the names of ConfigMaps that define it",
    ),
    Key::new(
        "secrets",
        Kind::Texts,
        "patterns of the names of Secrets that define it",
    ),
    Key::new(
        "namespaces",
        Kind::Texts,
        "patterns of the namespaces in which they do",
    )
    .or("[\"*\"]"),
];

impl EnvFrom {
    /// Whether a source is known to define the variable.
    pub fn defines(
        &self,
        variable: &str,
        namespace: &str,
        kind: EnvFromKind,
        source: &str,
    ) -> bool {
        self.sources.iter().any(|known| {
            let names = match kind {
                EnvFromKind::ConfigMap => &known.config_maps,
                EnvFromKind::Secret => &known.secrets,
            };
            known.variable == variable && names.allows(source) && known.namespaces.allows(namespace)
        })
    }
}

impl EnvFromKind {
    /// The kind, as manifests name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

pub(super) fn read(reader: &mut Reader, root: &Section<'_>) -> EnvFrom {
    let mut sources = Vec::new();
    for (index, item) in reader.array(root, KEY).iter().enumerate() {
        let path = format!("{}[{index}]", root.path(KEY));
        match item {
            Node::Object(entries) => {
                let entry = reader.section(path, entries, &KEYS);
                sources.extend(read_entry(reader, &entry));
            }
            other => reader.wrong_kind(&path, "an object", other),
        }
    }
    EnvFrom { sources }
}

fn read_entry(reader: &mut Reader, entry: &Section<'_>) -> Option<EnvFromSources> {
    let variable = match reader.string(entry, "variable") {
        Some(text) if !text.is_empty() => text,
        _ => {
            reader.report(
                Diagnostic::error(
                    entry.path("variable"),
                    "expected the name of a start-up variable; the entry is ignored",
                )
                .suggest(format!("one of {}", START_UP_VARIABLES.join(", "))),
            );
            return None;
        }
    };
    let mut known = START_UP_VARIABLES.into_iter();
    let Some(variable) = known.find(|known| *known == variable) else {
        reader.report(
            Diagnostic::error(
                entry.path("variable"),
                "no start-up variable of a library; the entry is ignored",
            )
            .code(Code::WithoutEffect)
            .found(variable)
            .suggest_like(variable, START_UP_VARIABLES),
        );
        return None;
    };
    // Labels of namespaces and names of objects are made of these.
    let is_label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let sources = EnvFromSources {
        variable,
        namespaces: read_names(reader, entry, "namespaces", is_label).unwrap_or_default(),
        config_maps: read_names(reader, entry, "config_maps", is_name).unwrap_or(AllowList::none()),
        secrets: read_names(reader, entry, "secrets", is_name).unwrap_or(AllowList::none()),
    };
    let names_nothing = sources.config_maps.is_none() && sources.secrets.is_none();
    if names_nothing || sources.namespaces.is_none() {
        let key = if names_nothing {
            "config_maps"
        } else {
            "namespaces"
        };
        reader.report(
            Diagnostic::warning(entry.path(key), "without effect: the entry names no source")
                .code(Code::WithoutEffect)
                .suggest("name ConfigMaps or Secrets that define the variable"),
        );
        return None;
    }
    Some(sources)
}

/// A list of patterns; none if the key isn't there. What can't be read names nothing.
fn read_names(
    reader: &mut Reader,
    entry: &Section<'_>,
    key: &str,
    is_part: fn(char) -> bool,
) -> Option<AllowList> {
    entry.get(key)?;
    let items = reader.array(entry, key);
    let path = entry.path(key);
    Some(read_patterns(
        reader,
        &path,
        items,
        "names nothing",
        is_part,
    ))
}
