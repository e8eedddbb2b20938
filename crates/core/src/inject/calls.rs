//! For which pods the API server has to call at all: those that an annotation, a namespace or a
//! label may ask for.
//!
//! What comes out holds for more pods than rules fit and never for fewer. Policy, switches and all
//! that can be wrong with a pod don't count here: who asks is to be told why nothing came of it.

use std::fmt;

use crate::cel::{Condition, Creation, Test, Text};
use crate::config::{Origin, Rule, When};
use crate::pod::{ANNOTATION_PREFIX, Pod};
use crate::selector::{LabelSelector, NamespacePattern};

/// The longest expression that is written, in bytes. API servers evaluate it for each pod and take
/// more, but an evaluation should cost little beside the call that it spares.
pub const LONGEST_EXPRESSION: usize = 16 << 10;

/// For which pods the webhook has to be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Calls {
    /// For those for which this holds.
    Some(Condition),
    /// For all of them.
    All(WhyAll),
}

/// Why the webhook has to be called for all pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhyAll {
    /// A rule fits pods of all namespaces, whatever their labels.
    Rule(Origin),
    /// A rule has a pattern of namespaces that may mean something else to API servers.
    Pattern {
        /// The rule.
        rule: Origin,
        /// The pattern.
        pattern: String,
    },
    /// An expression would be longer than [`LONGEST_EXPRESSION`].
    Length(usize),
}

/// How closely an expression follows the rules.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// As closely as can be.
    Full,
    /// Of label selectors, only whether the pod has a label of one of their keys.
    Keys,
}

impl Calls {
    /// For which pods these rules ask.
    pub(super) fn of<'r>(rules: &(impl Iterator<Item = &'r Rule> + Clone)) -> Self {
        let mut least = usize::MAX;
        for detail in [Detail::Full, Detail::Keys] {
            let condition = match condition(rules.clone(), detail) {
                Ok(condition) => condition,
                // Only for want of detail it is every pod.
                Err(_) if detail == Detail::Keys => break,
                Err(why) => return Self::All(why),
            };
            let length = condition.to_string().len();
            if length <= LONGEST_EXPRESSION {
                return Self::Some(condition);
            }
            least = least.min(length);
        }
        Self::All(WhyAll::Length(least))
    }

    /// The expression, if not all pods are asked about.
    pub fn expression(&self) -> Option<String> {
        match self {
            Self::Some(condition) => Some(condition.to_string()),
            Self::All(_) => None,
        }
    }

    /// Whether the webhook is called for a pod. `namespace` is the one of the request.
    pub fn include(&self, pod: &Pod<'_>, namespace: &str) -> bool {
        let Self::Some(condition) = self else {
            return true;
        };
        condition.holds(&Creation {
            namespace,
            label: &|key| pod.label(key),
            annotated: &|prefix| {
                let mut keys = pod.annotations.iter().map(|(key, _)| key);
                keys.any(|key| key.starts_with(prefix))
            },
        })
    }
}

impl fmt::Display for WhyAll {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => write!(out, "rule {rule} fits pods of all namespaces"),
            Self::Pattern { rule, pattern } => write!(
                out,
                "the namespace pattern `{pattern}` of rule {rule} may mean something else to API servers"
            ),
            Self::Length(length) => write!(
                out,
                "the rules take {length} bytes as an expression, at most {LONGEST_EXPRESSION} are written"
            ),
        }
    }
}

/// What holds for every pod that one of the rules fits, and for every pod with an annotation of the
/// operator's.
fn condition<'r>(
    rules: impl Iterator<Item = &'r Rule>,
    detail: Detail,
) -> Result<Condition, WhyAll> {
    let mut names = Vec::new();
    let mut tests = vec![Test::Annotated(ANNOTATION_PREFIX)];
    for rule in rules {
        let When {
            annotation,
            namespaces,
            labels,
        } = &rule.when;
        // An annotation is enough for a call, and a rule without conditions fits no pod.
        if *annotation || namespaces.is_empty() && labels.is_empty() {
            continue;
        }
        let there = in_namespaces(namespaces);
        let labelled = with_labels(labels, detail);
        if there == Test::ALWAYS && labelled == Test::ALWAYS {
            return Err(why_all(rule));
        }
        let tests_of = |test| match test {
            Test::Any(tests) => tests,
            test => vec![test],
        };
        if labelled == Test::ALWAYS {
            for test in tests_of(there) {
                match test {
                    // The whole names of all rules are one list.
                    Test::Namespace(Text::OneOf(some)) => names.extend(some),
                    test => tests.push(test),
                }
            }
        } else if there == Test::ALWAYS {
            tests.extend(tests_of(labelled));
        } else {
            tests.push(Test::all([there, labelled]));
        }
    }
    if !names.is_empty() {
        tests.insert(1, one_of(names));
    }
    Ok(Condition::new(Test::any(tests)))
}

fn in_namespaces(patterns: &[NamespacePattern]) -> Test {
    if patterns.is_empty() {
        return Test::ALWAYS;
    }
    let mut names = Vec::new();
    let mut others = Vec::new();
    for pattern in patterns {
        match pattern.in_cel() {
            None => return Test::ALWAYS,
            Some(Text::OneOf(name)) => names.extend(name),
            Some(text) => others.push(Test::Namespace(text)),
        }
    }
    let names = (!names.is_empty()).then(|| one_of(names));
    Test::any(names.into_iter().chain(others))
}

fn with_labels(selectors: &[LabelSelector], detail: Detail) -> Test {
    if selectors.is_empty() {
        return Test::ALWAYS;
    }
    Test::any(selectors.iter().map(|selector| match detail {
        Detail::Full => selector.in_cel(),
        Detail::Keys => selector.loosely_in_cel(),
    }))
}

fn one_of(mut names: Vec<String>) -> Test {
    names.sort_unstable();
    names.dedup();
    Test::Namespace(Text::OneOf(names))
}

fn why_all(rule: &Rule) -> WhyAll {
    let namespaces = &rule.when.namespaces;
    let other = namespaces
        .iter()
        .find(|pattern| !pattern.fits_all() && pattern.in_cel().is_none());
    match other {
        Some(pattern) if !namespaces.iter().any(NamespacePattern::fits_all) => WhyAll::Pattern {
            rule: rule.origin.clone(),
            pattern: pattern.as_str().chars().take(100).collect(),
        },
        _ => WhyAll::Rule(rule.origin.clone()),
    }
}

#[cfg(test)]
mod tests;
