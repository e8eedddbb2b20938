//! What the cluster's owner lets pods ask for: `admission_policy` of the configuration.
//!
//! The namespace counts whoever asks, since a label that a selector looks for is the pod's author's
//! as well. A pod that has a feature already keeps it, but gets nothing more of it where the policy
//! forbids it.

use std::borrow::Cow;

use crate::config::{Feature, FeaturePolicy};
use crate::image::{Image, Tag};

use super::note::Note;
use super::reason::Reason;

/// The policy of one feature.
#[derive(Debug)]
pub(crate) struct Policy {
    allowed: FeaturePolicy,
    feature: Feature,
}

/// Longer names aren't shown whole; no namespace has one.
pub(super) const MAX_SHOWN: usize = 63;

impl Policy {
    pub(crate) fn new(feature: Feature, allowed: &FeaturePolicy) -> Self {
        Self {
            allowed: allowed.clone(),
            feature,
        }
    }

    /// Where a part of the policy stands in the configuration, for people who meet it.
    fn key(&self, part: &str) -> String {
        format!("admission_policy.{}.{part}", self.feature)
    }

    /// Whether pods of a namespace may have the feature.
    pub(crate) fn allow_in(&self, namespace: &str) -> Result<(), Reason> {
        if self.allowed.namespaces.allows(namespace) {
            return Ok(());
        }
        Err(Reason::NotAllowedHere {
            namespace: namespace.chars().take(MAX_SHOWN).collect(),
            key: self.key("namespaces"),
        })
    }

    /// The configured image with the version of an annotation, if that may choose it.
    ///
    /// An empty version and the configured image's own tag choose nothing. One that is no tag is
    /// noted and ignored.
    pub(crate) fn image<'p>(
        &self,
        image: &'p Image,
        (annotation, version): (&'static str, &str),
        notes: &mut Vec<Note>,
    ) -> Result<Cow<'p, str>, Reason> {
        if version.is_empty() {
            return Ok(image.as_str().into());
        }
        let Some(tag) = Tag::parse(version) else {
            notes.push(Note::VersionIgnored {
                annotation,
                value: version.to_owned(),
            });
            return Ok(image.as_str().into());
        };
        if image.tag() == Some(version) {
            return Ok(image.as_str().into());
        }
        let not_allowed = |part, drops_digest| {
            Err(Reason::VersionNotAllowed {
                annotation,
                version: version.to_owned(),
                drops_digest,
                key: self.key(part),
            })
        };
        if !self.allowed.versions.allows(version) {
            return not_allowed("versions", false);
        }
        if image.has_digest() && !self.allowed.drop_digest {
            return not_allowed("drop_digest", true);
        }
        Ok(image.with_tag(&tag).into())
    }
}
