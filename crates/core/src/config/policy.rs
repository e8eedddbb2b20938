//! Who may ask for what: `admission_policy`.
//!
//! A policy that can't be read must not allow more than its author meant. So what can't be read
//! here allows nothing, other than elsewhere in the configuration, where it is left out: `null`,
//! unknown keys, and a policy at the wrong place included.

use super::keys::{self, Key, Kind};
use super::reader::{Reader, Section};
use super::rule::Feature;
use super::syntax::child;
use super::tree::Node;
use crate::diagnostic::{Code, Diagnostic, did_you_mean};
use crate::selector::NamePattern;

/// What pods may ask for, by feature.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy([FeaturePolicy; Feature::ALL.len()]);

/// What pods may ask for of one feature.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FeaturePolicy {
    /// Namespaces whose pods get the feature, whoever asks for it.
    pub namespaces: AllowList,
    /// Image tags that an annotation may choose instead of the configured image.
    pub versions: AllowList,
    /// Whether such a tag may take the place of a configured digest.
    pub drop_digest: bool,
}

/// Patterns of names that are allowed; by default `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowList {
    patterns: Vec<NamePattern>,
    /// Whether one of them is `*`.
    any: bool,
}

/// The key of the policy in the document.
pub(super) const KEY: &str = "admission_policy";
/// The keys of the policy: the features.
pub(super) static FEATURES: [Key; Feature::ALL.len()] = {
    let mut keys =
        [Key::new("", Kind::Object(&KEYS), "what pods may ask for of it"); Feature::ALL.len()];
    let mut at = 0;
    while at < keys.len() {
        let feature = Feature::ALL[at];
        keys[at].name = feature.as_str();
        if !feature.has_versions() {
            keys[at].kind = Kind::Object(&WITHOUT_VERSIONS);
        }
        at += 1;
    }
    keys
};
const NAMESPACES: Key = Key::new(
    "namespaces",
    Kind::Texts,
    "patterns of the namespaces whose pods get the feature; `[]` forbids it everywhere",
)
.or("[\"*\"]");
static WITHOUT_VERSIONS: [Key; 1] = [NAMESPACES];
static KEYS: [Key; 3] = [
    NAMESPACES,
    Key::new(
        "versions",
        Kind::Texts,
        "patterns of the image tags that an annotation may choose; `[]`: none, so only the configured image",
    )
    .or("[\"*\"]"),
    Key::new(
        "drop_digest",
        Kind::Bool,
        "whether such a tag may take the place of a digest in the configured image",
    )
    .or("false"),
];

impl Policy {
    /// The policy that allows everything, more than the default does.
    #[must_use]
    pub fn permissive() -> Self {
        Self(Feature::ALL.map(|_| FeaturePolicy {
            drop_digest: true,
            ..FeaturePolicy::default()
        }))
    }

    /// The policy that allows nothing.
    fn forbidding() -> Self {
        Self(Feature::ALL.map(|_| FeaturePolicy::forbidding()))
    }

    /// What pods may ask for of one feature.
    pub fn of(&self, feature: Feature) -> &FeaturePolicy {
        &self.0[feature as usize]
    }

    fn of_mut(&mut self, feature: Feature) -> &mut FeaturePolicy {
        &mut self.0[feature as usize]
    }
}

impl FeaturePolicy {
    fn forbidding() -> Self {
        Self {
            namespaces: AllowList::none(),
            versions: AllowList::none(),
            drop_digest: false,
        }
    }
}

impl AllowList {
    /// Allows the names that fit one of the patterns.
    pub fn new(patterns: Vec<NamePattern>) -> Self {
        Self {
            any: patterns.iter().any(NamePattern::is_any),
            patterns,
        }
    }

    /// Allows no name.
    pub fn none() -> Self {
        Self::new(Vec::new())
    }

