//! Glob patterns over label values and names.

use crate::cel::{Portable, Text};

/// A compiled glob: `*` any text, `?` any one character, `[abc]`, `[a-z]` and `[!abc]` one
/// character of (or outside) a set, `\` takes the next character as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Char(char),
    AnyChar,
    AnyText,
    Class {
        negated: bool,
        /// Inclusive ranges; a single character is a range of one.
        ranges: Vec<(char, char)>,
    },
}

/// Why a text is no glob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// `[` without `]`.
    #[error("`[` is never closed")]
    OpenClass,
    /// `[]` or `[!]`.
    #[error("`[]` names no character")]
    EmptyClass,
    /// `[^…]` means different things to different readers.
    #[error("`[^` isn't a negation here; write `[!`")]
    Caret,
    /// `[z-a]`.
    #[error("the range `{0}-{1}` is the wrong way round")]
    Range(char, char),
    /// A lone `\` at the end.
    #[error("`\\` at the end escapes nothing")]
    Escape,
    /// `{a,b}`.
    #[error("`{{` and `}}` aren't supported; write one entry for each alternative")]
    Alternatives,
}

impl Glob {
    pub(super) fn parse(text: &str) -> Result<Self, GlobError> {
        let mut parts = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let part = match c {
                '*' if parts.last() == Some(&Part::AnyText) => continue,
                '*' => Part::AnyText,
                '?' => Part::AnyChar,
                '[' => parse_class(&mut chars)?,
                '\\' => Part::Char(chars.next().ok_or(GlobError::Escape)?),
                '{' | '}' => return Err(GlobError::Alternatives),
                c => Part::Char(c),
            };
            parts.push(part);
        }
        Ok(Self(parts))
    }

    /// `*`
    pub(super) fn any() -> Self {
        Self(vec![Part::AnyText])
    }

    /// The characters that every value that fits has.
    pub(super) fn characters(&self) -> impl Iterator<Item = char> {
        self.0.iter().filter_map(|part| match part {
            Part::Char(c) => Some(*c),
            _ => None,
        })
    }

    /// The only value that fits, if there is only one.
    pub(super) fn literal(&self) -> Option<String> {
        let character = |part: &Part| match part {
            Part::Char(c) => Some(*c),
            _ => None,
        };
        self.0.iter().map(character).collect()
    }

    /// The same for API servers.
    pub(super) fn in_cel(&self) -> Text {
        let text = |parts: &[Part]| {
            let character = |part: &Part| match part {
                Part::Char(c) => Some(*c),
                _ => None,
            };
            parts.iter().map(character).collect::<Option<String>>()
        };
        let simple = match &self.0[..] {
            [Part::AnyText, between @ .., Part::AnyText] => text(between).map(Text::Has),
            [Part::AnyText, behind @ ..] => text(behind).map(Text::Ends),
            [before @ .., Part::AnyText] => text(before).map(Text::Begins),
            all => text(all).map(Text::is),
        };
        simple.unwrap_or_else(|| Text::Matches(Portable::written(self.expression())))
    }

    /// As a regular expression that API servers and the `regex` crate read alike.
    fn expression(&self) -> String {
        let mut out = String::from("(?s)^");
        for part in &self.0 {
            match part {
                Part::Char(c) => push(&mut out, *c),
                Part::AnyChar => out.push('.'),
                Part::AnyText => out.push_str(".*"),
                Part::Class { negated, ranges } => {
                    out.push_str(if *negated { "[^" } else { "[" });
                    for (from, to) in ranges {
                        push(&mut out, *from);
                        out.push('-');
                        push(&mut out, *to);
                    }
                    out.push(']');
                }
            }
        }
        out.push('$');
        out
    }

    /// Whether the whole value fits. Returning to the latest `*` is enough to find a match, so the
    /// work is bounded by pattern length × value length; callers bound the value.
    pub(super) fn matches(&self, value: &str) -> bool {
        let parts = &self.0[..];
        let mut part = 0;
        let mut rest = value.chars();
        let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            let mut ahead = rest.clone();
            let next = ahead.next();
            match (parts.get(part), next) {
                (Some(Part::AnyText), _) => {
                    part += 1;
                    retry = Some((part, rest.clone()));
                    continue;
                }
                (Some(expected), Some(c)) if expected.fits(c) => {
                    part += 1;
                    rest = ahead;
                    continue;
                }
                (None, None) => return true,
                _ => {}
            }
            let Some((after_star, mut skipped)) = retry else {
                return false;
            };
            if skipped.next().is_none() {
                return false;
            }
            part = after_star;
            rest = skipped.clone();
            retry = Some((after_star, skipped));
        }
    }
}

impl Part {
    fn fits(&self, c: char) -> bool {
        match self {
            Part::Char(expected) => *expected == c,
            Part::AnyChar => true,
            Part::AnyText => false,
            Part::Class { negated, ranges } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated
            }
        }
    }
}

