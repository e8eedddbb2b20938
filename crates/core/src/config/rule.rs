//! The rule: one way for a pod to get a feature.
//!
//! Every form of document is lowered into one list of rules, in order of precedence: the first rule
//! of a feature that fits a pod says what the pod gets. Whoever reads rules doesn't know which form
//! they came from.

use std::fmt;
use std::sync::Arc;

use super::log_configs::LogConfigs;
use super::{ContainerSettings, PhpLoader, SidecarMode};
use crate::image::Image;
use crate::selector::{LabelSelector, NamespacePattern};

/// A thing that can be injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// The ddtrace library of a language.
    Ddtrace,
    /// The OpenTelemetry auto-instrumentation of a language.
    Otel,
    /// The log sidecar.
    Logfwd,
    /// The sidecar that profiles processes that need much.
    Flameshot,
    /// The profiler sidecar.
    Profiler,
    /// What the agent collects of the pod.
    Logging,
}

/// Languages that a feature can be made for. Which of them a feature has is its own matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Language {
    /// Go.
    Golang,
    /// Java.
    Java,
    /// Node.js; also written `js`.
    Nodejs,
    /// PHP.
    Php,
    /// Python.
    Python,
}

/// One way for a pod to get a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Where it stands.
    pub origin: Origin,
    /// Where its settings stand; several rules can have them from one section.
    pub section: Origin,
    /// What fitting pods get.
    pub feature: Feature,
    /// For which language; none where the feature has no languages.
    pub language: Option<Language>,
    /// Which pods it fits.
    pub when: When,
    /// The image; without one nothing can be injected.
    pub image: Option<Image>,
    /// Where the image would have to be written, for people who miss it.
    pub image_key: String,
    /// The container that is added. Rules of one section share it.
    pub container: Arc<ContainerSettings>,
    /// What only this feature can be given.
    pub extra: Extra,
}

/// Where a rule stands: a path in the configuration, such as `admission_inject.ddtrace`, and the
/// rule's name if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub(super) form: Form,
    path: Arc<str>,
    name: Arc<str>,
}

/// The form of document that a rule is written in, so that it is written in the same one again.
/// Nothing but that may depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A section for each feature: `admission_inject`.
    V1,
    /// A list of rules for each feature: `admission_inject_v2`, or `admission_mutate`.
    V2,
}

/// Which pods a rule fits: all conditions have to hold. A rule without any condition fits no pod,
/// so that nothing is injected everywhere by leaving something out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct When {
    /// An annotation of the pod has to ask for the feature, in the rule's language. Its value may
    /// choose the version.
    pub annotation: bool,
    /// One of these has to fit the pod's namespace; if there is none, each namespace does.
    pub namespaces: Vec<NamespacePattern>,
    /// One of these has to fit the pod's labels; if there is none, all labels do.
    pub labels: Vec<LabelSelector>,
}

/// Settings that only one feature has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Extra {
    /// The feature has none.
    #[default]
    None,
    /// Of ddtrace for PHP: which of the library's loaders fits the image.
    Php(PhpLoader),
    /// Of the log sidecar.
    Logfwd {
        /// Which kind of container the sidecar becomes.
        sidecar_mode: SidecarMode,
        /// What it collects besides what the pod's annotation says, which then needs to say
        /// nothing. `None` where the annotation alone says it.
        sources: Option<LogSources>,
    },
    /// Of flameshot.
    Flameshot {
        /// What it watches for, a JSON array; without it the rule does nothing.
        processes: String,
        /// Whether Prometheus is told by annotations where its metrics are.
        prometheus_annotations: bool,
    },
    /// What the agent is told to collect; `None` where pods that the rule fits are left as they
    /// are.
    Logging(Option<LogConfigs>),
}

/// What the configuration has the log sidecar collect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogSources {
    /// What the sidecar is told to collect.
    pub configs: Option<LogConfigs>,
    /// Directories that it shares with the other containers, whatever it collects there.
    pub volume_paths: Vec<String>,
}

impl Feature {
    /// Every feature, in the order in which they run.
    pub const ALL: [Self; 6] = [
        Self::Ddtrace,
        Self::Otel,
        Self::Logfwd,
        Self::Flameshot,
        Self::Profiler,
        Self::Logging,
    ];

    /// Their names.
    pub const NAMES: [&'static str; Self::ALL.len()] = {
        let mut names = [""; Self::ALL.len()];
        let mut at = 0;
        while at < names.len() {
            names[at] = Self::ALL[at].as_str();
            at += 1;
        }
        names
    };

    /// The name in the configuration, metrics, logs and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ddtrace => "ddtrace",
            Self::Otel => "otel",
            Self::Logfwd => "logfwd",
            Self::Flameshot => "flameshot",
            Self::Profiler => "profiler",
            Self::Logging => "logging",
        }
    }

    /// The feature that a pod has instead, where rules of both fit it: a process loads one library
    /// that traces it.
    pub const fn gives_way_to(self) -> Option<Self> {
        match self {
            Self::Otel => Some(Self::Ddtrace),
            _ => None,
        }
    }

    /// Whether the value of an annotation chooses the version of the image. That of logfwd says
    /// what to collect, and flameshot and logging have none.
    pub const fn has_versions(self) -> bool {
        !matches!(self, Self::Logfwd | Self::Flameshot | Self::Logging)
    }
}

impl Language {
    /// Every language, by name.
    pub const ALL: [Self; 5] = [
        Self::Golang,
        Self::Java,
        Self::Nodejs,
        Self::Php,
        Self::Python,
    ];

    /// As written in the configuration and shown to people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Golang => "golang",
            Self::Java => "java",
            Self::Nodejs => "nodejs",
            Self::Php => "php",
            Self::Python => "python",
        }
    }
}

impl Rule {
    /// Whether its author has given it anything: an image or variables.
    pub(super) fn is_given(&self) -> bool {
        self.image.is_some() || !self.container.envs.is_empty()
    }
}

impl Origin {
    /// A path in the configuration.
    pub fn new(path: &str) -> Self {
        Self {
            form: Form::V1,
            path: path.into(),
            name: "".into(),
        }
    }

    /// The path of a rule that its author can give a name.
    pub(super) fn named(path: &str, name: &str) -> Self {
        Self {
            form: Form::V2,
            path: path.into(),
            name: name.into(),
        }
    }

    /// Whether it is an entry of a list in `admission_inject`, which has one selector.
    pub(super) fn is_entry_of_v1(&self) -> bool {
        self.form == Form::V1
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.path
    }

    /// The name that its author gave the rule; empty if there is none.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl When {
    /// An annotation asks.
    pub fn annotation() -> Self {
        Self {
            annotation: true,
            ..Self::default()
        }
    }

    /// Pods that a label selector fits.
    pub fn label(selector: LabelSelector) -> Self {
        Self {
            labels: vec![selector],
            ..Self::default()
        }
    }

    /// Pods in namespaces that a pattern fits.
    pub fn namespace(pattern: NamespacePattern) -> Self {
        Self {
            namespaces: vec![pattern],
            ..Self::default()
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The path, with the name in brackets.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if self.name.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", self.name)
    }
}
