//! Deterministic mutations of seeds: what an ordinary test runs in place of a fuzzer.

/// Pieces that mean something to one of the readers.
const WORDS: &[&str] = &[
    "null",
    "true",
    "0",
    "-1",
    "1e999",
    "\"\"",
    "[]",
    "{}",
    ",",
    ":",
    "\"",
    "\\u0000",
    "\\ud800",
    "\u{202e}",
    "\0",
    "\n",
    "\n---\n",
    "&a ",
    "*a",
    "<<: ",
    "!!str ",
    "- ",
    "# ",
    "|\n",
    "'",
    "$(A)",
    "$$(A)",
    "/",
    "~1",
    "*",
    "admission.datakit/java-lib.version",
    "spec",
    "containers",
    "env",
    "volumeMounts",
    "\r\n",
    "Transfer-Encoding: chunked\r\n",
    "0\r\n\r\n",
];

/// The longest mutated input, in bytes.
const LONGEST: usize = 64 * 1024;

/// Numbers that look random and are the same in every run (splitmix64).
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// Numbers that depend on this one only.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `end`; 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        if end == 0 {
            0
        } else {
            (mixed % end as u64) as usize
        }
    }
}

/// A seed with a few changes: bytes, stretches that go, come twice or come from another seed, and
/// words.
#[must_use]
pub fn mutated(seed: &[u8], other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(bytes.len() + 1);
        let end = (at + numbers.below(24)).min(bytes.len());
        match numbers.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            3 => {
                let from = numbers.below(other.len());
                let to = (from + numbers.below(64)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            4 => bytes.truncate(at.max(1)),
            _ => {
                let word = WORDS[numbers.below(WORDS.len())];
                bytes.splice(at..end, word.bytes());
            }
        }
    }
    bytes.truncate(LONGEST);
    bytes
}
