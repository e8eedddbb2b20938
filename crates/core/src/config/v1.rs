//! Lowers the `admission_inject` schema into the model.

use std::net::{Ipv4Addr, SocketAddr};

use super::env_overrides::{self, EnvOverrides};
use super::reader::{Reader, Section, find_choice};
use super::tree::{self, ConfigError, Node};
use super::{
    AdmissionLimits, Config, ContainerSettings, DEFAULT_LISTEN, Ddtrace, DdtraceImages,
    DdtraceLanguage, LogLevel, Logfwd, Policy, Profiler, ProfilerImages, ProfilerLanguage,
    PullPolicy, Selectors, SidecarMode, envs, policy, resources, security_context,
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
const FEATURES: &[&str] = &["ddtrace", "logfwd", "profiler"];
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
const DDTRACE_IMAGES: &[&str] = &["java_agent_image", "python_agent_image", "js_agent_image"];
const LOGFWD_IMAGES: &[&str] = &["logfwd_image"];
const PROFILER_IMAGES: &[&str] = &[
    "java_profiler_image",
    "python_profiler_image",
    "golang_profiler_image",
];

/// A value, perhaps with a remark, or why there is none. The diagnostics have no place yet.
type Parsed<T> = Result<(T, Option<Diagnostic>), Diagnostic>;

/// The words for a language in `enabled_…`.
type Languages<L> = &'static [(&'static str, L)];
const DDTRACE_LANGUAGES: Languages<DdtraceLanguage> = &[
    ("java", DdtraceLanguage::Java),
    ("nodejs", DdtraceLanguage::Nodejs),
    ("python", DdtraceLanguage::Python),
    // An older name.
    ("js", DdtraceLanguage::Nodejs),
];
const PROFILER_LANGUAGES: Languages<ProfilerLanguage> = &[
    ("java", ProfilerLanguage::Java),
    ("python", ProfilerLanguage::Python),
    ("golang", ProfilerLanguage::Golang),
];

/// Variables of the tracing library that have a deprecated environment variable of their own.
const DDTRACE_REPLACEMENTS: &[envs::Replacement] = &[
    ("DD_AGENT_HOST", env_overrides::DD_AGENT_HOST),
    ("DD_TRACE_AGENT_PORT", env_overrides::DD_TRACE_AGENT_PORT),
];

/// See [`Config::load`].
pub(super) fn load(
    text: &str,
    overrides: &EnvOverrides,
) -> Result<(Config, Vec<Diagnostic>), ConfigError> {
    let mut reader = Reader::default();
    let mut entries = if tree::strip_mark(text).trim().is_empty() {
        reader.report(Diagnostic::warning(
            "",
            "the configuration is empty, so nothing is injected",
        ));
        Vec::new()
    } else {
        tree::parse(text)?
    };
    let misplaced = take_misplaced_policies(&mut entries);
    let root = reader.section(String::new(), &entries, ROOT);
    let policy = policy::read(&mut reader, &root, misplaced);
    let mut lowering = Lowering { reader, overrides };
    let config = lowering.config(&root, policy);
    Ok((config, lowering.reader.diagnostics))
}

