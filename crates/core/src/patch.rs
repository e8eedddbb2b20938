//! RFC 6902 JSON Patch, restricted to what is ever sent: `add`, and `replace` of a leaf.
//!
//! There is no `remove`, and no `replace` of anything that can hold a field we don't know, so that
//! losing a user's field can't be written down.

use crate::json::write_string;

/// Room for the patch of a pod with one container, in bytes; most need no more.
const USUAL_SIZE: usize = 4 * 1024;

/// A JSON Patch document under construction, already in its wire form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patch {
    text: Vec<u8>,
    ops: usize,
}

/// The parts of a JSON Pointer (RFC 6901).
#[derive(Debug, Clone, Copy)]
pub enum Part {
    /// Text that needs no escaping, with its leading slash.
    Fixed(&'static str),
    /// A key that may need escaping.
    Key(&'static str),
    /// A list index.
    Index(usize),
    /// The place behind the last element of a list.
    End,
}

impl Patch {
    /// Adds a member or list element; `value` writes its JSON.
    pub fn add(&mut self, pointer: &[Part], value: impl FnOnce(&mut Vec<u8>)) {
        self.op(b"add", pointer, value);
    }

    /// Replaces a leaf: a member that is no object and no list.
    pub fn replace_leaf(&mut self, pointer: &[Part], value: impl FnOnce(&mut Vec<u8>)) {
        self.op(b"replace", pointer, value);
    }

    /// Sets a string member that is there already (`replace`) or not.
    pub fn set_string(&mut self, pointer: &[Part], replace: bool, value: &str) {
        let op: &[u8] = if replace { b"replace" } else { b"add" };
        self.op(op, pointer, |out| write_string(out, value));
    }

    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.ops == 0
    }

    /// The number of operations.
    pub fn len(&self) -> usize {
        self.ops
    }

    /// The length of the patch as JSON text.
    pub fn bytes(&self) -> usize {
        self.text.len() + 2
    }

    /// The patch as JSON text; `[]` if there is nothing to change.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text.len() + 2);
        self.write_json(&mut out);
        out
    }

    /// Appends the patch as JSON text.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        out.extend_from_slice(&self.text);
        out.push(b']');
    }

    fn op(&mut self, op: &[u8], pointer: &[Part], value: impl FnOnce(&mut Vec<u8>)) {
        let out = &mut self.text;
        if self.ops > 0 {
            out.push(b',');
        } else {
            out.reserve(USUAL_SIZE);
        }
        self.ops += 1;
        out.extend_from_slice(b"{\"op\":\"");
        out.extend_from_slice(op);
        out.extend_from_slice(b"\",\"path\":\"");
        for part in pointer {
            match part {
                Part::Fixed(text) => out.extend_from_slice(text.as_bytes()),
                Part::Key(key) => {
                    out.push(b'/');
                    for byte in key.bytes() {
                        match byte {
                            b'~' => out.extend_from_slice(b"~0"),
                            b'/' => out.extend_from_slice(b"~1"),
                            other => out.push(other),
                        }
                    }
                }
                Part::Index(index) => {
                    out.push(b'/');
                    out.extend_from_slice(itoa::Buffer::new().format(*index).as_bytes());
                }
                Part::End => out.extend_from_slice(b"/-"),
            }
        }
        out.extend_from_slice(b"\",\"value\":");
        value(out);
        out.push(b'}');
    }
}
