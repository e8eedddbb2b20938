//! Rewrites `admission_inject` as rules of `admission_inject_v2`.
//!
//! It works on the document, not on what was understood of it: values are moved as they are written,
//! and whatever isn't known stays where it is. What can't be said by rules, or is left out, is
//! reported.

use super::env_overrides::EnvOverrides;
use super::lowering::{parse_image, pattern_of_namespaces, selector_of_labels};
use super::rule::{self, Feature, Language};
use super::syntax::child;
use super::tree::{self, ConfigError, Node};
use super::v1::{self, Form, ImageKey};
use super::{Config, PullPolicy, v2};
use crate::diagnostic::{Code, Diagnostic};

/// A document that was rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The document.
    pub document: String,
    /// What there is to say about it. An error is something that the rules can't say, a warning
    /// something that changes nothing but a corner.
    pub remarks: Vec<Diagnostic>,
}

type Entries = Vec<(String, Node)>;

/// See [`Config::convert`].
pub(super) fn convert(text: &str, overrides: &EnvOverrides) -> Result<Converted, ConfigError> {
    let (config, _) = Config::load(text, overrides)?;
    let mut root = if text.trim().is_empty() {
        Vec::new()
    } else {
        tree::parse(text)?
    };
    let mut conversion = Conversion {
        remarks: Vec::new(),
        config: &config,
    };
    conversion.document(&mut root, overrides);
    Ok(Converted {
        document: format!("{:#}\n", Node::Object(root)),
        remarks: conversion.remarks,
    })
}

struct Conversion<'c> {
    remarks: Vec<Diagnostic>,
    config: &'c Config,
}

/// A section of `admission_inject`, taken apart.
struct Section<'f> {
    form: &'f Form,
    path: String,
    images: Entries,
    /// What every rule of the section gets.
    settings: Entries,
    labels: Option<Node>,
    namespaces: Option<Node>,
}

/// The rules of a section, in their order, and whether each has an image.
type Rules = Vec<(Node, bool)>;

