//! A pull reader over JSON text that borrows from it and allocates nothing for what the caller skips.
//!
//! The admission path reads each review exactly once, keeps a few dozen fields and steps over the rest. A general
//! deserializer would walk the object twice (once to find its end, once to decode it) or build values that nobody
//! looks at. The reader accepts what RFC 8259 accepts and nothing else; in values that are skipped too. Its readings follow
//! Go's `encoding/json`, because the API server and every existing client speak through that: `null` where an object or
//! list is expected counts as absent, and of repeated keys the last one wins.

use std::borrow::Cow;
use std::fmt;

/// Text borrowed from the request, or owned where it contained escapes.
pub type Str<'a> = Cow<'a, str>;

/// The result of reading.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How deep values may nest. Kubernetes objects stay below 50; the bound keeps hostile bodies cheap.
pub const MAX_DEPTH: usize = 1024;

/// Why a text could not be read, with the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Byte offset in the text.
    pub offset: usize,
    /// Path of the value that was being read, such as `spec.containers[2].name`; empty at the root.
    pub path: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with the text at [`Error::offset`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The text ends inside a value.
    UnexpectedEnd,
    /// A byte that can't stand here; the text names what could.
    Expected(&'static str),
    /// A value of another type than the field has.
    WrongType {
        /// What the field holds.
        expected: &'static str,
        /// What was found.
        found: Kind,
    },
    /// A control character inside a string, which JSON wants escaped.
    ControlCharacter,
    /// An escape sequence that JSON doesn't have.
    BadEscape,
    /// Values nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// Something follows the value.
    TrailingCharacters,
}

/// The type of a JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// Reads one JSON text from front to back.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `text`.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The type of the next value, judged by its first byte.
    pub fn kind(&mut self) -> Result<Kind> {
        self.skip_space();
        match self.byte() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(_) => Err(self.error(Problem::Expected("a value"))),
            None => Err(self.error(Problem::UnexpectedEnd)),
        }
    }

    /// Reads an object, calling `field` with each key; `field` must read or [`skip`](Self::skip) the value.
    /// `null` reads as an object without fields.
    pub fn object(&mut self, mut field: impl FnMut(&mut Self, &str) -> Result<()>) -> Result<()> {
        self.entries(|reader, key| field(reader, &key))
    }

    /// Like [`object`](Self::object), for maps whose keys are kept.
    pub fn entries(
        &mut self,
        mut entry: impl FnMut(&mut Self, Str<'a>) -> Result<()>,
    ) -> Result<()> {
        if !self.opens(Kind::Object, "an object")? {
            return Ok(());
        }
        if self.closes(b'}') {
            return Ok(());
        }
        loop {
            let key = self.key()?;
            if let Err(error) = entry(self, key.clone()) {
                return Err(error.within_field(&key));
            }
            if !self.goes_on(b'}', "`,` or `}`")? {
                return Ok(());
            }
        }
    }

    /// Reads a list, calling `item` with each index; `item` must read or skip the value. `null` reads as empty.
    pub fn array(&mut self, mut item: impl FnMut(&mut Self, usize) -> Result<()>) -> Result<()> {
        if !self.opens(Kind::Array, "a list")? {
            return Ok(());
        }
        if self.closes(b']') {
            return Ok(());
        }
        let mut index = 0;
        loop {
            item(self, index).map_err(|error| error.within_item(index))?;
            if !self.goes_on(b']', "`,` or `]`")? {
                return Ok(());
            }
            index += 1;
        }
    }

    /// Reads a string; `null` is `None`.
    pub fn string(&mut self) -> Result<Option<Str<'a>>> {
        match self.kind()? {
            Kind::String => self.string_value().map(Some),
            Kind::Null => self.literal("null").map(|()| None),
            found => Err(self.wrong_type("a string", found)),
        }
    }

    /// Reads a boolean; `null` is `None`.
    pub fn bool(&mut self) -> Result<Option<bool>> {
        match self.kind()? {
            Kind::Bool if self.byte() == Some(b't') => self.literal("true").map(|()| Some(true)),
            Kind::Bool => self.literal("false").map(|()| Some(false)),
            Kind::Null => self.literal("null").map(|()| None),
            found => Err(self.wrong_type("true or false", found)),
        }
    }

    /// Reads an integer that fits; `null` is `None`.
    pub fn integer(&mut self) -> Result<Option<i64>> {
        match self.kind()? {
            Kind::Number => {
                let start = self.at;
                self.number()?;
                match self.text[start..self.at].parse() {
                    Ok(value) => Ok(Some(value)),
                    Err(_) => Err(Error::new(start, Problem::Expected("a 64-bit integer"))),
                }
            }
            Kind::Null => self.literal("null").map(|()| None),
            found => Err(self.wrong_type("a number", found)),
        }
    }

    /// Steps over one value of any type, checking its form, and returns its text.
    pub fn skip(&mut self) -> Result<&'a str> {
        self.skip_space();
        let start = self.at;
        match self.byte() {
            Some(b'{' | b'[') => self.skip_nested()?,
            _ => self.skip_scalar()?,
        }
        Ok(&self.text[start..self.at])
    }

    /// Checks that nothing but white space follows.
    pub fn end(&mut self) -> Result<()> {
        self.skip_space();
        match self.byte() {
            None => Ok(()),
            Some(_) => Err(self.error(Problem::TrailingCharacters)),
        }
    }

    fn skip_nested(&mut self) -> Result<()> {
        let mut open = Nesting::default();
        loop {
            self.skip_space();
            match self.byte() {
                Some(b'{') => {
                    self.at += 1;
                    if !self.closes(b'}') {
                        self.skip_key()?;
                        self.open(&mut open, true)?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.at += 1;
                    if !self.closes(b']') {
                        self.open(&mut open, false)?;
                        continue;
                    }
                }
                _ => self.skip_scalar()?,
            }
            // A value has ended: go on in, or close, what is open around it.
            loop {
                let Some(in_object) = open.innermost() else {
                    return Ok(());
                };
                if in_object {
                    if self.goes_on(b'}', "`,` or `}`")? {
                        self.skip_key()?;
                        break;
                    }
                } else if self.goes_on(b']', "`,` or `]`")? {
                    break;
                }
                open.pop();
            }
        }
    }

    fn open(&self, open: &mut Nesting, object: bool) -> Result<()> {
        if open.push(object) {
            Ok(())
        } else {
            Err(self.error(Problem::TooDeep))
        }
    }

    fn skip_scalar(&mut self) -> Result<()> {
        match self.byte() {
            Some(b'"') => self.string_end().map(|_| ()),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => Err(self.error(Problem::Expected("a value"))),
            None => Err(self.error(Problem::UnexpectedEnd)),
        }
    }

    fn key(&mut self) -> Result<Str<'a>> {
        self.at_key()?;
        let key = self.string_value()?;
        self.colon()?;
        Ok(key)
    }

    fn skip_key(&mut self) -> Result<()> {
        self.at_key()?;
        self.string_end()?;
        self.colon()
    }

    fn at_key(&mut self) -> Result<()> {
        self.skip_space();
        match self.byte() {
            Some(b'"') => Ok(()),
            Some(_) => Err(self.error(Problem::Expected("a key in quotes"))),
            None => Err(self.error(Problem::UnexpectedEnd)),
        }
    }

    fn colon(&mut self) -> Result<()> {
        self.skip_space();
        match self.byte() {
            Some(b':') => {
                self.at += 1;
                Ok(())
            }
            Some(_) => Err(self.error(Problem::Expected("`:`"))),
            None => Err(self.error(Problem::UnexpectedEnd)),
        }
    }

    /// Enters an object or list; false if there is a `null` instead.
    fn opens(&mut self, kind: Kind, expected: &'static str) -> Result<bool> {
        match self.kind()? {
            found if found == kind => {
                self.at += 1;
                Ok(true)
            }
            Kind::Null => self.literal("null").map(|()| false),
            found => Err(self.wrong_type(expected, found)),
        }
    }

    fn closes(&mut self, close: u8) -> bool {
        self.skip_space();
        let closes = self.byte() == Some(close);
        self.at += usize::from(closes);
        closes
    }

    /// After an element: true at a comma, false at the closing byte.
    fn goes_on(&mut self, close: u8, expected: &'static str) -> Result<bool> {
        self.skip_space();
        match self.byte() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            Some(_) => Err(self.error(Problem::Expected(expected))),
            None => Err(self.error(Problem::UnexpectedEnd)),
        }
    }

    fn string_value(&mut self) -> Result<Str<'a>> {
        let start = self.at + 1;
        let escaped = self.string_end()?;
        let raw = &self.text[start..self.at - 1];
        Ok(if escaped {
            Cow::Owned(unescape(raw))
        } else {
            Cow::Borrowed(raw)
        })
    }

    /// From an opening quote to behind the closing one; true if there are escapes between.
    fn string_end(&mut self) -> Result<bool> {
        let bytes = self.text.as_bytes();
        let mut at = self.at + 1;
        let mut escaped = false;
        loop {
            at = plain_run(bytes, at);
            match bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    at += escape_len(&bytes[at..]).map_err(|problem| Error::new(at, problem))?;
                }
                Some(_) => return Err(Error::new(at, Problem::ControlCharacter)),
                None => return Err(Error::new(at, Problem::UnexpectedEnd)),
            }
        }
    }

    fn number(&mut self) -> Result<()> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        if self.byte() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<()> {
        let start = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > start {
            return Ok(());
        }
        Err(self.error(match self.byte() {
            Some(_) => Problem::Expected("a digit"),
            None => Problem::UnexpectedEnd,
        }))
    }

    fn literal(&mut self, word: &'static str) -> Result<()> {
        let rest = &self.text.as_bytes()[self.at..];
        if rest.starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        Err(self.error(if word.as_bytes().starts_with(rest) {
            Problem::UnexpectedEnd
        } else {
            Problem::Expected(word)
        }))
    }

    fn skip_space(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn wrong_type(&self, expected: &'static str, found: Kind) -> Error {
        self.error(Problem::WrongType { expected, found })
    }

    fn error(&self, problem: Problem) -> Error {
        Error::new(self.at, problem)
    }
}

