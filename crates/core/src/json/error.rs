//! Why and where a text could not be read.

use std::fmt;

use super::MAX_DEPTH;

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

impl Error {
    #[cold]
    pub(super) fn new(offset: usize, problem: Problem) -> Box<Self> {
        Box::new(Self {
            offset,
            path: String::new(),
            problem,
        })
    }

    pub(super) fn within_field(mut self: Box<Self>, key: &str) -> Box<Self> {
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

    pub(super) fn within_item(mut self: Box<Self>, index: usize) -> Box<Self> {
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
