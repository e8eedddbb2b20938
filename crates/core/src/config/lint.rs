//! What is allowed but probably not meant: rules that can't come to anything, patterns that fit more
//! than they seem to, credentials in plain text.
//!
//! Each check only says what follows from the configuration alone. Whatever depends on the pods of a
//! cluster, it keeps quiet about.

mod credentials;
mod overlap;
mod sidecar;

use std::collections::HashSet;

use super::rule::Rule;
use super::syntax::child;
use super::{Config, Policy};
use crate::diagnostic::{Code, Diagnostic};
use crate::selector::NamespacePattern;

/// See [`Config::lint`].
pub(super) fn lint(config: &Config) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    // Several rules can come from one entry, and have their settings from one section.
    let mut origins = HashSet::new();
    let mut images = HashSet::new();
    let mut sections = HashSet::new();
    for rule in &config.rules {
        if origins.insert(rule.origin.as_str()) {
            patterns(rule, &mut found);
            labels(rule, &mut found);
            policy(rule, &config.policy, &mut found);
            sidecar::check(rule, &mut found);
        }
        if images.insert(rule.image_key.as_str()) {
            image(rule, &mut found);
        }
        if sections.insert(rule.section.as_str()) {
            credentials::check(rule, &mut found);
        }
    }
    overlap::check(config, &mut found);
    found
}

fn patterns(rule: &Rule, found: &mut Vec<Diagnostic>) {
    for pattern in &rule.when.namespaces {
        let place = place_of_namespaces(rule);
        if let Some(c) = pattern.impossible_character() {
            found.push(
                Diagnostic::warning(
                    place,
                    format!("fits no namespace: none has `{c}` in its name (small letters, digits and `-` only)"),
                )
                .code(Code::NeverFits)
                .found(pattern.as_str()),
            );
        } else if let Some(narrower) = pattern.narrower() {
            found.push(
                Diagnostic::warning(
                    place,
                    "a regular expression that fits anywhere in a name, so also namespaces whose names only contain it",
                )
                .code(Code::UnanchoredPattern)
                .found(pattern.as_str())
                .suggest(format!("write `{narrower}` if that isn't meant")),
            );
        }
    }
}

fn labels(rule: &Rule, found: &mut Vec<Diagnostic>) {
    for selector in &rule.when.labels {
        if let Some(key) = selector.contradiction() {
            found.push(
                Diagnostic::warning(
                    place_of_labels(rule),
                    format!("fits no pod: no label `{key}` fulfils all that is asked of it"),
                )
                .code(Code::NeverFits)
                .found(selector.as_str()),
            );
        }
    }
}

/// A rule for namespaces that the policy doesn't allow.
fn policy(rule: &Rule, policy: &Policy, found: &mut Vec<Diagnostic>) {
    let allowed = &policy.of(rule.feature).namespaces;
    // That no namespace at all is allowed is said where the document is read.
    if allowed.is_none() || rule.when.namespaces.is_empty() {
        return;
    }
    let names = rule.when.namespaces.iter().map(NamespacePattern::only_name);
    let Some(names) = names.collect::<Option<Vec<&str>>>() else {
        return;
    };
    if !names.iter().any(|name| allowed.allows(name)) {
        found.push(
            Diagnostic::warning(
                rule.origin.as_str(),
                format!(
                    "fits no pod that may have it: {}.{} allows none of its namespaces",
                    super::policy::KEY,
                    rule.feature
                ),
            )
            .code(Code::NeverFits)
            .found(names.join(", ")),
        );
    }
}

fn image(rule: &Rule, found: &mut Vec<Diagnostic>) {
    let Some(image) = &rule.image else { return };
    if image.tag() == Some("latest") && !image.has_digest() {
        found.push(
            Diagnostic::warning(
                rule.image_key.as_str(),
                "`latest` is another version tomorrow, and each node may have its own",
            )
            .code(Code::ImageLatest)
            .found(image.as_str())
            .suggest("name a version"),
        );
    }
}

/// Where the namespaces of a rule stand. A rule that has no name of its own stands at the entry.
fn place_of_namespaces(rule: &Rule) -> String {
    place(rule, "namespace", "namespace_selectors")
}

fn place_of_labels(rule: &Rule) -> String {
    place(rule, "labelselector", "label_selectors")
}

fn place(rule: &Rule, of_entry: &str, of_rule: &str) -> String {
    let key = if rule.origin.is_entry_of_v1() {
        of_entry
    } else {
        of_rule
    };
    child(rule.origin.as_str(), key)
}

#[cfg(test)]
mod tests;