/// Which of the open values are objects, one bit each.
#[derive(Default)]
struct Nesting {
    bits: [u64; MAX_DEPTH / 64],
    depth: usize,
}

impl Nesting {
    fn push(&mut self, object: bool) -> bool {
        if self.depth == MAX_DEPTH {
            return false;
        }
        let (word, bit) = (self.depth / 64, self.depth % 64);
        self.bits[word] = self.bits[word] & !(1 << bit) | u64::from(object) << bit;
        self.depth += 1;
        true
    }

    fn pop(&mut self) {
        self.depth -= 1;
    }

    fn innermost(&self) -> Option<bool> {
        let top = self.depth.checked_sub(1)?;
        Some(self.bits[top / 64] >> (top % 64) & 1 == 1)
    }
}

/// The end of the run of bytes from `at` that are neither a quote, a backslash nor a control character, eight at a
/// time: strings make up most of a pod.
fn plain_run(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let chunk = u64::from_le_bytes(*chunk);
        let quote = chunk ^ (ONES * b'"' as u64);
        let slash = chunk ^ (ONES * b'\\' as u64);
        // A byte of `x` is zero, or below 0x20, where the subtraction borrows into its top bit.
        let stop = (quote.wrapping_sub(ONES) & !quote)
            | (slash.wrapping_sub(ONES) & !slash)
            | (chunk.wrapping_sub(ONES * 0x20) & !chunk);
        let stop = stop & HIGHS;
        if stop != 0 {
            return at + (stop.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(byte) = bytes.get(at) {
        if matches!(byte, b'"' | b'\\' | 0..0x20) {
            break;
        }
        at += 1;
    }
    at
}

/// The length of the escape sequence at the start of `bytes`, which is a backslash.
fn escape_len(bytes: &[u8]) -> Result<usize, Problem> {
    match bytes.get(1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
        Some(b'u') => match bytes.get(2..6) {
            Some(hex) if hex.iter().all(u8::is_ascii_hexdigit) => Ok(6),
            Some(_) => Err(Problem::BadEscape),
            None => Err(Problem::UnexpectedEnd),
        },
        Some(_) => Err(Problem::BadEscape),
        None => Err(Problem::UnexpectedEnd),
    }
}

/// Resolves the escapes of a checked string. Half of a surrogate pair becomes U+FFFD, as in Go.
fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (character, len) = match rest.as_bytes()[1] {
            b'b' => ('\u{8}', 2),
            b'f' => ('\u{c}', 2),
            b'n' => ('\n', 2),
            b'r' => ('\r', 2),
            b't' => ('\t', 2),
            b'u' => unescape_unicode(rest),
            other => (char::from(other), 2),
        };
        out.push(character);
        rest = &rest[len..];
    }
    out.push_str(rest);
    out
}

