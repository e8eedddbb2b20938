//! The decision record: for every feature what was done, or the one reason why not.
//!
//! It is computed once, during planning, and everything that tells people about a review (log line,
//! admission warnings, metrics, `explain`) makes its texts from it. Nothing reads a text that we
//! wrote.

use std::fmt;

use crate::config::{Language, Rule};

use super::note::Note;
use super::reason::Reason;

pub use crate::config::{Feature, Origin};

/// What became of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Added whole.
    Injected,
    /// It was there, but not everywhere: what was missing was added.
    Repaired,
    /// It was there, complete.
    AlreadyInjected,
    /// Asked for and not added; the decision has the reason.
    Skipped,
    /// Nobody asked for it.
    NotRequested,
}

/// Who asked for a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskedBy {
    /// An annotation of the pod.
    Annotation(&'static str),
    /// A label selector of the configuration.
    LabelSelector(String),
    /// A namespace pattern of the configuration.
    NamespacePattern(String),
}

/// The decision about one feature of one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The feature.
    pub feature: Feature,
    /// The language it was asked for, where the feature has languages.
    pub language: Option<&'static str>,
    /// Who asked.
    pub asked_by: Option<AskedBy>,
    /// The rule that asked.
    pub rule: Option<Origin>,
    /// What was done.
    pub outcome: Outcome,
    /// Why it was skipped; set exactly when it was.
    pub reason: Option<Reason>,
    /// What was done differently than asked.
    pub notes: Vec<Note>,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 5] = [
        Self::Injected,
        Self::Repaired,
        Self::AlreadyInjected,
        Self::Skipped,
        Self::NotRequested,
    ];

    /// The name in metrics, logs and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::Repaired => "repaired",
            Self::AlreadyInjected => "already_injected",
            Self::Skipped => "skipped",
            Self::NotRequested => "not_requested",
        }
    }
}

impl Decision {
    /// A decision about a feature that nobody has asked for.
    pub(crate) fn not_requested(feature: Feature) -> Self {
        Self {
            feature,
            language: None,
            asked_by: None,
            rule: None,
            outcome: Outcome::NotRequested,
            reason: None,
            notes: Vec::new(),
        }
    }

    /// A decision about a feature that an annotation asks for although no rule lets it.
    pub(crate) fn in_vain(feature: Feature, annotation: &'static str) -> Self {
        let mut decision = Self {
            asked_by: Some(AskedBy::Annotation(annotation)),
            ..Self::not_requested(feature)
        };
        decision.skip(Reason::NoRule { annotation });
        decision
    }

    /// A decision about a feature that was asked for; what comes of it is still open.
    pub(crate) fn asked(rule: &Rule, asked_by: AskedBy) -> Self {
        Self {
            language: rule.language.map(Language::as_str),
            asked_by: Some(asked_by),
            rule: Some(rule.origin.clone()),
            outcome: Outcome::Injected,
            ..Self::not_requested(rule.feature)
        }
    }

    /// Turns the decision into "not done, for this reason".
    pub(crate) fn skip(&mut self, reason: Reason) {
        self.outcome = Outcome::Skipped;
        self.reason = Some(reason);
        self.notes.clear();
    }

    /// Whether the pod is meant to have the feature, whatever came of it: somebody asked, the
    /// configuration has it, and neither its owner nor the pod's author takes it away.
    pub(crate) fn is_meant(&self) -> bool {
        let is_taken = matches!(
            self.reason,
            Some(
                Reason::SwitchedOff { .. }
                    | Reason::NotAllowedHere { .. }
                    | Reason::ImageNotConfigured { .. }
                    | Reason::NoRule { .. }
            )
        );
        self.asked_by.is_some() && !is_taken
    }

    /// Whether the pod's author asked and did not get exactly that.
    pub(crate) fn disappoints(&self) -> bool {
        let asked = matches!(self.asked_by, Some(AskedBy::Annotation(_)));
        asked && !matches!(self.reason, Some(Reason::SwitchedOff { .. }))
    }
}

impl Decision {
    /// The feature and its language, for people.
    pub fn subject(&self) -> String {
        match self.language {
            Some(language) => format!("{} ({language})", self.feature.as_str()),
            None => self.feature.as_str().to_owned(),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for AskedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Annotation(key) => write!(f, "annotation {key}"),
            Self::LabelSelector(text) => write!(f, "label selector {text}"),
            Self::NamespacePattern(text) => write!(f, "namespace pattern {text}"),
        }
    }
}
