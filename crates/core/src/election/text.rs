//! Names that people will see: in a terminal, in a log.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The first character that can't be seen, moves what is around it, or steers a terminal; and the
/// byte it is at.
///
/// These are the control, format and separator characters of Unicode 16 (categories Cc, Cf, Zl and
/// Zp), and those that are drawn as nothing: fillers, variation selectors, the blank of Braille.
pub fn unprintable(text: &str) -> Option<(usize, char)> {
    // Without a branch for each byte: names are short, but there are hundreds in a poll.
    let plain = text
        .bytes()
        .fold(true, |plain, byte| plain & (byte.wrapping_sub(b' ') < 0x5f));
    if plain {
        return None;
    }
    text.char_indices().find(|(_, c)| is_unprintable(*c))
}

/// The text with such characters written as `\u{202e}`.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if unprintable(text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unprintable(c) {
            let _ = write!(escaped, "{}", c.escape_unicode());
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_and_what_is_not() {
        for plain in ["", "node-1", "a b", "节点-1", "é", "e\u{301}", "🐕", "~"] {
            assert_eq!(unprintable(plain), None, "{plain}");
            assert_eq!(escaped(plain), plain);
        }
        for (text, at, shown) in [
            ("a\u{1b}[2J", 1, r"a\u{1b}[2J"),
            ("\u{202e}a", 0, r"\u{202e}a"),
            ("a\u{7f}", 1, r"a\u{7f}"),
            ("\u{e9}\u{9b}", 2, "\u{e9}\\u{9b}"),
            ("a\u{2028}b", 1, r"a\u{2028}b"),
            ("a\u{e0041}", 1, r"a\u{e0041}"),
            ("a\nb", 1, r"a\u{a}b"),
            ("a\u{200d}b", 1, r"a\u{200d}b"),
        ] {
            assert_eq!(unprintable(text).map(|(at, _)| at), Some(at), "{shown}");
            assert_eq!(escaped(text), shown);
        }
    }
}
