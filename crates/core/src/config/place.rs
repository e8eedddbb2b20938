//! Places in a document: paths, and where in the text they are.

use std::collections::HashMap;
use std::fmt;

use super::syntax;

/// A place in a text. Both are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

/// Where the entries of a document are in its text.
#[derive(Debug, Clone, Default)]
pub struct Places {
    of: HashMap<String, Position>,
}

impl Places {
    /// Looks through a document. Of one that isn't JSON it knows what comes before the mistake.
    pub fn of(text: &str) -> Self {
        let text = syntax::strip_mark(text);
        let mut of = HashMap::new();
        let mut lines = Lines::new(text);
        // The mistake, if there is one, is reported by whoever reads the document.
        let _ = syntax::walk(text, &mut |path, at| {
            let position = lines.position(at);
            let lower = path.to_ascii_lowercase();
            if lower != path {
                // Keys match without regard to case; paths have them as they should be written.
                of.insert(lower, position);
            }
            of.insert(path.to_owned(), position);
        });
        Self { of }
    }

    /// Where the entry at a path is, or else the nearest that it is in: a path may lead into a text
    /// that is itself JSON.
    pub fn find(&self, path: &str) -> Option<Position> {
        let mut path = path;
        while !path.is_empty() {
            let found = self.of.get(path);
            if let Some(position) = found.or_else(|| self.of.get(&path.to_ascii_lowercase())) {
                return Some(*position);
            }
            let end = path.rfind(['.', '[']).unwrap_or(0);
            path = path.get(..end)?;
        }
        None
    }
}

/// Counts lines as offsets go up.
struct Lines<'t> {
    text: &'t str,
    /// Counted up to here.
    at: usize,
    position: Position,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            at: 0,
            position: Position { line: 1, column: 1 },
        }
    }

    fn position(&mut self, at: usize) -> Position {
        for c in self.text.get(self.at..at).unwrap_or_default().chars() {
            if c == '\n' {
                self.position.line += 1;
                self.position.column = 1;
            } else {
                self.position.column += 1;
            }
        }
        self.at = self.at.max(at);
        self.position
    }
}

impl Position {
    /// Of a byte of a text.
    pub(super) fn of(text: &str, at: usize) -> Self {
        Lines::new(text).position(at)
    }
}

/// `line 3, column 7`
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_places() {
        let text = "\u{feff}{\n  \"a\": {\"B\": [1,\n    {\"ä c\": \"[1]\"}]},\n \"a\":\t2\n}";
        let places = Places::of(text);
        let check = |path: &str, expected: Option<(usize, usize)>| {
            let found = places.find(path).map(|at| (at.line, at.column));
            assert_eq!(found, expected, "{path}");
        };
        check("a.B", Some((2, 9)));
        check("a.b", Some((2, 9)));
        check("a.b[0]", Some((2, 15)));
        check("a.B[1]", Some((3, 5)));
        check("a.B[1][\"ä c\"]", Some((3, 6)));
        // Into a text, and what isn't there.
        check("a.B[1][\"ä c\"][0].x", Some((3, 6)));
        // The last of several counts.
        check("a", Some((4, 2)));
        check("a.missing", Some((4, 2)));
        check("ENV_LOG_LEVEL", None);
        check("", None);
    }
}
