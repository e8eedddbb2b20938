//! Writing documents one after the other, so that the whole is again a text of documents.

use std::io::{self, Write};

use serde_json::Value;

use super::emit::{self, Layout};
use super::{Document, Parsed, Source};

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

/// Writes a stream of documents.
///
/// YAML documents are separated by `---`; JSON documents follow each other, which `kubectl` and
/// `jq` read as well.
pub struct Writer<'w, 's> {
    out: &'w mut dyn Write,
    format: Format,
    /// Whether something was written, and if so, whether it ended with a line feed.
    complete: Option<bool>,
    /// The source, and the place in it, up to which everything was written as it stands there.
    followed: Option<(&'s Source, usize)>,
}

impl<'w, 's> Writer<'w, 's> {
    /// A writer of documents in one format.
    pub fn new(out: &'w mut dyn Write, format: Format) -> Self {
        Self {
            out,
            format,
            complete: None,
            followed: None,
        }
    }

    /// Writes a stretch of a source that holds no value, if the format has comments.
    ///
    /// # Errors
    /// Those of the output.
    pub fn nothing(&mut self, source: &'s Source, document: &Document) -> io::Result<()> {
        match (self.format, document.format) {
            (Format::Yaml, Format::Yaml) => self.text(source.text(document), source, document),
            _ => Ok(()),
        }
    }

    /// Writes a document, with another value if there is one. Returns whether its text had to be
    /// written anew for that, without its comments.
    ///
    /// # Errors
    /// Those of the output.
    pub fn document(
        &mut self,
        source: &'s Source,
        document: &Document,
        parsed: &Parsed,
        changed: Option<&Value>,
    ) -> io::Result<bool> {
        if self.format != document.format {
            self.value(changed.unwrap_or(&parsed.value))?;
            return Ok(false);
        }
        let Some(value) = changed else {
            self.text(source.text(document), source, document)?;
            return Ok(false);
        };
        let (text, anew) = source.rewritten(document, parsed, value);
        self.text(&text, source, document)?;
        Ok(anew)
    }

    /// Writes a value as compact JSON on a line of its own.
    ///
    /// # Errors
    /// Those of the output.
    pub fn line(&mut self, value: &Value) -> io::Result<()> {
        writeln!(self.out, "{value}")
    }

    fn value(&mut self, value: &Value) -> io::Result<()> {
        let text = match self.format {
            Format::Yaml => emit::document(value, Layout::default()),
            Format::Json => emit::pretty_json(value, "    ") + "\n",
        };
        self.separate(&text)?;
        self.followed = None;
        self.write(&text)
    }

    /// Writes the text of a document, or what became of it.
    fn text(&mut self, text: &str, source: &'s Source, document: &Document) -> io::Result<()> {
        let follows = self
            .followed
            .is_some_and(|(last, end)| std::ptr::eq(last, source) && end == document.range.start);
        self.followed = Some((source, document.range.end));
        if follows {
            return self.write(text);
        }
        if source.marked && document.range.start == 0 && self.complete.is_none() {
            self.write("\u{feff}")?;
            return self.write(text);
        }
        // What separated it from a document that was left out.
        let text = if self.format == Format::Json {
            text.trim_start()
        } else {
            text
        };
        self.separate(text)?;
        self.write(text)
    }

    /// Ends the document before, if the text needs that.
    fn separate(&mut self, text: &str) -> io::Result<()> {
        let Some(complete) = self.complete else {
            return Ok(());
        };
        if !complete {
            self.write("\n")?;
        }
        if self.format == Format::Yaml && !text.starts_with("---") {
            self.write("---\n")?;
        }
        Ok(())
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.complete = Some(text.ends_with('\n'));
        self.out.write_all(text.as_bytes())
    }
}
