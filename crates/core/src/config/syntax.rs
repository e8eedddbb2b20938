//! Why a text isn't JSON, in words that help whoever wrote it.
//!
//! What is and what isn't JSON, a parser decides; this only explains its verdict, and gives entries
//! their places. Nothing that isn't JSON is read all the same: it would be a guess at what was
//! meant.

use std::fmt;

/// The first mistake in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The byte where it is.
    pub(super) at: usize,
    /// The path of the entry that it is in; empty at the top.
    pub(super) path: String,
    /// What is wrong, and what to do.
    pub(super) reason: String,
}

/// So many levels the parser doesn't read.
const TOO_DEEP: usize = 128;

/// Entries whose path or key is longer go by what they are in: nobody's settings are there, and a
/// copy of the path for each of them would take memory without bound.
const LONGEST_PATH: usize = 200;

/// Most characters shown of what was found.
const MOST_SHOWN: usize = 24;

/// Without the byte order mark that some editors put at the start.
pub(super) fn strip_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Goes through a text up to its end or its first mistake. `visit` is told the path of every entry,
/// and the byte at which its key, or in a list its value, begins.
pub(super) fn walk(text: &str, visit: &mut dyn FnMut(&str, usize)) -> Result<(), Fault> {
    let mut walk = Walk {
        text,
        at: 0,
        open: Vec::new(),
        comma: 0,
        visit,
    };
    match walk.run() {
        Ok(()) => Ok(()),
        Err((at, reason)) => {
            let path = walk
                .open
                .pop()
                .map(|open| if at == open.at { open.path } else { open.entry });
            Err(Fault {
                at,
                path: path.unwrap_or_default(),
                reason,
            })
        }
    }
}

/// The JSON path of an object's entry; a key that isn't a plain word is quoted.
pub(super) fn child(path: &str, key: &str) -> String {
    let plain = !key.is_empty()
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    match (path.is_empty(), plain) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{}]", Quoted(key)),
    }
}

/// A JSON string literal.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let literal = serde_json::to_string(self.0).map_err(|_| fmt::Error)?;
        f.write_str(&literal)
    }
}

struct Walk<'t, 'v> {
    text: &'t str,
    at: usize,
    open: Vec<Open>,
    /// Where the last comma was.
    comma: usize,
    visit: &'v mut dyn FnMut(&str, usize),
}

/// An object or array that isn't closed yet.
struct Open {
    at: usize,
    /// The index of the entry, in an array.
    index: Option<usize>,
    path: String,
    /// The path of the entry, or of the whole where none has begun.
    entry: String,
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Value,
    /// A value or the end of the array.
    FirstItem,
    /// A key or the end of the object.
    FirstKey,
    Key,
    Colon,
    /// A comma or the end.
    Next,
}

/// Where a mistake is, and what it is.
type Problem = (usize, String);

