//! Why nobody asked for a feature: the rules that don't fit the pod, and which of their conditions
//! fail.
//!
//! A review doesn't need it; `explain` asks for it.

use std::fmt;

use crate::config::{Language, Origin};

/// The rules of a feature that don't fit a pod, the nearest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// At most [`Missed::MOST`] of them.
    pub rules: Vec<Miss>,
    /// How many further rules there are.
    pub more: usize,
}

/// A rule that doesn't fit a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    /// Where the rule stands.
    pub rule: Origin,
    /// Its language, where the feature has languages.
    pub language: Option<Language>,
    /// Whether an annotation is all that it takes, so that it misses every pod that doesn't ask.
    pub is_opt_in: bool,
    /// The conditions that fail.
    pub failed: Vec<Condition>,
}

/// A condition of a rule that doesn't hold for a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The pod's namespace is another one.
    Namespace {
        /// The pod's namespace; empty where it isn't known.
        found: String,
        /// The patterns, of which one would have to fit.
        expected: String,
    },
    /// The pod has other labels. These are the selectors, of which one would have to fit.
    Labels(String),
    /// The pod has none of these annotations.
    Annotation(&'static [&'static str]),
    /// An annotation asks for another language of the feature.
    Language {
        /// The annotation.
        annotation: &'static str,
    },
    /// The rule has no condition and therefore never fits.
    None,
}

impl Missed {
    /// So many rules are told of; nobody reads more.
    pub const MOST: usize = 10;
}

impl Condition {
    /// The code of the condition.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Namespace { .. } => "namespace",
            Self::Labels(_) => "labels",
            Self::Annotation(_) => "annotation",
            Self::Language { .. } => "language",
            Self::None => "none",
        }
    }

    /// The first of a rule's patterns, for one line.
    pub(super) fn excerpt<'p>(patterns: impl Iterator<Item = &'p str>) -> String {
        const MOST: usize = 3;
        const LONGEST: usize = 60;
        let mut patterns = patterns.peekable();
        let mut out = String::new();
        for pattern in patterns.by_ref().take(MOST) {
            if !out.is_empty() {
                out.push_str(", ");
            }
            out.push('`');
            out.extend(pattern.chars().take(LONGEST));
            if pattern.chars().nth(LONGEST).is_some() {
                out.push('…');
            }
            out.push('`');
        }
        if patterns.peek().is_some() {
            out.push_str(", …");
        }
        out
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace { found, expected } => {
                write!(f, "namespace `{found}` does not match {expected}")
            }
            Self::Labels(expected) => write!(f, "the labels do not match {expected}"),
            Self::Annotation(keys) => {
                write!(f, "annotation {} is missing", keys.join(" or "))
            }
            Self::Language { annotation } => {
                write!(f, "annotation {annotation} asks for another language")
            }
            Self::None => f.write_str("the rule has no condition, so it never applies"),
        }
    }
}
