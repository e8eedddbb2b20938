//! Lowers the `admission_inject` schema into rules.
//!
//! A pod's annotation is asked first, language by language, then label selectors, then namespace patterns: in this order
//! each feature's rules are listed.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::env_overrides::{self, EnvOverrides};
use super::reader::{Reader, Section, find_choice};
use super::rule::{Extra, Feature, Language, Origin, Rule, When};
use super::tree::{self, ConfigError, Node};
use super::{
    AdmissionLimits, Config, ContainerSettings, DEFAULT_LISTEN, LogLevel, Policy, PullPolicy,
    SidecarMode, envs, policy, resources, security_context,
};
use crate::diagnostic::Diagnostic;
use crate::image::Image;
use crate::selector::{LabelSelector, NamespacePattern};

const ROOT: &[&str] = &[
    "server_listen",
    "log_level",
    "admission_inject",
    policy::KEY,
    "admission_limits",
    "admission_inject_v2",
    "admission_mutate",
];
const LIMITS: &[&str] = &["containers", "patch_operations", "patch_bytes"];
/// What stands in the section of every feature.
const FEATURE: &[&str] = &[
    "images",
    "envs",
    "resources",
    "image_pull_policy",
    "security_context",
    "enabled_labelselectors",
    "enabled_namespaces",
];
const LOGFWD: &[&str] = &[
    "images",
    "envs",
    "resources",
    "image_pull_policy",
    "security_context",
    "sidecar_mode",
    "enabled_labelselectors",
    "enabled_namespaces",
    "options",
];

/// The section of one feature.
pub(super) struct Form {
    pub(super) feature: Feature,
    keys: &'static [&'static str],
    /// The images, in the order in which they are written.
    pub(super) images: &'static [ImageKey],
    image_keys: &'static [&'static str],
    /// For which language an annotation is asked first; a feature without languages is asked once.
    precedence: &'static [Option<Language>],
    /// The words for a language in `enabled_…`; a feature without any has no selectors.
    pub(super) words: &'static [(&'static str, Language)],
    /// Variables that have a deprecated environment variable of their own.
    replacements: &'static [envs::Replacement],
    /// Reads what no other feature has.
    extra: fn(&mut Lowering<'_>, &Section<'_>) -> Extra,
}

/// An image of a feature's section.
pub(super) struct ImageKey {
    pub(super) key: &'static str,
    pub(super) language: Option<Language>,
    /// The deprecated environment variable that replaces it, if there is one.
    variable: &'static str,
}

const DDTRACE_IMAGES: [ImageKey; 3] = [
    ImageKey {
        key: "java_agent_image",
        language: Some(Language::Java),
        variable: env_overrides::DD_JAVA_AGENT_IMAGE,
    },
    ImageKey {
        key: "python_agent_image",
        language: Some(Language::Python),
        variable: env_overrides::DD_PYTHON_AGENT_IMAGE,
    },
    ImageKey {
        key: "js_agent_image",
        language: Some(Language::Nodejs),
        variable: env_overrides::DD_JS_AGENT_IMAGE,
    },
];
const LOGFWD_IMAGES: [ImageKey; 1] = [ImageKey {
    key: "logfwd_image",
    language: None,
    variable: env_overrides::LOGFWD_IMAGE,
}];
const PROFILER_IMAGES: [ImageKey; 3] = [
    ImageKey::of("java_profiler_image", Language::Java),
    ImageKey::of("python_profiler_image", Language::Python),
    ImageKey::of("golang_profiler_image", Language::Golang),
];

