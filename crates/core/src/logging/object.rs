//! One ClusterLoggingConfig.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value, json};

use super::PodQuery;
use crate::election::text::escaped;
use crate::selector::{LabelSelector, SelectorError};

/// Bytes that one compiled expression may take; those over names need a tiny part of it.
const MAX_COMPILED: usize = 1 << 20;
/// No namespace or pod has a longer name (a DNS subdomain).
const MAX_NAME: usize = 253;
/// So many characters of an expression are shown to say which one it is.
const SHOWN: usize = 100;

/// One object, read.
#[derive(Debug, Clone)]
pub struct LoggingConfig {
    name: String,
    created: String,
    selector: Result<Selector, Invalid>,
    mistakes: Vec<String>,
    answer: Arc<[u8]>,
}

/// Why an object selects no pod at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// `spec.selector` is missing, or isn't an object.
    #[error("spec.selector is missing; `selector: {{}}` selects every pod")]
    NoSelector,
    /// A part of the selector isn't a text.
    #[error("spec.selector.{0} isn't a text")]
    NotText(&'static str),
    /// A regular expression that can't be read, or would take too much memory.
    #[error("spec.selector.{part} `{pattern}` isn't a regular expression: {reason}")]
    Regex {
        /// The part of the selector.
        part: &'static str,
        /// The expression, or how it begins, as it can be shown.
        pattern: String,
        /// What the engine says.
        reason: String,
    },
    /// A label selector that can't be read.
    #[error("spec.selector.podLabelSelector: {0}")]
    Labels(#[source] SelectorError),
}

/// What a selector says about namespace, pod and labels; what isn't given is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Selected<'a>([Option<&'a str>; 3]);

/// What must all hold. What isn't given holds.
#[derive(Debug, Clone, Default)]
struct Selector {
    namespace: Option<Regex>,
    pod: Option<Regex>,
    labels: Option<LabelSelector>,
}

impl LoggingConfig {
    /// The object of this name, made at this time (RFC 3339 in UTC), with this `spec`. One that
    /// can't be read selects nothing, see [`invalid`](Self::invalid).
    pub fn new(name: impl Into<String>, created: impl Into<String>, spec: &Value) -> Self {
        let name = name.into();
        Self {
            created: created.into(),
            selector: Selector::read(&spec["selector"]),
            mistakes: mistakes(spec),
            answer: answer(&name, spec),
            name,
        }
    }

    /// `metadata.name`
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `metadata.creationTimestamp`
    pub fn created(&self) -> &str {
        &self.created
    }

    /// Why it selects nothing, if it can't be read. A part that can't be read must not be taken for
    /// one that isn't there: the object would select pods that its owner excluded.
    pub fn invalid(&self) -> Option<&Invalid> {
        self.selector.as_ref().err()
    }

    /// What of it has no effect, and why: a sentence for each part.
    pub(super) fn mistakes(&self) -> &[String] {
        &self.mistakes
    }

    /// What it selects, if that can be read.
    pub(super) fn selected(&self) -> Option<Selected<'_>> {
        let selector = self.selector.as_ref().ok()?;
        Some(Selected([
            selector.namespace.as_ref().map(Regex::as_str),
            selector.pod.as_ref().map(Regex::as_str),
            selector.labels.as_ref().map(LabelSelector::as_str),
        ]))
    }

    /// Whether it is for this pod. `containerRegex` is left to the agents: a sidecar is there for
    /// its whole pod.
    pub fn selects(&self, pod: &PodQuery<'_>) -> bool {
        self.selector
            .as_ref()
            .is_ok_and(|selector| selector.matches(pod))
    }

    /// The body of the answer, a JSON object. The same object always gives the same bytes.
    pub fn answer(&self) -> &Arc<[u8]> {
        &self.answer
    }
}

/// Whether both would select and answer the same.
impl PartialEq for LoggingConfig {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.created == other.created
            && self.answer == other.answer
            && self.mistakes == other.mistakes
            && self.selector == other.selector
    }
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        let same = |a: &Option<Regex>, b: &Option<Regex>| {
            a.as_ref().map(Regex::as_str) == b.as_ref().map(Regex::as_str)
        };
        same(&self.namespace, &other.namespace)
            && same(&self.pod, &other.pod)
            && self.labels == other.labels
    }
}

