//! Regular expressions that mean the same to API servers as here.

use regex::Regex;

/// Deeper groups are taken for something unusual.
const DEEPEST: usize = 50;
/// Go refuses more than 1000 repetitions; names have fewer characters than this.
const MOST_REPETITIONS: u16 = 63;

/// A regular expression that both RE2, in which CEL matches, and the `regex` crate take for the
/// same, as far as ASCII texts go.
///
/// Both come from the same engine, but not all of it: `[a&&b]`, `[a[b]]`, `a**`, `(?x)` and
/// `\b{start}` mean different things to them, or nothing to one. Only what is surely the same is
/// taken: literal characters, `.`, sets without sets in them, groups, alternatives, anchors, one
/// repetition after another part, and `\.`, `\-`, `\d` and `\w`.
/// (<https://github.com/google/re2/wiki/Syntax>, <https://docs.rs/regex/latest/regex/#syntax>)
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Portable(String);

/// What stands in front of a character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing that can be repeated.
    Nothing,
    /// A single character or a set.
    Part,
    /// A group.
    Group,
}

impl Portable {
    /// An expression that the `regex` crate has compiled, if it is portable.
    pub fn of(text: &str) -> Option<Self> {
        is_portable(text).then(|| Self(text.to_owned()))
    }

    /// For text that is written here.
    pub(crate) fn written(text: String) -> Self {
        Self(text)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is found in a text.
    pub(super) fn is_in(&self, value: &str) -> bool {
        // What can't be compiled would be refused by API servers, too.
        Regex::new(&self.0).is_ok_and(|expression| expression.is_match(value))
    }
}

fn is_portable(text: &str) -> bool {
    let mut rest = text.chars();
    let mut before = Before::Nothing;
    let mut depth = 0;
    while let Some(character) = rest.next() {
        before = match character {
            '.' | '-' | '_' => Before::Part,
            character if character.is_ascii_alphanumeric() => Before::Part,
            '\\' => match rest.next() {
                Some('.' | '-' | 'd' | 'w') => Before::Part,
                _ => return false,
            },
            '[' => match behind_set(rest.as_str()) {
                Some(behind) => {
                    rest = behind.chars();
                    Before::Part
                }
                None => return false,
            },
            '(' => {
                depth += 1;
                let inside = rest.as_str();
                if inside.starts_with('?') {
                    match inside.strip_prefix("?:") {
                        Some(inside) => rest = inside.chars(),
                        None => return false,
                    }
                }
                if depth > DEEPEST {
                    return false;
                }
                Before::Nothing
            }
            ')' if depth > 0 => {
                depth -= 1;
                Before::Group
            }
            '|' | '^' | '$' => Before::Nothing,
            '*' | '+' | '?' if before != Before::Nothing => {
                // Lazy or not, it matches the same texts.
                if let Some(behind) = rest.as_str().strip_prefix('?') {
                    rest = behind.chars();
                }
                Before::Nothing
            }
            // A repeated group may have repetitions in it, which Go counts together.
            '{' if before == Before::Part => match behind_count(rest.as_str()) {
                Some(behind) => {
                    rest = behind.chars();
                    Before::Nothing
                }
                None => return false,
            },
            _ => return false,
        };
    }
    depth == 0
}

/// What follows a set of letters, digits, `_`, `.`, their ranges, and `-` at an end.
fn behind_set(text: &str) -> Option<&str> {
    let (inside, behind) = text.split_once(']')?;
    let inside = inside.strip_prefix('^').unwrap_or(inside);
    let inside = inside.strip_prefix('-').unwrap_or(inside);
    let inside = inside.strip_suffix('-').unwrap_or(inside);
    let mut characters = inside.chars().peekable();
    let mut is_empty = true;
    while let Some(from) = characters.next() {
        is_empty = false;
        if !(from.is_ascii_alphanumeric() || matches!(from, '_' | '.')) {
            return None;
        }
        if characters.next_if_eq(&'-').is_some() {
            let to = characters.next()?;
            let same = from.is_ascii_digit() == to.is_ascii_digit()
                && from.is_ascii_lowercase() == to.is_ascii_lowercase();
            if !to.is_ascii_alphanumeric() || !same || to < from {
                return None;
            }
        }
    }
    (!is_empty).then_some(behind)
}

/// What follows `n}`, `n,}` or `n,m}`.
fn behind_count(text: &str) -> Option<&str> {
    let (inside, behind) = text.split_once('}')?;
    let (least, most) = match inside.split_once(',') {
        Some((least, "")) => (least, least),
        Some(counts) => counts,
        None => (inside, inside),
    };
    let count = |text: &str| -> Option<u16> {
        let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        let number = if digits {
            text.parse().ok()?
        } else {
            return None;
        };
        (number <= MOST_REPETITIONS).then_some(number)
    };
    (count(least)? <= count(most)?).then_some(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_to_both() {
        for text in [
            "^(dev|qa)-",
            "^team-[a-z0-9]+$",
            "a.*b",
            r"^x\.y\-\d+\w?$",
            "^(?:a|b)*?c{2}d{1,3}e{4,}$",
            "[^a-c_.-]",
            "[-a]",
            "(|a)",
            "()",
            "^a$|^b$",
        ] {
            assert!(Regex::new(text).is_ok(), "{text}");
            assert_eq!(Portable::of(text).map(|one| one.0), Some(text.to_owned()));
        }
    }

    #[test]
    fn what_may_differ_is_left() {
        for text in [
            "[a&&b]",
            "[a[b]]",
            "[a--b]",
            "[a-c~~b]",
            "[[:alpha:]]",
            r"[\d]",
            "[]a]",
            "[a-]-b]",
            "a**",
            "a+*",
            "a{2}{3}",
            "a{2}*",
            "^*a",
            "(*a)",
            "|*",
            "(a{3}){3}",
            "a{64}",
            "a{,3}",
            "a{x}",
            "(?i)a",
            "(?P<n>a)",
            "(?<n>a)",
            r"\pL",
            r"\b",
            r"\Aa\z",
            r"\x41",
            "é",
            "a b",
            "a#b",
            "a/b",
            "(a",
            "a)",
            &format!("{}{}", "(".repeat(51), ")".repeat(51)),
        ] {
            assert_eq!(Portable::of(text), None, "{text}");
        }
    }
}
