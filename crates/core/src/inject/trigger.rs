//! Who asked for a language feature: annotations first, then label selectors, then namespace patterns.

use crate::config::Selectors;
use crate::pod::Pod;

use super::decision::AskedBy;
use super::note::Note;

/// The annotations of one language; the first that has a value gives the version.
pub(crate) struct Ask<L: 'static> {
    pub language: L,
    pub annotations: &'static [&'static str],
}

/// A language that was asked for.
pub(crate) struct Asked<'p, L> {
    pub language: L,
    pub asked_by: AskedBy,
    /// The annotation's value, and its key; empty for the configured tag.
    pub version: (&'static str, &'p str),
    /// Annotations of other languages, which lose.
    pub notes: Vec<Note>,
}

/// The language asked for, if one is. `asks` stand in their order of precedence.
pub(crate) fn asked<'p, L: Copy>(
    pod: &'p Pod<'_>,
    namespace: &str,
    asks: &'static [Ask<L>],
    name: fn(L) -> &'static str,
    selectors: &Selectors<L>,
) -> Option<Asked<'p, L>> {
    let mut found: Option<Asked<'p, L>> = None;
    if !pod.annotations.is_empty() {
        for ask in asks {
            let given = ask
                .annotations
                .iter()
                .filter_map(|key| Some((*key, pod.annotation(key)?)));
            if let Some(found) = &mut found {
                found
                    .notes
                    .extend(given.map(|(annotation, _)| Note::LanguageIgnored {
                        annotation,
                        chosen: name(found.language),
                    }));
                continue;
            }
            let given: Vec<_> = given.collect();
            let with_value = given.iter().find(|(_, value)| !value.is_empty());
            if let Some(version) = with_value.or(given.first()) {
                found = Some(Asked {
                    language: ask.language,
                    asked_by: AskedBy::Annotation(version.0),
                    version: *version,
                    notes: Vec::new(),
                });
            }
        }
    }
    found.or_else(|| selected(pod, namespace, selectors))
}

fn selected<'p, L: Copy>(
    pod: &Pod<'_>,
    namespace: &str,
    selectors: &Selectors<L>,
) -> Option<Asked<'p, L>> {
    let by_label = selectors
        .labels
        .iter()
        .find(|(selector, _)| selector.matches(|key| pod.label(key)))
        .map(|(selector, language)| {
            (
                *language,
                AskedBy::LabelSelector(selector.as_str().to_owned()),
            )
        });
    let by_namespace = || {
        let (pattern, language) = selectors
            .namespaces
            .iter()
            .find(|(pattern, _)| pattern.matches(namespace))?;
        Some((
            *language,
            AskedBy::NamespacePattern(pattern.as_str().to_owned()),
        ))
    };
    let (language, asked_by) = by_label.or_else(by_namespace)?;
    Some(Asked {
        language,
        asked_by,
        version: ("", ""),
        notes: Vec::new(),
    })
}
