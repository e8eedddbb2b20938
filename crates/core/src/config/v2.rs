//! Lowers the `admission_inject_v2` schema into rules: a list for each feature, an entry for each
//! rule, in the order in which they are asked.
//!
//! A mistake in a condition never makes a rule fit more pods than its author meant: an entry that
//! can't be used is left out of its list, and a rule whose condition can't be read is disabled.

pub(super) mod tables;

use std::sync::Arc;

use super::keys::{self, Key, Kind};
use super::log_configs::{self, ReadBy};
use super::lowering::{Lowering, Problem, parse_image, pattern_of_namespaces, selector_of_labels};
use super::reader::Section;
use super::rule::{Extra, Feature, Language, LogSources, Origin, Rule, When};
use super::tree::Node;
use super::{ContainerSettings, PhpLoader, PullPolicy, SidecarMode, processes};
use crate::diagnostic::{Code, Diagnostic, did_you_mean};

/// The key of the section in the document.
pub(super) const KEY: &str = "admission_inject_v2";

/// When a node pulls the image of a rule that doesn't say. Sections of `admission_inject` have
/// another default.
const PULL_POLICY: PullPolicy = PullPolicy::Always;

/// The rules of one feature.
pub(super) struct List {
    pub(super) key: &'static str,
    pub(super) feature: Feature,
    pub(super) keys: &'static [Key],
    /// The words for a language; none where the feature has no languages.
    words: &'static [(&'static str, Language)],
    /// Whether a rule that asks for the annotation can leave out its language, and then is for
    /// each.
    is_for_any_language: bool,
    /// Reads what no other feature has.
    extra: fn(&mut Lowering<'_>, &Section<'_>) -> Extra,
}

/// The lists, in the order in which features run.
pub(super) static LISTS: [List; 5] = [
    List {
        key: "ddtraces",
        feature: Feature::Ddtrace,
        keys: &tables::DDTRACES,
        words: &tables::DDTRACE_WORDS,
        is_for_any_language: false,
        extra: |lowering, entry| lowering.php_loader(entry),
    },
    List {
        key: "otels",
        feature: Feature::Otel,
        keys: &tables::OTELS,
        words: &tables::OTEL_WORDS,
        is_for_any_language: false,
        extra: |_, _| Extra::None,
    },
    List {
        key: "logfwds",
        feature: Feature::Logfwd,
        keys: &tables::LOGFWDS,
        words: &[],
        is_for_any_language: false,
        extra: |lowering, entry| lowering.log_sources(entry),
    },
    List {
        key: "flameshots",
        feature: Feature::Flameshot,
        keys: &tables::FLAMESHOTS,
        words: &[],
        is_for_any_language: false,
        extra: |lowering, entry| lowering.flameshot(entry),
    },
    List {
        key: "profilers",
        feature: Feature::Profiler,
        keys: &tables::PROFILERS,
        words: &tables::PROFILER_WORDS,
        is_for_any_language: true,
        extra: |_, _| Extra::None,
    },
];

/// The key in the document of what isn't injected into pods, but said on them.
pub(super) const MUTATE: &str = "admission_mutate";
/// The key of its only list.
pub(super) const LOGGINGS: &str = "loggings";
/// The list, whose rules have no container and therefore other keys than the rest.
static LOGGING_LIST: List = List {
    key: LOGGINGS,
    feature: Feature::Logging,
    keys: &tables::LOGGING,
    words: &[],
    is_for_any_language: false,
    extra: |_, _| Extra::None,
};

/// What the section can have.
pub(super) static RULES: [Key; LISTS.len()] = {
    let mut keys = [Key::new("", Kind::Bool, ""); LISTS.len()];
    let mut at = 0;
    while at < keys.len() {
        let rules = Kind::Rules(LISTS[at].keys);
        keys[at] = Key::new(LISTS[at].key, rules, "the rules of the feature");
        at += 1;
    }
    keys
};
pub(super) static MUTATIONS: [Key; 1] = [Key::new(
    LOGGINGS,
    Kind::Objects(&tables::LOGGING),
    "the first rule that fits a pod counts",
)];

/// Keys that say which pods a rule is for. An unknown key that may have been meant as one disables
/// the rule.
const CONDITIONS: [&str; 4] = [
    "namespace_selectors",
    "label_selectors",
    "check_annotation",
    "language",
];
const CONDITION_WORDS: [&str; 4] = ["namespace", "label", "annotation", "selector"];

/// Keys that only other lists have, where they were always ignored.
const OTHER_KEYS: [&str; 2] = ["language", "check_annotation"];

impl List {
    /// Whether an unknown key may have been meant to say which pods a rule is for. What belongs to
    /// another list isn't.
    fn may_condition(&self, key: &str) -> bool {
        if OTHER_KEYS
            .iter()
            .any(|other| other.eq_ignore_ascii_case(key))
        {
            return false;
        }
        let lower = key.to_ascii_lowercase();
        CONDITION_WORDS.iter().any(|word| lower.contains(word))
            || did_you_mean(key, keys::names(self.keys))
                .is_some_and(|meant| CONDITIONS.contains(&meant))
    }
}

