//! One log line: a time, a level, a message and keys with values, as text or as JSON.
//!
//! Values come from strangers (a pod's name, a header), so they are cut at a length, and whatever
//! could end a line, fake a key or reorder what a terminal shows is escaped.

use std::io::Write as _;
use std::time::SystemTime;

use humantime::format_rfc3339_millis;
use tracing::Level;

use crate::clock;
use crate::visible::is_visible;

/// Longer values are cut here, in bytes, and end in `…`. Kubernetes names have up to 253 bytes.
const MAX_VALUE: usize = 512;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// `key=value` pairs, with quotes where a value needs them.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A line being written at the end of a buffer. Call [`Line::end`] last.
#[derive(Debug)]
pub struct Line<'b> {
    buffer: &'b mut Vec<u8>,
    format: Format,
}

impl<'b> Line<'b> {
    /// Starts a line with the keys that every line has: `time`, `level` and `msg`.
    pub fn start(
        buffer: &'b mut Vec<u8>,
        format: Format,
        time: SystemTime,
        level: Level,
        message: &str,
    ) -> Self {
        match format {
            Format::Text => buffer.extend_from_slice(b"time="),
            Format::Json => buffer.extend_from_slice(b"{\"time\":\""),
        }
        // Writing into a vector can't fail.
        let _ = write!(buffer, "{}", format_rfc3339_millis(clock::writable(time)));
        if format == Format::Json {
            buffer.push(b'"');
        }
        let mut line = Self { buffer, format };
        line.str("level", level_name(level));
        line.str("msg", message);
        line
    }

    /// Adds a text value.
    pub fn str(&mut self, key: &str, value: &str) {
        self.pieces(key, &[value]);
    }

    /// Adds a text value that is the given pieces joined.
    pub fn pieces(&mut self, key: &str, pieces: &[&str]) {
        self.key(key);
        let bare = self.format == Format::Text && is_bare(pieces);
        if !bare {
            self.buffer.push(b'"');
        }
        let mut room = MAX_VALUE;
        for piece in pieces {
            let kept = cut(piece, room);
            if bare || is_plain(kept) {
                self.buffer.extend_from_slice(kept.as_bytes());
            } else {
                push_escaped(self.buffer, kept);
            }
            room -= kept.len();
            if kept.len() < piece.len() {
                self.buffer.extend_from_slice("…".as_bytes());
                break;
            }
        }
        if !bare {
            self.buffer.push(b'"');
        }
    }

    /// Adds a whole number.
    pub fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        push_number(self.buffer, value);
    }

    /// Adds `tenths / 10` as a decimal number with one digit after the point.
    pub fn tenths(&mut self, key: &str, tenths: u64) {
        self.number(key, tenths / 10);
        self.buffer
            .extend_from_slice(&[b'.', b'0' + (tenths % 10) as u8]);
    }

    /// Adds a truth value.
    pub fn bool(&mut self, key: &str, value: bool) {
        self.key(key);
        self.buffer
            .extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Ends the line.
    pub fn end(self) {
        self.buffer.extend_from_slice(match self.format {
            Format::Text => b"\n",
            Format::Json => b"}\n",
        });
    }

    /// Keys are our own words; they need no escaping.
    fn key(&mut self, key: &str) {
        match self.format {
            Format::Text => {
                self.buffer.push(b' ');
                self.buffer.extend_from_slice(key.as_bytes());
                self.buffer.push(b'=');
            }
            Format::Json => {
                self.buffer.extend_from_slice(b",\"");
                self.buffer.extend_from_slice(key.as_bytes());
                self.buffer.extend_from_slice(b"\":");
            }
        }
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// Whether the joined pieces can stand in a text line without quotes.
fn is_bare(pieces: &[&str]) -> bool {
    let total: usize = pieces.iter().map(|piece| piece.len()).sum();
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'\\');
    total > 0 && total <= MAX_VALUE && pieces.iter().all(|piece| piece.bytes().all(plain))
}

/// Whether the text needs no escaping between quotes: printable ASCII without the two that JSON
/// escapes.
fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'))
}

/// The longest prefix of at most `room` bytes that ends between characters.
fn cut(text: &str, room: usize) -> &str {
    &text[..text.floor_char_boundary(room)]
}

fn push_escaped(buffer: &mut Vec<u8>, text: &str) {
    for character in text.chars() {
        match character {
            '"' => buffer.extend_from_slice(b"\\\""),
            '\\' => buffer.extend_from_slice(b"\\\\"),
            '\n' => buffer.extend_from_slice(b"\\n"),
            '\r' => buffer.extend_from_slice(b"\\r"),
            '\t' => buffer.extend_from_slice(b"\\t"),
            character if is_visible(character) => {
                buffer.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            // As JSON has it: two of these for a character above U+FFFF.
            character => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    push_code(buffer, *unit);
                }
            }
        }
    }
}

