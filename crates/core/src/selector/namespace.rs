//! Namespace patterns.

use std::fmt;

use regex::{Regex, RegexBuilder};

use super::MAX_LABEL;
use crate::cel::{Portable, Text};

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
    start: bool,
    end: bool,
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

    /// The same for API servers; `None` where it fits every namespace, or means something else to
    /// them.
    pub fn in_cel(&self) -> Option<Text> {
        match &self.test {
            Test::Any => None,
            Test::Piece(piece) => Some(piece.in_cel()),
            Test::Regex(_) => Portable::of(&self.text).map(Text::Matches),
        }
    }
}

/// What follows from a pattern alone, whatever namespaces there are. Of most regular expressions
/// nothing does; of those that people write, much.
impl NamespacePattern {
    /// Whether every name that `other` fits is one that this pattern fits, as far as that can be
    /// told. False says nothing.
    pub fn covers(&self, other: &Self) -> bool {
        if self.fits_all() || self.text == other.text {
            return true;
        }
        let Some(inner) = Literal::of(&other.text) else {
            return false;
        };
        if inner.start && inner.end {
            return self.matches(inner.text);
        }
        Literal::of(&self.text).is_some_and(|outer| match (outer.start, outer.end) {
            (false, false) => inner.text.contains(outer.text),
            (true, false) => inner.start && inner.text.starts_with(outer.text),
            (false, true) => inner.end && inner.text.ends_with(outer.text),
            (true, true) => false,
        })
    }

    /// Whether it fits every namespace.
    pub fn fits_all(&self) -> bool {
        matches!(self.test, Test::Any)
    }

    /// The only name that fits, if there is only one.
    pub fn only_name(&self) -> Option<&str> {
        let literal = Literal::of(&self.text)?;
        (literal.start && literal.end).then_some(literal.text)
    }

    /// A character of every name that fits, but that no namespace has. Only patterns without
    /// groups, sets, escapes and alternatives are looked at.
    pub fn impossible_character(&self) -> Option<char> {
        if self.fits_all() || self.text.contains(['(', '[', '\\', '|', '{']) {
            return None;
        }
        let inside = self.text.trim_start_matches('^').trim_end_matches('$');
        let mut characters = inside.chars().peekable();
        while let Some(c) = characters.next() {
            let is_optional = characters
                .next_if(|next| matches!(next, '*' | '?'))
                .is_some();
            let is_possible = c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if !is_possible && !is_optional && !matches!(c, '.' | '+' | '^' | '$') {
                return Some(c);
            }
        }
        None
    }

