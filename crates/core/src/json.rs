//! A pull reader over JSON text that borrows from it and allocates nothing for what the caller
//! skips.
//!
//! The admission path reads each review exactly once, keeps a few dozen fields and steps over the
//! rest. A general deserializer would walk the object twice (once to find its end, once to decode
//! it) or build values that nobody looks at. The reader accepts what RFC 8259 accepts and nothing
//! else; in values that are skipped too. Its readings follow Go's `encoding/json`, because the API
//! server and every existing client speak through that: `null` where an object or list is expected
//! counts as absent, and of repeated keys the last one wins.

mod error;
mod string;

use std::borrow::Cow;

pub use error::{Error, Kind, Problem};
pub use string::write_string;

use string::{escape_len, plain_run, unescape};

/// Text borrowed from the request, or owned where it contained escapes.
pub type Str<'a> = Cow<'a, str>;

/// The result of reading. The error is boxed: results are passed on from every value of a pod, and
/// errors are rare.
pub type Result<T, E = Box<Error>> = std::result::Result<T, E>;

/// How deep values may nest. Kubernetes objects stay below 50; the bound keeps hostile bodies
/// cheap.
pub const MAX_DEPTH: usize = 1024;

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

    /// How many bytes have been read.
    pub fn offset(&self) -> usize {
        self.at
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
            _ => Err(self.unexpected("a value")),
        }
    }

    /// Reads an object, calling `field` with each key; `field` must read or [`skip`](Self::skip)
    /// the value. `null` reads as an object without fields.
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
            let mut at_key = Reader { ..*self };
            let key = self.key()?;
            if let Err(error) = entry(self, key) {
                return Err(error.within_field(&at_key.key()?));
            }
            if !self.goes_on(b'}', "`,` or `}`")? {
                return Ok(());
            }
        }
    }

    /// Reads a list, calling `item` with each index; `item` must read or skip the value. `null`
    /// reads as empty.
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
        if self.byte() == Some(b'"') {
            return self.string_value().map(Some);
        }
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
            _ => Err(self.unexpected("a value")),
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

    #[inline]
    fn at_key(&mut self) -> Result<()> {
        self.skip_space();
        match self.byte() {
            Some(b'"') => Ok(()),
            _ => Err(self.unexpected("a key in quotes")),
        }
    }

    #[inline]
    fn colon(&mut self) -> Result<()> {
        self.skip_space();
        match self.byte() {
            Some(b':') => {
                self.at += 1;
                Ok(())
            }
            _ => Err(self.unexpected("`:`")),
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

    #[inline]
    fn closes(&mut self, close: u8) -> bool {
        self.skip_space();
        let closes = self.byte() == Some(close);
        self.at += usize::from(closes);
        closes
    }

    /// After an element: true at a comma, false at the closing byte.
    #[inline]
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
            _ => Err(self.unexpected(expected)),
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
    #[inline]
    fn string_end(&mut self) -> Result<bool> {
        let bytes = self.text.as_bytes();
        let at = plain_run(bytes, self.at + 1);
        if bytes.get(at) == Some(&b'"') {
            self.at = at + 1;
            return Ok(false);
        }
        self.escaped_end(at).map(|()| true)
    }

    /// The rest of [`string_end`](Self::string_end), from the first byte that isn't plain.
    #[inline(never)]
    fn escaped_end(&mut self, mut at: usize) -> Result<()> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    at += escape_len(&bytes[at..]).map_err(|problem| Error::new(at, problem))?;
                }
                Some(_) => return Err(Error::new(at, Problem::ControlCharacter)),
                None => return Err(Error::new(at, Problem::UnexpectedEnd)),
            }
            at = plain_run(bytes, at);
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
        Err(self.unexpected("a digit"))
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

    /// Machines write no space, so the common case is one comparison.
    #[inline]
    fn skip_space(&mut self) {
        while let Some(byte) = self.byte()
            && byte <= b' '
            && matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
        {
            self.at += 1;
        }
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte isn't what has to follow.
    #[cold]
    fn unexpected(&self, expected: &'static str) -> Box<Error> {
        self.error(match self.byte() {
            Some(_) => Problem::Expected(expected),
            None => Problem::UnexpectedEnd,
        })
    }

    #[cold]
    fn wrong_type(&self, expected: &'static str, found: Kind) -> Box<Error> {
        self.error(Problem::WrongType { expected, found })
    }

    fn error(&self, problem: Problem) -> Box<Error> {
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