/// The rule can't be used, which has been reported.
struct Disabled;

impl Lowering<'_> {
    /// The rules of the section.
    pub(super) fn v2(&mut self, root: &Section<'_>) -> Vec<Rule> {
        let section = self.reader.object(root, KEY, &RULES);
        let mut rules = Vec::new();
        for list in &LISTS {
            let path = section.path(list.key);
            let items = self.reader.array(&section, list.key);
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                match item {
                    Node::Object(entries) => {
                        let entry = self.reader.section(path, entries, list.keys);
                        self.entry(&entry, list, &mut rules);
                    }
                    Node::Null => self.null_rule(path),
                    other => self.reader.wrong_kind(&path, "an object", other),
                }
            }
        }
        rules
    }

    /// The rules that one entry comes to: one, or one for each language.
    fn entry(&mut self, entry: &Section<'_>, list: &'static List, rules: &mut Vec<Rule>) {
        // All of it is read, so that all that is wrong is reported at once.
        let name = self.reader.string(entry, "name").unwrap_or_default();
        let when = self.when(entry, list);
        let languages = self.languages(entry, list);
        let image = self.setting(entry, "image", "", parse_image);
        let container = Arc::new(self.container(entry, &[], PULL_POLICY));
        let extra = (list.extra)(self, entry);
        let (Ok(when), Ok(languages)) = (when, languages) else {
            return;
        };
        if image.is_none() {
            self.reader.report(Diagnostic::error(
                entry.path("image"),
                "the rule has no image, so the pods that it fits get nothing",
            ));
        }
        let origin = Origin::named(&entry.path, name);
        rules.extend(languages.into_iter().map(|language| Rule {
            origin: origin.clone(),
            section: origin.clone(),
            feature: list.feature,
            language,
            when: when.clone(),
            image: image.clone(),
            image_key: entry.path("image"),
            container: Arc::clone(&container),
            extra: extra.clone(),
        }));
    }

    fn null_rule(&mut self, path: String) {
        self.reader.report(
            Diagnostic::warning(path, "the rule is null, and skipped").code(Code::RuleDisabled),
        );
    }

    /// Which pods a rule fits.
    fn when(&mut self, entry: &Section<'_>, list: &List) -> Result<When, Disabled> {
        let namespaces = self.patterns(entry, "namespace_selectors", pattern_of_namespaces);
        let labels = self.patterns(entry, "label_selectors", selector_of_labels);
        let annotation = match entry.get("check_annotation") {
            None => Ok(false),
            Some(Node::Bool(value)) => Ok(*value),
            Some(other) => {
                self.reader.report(
                    Diagnostic::error(
                        entry.path("check_annotation"),
                        format!(
                            "expected true or false, not {}; the rule is disabled",
                            other.kind()
                        ),
                    )
                    .code(Code::RuleDisabled)
                    .found(other.to_string()),
                );
                Err(Disabled)
            }
        };
        let doubtful = entry.unknown.iter().find(|key| list.may_condition(key));
        if let Some(key) = doubtful {
            self.reader.report(
                Diagnostic::error(
                    &*entry.path,
                    format!("the rule is disabled: its unknown key `{key}` may have been meant to restrict it"),
                )
                .code(Code::RuleDisabled),
            );
            return Err(Disabled);
        }
        let when = When {
            annotation: annotation?,
            namespaces: namespaces?,
            labels: labels?,
        };
        if when.namespaces.is_empty() && when.labels.is_empty() {
            self.reader.report(
                Diagnostic::warning(
                    &*entry.path,
                    "the rule is disabled: it has neither namespace_selectors nor label_selectors",
                )
                .code(Code::RuleDisabled)
                .suggest("write \"namespace_selectors\": [\"*\"] to mean every namespace"),
            );
            return Err(Disabled);
        }
        Ok(when)
    }

    /// A list of patterns, of which one has to fit. Those that can't be read are left out, but a
    /// list of which nothing is left can't be fulfilled.
    fn patterns<P>(
        &mut self,
        entry: &Section<'_>,
        key: &str,
        parse: fn(&str) -> Result<P, Problem>,
    ) -> Result<Vec<P>, Disabled> {
        let path = entry.path(key);
        let mut patterns = Vec::new();
        match entry.get(key) {
            None => return Ok(patterns),
            Some(Node::Array(items)) if items.is_empty() => return Ok(patterns),
            Some(_) => {}
        }
        for (index, item) in self.reader.array(entry, key).iter().enumerate() {
            let path = format!("{path}[{index}]");
            let Node::String(text) = item else {
                self.reader.wrong_kind(&path, "a string", item);
                continue;
            };
            match parse(text) {
                Ok(pattern) => patterns.push(pattern),
                Err(Problem { code, message }) => {
                    let error =
                        Diagnostic::error(path, format!("{message}; entry ignored")).code(code);
                    self.reader.report(if text.is_empty() {
                        error
                    } else {
                        error.found(text)
                    });
                }
            }
        }
        if patterns.is_empty() {
            self.reader.report(
                Diagnostic::error(
                    path,
                    "the rule is disabled: none of the entries can be used",
                )
                .code(Code::RuleDisabled),
            );
            return Err(Disabled);
        }
        Ok(patterns)
    }

    fn languages(
        &mut self,
        entry: &Section<'_>,
        list: &'static List,
    ) -> Result<Vec<Option<Language>>, Disabled> {
        if list.words.is_empty() {
            return Ok(vec![None]);
        }
        let asks = matches!(entry.get("check_annotation"), Some(Node::Bool(true)));
        if list.is_for_any_language && asks && entry.get("language").is_none() {
            return Ok(list
                .words
                .iter()
                .map(|(_, language)| Some(*language))
                .collect());
        }
        let language = self.language(entry, list.words, "the rule is disabled");
        language
            .map(|language| vec![Some(language)])
            .ok_or(Disabled)
    }

    fn flameshot(&mut self, entry: &Section<'_>) -> Extra {
        let key = "enable_prometheus_annotations";
        let prometheus_annotations = match entry.get(key) {
            None => false,
            Some(Node::Bool(value)) => *value,
            Some(other) => {
                self.reader
                    .wrong_kind(&entry.path(key), "true or false", other);
                false
            }
        };
        Extra::Flameshot {
            processes: processes::read(&mut self.reader, entry, "processes"),
            prometheus_annotations,
        }
    }

    /// The rules of [`MUTATE`].
    pub(super) fn loggings(&mut self, root: &Section<'_>) -> Vec<Rule> {
        let section = self.reader.object(root, MUTATE, &MUTATIONS);
        let path = section.path(LOGGINGS);
        let mut rules = Vec::new();
        for (index, item) in self.reader.array(&section, LOGGINGS).iter().enumerate() {
            let path = format!("{path}[{index}]");
            match item {
                Node::Object(entries) => {
                    let entry = self.reader.section(path, entries, LOGGING_LIST.keys);
                    rules.extend(self.logging(&entry));
                }
                Node::Null => self.null_rule(path),
                other => self.reader.wrong_kind(&path, "an object", other),
            }
        }
        rules
    }

    fn logging(&mut self, entry: &Section<'_>) -> Option<Rule> {
        let when = self.when(entry, &LOGGING_LIST);
        let errors = self.reader.errors();
        let configs = log_configs::read(&mut self.reader, entry, "config", ReadBy::Agent);
        let when = when.ok()?;
        for (key, is_missing) in [
            ("namespace_selectors", when.namespaces.is_empty()),
            ("label_selectors", when.labels.is_empty()),
        ] {
            if is_missing {
                self.reader.report(
                    Diagnostic::warning(
                        &*entry.path,
                        format!("the rule is disabled: it needs {key} as well"),
                    )
                    .code(Code::RuleDisabled)
                    .suggest("namespaces `*` and a label selector such as `!none` fit every pod"),
                );
                return None;
            }
        }
        // A list that can't be read is no list that was left out on purpose.
        if self.reader.errors() > errors {
            return None;
        }
        let origin = Origin::named(&entry.path, "");
        Some(Rule {
            origin: origin.clone(),
            section: origin,
            feature: Feature::Logging,
            language: None,
            when,
            image: None,
            image_key: String::new(),
            container: Arc::new(ContainerSettings::default()),
            extra: Extra::Logging(configs),
        })
    }

    fn php_loader(&mut self, entry: &Section<'_>) -> Extra {
        let loader = self.reader.choice(
            entry,
            tables::PHP_LOADER,
            &PhpLoader::ALL,
            PhpLoader::as_str,
        );
        match entry.get("language") {
            Some(Node::String(language)) if language == Language::Php.as_str() => {
                Extra::Php(loader)
            }
            _ => {
                if entry.get(tables::PHP_LOADER).is_some() {
                    self.reader.report(
                        Diagnostic::warning(
                            entry.path(tables::PHP_LOADER),
                            "without effect: the rule isn't for php",
                        )
                        .code(Code::WithoutEffect),
                    );
                }
                Extra::None
            }
        }
    }

    fn log_sources(&mut self, entry: &Section<'_>) -> Extra {
        let sidecar_mode = self.reader.choice(
            entry,
            "sidecar_mode",
            &SidecarMode::ALL,
            SidecarMode::as_str,
        );
        let configs = log_configs::read(&mut self.reader, entry, "log_configs", ReadBy::Sidecar);
        let key = "log_volume_paths";
        let list = entry.path(key);
        let mut volume_paths = Vec::new();
        for (index, item) in self.reader.array(entry, key).iter().enumerate() {
            let path = format!("{list}[{index}]");
            match item {
                Node::String(text) if text.starts_with('/') => volume_paths.push(text.clone()),
                Node::String(text) => self.reader.report(
                    Diagnostic::error(path, "expected an absolute path; entry ignored").found(text),
                ),
                other => self.reader.wrong_kind(&path, "a string", other),
            }
        }
        Extra::Logfwd {
            sidecar_mode,
            sources: Some(LogSources {
                configs,
                volume_paths,
            }),
        }
    }
}
