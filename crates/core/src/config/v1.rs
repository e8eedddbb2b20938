//! Lowers the `admission_inject` schema into rules.
//!
//! A pod's annotation is asked first, language by language, then label selectors, then namespace
//! patterns: in this order each feature's rules are listed.

use std::sync::Arc;

use super::env_overrides;
use super::keys::{self, Key, Kind, join};
use super::lowering::{Lowering, Problem, parse_image, pattern_of_namespaces, selector_of_labels};
use super::reader::Section;
use super::rule::{Extra, Feature, Language, Origin, Rule, When};
use super::tree::Node;
use super::{PullPolicy, SidecarMode, envs, shared};
use crate::diagnostic::{Code, Diagnostic};
use crate::image::Image;

/// The key of the section in the document.
pub(super) const KEY: &str = "admission_inject";

/// The sections of the features, in the order in which these run.
pub(super) static SECTIONS: [Key; FORMS.len()] = {
    let mut keys = [Key::new("", Kind::Bool, ""); FORMS.len()];
    let mut at = 0;
    while at < keys.len() {
        let name = FORMS[at].feature.as_str();
        keys[at] = Key::new(
            name,
            Kind::Object(FORMS[at].keys),
            "the section of the feature",
        );
        at += 1;
    }
    keys
};

/// What stands in the section of every feature, but for its images.
const COMMON: [Key; 4] = [
    shared::ENVS,
    shared::RESOURCES,
    shared::pull_policy("\"IfNotPresent\""),
    shared::SECURITY_CONTEXT,
];
const SELECTORS: [Key; 2] = [
    Key::new(
        LABELS,
        Kind::Objects(&LABEL_ENTRY),
        "`[{\"labelselector\": SELECTOR, \"language\": …}]`; values of `=` and `!=` may be globs",
    ),
    Key::new(
        NAMESPACES,
        Kind::Objects(&NAMESPACE_ENTRY),
        "`[{\"namespace\": REGEX, \"language\": …}]`; unanchored, `*` alone matches all",
    ),
];
const LABELS: &str = "enabled_labelselectors";
const NAMESPACES: &str = "enabled_namespaces";

static LABEL_ENTRY: [Key; 2] = [
    Key::new("labelselector", Kind::Text, "a label selector").needed(),
    LANGUAGE,
];
static NAMESPACE_ENTRY: [Key; 2] = [
    Key::new(
        "namespace",
        Kind::Text,
        "a regular expression for the namespace's name",
    )
    .needed(),
    LANGUAGE,
];
/// Of each feature; which of them it has, its own words say.
const LANGUAGE: Key = Key::new(
    "language",
    Kind::Choice(|| {
        let mut words = Vec::new();
        for (word, _) in FORMS.iter().flat_map(|form| form.words) {
            if !words.contains(word) {
                words.push(*word);
            }
        }
        words
    }),
    "the language whose image is used",
)
.needed();

const fn images(keys: &'static [Key]) -> [Key; 1] {
    [Key::new(
        "images",
        Kind::Object(keys),
        "one image a language; a feature without image is skipped with a reason",
    )]
}

/// The sections of features that have languages.
const fn with_languages(image_keys: &'static [Key]) -> [Key; 7] {
    join(&images(image_keys), &join::<6>(&COMMON, &SELECTORS))
}

static DDTRACE: [Key; 7] = with_languages(&DDTRACE_IMAGE_KEYS);
static PROFILER: [Key; 7] = with_languages(&PROFILER_IMAGE_KEYS);
static LOGFWD: [Key; 9] = join(
    &images(&LOGFWD_IMAGE_KEYS),
    &join::<8>(
        &COMMON,
        &[
            shared::SIDECAR_MODE,
            Key::new(LABELS, Kind::Objects(&LABEL_ENTRY), WITHOUT_EFFECT),
            Key::new(NAMESPACES, Kind::Objects(&NAMESPACE_ENTRY), WITHOUT_EFFECT),
            Key::new(
                "options",
                Kind::Object(&OPTIONS),
                "without effect: a volume that is there is always reused",
            ),
        ],
    ),
);
const WITHOUT_EFFECT: &str = "without effect: logfwd always needs its annotation";
static OPTIONS: [Key; 1] = [Key::new("reuse_exist_volume", Kind::Text, "without effect")];

static DDTRACE_IMAGE_KEYS: [Key; 3] = ImageKey::keys(&DDTRACE_IMAGES);
static LOGFWD_IMAGE_KEYS: [Key; 1] = ImageKey::keys(&LOGFWD_IMAGES);
static PROFILER_IMAGE_KEYS: [Key; 3] = ImageKey::keys(&PROFILER_IMAGES);

