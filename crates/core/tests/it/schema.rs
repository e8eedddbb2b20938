//! The schema of the configuration: what is shipped is what the program has, it takes what the
//! program takes without a word, and refuses the mistakes that people make.
//!
//! The judge knows as much of JSON Schema as the schema uses, and refuses a schema that uses more.

mod tables;

use std::fs;
use std::path::{Path, PathBuf};

use datakit_operator_core::config::{Config, DEFAULT_CONFIG, EnvOverrides};
use regex::Regex;
use serde_json::Value;

#[test]
fn the_shipped_schema_is_the_programs() {
    let shipped = root().join("docs/config.schema.json");
    let own = format!("{:#}\n", Config::schema());
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&shipped, &own).unwrap();
    }
    let text = fs::read_to_string(shipped).unwrap();
    same(&text, &own);
}

/// The chart takes a configuration as YAML, and its schema of values is what checks it.
#[test]
fn the_chart_checks_configurations_by_the_same_schema() {
    let path = root().join("deploy/chart/datakit-operator/values.schema.json");
    let text = fs::read_to_string(&path).unwrap();
    let mut values: Value = serde_json::from_str(&text).unwrap();
    let mut configuration = Config::schema();
    let of_document = configuration.as_object_mut().unwrap();
    let mut definitions = of_document.shift_remove("definitions").unwrap();
    of_document.shift_remove("$schema");
    definitions["configuration"] = configuration;
    values["definitions"] = definitions;
    let made = format!("{values:#}\n");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &made).unwrap();
    } else {
        same(&text, &made);
    }
    let reference = "/properties/configmap/properties/config/$ref";
    let reference = values.pointer(reference).and_then(Value::as_str);
    assert_eq!(reference, Some("#/definitions/configuration"));
}

#[test]
fn what_is_read_without_a_word_is_valid() {
    let mut documents = vec![("the default".to_owned(), DEFAULT_CONFIG.to_owned())];
    for path in files(&root().join("testdata"), "config.json") {
        documents.push((
            path.display().to_string(),
            fs::read_to_string(path).unwrap(),
        ));
    }
    documents.extend(samples());
    let mut valid = 0;
    for (name, text) in documents {
        let (config, diagnostics) = Config::load(&text, &EnvOverrides::default()).unwrap();
        if !diagnostics.is_empty() {
            continue;
        }
        valid += 1;
        for text in [text, config.to_json()] {
            let document: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(judge(&document), Ok(()), "{name}");
        }
    }
    assert!(valid > 50, "{valid}");
}

/// Nothing that the page shows is something that `check-config` warns of.
#[test]
fn samples_are_as_they_should_be() {
    for (name, text) in samples() {
        let (config, diagnostics) = Config::load(&text, &EnvOverrides::default()).unwrap();
        assert_eq!(diagnostics, [], "{name}");
        let found: Vec<String> = config.lint().iter().map(ToString::to_string).collect();
        assert!(found.is_empty(), "{name}: {found:?}");
    }
}

