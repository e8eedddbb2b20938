//! The answer to a poll, encoded once and shared by all equal answers of one agent.

use std::sync::Arc;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::json::write_string;

use super::InputId;

/// The inputs that an agent may run: sorted by name, none twice.
#[derive(Debug, PartialEq, Eq)]
pub struct Allowed {
    names: Box<[Arc<str>]>,
    json: Box<[u8]>,
    /// The same inputs by number, ascending.
    ids: Box<[InputId]>,
}

impl Allowed {
    pub(super) fn new(mut inputs: Vec<(Arc<str>, InputId)>) -> Self {
        inputs.sort_unstable();
        let mut json = Vec::with_capacity(24 + 16 * inputs.len());
        json.extend_from_slice(br#"{"allowed_inputs":["#);
        for (at, (name, _)) in inputs.iter().enumerate() {
            if at > 0 {
                json.push(b',');
            }
            write_string(&mut json, name);
        }
        json.extend_from_slice(b"]}");
        let mut ids: Box<[InputId]> = inputs.iter().map(|(_, id)| *id).collect();
        ids.sort_unstable();
        Self {
            names: inputs.into_iter().map(|(name, _)| name).collect(),
            json: json.into(),
            ids,
        }
    }

    /// The inputs' names, ascending.
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// The body of the answer: `{"allowed_inputs":["mysql"]}`.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    pub(super) fn ids(&self) -> &[InputId] {
        &self.ids
    }
}

impl Serialize for Allowed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Allowed", 1)?;
        let names: Vec<&str> = self.inputs().collect();
        out.serialize_field("allowed_inputs", &names)?;
        out.end()
    }
}
