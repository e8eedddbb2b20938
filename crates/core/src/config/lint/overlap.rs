//! Rules that leave nothing for others.

use crate::config::Config;
use crate::config::rule::{Feature, Rule, When};
use crate::diagnostic::{Code, Diagnostic};
use crate::selector::{LabelSelector, NamespacePattern};

/// Rules of a feature are compared with each other as long as they have no more selectors than this
/// together: each is compared with each.
const MOST_COMPARED: usize = 2000;

pub(super) fn check(config: &Config, found: &mut Vec<Diagnostic>) {
    for feature in Feature::ALL {
        let rules = compared(config, feature);
        shadowed(&rules, found);
        let Some(first) = feature.gives_way_to() else {
            continue;
        };
        // Where the policy forbids the first, the other has its turn.
        if !config.policy.of(first).namespaces.is_any() {
            continue;
        }
        let firsts = compared(config, first);
        for entry in entries(&rules) {
            two_libraries(entry, &firsts, found);
        }
    }
}

/// The rules of a feature that are compared.
fn compared(config: &Config, feature: Feature) -> Vec<&Rule> {
    let mut selectors = 0;
    config
        .rules_of(feature)
        .take_while(|rule| {
            selectors += 1 + rule.when.namespaces.len() + rule.when.labels.len();
            selectors <= MOST_COMPARED
        })
        .collect()
}

/// The rules that come from one entry of the document, for each entry.
fn entries<'r>(rules: &'r [&'r Rule]) -> impl Iterator<Item = &'r [&'r Rule]> {
    rules.chunk_by(|a, b| a.origin == b.origin && a.when == b.when)
}

fn shadowed(rules: &[&Rule], found: &mut Vec<Diagnostic>) {
    let mut earlier: Vec<&Rule> = Vec::new();
    for entry in entries(rules) {
        let by = entry.iter().map(|rule| {
            let mut earlier = earlier.iter();
            earlier.find(|first| first.origin != rule.origin && takes_all(first, rule))
        });
        let by: Option<Vec<&&Rule>> = by.collect();
        if let Some(by) = by
            && let (Some(rule), Some(first)) = (entry.first(), by.first())
            // A section without an image is there to say so.
            && rule.is_given()
        {
            found.push(
                Diagnostic::warning(
                    rule.origin.as_str(),
                    format!(
                        "is never used: {} comes first and fits every pod that it fits",
                        first.origin
                    ),
                )
                .code(Code::Shadowed)
                .suggest("move it before that rule, or remove it"),
            );
        }
        earlier.extend(entry);
    }
}

/// An entry of a feature that gives way to another, whose pods get the other.
fn two_libraries(entry: &[&Rule], firsts: &[&Rule], found: &mut Vec<Diagnostic>) {
    let Some(rule) = entry.first() else { return };
    // What annotations ask for, the author of a pod chooses.
    if rule.when.annotation {
        return;
    }
    let mut firsts = firsts.iter().filter(|first| !first.when.annotation);
    let Some(first) = firsts.find(|first| overlap(&first.when, &rule.when)) else {
        return;
    };
    let consequence = if covers(&first.when, &rule.when) {
        "every pod that it fits gets"
    } else {
        "pods that both fit get"
    };
    found.push(
        Diagnostic::warning(
            rule.origin.as_str(),
            format!(
                "{consequence} {} from {} instead: a pod has one library",
                first.feature, first.origin
            ),
        )
        .code(Code::TwoLibraries)
        .suggest("let their selectors exclude each other"),
    );
}

/// Whether no pod is left for a rule after an earlier one.
fn takes_all(first: &Rule, rule: &Rule) -> bool {
    let by_annotation =
        !first.when.annotation || rule.when.annotation && first.language == rule.language;
    by_annotation && covers(&first.when, &rule.when)
}

/// Whether every pod that `inner` fits is one that `outer` fits, annotations aside.
fn covers(outer: &When, inner: &When) -> bool {
    covers_namespaces(&outer.namespaces, &inner.namespaces)
        && covers_labels(&outer.labels, &inner.labels)
}

/// Whether there are pods that both fit, annotations aside: in each of the two dimensions an entry
/// of the one covers an entry of the other.
fn overlap(one: &When, other: &When) -> bool {
    let namespaces = one.namespaces.is_empty()
        || other.namespaces.is_empty()
        || one.namespaces.iter().any(|a| {
            let mut others = other.namespaces.iter();
            others.any(|b| a.covers(b) || b.covers(a))
        });
    let labels = one.labels.is_empty()
        || other.labels.is_empty()
        || one.labels.iter().any(|a| {
            let mut others = other.labels.iter();
            others.any(|b| a.implies(b) || b.implies(a))
        });
    namespaces && labels
}

/// No pattern means every namespace.
fn covers_namespaces(outer: &[NamespacePattern], inner: &[NamespacePattern]) -> bool {
    if outer.is_empty() || outer.iter().any(NamespacePattern::fits_all) {
        return true;
    }
    !inner.is_empty()
        && inner
            .iter()
            .all(|inner| outer.iter().any(|outer| outer.covers(inner)))
}

/// No selector means every pod.
fn covers_labels(outer: &[LabelSelector], inner: &[LabelSelector]) -> bool {
    outer.is_empty()
        || !inner.is_empty()
            && inner
                .iter()
                .all(|inner| outer.iter().any(|outer| inner.implies(outer)))
}
