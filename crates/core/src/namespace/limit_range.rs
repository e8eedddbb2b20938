//! LimitRanges, as far as they are about pods and containers
//! (<https://kubernetes.io/docs/concepts/policy/limit-range/>).

use std::collections::HashMap;

use serde_json::Value;

use crate::quantity::Quantity;

/// The bounds that a LimitRange sets to the resources of every container and of every pod as a
/// whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitRange {
    /// Its name, for people.
    pub name: String,
    /// What holds for each container and init container.
    pub container: Vec<Bounds>,
    /// What holds for a pod's containers together.
    pub pod: Vec<Bounds>,
}

/// Bounds of one resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The resource, such as `memory`.
    pub resource: String,
    /// What a request must reach, and a limit where there is one.
    pub min: Option<Quantity>,
    /// What a limit, which there must be, and a request may reach.
    pub max: Option<Quantity>,
    /// The limit of containers that have none.
    pub default: Option<Quantity>,
    /// The request of containers that have none.
    pub default_request: Option<Quantity>,
    /// How many times its request a limit may be.
    pub max_limit_request_ratio: Option<Quantity>,
}

impl LimitRange {
    /// Reads the `spec` of a LimitRange. What isn't about pods and containers, or no quantity, is
    /// left out; the API server stores nothing else.
    pub fn from_spec(name: impl Into<String>, spec: &Value) -> Self {
        let mut range = Self {
            name: name.into(),
            ..Self::default()
        };
        for item in spec["limits"].as_array().into_iter().flatten() {
            match item["type"].as_str() {
                Some("Container") => read(item, &mut range.container),
                Some("Pod") => read(item, &mut range.pod),
                _ => {}
            }
        }
        for bounds in &mut range.container {
            bounds.complete();
        }
        range
    }
}

impl Bounds {
    /// The defaults that follow from the other bounds. The API server fills them in when it stores
    /// a LimitRange.
    fn complete(&mut self) {
        let implied = |given: &Option<Quantity>, other: &Option<Quantity>| {
            given.as_ref().or(other.as_ref()).cloned()
        };
        self.default = implied(&self.default, &self.max);
        self.default_request = implied(&self.default_request, &self.default);
        self.default_request = implied(&self.default_request, &self.min);
    }
}

fn read(item: &Value, into: &mut Vec<Bounds>) {
    type Field = fn(&mut Bounds) -> &mut Option<Quantity>;
    let fields: [(&str, Field); 5] = [
        ("min", |bounds| &mut bounds.min),
        ("max", |bounds| &mut bounds.max),
        ("default", |bounds| &mut bounds.default),
        ("defaultRequest", |bounds| &mut bounds.default_request),
        ("maxLimitRequestRatio", |bounds| {
            &mut bounds.max_limit_request_ratio
        }),
    ];
    // A LimitRange can name as many resources as it has place for, and several items can name the
    // same.
    let mut known: HashMap<String, usize> = into
        .iter()
        .enumerate()
        .map(|(at, bounds)| (bounds.resource.clone(), at))
        .collect();
    for (name, field) in fields {
        for (resource, amount) in item[name].as_object().into_iter().flatten() {
            let Some(amount) = Quantity::from_json(amount) else {
                continue;
            };
            let index = *known.entry(resource.clone()).or_insert_with(|| {
                into.push(Bounds {
                    resource: resource.clone(),
                    ..Bounds::default()
                });
                into.len() - 1
            });
            *field(&mut into[index]) = Some(amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(bounds: &[Bounds]) -> Vec<String> {
        let show =
            |amount: &Option<Quantity>| amount.as_ref().map_or("-".to_owned(), Quantity::to_string);
        let mut all: Vec<String> = bounds
            .iter()
            .map(|b| {
                format!(
                    "{} {} {} {} {} {}",
                    b.resource,
                    show(&b.min),
                    show(&b.max),
                    show(&b.default),
                    show(&b.default_request),
                    show(&b.max_limit_request_ratio)
                )
            })
            .collect();
        all.sort();
        all
    }

    fn check(item: &Value, expected: &[&str]) {
        let spec = json!({"limits": [item]});
        let range = LimitRange::from_spec("range", &spec);
        let (mine, other) = match spec["limits"][0]["type"].as_str() {
            Some("Pod") => (&range.pod, &range.container),
            _ => (&range.container, &range.pod),
        };
        assert_eq!(shown(mine), expected, "{spec}");
        assert!(other.is_empty(), "{spec}");
    }

    #[test]
    fn reads_every_bound() {
        check(
            &json!({"type": "Container", "min": {"cpu": "50m"}, "max": {"cpu": 2}, "default": {"cpu": 1},
                   "defaultRequest": {"cpu": "100m"}, "maxLimitRequestRatio": {"cpu": "10"}}),
            &["cpu 50m 2 1 100m 10"],
        );
        check(
            &json!({"type": "Pod", "max": {"memory": "1Gi", "example.com/gpu": "1"}, "min": {"memory": "1Mi"}}),
            &["example.com/gpu - 1 - - -", "memory 1Mi 1Gi - - -"],
        );
        check(
            &json!({"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}),
            &[],
        );
        check(&json!({"type": "Container", "max": {"cpu": "lots"}}), &[]);
    }

    #[test]
    fn defaults_follow_from_bounds() {
        let container = |bounds: Value| {
            let mut item = bounds;
            item["type"] = "Container".into();
            item
        };
        check(&container(json!({"max": {"cpu": "2"}})), &["cpu - 2 2 2 -"]);
        check(&container(json!({"min": {"cpu": "2"}})), &["cpu 2 - - 2 -"]);
        check(
            &container(json!({"min": {"cpu": "1"}, "default": {"cpu": "3"}})),
            &["cpu 1 - 3 3 -"],
        );
    }

    #[test]
    fn nothing_is_a_limit_range_without_bounds() {
        for spec in [Value::Null, json!({}), json!({"limits": null}), json!([1])] {
            let range = LimitRange::from_spec("range", &spec);
            assert!(range.container.is_empty() && range.pod.is_empty(), "{spec}");
        }
    }
}
