//! What pods are told of themselves: `admission_status`.

use super::keys::{Key, Kind};
use super::reader::{Reader, Section};
use super::tree::Node;

/// The key in the document.
pub(super) const KEY: &str = "admission_status";
/// Its only key.
pub(super) const ANNOTATION: &str = "annotation";
/// The same as a table.
pub(super) static KEYS: [Key; 1] = [Key::new(
    ANNOTATION,
    Kind::Bool,
    "whether pods get [an annotation that says what was decided](injection.md#the-status-of-a-pod)",
)
.or("true")];

/// What pods are told of themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Whether an annotation says what was decided about a pod.
    pub annotation: bool,
}

impl Default for Status {
    fn default() -> Self {
        Self { annotation: true }
    }
}

pub(super) fn read(reader: &mut Reader, root: &Section<'_>) -> Status {
    let section = reader.object(root, KEY, &KEYS);
    let mut status = Status::default();
    match section.get(ANNOTATION) {
        None => {}
        Some(Node::Bool(value)) => status.annotation = *value,
        Some(other) => reader.wrong_kind(&section.path(ANNOTATION), "true or false", other),
    }
    status
}
