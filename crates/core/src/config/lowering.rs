//! What the forms of document have in common when they are lowered into rules.

use super::env_overrides::{self, EnvOverrides};
use super::reader::{Reader, Section};
use super::rule::Language;
use super::{ContainerSettings, PullPolicy, envs, resources, security_context};
use crate::diagnostic::{Code, Diagnostic};
use crate::image::Image;
use crate::selector::{LabelSelector, NamespacePattern, SelectorError};

/// A value, perhaps with a remark, or why there is none. The diagnostics have no place yet.
pub(super) type Parsed<T> = Result<(T, Option<Diagnostic>), Diagnostic>;

/// Reads parts of a document under the deprecated variables.
pub(super) struct Lowering<'o> {
    pub(super) reader: Reader,
    pub(super) overrides: &'o EnvOverrides,
}

impl Lowering<'_> {
    pub(super) fn container(
        &mut self,
        section: &Section<'_>,
        replacements: &[envs::Replacement],
        default_pull_policy: PullPolicy,
    ) -> ContainerSettings {
        ContainerSettings {
            envs: envs::read(&mut self.reader, section, replacements, self.overrides),
            resources: resources::read(&mut self.reader, section),
            image_pull_policy: self.reader.choice_or(
                section,
                "image_pull_policy",
                &PullPolicy::ALL,
                PullPolicy::as_str,
                default_pull_policy,
            ),
            security_context: security_context::read(&mut self.reader, section),
        }
    }

    /// One text from the document, and from the deprecated `variable` on top of it. `parse` may
    /// accept a text with a remark; a text that it refuses leaves things as they are without it.
    pub(super) fn setting<T>(
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

    pub(super) fn parsed<T>(&mut self, path: &str, result: Parsed<T>) -> Option<T> {
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

    /// The language at the key `language`, by one of the words for it.
    pub(super) fn language(
        &mut self,
        entry: &Section<'_>,
        languages: &[(&'static str, Language)],
        consequence: &str,
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
                format!("expected one of {expected}; {consequence}"),
            )
            .code(Code::UnknownWord);
            self.reader.report(if text.is_empty() {
                error
            } else {
                error.found(text).suggest_like(text, words())
            });
        }
        found
    }
}

/// Why a selector can't be read.
pub(super) struct Problem {
    pub(super) code: Code,
    pub(super) message: String,
}

pub(super) fn pattern_of_namespaces(text: &str) -> Result<NamespacePattern, Problem> {
    NamespacePattern::parse(text).map_err(|error| Problem {
        code: Code::InvalidSelector,
        message: error.to_string(),
    })
}

pub(super) fn selector_of_labels(text: &str) -> Result<LabelSelector, Problem> {
    LabelSelector::parse(text).map_err(|error| Problem {
        code: match error {
            SelectorError::Key(_) => Code::LabelKey,
            _ => Code::InvalidSelector,
        },
        message: error.to_string(),
    })
}

/// An image, with a remark where it has no tag.
pub(super) fn parse_image(text: &str) -> Parsed<Image> {
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
        .code(Code::ImageTag)
        .found(text)
        .suggest(format!("write {text}:<version>"))
    });
    Ok((image, remark))
}