    /// Whether the name is allowed.
    pub fn allows(&self, name: &str) -> bool {
        self.any || self.patterns.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether every name is.
    pub fn is_any(&self) -> bool {
        self.any
    }

    /// Whether no name is.
    pub fn is_none(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The patterns as they were written.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(NamePattern::as_str)
    }
}

impl Default for AllowList {
    fn default() -> Self {
        Self::new(vec![NamePattern::any()])
    }
}

/// Takes out of an object what is no `known` key and was probably meant to be the policy, which
/// nobody would read there. Returns the paths.
pub(super) fn take_misplaced(
    path: &str,
    entries: &mut Vec<(String, Node)>,
    known: &'static [Key],
) -> Vec<String> {
    let names = [KEY, "policy"];
    let is_policy = |key: &str| {
        let is_known = keys::names(known).any(|known| known.eq_ignore_ascii_case(key));
        let candidates = keys::names(known).chain(names);
        !is_known && did_you_mean(key, candidates).is_some_and(|meant| names.contains(&meant))
    };
    let taken = entries.extract_if(.., |(key, _)| is_policy(key));
    taken.map(|(key, _)| child(path, &key)).collect()
}

/// Reads the policy. `misplaced` are the paths of what was probably meant to be one.
pub(super) fn read(reader: &mut Reader, root: &Section<'_>, misplaced: Vec<String>) -> Policy {
    let path = root.path(KEY);
    let in_place = misplaced.is_empty();
    for path in misplaced {
        reader.report(
            Diagnostic::error(
                path,
                "unknown key, probably a policy; nothing is allowed until this is corrected",
            )
            .code(Code::UnknownKey)
            .suggest(format!("write `{KEY}` at the top level")),
        );
    }
    let policy = match root.get(KEY) {
        None => Policy::default(),
        Some(Node::Object(entries)) => read_features(reader, &path, entries),
        Some(other) => {
            reader.report(unreadable(&path, "an object", other, "nothing is allowed"));
            Policy::forbidding()
        }
    };
    let mut policy = if in_place {
        policy
    } else {
        Policy::forbidding()
    };
    for feature in Feature::ALL {
        if !feature.has_versions() {
            let policy = policy.of_mut(feature);
            *policy = FeaturePolicy {
                namespaces: policy.namespaces.clone(),
                ..FeaturePolicy::default()
            };
        }
    }
    policy
}

fn read_features(reader: &mut Reader, path: &str, entries: &[(String, Node)]) -> Policy {
    let mut policy = Policy::default();
    let names = Feature::NAMES;
    let (features, unknown) = fields(reader, path, entries, &FEATURES);
    for (name, node) in features {
        for feature in Feature::ALL {
            if feature.as_str() == name {
                *policy.of_mut(feature) = read_feature(reader, &child(path, name), node, feature);
            }
        }
    }
    for key in unknown {
        let path = child(path, key);
        let meant = did_you_mean(key, names);
        let meant = Feature::ALL
            .into_iter()
            .find(|feature| meant == Some(feature.as_str()));
        reader.report(match meant {
            Some(meant) => {
                *policy.of_mut(meant) = FeaturePolicy::forbidding();
                Diagnostic::error(
                    path,
                    format!("unknown feature; {meant} is forbidden until this is corrected"),
                )
                .code(Code::UnknownKey)
                .suggest(format!("did you mean `{meant}`?"))
            }
            None => Diagnostic::error(path, "unknown feature; ignored")
                .code(Code::UnknownKey)
                .suggest(format!("the features are {}", names.join(", "))),
        });
    }
    policy
}

fn read_feature(reader: &mut Reader, path: &str, node: &Node, feature: Feature) -> FeaturePolicy {
    let name = feature.as_str();
    let Node::Object(entries) = node else {
        let consequence = format!("{name} is forbidden");
        reader.report(unreadable(path, "an object", node, &consequence));
        return FeaturePolicy::forbidding();
    };
    let mut policy = FeaturePolicy::default();
    let (known, unknown) = fields(reader, path, entries, &KEYS);
    for (key, node) in known {
        let path = child(path, key);
        match key {
            "namespaces" => {
                policy.namespaces = read_list(reader, &path, node, "no namespace", |c| {
                    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
                });
            }
            _ if !feature.has_versions() => reader.report(
                Diagnostic::warning(
                    path,
                    format!("without effect: no annotation chooses {name}'s version"),
                )
                .code(Code::WithoutEffect),
            ),
            "versions" => {
                policy.versions = read_list(reader, &path, node, "no version", |c| {
                    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
                });
            }
            _ => match node {
                Node::Bool(drop) => policy.drop_digest = *drop,
                other => reader.report(unreadable(
                    &path,
                    "true or false",
                    other,
                    "no tag takes the place of a digest",
                )),
            },
        }
    }
    let understood = unknown.is_empty();
    for key in unknown {
        reader.report(
            Diagnostic::error(
                child(path, key),
                format!("unknown key; {name} is forbidden until this is corrected"),
            )
            .code(Code::UnknownKey)
            .suggest_like(key, keys::names(&KEYS)),
        );
    }
    if understood {
        policy
    } else {
        FeaturePolicy::forbidding()
    }
}

/// A list of patterns.
fn read_list(
    reader: &mut Reader,
    path: &str,
    node: &Node,
    nothing: &str,
    is_part: fn(char) -> bool,
) -> AllowList {
    let Node::Array(items) = node else {
        let error = unreadable(path, "an array", node, &format!("{nothing} is allowed"));
        reader.report(match node {
            Node::String(_) => error.suggest(format!("write [{node}]")),
            _ => error,
        });
        return AllowList::none();
    };
    read_patterns(reader, path, items, "allows nothing", is_part)
}

/// Patterns of names. One that can't be read is left out, which allows less; `consequence` says
/// so.
pub(super) fn read_patterns(
    reader: &mut Reader,
    path: &str,
    items: &[Node],
    consequence: &str,
    is_part: fn(char) -> bool,
) -> AllowList {
    let mut patterns = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Node::String(text) = item else {
            reader.wrong_kind(&path, "a string", item);
            continue;
        };
        match NamePattern::parse(text, is_part) {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => reader
                .report(Diagnostic::error(path, format!("{error}; {consequence}")).found(text)),
        }
    }
    AllowList::new(patterns)
}

