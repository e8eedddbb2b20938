//! What a feature says of itself, so that everything else can be derived: which annotations are
//! read, which names are reserved, which labels metrics have, and by what `uninject` recognises
//! what was added.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::config::{ContainerSettings, EnvFrom, Extra, Feature, Language, Rule};
use crate::image::Image;
use crate::pod::{Draft, Edits};

use super::context::ReviewContext;
use super::note::Note;
use super::policy::Policy;
use super::reason::Reason;

/// A feature, as everybody but its own room knows it.
#[derive(Debug)]
pub struct Spec {
    /// Which one.
    pub feature: Feature,
    /// The annotation that switches it off for a pod.
    pub switch: &'static str,
    /// By what a pod asks for it: one for each language, or a single one where there are no
    /// languages.
    pub asks: &'static [Ask],
    /// Whether it does what namespaces forbid that enforce a Pod Security level, however it is
    /// configured.
    pub is_privileged: bool,
    /// Another feature that does the same, so that a pod gets one of both: the one whose container
    /// it has, else the one that runs first, if the pod asks for it.
    pub rival: Option<Feature>,
    /// By what its parts are recognised in a pod.
    pub marks: Marks,
    /// Prepares the settings of rules for planning.
    pub(crate) prepare: fn(&ContainerSettings, &Extra) -> Arc<dyn Room>,
}

/// By what a pod asks for a feature in one language.
#[derive(Debug)]
pub struct Ask {
    /// The language.
    pub language: Option<Language>,
    /// The annotations; the first that has a value gives the version.
    pub annotations: &'static [&'static str],
    /// By what the language is recognised in a pod.
    pub trace: Trace,
}

/// By what the language of a feature is recognised in a pod that has it.
#[derive(Debug)]
pub enum Trace {
    /// By nothing.
    None,
    /// Containers of the application have this start-up variable.
    StartUp(StartUp),
    /// The feature's container shares what it has at these paths with those of the application.
    Shared(&'static [&'static str]),
}

/// How a language is told to load a library at start-up.
#[derive(Debug)]
pub struct StartUp {
    /// The variable.
    pub variable: &'static str,
    /// The name that the variable gets where its value comes from elsewhere and is wrapped.
    pub original: &'static str,
    /// The value for a container that doesn't define the variable.
    pub bare: &'static str,
    /// Another variable that the library needs, and its value for a container that defines none.
    pub companion: Option<(&'static str, &'static str)>,
    /// What stands in front of a value of the container's own.
    pub before: &'static str,
    /// What stands behind it.
    pub behind: &'static str,
    /// What separates the parts of a value: a blank, or a colon in lists of paths.
    pub separator: char,
}

/// By what the parts of a feature are recognised in a pod.
#[derive(Debug)]
pub struct Marks {
    /// The name of the container that is added; empty where there is none.
    pub container: &'static str,
    /// Where it stands.
    pub place: ContainerPlace,
    /// A volume that is mounted into this container.
    pub mount: MountMark,
    /// Volumes whose names nobody else uses.
    pub volumes: &'static [VolumeMark],
    /// Annotations that are added to the pod, all of them or none.
    pub annotations: &'static [(&'static str, MarkedValue)],
    /// The variable of the container that repeats what the annotation says.
    pub told: Option<&'static str>,
    /// A variable of the application's containers to whose own value the configured one is added.
    pub merged: Option<&'static str>,
    /// A path of the container that earlier versions mounted into all others as well. By now it is
    /// read-only there.
    pub once_shared: Option<&'static str>,
    /// Whether the pod's containers share one process namespace for it.
    pub shares_processes: bool,
}

/// The value of an annotation that is added to the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkedValue {
    /// This text.
    Text(&'static str),
    /// The port of the container that is added.
    Port,
    /// What the rule says: what injecting again gives.
    Configured,
}

/// Where a feature's container stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerPlace {
    /// Among the init containers, which end before the others start.
    Init,
    /// Beside the containers of the application.
    Beside,
    /// Beside them, or as a native sidecar among the init containers.
    BesideOrNative,
    /// It has none.
    Nowhere,
}

/// A volume in a feature's container.
#[derive(Debug)]
pub struct MountMark {
    /// Its name.
    pub volume: &'static str,
    /// Where it can be mounted; anywhere if there is none.
    pub paths: &'static [&'static str],
}

/// A volume that nobody but a feature adds.
#[derive(Debug)]
pub struct VolumeMark {
    /// Its name, or the beginning of it where a number follows.
    pub name: &'static str,
    /// Whether a number follows.
    pub is_numbered: bool,
    /// The key of its source, such as `emptyDir`.
    pub source: &'static str,
}

/// A pod's request for a feature.
pub(crate) struct Request<'p> {
    /// The rule that asks.
    pub rule: &'p Rule,
    pub ask: &'static Ask,
    /// The annotation that asks, and its value.
    pub annotation: Option<(&'static str, &'p str)>,
    pub policy: &'p Policy,
    /// Which sources of `envFrom` define a start-up variable.
    pub env_from: &'p EnvFrom,
    /// The pod's namespace.
    pub namespace: &'p str,
    pub context: &'p ReviewContext,
}

/// The room of a feature with the settings of some rules.
pub(crate) trait Room: fmt::Debug + Send + Sync {
    /// Plans the feature for a pod that asks for it: fills in edits and notes. Returns whether the
    /// feature's own container was there before, so that only what else is missing was planned.
    ///
    /// # Errors
    /// The reason why it can't be done.
    fn plan<'p>(
        &'p self,
        request: &Request<'p>,
        draft: &Draft<'p, '_>,
        edits: &mut Edits<'p>,
        notes: &mut Vec<Note>,
    ) -> Result<bool, Reason>;
}

impl<'p> Request<'p> {
    /// The configured image.
    pub(crate) fn configured_image(&self) -> Result<&'p Image, Reason> {
        self.rule
            .image
            .as_ref()
            .ok_or_else(|| Reason::ImageNotConfigured {
                key: self.rule.image_key.clone(),
            })
    }

    /// An image with the version that the annotation chooses, where it may.
    pub(crate) fn with_version(
        &self,
        image: &'p Image,
        notes: &mut Vec<Note>,
    ) -> Result<Cow<'p, str>, Reason> {
        match self.annotation {
            Some(version) => self.policy.image(image, version, notes),
            None => Ok(image.as_str().into()),
        }
    }
}

impl Spec {
    /// The annotations that ask for the feature.
    pub fn annotations(&self) -> impl Iterator<Item = &'static str> {
        self.asks
            .iter()
            .flat_map(|ask| ask.annotations.iter().copied())
    }

    /// What asks for the feature in a language.
    pub fn ask(&self, language: Option<Language>) -> Option<&'static Ask> {
        self.asks.iter().find(|ask| ask.language == language)
    }
}

impl MountMark {
    /// Whether a mount is this one.
    pub fn is(&self, volume: &str, path: &str) -> bool {
        volume == self.volume && (self.paths.is_empty() || self.paths.contains(&path))
    }
}

impl VolumeMark {
    /// A volume of exactly this name.
    pub const fn new(name: &'static str, source: &'static str) -> Self {
        Self {
            name,
            is_numbered: false,
            source,
        }
    }

    /// Whether a volume of this name is one.
    pub fn is_named(&self, name: &str) -> bool {
        if self.is_numbered {
            name.starts_with(self.name)
        } else {
            name == self.name
        }
    }
}