#[test]
fn mistakes_are_refused() {
    for (document, place) in [
        (r#"{"log_level":"loud"}"#, "log_level"),
        (r#"{"log_levle":"info"}"#, ""),
        (r#"{"server_listen":9543}"#, "server_listen"),
        (
            r#"{"admission_inject":{"ddtrace":{"envs":{"A":1}}}}"#,
            "admission_inject.ddtrace.envs.A",
        ),
        (
            r#"{"admission_inject":{"ddtrace":{"envs":[]}}}"#,
            "admission_inject.ddtrace.envs",
        ),
        (
            r#"{"admission_inject":{"ddtrace":{"envs":{"A B":""}}}}"#,
            "admission_inject.ddtrace.envs.A B",
        ),
        (
            r#"{"admission_inject":{"logfwd":{"images":{"image":"a:1"}}}}"#,
            "admission_inject.logfwd.images",
        ),
        (
            r#"{"admission_inject":{"logfwd":{"images":{"logfwd_image":"a b"}}}}"#,
            "admission_inject.logfwd.images.logfwd_image",
        ),
        (
            r#"{"admission_inject":{"profiler":{"resources":{"limits":{"cpu":"lots"}}}}}"#,
            "admission_inject.profiler.resources.limits.cpu",
        ),
        (
            r#"{"admission_inject":{"ddtrace":{"enabled_namespaces":[{"namespace":"a"}]}}}"#,
            "admission_inject.ddtrace.enabled_namespaces.0",
        ),
        (
            r#"{"admission_inject":{"ddtrace":{"enabled_namespaces":["a"]}}}"#,
            "admission_inject.ddtrace.enabled_namespaces.0",
        ),
        (
            r#"{"admission_inject_v2":{"logfwds":[{"image":"a:1"}]}}"#,
            "admission_inject_v2.logfwds.0",
        ),
        (
            r#"{"admission_inject_v2":{"logfwds":[null]}}"#,
            "admission_inject_v2.logfwds.0",
        ),
        (
            r#"{"admission_inject_v2":{"otels":[{"namespace_selectors":["a"],"language":"php"}]}}"#,
            "admission_inject_v2.otels.0.language",
        ),
        (
            r#"{"admission_inject_v2":{"profilers":[{"namespace_selectors":["a"],"check_annotation":"true"}]}}"#,
            "admission_inject_v2.profilers.0.check_annotation",
        ),
        (
            r#"{"admission_mutate":{"loggings":[{"namespace_selectors":["a"],"config":"[]"}]}}"#,
            "admission_mutate.loggings.0",
        ),
        (
            r#"{"admission_policy":{"logfwd":{"versions":[]}}}"#,
            "admission_policy.logfwd",
        ),
        (
            r#"{"admission_policy":{"logfwd":null}}"#,
            "admission_policy.logfwd",
        ),
        (
            r#"{"admission_env_from":[{"variable":"JAVA_OPTS","secrets":["a"]}]}"#,
            "admission_env_from.0.variable",
        ),
        (
            r#"{"admission_env_from":[{"secrets":["a"]}]}"#,
            "admission_env_from.0",
        ),
        (
            r#"{"admission_limits":{"containers":0}}"#,
            "admission_limits.containers",
        ),
        (
            r#"{"admission_inject":{"ddtrace":{"security_context":{"runAsUser":-1}}}}"#,
            "admission_inject.ddtrace.security_context.runAsUser",
        ),
    ] {
        let value: Value = serde_json::from_str(document).unwrap();
        let found = judge(&value).map_err(|(place, _)| place);
        assert_eq!(found, Err(place.to_owned()), "{document}");
        let (_, diagnostics) = Config::load(document, &EnvOverrides::default()).unwrap();
        assert!(
            !diagnostics.is_empty(),
            "the program says nothing of {document}"
        );
    }
}

/// What the schema says counts without a key is what counts.
#[test]
fn defaults_are_the_programs() {
    let rule = r#"{"namespace_selectors":["a"],"language":"java","image":"a:1"}"#;
    let php = rule.replace("java", "php");
    let logfwd = r#"{"namespace_selectors":["a"],"image":"a:1"}"#;
    let text = format!(
        r#"{{"admission_inject_v2":{{"ddtraces":[{php}],"otels":[{rule}],"logfwds":[{logfwd}],"flameshots":[{logfwd}],"profilers":[{rule}]}}}}"#
    );
    let (config, _) = Config::load(&text, &EnvOverrides::default()).unwrap();
    let written: Value = serde_json::from_str(&config.to_json()).unwrap();
    let schema = Config::schema();
    let mut compared = Vec::new();
    compare(&schema, &written, "", &mut compared);
    for key in [
        "server_listen",
        "admission_limits.patch_bytes",
        "admission_policy.otel.versions",
        "admission_inject.logfwd.image_pull_policy",
        "admission_inject_v2.logfwds.0.image_pull_policy",
        "admission_inject_v2.ddtraces.0.php_loader_flavor",
        "admission_inject_v2.flameshots.0.resources",
    ] {
        assert!(
            compared.iter().any(|path| path == key),
            "{key}: {compared:?}"
        );
    }
}

fn compare(schema: &Value, written: &Value, path: &str, compared: &mut Vec<String>) {
    if let Some(default) = schema.get("default") {
        assert_eq!(written, default, "{path}");
        compared.push(path.to_owned());
    }
    let inside = |key: &str| match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    };
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(written) = written.get(key) {
            compare(schema, written, &inside(key), compared);
        }
    }
    for (index, item) in written.as_array().into_iter().flatten().enumerate() {
        compare(
            &schema["items"],
            item,
            &inside(&index.to_string()),
            compared,
        );
    }
}

/// The tables of keys in docs/configuration.md are made from the schema.
#[test]
fn the_tables_of_the_page_are_made_from_the_keys() {
    let page = root().join("docs/configuration.md");
    let text = fs::read_to_string(&page).unwrap();
    let schema = Config::schema();
    let of = |pointer: &str| tables::rows(schema.pointer(pointer).unwrap(), false);
    let of_each = |pointer: &str| tables::rows(schema.pointer(pointer).unwrap(), true);
    let mut made = text.clone();
    for (name, rows) in [
        ("document", of("")),
        ("sections", of_each("/properties/admission_inject")),
        ("rules", of_each("/properties/admission_inject_v2")),
        (
            "loggings",
            of("/properties/admission_mutate/properties/loggings/items"),
        ),
        ("policy", of_each("/properties/admission_policy")),
        ("env_from", of("/properties/admission_env_from/items")),
        ("status", of("/properties/admission_status")),
        ("limits", of("/properties/admission_limits")),
    ] {
        made = tables::put(&made, name, &rows);
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&page, &made).unwrap();
    } else {
        same(&text, &made);
    }
}

