//! What tells one configuration from another.

use std::fmt;
use std::str;

/// So many hexadecimal digits: two configurations of one cluster don't have them in common, and
/// people can compare them.
const DIGITS: usize = 12;

/// What tells one configuration from another: the first hexadecimal digits of the SHA-256 of its
/// document, byte by byte as it was read. The deprecated environment variables don't count.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; DIGITS]);

impl Fingerprint {
    /// The fingerprint of a document with this SHA-256.
    #[must_use]
    pub fn of_sha256(digest: [u8; 32]) -> Self {
        let mut digits = [0; DIGITS];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(digest) {
            for (digit, value) in pair.iter_mut().zip([byte >> 4, byte & 0xf]) {
                *digit = b"0123456789abcdef"[usize::from(value)];
            }
        }
        Self(digits)
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_digits_of_the_digest() {
        let mut digest = [0xff; 32];
        digest[..7].copy_from_slice(&[0x00, 0x1f, 0x2e, 0x3d, 0x4c, 0xab, 0x77]);
        assert_eq!(Fingerprint::of_sha256(digest).as_str(), "001f2e3d4cab");
    }
}
