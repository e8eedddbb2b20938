//! Which rule asks for a feature, and by what: the first that fits the pod.

use std::borrow::Cow;
use std::sync::Arc;

use crate::config::{Rule, When};
use crate::image::Image;
use crate::pod::Pod;

use super::ReviewContext;
use super::decision::AskedBy;
use super::note::Note;
use super::policy::Policy;
use super::reason::Reason;
use super::spec::{Ask, Room, Spec};

/// A rule that is ready to be asked.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub rule: Rule,
    /// What asks for the rule's language.
    pub ask: &'static Ask,
    pub room: Arc<dyn Room>,
}

/// A pod's request for a feature.
pub(crate) struct Request<'p> {
    /// The rule that asks.
    pub rule: &'p Rule,
    pub ask: &'static Ask,
    /// The annotation that asks, and its value.
    pub annotation: Option<(&'static str, &'p str)>,
    pub policy: &'p Policy,
    pub context: &'p ReviewContext,
}

/// A rule that fits a pod, and by what.
pub(crate) struct Found<'p> {
    pub prepared: &'p Prepared,
    pub asked_by: AskedBy,
    pub annotation: Option<(&'static str, &'p str)>,
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

/// The first rule that fits the pod.
pub(crate) fn choose<'p>(
    rules: &'p [Prepared],
    pod: &'p Pod<'_>,
    namespace: &str,
) -> Option<Found<'p>> {
    rules.iter().find_map(|prepared| {
        let When {
            annotation,
            namespaces,
            labels,
        } = &prepared.rule.when;
        let annotation = match annotation {
            true => Some(given(pod, prepared.ask)?),
            false => None,
        };
        let label = match labels.is_empty() {
            true => None,
            false => Some(
                labels
                    .iter()
                    .find(|selector| selector.matches(|key| pod.label(key)))?,
            ),
        };
        let pattern = match namespaces.is_empty() {
            true => None,
            false => Some(
                namespaces
                    .iter()
                    .find(|pattern| pattern.matches(namespace))?,
            ),
        };
        let asked_by = match (annotation, label, pattern) {
            (Some((key, _)), _, _) => AskedBy::Annotation(key),
            (_, Some(selector), _) => AskedBy::LabelSelector(selector.as_str().to_owned()),
            (_, _, Some(pattern)) => AskedBy::NamespacePattern(pattern.as_str().to_owned()),
            (None, None, None) => return None,
        };
        Some(Found {
            prepared,
            asked_by,
            annotation,
        })
    })
}

/// The annotation that asks: the first that has a value, else the first that is there.
fn given<'p>(pod: &'p Pod<'_>, ask: &Ask) -> Option<(&'static str, &'p str)> {
    if pod.annotations.is_empty() {
        return None;
    }
    let mut given = ask
        .annotations
        .iter()
        .filter_map(|key| Some((*key, pod.annotation(key)?)));
    let first = given.next()?;
    if first.1.is_empty() {
        return given.find(|(_, value)| !value.is_empty()).or(Some(first));
    }
    Some(first)
}

/// What is to be said of annotations that ask for other languages than the one that an annotation asked for: a pod gets one.
pub(crate) fn lost(spec: &Spec, found: &Found<'_>, pod: &Pod<'_>) -> Vec<Note> {
    let (Some(_), Some(chosen)) = (found.annotation, found.prepared.rule.language) else {
        return Vec::new();
    };
    let others = spec.asks.iter().filter(|ask| ask.language != Some(chosen));
    others
        .flat_map(|ask| ask.annotations)
        .filter(|key| pod.annotation(key).is_some())
        .map(|annotation| Note::LanguageIgnored {
            annotation,
            chosen: chosen.as_str(),
        })
        .collect()
}
