//! Which rule asks for a feature, and by what: the first that fits the pod.

use std::sync::Arc;

use crate::config::{Rule, When};
use crate::pod::Pod;
use crate::selector::{LabelSelector, NamespacePattern};

use super::decision::AskedBy;
use super::miss::{Condition, Miss, Missed};
use super::note::Note;
use super::policy::MAX_SHOWN;
use super::spec::{Ask, Room, Spec};

/// A rule that is ready to be asked.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub rule: Rule,
    /// What asks for the rule's language.
    pub ask: &'static Ask,
    pub room: Arc<dyn Room>,
    /// Whether the configuration chooses the resources of the container.
    pub chooses_resources: bool,
}

/// A rule that fits a pod, and by what.
pub(crate) struct Found<'p> {
    pub prepared: &'p Prepared,
    pub asked_by: AskedBy,
    pub annotation: Option<(&'static str, &'p str)>,
}

/// By what a rule fits a pod.
struct Fit<'p> {
    annotation: Option<(&'static str, &'p str)>,
    label: Option<&'p LabelSelector>,
    pattern: Option<&'p NamespacePattern>,
}

/// The first rule that fits the pod.
pub(crate) fn choose<'p>(
    rules: &'p [Prepared],
    pod: &'p Pod<'_>,
    namespace: &str,
) -> Option<Found<'p>> {
    rules.iter().find_map(|prepared| {
        let Fit {
            annotation,
            label,
            pattern,
        } = fit(prepared, pod, namespace)?;
        let asked_by = match (annotation, label, pattern) {
            (Some((key, _)), _, _) => AskedBy::Annotation(key),
            (_, Some(selector), _) => AskedBy::LabelSelector(selector.as_str().to_owned()),
            (_, _, Some(pattern)) => AskedBy::NamespacePattern(pattern.as_str().to_owned()),
            // Without conditions it fits no pod.
            (None, None, None) => return None,
        };
        Some(Found {
            prepared,
            asked_by,
            annotation,
        })
    })
}

/// By what a rule fits a pod, if all its conditions hold.
fn fit<'p>(prepared: &'p Prepared, pod: &'p Pod<'_>, namespace: &str) -> Option<Fit<'p>> {
    let when = &prepared.rule.when;
    Some(Fit {
        annotation: if when.annotation {
            Some(given(pod, prepared.ask)?)
        } else {
            None
        },
        label: if when.labels.is_empty() {
            None
        } else {
            Some(label_of(when, pod)?)
        },
        pattern: if when.namespaces.is_empty() {
            None
        } else {
            Some(pattern_of(when, namespace)?)
        },
    })
}

fn label_of<'p>(when: &'p When, pod: &Pod<'_>) -> Option<&'p LabelSelector> {
    let mut selectors = when.labels.iter();
    selectors.find(|selector| selector.matches(|key| pod.label(key)))
}

fn pattern_of<'p>(when: &'p When, namespace: &str) -> Option<&'p NamespacePattern> {
    let mut patterns = when.namespaces.iter();
    patterns.find(|pattern| pattern.matches(namespace))
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

/// An annotation of the pod that asks for the feature, in whichever language.
pub(crate) fn asking(spec: &Spec, pod: &Pod<'_>) -> Option<&'static str> {
    spec.annotations().find(|key| pod.annotation(key).is_some())
}

/// What is to be said of annotations that ask for other languages than the one that an annotation
/// asked for: a pod gets one.
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

/// Why no rule fits the pod: those of which the fewest conditions fail come first.
pub(crate) fn missed(spec: &Spec, rules: &[Prepared], pod: &Pod<'_>, namespace: &str) -> Missed {
    let mut failed: Vec<(usize, &Prepared)> = rules
        .iter()
        .map(|prepared| {
            let conditions = failed(spec, prepared, pod, namespace);
            (conditions.count(), prepared)
        })
        .collect();
    failed.sort_by_key(|(count, _)| *count);
    Missed {
        more: failed.len().saturating_sub(Missed::MOST),
        rules: failed
            .into_iter()
            .take(Missed::MOST)
            .map(|(_, prepared)| Miss {
                rule: prepared.rule.origin.clone(),
                language: prepared.rule.language,
                is_opt_in: prepared.rule.when == When::annotation(),
                failed: self::failed(spec, prepared, pod, namespace).collect(),
            })
            .collect(),
    }
}

/// The conditions of a rule that don't hold for a pod.
fn failed<'p>(
    spec: &Spec,
    prepared: &'p Prepared,
    pod: &Pod<'_>,
    namespace: &str,
) -> impl Iterator<Item = Condition> + use<'p> {
    let when = &prepared.rule.when;
    let in_namespace = when.namespaces.is_empty() || pattern_of(when, namespace).is_some();
    let with_labels = when.labels.is_empty() || label_of(when, pod).is_some();
    let asked = !when.annotation || given(pod, prepared.ask).is_some();
    let other = asking(spec, pod);
    let asked = (!asked).then_some(match other {
        Some(annotation) => Condition::Language { annotation },
        None => Condition::Annotation(prepared.ask.annotations),
    });
    let in_namespace = (!in_namespace).then(|| Condition::Namespace {
        found: namespace.chars().take(MAX_SHOWN).collect(),
        expected: Condition::excerpt(when.namespaces.iter().map(NamespacePattern::as_str)),
    });
    let with_labels = (!with_labels).then(|| {
        Condition::Labels(Condition::excerpt(
            when.labels.iter().map(LabelSelector::as_str),
        ))
    });
    let none = (*when == When::default()).then_some(Condition::None);
    [in_namespace, with_labels, asked, none]
        .into_iter()
        .flatten()
}
