//! The JSON Schema of the document, from the same tables of keys that it is read by.
//!
//! It takes what is read without a word. What is read with a warning (keys in another case, unknown
//! keys, repeated ones) it refuses, or doesn't see: it is for editors and checks before a document
//! is used.

use serde_json::{Map, Value, json};

use super::document::ROOT;
use super::keys::{Key, Kind};
use super::policy;

/// See [`Config::schema`](super::Config::schema).
pub(super) fn schema() -> Value {
    let mut definitions = Map::new();
    let mut properties = properties(&ROOT, &mut definitions);
    // In the policy null isn't as good as no key: it allows nothing.
    if let Some(policy) = properties.get_mut(policy::KEY) {
        without_null(&mut policy["properties"]);
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of datakit-operator",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "definitions": definitions,
    })
}

/// Objects that stand in many places.
const DEFINED: [&str; 3] = ["resources", "security_context", "envs"];

fn properties(keys: &[Key], definitions: &mut Map<String, Value>) -> Map<String, Value> {
    let entries = keys.iter().map(|key| {
        let of_kind = of_kind(key.kind, definitions);
        let mut schema = if DEFINED.contains(&key.name) {
            definitions.insert(key.name.to_owned(), of_kind);
            // Draft 7 ignores what stands beside a reference.
            let reference = json!({ "$ref": format!("#/definitions/{}", key.name) });
            json!({ "allOf": [reference] })
        } else {
            of_kind
        };
        if !key.about.is_empty() {
            schema["description"] = key.about.into();
        }
        if let Ok(default) = serde_json::from_str::<Value>(key.default) {
            schema["default"] = default;
        }
        (key.name.to_owned(), schema)
    });
    entries.collect()
}

fn of_kind(kind: Kind, definitions: &mut Map<String, Value>) -> Value {
    match kind {
        Kind::Bool => json!({ "type": ["boolean", "null"] }),
        Kind::Whole { least, most } => {
            json!({ "type": ["integer", "null"], "minimum": least, "maximum": most })
        }
        Kind::Text => json!({ "type": ["string", "null"] }),
        Kind::Listen => json!({ "type": ["string", "null"], "pattern": "^$|:[0-9]{1,5}$" }),
        Kind::Image => json!({ "type": ["string", "null"], "pattern": "^[^ \\t\\r\\n]*$" }),
        Kind::Quantity => json!({ "type": ["string", "number", "null"], "pattern": QUANTITY }),
        Kind::Choice(words) => {
            let words = words().into_iter().map(Value::from);
            let all = words.chain([Value::from(""), Value::Null]);
            json!({ "enum": all.collect::<Vec<Value>>() })
        }
        Kind::Texts => json!({ "type": ["array", "null"], "items": { "type": "string" } }),
        Kind::Variables => json!({
            "type": ["object", "null"],
            "propertyNames": { "pattern": "^[-._A-Za-z][-._A-Za-z0-9]*$" },
            "additionalProperties": { "type": "string" },
        }),
        Kind::Object(keys) => object(keys, &json!(["object", "null"]), definitions),
        Kind::Objects(keys) => {
            let items = object(keys, &json!("object"), definitions);
            json!({ "type": ["array", "null"], "items": items })
        }
        Kind::Rules(keys) => {
            let mut items = object(keys, &json!("object"), definitions);
            items["anyOf"] = json!([
                { "required": ["namespace_selectors"] },
                { "required": ["label_selectors"] },
            ]);
            json!({ "type": ["array", "null"], "items": items })
        }
    }
}

fn object(keys: &[Key], types: &Value, definitions: &mut Map<String, Value>) -> Value {
    let needed = keys.iter().filter(|key| key.is_needed);
    let needed: Vec<&str> = needed.map(|key| key.name).collect();
    let mut schema = json!({
        "type": types,
        "properties": properties(keys, definitions),
        "additionalProperties": false,
    });
    if !needed.is_empty() {
        schema["required"] = needed.into();
    }
    schema
}

fn without_null(schema: &mut Value) {
    for (keyword, inside) in schema.as_object_mut().into_iter().flatten() {
        match inside {
            Value::Array(types) if keyword == "type" => types.retain(|name| name != "null"),
            inside => without_null(inside),
        }
    }
}

/// A Kubernetes quantity, or nothing.
const QUANTITY: &str =
    "^$|^\\+?([0-9]+\\.?[0-9]*|\\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$";