fn push_code(buffer: &mut Vec<u8>, unit: u16) {
    buffer.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        let digit = (unit >> shift & 0xf) as u8;
        buffer.push(if digit < 10 {
            b'0' + digit
        } else {
            b'a' + digit - 10
        });
    }
}

fn push_number(buffer: &mut Vec<u8>, value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    buffer.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use expect_test::{Expect, expect};

    use super::*;

    fn check(format: Format, value: &str, want: &Expect) {
        let mut buffer = Vec::new();
        let mut line = Line::start(&mut buffer, format, UNIX_EPOCH, Level::INFO, "pod reviewed");
        line.str("key", value);
        line.number("n", 120);
        line.tenths("took", 73);
        line.bool("dry_run", false);
        line.end();
        let line = String::from_utf8(buffer).expect("lines are UTF-8");
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        if format == Format::Json {
            let parsed: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            assert!(value.starts_with(parsed["key"].as_str().expect("text").trim_end_matches('…')));
        }
        want.assert_eq(&line);
    }

    #[test]
    fn text() {
        let check = |value, want: Expect| check(Format::Text, value, &want);
        check(
            "web-1",
            expect![[r#"
            time=1970-01-01T00:00:00.000Z level=info msg="pod reviewed" key=web-1 n=120 took=7.3 dry_run=false
        "#]],
        );
        check(
            "",
            expect![[r#"
            time=1970-01-01T00:00:00.000Z level=info msg="pod reviewed" key="" n=120 took=7.3 dry_run=false
        "#]],
        );
        check(
            "a=b \"c\"\nlevel=error\u{202e}\u{7f}\u{85}é\\",
            expect![[r#"
            time=1970-01-01T00:00:00.000Z level=info msg="pod reviewed" key="a=b \"c\"\nlevel=error\u202e\u007f\u0085é\\" n=120 took=7.3 dry_run=false
        "#]],
        );
    }

    #[test]
    fn json() {
        let check = |value, want: Expect| check(Format::Json, value, &want);
        check(
            "web-1",
            expect![[r#"
            {"time":"1970-01-01T00:00:00.000Z","level":"info","msg":"pod reviewed","key":"web-1","n":120,"took":7.3,"dry_run":false}
        "#]],
        );
        check(
            "\"}\n\0é",
            expect![[r#"
            {"time":"1970-01-01T00:00:00.000Z","level":"info","msg":"pod reviewed","key":"\"}\n\u0000é","n":120,"took":7.3,"dry_run":false}
        "#]],
        );
    }

    #[test]
    fn what_can_not_be_seen_is_escaped() {
        // Each of these looks like `web-1` on a terminal.
        let hidden = "web\u{ad}-\u{e0061}1\u{fe0f}\u{3164}\u{2060}\u{2028}\u{e000}\u{f0000}";
        for format in [Format::Text, Format::Json] {
            let mut buffer = Vec::new();
            let mut line = Line::start(&mut buffer, format, UNIX_EPOCH, Level::INFO, "m");
            line.str("key", hidden);
            line.end();
            let line = String::from_utf8(buffer).expect("lines are UTF-8");
            let value = r#""web\u00ad-\udb40\udc611\ufe0f\u3164\u2060\u2028\ue000\udb80\udc00""#;
            assert!(line.contains(value), "{line}");
            if format == Format::Json {
                let parsed: serde_json::Value = serde_json::from_str(&line).expect("JSON");
                assert_eq!(parsed["key"], hidden);
            }
        }
    }

    #[test]
    fn any_clock_gives_a_line() {
        let day = std::time::Duration::from_secs(86_400);
        for (time, want) in [
            (UNIX_EPOCH - day, "1970-01-01T00:00:00.000Z"),
            (UNIX_EPOCH + day * 4_000_000, "9999-12-31T23:59:59.000Z"),
        ] {
            let mut buffer = Vec::new();
            Line::start(&mut buffer, Format::Text, time, Level::INFO, "m").end();
            let line = String::from_utf8(buffer).expect("lines are UTF-8");
            assert_eq!(line, format!("time={want} level=info msg=m\n"));
        }
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        for format in [Format::Text, Format::Json] {
            for (value, kept) in [
                ("x".repeat(600), MAX_VALUE),
                ("é".repeat(300), MAX_VALUE),
                ("x€".repeat(300), MAX_VALUE),
            ] {
                let mut buffer = Vec::new();
                let mut line = Line::start(&mut buffer, format, UNIX_EPOCH, Level::WARN, "m");
                line.pieces("key", &[&value, "never seen"]);
                line.end();
                let line = String::from_utf8(buffer).expect("cut between characters");
                let shown = line.split("key").nth(1).expect("the key");
                assert!(shown.contains('…') && !shown.contains("never"), "{line}");
                assert!(shown.len() <= kept + 16, "{} bytes", shown.len());
            }
        }
    }
}