    /// What its author may have meant instead, where it fits more than it seems to: a name, or
    /// several, that it doesn't have to be as a whole; anchors that belong to one alternative only;
    /// or a glob.
    pub fn narrower(&self) -> Option<String> {
        let text = self.text.as_str();
        // Nobody reads a longer suggestion.
        if self.fits_all() || text.len() > 200 || text.contains(['(', '[', '\\', '{', '+', '?']) {
            return None;
        }
        let bare = text.trim_start_matches('^').trim_end_matches('$');
        if let Some(prefix) = bare.strip_suffix('*')
            && prefix.chars().all(is_of_name)
            && !prefix.is_empty()
        {
            return Some(format!("^{prefix}"));
        }
        let parts: Vec<Literal<'_>> = text.split('|').map(Literal::of).collect::<Option<_>>()?;
        let is_whole = |part: &Literal<'_>| part.start && part.end;
        let is_name = |part: &Literal<'_>| part.text.chars().all(is_of_name);
        let is_open = |part: &Literal<'_>| !part.start && !part.end;
        if !parts.iter().all(is_name) || parts.iter().all(is_whole) {
            return None;
        }
        let names: Vec<&str> = parts.iter().map(|part| part.text).collect();
        let is_around_all = parts.first().is_some_and(|part| part.start)
            && parts.last().is_some_and(|part| part.end);
        match &names[..] {
            [name] if parts.iter().all(is_open) => Some(format!("^{name}$")),
            [_] => None,
            _ if parts.iter().all(is_open) || is_around_all => {
                Some(format!("^({})$", names.join("|")))
            }
            _ => None,
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

impl Piece {
    /// A pattern that has nothing special but anchors, and `.*` where it changes nothing.
    fn of(pattern: &str) -> Option<Self> {
        let behind = match pattern.starts_with('^') {
            true => pattern,
            false => pattern.trim_start_matches(".*"),
        };
        let Literal { text, start, end } = Literal::of(match behind.ends_with('$') {
            true => behind,
            false => behind.trim_end_matches(".*"),
        })?;
        Some(Self {
            text: text.to_owned(),
            start,
            end,
        })
    }

    fn in_cel(&self) -> Text {
        let text = self.text.clone();
        match (self.start, self.end) {
            (true, true) => Text::is(text),
            (true, false) => Text::Begins(text),
            (false, true) => Text::Ends(text),
            (false, false) => Text::Has(text),
        }
    }

    fn is_in(&self, name: &str) -> bool {
        match (self.start, self.end) {
            (true, true) => name == self.text,
            (true, false) => name.starts_with(&self.text),
            (false, true) => name.ends_with(&self.text),
            (false, false) => name.contains(&self.text),
        }
    }
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}

/// A pattern that is a text, perhaps with anchors.
struct Literal<'t> {
    text: &'t str,
    start: bool,
    end: bool,
}

impl<'t> Literal<'t> {
    fn of(pattern: &'t str) -> Option<Self> {
        let (text, start) = match pattern.strip_prefix('^') {
            Some(text) => (text, true),
            None => (pattern, false),
        };
        let (text, end) = match text.strip_suffix('$') {
            Some(text) => (text, true),
            None => (text, false),
        };
        let is_literal = !text.is_empty() && !text.contains(META);
        is_literal.then_some(Self { text, start, end })
    }
}

/// Characters that mean something in a regular expression.
const META: [char; 14] = [
    '\\', '.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$',
];

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
        check(
            r"\Qa.b\E",
            "the namespace pattern isn't a regular expression: unrecognized escape sequence",
        );
        assert!(matches!(
            NamespacePattern::parse("(((a{100}){100}){100}){100}"),
            Err(NamespacePatternError::Regex(_))
        ));
    }

    #[test]
    fn what_follows_from_a_pattern() {
        let parse = |text: &str| NamespacePattern::parse(text).unwrap();
        for (outer, inner, expected) in [
            ("*", "anything", true),
            ("a.*", "a.*", true),
            ("shop", "^shop$", true),
            ("shop", "my-shop", true),
            ("^shop", "^shop-1$", true),
            ("^shop", "^shop-", true),
            ("^shop", "shop-", false),
            ("shop$", "-shop$", true),
            ("^shop$", "shop", false),
            ("^(a|b)$", "^b$", true),
            ("^(a|b)$", "b", false),
        ] {
            assert_eq!(
                parse(outer).covers(&parse(inner)),
                expected,
                "{outer} {inner}"
            );
        }
        for (text, expected) in [
            ("Prod", Some('P')),
            ("my_ns", Some('_')),
            ("^prod-.*$", None),
            ("_*a", None),
            ("*", None),
            ("[A-Z]", None),
        ] {
            assert_eq!(parse(text).impossible_character(), expected, "{text}");
        }
        for (text, expected) in [
            ("shop", Some("^shop$")),
            ("a|b", Some("^(a|b)$")),
            ("^a|b$", Some("^(a|b)$")),
            ("prod-*", Some("^prod-")),
            ("*", None),
            ("^shop", None),
            ("shop$", None),
            ("^a$|^b$", None),
            ("^(a|b)$", None),
            (".*-test", None),
            ("^dev-.*", None),
        ] {
            assert_eq!(parse(text).narrower().as_deref(), expected, "{text}");
        }
    }
}