/// The sections, in the order in which features run.
pub(super) static FORMS: [Form; Feature::ALL.len()] = [
    Form {
        feature: Feature::Ddtrace,
        keys: FEATURE,
        images: &DDTRACE_IMAGES,
        image_keys: &ImageKey::names(&DDTRACE_IMAGES),
        precedence: &[
            Some(Language::Java),
            Some(Language::Nodejs),
            Some(Language::Python),
        ],
        words: &[
            ("java", Language::Java),
            ("nodejs", Language::Nodejs),
            ("python", Language::Python),
            // An older name.
            ("js", Language::Nodejs),
        ],
        replacements: &[
            ("DD_AGENT_HOST", env_overrides::DD_AGENT_HOST),
            ("DD_TRACE_AGENT_PORT", env_overrides::DD_TRACE_AGENT_PORT),
        ],
        extra: |_, _| Extra::None,
    },
    Form {
        feature: Feature::Logfwd,
        keys: LOGFWD,
        images: &LOGFWD_IMAGES,
        image_keys: &ImageKey::names(&LOGFWD_IMAGES),
        precedence: &[None],
        words: &[],
        replacements: &[],
        extra: |lowering, section| lowering.logfwd(section),
    },
    Form {
        feature: Feature::Profiler,
        keys: FEATURE,
        images: &PROFILER_IMAGES,
        image_keys: &ImageKey::names(&PROFILER_IMAGES),
        precedence: &[
            Some(Language::Java),
            Some(Language::Python),
            Some(Language::Golang),
        ],
        words: &[
            ("java", Language::Java),
            ("python", Language::Python),
            ("golang", Language::Golang),
        ],
        replacements: &[],
        extra: |_, _| Extra::None,
    },
];

/// A value, perhaps with a remark, or why there is none. The diagnostics have no place yet.
type Parsed<T> = Result<(T, Option<Diagnostic>), Diagnostic>;

/// See [`Config::load`].
pub(super) fn load(
    text: &str,
    overrides: &EnvOverrides,
) -> Result<(Config, Vec<Diagnostic>), ConfigError> {
    let mut reader = Reader::default();
    let entries = if tree::strip_mark(text).trim().is_empty() {
        reader.report(Diagnostic::warning(
            "",
            "the configuration is empty, so nothing is injected",
        ));
        Vec::new()
    } else {
        tree::parse(text)?
    };
    Ok(lower(reader, entries, overrides))
}

/// What a document without a word comes to.
pub(super) fn empty() -> Config {
    lower(Reader::default(), Vec::new(), &EnvOverrides::default()).0
}

fn lower(
    mut reader: Reader,
    mut entries: Vec<(String, Node)>,
    overrides: &EnvOverrides,
) -> (Config, Vec<Diagnostic>) {
    let misplaced = take_misplaced_policies(&mut entries);
    let root = reader.section(String::new(), &entries, ROOT);
    let policy = policy::read(&mut reader, &root, misplaced);
    let mut lowering = Lowering { reader, overrides };
    let config = lowering.config(&root, policy);
    (config, lowering.reader.diagnostics)
}

/// Policies that stand where nothing reads them, or under a misspelt key.
fn take_misplaced_policies(root: &mut Vec<(String, Node)>) -> Vec<String> {
    let mut found = policy::take_misplaced("", root, ROOT);
    for inject in objects(root, "admission_inject") {
        found.extend(policy::take_misplaced(
            "admission_inject",
            inject,
            &Feature::NAMES,
        ));
        for form in &FORMS {
            let path = format!("admission_inject.{}", form.feature);
            for section in objects(inject, form.feature.as_str()) {
                found.extend(policy::take_misplaced(&path, section, form.keys));
            }
        }
    }
    found
}

fn objects<'n>(
    entries: &'n mut [(String, Node)],
    key: &str,
) -> impl Iterator<Item = &'n mut Vec<(String, Node)>> {
    entries
        .iter_mut()
        .filter_map(move |(name, node)| match node {
            Node::Object(entries) if name.eq_ignore_ascii_case(key) => Some(entries),
            _ => None,
        })
}

impl ImageKey {
    const fn of(key: &'static str, language: Language) -> Self {
        Self {
            key,
            language: Some(language),
            variable: "",
        }
    }