impl Selected<'_> {
    /// Whether that is every pod.
    pub(super) fn is_all(self) -> bool {
        self.0 == [None; 3]
    }
}

impl Selector {
    fn read(selector: &Value) -> Result<Self, Invalid> {
        let Value::Object(selector) = selector else {
            return Err(Invalid::NoSelector);
        };
        let text = |part: &'static str| match selector.get(part) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(_) => Err(Invalid::NotText(part)),
        };
        let regex = |part| text(part)?.map(|text| compile(text, part)).transpose();
        // Compiled for its errors alone: agents would not apply such an object either.
        regex("containerRegex")?;
        Ok(Self {
            namespace: regex("namespaceRegex")?,
            pod: regex("podRegex")?,
            labels: text("podLabelSelector")?
                .map(LabelSelector::parse)
                .transpose()
                .map_err(Invalid::Labels)?,
        })
    }

    fn matches(&self, pod: &PodQuery<'_>) -> bool {
        let name = |regex: &Option<Regex>, name: &str| {
            (regex.as_ref()).is_none_or(|regex| name.len() <= MAX_NAME && regex.is_match(name))
        };
        name(&self.namespace, pod.namespace)
            && name(&self.pod, pod.name)
            && match (&self.labels, pod.labels) {
                (Some(selector), Some(labels)) => selector.matches(|key| labels.get(key)),
                _ => true,
            }
    }
}

fn compile(pattern: &str, part: &'static str) -> Result<Regex, Invalid> {
    RegexBuilder::new(pattern)
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_COMPILED)
        .build()
        .map_err(|error| {
            // The engine draws the expression over several lines; the last one holds the sentence.
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim();
            let shown: String = pattern.chars().take(SHOWN).collect();
            let more = if shown.len() < pattern.len() {
                "…"
            } else {
                ""
            };
            Invalid::Regex {
                part,
                pattern: format!("{}{more}", escaped(&shown)),
                reason: last.strip_prefix("error: ").unwrap_or(last).to_owned(),
            }
        })
}

/// Fields that sidecars know and that mean nothing when they are empty, so they are left out then.
const OPTIONAL: [&str; 11] = [
    "disable",
    "path",
    "storage_index",
    "service",
    "pipeline",
    "multiline_match",
    "character_encoding",
    "remove_ansi_escape_codes",
    "from_beginning",
    "from_beginning_threshold_size",
    "tags",
];

/// What of `configs` nothing comes of. The schema of the CustomResourceDefinition refuses most of
/// that; older ones of it don't.
fn mistakes(spec: &Value) -> Vec<String> {
    let items = spec["configs"].as_array().into_iter().flatten();
    let wrong = items.enumerate().filter_map(|(place, item)| {
        let Some(item) = item.as_object() else {
            return Some(format!("spec.configs[{place}] isn't an object"));
        };
        let text = |key| item.get(key).and_then(Value::as_str).unwrap_or_default();
        let off = item.get("disable").and_then(Value::as_bool) == Some(true);
        (text("type") == "file" && text("path").is_empty() && !off).then(|| {
            format!(
                "spec.configs[{place}] is of the type file and has no path, so nothing is collected"
            )
        })
    });
    wrong.collect()
}

