//! What a check found: one severity, one place, one sentence, and what to do about it.

mod code;

use std::cmp::Reverse;
use std::fmt;

pub use code::Code;

/// How bad a finding is. Ordered: an error is greater than a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Works, though perhaps not as meant.
    Warning,
    /// The value can't be used; a default (or nothing) takes its place.
    Error,
}

impl Severity {
    /// `warning` or `error`.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One finding about something a person wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of finding it is.
    pub code: Code,
    /// Where: a JSON path such as `admission_inject.ddtrace.envs.DD_TAGS`, or an environment
    /// variable's name. Empty for the document as a whole.
    pub path: String,
    /// What is wrong and what happens because of it, without the place.
    pub message: String,
    /// The offending text, as it was written.
    pub found: Option<String>,
    /// What to write instead.
    pub suggestion: Option<String>,
}

impl Diagnostic {
    /// A finding that leaves the value in use.
    pub fn warning(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, Code::Doubtful, path, message)
    }

    /// A finding that takes the value out of use.
    pub fn error(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, Code::InvalidValue, path, message)
    }

    fn new(
        severity: Severity,
        code: Code,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            code,
            path: path.into(),
            message: message.into(),
            found: None,
            suggestion: None,
        }
    }

    /// Says what kind of finding it is, where that is more than a doubt or a bad value.
    #[must_use]
    pub fn code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }

    /// Adds the text that was found.
    #[must_use]
    pub fn found(mut self, text: impl Into<String>) -> Self {
        self.found = Some(text.into());
        self
    }

    /// Adds what to write instead.
    #[must_use]
    pub fn suggest(mut self, text: impl Into<String>) -> Self {
        self.suggestion = Some(text.into());
        self
    }

    /// Adds "did you mean" where one of `candidates` is close to `word`.
    #[must_use]
    pub fn suggest_like<'a>(
        mut self,
        word: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        if let Some(candidate) = did_you_mean(word, candidates) {
            self.suggestion = Some(format!("did you mean `{candidate}`?"));
        }
        self
    }
}

/// One line: severity, path, message, what was found in brackets, suggestion.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.severity)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", OneLine(&self.path, MAX_PATH))?;
        }
        f.write_str(&self.message)?;
        if let Some(found) = &self.found {
            write!(f, " (found `{}`)", OneLine(found, MAX_FOUND))?;
        }
        if let Some(suggestion) = &self.suggestion {
            write!(f, "; {suggestion}")?;
        }
        Ok(())
    }
}

/// The candidate that a misspelt `word` most likely stands for, if one is close enough to be worth
/// saying.
///
/// Close means: at most one edit (insert, delete, replace, swap of neighbours) for every three
/// letters, ignoring case; failing that, one of the two begins with the other, as `warning` does
/// with `warn`. Of equally close candidates the one with the longest common beginning wins, then
/// the first.
pub fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Looked at before it is taken apart: a character takes four bytes at most.
    if word.len() > MAX_WORD * 4 {
        return None;
    }
    let word: Vec<char> = word.chars().flat_map(char::to_lowercase).collect();
    if word.is_empty() || word.len() > MAX_WORD {
        return None;
    }
    let mut best = None;
    for candidate in candidates {
        let letters: Vec<char> = candidate.chars().flat_map(char::to_lowercase).collect();
        let (shorter, longer) = (word.len().min(letters.len()), word.len().max(letters.len()));
        let common = word
            .iter()
            .zip(&letters)
            .take_while(|(a, b)| a == b)
            .count();
        let distance = edit_distance(&word, &letters);
        let few_edits = distance <= (longer / 3).max(1) && distance < shorter.max(2);
        let beginning = common == shorter && shorter >= 2;
        if !few_edits && !beginning {
            continue;
        }
        let rank = (distance, Reverse(common));
        if best.as_ref().is_none_or(|(least, _)| rank < *least) {
            best = Some((rank, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Longer words are not misspelt keys; comparing them would only cost time.
const MAX_WORD: usize = 128;
const MAX_PATH: usize = 300;
const MAX_FOUND: usize = 120;

/// Optimal string alignment distance over three rows.
fn edit_distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = previous[j] + usize::from(x != y);
            let mut least = replaced.min(previous[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *y && *x == b[j - 1] {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = previous;
        previous = row;
    }
    previous[b.len()]
}

/// Text on one line: control characters escaped, the end cut where it is long.
struct OneLine<'a>(&'a str, usize);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, c) in self.0.chars().enumerate() {
            if index == self.1 {
                return f.write_str("…");
            }
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions() {
        let keys = ["ddtrace", "logfwd", "profiler", "images", "envs"];
        let check = |word: &str, expected: Option<&str>| {
            assert_eq!(did_you_mean(word, keys), expected, "{word}");
        };
        check("ddtrce", Some("ddtrace"));
        check("dtdrace", Some("ddtrace"));
        check("Profiler", Some("profiler"));
        check("image", Some("images"));
        check("env", Some("envs"));
        check("ensv", Some("envs"));
        check("x", None);
        check("", None);
        check("tolerations", None);
        check(&"e".repeat(100_000), None);
        assert_eq!(did_you_mean("abd", ["abc", "abe"]), Some("abc"));
        assert_eq!(did_you_mean("abd", ["xbd", "abx"]), Some("abx"));
        assert_eq!(did_you_mean("warning", ["info", "warn"]), Some("warn"));
        assert_eq!(did_you_mean("go", ["java", "golang"]), Some("golang"));
    }

    #[test]
    fn renders_on_one_line() {
        let check = |diagnostic: Diagnostic, expected: &str| {
            assert_eq!(diagnostic.to_string(), expected);
        };
        check(
            Diagnostic::warning("", "nothing is configured"),
            "warning: nothing is configured",
        );
        check(
            Diagnostic::error("a.b[0]", "not a number")
                .found("x\ny\0")
                .suggest("write 1"),
            "error: a.b[0]: not a number (found `x\\ny\\u{0}`); write 1",
        );
        check(
            Diagnostic::error("a", "too long").found("é".repeat(1000)),
            &format!("error: a: too long (found `{}…`)", "é".repeat(120)),
        );
        check(
            Diagnostic::warning("envz", "unknown key").suggest_like("envz", ["envs"]),
            "warning: envz: unknown key; did you mean `envs`?",
        );
    }

    #[test]
    fn errors_outrank_warnings() {
        assert!(Severity::Error > Severity::Warning);
    }
}
