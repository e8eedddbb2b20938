//! Tables of keys in Markdown, from the schema.

use serde_json::Value;

/// The rows for an object's keys; with `merge` for the keys of the objects that it has, which are
/// much the same.
pub(super) fn rows(schema: &Value, merge: bool) -> String {
    let objects: Vec<(&str, &Value)> = if merge {
        let entries = schema["properties"].as_object().unwrap().iter();
        entries
            .map(|(name, object)| (name.as_str(), object.get("items").unwrap_or(object)))
            .collect()
    } else {
        vec![("", schema)]
    };
    let mut names: Vec<&str> = Vec::new();
    for (_, object) in &objects {
        let keys = object["properties"].as_object().unwrap().keys();
        for name in keys {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
    }
    let rows = names.into_iter().filter_map(|name| row(name, &objects));
    format!(
        "| key | values | default |\n|---|---|---|\n{}",
        rows.collect::<String>()
    )
}

/// A row, unless the key is without effect everywhere.
fn row(name: &str, objects: &[(&str, &Value)]) -> Option<String> {
    let about = |key: &Value| key["description"].as_str().unwrap_or_default().to_owned();
    let having: Vec<(&str, &Value, bool)> = objects
        .iter()
        .filter_map(|(object, schema)| {
            let key = schema["properties"].get(name)?;
            let required = schema["required"].as_array();
            let is_needed = required.is_some_and(|names| names.iter().any(|one| one == name));
            (!about(key).starts_with("without effect")).then_some((*object, key, is_needed))
        })
        .collect();
    let (_, first, _) = having.first()?;
    let others = objects.iter().map(|(object, _)| *object);
    let others: Vec<&str> = others
        .filter(|object| having.iter().all(|(having, _, _)| having != object))
        .collect();
    let with: Vec<&str> = having.iter().map(|(object, _, _)| *object).collect();
    let scope = match others.len() {
        0 => String::new(),
        without if without < with.len() => format!(" (not {})", others.join(", ")),
        _ => format!(" ({})", with.join(", ")),
    };
    let is_same = having.iter().all(|(_, key, _)| about(key) == about(first));
    let values = if is_same {
        about(first)
    } else {
        let each = having.iter();
        let each: Vec<String> = each
            .map(|(object, key, _)| format!("{object}: {}", about(key)))
            .collect();
        each.join("; ")
    };
    let bounds = match (first.get("minimum"), first.get("maximum")) {
        (Some(least), Some(most)) => format!("; {least} to {most}"),
        _ => String::new(),
    };
    let default = match first.get("default") {
        Some(Value::String(text)) => format!("`{text}`"),
        Some(default) => format!("`{default}`"),
        None if having.iter().all(|(_, _, is_needed)| *is_needed) => "required".to_owned(),
        None => {
            let needing = having.iter().filter(|(_, _, is_needed)| *is_needed);
            let needing: Vec<&str> = needing.map(|(object, _, _)| *object).collect();
            match needing.len() {
                0 => "none".to_owned(),
                _ => format!("required ({})", needing.join(", ")),
            }
        }
    };
    let values = values.replace('|', "\\|");
    Some(format!(
        "| `{name}`{scope} | {values}{bounds} | {default} |\n"
    ))
}

/// The page with other rows between the marks of a table.
pub(super) fn put(page: &str, name: &str, rows: &str) -> String {
    let start = format!("<!-- keys: {name} -->\n");
    let (before, rest) = page
        .split_once(&start)
        .unwrap_or_else(|| panic!("no {start}"));
    let (_, after) = rest.split_once("<!-- end -->").unwrap();
    format!("{before}{start}{rows}<!-- end -->{after}")
}
