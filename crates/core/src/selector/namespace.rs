//! Namespace patterns.

use std::fmt;

use regex::{Regex, RegexBuilder};

use super::MAX_LABEL;

/// A regular expression over namespace names, found anywhere in the name unless it is anchored:
/// `default` also fits `my-default-ns`. A lone `*` fits every namespace.
#[derive(Clone)]
pub struct NamespacePattern {
    text: String,
    test: Test,
}

/// How a name is compared. Most patterns are names or pieces of names, and a thousand regular
/// expressions take longer to compile than everything else in a configuration.
#[derive(Clone)]
enum Test {
    Any,
    Piece(Piece),
    Regex(Regex),
}

/// A piece of a name, with the ends that it must stand at.
#[derive(Clone)]
struct Piece {
    text: String,
    begins: bool,
    ends: bool,
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
        let test = match (text, Piece::of(text)) {
            ("*" | ".*", _) => Test::Any,
            (_, Some(piece)) => Test::Piece(piece),
            _ => Test::Regex(compiled(text)?),
        };
        Ok(Self {
            text: text.to_owned(),
            test,
        })
    }

    /// Whether the namespace's name fits.
    pub fn matches(&self, namespace: &str) -> bool {
        // No namespace has a longer name; whoever claims so must not have it looked at for each
        // pattern.
        let exists = namespace.len() <= MAX_LABEL;
        match &self.test {
            Test::Any => true,
            Test::Piece(piece) => exists && piece.is_in(namespace),
            Test::Regex(regex) => exists && regex.is_match(namespace),
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Piece {
    /// A pattern that has nothing special but anchors, and `.*` where it changes nothing.
    fn of(pattern: &str) -> Option<Self> {
        let (begins, rest) = match pattern.strip_prefix('^') {
            Some(rest) => (true, rest),
            None => (false, pattern.trim_start_matches(".*")),
        };
        let (ends, text) = match rest.strip_suffix('$') {
            Some(text) => (true, text),
            None => (false, rest.trim_end_matches(".*")),
        };
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        (!text.is_empty() && text.bytes().all(is_plain)).then(|| Self {
            text: text.to_owned(),
            begins,
            ends,
        })
    }

    fn is_in(&self, name: &str) -> bool {
        match (self.begins, self.ends) {
            (true, true) => name == self.text,
            (true, false) => name.starts_with(&self.text),
            (false, true) => name.ends_with(&self.text),
            (false, false) => name.contains(&self.text),
        }
    }
}

fn compiled(text: &str) -> Result<Regex, NamespacePatternError> {
    RegexBuilder::new(text)
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_COMPILED)
        .build()
        .map_err(|error| NamespacePatternError::Regex(reason(&error)))
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
    use proptest::prelude::*;

    proptest! {
        /// The regular-expression engine is the judge of what is compared without it.
        #[test]
        fn pieces_agree_with_regular_expressions(
            pattern in r"\^?(\.\*){0,2}[ab-]{0,3}(\.\*){0,2}\$?",
            name in "[ab-]{0,5}",
        ) {
            prop_assume!(!pattern.is_empty());
            let expected = compiled(&pattern).unwrap().is_match(&name);
            prop_assert_eq!(NamespacePattern::parse(&pattern).unwrap().matches(&name), expected);
        }
    }

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
