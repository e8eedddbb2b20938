//! The configuration: read from JSON that people write, kept as a model in which nothing is "maybe
//! invalid".
//!
//! [`Config::load`] lowers a document into [rules](Rule) and reports everything that it couldn't
//! use as [`Diagnostic`]s; one bad entry never takes the rest with it.

mod convert;
mod document;
mod emit;
mod env_from;
mod env_overrides;
mod envs;
mod fingerprint;
mod keys;
mod lint;
mod log_configs;
mod lowering;
mod place;
mod policy;
mod processes;
mod reader;
mod reference;
mod resources;
mod rule;
mod schema;
mod security_context;
mod shared;
mod status;
mod syntax;
mod tree;
mod v1;
mod v2;
mod validation;

use std::net::{Ipv4Addr, SocketAddr};

use crate::diagnostic::Diagnostic;

pub use crate::pod::limits::AdmissionLimits;
pub use crate::pod::part::{ResourceList, SecurityContext};
pub use convert::Converted;
pub use env_from::{EnvFrom, EnvFromKind, EnvFromSources, START_UP_VARIABLES};
pub use env_overrides::EnvOverrides;
pub use fingerprint::Fingerprint;
pub use log_configs::LogConfigs;
pub use place::{Places, Position};
pub use policy::{AllowList, FeaturePolicy, Policy};
pub use resources::Resources;
pub use rule::{Extra, Feature, Language, LogSources, Origin, Rule, When};
pub use status::Status;
pub use tree::ConfigError;
pub use validation::Validation;

/// The documented default configuration: images and variables for every feature, nothing injected
/// without an annotation.
pub const DEFAULT_CONFIG: &str = include_str!("default-config.json");

/// Where the server listens if the configuration doesn't say.
pub const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 9543);

/// Everything that can be configured, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Address and port of the HTTPS server.
    pub server_listen: SocketAddr,
    /// The least important kind of message that is logged.
    pub log_level: LogLevel,
    /// Which pods get what, those that win first. Of each feature the first rule that fits a pod
    /// counts.
    pub rules: Vec<Rule>,
    /// Who may ask for what.
    pub policy: Policy,
    /// Which sources of `envFrom` define a start-up variable.
    pub env_from: EnvFrom,
    /// What is refused when workloads are validated.
    pub validation: Validation,
    /// What pods are told of themselves.
    pub status: Status,
    /// How large pods and patches may be: `admission_limits`.
    pub limits: AdmissionLimits,
}

/// The least important kind of message that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What happens.
    #[default]
    Info,
    /// What may not be meant.
    Warn,
    /// What failed.
    Error,
}

/// What every injected container can be given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerSettings {
    /// Environment variables in the document's order, names unique.
    pub envs: Vec<EnvVar>,
    /// Requests and limits.
    pub resources: Resources,
    /// When a node pulls the image.
    pub image_pull_policy: PullPolicy,
    /// Replaces the security context that the feature would choose.
    pub security_context: Option<SecurityContext>,
}

/// One environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvVar {
    /// A name that every supported API server accepts.
    pub name: String,
    /// Its value or where Kubernetes finds it.
    pub value: EnvValue,
}

/// An environment variable's value or where Kubernetes finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvValue {
    /// The text itself, without NUL; Kubernetes expands `$(NAME)` in it.
    Literal(String),
    /// A path for `valueFrom.fieldRef.fieldPath`.
    FieldRef(String),
    /// A resource of the pod's first container, for `valueFrom.resourceFieldRef`.
    ResourceFieldRef(ContainerResource),
    /// A key of a Secret in the pod's namespace, for `valueFrom.secretKeyRef`.
    SecretKeyRef {
        /// The Secret's name.
        name: String,
        /// The key in it.
        key: String,
    },
}

/// A container's resource that an environment variable can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContainerResource {
    /// `limits.cpu`
    LimitsCpu,
    /// `limits.memory`
    LimitsMemory,
    /// `requests.cpu`
    RequestsCpu,
    /// `requests.memory`
    RequestsMemory,
}

/// When a node pulls an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum PullPolicy {
    /// Each time a container starts.
    Always,
    /// Only if the node doesn't have it.
    #[default]
    IfNotPresent,
    /// Not at all: it must be there.
    Never,
}

