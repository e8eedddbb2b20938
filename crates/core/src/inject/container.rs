//! What the configuration says about a container to inject, brought into the form in which it is
//! written.

use std::borrow::Cow;

use crate::config::{ContainerSettings, EnvValue};
use crate::json::write_string;
use crate::pod::Pod;
use crate::pod::part::{NewEnv, NewEnvValue, ResourceList, Resources, SecurityContext};
use crate::pod::view::{self, Container};

/// Settings of an injected container, ready to be written.
#[derive(Debug)]
pub(crate) struct Settings {
    pub envs: Vec<Env>,
    pub image_pull_policy: &'static str,
    pub security_context: Option<SecurityContext>,
    resources: Resources,
}

/// A configured environment variable.
#[derive(Debug)]
pub(crate) struct Env {
    pub name: String,
    pub value: Value,
}

/// The value of a configured environment variable.
#[derive(Debug)]
pub(crate) enum Value {
    Literal(String),
    /// `valueFrom` as JSON.
    Reference(String),
    /// A resource of the pod's first container; the variable is left out where that isn't set.
    Resource {
        resource: &'static str,
        divisor: &'static str,
    },
}

impl Settings {
    pub(crate) fn new(settings: &ContainerSettings) -> Self {
        let envs = settings.envs.iter().map(|env| Env {
            name: env.name.clone(),
            value: Value::new(&env.value),
        });
        Self {
            envs: envs.collect(),
            image_pull_policy: settings.image_pull_policy.as_str(),
            security_context: settings.security_context.clone(),
            resources: Resources::new(
                configured(&settings.resources.requests),
                configured(&settings.resources.limits),
            )
            .prepared(),
        }
    }

    /// `resources` for a container of this pod. A pod with a budget of its own gets none: every
    /// container's share must fit into the budget, and the containers that the user wrote may fill
    /// it.
    pub(crate) fn resources(&self, pod: &Pod<'_>) -> Option<Cow<'_, Resources>> {
        (!pod.pod_level_resources).then_some(Cow::Borrowed(&self.resources))
    }
}

impl Env {
    /// The variable as it is written into this pod, unless it refers to a resource that isn't set.
    pub(crate) fn for_pod<'p>(&'p self, pod: &'p Pod<'_>) -> Option<NewEnv<'p>> {
        let value = match &self.value {
            Value::Literal(text) => NewEnvValue::Literal(text.as_str().into()),
            Value::Reference(json) => NewEnvValue::Reference(json),
            Value::Resource { resource, divisor } => {
                let first: &Container<'_> = pod.containers.first()?;
                if !is_set(first.resources, resource) {
                    return None;
                }
                NewEnvValue::Resource {
                    container: &first.name,
                    resource,
                    divisor,
                }
            }
        };
        Some(NewEnv {
            name: &self.name,
            value,
        })
    }

    /// The text of a literal value.
    pub(crate) fn literal(&self) -> Option<&str> {
        match &self.value {
            Value::Literal(text) => Some(text),
            _ => None,
        }
    }
}

impl Value {
    fn new(value: &EnvValue) -> Self {
        let quoted = |text: &str| {
            let mut out = Vec::new();
            write_string(&mut out, text);
            String::from_utf8_lossy(&out).into_owned()
        };
        match value {
            EnvValue::Literal(text) => Self::Literal(text.clone()),
            EnvValue::FieldRef(path) => Self::Reference(format!(
                r#"{{"fieldRef":{{"fieldPath":{}}}}}"#,
                quoted(path)
            )),
            EnvValue::SecretKeyRef { name, key } => Self::Reference(format!(
                r#"{{"secretKeyRef":{{"name":{},"key":{}}}}}"#,
                quoted(name),
                quoted(key)
            )),
            EnvValue::ResourceFieldRef(resource) => Self::Resource {
                resource: resource.as_str(),
                divisor: resource.divisor(),
            },
        }
    }
}

/// A list that is left out if nothing is configured in it.
fn configured(list: &ResourceList) -> Option<ResourceList> {
    (!list.is_empty()).then(|| list.clone())
}

/// Whether a resource such as `limits.cpu` is set.
fn is_set(resources: view::Resources<'_>, wanted: &str) -> bool {
    let Some((list, wanted)) = wanted.split_once('.') else {
        return false;
    };
    let mut set = false;
    resources.visit(|side, resource, _| set |= side.as_str() == list && resource == wanted);
    set
}