    const fn names<const N: usize>(images: &[Self; N]) -> [&'static str; N] {
        let mut names = [""; N];
        let mut at = 0;
        while at < N {
            names[at] = images[at].key;
            at += 1;
        }
        names
    }
}

pub(super) struct Lowering<'o> {
    reader: Reader,
    overrides: &'o EnvOverrides,
}

impl Lowering<'_> {
    fn config(&mut self, root: &Section<'_>, policy: Policy) -> Config {
        let server_listen = self.setting(
            root,
            "server_listen",
            env_overrides::SERVER_LISTEN,
            parse_listen,
        );
        let log_level = self.setting(root, "log_level", env_overrides::LOG_LEVEL, parse_level);
        for key in ["admission_inject_v2", "admission_mutate"] {
            // Whoever comes from a version that has the section expects what it configures: that is an error. A
            // section that is there and empty, as in shipped defaults, loses nothing.
            match root.get(key) {
                Some(section) if section.configures() => self.reader.report(Diagnostic::error(
                    root.path(key),
                    "this version doesn't handle the section, so nothing that it configures is injected",
                )),
                Some(_) => self.reader.report(Diagnostic::warning(
                    root.path(key),
                    "this version doesn't handle the section; ignored",
                )),
                None => {}
            }
        }
        let inject = self
            .reader
            .object(root, "admission_inject", &Feature::NAMES);
        let mut rules = Vec::new();
        for form in &FORMS {
            self.feature(&inject, form, &mut rules);
        }
        let config = Config {
            server_listen: server_listen.unwrap_or(DEFAULT_LISTEN),
            log_level: log_level.unwrap_or_default(),
            rules,
            limits: self.limits(root),
            policy,
        };
        for feature in Feature::ALL {
            let forbidden = config.policy.of(feature).namespaces.is_none();
            let selects = config.rules_of(feature).any(|rule| !rule.when.annotation);
            if forbidden && selects {
                self.reader.report(Diagnostic::warning(
                    inject.path(feature.as_str()),
                    format!(
                        "its selectors are without effect: {}.{feature} allows no namespace",
                        policy::KEY
                    ),
                ));
            }
        }
        config
    }

    fn limits(&mut self, root: &Section<'_>) -> AdmissionLimits {
        let section = self.reader.object(root, "admission_limits", LIMITS);
        let mut limits = AdmissionLimits::default();
        let keys = AdmissionLimits::KEYS;
        for ((key, most), limit) in keys.into_iter().zip(limits.values()) {
            let Some(node) = section.get(key) else {
                continue;
            };
            let given = match node {
                Node::Number(number) => number.as_u64().and_then(|n| usize::try_from(n).ok()),
                _ => None,
            };
            match given.filter(|given| (1..=most).contains(given)) {
                Some(given) => *limit = given,
                None => self.reader.report(
                    Diagnostic::error(
                        section.path(key),
                        format!("expected a whole number from 1 to {most}; using {limit}"),
                    )
                    .found(node.to_string()),
                ),
            }
        }
        limits
    }

    /// The rules of one feature. Those that ask by annotation are there without an image as well: whoever asks is told
    /// that it isn't configured.
    fn feature(&mut self, inject: &Section<'_>, form: &'static Form, rules: &mut Vec<Rule>) {
        let section = self.reader.object(inject, form.feature.as_str(), form.keys);
        let written = self.reader.object(&section, "images", form.image_keys);
        let images: Vec<(&ImageKey, Option<Image>)> = form
            .images
            .iter()
            .map(|image| {
                let parsed = self.setting(&written, image.key, image.variable, parse_image);
                (image, parsed)
            })
            .collect();
        let container = Arc::new(self.container(&section, form.replacements));
        let extra = (form.extra)(self, &section);
        let whole = Origin::new(&inject.path(form.feature.as_str()));
        let rule = |origin: Origin, language: Option<Language>, when: When| {
            let mut images = images.iter();
            let image = images.find(|(key, _)| key.language == language);
            Rule {
                origin,
                section: whole.clone(),
                feature: form.feature,
                language,
                when,
                image: image.and_then(|(_, image)| image.clone()),
                image_key: image.map_or_else(String::new, |(key, _)| written.path(key.key)),
                container: Arc::clone(&container),
                extra: extra.clone(),
            }
        };
        for language in form.precedence {
            rules.push(rule(whole.clone(), *language, When::annotation()));
        }
        if form.words.is_empty() {
            return;
        }
        let labels = self.selectors(
            &section,
            "enabled_labelselectors",
            &["labelselector", "language"],
            |text| LabelSelector::parse(text).map_err(|error| error.to_string()),
            form.words,
        );
        for (origin, selector, language) in labels {
            rules.push(rule(origin, Some(language), When::label(selector)));
        }
        let namespaces = self.selectors(
            &section,
            "enabled_namespaces",
            &["namespace", "language"],
            |text| NamespacePattern::parse(text).map_err(|error| error.to_string()),
            form.words,
        );
        for (origin, pattern, language) in namespaces {
            rules.push(rule(origin, Some(language), When::namespace(pattern)));
        }
    }

    fn logfwd(&mut self, section: &Section<'_>) -> Extra {
        let sidecar_mode = self.reader.choice(
            section,
            "sidecar_mode",
            &SidecarMode::ALL,
            SidecarMode::as_str,
        );
        for key in ["enabled_labelselectors", "enabled_namespaces"] {
            if section.get(key).is_some() {
                self.reader.report(Diagnostic::warning(
                    section.path(key),
                    "without effect: logfwd always needs its annotation",
                ));
            }
        }
        let options = self
            .reader
            .object(section, "options", &["reuse_exist_volume"]);
        if options.get("reuse_exist_volume").is_some() {
            self.reader.report(Diagnostic::warning(
                options.path("reuse_exist_volume"),
                "without effect: a volume that is already mounted is always reused",
            ));
        }
        Extra::Logfwd { sidecar_mode }
    }

    fn container(
        &mut self,
        section: &Section<'_>,
        replacements: &[envs::Replacement],
    ) -> ContainerSettings {
        ContainerSettings {
            envs: envs::read(&mut self.reader, section, replacements, self.overrides),
            resources: resources::read(&mut self.reader, section),
            image_pull_policy: self.reader.choice(
                section,
                "image_pull_policy",
                &PullPolicy::ALL,
                PullPolicy::as_str,
            ),
            security_context: security_context::read(&mut self.reader, section),
        }
    }

    /// One text from the document, and from the deprecated `variable` on top of it. `parse` may accept a text with a
    /// remark; a text that it refuses leaves things as they are without it.
    fn setting<T>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        variable: &str,
        parse: fn(&str) -> Parsed<T>,
    ) -> Option<T> {
        let path = section.path(key);
        let mut value = None;
        let written = self
            .reader
            .string(section, key)
            .filter(|text| !text.is_empty());
        if let Some(text) = written {
            value = self.parsed(&path, parse(text));
        }
        if let Some(text) = self.overrides.get(variable)
            && let Some(replaced) = self.parsed(variable, parse(text))
        {
            self.reader.report(env_overrides::used(variable, &path));
            value = Some(replaced);
        }
        value
    }

    fn parsed<T>(&mut self, path: &str, result: Parsed<T>) -> Option<T> {
        let (value, remark) = match result {
            Ok((value, remark)) => (Some(value), remark),
            Err(error) => (None, Some(error)),
        };
        if let Some(remark) = remark {
            self.reader.report(Diagnostic {
                path: path.to_owned(),
                ..remark
            });
        }
        value
    }

    /// A list of entries with a pattern and a language, and where each stands. An entry that can't be used is left out: it
    /// must neither widen nor end the list.
    fn selectors<P>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        fields: &'static [&'static str; 2],
        parse: impl Fn(&str) -> Result<P, String>,
        words: &[(&'static str, Language)],
    ) -> Vec<(Origin, P, Language)> {
        let list = section.path(key);
        let mut found = Vec::new();
        for (index, item) in self.reader.array(section, key).iter().enumerate() {
            let path = format!("{list}[{index}]");
            let Node::Object(entries) = item else {
                self.reader.wrong_kind(&path, "an object", item);
                continue;
            };
            let origin = Origin::new(&path);
            let entry = self.reader.section(path, entries, fields);
            let pattern = self.pattern(&entry, fields[0], &parse);
            let language = self.language(&entry, words);
            found.extend(
                pattern
                    .zip(language)
                    .map(|(pattern, language)| (origin, pattern, language)),
            );
        }
        found
    }

    fn pattern<P>(
        &mut self,
        entry: &Section<'_>,
        key: &str,
        parse: impl Fn(&str) -> Result<P, String>,
    ) -> Option<P> {
        let text = match entry.get(key) {
            None => "",
            Some(_) => self.reader.string(entry, key)?,
        };
        match parse(text) {
            Ok(pattern) => Some(pattern),
            Err(message) => {
                let error = Diagnostic::error(entry.path(key), format!("{message}; entry ignored"));
                self.reader.report(if text.is_empty() {
                    error
                } else {
                    error.found(text)
                });
                None
            }
        }
    }

    fn language(
        &mut self,
        entry: &Section<'_>,
        languages: &[(&'static str, Language)],
    ) -> Option<Language> {
        let text = match entry.get("language") {
            None => "",
            Some(_) => self.reader.string(entry, "language")?,
        };
        let found = languages
            .iter()
            .find_map(|(word, language)| (*word == text).then_some(*language));
        if found.is_none() {
            let words = || languages.iter().map(|(word, _)| *word);
            let expected = words().collect::<Vec<_>>().join(", ");
            let error = Diagnostic::error(
                entry.path("language"),
                format!("expected one of {expected}; entry ignored"),
            );
            self.reader.report(if text.is_empty() {
                error
            } else {
                error.found(text).suggest_like(text, words())
            });
        }
        found
    }
}

/// An address and port, or `:port` for all IPv4 addresses.
fn parse_listen(text: &str) -> Parsed<SocketAddr> {
    let port_only = text
        .strip_prefix(':')
        .and_then(|port| port.parse::<u16>().ok())
        .map(|port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    let local = text
        .strip_prefix("localhost:")
        .and_then(|port| port.parse::<u16>().ok())
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    match port_only.or(local).or_else(|| text.parse().ok()) {
        Some(address) => Ok((address, None)),
        None => Err(Diagnostic::error(
            "",
            "expected an address and a port, such as 0.0.0.0:9543 or :9543; ignored",
        )
        .found(text)),
    }
}

fn parse_level(text: &str) -> Parsed<LogLevel> {
    match find_choice(text, &LogLevel::ALL, LogLevel::as_str) {
        Ok(level) => Ok((level, None)),
        Err(error) => Err(Diagnostic {
            message: format!("{}; ignored", error.message),
            ..error
        }),
    }
}

fn parse_image(text: &str) -> Parsed<Image> {
    let image = Image::parse(text).map_err(|error| {
        let diagnostic =
            Diagnostic::error("", format!("{error}; the image is ignored")).found(text);
        let trimmed = text.trim();
        if trimmed != text && Image::parse(trimmed).is_ok() {
            diagnostic.suggest(format!("write {trimmed}"))
        } else {
            diagnostic
        }
    })?;
    let remark = (!image.has_tag_or_digest()).then(|| {
        Diagnostic::warning(
            "",
            "the image has no tag, so each node may run another version",
        )
        .found(text)
        .suggest(format!("write {text}:<version>"))
    });
    Ok((image, remark))
}
