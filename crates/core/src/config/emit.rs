//! Writes the model as a document that loads as the same model.

use serde_json::{Map, Value, json};

use super::{
    AdmissionLimits, AllowList, Config, ContainerSettings, EnvValue, EnvVar, FeaturePolicy, Policy,
    ResourceList, Resources, SecurityContext, Selectors,
};
use crate::image::Image;

/// See [`Config::to_json`].
pub(super) fn to_json(config: &Config) -> String {
    let Config {
        server_listen,
        log_level,
        ddtrace,
        logfwd,
        profiler,
        policy,
        limits,
    } = config;
    let ddtrace = feature(
        images([
            ("java_agent_image", &ddtrace.images.java),
            ("python_agent_image", &ddtrace.images.python),
            ("js_agent_image", &ddtrace.images.nodejs),
        ]),
        &ddtrace.container,
        selectors(&ddtrace.selectors, super::DdtraceLanguage::as_str),
    );
    let mut mode = Map::new();
    mode.insert("sidecar_mode".into(), logfwd.sidecar_mode.as_str().into());
    let logfwd = feature(
        images([("logfwd_image", &logfwd.image)]),
        &logfwd.container,
        mode,
    );
    let profiler = feature(
        images([
            ("java_profiler_image", &profiler.images.java),
            ("python_profiler_image", &profiler.images.python),
            ("golang_profiler_image", &profiler.images.golang),
        ]),
        &profiler.container,
        selectors(&profiler.selectors, super::ProfilerLanguage::as_str),
    );
    let mut limits = *limits;
    let values = limits.values().map(|value| *value);
    let limits = AdmissionLimits::KEYS.iter().zip(values);
    let limits: Map<String, Value> = limits
        .map(|((key, _), value)| ((*key).to_owned(), value.into()))
        .collect();
    let document = json!({
        "server_listen": server_listen.to_string(),
        "log_level": log_level.as_str(),
        "admission_inject": { "ddtrace": ddtrace, "logfwd": logfwd, "profiler": profiler },
        "admission_policy": admission_policy(policy),
        "admission_limits": limits,
    });
    format!("{document:#}")
}

fn admission_policy(policy: &Policy) -> Value {
    let Policy {
        ddtrace,
        logfwd,
        profiler,
    } = policy;
    let list = |list: &AllowList| Value::from_iter(list.patterns());
    let versioned = |policy: &FeaturePolicy| {
        json!({
            "namespaces": list(&policy.namespaces),
            "versions": list(&policy.versions),
            "drop_digest": policy.drop_digest,
        })
    };
    json!({
        "ddtrace": versioned(ddtrace),
        "logfwd": { "namespaces": list(&logfwd.namespaces) },
        "profiler": versioned(profiler),
    })
}

fn feature(images: Value, container: &ContainerSettings, rest: Map<String, Value>) -> Value {
    let ContainerSettings {
        envs,
        resources: Resources { requests, limits },
        image_pull_policy,
        security_context,
    } = container;
    let mut section = Map::new();
    section.insert("images".into(), images);
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
    section.extend(rest);
    Value::Object(section)
}

fn images<const N: usize>(images: [(&str, &Option<Image>); N]) -> Value {
    let entries = images.into_iter().filter_map(|(key, image)| {
        let image = image.as_ref()?;
        Some((key.to_owned(), image.as_str().into()))
    });
    Value::Object(entries.collect())
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

fn selectors<L: Copy>(selectors: &Selectors<L>, name: fn(L) -> &'static str) -> Map<String, Value> {
    let labels = selectors.labels.iter().map(|(selector, language)| {
        json!({ "labelselector": selector.as_str(), "language": name(*language) })
    });
    let namespaces = selectors.namespaces.iter().map(
        |(pattern, language)| json!({ "namespace": pattern.as_str(), "language": name(*language) }),
    );
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