/// Writes a character into a regular expression as what it is.
fn push(out: &mut String, c: char) {
    if c.is_ascii_alphanumeric() {
        out.push(c);
    } else {
        out.push_str(&format!(r"\x{{{:x}}}", u32::from(c)));
    }
}

/// Reads up to and including `]`. A `]` in first place would be ambiguous and counts as the end.
fn parse_class(chars: &mut std::str::Chars<'_>) -> Result<Part, GlobError> {
    let mut negated = false;
    let mut ranges: Vec<(char, char)> = Vec::new();
    match chars.clone().next() {
        Some('!') => {
            negated = true;
            chars.next();
        }
        Some('^') => return Err(GlobError::Caret),
        _ => {}
    }
    loop {
        let from = match chars.next().ok_or(GlobError::OpenClass)? {
            ']' if ranges.is_empty() => return Err(GlobError::EmptyClass),
            ']' => return Ok(Part::Class { negated, ranges }),
            '\\' => chars.next().ok_or(GlobError::OpenClass)?,
            c => c,
        };
        let mut ahead = chars.clone();
        let to = match (ahead.next(), ahead.next()) {
            // A dash before the closing bracket is only a dash.
            (Some('-'), Some(to)) if to != ']' => {
                let to = if to == '\\' {
                    ahead.next().ok_or(GlobError::OpenClass)?
                } else {
                    to
                };
                *chars = ahead;
                to
            }
            _ => from,
        };
        if to < from {
            return Err(GlobError::Range(from, to));
        }
        ranges.push((from, to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn matches_whole_values() {
        let check = |pattern: &str, yes: &[&str], no: &[&str]| {
            let glob = Glob::parse(pattern).unwrap();
            for value in yes {
                assert!(glob.matches(value), "{pattern} should match {value:?}");
            }
            for value in no {
                assert!(!glob.matches(value), "{pattern} shouldn't match {value:?}");
            }
        };
        check("", &[""], &["a"]);
        check("nginx", &["nginx"], &["nginx1", "xnginx", ""]);
        check("*", &["", "a", "é"], &[]);
        check("***", &["", "a"], &[]);
        check(
            "middleware*",
            &["middleware", "middleware-nginx"],
            &["my-middleware"],
        );
        check(
            "*-nginx-*",
            &["a-nginx-b", "-nginx--nginx-"],
            &["nginx", "a-nginx"],
        );
        check("a*b*c", &["abc", "a-b-b-c", "abcbc"], &["ac", "abcb"]);
        check("a?c", &["abc", "aéc"], &["ac", "abbc"]);
        check("[abc]x", &["ax", "cx"], &["dx", "abcx", "x"]);
        check("[nginx|redis]", &["n", "|", "s"], &["nginx", "redis"]);
        check("[!x]y", &["ay"], &["xy", "y"]);
        check("v[0-9]-[a-]", &["v1-a", "v9--"], &["vx-a", "v1-b"]);
        check(r"a\*b", &["a*b"], &["aXb", "ab"]);
        check(r"[\]]", &["]"], &["\\"]);
    }

    #[test]
    fn refuses_broken_patterns() {
        for (pattern, expected) in [
            ("[abc", GlobError::OpenClass),
            ("[a-", GlobError::OpenClass),
            ("[", GlobError::OpenClass),
            ("[]", GlobError::EmptyClass),
            ("[!]", GlobError::EmptyClass),
            ("[^a]", GlobError::Caret),
            ("[z-a]", GlobError::Range('z', 'a')),
            ("a\\", GlobError::Escape),
            ("{a}", GlobError::Alternatives),
        ] {
            assert_eq!(Glob::parse(pattern), Err(expected), "{pattern}");
        }
    }

    proptest! {
        /// The regular-expression engine is the judge.
        #[test]
        fn agrees_with_regular_expressions(pattern in "[ab?*]{0,8}", value in "[abc]{0,10}") {
            let expression = format!("^{}$", pattern.replace('?', ".").replace('*', ".*"));
            let expected = regex::Regex::new(&expression).unwrap().is_match(&value);
            prop_assert_eq!(Glob::parse(&pattern).unwrap().matches(&value), expected);
        }

        #[test]
        fn is_the_same_in_cel(pattern in r"[ab?*.é]{0,6}(\[!?[ab-]{1,3}\])?[ab*]{0,2}", value in "[ab.é]{0,8}") {
            if let Ok(glob) = Glob::parse(&pattern) {
                let text = glob.in_cel();
                prop_assert_eq!(glob.matches(&value), text.fits(&value), "{:?}", text);
            }
        }

        #[test]
        fn any_text_is_answered(pattern in r"[a\[\]!^*?\\{}\-]{0,10}", value in ".{0,10}") {
            if let Ok(glob) = Glob::parse(&pattern) {
                let _ = glob.matches(&value);
            }
        }
    }
}
