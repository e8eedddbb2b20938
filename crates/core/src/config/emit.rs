//! Writes the model as a document that loads as the same model.

use serde_json::{Map, Value, json};

use super::keys;
use super::rule::{Extra, Feature, Form, Language, Rule, When};
use super::{
    AdmissionLimits, AllowList, Config, ContainerSettings, EnvFromSources, EnvValue, EnvVar,
    Policy, ResourceList, Resources, SecurityContext,
};
use super::{LogConfigs, Status, env_from, status, v1, v2, validation};
use crate::selector::{LabelSelector, NamespacePattern};

/// See [`Config::to_json`].
pub(super) fn to_json(config: &Config) -> String {
    let Config {
        server_listen,
        log_level,
        rules,
        policy,
        env_from,
        validation,
        status: Status { annotation },
        limits,
    } = config;
    let features: Map<String, Value> = v1::FORMS
        .iter()
        .map(|form| (form.feature.as_str().to_owned(), section(form, rules)))
        .collect();
    let mut limits = *limits;
    let values = limits.values().map(|value| *value);
    let limits = AdmissionLimits::KEYS.iter().zip(values);
    let limits: Map<String, Value> = limits
        .map(|((key, _), value)| ((*key).to_owned(), value.into()))
        .collect();
    let mut document = json!({
        "server_listen": server_listen.to_string(),
        "log_level": log_level.as_str(),
        "admission_inject": features,
        "admission_policy": admission_policy(policy),
        "admission_limits": limits,
        (status::KEY): { status::ANNOTATION: annotation },
    });
    if !env_from.sources.is_empty() {
        document[env_from::KEY] = env_from.sources.iter().map(env_from_entry).collect();
    }
    if !validation.codes().is_empty() {
        document[validation::KEY] = json!({ "deny": validation.codes() });
    }
    let lists = lists(rules);
    if !lists.is_empty() {
        document[v2::KEY] = lists.into();
    }
    let loggings: Vec<Value> = rules.iter().filter_map(logging).collect();
    if !loggings.is_empty() {
        document[v2::MUTATE] = json!({ v2::LOGGINGS: loggings });
    }
    format!("{document:#}")
}

fn names(list: &AllowList) -> Value {
    Value::from_iter(list.patterns())
}

fn env_from_entry(sources: &EnvFromSources) -> Value {
    json!({
        "variable": sources.variable,
        "config_maps": names(&sources.config_maps),
        "secrets": names(&sources.secrets),
        "namespaces": names(&sources.namespaces),
    })
}

fn admission_policy(policy: &Policy) -> Value {
    let features = Feature::ALL.into_iter().map(|feature| {
        let allowed = policy.of(feature);
        let mut keys = Map::new();
        keys.insert("namespaces".into(), names(&allowed.namespaces));
        if feature.has_versions() {
            keys.insert("versions".into(), names(&allowed.versions));
            keys.insert("drop_digest".into(), allowed.drop_digest.into());
        }
        (feature.as_str().to_owned(), Value::Object(keys))
    });
    Value::Object(features.collect())
}

/// The section of a feature that is lowered into its rules again.
fn section(form: &v1::Form, rules: &[Rule]) -> Value {
    let rules: Vec<&Rule> = rules
        .iter()
        .filter(|rule| rule.feature == form.feature && rule.origin.form == Form::V1)
        .collect();
    let images = form.images.iter().filter_map(|image| {
        let mut of_language = rules.iter().filter(|rule| rule.language == image.language);
        let written = of_language.find_map(|rule| rule.image.as_ref())?;
        Some((image.key.to_owned(), written.as_str().into()))
    });
    let mut section = Map::new();
    section.insert("images".into(), Value::Object(images.collect()));
    let Some(rule) = rules.first() else {
        return Value::Object(section);
    };
    settings(rule, &mut section);
    if !form.words.is_empty() {
        section.extend(selectors(&rules));
    }
    Value::Object(section)
}

/// The lists whose rules are lowered into these again, without those that have none.
fn lists(rules: &[Rule]) -> Map<String, Value> {
    let lists = v2::LISTS.iter().filter_map(|list| {
        let of_list = rules
            .iter()
            .filter(|rule| rule.feature == list.feature && rule.origin.form == Form::V2);
        let entries: Vec<Value> = of_list.map(|rule| entry(list, rule)).collect();
        (!entries.is_empty()).then(|| (list.key.to_owned(), entries.into()))
    });
    lists.collect()
}

