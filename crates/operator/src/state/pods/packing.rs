//! A pod's texts, compressed with what most pods have in common.
//!
//! Pods of a cluster are alike: with a dictionary of a few of them, one takes a twelfth of its text
//! instead of a third (docs/performance.md). The dictionary is those pods' text as it is: a trained
//! one gains another hundredth, for a second of work.

use std::fmt;
use std::sync::Arc;

use datakit_operator_core::pods::View;
use zstd_safe::{CCtx, CDict, DCtx, DDict, compress_bound, get_error_name};

/// How much effort goes into it: the next levels take three times as long for a tenth less.
const LEVEL: i32 = 3;
/// What a pod takes beside its compressed texts, in bytes: its names, its place in the store, and
/// what the allocator adds.
const BESIDE: usize = 256;

/// What pods have in common.
pub struct Dictionary {
    pack: CDict<'static>,
    unpack: DDict<'static>,
}

impl Dictionary {
    /// Texts that pods are alike.
    #[must_use]
    pub fn new(text: &[u8]) -> Option<Self> {
        Some(Self {
            pack: CDict::try_create(text, LEVEL)?,
            unpack: DDict::try_create(text)?,
        })
    }
}

impl fmt::Debug for Dictionary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Dictionary({} bytes)", self.unpack.sizeof())
    }
}

/// A pod as it is kept: two views of it. A clone is the same memory.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The trimmed view, and behind it the full one.
    bytes: Arc<[u8]>,
    /// Where the full one begins.
    full_at: u32,
    /// How long they are when they are unpacked.
    trimmed: u32,
    full: u32,
    dictionary: Arc<Dictionary>,
}

impl Packed {
    /// How long a view is, in bytes.
    #[must_use]
    pub fn length(&self, view: View) -> usize {
        match view {
            View::Full => self.full as usize,
            View::EbpfV1 => self.trimmed as usize,
        }
    }

    /// What it takes of memory, in bytes, all in all.
    #[must_use]
    pub fn takes(&self) -> usize {
        self.bytes.len() + BESIDE
    }

    /// Whether it was packed with this one.
    pub(super) fn is_packed_with(&self, dictionary: &Arc<Dictionary>) -> bool {
        Arc::ptr_eq(&self.dictionary, dictionary)
    }

    fn frame(&self, view: View) -> &[u8] {
        let (trimmed, full) = self.bytes.split_at(self.full_at as usize);
        match view {
            View::Full => full,
            View::EbpfV1 => trimmed,
        }
    }
}

/// A pod couldn't be packed or unpacked: there is no memory, or a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to {doing} the pods: {why}")]
pub struct PackError {
    doing: &'static str,
    why: &'static str,
}

impl PackError {
    pub(super) const NO_MEMORY: Self = Self {
        doing: "prepare for",
        why: "no memory",
    };
}

/// Packs and unpacks, one pod at a time.
pub struct Packer {
    pack: CCtx<'static>,
    unpack: DCtx<'static>,
    packed: Vec<u8>,
}

impl Packer {
    /// Ready to pack.
    ///
    /// # Errors
    ///
    /// If there is no memory.
    pub fn new() -> Result<Self, PackError> {
        let missing = PackError::NO_MEMORY;
        Ok(Self {
            pack: CCtx::try_create().ok_or(missing)?,
            unpack: DCtx::try_create().ok_or(missing)?,
            packed: Vec::new(),
        })
    }

    /// Packs the two views of a pod.
    ///
    /// # Errors
    ///
    /// If there is no memory.
    pub fn pack(
        &mut self,
        full: &str,
        trimmed: &str,
        dictionary: &Arc<Dictionary>,
    ) -> Result<Packed, PackError> {
        let fail = |why| PackError { doing: "pack", why };
        let length = |text: &str| u32::try_from(text.len()).map_err(|_| fail("it is too long"));
        let (trimmed_length, full_length) = (length(trimmed)?, length(full)?);
        let room = compress_bound(trimmed.len()) + compress_bound(full.len());
        if self.packed.len() < room {
            self.packed.resize(room, 0);
        }
        let mut filled = 0;
        let mut full_at = 0;
        for text in [trimmed, full] {
            full_at = filled;
            let Some(rest) = self.packed.get_mut(filled..) else {
                return Err(fail("it is too long"));
            };
            let bytes = text.as_bytes();
            let packed = self
                .pack
                .compress_using_cdict(rest, bytes, &dictionary.pack);
            filled += packed.map_err(|code| fail(get_error_name(code)))?;
        }
        let bytes = self.packed.get(..filled).unwrap_or_default().into();
        Ok(Packed {
            bytes,
            full_at: u32::try_from(full_at).map_err(|_| fail("it is too long"))?,
            trimmed: trimmed_length,
            full: full_length,
            dictionary: Arc::clone(dictionary),
        })
    }

    /// Appends a view of a pod.
    ///
    /// # Errors
    ///
    /// If there is no memory.
    pub fn unpack(&mut self, pod: &Packed, view: View, out: &mut Vec<u8>) -> Result<(), PackError> {
        let fail = |why| PackError {
            doing: "unpack",
            why,
        };
        let from = out.len();
        out.resize(from + pod.length(view), 0);
        let room = out.get_mut(from..).unwrap_or_default();
        let dictionary = &pod.dictionary.unpack;
        let unpacked = self
            .unpack
            .decompress_using_ddict(room, pod.frame(view), dictionary);
        match unpacked {
            Ok(length) if length == pod.length(view) => Ok(()),
            Ok(_) => Err(fail("it has another length")),
            Err(code) => Err(fail(get_error_name(code))),
        }
    }
}

impl fmt::Debug for Packer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Packer(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_as_it_was() {
        let mut packer = Packer::new().unwrap();
        let text = |number: u32| {
            format!(
                r#"{{"metadata":{{"name":"web-{number}"}},"spec":"{}"}}"#,
                "x".repeat(300)
            )
        };
        let none = Arc::new(Dictionary::new(b"").unwrap());
        let some = Arc::new(Dictionary::new(text(1).as_bytes()).unwrap());
        let mut out = b"[".to_vec();
        for dictionary in [&none, &some] {
            for (full, trimmed) in [(text(7).as_str(), "{}"), ("", "")] {
                let pod = packer.pack(full, trimmed, dictionary).unwrap();
                assert!(pod.is_packed_with(dictionary));
                for (view, expected) in [(View::Full, full), (View::EbpfV1, trimmed)] {
                    out.truncate(1);
                    packer.unpack(&pod, view, &mut out).unwrap();
                    assert_eq!(out, format!("[{expected}").into_bytes());
                }
            }
        }
        let (with, without) = (
            packer.pack(&text(7), "{}", &some).unwrap(),
            packer.pack(&text(7), "{}", &none).unwrap(),
        );
        assert!(with.takes() < without.takes());
    }
}
