//! Laws about manifests: what isn't changed is written as it was read, what is changed is read back
//! as it was meant, and what was injected can be taken out again.

use datakit_operator_core::inject::inject_pod;
use datakit_operator_manifest::patch::apply;
use datakit_operator_manifest::uninject::uninject;
use datakit_operator_manifest::{Content, Document, Parsed, Source, template};
use serde_json::Value;

use crate::{Verdict, engines, pod};

/// A text of these bytes keeps the laws.
///
/// # Errors
///
/// The law that is broken.
pub fn check(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok(());
    };
    let source = Source::parse("seed", text);
    let mut written: String = source
        .documents
        .iter()
        .map(|part| source.text(part))
        .collect();
    let unmarked = text.strip_prefix('\u{feff}').unwrap_or(text);
    // A last stretch without a document may be left out.
    if !unmarked.starts_with(&written) {
        return Err(format!(
            "the parts aren't the text: {written:?} of {unmarked:?}"
        ));
    }
    written.clear();
    for document in &source.documents {
        match &document.content {
            Content::Nothing => {}
            Content::Broken(error) => {
                if error.message.is_empty() || source_line(document, error) == 0 {
                    return Err(format!("an error without a place or reason: {error:?}"));
                }
            }
            Content::Value(parsed) => value(&source, document, parsed)?,
        }
    }
    Ok(())
}

fn source_line(document: &Document, error: &datakit_operator_manifest::SyntaxError) -> usize {
    document.line_of(error)
}

fn value(source: &Source, document: &Document, parsed: &Parsed) -> Verdict {
    rewritten(source, document, parsed, &parsed.value)?;
    let context = &pod::contexts()[2];
    let engine = engines::default_engine();
    let (mut there, mut back) = (parsed.value.clone(), parsed.value.clone());
    let mut changed = false;
    for found in template::find(&parsed.value) {
        let pointer = found.pointer();
        let before = parsed.value.pointer(&pointer).unwrap_or(&Value::Null);
        let text = before.to_string();
        let Ok(injection) = inject_pod(&text, Some("default"), engine, context) else {
            continue;
        };
        let injected = apply(before, &injection.patch).ok_or("the patch doesn't apply")?;
        pod::contained(before, &injected, "")?;
        let taken_out = uninject(&injected, Some("default"), engine, context);
        put(&mut there, &pointer, injected);
        put(&mut back, &pointer, taken_out.template);
        changed = true;
    }
    if changed {
        rewritten(source, document, parsed, &there)?;
        rewritten(source, document, parsed, &back)?;
    }
    Ok(())
}

fn put(whole: &mut Value, pointer: &str, part: Value) {
    if let Some(place) = whole.pointer_mut(pointer) {
        *place = part;
    }
}

/// Whether two values are the same to Kubernetes. Of YAML the number `1000.0` is read as 1000; the
/// text of a document may be YAML before a change and JSON after it, where it is kept.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || (one.is_f64() != other.is_f64() && one.as_f64() == other.as_f64())
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let alike = |(key, value)| other.get(key).is_some_and(|found| same(value, found));
            one.len() == other.len() && one.iter().all(alike)
        }
        _ => one == other,
    }
}

/// The document's text with another value is read as that value.
fn rewritten(source: &Source, document: &Document, parsed: &Parsed, new: &Value) -> Verdict {
    let (text, _) = source.rewritten(document, parsed, new);
    let again = Source::parse("rewritten", &text);
    let mut values = again
        .documents
        .iter()
        .filter_map(|part| match &part.content {
            Content::Value(parsed) => Some(&parsed.value),
            _ => None,
        });
    match (values.next(), values.next()) {
        (Some(value), None) if same(value, new) => Ok(()),
        (found, _) => Err(format!("{text:?} is read as {found:?}, not as {new}")),
    }
}