/// For which C library PHP is built, which the loader of ddtrace has to be built for as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum PhpLoader {
    /// The GNU C library.
    #[default]
    LinuxGnu,
    /// musl, as in Alpine Linux.
    LinuxMusl,
}

/// Which kind of container the log sidecar becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum SidecarMode {
    /// A native sidecar in pods that must finish, where the cluster has them; an ordinary container
    /// elsewhere.
    #[default]
    Auto,
    /// Always an ordinary container.
    Container,
    /// Always a native sidecar: an init container with `restartPolicy: Always`.
    Native,
}

impl Config {
    /// Reads a configuration document and applies the deprecated environment variables on top.
    ///
    /// Blank text is an empty configuration, under which nothing is injected. Everything that can't
    /// be used is left out and reported.
    ///
    /// # Errors
    /// Only if the document as a whole can't be read: it isn't JSON, or not a JSON object.
    pub fn load(
        text: &str,
        overrides: &EnvOverrides,
    ) -> Result<(Config, Vec<Diagnostic>), ConfigError> {
        document::load(text, overrides)
    }

    /// Rewrites the `admission_inject` of a document as rules of `admission_inject_v2`, which are
    /// asked before those that are there already. The rest of the document stays as it is.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn convert(text: &str, overrides: &EnvOverrides) -> Result<Converted, ConfigError> {
        convert::convert(text, overrides)
    }

    /// The JSON Schema (draft 7) of the document.
    pub fn schema() -> serde_json::Value {
        schema::schema()
    }

    /// What is allowed in it but probably not meant. All of it are warnings.
    pub fn lint(&self) -> Vec<Diagnostic> {
        lint::lint(self)
    }

    /// Whether no feature can be injected, because none has an image and no rule tells the agent
    /// anything.
    pub fn injects_nothing(&self) -> bool {
        let tells = |rule: &Rule| matches!(rule.extra, Extra::Logging(Some(_)));
        self.rules
            .iter()
            .all(|rule| rule.image.is_none() && !tells(rule))
    }

    /// The rules of one feature, those that win first.
    pub fn rules_of(&self, feature: Feature) -> impl Iterator<Item = &Rule> {
        self.rules
            .iter()
            .filter(move |rule| rule.feature == feature)
    }

    /// The configuration as pretty JSON, with every default spelled out. Loading it gives the same
    /// configuration.
    pub fn to_json(&self) -> String {
        emit::to_json(self)
    }
}

impl Default for Config {
    /// The empty configuration: no image, hence no injection.
    fn default() -> Self {
        document::empty()
    }
}

impl LogLevel {
    /// From the most talkative to the quietest.
    pub const ALL: [Self; 4] = [Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// As written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl ContainerResource {
    /// Every resource.
    pub const ALL: [Self; 4] = [
        Self::LimitsCpu,
        Self::LimitsMemory,
        Self::RequestsCpu,
        Self::RequestsMemory,
    ];

    /// As `resourceFieldRef.resource` names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LimitsCpu => "limits.cpu",
            Self::LimitsMemory => "limits.memory",
            Self::RequestsCpu => "requests.cpu",
            Self::RequestsMemory => "requests.memory",
        }
    }

    /// The unit in which the value is shown: thousandths of a CPU, or mebibytes. The images that
    /// read it count in these.
    pub fn divisor(self) -> &'static str {
        match self {
            Self::LimitsCpu | Self::RequestsCpu => "1m",
            Self::LimitsMemory | Self::RequestsMemory => "1Mi",
        }
    }
}

impl PullPolicy {
    /// Every policy.
    pub const ALL: [Self; 3] = [Self::Always, Self::IfNotPresent, Self::Never];

    /// As Kubernetes spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

impl PhpLoader {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::LinuxGnu, Self::LinuxMusl];

    /// As written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LinuxGnu => "linux-gnu",
            Self::LinuxMusl => "linux-musl",
        }
    }
}

impl SidecarMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Container, Self::Native];

    /// As written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Container => "container",
            Self::Native => "native",
        }
    }
}

#[cfg(test)]
mod tests;
