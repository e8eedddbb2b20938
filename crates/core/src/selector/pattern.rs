//! Globs over whole names.

use std::fmt;

use super::glob::{Glob, GlobError};

/// A glob that a name fits as a whole or not at all: `dev-*` fits `dev-1` and neither `my-dev-1`
/// nor `dev`. The signs are those of values in label selectors: `*`, `?`, `[abc]`, `[a-z]`,
/// `[!abc]`, `\`.
#[derive(Clone, PartialEq, Eq)]
pub struct NamePattern {
    text: String,
    glob: Glob,
}

/// Why a text is no name pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamePatternError {
    /// Nothing but white space.
    #[error("the pattern is empty; `*` means everything")]
    Empty,
    /// Not a glob.
    #[error("`{pattern}` isn't a pattern: {reason}")]
    Glob {
        /// The text.
        pattern: String,
        /// What is wrong with it.
        reason: GlobError,
    },
    /// It asks for a character that no such name has, as regular expressions do.
    #[error(
        "no name has `{0}`; a pattern is a glob with `*`, `?` and `[…]`, not a regular expression"
    )]
    Character(char),
}

/// Longer names than those of Kubernetes and of image tags fit nothing but `*`: matching them would
/// only cost time.
const MAX_NAME: usize = 253;

impl NamePattern {
    /// Reads a pattern over names that consist of characters for which `is_part` holds.
    ///
    /// # Errors
    /// If it is no glob, or one that no name can fit.
    pub fn parse(text: &str, is_part: fn(char) -> bool) -> Result<Self, NamePatternError> {
        if text.trim().is_empty() {
            return Err(NamePatternError::Empty);
        }
        let glob = Glob::parse(text).map_err(|reason| NamePatternError::Glob {
            pattern: text.to_owned(),
            reason,
        })?;
        if let Some(foreign) = glob.characters().find(|c| !is_part(*c)) {
            return Err(NamePatternError::Character(foreign));
        }
        Ok(Self {
            text: text.to_owned(),
            glob,
        })
    }

    /// `*`, which every name fits.
    pub fn any() -> Self {
        Self {
            text: "*".to_owned(),
            glob: Glob::any(),
        }
    }

    /// Whether every name fits.
    pub fn is_any(&self) -> bool {
        self.glob == Glob::any()
    }

    /// Whether the name fits, as a whole.
    pub fn matches(&self, name: &str) -> bool {
        self.is_any() || name.len() <= MAX_NAME && self.glob.matches(name)
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NamePattern").field(&self.text).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_names(c: char) -> bool {
        c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
    }

    #[test]
    fn a_name_fits_as_a_whole() {
        for (pattern, yes, no) in [
            ("dev", &["dev"][..], &["", "de", "dev-1", "my-dev"][..]),
            ("dev-*", &["dev-", "dev-1"], &["dev", "my-dev-1", "Dev-1"]),
            ("*-dev", &["a-dev", "-dev"], &["a-dev-1"]),
            ("team-[ab]", &["team-a"], &["team-c", "team-ab"]),
            ("team-?", &["team-x"], &["team-", "team-xy"]),
            ("*", &["", "anything", &"a".repeat(300)], &[]),
            ("**", &["", "anything"], &[]),
            ("a*", &["a", &"a".repeat(253)], &[&"a".repeat(254)]),
        ] {
            let parsed = NamePattern::parse(pattern, in_names).unwrap();
            for name in yes {
                assert!(parsed.matches(name), "{pattern} should fit {name}");
            }
            for name in no {
                assert!(!parsed.matches(name), "{pattern} shouldn't fit {name}");
            }
        }
    }

    #[test]
    fn refuses_what_can_never_fit() {
        let check = |pattern: &str, expected: &str| {
            let error = NamePattern::parse(pattern, in_names).unwrap_err();
            assert_eq!(error.to_string(), expected, "{pattern:?}");
        };
        check("", "the pattern is empty; `*` means everything");
        check("\t", "the pattern is empty; `*` means everything");
        check("dev-[a", "`dev-[a` isn't a pattern: `[` is never closed");
        let regex = "a pattern is a glob with `*`, `?` and `[…]`, not a regular expression";
        check("^dev-", &format!("no name has `^`; {regex}"));
        check("dev-.*", &format!("no name has `.`; {regex}"));
        check("Dev", &format!("no name has `D`; {regex}"));
        check(" dev", &format!("no name has ` `; {regex}"));
    }
}
