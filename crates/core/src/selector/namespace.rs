//! Namespace patterns.

use std::fmt;

use regex::{Regex, RegexBuilder};

use super::MAX_LABEL;

/// A regular expression over namespace names, found anywhere in the name unless it is anchored:
/// `default` also fits `my-default-ns`. A lone `*` fits every namespace.
#[derive(Clone)]
pub struct NamespacePattern {
    text: String,
    /// `None` fits everything.
    regex: Option<Regex>,
}

/// Why a text is no namespace pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamespacePatternError {
    /// Nothing but white space.
    #[error("the namespace pattern is empty; `*` means every namespace")]
    Empty,
    /// White space at an end, which no namespace has.
    #[error("the namespace pattern begins or ends with white space, which no namespace has")]
    WhiteSpace,
    /// Not a regular expression, or one that would take too much memory.
    #[error("the namespace pattern isn't a regular expression: {0}")]
    Regex(String),
}

/// Bytes that one compiled pattern may take; names of namespaces need a tiny part of it.
const MAX_COMPILED: usize = 1 << 20;

impl NamespacePattern {
    /// Compiles a pattern.
    pub fn parse(text: &str) -> Result<Self, NamespacePatternError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(NamespacePatternError::Empty);
        }
        if trimmed.len() != text.len() {
            return Err(NamespacePatternError::WhiteSpace);
        }
        let regex = match text {
            "*" | ".*" => None,
            text => Some(
                RegexBuilder::new(text)
                    .size_limit(MAX_COMPILED)
                    .dfa_size_limit(MAX_COMPILED)
                    .build()
                    .map_err(|error| NamespacePatternError::Regex(reason(&error)))?,
            ),
        };
        Ok(Self {
            text: text.to_owned(),
            regex,
        })
    }

    /// Whether the namespace's name fits.
    pub fn matches(&self, namespace: &str) -> bool {
        // No namespace has a longer name; whoever claims so must not have it looked at for each
        // pattern.
        let exists = namespace.len() <= MAX_LABEL;
        self.regex
            .as_ref()
            .is_none_or(|regex| exists && regex.is_match(namespace))
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The engine's error draws the pattern with carets over several lines; the last line holds the
/// sentence.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

impl PartialEq for NamespacePattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for NamespacePattern {}

impl fmt::Debug for NamespacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NamespacePattern").field(&self.text).finish()
    }
}

impl fmt::Display for NamespacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_unanchored() {
        let check = |pattern: &str, yes: &[&str], no: &[&str]| {
            let pattern = NamespacePattern::parse(pattern).unwrap();
            for name in yes {
                assert!(pattern.matches(name), "{pattern} should match {name}");
            }
            for name in no {
                assert!(!pattern.matches(name), "{pattern} shouldn't match {name}");
            }
        };
        check("default", &["default", "my-default-ns"], &["defaul"]);
        check("^test$", &["test"], &["test2", "my-test"]);
        check("*", &["anything", ""], &[]);
        check(".*", &["anything", ""], &[]);
        check("^(dev|qa)-", &["dev-1", "qa-2"], &["prod-dev-1"]);
    }

    #[test]
    fn refuses_what_can_never_work() {
        let check = |pattern: &str, expected: &str| {
            let error = NamespacePattern::parse(pattern).unwrap_err();
            assert_eq!(error.to_string(), expected, "{pattern:?}");
        };
        let empty = "the namespace pattern is empty; `*` means every namespace";
        check("", empty);
        check(" \t", empty);
        check(
            " test",
            "the namespace pattern begins or ends with white space, which no namespace has",
        );
        check(
            "(a",
            "the namespace pattern isn't a regular expression: unclosed group",
        );
        check(
            "*-prod",
            "the namespace pattern isn't a regular expression: repetition operator missing expression",
        );
        assert!(matches!(
            NamespacePattern::parse("(((a{100}){100}){100}){100}"),
            Err(NamespacePatternError::Regex(_))
        ));
    }
}