impl<'t> Walk<'t, '_> {
    fn run(&mut self) -> Result<(), Problem> {
        let mut want = Want::Value;
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
            self.at += rest.len() - trimmed.len();
            let Some(c) = trimmed.chars().next() else {
                return self.end(want);
            };
            want = match (want, c) {
                (Want::Next, _) if self.open.is_empty() => {
                    return Err(self.unexpected("the end, since the document is complete"));
                }
                (Want::FirstKey | Want::Key, '"') => {
                    self.key()?;
                    Want::Colon
                }
                (Want::Colon, ':') => {
                    self.at += 1;
                    Want::Value
                }
                (Want::Next, ',') => self.comma(),
                (Want::FirstKey | Want::Next, '}') if self.is_in_object() => self.close(),
                (Want::FirstItem | Want::Next, ']') if !self.is_in_object() => self.close(),
                (Want::Value | Want::Key, '}' | ']') if self.is_after_comma() => {
                    let problem = format!("a comma before `{c}` isn't JSON; remove it");
                    return Err((self.comma, problem));
                }
                (Want::Value | Want::FirstItem, _) => self.value(want, c)?,
                (want, _) => return Err(self.unexpected(self.expected(want))),
            };
        }
    }

    /// The end of the text.
    fn end(&self, want: Want) -> Result<(), Problem> {
        match self.open.last() {
            Some(open) => {
                let bracket = if open.index.is_some() { '[' } else { '{' };
                let problem = format!("the text ends, but this `{bracket}` isn't closed");
                Err((open.at, problem))
            }
            None if want == Want::Next => Ok(()),
            None => Err((self.at, "the text is empty".to_owned())),
        }
    }

    fn value(&mut self, want: Want, c: char) -> Result<Want, Problem> {
        self.visit_item();
        match c {
            '{' | '[' => {
                if self.open.len() + 1 >= TOO_DEEP {
                    return Err((self.at, format!("{TOO_DEEP} levels are too deep")));
                }
                let path = match self.open.last() {
                    Some(open) => open.entry.clone(),
                    None => String::new(),
                };
                let is_array = c == '[';
                self.open.push(Open {
                    at: self.at,
                    index: is_array.then_some(0),
                    entry: path.clone(),
                    path,
                });
                self.at += 1;
                return Ok(if is_array {
                    Want::FirstItem
                } else {
                    Want::FirstKey
                });
            }
            '"' => _ = self.string()?,
            '-' | '+' | '.' | '0'..='9' => self.number()?,
            c if c.is_ascii_alphabetic() => match self.word() {
                word @ ("true" | "false" | "null") => self.at += word.len(),
                word => {
                    let problem = format!(
                        "expected a value, found `{}`; JSON has true, false, null and numbers, and text in double quotes",
                        shown(word)
                    );
                    return Err((self.at, problem));
                }
            },
            _ => return Err(self.unexpected(self.expected(want))),
        }
        Ok(Want::Next)
    }

    /// A value begins; in a list it is an entry.
    fn visit_item(&mut self) {
        if let Some(open) = self.open.last_mut()
            && let Some(index) = open.index
        {
            if open.path.len() > LONGEST_PATH {
                return;
            }
            open.entry = format!("{}[{index}]", open.path);
            (self.visit)(&open.entry, self.at);
        }
    }

    fn key(&mut self) -> Result<(), Problem> {
        let at = self.at;
        let literal = self.string()?;
        // Half a pair of surrogates isn't text; the parser refuses it.
        let key: String = serde_json::from_str(literal).unwrap_or_default();
        if let Some(open) = self.open.last_mut() {
            if open.path.len() > LONGEST_PATH || key.len() > LONGEST_PATH {
                open.entry.clone_from(&open.path);
                return Ok(());
            }
            open.entry = child(&open.path, &key);
            (self.visit)(&open.entry, at);
        }
        Ok(())
    }

    fn comma(&mut self) -> Want {
        self.comma = self.at;
        self.at += 1;
        match self.open.last_mut().map(|open| &mut open.index) {
            Some(Some(index)) => {
                *index += 1;
                Want::Value
            }
            _ => Want::Key,
        }
    }

    fn close(&mut self) -> Want {
        self.open.pop();
        self.at += 1;
        Want::Next
    }

    /// Steps over a string and returns it, quotes included.
    fn string(&mut self) -> Result<&'t str, Problem> {
        let start = self.at;
        let text = self.rest();
        let mut chars = text.char_indices().skip(1);
        while let Some((index, c)) = chars.next() {
            let at = start + index;
            match c {
                '"' => {
                    self.at = at + 1;
                    return Ok(text.get(..=index).unwrap_or_default());
                }
                '\\' => {
                    let escaped = chars.next().map(|(_, c)| c);
                    let is_known = match escaped {
                        Some('u') => {
                            let digits = chars.by_ref().take(4);
                            digits.filter(|(_, c)| c.is_ascii_hexdigit()).count() == 4
                        }
                        Some(c) => r#""\/bfnrt"#.contains(c),
                        None => break,
                    };
                    if !is_known {
                        let escape = format!("\\{}", escaped.unwrap_or_default());
                        let problem = format!(
                            "`{}` isn't an escape in JSON; a backslash is written `\\\\`",
                            shown(&escape)
                        );
                        return Err((at, problem));
                    }
                }
                '\n' | '\r' => {
                    let problem = "this string doesn't end on its line; close it, or write a line break as `\\n`";
                    return Err((start, problem.to_owned()));
                }
                c if c < ' ' => {
                    let problem = format!(
                        "the control character U+{:04X} in a string is written as an escape, such as `\\t` for a tab",
                        u32::from(c)
                    );
                    return Err((at, problem));
                }
                _ => {}
            }
        }
        Err((start, "this string isn't closed".to_owned()))
    }

    fn number(&mut self) -> Result<(), Problem> {
        let rest = self.rest();
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_');
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let token = rest.get(..end).unwrap_or_default();
        if !is_number(token) {
            let problem = format!("`{}` isn't a number in JSON", shown(token));
            return Err((self.at, problem));
        }
        if token.parse().is_ok_and(f64::is_infinite) {
            let problem = format!("the number `{}` is too large", shown(token));
            return Err((self.at, problem));
        }
        self.at += end;
        Ok(())
    }

    /// The letters and digits at this place.
    fn word(&self) -> &'t str {
        let rest = self.rest();
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    }

    fn expected(&self, want: Want) -> &'static str {
        match want {
            Want::Value => "a value",
            Want::FirstItem => "a value or `]`",
            Want::FirstKey => "a key in double quotes or `}`",
            Want::Key => "a key in double quotes",
            Want::Colon => "`:` after the key",
            Want::Next if self.is_in_object() => "`,` or `}`",
            Want::Next => "`,` or `]`",
        }
    }

    /// What stands where something else was expected.
    fn unexpected(&self, expected: &str) -> Problem {
        let rest = self.rest();
        let c = rest.chars().next().unwrap_or_default();
        let problem = if rest.starts_with("//") || rest.starts_with("/*") || c == '#' {
            "comments aren't JSON; remove this one".to_owned()
        } else if c == '\'' {
            "text in single quotes isn't JSON; write it in double quotes (\")".to_owned()
        } else if let Some(meant) = look_alike(c) {
            format!("`{c}` (U+{:04X}) isn't JSON; write {meant}", u32::from(c))
        } else if c == '\u{feff}' {
            "a byte order mark (U+FEFF), which can't be seen, isn't JSON; remove it".to_owned()
        } else if c.is_whitespace() {
            format!(
                "U+{:04X} is a blank that JSON doesn't have; write an ordinary one",
                u32::from(c)
            )
        } else {
            let word = self.word();
            let found = match word {
                "" if c == '"' => rest.get(..self.string_end()).unwrap_or_default(),
                "" => rest.get(..c.len_utf8()).unwrap_or_default(),
                word => word,
            };
            format!("expected {expected}, found `{}`", shown(found))
        };
        (self.at, problem)
    }

    /// Bytes of the string that begins here, or as much of it as there is.
    fn string_end(&self) -> usize {
        let rest = self.rest();
        let inside = rest.get(1..).unwrap_or_default();
        inside.find(['"', '\n']).map_or(rest.len(), |end| end + 2)
    }

    fn is_in_object(&self) -> bool {
        self.open.last().is_some_and(|open| open.index.is_none())
    }

    /// Whether nothing but blanks is between the last comma and this place.
    fn is_after_comma(&self) -> bool {
        let since = self.text.get(self.comma..self.at).unwrap_or_default();
        since.starts_with(',') && since[1..].trim().is_empty()
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }
}

/// Signs that other keyboards and word processors have for those of JSON.
fn look_alike(c: char) -> Option<&'static str> {
    Some(match c {
        '“' | '”' | '„' | '‟' | '＂' | '‘' | '’' | '«' | '»' => "`\"`",
        '，' | '、' => "`,`",
        '：' => "`:`",
        '｛' => "`{`",
        '｝' => "`}`",
        '［' | '【' => "`[`",
        '］' | '】' => "`]`",
        _ => return None,
    })
}

fn is_number(token: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let token = token.strip_prefix('-').unwrap_or(token);
    let (mantissa, exponent) = match token.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (token, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|text| digits(text.strip_prefix(['+', '-']).unwrap_or(text)))
}

/// The beginning of a text that may be long.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(MOST_SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