/// Fails at the first line that isn't the same.
#[track_caller]
fn same(shipped: &str, made: &str) {
    for (shipped, made) in shipped.lines().zip(made.lines()) {
        assert_eq!(shipped, made, "UPDATE_EXPECT=1 writes it again");
    }
    assert!(shipped == made, "UPDATE_EXPECT=1 writes it again");
}

/// The documents in docs/configuration.md that are whole.
fn samples() -> Vec<(String, String)> {
    let page = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let blocks = page.split("```json\n").skip(1);
    let found: Vec<(String, String)> = blocks
        .filter_map(|block| {
            let text = block.split_once("```")?.0;
            Some(text.replace("\"…\"", "\"a:1\"").replace('…', "a"))
        })
        .enumerate()
        .map(|(index, text)| (format!("sample {index}"), text))
        .collect();
    assert!(found.len() >= 5);
    found
}

fn files(folder: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, name));
        } else if path.file_name().is_some_and(|found| found == name) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where a document isn't valid, and why.
type Refusal = (String, String);

fn judge(document: &Value) -> Result<(), Refusal> {
    let schema = Config::schema();
    check(&schema, &schema, document, "")
}

fn check(root: &Value, schema: &Value, value: &Value, path: &str) -> Result<(), Refusal> {
    let refuse = |why: &str| Err((path.to_owned(), why.to_owned()));
    let inside = |key: &str| match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    };
    let pattern_fits = |pattern: &Value, text: &str| {
        Regex::new(pattern.as_str().unwrap())
            .unwrap()
            .is_match(text)
    };
    for (keyword, argument) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$schema" | "title" | "description" | "default" | "definitions" => {}
            "$ref" => {
                let pointer = argument.as_str().unwrap().strip_prefix('#').unwrap();
                check(root, root.pointer(pointer).unwrap(), value, path)?;
            }
            "allOf" => {
                for schema in argument.as_array().unwrap() {
                    check(root, schema, value, path)?;
                }
            }
            "anyOf" => {
                let mut schemas = argument.as_array().unwrap().iter();
                if !schemas.any(|schema| check(root, schema, value, path).is_ok()) {
                    return refuse("none fits");
                }
            }
            "type" => {
                let mut types = match argument {
                    Value::Array(types) => types.iter().collect(),
                    one => vec![one],
                }
                .into_iter();
                if !types.any(|name| is_of(name.as_str().unwrap(), value)) {
                    return refuse("another type");
                }
            }
            "enum" => {
                if !argument.as_array().unwrap().contains(value) {
                    return refuse("none of the words");
                }
            }
            "pattern" => {
                if value
                    .as_str()
                    .is_some_and(|text| !pattern_fits(argument, text))
                {
                    return refuse("another form");
                }
            }
            "minimum" => {
                if value
                    .as_i64()
                    .is_some_and(|n| n < argument.as_i64().unwrap())
                {
                    return refuse("too small");
                }
            }
            "maximum" => {
                if value
                    .as_i64()
                    .is_some_and(|n| n > argument.as_i64().unwrap())
                {
                    return refuse("too large");
                }
            }
            "required" => {
                for key in argument.as_array().unwrap() {
                    if value.is_object() && value.get(key.as_str().unwrap()).is_none() {
                        return refuse("a key is missing");
                    }
                }
            }
            "propertyNames" => {
                for key in value.as_object().into_iter().flatten().map(|(key, _)| key) {
                    check(root, argument, &key.as_str().into(), &inside(key))?;
                }
            }
            "properties" => {
                for (key, schema) in argument.as_object().unwrap() {
                    if let Some(value) = value.get(key) {
                        check(root, schema, value, &inside(key))?;
                    }
                }
            }
            "additionalProperties" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    if schema["properties"].get(key).is_some() {
                        continue;
                    }
                    match argument {
                        Value::Bool(false) => return refuse("an unknown key"),
                        schema => check(root, schema, value, &inside(key))?,
                    }
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, argument, item, &inside(&index.to_string()))?;
                }
            }
            other => panic!("the judge doesn't know {other}"),
        }
    }
    Ok(())
}

fn is_of(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no type {other}"),
    }
}