/// The section of one feature.
pub(super) struct Form {
    pub(super) feature: Feature,
    pub(super) keys: &'static [Key],
    /// The images, in the order in which they are written.
    pub(super) images: &'static [ImageKey],
    image_keys: &'static [Key],
    /// For which language an annotation is asked first; a feature without languages is asked once.
    pub(super) precedence: &'static [Option<Language>],
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
pub(super) static FORMS: [Form; 3] = [
    Form {
        feature: Feature::Ddtrace,
        keys: &DDTRACE,
        images: &DDTRACE_IMAGES,
        image_keys: &DDTRACE_IMAGE_KEYS,
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
        keys: &LOGFWD,
        images: &LOGFWD_IMAGES,
        image_keys: &LOGFWD_IMAGE_KEYS,
        precedence: &[None],
        words: &[],
        replacements: &[],
        extra: |lowering, section| lowering.logfwd(section),
    },
    Form {
        feature: Feature::Profiler,
        keys: &PROFILER,
        images: &PROFILER_IMAGES,
        image_keys: &PROFILER_IMAGE_KEYS,
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

impl Form {
    /// Whether its section can have a key.
    pub(super) fn has(&self, key: &str) -> bool {
        keys::names(self.keys).any(|known| known == key)
    }
}

impl ImageKey {
    const fn of(key: &'static str, language: Language) -> Self {
        Self {
            key,
            language: Some(language),
            variable: "",
        }
    }

    const fn keys<const N: usize>(images: &[Self; N]) -> [Key; N] {
        let mut keys = [Key::new("", Kind::Image, "an image"); N];
        let mut at = 0;
        while at < N {
            keys[at].name = images[at].key;
            at += 1;
        }
        keys
    }
}

impl Lowering<'_> {
    /// The rules of the section.
    pub(super) fn v1(&mut self, root: &Section<'_>) -> Vec<Rule> {
        let inject = self.reader.object(root, KEY, &SECTIONS);
        let mut rules = Vec::new();
        for form in &FORMS {
            self.feature(&inject, form, &mut rules);
        }
        rules
    }

    /// The rules of one feature. Those that ask by annotation are there without an image as well:
    /// whoever asks is told that it isn't configured.
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
        let container =
            Arc::new(self.container(&section, form.replacements, PullPolicy::default()));
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
            LABELS,
            &LABEL_ENTRY,
            selector_of_labels,
            form.words,
        );
        for (origin, selector, language) in labels {
            rules.push(rule(origin, Some(language), When::label(selector)));
        }
        let namespaces = self.selectors(
            &section,
            NAMESPACES,
            &NAMESPACE_ENTRY,
            pattern_of_namespaces,
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
        for key in [LABELS, NAMESPACES] {
            if section.get(key).is_some() {
                self.reader.report(
                    Diagnostic::warning(
                        section.path(key),
                        "without effect: logfwd always needs its annotation",
                    )
                    .code(Code::WithoutEffect),
                );
            }
        }
        let options = self.reader.object(section, "options", &OPTIONS);
        if options.get("reuse_exist_volume").is_some() {
            self.reader.report(
                Diagnostic::warning(
                    options.path("reuse_exist_volume"),
                    "without effect: a volume that is already mounted is always reused",
                )
                .code(Code::WithoutEffect),
            );
        }
        Extra::Logfwd {
            sidecar_mode,
            sources: None,
        }
    }

    /// A list of entries with a pattern and a language, and where each stands. An entry that can't
    /// be used is left out: it must neither widen nor end the list.
    fn selectors<P>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        keys: &'static [Key; 2],
        parse: fn(&str) -> Result<P, Problem>,
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
            let entry = self.reader.section(path, entries, keys);
            let pattern = self.pattern(&entry, keys[0].name, parse);
            let language = self.language(&entry, words, "entry ignored");
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
        parse: fn(&str) -> Result<P, Problem>,
    ) -> Option<P> {
        let text = match entry.get(key) {
            None => "",
            Some(_) => self.reader.string(entry, key)?,
        };
        match parse(text) {
            Ok(pattern) => Some(pattern),
            Err(Problem { code, message }) => {
                let error = Diagnostic::error(entry.path(key), format!("{message}; entry ignored"))
                    .code(code);
                self.reader.report(if text.is_empty() {
                    error
                } else {
                    error.found(text)
                });
                None
            }
        }
    }
}
