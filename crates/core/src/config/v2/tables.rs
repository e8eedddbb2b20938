//! The keys of rules.

use crate::config::keys::{Key, Kind, join};
use crate::config::rule::Language;
use crate::config::{PhpLoader, shared};

/// The key by which a rule for PHP chooses the loader.
pub(in crate::config) const PHP_LOADER: &str = "php_loader_flavor";

const NAMESPACE_SELECTORS: Key = Key::new(
    "namespace_selectors",
    Kind::Texts,
    "regular expressions, of which one has to fit the namespace; unanchored, `*` alone matches all",
);
const LABEL_SELECTORS: Key = Key::new(
    "label_selectors",
    Kind::Texts,
    "label selectors, of which one has to fit the pod's labels; values of `=` and `!=` may be globs",
);
const CHECK_ANNOTATION: Key = Key::new(
    "check_annotation",
    Kind::Bool,
    "true: the pod must also have the annotation of the feature and language, whose value chooses the version",
)
.or("false");
const fn language(words: fn() -> Vec<&'static str>, about: &'static str) -> Key {
    Key::new("language", Kind::Choice(words), about)
}

/// A language, and the word for it.
pub(super) type Word = (&'static str, Language);

pub(super) const DDTRACE_WORDS: [Word; 5] = [
    ("java", Language::Java),
    ("python", Language::Python),
    ("php", Language::Php),
    ("nodejs", Language::Nodejs),
    // An older name.
    ("js", Language::Nodejs),
];
pub(super) const OTEL_WORDS: [Word; 3] = [
    ("java", Language::Java),
    ("python", Language::Python),
    ("nodejs", Language::Nodejs),
];
pub(super) const PROFILER_WORDS: [Word; 3] = [
    ("java", Language::Java),
    ("python", Language::Python),
    ("golang", Language::Golang),
];

/// What every rule can have.
const COMMON: [Key; 8] = [
    Key::new("name", Kind::Text, "any text, which `explain` shows"),
    NAMESPACE_SELECTORS,
    LABEL_SELECTORS,
    Key::new(
        "image",
        Kind::Image,
        "the image; a pod that a rule without one fits gets nothing (`image_not_configured`)",
    ),
    shared::pull_policy("\"Always\""),
    shared::ENVS,
    shared::RESOURCES,
    shared::SECURITY_CONTEXT,
];

pub(super) static DDTRACES: [Key; 11] = join(
    &COMMON,
    &[
        CHECK_ANNOTATION,
        language(
            || DDTRACE_WORDS.map(|(word, _)| word).to_vec(),
            "`java`, `python`, `nodejs`, `php`",
        )
        .needed(),
        Key::new(
            PHP_LOADER,
            Kind::Choice(|| PhpLoader::ALL.map(PhpLoader::as_str).to_vec()),
            "for `php`: `linux-gnu`, or `linux-musl` for images of Alpine Linux",
        )
        .or("\"linux-gnu\""),
    ],
);
pub(super) static OTELS: [Key; 10] = join(
    &COMMON,
    &[
        CHECK_ANNOTATION,
        language(
            || OTEL_WORDS.map(|(word, _)| word).to_vec(),
            "`java`, `python`, `nodejs`",
        )
        .needed(),
    ],
);
pub(super) static LOGFWDS: [Key; 12] = join(
    &COMMON,
    &[
        CHECK_ANNOTATION,
        Key::new(
            "log_configs",
            Kind::Text,
            "a JSON array in a text, which the sidecar gets as `LOGFWD_LOG_CONFIGS`",
        ),
        Key::new(
            "log_volume_paths",
            Kind::Texts,
            "directories that the sidecar shares with the other containers",
        ),
        shared::SIDECAR_MODE,
    ],
);
pub(super) static FLAMESHOTS: [Key; 10] = join(
    &COMMON,
    &[
        Key::new(
            "processes",
            Kind::Text,
            "a JSON array in a text: what to watch for; without it the rule's pods get nothing",
        ),
        Key::new(
            "enable_prometheus_annotations",
            Kind::Bool,
            "true: annotations tell Prometheus where the metrics are",
        )
        .or("false"),
    ],
);
pub(super) static PROFILERS: [Key; 10] = join(
    &COMMON,
    &[
        CHECK_ANNOTATION,
        language(
            || PROFILER_WORDS.map(|(word, _)| word).to_vec(),
            "`java`, `python`, `golang`; or none with `check_annotation`: the annotation says which",
        ),
    ],
);
pub(super) static LOGGING: [Key; 3] = [
    NAMESPACE_SELECTORS.needed(),
    LABEL_SELECTORS.needed(),
    Key::new(
        "config",
        Kind::Text,
        "a JSON array in a text, which becomes the annotation as it is written; empty: pods that the rule fits are left alone",
    ),
];
