//! ResourceQuotas, as far as they are about what a pod's containers have
//! (<https://kubernetes.io/docs/concepts/policy/resource-quotas/>).

use serde_json::Value;

use crate::quantity::Quantity;

/// What a ResourceQuota leaves for pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quota {
    /// Its name, for people.
    pub name: String,
    /// What is left of each resource that it bounds, in the order in which it names them.
    pub left: Vec<Left>,
    /// Which pods it counts: those that fit all of these.
    pub scopes: Vec<Scope>,
}

/// What is left of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Whether limits are counted; else requests.
    pub of_limits: bool,
    /// The resource, such as `memory`.
    pub resource: String,
    /// The key by which the quota names it, such as `requests.memory` or `memory`.
    pub key: String,
    /// The amount in thousandths; below zero where more is used than there may be.
    pub milli: i128,
}

/// Pods that a quota counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Those with `activeDeadlineSeconds`, or those without.
    Terminating(bool),
    /// Those of the class BestEffort, or the others.
    BestEffort(bool),
    /// Those with a priority class, whichever.
    AnyPriority(bool),
    /// Those with a priority class of these names, or the others.
    Priority {
        /// The names.
        names: Vec<String>,
        /// Whether it must be one of them.
        one_of_them: bool,
    },
    /// Those of a scope that isn't about what is looked at here; few pods fit one.
    Other,
}

impl Quota {
    /// Reads a ResourceQuota. What the quota controller hasn't worked out yet is left out.
    pub fn from_object(name: impl Into<String>, spec: &Value, status: &Value) -> Self {
        let used = |key: &str| Quantity::from_json(&status["used"][key]);
        let left = |(key, hard): (&String, &Value)| {
            let (of_limits, resource) = counted(key)?;
            let hard = Quantity::from_json(hard)?.milli()?;
            Some(Left {
                of_limits,
                resource: resource.to_owned(),
                key: key.clone(),
                milli: hard - used(key)?.milli()?,
            })
        };
        let hard = status["hard"].as_object().into_iter().flatten();
        let scopes = spec["scopes"].as_array().into_iter().flatten();
        let selector = spec["scopeSelector"]["matchExpressions"].as_array();
        let scopes = scopes.map(|scope| Scope::of(scope.as_str().unwrap_or_default()));
        let selector = selector.into_iter().flatten().map(Scope::of_expression);
        Self {
            name: name.into(),
            left: hard.filter_map(left).collect(),
            scopes: scopes.chain(selector).collect(),
        }
    }
}

impl Scope {
    fn of(name: &str) -> Self {
        match name {
            "Terminating" => Self::Terminating(true),
            "NotTerminating" => Self::Terminating(false),
            "BestEffort" => Self::BestEffort(true),
            "NotBestEffort" => Self::BestEffort(false),
            "PriorityClass" => Self::AnyPriority(true),
            _ => Self::Other,
        }
    }

    fn of_expression(expression: &Value) -> Self {
        let name = expression["scopeName"].as_str().unwrap_or_default();
        let operator = expression["operator"].as_str().unwrap_or_default();
        let values = expression["values"].as_array().into_iter().flatten();
        let names = || {
            let names = values.filter_map(Value::as_str);
            names.map(str::to_owned).collect()
        };
        match (name, operator) {
            ("PriorityClass", "In" | "NotIn") => Self::Priority {
                names: names(),
                one_of_them: operator == "In",
            },
            ("PriorityClass", "DoesNotExist") => Self::AnyPriority(false),
            _ => Self::of(name),
        }
    }
}

/// What a key of a quota counts: limits or requests, and of which resource. Without a prefix it is
/// requests.
fn counted(key: &str) -> Option<(bool, &str)> {
    const REQUESTED: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
    if let Some(resource) = key.strip_prefix("limits.") {
        return Some((true, resource));
    }
    if let Some(resource) = key.strip_prefix("requests.") {
        return Some((false, resource));
    }
    REQUESTED.contains(&key).then_some((false, key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_left_is_what_may_be_without_what_is_used() {
        let quota = Quota::from_object(
            "q",
            &json!({"hard": {"cpu": "1"}}),
            &json!({
                "hard": {"cpu": "1", "limits.memory": "1Gi", "pods": "3", "requests.cpu": "2",
                         "count/jobs.batch": "1", "memory": "1Gi"},
                "used": {"cpu": "250m", "limits.memory": "2Gi", "pods": "1", "requests.cpu": 2},
            }),
        );
        let left = quota.left.iter().map(|left| {
            (
                left.key.as_str(),
                left.of_limits,
                left.resource.as_str(),
                left.milli,
            )
        });
        assert_eq!(
            left.collect::<Vec<_>>(),
            [
                ("cpu", false, "cpu", 750),
                ("limits.memory", true, "memory", -(1000 << 30)),
                ("requests.cpu", false, "cpu", 0),
            ]
        );
    }

    #[test]
    fn scopes_are_read_from_both_places() {
        let check = |spec: Value, expected: &[Scope]| {
            assert_eq!(
                Quota::from_object("q", &spec, &Value::Null).scopes,
                expected,
                "{spec}"
            );
        };
        check(json!({}), &[]);
        check(
            json!({"scopes": ["NotTerminating", "NotBestEffort", "CrossNamespacePodAffinity"]}),
            &[
                Scope::Terminating(false),
                Scope::BestEffort(false),
                Scope::Other,
            ],
        );
        let expression =
            |expression: Value| json!({"scopeSelector": {"matchExpressions": [expression]}});
        check(
            expression(
                json!({"scopeName": "PriorityClass", "operator": "NotIn", "values": ["low"]}),
            ),
            &[Scope::Priority {
                names: vec!["low".to_owned()],
                one_of_them: false,
            }],
        );
        check(
            expression(json!({"scopeName": "PriorityClass", "operator": "Exists"})),
            &[Scope::AnyPriority(true)],
        );
        check(
            expression(json!({"scopeName": "Terminating", "operator": "Exists"})),
            &[Scope::Terminating(true)],
        );
    }
}