/// Policies that stand where nothing reads them, or under a misspelt key.
fn take_misplaced_policies(root: &mut Vec<(String, Node)>) -> Vec<String> {
    let mut found = policy::take_misplaced("", root, ROOT);
    for inject in objects(root, "admission_inject") {
        found.extend(policy::take_misplaced("admission_inject", inject, FEATURES));
        for feature in FEATURES {
            let known = if *feature == "logfwd" {
                LOGFWD
            } else {
                FEATURE
            };
            let path = format!("admission_inject.{feature}");
            for section in objects(inject, feature) {
                found.extend(policy::take_misplaced(&path, section, known));
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

struct Lowering<'o> {
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
        let inject = self.reader.object(root, "admission_inject", FEATURES);
        let config = Config {
            server_listen: server_listen.unwrap_or(DEFAULT_LISTEN),
            log_level: log_level.unwrap_or_default(),
            ddtrace: self.ddtrace(&inject),
            logfwd: self.logfwd(&inject),
            profiler: self.profiler(&inject),
            limits: self.limits(root),
            policy,
        };
        let policy = &config.policy;
        for (feature, forbidden, selects) in [
            (
                "ddtrace",
                policy.ddtrace.namespaces.is_none(),
                !config.ddtrace.selectors.is_empty(),
            ),
            (
                "profiler",
                policy.profiler.namespaces.is_none(),
                !config.profiler.selectors.is_empty(),
            ),
        ] {
            if forbidden && selects {
                self.reader.report(Diagnostic::warning(
                    inject.path(feature),
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

    fn ddtrace(&mut self, inject: &Section<'_>) -> Ddtrace {
        let section = self.reader.object(inject, "ddtrace", FEATURE);
        let images = self.reader.object(&section, "images", DDTRACE_IMAGES);
        let mut image = |key, variable| self.setting(&images, key, variable, parse_image);
        let images = DdtraceImages {
            java: image("java_agent_image", env_overrides::DD_JAVA_AGENT_IMAGE),
            python: image("python_agent_image", env_overrides::DD_PYTHON_AGENT_IMAGE),
            nodejs: image("js_agent_image", env_overrides::DD_JS_AGENT_IMAGE),
        };
        Ddtrace {
            images,
            container: self.container(&section, DDTRACE_REPLACEMENTS),
            selectors: self.selectors(&section, DDTRACE_LANGUAGES),
        }
    }

    fn logfwd(&mut self, inject: &Section<'_>) -> Logfwd {
        let section = self.reader.object(inject, "logfwd", LOGFWD);
        let images = self.reader.object(&section, "images", LOGFWD_IMAGES);
        let image = self.setting(
            &images,
            "logfwd_image",
            env_overrides::LOGFWD_IMAGE,
            parse_image,
        );
        let container = self.container(&section, &[]);
        let sidecar_mode = self.reader.choice(
            &section,
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
            .object(&section, "options", &["reuse_exist_volume"]);
        if options.get("reuse_exist_volume").is_some() {
            self.reader.report(Diagnostic::warning(
                options.path("reuse_exist_volume"),
                "without effect: a volume that is already mounted is always reused",
            ));
        }
        Logfwd {
            image,
            container,
            sidecar_mode,
        }
    }

    fn profiler(&mut self, inject: &Section<'_>) -> Profiler {
        let section = self.reader.object(inject, "profiler", FEATURE);
        let images = self.reader.object(&section, "images", PROFILER_IMAGES);
        let mut image = |key| self.setting(&images, key, "", parse_image);
        let images = ProfilerImages {
            java: image("java_profiler_image"),
            python: image("python_profiler_image"),
            golang: image("golang_profiler_image"),
        };
        Profiler {
            images,
            container: self.container(&section, &[]),
            selectors: self.selectors(&section, PROFILER_LANGUAGES),
        }
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

    fn selectors<L: Copy>(
        &mut self,
        section: &Section<'_>,
        languages: Languages<L>,
    ) -> Selectors<L> {
        Selectors {
            labels: self.rules(
                section,
                "enabled_labelselectors",
                &["labelselector", "language"],
                |text| LabelSelector::parse(text).map_err(|error| error.to_string()),
                languages,
            ),
            namespaces: self.rules(
                section,
                "enabled_namespaces",
                &["namespace", "language"],
                |text| NamespacePattern::parse(text).map_err(|error| error.to_string()),
                languages,
            ),
        }
    }

    /// A list of entries with a pattern and a language. An entry that can't be used is left out: it must neither widen
    /// nor end the list.
    fn rules<P, L: Copy>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        fields: &'static [&'static str; 2],
        parse: impl Fn(&str) -> Result<P, String>,
        languages: Languages<L>,
    ) -> Vec<(P, L)> {
        let list = section.path(key);
        let mut rules = Vec::new();
        for (index, item) in self.reader.array(section, key).iter().enumerate() {
            let path = format!("{list}[{index}]");
            let Node::Object(entries) = item else {
                self.reader.wrong_kind(&path, "an object", item);
                continue;
            };
            let entry = self.reader.section(path, entries, fields);
            let pattern = self.pattern(&entry, fields[0], &parse);
            let language = self.language(&entry, languages);
            rules.extend(pattern.zip(language));
        }
        rules
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

    fn language<L: Copy>(&mut self, entry: &Section<'_>, languages: Languages<L>) -> Option<L> {
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
