//! Text from strangers where people look at it: in a log, on a terminal.
//!
//! What has no shape of its own can end a line, control a terminal, reorder what it shows or hide
//! in a name that looks like another one. Such characters are shown by their number.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::LazyLock;

use regex_syntax::hir::{Class, HirKind};

/// What has no shape: control characters, formats, unassigned and private ones (`C`), blanks other
/// than the one that is meant (`Z`), what Unicode says is to be shown as nothing (tags, variation
/// selectors, fillers), and a Braille pattern without dots.
const SHAPELESS: &str = r"[[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u{2800}]--[ ]]";

/// First and last characters.
type Ranges = Box<[(char, char)]>;

/// The characters of [`SHAPELESS`] as ranges in ascending order, from the Unicode tables that
/// regular expressions use.
static RANGES: LazyLock<Option<Ranges>> = LazyLock::new(|| {
    let parsed = regex_syntax::parse(SHAPELESS).ok()?;
    match parsed.kind() {
        HirKind::Class(Class::Unicode(class)) => {
            let ranges = class.iter().map(|range| (range.start(), range.end()));
            Some(ranges.collect())
        }
        _ => None,
    }
});

/// Whether a character can be seen, and is only what it looks like. Of the blanks, only the
/// ordinary one.
#[must_use]
pub fn is_visible(character: char) -> bool {
    if character.is_ascii() {
        return !character.is_ascii_control();
    }
    // Without the tables nothing is known of the others.
    RANGES.as_ref().is_some_and(|ranges| {
        let at = ranges.partition_point(|(_, end)| *end < character);
        ranges.get(at).is_none_or(|(start, _)| character < *start)
    })
}

/// Whether all of it is ASCII that can be seen, as most names are. Eight bytes at a time.
fn is_plain(text: &str) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let (chunks, rest) = text.as_bytes().as_chunks::<8>();
    let all_plain = |chunk: &[u8; 8]| {
        let chunk = u64::from_ne_bytes(*chunk);
        // The top bit of a byte says that it isn't ASCII; adding one brings it to a delete
        // character, and a byte below a blank borrows into it.
        let below = chunk.wrapping_sub(ONES * 0x20) & !chunk;
        (chunk | chunk.wrapping_add(ONES) | below) & HIGHS == 0
    };
    chunks.iter().all(all_plain) && rest.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

/// The text with every invisible character written as in Rust: `\u{202e}`, `\n`.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let Some(first) = text.find(|character| !is_visible(character)) else {
        return Cow::Borrowed(text);
    };
    let mut shown = text[..first].to_owned();
    for character in text[first..].chars() {
        if is_visible(character) {
            shown.push(character);
        } else {
            shown.extend(character.escape_default());
        }
    }
    Cow::Owned(shown)
}

/// Writes text for people: lines, and in them only what can be seen.
#[derive(Debug)]
pub struct Visible<W>(pub W);

impl<W: Write> Write for Visible<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Formatting hands over whole characters.
        let text = String::from_utf8_lossy(bytes);
        for line in text.split_inclusive('\n') {
            let (line, end) = match line.strip_suffix('\n') {
                Some(line) => (line, "\n"),
                None => (line, ""),
            };
            self.0.write_all(visible(line).as_bytes())?;
            self.0.write_all(end.as_bytes())?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_seen() {
        for character in " ~aé中あ한אعก€…→🦀Ω\u{301}".chars() {
            assert!(is_visible(character), "{character:?}");
        }
    }

    #[test]
    fn what_can_not_be_seen() {
        for character in [
            '\0',
            '\u{7f}',
            '\u{85}',
            '\u{a0}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{1160}',
            '\u{17b4}',
            '\u{180b}',
            '\u{180e}',
            '\u{2000}',
            '\u{200b}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{202f}',
            '\u{2060}',
            '\u{2064}',
            '\u{2065}',
            '\u{2066}',
            '\u{2069}',
            '\u{206a}',
            '\u{2800}',
            '\u{3000}',
            '\u{3164}',
            '\u{e000}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff0}',
            '\u{fff9}',
            '\u{ffff}',
            '\u{110bd}',
            '\u{1bca0}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e0061}',
            '\u{e0100}',
            '\u{f0000}',
            '\u{10ffff}',
        ] {
            assert!(!is_visible(character), "{character:?}");
        }
    }

    /// Whoever wrote the standard library looked at it on their own: what it escapes for being no
    /// graphic character is escaped here, too. It also escapes marks that combine with the
    /// character before them, and its tables may know other characters than ours.
    #[test]
    fn nothing_that_the_standard_library_escapes_is_shown() {
        let parsed = regex_syntax::parse(r"[\p{Cn}\p{Grapheme_Extend}]").unwrap();
        let HirKind::Class(Class::Unicode(spared)) = parsed.kind() else {
            panic!("{parsed:?}");
        };
        let is_spared = |character: char| {
            let mut ranges = spared.iter();
            ranges.any(|range| (range.start()..=range.end()).contains(&character))
        };
        let differ: Vec<char> = ('\u{80}'..=char::MAX)
            .filter(|character| character.escape_debug().count() > 1 && is_visible(*character))
            .filter(|character| !is_spared(*character))
            .collect();
        assert!(
            differ.is_empty(),
            "{}: {:?}",
            differ.len(),
            &differ[..differ.len().min(20)]
        );
    }

    #[test]
    fn plain_text() {
        for character in (0..=0x100).filter_map(char::from_u32) {
            let is_seen = character.is_ascii() && is_visible(character);
            for at in 0..20 {
                let text = format!("{}{character}{}", "a".repeat(at), "~ ".repeat(5));
                assert_eq!(is_plain(&text), is_seen, "{text:?}");
            }
        }
    }

    #[test]
    fn texts() {
        assert!(matches!(visible("web-1 é"), Cow::Borrowed(_)));
        let mut written = Visible(Vec::new());
        write!(written, "web\u{1b}[1m\nb\u{200b}\n\n").unwrap();
        let written = String::from_utf8(written.0).unwrap();
        assert_eq!(written, "web\\u{1b}[1m\nb\\u{200b}\n\n");
        assert_eq!(
            visible("a\u{202e}b\n\u{fe0f}c\\"),
            "a\\u{202e}b\\n\\u{fe0f}c\\"
        );
    }
}