/// Sorts an object's entries into known ones, of repeated keys the last, and the keys of others.
fn fields<'n>(
    reader: &mut Reader,
    path: &str,
    entries: &'n [(String, Node)],
    known: &'static [Key],
) -> (Vec<(&'static str, &'n Node)>, Vec<&'n str>) {
    let mut fields: Vec<(&'static str, &'n Node)> = Vec::new();
    let mut unknown = Vec::new();
    for (key, node) in entries {
        let Some(name) = keys::names(known).find(|name| name.eq_ignore_ascii_case(key)) else {
            unknown.push(key.as_str());
            continue;
        };
        if key != name {
            reader.report(
                Diagnostic::warning(child(path, key), "keys are written in lower case")
                    .code(Code::KeyCase)
                    .suggest(format!("write `{name}`")),
            );
        }
        match fields.iter_mut().find(|(field, _)| *field == name) {
            Some((_, value)) => {
                *value = node;
                reader.report(
                    Diagnostic::warning(
                        child(path, name),
                        "the key appears more than once; the last one counts",
                    )
                    .code(Code::Repeated),
                );
            }
            None => fields.push((name, node)),
        }
    }
    (fields, unknown)
}

fn unreadable(path: &str, expected: &str, found: &Node, consequence: &str) -> Diagnostic {
    Diagnostic::error(
        path,
        format!(
            "expected {expected}, not {}; {consequence} until this is corrected",
            found.kind()
        ),
    )
    .code(Code::WrongType)
    .found(found.to_string())
}
