//! Patches applied by an engine that shares no code with the one that makes them.

use datakit_operator_core::patch::Patch;
use serde_json::Value;

/// The value with a patch applied; none if it does not fit, which would be a defect.
#[must_use]
pub fn apply(value: &Value, patch: &Patch) -> Option<Value> {
    let patch: json_patch::Patch = serde_json::from_slice(&patch.to_json()).ok()?;
    let mut value = value.clone();
    json_patch::patch(&mut value, &patch).ok()?;
    Some(value)
}