fn unescape_unicode(text: &str) -> (char, usize) {
    let unit = |at: usize| -> Option<u32> {
        let escape = text.get(at..at + 6)?;
        u32::from_str_radix(escape.strip_prefix("\\u")?, 16).ok()
    };
    let first = unit(0).unwrap_or(0xFFFD);
    if let 0xD800..0xDC00 = first
        && let Some(second @ 0xDC00..0xE000) = unit(6)
    {
        let joined = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        return (
            char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER),
            12,
        );
    }
    (
        char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER),
        6,
    )
}

impl Error {
    fn new(offset: usize, problem: Problem) -> Self {
        Self {
            offset,
            path: String::new(),
            problem,
        }
    }

    fn within_field(mut self, key: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') {
            ""
        } else {
            "."
        };
        // Keys of hostile bodies may be as long as the body.
        let key: String = key.chars().take(64).collect();
        self.path = format!("{key}{dot}{}", self.path);
        self
    }

    fn within_item(mut self, index: usize) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') {
            ""
        } else {
            "."
        };
        self.path = format!("[{index}]{dot}{}", self.path);
        self
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "`{}`: ", self.path.escape_debug())?;
        }
        match &self.problem {
            Problem::UnexpectedEnd => f.write_str("the text ends inside a value")?,
            Problem::Expected(what) => write!(f, "expected {what}")?,
            Problem::WrongType { expected, found } => {
                write!(f, "expected {expected}, found {found}")?;
            }
            Problem::ControlCharacter => f.write_str("control character inside a string")?,
            Problem::BadEscape => f.write_str("unknown escape sequence")?,
            Problem::TooDeep => write!(f, "values are nested deeper than {MAX_DEPTH}")?,
            Problem::TrailingCharacters => f.write_str("something follows the document")?,
        }
        write!(f, " (byte {})", self.offset)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Null => "null",
            Kind::Bool => "a boolean",
            Kind::Number => "a number",
            Kind::String => "a string",
            Kind::Array => "a list",
            Kind::Object => "an object",
        })
    }
}

/// Appends `text` to `out` as a JSON string, quotes included.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut from = 0;
    loop {
        let stop = plain_run(bytes, from);
        out.extend_from_slice(&bytes[from..stop]);
        match bytes.get(stop) {
            None => break,
            Some(b'\n') => out.extend_from_slice(b"\\n"),
            Some(b'\t') => out.extend_from_slice(b"\\t"),
            Some(b'\r') => out.extend_from_slice(b"\\r"),
            Some(&special @ (b'"' | b'\\')) => out.extend_from_slice(&[b'\\', special]),
            Some(&control) => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(control >> 4)]);
                out.push(HEX[usize::from(control & 15)]);
            }
        }
        from = stop + 1;
    }
    out.push(b'"');
}
