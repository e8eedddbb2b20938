//! What is refused when workloads are validated: `admission_validate`.
//!
//! Nothing is, unless somebody says so, and a mistake here refuses nothing: a workload that its
//! cluster wouldn't take is worse than one that runs without a feature.

use super::keys::{Key, Kind};
use super::reader::{Reader, Section};
use super::tree::Node;
use crate::code;
use crate::diagnostic::Diagnostic;

/// What is refused when workloads are validated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Validation {
    deny: Vec<&'static str>,
}

/// The key in the document.
pub(super) const KEY: &str = "admission_validate";
/// Its keys.
pub(super) static KEYS: [Key; 1] = [Key::new(
    "deny",
    Kind::Texts,
    "codes of [reasons and notes](injection.md#why-a-feature-was-skipped) for which a workload is refused",
)];

/// Codes of what its author has chosen or is told otherwise.
const WITHOUT_EFFECT: [&str; 2] = ["switched_off", "more"];

impl Validation {
    /// Whether a workload of which this is said is refused.
    pub fn denies(&self, code: &str) -> bool {
        self.deny.contains(&code)
    }

    /// The codes of reasons and notes for which a workload is refused, as they were written.
    pub fn codes(&self) -> &[&'static str] {
        &self.deny
    }
}

pub(super) fn read(reader: &mut Reader, root: &Section<'_>) -> Validation {
    let section = reader.object(root, KEY, &KEYS);
    let path = section.path("deny");
    let mut validation = Validation::default();
    let known = || code::REASONS.into_iter().chain(code::NOTES);
    for (index, item) in reader.array(&section, "deny").iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Node::String(text) = item else {
            reader.wrong_kind(&path, "a string", item);
            continue;
        };
        match known().find(|code| code == text) {
            None => reader.report(
                Diagnostic::error(
                    path,
                    "expected the code of a reason or note; refuses nothing",
                )
                .found(text)
                .suggest_like(text, known()),
            ),
            Some(code) if WITHOUT_EFFECT.contains(&code) => reader.report(
                Diagnostic::warning(path, "without effect: nobody is warned of it").found(code),
            ),
            Some(code) if validation.denies(code) => {}
            Some(code) => validation.deny.push(code),
        }
    }
    validation
}
