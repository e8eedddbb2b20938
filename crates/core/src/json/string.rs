//! The inside of JSON strings: finding their end, resolving and writing escapes.

use super::Problem;

/// The end of the run of bytes from `at` that are neither a quote, a backslash nor a control
/// character, eight at a time: strings make up most of a pod.
#[inline]
pub(super) fn plain_run(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let (chunks, rest) = bytes.get(at..).unwrap_or_default().as_chunks::<8>();
    for chunk in chunks {
        let chunk = u64::from_le_bytes(*chunk);
        // Flipping one bit brings the quote (0x22) down to 0x20, just above the control characters,
        // and the two bytes between them up. A byte of `low` below 0x21, or of `slash` at zero,
        // borrows into its top bit.
        let low = chunk ^ (ONES * 0x02);
        let slash = chunk ^ (ONES * b'\\' as u64);
        let stop = (low.wrapping_sub(ONES * 0x21) & !low) | (slash.wrapping_sub(ONES) & !slash);
        let stop = stop & HIGHS;
        if stop != 0 {
            return at + (stop.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    for byte in rest {
        if matches!(byte, b'"' | b'\\' | 0..0x20) {
            break;
        }
        at += 1;
    }
    at
}

/// The length of the escape sequence at the start of `bytes`, which is a backslash.
pub(super) fn escape_len(bytes: &[u8]) -> std::result::Result<usize, Problem> {
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
pub(super) fn unescape(raw: &str) -> String {
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