/// `configs` is a text that holds a JSON array: so sidecars read it. Fields that nobody here knows
/// are passed on.
fn answer(name: &str, spec: &Value) -> Arc<[u8]> {
    let items: Vec<Value> = spec["configs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .map(item)
        .collect();
    let mut answer = Map::new();
    answer.insert("name".to_owned(), name.into());
    let labels: Vec<&str> = spec["podTargetLabels"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if !labels.is_empty() {
        answer.insert("pod_target_labels".to_owned(), json!(labels));
    }
    answer.insert("configs".to_owned(), Value::Array(items).to_string().into());
    Value::Object(answer).to_string().into_bytes().into()
}

fn item(item: &Map<String, Value>) -> Value {
    let empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    };
    let kept = item
        .iter()
        .filter(|(key, value)| !(OPTIONAL.contains(&key.as_str()) && empty(value)))
        .map(|(key, value)| (key.clone(), value.clone()));
    let mut kept: Map<String, Value> = kept.collect();
    for required in ["type", "source"] {
        kept.entry(required).or_insert_with(|| "".into());
    }
    kept.sort_keys();
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging::PodLabels;

    fn of(spec: &Value) -> LoggingConfig {
        LoggingConfig::new("n", "2026-01-01T00:00:00Z", spec)
    }

    #[test]
    fn selectors() {
        let check = |selector: Value, labels: Option<&str>, expected: bool| {
            let object = of(&json!({"selector": selector}));
            assert_eq!(object.invalid(), None, "{selector}");
            let labels = labels.map(PodLabels::parse);
            let pod = PodQuery {
                namespace: "my-prod-1",
                name: "web-7d9f-x2x1z",
                labels: labels.as_ref(),
            };
            assert_eq!(object.selects(&pod), expected, "{selector} {labels:?}");
        };
        check(json!({}), None, true);
        // Unanchored, as RE2 is used by everybody who reads these objects.
        check(json!({"namespaceRegex": "prod"}), None, true);
        check(json!({"namespaceRegex": "^prod"}), None, false);
        check(json!({"namespaceRegex": "", "podRegex": null}), None, true);
        check(json!({"podRegex": "^web-"}), None, true);
        check(
            json!({"podRegex": "^web-", "namespaceRegex": "test"}),
            None,
            false,
        );
        check(json!({"containerRegex": "^never$"}), None, true);
        check(json!({"podLabelSelector": "app=web"}), None, true);
        check(
            json!({"podLabelSelector": "app=web"}),
            Some("app=web"),
            true,
        );
        check(json!({"podLabelSelector": "app=w*"}), Some("app=web"), true);
        check(
            json!({"podLabelSelector": "app=web"}),
            Some("app=db"),
            false,
        );
        check(json!({"podLabelSelector": "app=web"}), Some("x"), false);
    }

    /// A part that can't be read never widens what the object selects.
    #[test]
    fn what_can_not_be_read_selects_nothing() {
        let check = |spec: Value, expected: &str| {
            let object = of(&spec);
            let pod = PodQuery {
                namespace: "a",
                name: "a",
                labels: None,
            };
            assert!(!object.selects(&pod));
            let invalid = object.invalid().map(ToString::to_string);
            assert_eq!(invalid.as_deref(), Some(expected));
        };
        check(
            json!({"selector": {"namespaceRegex": "a("}}),
            "spec.selector.namespaceRegex `a(` isn't a regular expression: unclosed group",
        );
        check(
            json!({"selector": {"containerRegex": "["}}),
            "spec.selector.containerRegex `[` isn't a regular expression: unclosed character class",
        );
        check(
            json!({"selector": {"podRegex": 1}}),
            "spec.selector.podRegex isn't a text",
        );
        check(
            json!({"selector": {"podLabelSelector": "a in b"}}),
            "spec.selector.podLabelSelector: expected `(` in the label selector, found `b`",
        );
        check(
            json!({}),
            "spec.selector is missing; `selector: {}` selects every pod",
        );
    }

    #[test]
    fn answers() {
        let check = |spec: Value, expected: &str| {
            let object = of(&spec);
            assert_eq!(String::from_utf8_lossy(object.answer()), expected);
        };
        check(
            json!({
                "selector": {},
                "podTargetLabels": ["app", "team"],
                "configs": [
                    {"source": "s", "type": "file", "path": "/a/*.log", "disable": false, "tags": {},
                     "from_beginning_threshold_size": 0, "newer": false, "service": ""},
                    {"type": "stdout", "tags": {"b": "2", "a": "1"}, "from_beginning": true},
                ],
            }),
            r#"{"name":"n","pod_target_labels":["app","team"],"configs":"[{\"newer\":false,\"path\":\"/a/*.log\",\"source\":\"s\",\"type\":\"file\"},{\"from_beginning\":true,\"source\":\"\",\"tags\":{\"b\":\"2\",\"a\":\"1\"},\"type\":\"stdout\"}]"}"#,
        );
        // No configurations are an empty list, not `null`.
        for spec in [json!({"selector": {}}), json!({"configs": null})] {
            check(spec, r#"{"name":"n","configs":"[]"}"#);
        }
    }
}