/// The entry of a list that is lowered into this rule again.
fn entry(list: &v2::List, rule: &Rule) -> Value {
    let mut entry = Map::new();
    if !rule.origin.name().is_empty() {
        entry.insert("name".into(), rule.origin.name().into());
    }
    selector_lists(&rule.when, &mut entry);
    let key = "check_annotation";
    if keys::names(list.keys).any(|known| known == key) {
        entry.insert(key.into(), rule.when.annotation.into());
    }
    if let Some(language) = rule.language {
        entry.insert("language".into(), language.as_str().into());
    }
    if let Some(image) = &rule.image {
        entry.insert("image".into(), image.as_str().into());
    }
    settings(rule, &mut entry);
    entry.into()
}

/// The entry of `loggings` that is lowered into this rule again, if it is one.
fn logging(rule: &Rule) -> Option<Value> {
    let Extra::Logging(configs) = &rule.extra else {
        return None;
    };
    let mut entry = Map::new();
    selector_lists(&rule.when, &mut entry);
    let config = configs.as_ref().map_or("", LogConfigs::as_json);
    entry.insert("config".into(), config.into());
    Some(entry.into())
}

fn selector_lists(when: &When, entry: &mut Map<String, Value>) {
    let namespaces = when.namespaces.iter().map(NamespacePattern::as_str);
    let labels = when.labels.iter().map(LabelSelector::as_str);
    entry.insert("namespace_selectors".into(), Value::from_iter(namespaces));
    entry.insert("label_selectors".into(), Value::from_iter(labels));
}

/// The settings of a rule's container, and those that only its feature has.
fn settings(rule: &Rule, section: &mut Map<String, Value>) {
    let ContainerSettings {
        envs,
        resources: Resources { requests, limits },
        image_pull_policy,
        security_context,
    } = rule.container.as_ref();
    section.insert("envs".into(), Value::Object(envs.iter().map(env).collect()));
    section.insert(
        "resources".into(),
        json!({ "requests": amounts(requests), "limits": amounts(limits) }),
    );
    section.insert(
        "image_pull_policy".into(),
        image_pull_policy.as_str().into(),
    );
    if let Some(block) = security_context.as_ref().and_then(block) {
        section.insert("security_context".into(), block);
    }
    match &rule.extra {
        Extra::None | Extra::Logging(_) => {}
        Extra::Php(loader) => {
            section.insert(v2::tables::PHP_LOADER.into(), loader.as_str().into());
        }
        Extra::Logfwd {
            sidecar_mode,
            sources,
        } => {
            section.insert("sidecar_mode".into(), sidecar_mode.as_str().into());
            if let Some(sources) = sources {
                if let Some(configs) = &sources.configs {
                    section.insert("log_configs".into(), configs.as_json().into());
                }
                let paths = sources.volume_paths.iter().map(String::as_str);
                section.insert("log_volume_paths".into(), Value::from_iter(paths));
            }
        }
        Extra::Flameshot {
            processes,
            prometheus_annotations,
        } => {
            section.insert("processes".into(), processes.as_str().into());
            section.insert(
                "enable_prometheus_annotations".into(),
                (*prometheus_annotations).into(),
            );
        }
    }
}

fn env(variable: &EnvVar) -> (String, Value) {
    let text = match &variable.value {
        EnvValue::Literal(text) => text.clone(),
        EnvValue::FieldRef(path) => format!("{{fieldRef:{path}}}"),
        EnvValue::ResourceFieldRef(resource) => {
            format!("{{resourceFieldRef:{}}}", resource.as_str())
        }
        EnvValue::SecretKeyRef { name, key } => format!("{{secretKeyRef:{name}.{key}}}"),
    };
    (variable.name.clone(), text.into())
}

fn amounts(list: &ResourceList) -> Value {
    let entries = list
        .iter()
        .map(|(resource, amount)| (resource.to_owned(), amount.as_str().into()));
    Value::Object(entries.collect())
}

fn block(context: &SecurityContext) -> Option<Value> {
    serde_json::from_str(context.as_json()).ok()
}

fn selectors(rules: &[&Rule]) -> Map<String, Value> {
    let language = |rule: &Rule| rule.language.map(Language::as_str);
    let labels = rules.iter().flat_map(|rule| {
        rule.when.labels.iter().map(
            |selector| json!({ "labelselector": selector.as_str(), "language": language(rule) }),
        )
    });
    let namespaces = rules.iter().flat_map(|rule| {
        rule.when
            .namespaces
            .iter()
            .map(|pattern| json!({ "namespace": pattern.as_str(), "language": language(rule) }))
    });
    let mut lists = Map::new();
    lists.insert(
        "enabled_labelselectors".into(),
        Value::Array(labels.collect()),
    );
    lists.insert(
        "enabled_namespaces".into(),
        Value::Array(namespaces.collect()),
    );
    lists
}