impl Conversion<'_> {
    fn document(&mut self, root: &mut Entries, overrides: &EnvOverrides) {
        let Some(at) = position(root, v1::KEY) else {
            return;
        };
        let inject = self.take(root, "", v1::KEY);
        let Some(Node::Object(mut inject)) = inject else {
            // Not an object: nobody reads it, and it stays.
            root.extend(inject.map(|node| (v1::KEY.to_owned(), node)));
            return;
        };
        for variable in overrides.of_features() {
            self.remarks.push(
                Diagnostic::error(
                    variable,
                    "the variable is set, and only takes the place of settings in `admission_inject`, not of rules",
                )
                .code(Code::Differs)
                .suggest("write its value into the rules, and unset it"),
            );
        }
        let mut lists = Vec::new();
        for form in &v1::FORMS {
            let key = form.feature.as_str();
            let path = child(v1::KEY, key);
            match self.take(&mut inject, v1::KEY, key) {
                None => {}
                Some(Node::Object(section)) => {
                    let (rules, left) = self.section(form, path, section);
                    inject.extend((!left.is_empty()).then(|| (key.to_owned(), Node::Object(left))));
                    lists.push((form.feature, rules));
                }
                Some(other) => inject.push((key.to_owned(), other)),
            }
        }
        let mut at = at.min(root.len());
        if !inject.is_empty() {
            for (key, _) in &inject {
                self.remarks.push(
                    Diagnostic::warning(
                        child(v1::KEY, key),
                        "stays where it is: it is no part of a rule",
                    )
                    .code(Code::UnknownKey),
                );
            }
            root.insert(at, (v1::KEY.to_owned(), Node::Object(inject)));
            at += 1;
        }
        self.put(root, at, lists);
    }

    /// Puts the rules before and after those that are there already.
    fn put(&mut self, root: &mut Entries, at: usize, lists: Vec<(Feature, Rules)>) {
        if lists.iter().all(|(_, rules)| rules.is_empty()) {
            return;
        }
        let at = match position(root, v2::KEY) {
            None => at,
            Some(there) if there < at => at - 1,
            Some(_) => at,
        };
        let mut v2 = match self.take(root, "", v2::KEY) {
            Some(Node::Object(v2)) => v2,
            Some(other) => {
                self.left_out(
                    v2::KEY,
                    &format!("{other} isn't an object, and nobody read it"),
                );
                Vec::new()
            }
            None => Vec::new(),
        };
        for (feature, rules) in lists {
            let list = v2::LISTS.iter().find(|list| list.feature == feature);
            let Some(list) = list.filter(|_| !rules.is_empty()) else {
                continue;
            };
            let place = position(&v2, list.key).unwrap_or(v2.len());
            let there = match self.take(&mut v2, v2::KEY, list.key) {
                Some(Node::Array(there)) => there,
                Some(other) => {
                    let path = child(v2::KEY, list.key);
                    self.left_out(&path, &format!("{other} isn't a list, and nobody read it"));
                    Vec::new()
                }
                None => Vec::new(),
            };
            // What `admission_inject` had no image for was left to the rules.
            let is_last = |has_image: bool| self.has_rules(feature) && !has_image;
            let (last, first): (Rules, Rules) = rules
                .into_iter()
                .partition(|(_, has_image)| is_last(*has_image));
            let rules = |rules: Rules| rules.into_iter().map(|(rule, _)| rule);
            let all = rules(first).chain(there).chain(rules(last)).collect();
            v2.insert(place.min(v2.len()), (list.key.to_owned(), Node::Array(all)));
        }
        root.insert(at.min(root.len()), (v2::KEY.to_owned(), Node::Object(v2)));
    }

    fn has_rules(&self, feature: Feature) -> bool {
        let mut rules = self.config.rules_of(feature);
        rules.any(|rule| rule.origin.form == rule::Form::V2)
    }

    /// The rules of a section, and what of it isn't theirs.
    fn section(&mut self, form: &Form, path: String, mut section: Entries) -> (Rules, Entries) {
        let images = match self.take(&mut section, &path, "images") {
            Some(Node::Object(images)) => images,
            Some(other) => {
                section.push(("images".to_owned(), other));
                Vec::new()
            }
            None => Vec::new(),
        };
        let mut settings = Vec::new();
        let pull = "image_pull_policy";
        settings.push((pull.to_owned(), self.pull_policy(&mut section, &path)));
        let names = ["envs", "resources", "security_context", "sidecar_mode"];
        for key in names.into_iter().filter(|key| form.has(key)) {
            let value = self.take(&mut section, &path, key);
            settings.extend(value.map(|value| (key.to_owned(), value)));
        }
        let mut selectors = |key: &str| {
            let found = self.take(&mut section, &path, key)?;
            if form.words.is_empty() {
                self.left_out(&child(&path, key), "it was without effect");
                return None;
            }
            Some(found)
        };
        let labels = selectors("enabled_labelselectors");
        let namespaces = selectors("enabled_namespaces");
        if form.has("options") && self.take(&mut section, &path, "options").is_some() {
            self.left_out(&child(&path, "options"), "it was without effect");
        }
        let mut taken = Section {
            form,
            path,
            images,
            settings,
            labels,
            namespaces,
        };
        let rules = self.rules(&mut taken);
        if !taken.images.is_empty() {
            section.push(("images".to_owned(), Node::Object(taken.images)));
        }
        (rules, section)
    }

    /// The two forms have different defaults.
    fn pull_policy(&mut self, section: &mut Entries, path: &str) -> Node {
        let key = "image_pull_policy";
        let is_known = |text: &str| PullPolicy::ALL.iter().any(|policy| policy.as_str() == text);
        match self.take(section, path, key) {
            Some(Node::String(text)) if is_known(&text) => return Node::String(text),
            None => {}
            Some(Node::String(text)) if text.is_empty() => {}
            Some(other) => self.left_out(&child(path, key), &format!("{other} wasn't used")),
        }
        Node::String(PullPolicy::default().as_str().to_owned())
    }

    fn rules(&mut self, section: &mut Section<'_>) -> Rules {
        let images: Vec<(&ImageKey, Option<Node>)> = section
            .form
            .images
            .iter()
            .map(|image| {
                let path = child(&section.path, "images");
                let written = self.take(&mut section.images, &path, image.key);
                let is_blank = matches!(&written, Some(Node::String(text)) if text.is_empty());
                (image, written.filter(|_| !is_blank))
            })
            .collect();
        let image_of = |language: Option<Language>| {
            let mut images = images.iter();
            let image = images.find(|(key, _)| key.language == language);
            image.and_then(|(_, written)| written.as_ref())
        };
        let mut rules = Rules::new();
        let mut missing: Vec<Language> = Vec::new();
        for language in section.form.precedence {
            let Some(image) = image_of(*language) else {
                missing.extend(*language);
                continue;
            };
            let everywhere = Node::Array(vec![text("*")]);
            let mut rule = named(*language, "by annotation");
            rule.push(("namespace_selectors".to_owned(), everywhere));
            rule.push(("check_annotation".to_owned(), Node::Bool(true)));
            rules.push(finished(rule, *language, Some(image), &section.settings));
        }
        if section.form.words.is_empty() && !rules.is_empty() {
            self.remarks.push(
                Diagnostic::warning(
                    section.path.as_str(),
                    "an annotation that can't be read kept the sidecar out; a rule adds it all the same, and it ignores the annotation",
                )
                .code(Code::Differs),
            );
        }
        let lists = [
            (
                section.labels.take(),
                "enabled_labelselectors",
                "labelselector",
                "label_selectors",
            ),
            (
                section.namespaces.take(),
                "enabled_namespaces",
                "namespace",
                "namespace_selectors",
            ),
        ];
        for (list, key, entry_key, rule_key) in lists {
            let path = child(&section.path, key);
            let runs = match list {
                Some(Node::Array(items)) => self.runs(section.form, &path, entry_key, items),
                Some(other) => {
                    self.left_out(&path, &format!("{other} isn't a list, and nobody read it"));
                    continue;
                }
                None => continue,
            };
            let by = if rule_key == "label_selectors" {
                "by label"
            } else {
                "by namespace"
            };
            for (language, patterns) in runs {
                let mut rule = named(Some(language), by);
                rule.push((rule_key.to_owned(), Node::Array(patterns)));
                let image = image_of(Some(language));
                rules.push(finished(rule, Some(language), image, &section.settings));
            }
        }
        if !self.has_rules(section.form.feature) {
            self.unanswered(section, &missing, &rules);
        }
        rules
    }

    /// Annotations that ask for what has no image. They kept pods from getting anything else.
    fn unanswered(&mut self, section: &Section<'_>, missing: &[Language], rules: &Rules) {
        let order = |language: Option<Language>| {
            let mut order = section.form.precedence.iter();
            order.position(|one| *one == language)
        };
        for language in missing {
            let is_later = |image: &ImageKey| order(image.language) > order(Some(*language));
            let others = section.form.images.iter().filter(|image| is_later(image));
            let others = others.filter_map(|image| image.language);
            let others: Vec<&str> = others
                .filter(|other| !missing.contains(other))
                .map(Language::as_str)
                .collect();
            let by_selector = |(rule, has_image): &(Node, bool)| match rule {
                Node::Object(rule) => *has_image && position(rule, "check_annotation").is_none(),
                _ => false,
            };
            let instead = match (others.is_empty(), rules.iter().any(by_selector)) {
                (true, false) => continue,
                (true, true) => "what a selector chooses".to_owned(),
                (false, false) => others.join(" or "),
                (false, true) => format!("{} or what a selector chooses", others.join(", ")),
            };
            self.remarks.push(
                Diagnostic::error(
                    child(&section.path, "images"),
                    format!(
                        "a pod whose annotation asks for {} got nothing, since there is no image; it gets {instead} now, if that fits it as well",
                        language.as_str(),
                    ),
                )
                .code(Code::Differs),
            );
        }
    }

    /// The entries of a list of selectors, those that follow each other and are for one language
    /// together.
    fn runs(
        &mut self,
        form: &Form,
        path: &str,
        key: &str,
        items: Vec<Node>,
    ) -> Vec<(Language, Vec<Node>)> {
        let mut runs: Vec<(Language, Vec<Node>)> = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let path = format!("{path}[{index}]");
            let shown = item.to_string();
            let Node::Object(mut entry) = item else {
                self.left_out(&path, &format!("{shown} wasn't used"));
                continue;
            };
            let pattern = self.take(&mut entry, &path, key);
            let language = self.take(&mut entry, &path, "language");
            for (unknown, _) in &entry {
                self.left_out(&child(&path, unknown), "nobody read it");
            }
            let language = language.and_then(|word| {
                let Node::String(word) = word else {
                    return None;
                };
                let mut words = form.words.iter();
                words.find_map(|(known, language)| (*known == word).then_some(*language))
            });
            let is_usable = |text: &str| match key {
                "namespace" => pattern_of_namespaces(text).is_ok(),
                _ => selector_of_labels(text).is_ok(),
            };
            match (pattern, language) {
                (Some(Node::String(pattern)), Some(language)) if is_usable(&pattern) => {
                    let pattern = Node::String(pattern);
                    match runs.last_mut() {
                        Some((last, patterns)) if *last == language => patterns.push(pattern),
                        _ => runs.push((language, vec![pattern])),
                    }
                }
                _ => self.left_out(&path, &format!("{shown} wasn't used")),
            }
        }
        runs
    }

    /// Takes the value at a key out of an object: of several the last that isn't null.
    fn take(&mut self, entries: &mut Entries, path: &str, key: &str) -> Option<Node> {
        let is_key = |(name, _): &mut (String, Node)| name.eq_ignore_ascii_case(key);
        let mut found: Vec<Node> = entries
            .extract_if(.., is_key)
            .map(|(_, node)| node)
            .filter(|node| *node != Node::Null)
            .collect();
        let last = found.pop();
        for _ in found {
            self.left_out(
                &child(path, key),
                "the key appeared more than once, and only the last one counted",
            );
        }
        last
    }

    fn left_out(&mut self, path: &str, why: &str) {
        self.remarks
            .push(Diagnostic::warning(path, format!("left out: {why}")).code(Code::LeftOut));
    }
}

/// A rule with all that it has, and whether that is an image.
fn finished(
    mut rule: Entries,
    language: Option<Language>,
    image: Option<&Node>,
    settings: &Entries,
) -> (Node, bool) {
    if let Some(language) = language {
        rule.push(("language".to_owned(), text(language.as_str())));
    }
    let has_image = match image {
        Some(Node::String(text)) => parse_image(text).is_ok(),
        _ => false,
    };
    rule.extend(image.map(|image| ("image".to_owned(), image.clone())));
    rule.extend(settings.iter().cloned());
    (Node::Object(rule), has_image)
}

/// A rule with a name that says where it came from.
fn named(language: Option<Language>, by: &str) -> Entries {
    let name = match language {
        Some(language) => format!("{} {by}", language.as_str()),
        None => by.to_owned(),
    };
    vec![("name".to_owned(), Node::String(name))]
}

fn text(text: &str) -> Node {
    Node::String(text.to_owned())
}

fn position(entries: &Entries, key: &str) -> Option<usize> {
    let mut names = entries.iter().map(|(name, _)| name);
    names.position(|name| name.eq_ignore_ascii_case(key))
}

#[cfg(test)]
mod tests;
