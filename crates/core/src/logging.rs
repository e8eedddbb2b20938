//! ClusterLoggingConfigs: which logs of which pods are collected, as sidecars ask for them.
//!
//! The objects come as JSON from a watch and are kept read: what selects pods, and the answer's
//! bytes. A pod gets the first object that fits it, by time of creation and then by name, so that
//! an object which is made later never takes a pod away from an earlier one.

mod object;
mod pods;
mod verdict;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use object::{Invalid, LoggingConfig};
pub use pods::{PodLabels, PodQuery};
pub use verdict::{Standing, Verdict};

/// Objects beyond so many are not looked at: a pod's answer must stay cheap. Real clusters have a
/// few dozen.
pub const MAX_OBJECTS: usize = 10_000;

/// All objects, in the order in which they are tried.
#[derive(Debug, Clone, Default)]
pub struct LoggingConfigs {
    in_order: BTreeMap<Rank, Arc<LoggingConfig>>,
    by_name: HashMap<String, Rank>,
}

/// Time of creation as the API server writes it (RFC 3339, UTC, whole seconds: it sorts as text),
/// then name.
type Rank = (String, String);

impl LoggingConfigs {
    /// Takes an object in, in place of an earlier version of it.
    pub fn apply(&mut self, object: Arc<LoggingConfig>) {
        self.remove(object.name());
        let rank = (object.created().to_owned(), object.name().to_owned());
        self.by_name.insert(object.name().to_owned(), rank.clone());
        self.in_order.insert(rank, object);
    }

    /// Forgets an object.
    pub fn remove(&mut self, name: &str) {
        if let Some(rank) = self.by_name.remove(name) {
            self.in_order.remove(&rank);
        }
    }

    /// The object whose configurations a pod gets.
    pub fn find(&self, pod: &PodQuery<'_>) -> Option<&Arc<LoggingConfig>> {
        self.iter()
            .take(MAX_OBJECTS)
            .find(|object| object.selects(pod))
    }

    /// All objects, in the order in which they are tried.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<LoggingConfig>> {
        self.in_order.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.in_order.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.in_order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(name: &str, created: &str, selector: &Value) -> Arc<LoggingConfig> {
        let configs = json!([{"type": "file", "source": name}]);
        let spec = json!({"selector": selector, "configs": configs});
        Arc::new(LoggingConfig::new(name, created, &spec))
    }

    fn found<'a>(configs: &'a LoggingConfigs, namespace: &str, pod: &str) -> Option<&'a str> {
        let pod = PodQuery {
            namespace,
            name: pod,
            labels: None,
        };
        configs.find(&pod).map(|object| object.name())
    }

    /// The order of arrival says nothing, nor does a later change of an object.
    #[test]
    fn the_oldest_that_fits_is_found() {
        let mut configs = LoggingConfigs::default();
        let prod = json!({"namespaceRegex": "^prod$"});
        configs.apply(object("late", "2026-01-03T00:00:00Z", &prod));
        configs.apply(object("b", "2026-01-02T00:00:00Z", &prod));
        configs.apply(object("a", "2026-01-02T00:00:00Z", &prod));
        configs.apply(object(
            "first",
            "2026-01-01T00:00:00Z",
            &json!({"namespaceRegex": "^test$"}),
        ));
        assert_eq!(found(&configs, "prod", "p"), Some("a"));
        assert_eq!(found(&configs, "test", "p"), Some("first"));
        assert_eq!(found(&configs, "dev", "p"), None);
        configs.apply(object("first", "2026-01-01T00:00:00Z", &prod));
        assert_eq!(found(&configs, "prod", "p"), Some("first"));
        assert_eq!(found(&configs, "test", "p"), None);
        configs.remove("first");
        configs.remove("a");
        configs.remove("never-there");
        assert_eq!(found(&configs, "prod", "p"), Some("b"));
        assert_eq!(configs.len(), 2);
    }
}
