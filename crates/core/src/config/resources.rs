//! Requests and limits of injected containers.

use super::keys::{self, Key, Kind};
use super::reader::{Reader, Section};
use super::tree::Node;
use crate::diagnostic::Diagnostic;
use crate::pod::part::ResourceList;
use crate::quantity::Quantity;

/// Requests and limits of a container. A limit is never below its request, and nothing is negative.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resources {
    /// What the scheduler sets aside.
    pub requests: ResourceList,
    /// What the container may use at most.
    pub limits: ResourceList,
}

/// The resources that can be configured, in the order in which they are written.
static RESOURCES: [Key; 3] = [
    Key::new("cpu", Kind::Quantity, "a quantity, such as `500m`"),
    Key::new("memory", Kind::Quantity, "a quantity, such as `512Mi`"),
    Key::new(
        "ephemeral-storage",
        Kind::Quantity,
        "a quantity, such as `1Gi`",
    ),
];

pub(super) static KEYS: [Key; 2] = [
    Key::new(
        "requests",
        Kind::Object(&RESOURCES),
        "what the scheduler sets aside",
    ),
    Key::new(
        "limits",
        Kind::Object(&RESOURCES),
        "what the container may use at most",
    ),
];

impl Default for Resources {
    /// Requests 100m and 64Mi, limits 500m and 512Mi.
    fn default() -> Self {
        let list = |cpu, memory| {
            keys::names(&RESOURCES)
                .zip([cpu, memory])
                .filter_map(|(resource, amount)| Some((resource, Quantity::parse(amount).ok()?)))
                .collect()
        };
        Self {
            requests: list("100m", "64Mi"),
            limits: list("500m", "512Mi"),
        }
    }
}

/// Reads `resources` of a feature's section. What is given replaces the default as a whole; one bad
/// amount brings the whole default back, because half of each could contradict the other.
pub(super) fn read(reader: &mut Reader, feature: &Section<'_>) -> Resources {
    let errors = reader.errors();
    let section = reader.object(feature, "resources", &KEYS);
    let requests = list(reader, &section, "requests");
    let limits = list(reader, &section, "limits");
    for name in keys::names(&RESOURCES) {
        if let (Some(request), Some(limit)) = (requests.get(name), limits.get(name))
            && limit < request
        {
            reader.report(
                Diagnostic::error(
                    format!("{}.{name}", section.path("limits")),
                    format!("below the request of {request}"),
                )
                .found(limit.as_str()),
            );
        }
    }
    if reader.errors() > errors {
        reader.report(Diagnostic::warning(
            feature.path("resources"),
            "the default resources are used because of the errors in the block",
        ));
        return Resources::default();
    }
    if requests.is_empty() && limits.is_empty() {
        return Resources::default();
    }
    Resources { requests, limits }
}

fn list(reader: &mut Reader, parent: &Section<'_>, key: &str) -> ResourceList {
    let section = reader.object(parent, key, &RESOURCES);
    keys::names(&RESOURCES)
        .filter_map(|resource| Some((resource, quantity(reader, &section, resource)?)))
        .collect()
}

fn quantity(reader: &mut Reader, section: &Section<'_>, key: &str) -> Option<Quantity> {
    let node = section.get(key)?;
    let path = section.path(key);
    let text = match node {
        Node::String(text) if text.is_empty() => return None,
        Node::String(text) => text.clone(),
        // Kubernetes takes plain numbers too.
        Node::Number(number) => number.to_string(),
        other => {
            reader.wrong_kind(&path, "a quantity", other);
            return None;
        }
    };
    match Quantity::parse(&text) {
        Ok(quantity) if quantity.is_negative() => {
            reader.report(Diagnostic::error(path, "a resource can't be negative").found(text));
            None
        }
        Ok(quantity) => Some(quantity),
        Err(error) => {
            reader.report(Diagnostic::error(path, error.to_string()).found(text));
            None
        }
    }
}
