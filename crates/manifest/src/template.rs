//! Where the pod templates are in a Kubernetes object.

use std::borrow::Cow;

use datakit_operator_core::inject::annotation;
use serde_json::Value;

/// A pod, or the part of a workload that its pods are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodTemplate {
    /// JSON pointer from the document's root to the object that is or holds the template: empty, or
    /// `/items/3`.
    pub object: String,
    /// JSON pointer from that object to the template: empty for a Pod, `/spec/template` for a
    /// Deployment.
    pub path: &'static str,
    /// The object's `apiVersion`, empty if it has none.
    pub api_version: String,
    /// The object's kind.
    pub kind: String,
    /// The object's name, or its `generateName`; empty if it has neither.
    pub name: String,
    /// The namespace that the template or else the object names.
    pub namespace: Option<String>,
    /// The number of the first rule of a Job's `podFailurePolicy`, from 1, that matches the exit
    /// code of a sidecar, too.
    pub failure_rule: Option<usize>,
    /// Annotations for the operator that stand on the object and not on the template, where they
    /// would count.
    pub misplaced: Vec<String>,
}

impl PodTemplate {
    /// JSON pointer from the document's root to the template.
    #[must_use]
    pub fn pointer(&self) -> String {
        format!("{}{}", self.object, self.path)
    }
}

/// An object that carries annotations for the operator where no pod template was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unhandled {
    /// The object's kind, empty if it has none.
    pub kind: String,
    /// The object's name, or its `generateName`; empty if it has neither.
    pub name: String,
    /// JSON pointer from the document's root to the first of them.
    pub place: String,
}

/// The pod templates of a document, in order. Lists (`kind: List`, `kind: DeploymentList`) are
/// searched, also in lists.
#[must_use]
pub fn find(document: &Value) -> Vec<PodTemplate> {
    let mut found = Vec::new();
    search(document, "", None, &mut found);
    found
}

fn search(object: &Value, pointer: &str, kind_of_list: Option<&str>, found: &mut Vec<PodTemplate>) {
    // The items of a typed list may leave out their kind.
    let Some(kind) = object["kind"].as_str().or(kind_of_list) else {
        return;
    };
    if let (Some(item_kind), Some(items)) = (kind.strip_suffix("List"), object["items"].as_array())
    {
        let item_kind = (!item_kind.is_empty()).then_some(item_kind);
        for (index, item) in items.iter().enumerate() {
            search(item, &format!("{pointer}/items/{index}"), item_kind, found);
        }
        return;
    }
    let Some((path, template)) = template_in(object, kind) else {
        return;
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let namespace = [template, object].iter().find_map(|holder| {
        holder["metadata"]["namespace"]
            .as_str()
            .filter(|namespace| !namespace.is_empty())
    });
    found.push(PodTemplate {
        object: pointer.to_owned(),
        path,
        api_version: text(&object["apiVersion"]),
        kind: kind.to_owned(),
        name: name_of(object).to_owned(),
        failure_rule: failure_rule(object, path),
        namespace: namespace.map(str::to_owned),
        misplaced: if path.is_empty() {
            Vec::new()
        } else {
            misplaced(object, template)
        },
    });
}

fn misplaced(object: &Value, template: &Value) -> Vec<String> {
    let effective = &template["metadata"]["annotations"];
    let annotations = object["metadata"]["annotations"].as_object();
    annotations
        .into_iter()
        .flat_map(|annotations| annotations.keys())
        .filter(|key| is_request(key) && effective.get(key.as_str()).is_none())
        .cloned()
        .collect()
}

/// The objects of a document that carry annotations for the operator where nothing comes of them,
/// in order.
#[must_use]
pub fn unhandled(document: &Value) -> Vec<Unhandled> {
    let mut found = Vec::new();
    search_unhandled(document, "", None, &mut found);
    found
}

fn search_unhandled(
    object: &Value,
    pointer: &str,
    kind_of_list: Option<&str>,
    found: &mut Vec<Unhandled>,
) {
    let kind = object["kind"].as_str().or(kind_of_list).unwrap_or_default();
    if let (Some(item_kind), Some(items)) = (kind.strip_suffix("List"), object["items"].as_array())
    {
        let item_kind = (!item_kind.is_empty()).then_some(item_kind);
        for (index, item) in items.iter().enumerate() {
            search_unhandled(item, &format!("{pointer}/items/{index}"), item_kind, found);
        }
        return;
    }
    // What stands on a workload instead of its template is told with the template.
    let handled = template_in(object, kind).map(|(path, _)| path);
    let is_known = |place: &str| {
        handled.is_some_and(|path| place == "/metadata" || place == format!("{path}/metadata"))
    };
    if let Some(place) = annotated(object, &mut Vec::new(), &is_known) {
        found.push(Unhandled {
            kind: kind.to_owned(),
            name: name_of(object).to_owned(),
            place: format!("{pointer}{place}"),
        });
    }
}

/// The first `annotations` with one for the operator, unless they stand at a known place. `path` is
/// where the value is.
fn annotated<'v>(
    value: &'v Value,
    path: &mut Vec<Cow<'v, str>>,
    is_known: &dyn Fn(&str) -> bool,
) -> Option<String> {
    match value {
        Value::Object(map) => map.iter().find_map(|(key, value)| {
            let ours = |map: &serde_json::Map<String, Value>| map.keys().any(|key| is_request(key));
            if key == "annotations" && value.as_object().is_some_and(ours) {
                let place = pointer_of(path);
                if !is_known(&place) {
                    return Some(format!("{place}/annotations"));
                }
            }
            path.push(Cow::Borrowed(key));
            let found = annotated(value, path, is_known);
            path.pop();
            found
        }),
        Value::Array(items) => items.iter().enumerate().find_map(|(index, item)| {
            path.push(Cow::Owned(index.to_string()));
            let found = annotated(item, path, is_known);
            path.pop();
            found
        }),
        _ => None,
    }
}

fn pointer_of(path: &[Cow<'_, str>]) -> String {
    let escaped = path
        .iter()
        .map(|key| key.replace('~', "~0").replace('/', "~1"));
    escaped.map(|key| format!("/{key}")).collect()
}

fn name_of(object: &Value) -> &str {
    let metadata = &object["metadata"];
    metadata["name"]
        .as_str()
        .unwrap_or_else(|| metadata["generateName"].as_str().unwrap_or_default())
}

/// Where an object holds its pod template, and the template.
fn template_in<'v>(object: &'v Value, kind: &str) -> Option<(&'static str, &'v Value)> {
    if let Some(path) = path_in(kind) {
        // A kind of that name that some other API defines may have no pod in it.
        let template = object
            .pointer(path)
            .filter(|template| template["spec"].is_object());
        if let Some(template) = template {
            return Some((path, template));
        }
    }
    // Kinds of other APIs, with a template where the built-in ones have it.
    let holds_a_pod = |template: &&Value| {
        let containers = template["spec"]["containers"].as_array();
        containers.is_some_and(|containers| containers.iter().any(Value::is_object))
    };
    PLACES.into_iter().find_map(|path| {
        let template = object.pointer(path).filter(holds_a_pod)?;
        Some((path, template))
    })
}

/// The first rule of a Job's failure policy that a sidecar's end is matched with as well: it is
/// about exit codes, for better or worse, and names no container
/// (<https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy>).
fn failure_rule(object: &Value, path: &str) -> Option<usize> {
    /// With these a container ends that is told to, or made to.
    const ENDS: [i64; 2] = [143, 137];
    let spec = object.pointer(path.strip_suffix("/template")?)?;
    let rules = spec["podFailurePolicy"]["rules"].as_array()?;
    let matches_sidecar = |rule: &Value| {
        let on = &rule["onExitCodes"];
        let values = on["values"].as_array();
        let has = |code| values.is_some_and(|values| values.iter().any(|value| *value == code));
        let matches = match on["operator"].as_str() {
            Some("In") => ENDS.into_iter().any(has),
            Some("NotIn") => !ENDS.into_iter().all(has),
            _ => false,
        };
        matches
            && on["containerName"].as_str().is_none_or(str::is_empty)
            && rule["action"] != "Count"
    };
    rules
        .iter()
        .position(matches_sidecar)
        .map(|index| index + 1)
}

/// Prefix of the operator's annotations.
const PREFIX: &str = "admission.datakit/";

/// Whether an annotation is for the operator. The one in which it answers is not.
fn is_request(key: &str) -> bool {
    key.starts_with(PREFIX) && key != annotation::STATUS
}

/// Where kinds of other APIs hold a pod template.
const PLACES: [&str; 3] = [
    "/spec/template",
    "/spec/jobTemplate/spec/template",
    "/spec/jobTargetRef/template",
];

/// Where objects of a kind hold their pod template, in every version of their API.
fn path_in(kind: &str) -> Option<&'static str> {
    match kind {
        "Pod" => Some(""),
        "Deployment"
        | "DaemonSet"
        | "StatefulSet"
        | "ReplicaSet"
        | "Job"
        | "ReplicationController" => Some("/spec/template"),
        "CronJob" => Some("/spec/jobTemplate/spec/template"),
        "PodTemplate" => Some("/template"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(document: &Value, expected: &[(&str, &str, &str, Option<&str>)]) {
        let found = find(document);
        let found: Vec<_> = found
            .iter()
            .map(|template| {
                (
                    template.pointer(),
                    &*template.kind,
                    &*template.name,
                    template.namespace.as_deref(),
                )
            })
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|&(pointer, kind, name, ns)| (pointer.to_owned(), kind, name, ns))
            .collect();
        assert_eq!(found, expected, "{document}");
    }

    #[test]
    fn templates_by_kind() {
        let pod = json!({"spec": {"containers": []}});
        check(
            &json!({"kind": "Pod", "metadata": {"name": "a"}, "spec": {}}),
            &[("", "Pod", "a", None)],
        );
        for kind in [
            "Deployment",
            "DaemonSet",
            "StatefulSet",
            "ReplicaSet",
            "Job",
            "ReplicationController",
        ] {
            let metadata = json!({"name": "a", "namespace": "shop"});
            check(
                &json!({"apiVersion": "any/v9", "kind": kind, "metadata": metadata, "spec": {"template": pod}}),
                &[("/spec/template", kind, "a", Some("shop"))],
            );
        }
        check(
            &json!({"kind": "CronJob", "metadata": {"generateName": "a-"}, "spec": {"jobTemplate": {"spec": {"template": pod}}}}),
            &[("/spec/jobTemplate/spec/template", "CronJob", "a-", None)],
        );
        check(
            &json!({"kind": "PodTemplate", "template": pod}),
            &[("/template", "PodTemplate", "", None)],
        );
    }

    #[test]
    fn the_templates_own_namespace_wins() {
        let template = json!({"metadata": {"namespace": "inner"}, "spec": {}});
        check(
            &json!({"kind": "Job", "metadata": {"name": "a", "namespace": "outer"}, "spec": {"template": template}}),
            &[("/spec/template", "Job", "a", Some("inner"))],
        );
    }

    #[test]
    fn annotations_of_the_object_have_no_effect() {
        let annotated = |keys: &[&str]| json!({"annotations": keys.iter().map(|key| (*key, "")).collect::<std::collections::BTreeMap<_, _>>()});
        let lib = "admission.datakit/java-lib.version";
        let profiler = "admission.datakit/java-profiler.version";
        let template = json!({"metadata": annotated(&[lib]), "spec": {}});
        let metadata = annotated(&[lib, profiler, "other"]);
        let found = find(
            &json!({"kind": "Deployment", "metadata": metadata, "spec": {"template": template}}),
        );
        assert_eq!(found[0].misplaced, [profiler]);
        let found = find(&json!({"kind": "Pod", "metadata": metadata, "spec": {}}));
        assert!(
            found[0].misplaced.is_empty(),
            "a pod's own annotations count"
        );
    }

    #[test]
    fn lists_in_lists() {
        let pod = json!({"kind": "Pod", "metadata": {"name": "a"}, "spec": {}});
        let bare = json!({"metadata": {"name": "b"}, "spec": {}});
        check(
            &json!({"kind": "List", "items": [
                {"kind": "Service"}, pod, {"kind": "PodList", "items": [bare, null]}, bare
            ]}),
            &[
                ("/items/1", "Pod", "a", None),
                ("/items/2/items/0", "Pod", "b", None),
            ],
        );
    }

    #[test]
    fn templates_of_other_apis() {
        let pod = json!({"spec": {"containers": [{"image": "i:1"}]}});
        let meta = json!({"name": "a"});
        for (kind, path, document) in [
            (
                "Rollout",
                "/spec/template",
                json!({"spec": {"template": pod}}),
            ),
            (
                "Service",
                "/spec/template",
                json!({"spec": {"template": pod}}),
            ),
            (
                "AdvancedCronJob",
                "/spec/jobTemplate/spec/template",
                json!({"spec": {"jobTemplate": {"spec": {"template": pod}}}}),
            ),
            (
                "ScaledJob",
                "/spec/jobTargetRef/template",
                json!({"spec": {"jobTargetRef": {"template": pod}}}),
            ),
        ] {
            let mut document = document;
            document["kind"] = json!(kind);
            document["metadata"] = meta.clone();
            check(&document, &[(path, kind, "a", None)]);
        }
        for document in [
            json!({"kind": "Rollout", "spec": {"template": {"spec": {"containers": []}}}}),
            json!({"kind": "Rollout", "spec": {"template": {"spec": {"containers": "x"}}}}),
            json!({"kind": "ClusterTemplate", "spec": {"template": "x"}}),
        ] {
            check(&document, &[]);
        }
    }

    #[test]
    fn annotations_where_nothing_comes_of_them() {
        let annotated = json!({"annotations": {"admission.datakit/java-lib.version": ""}});
        let places = |document: &Value| -> Vec<String> {
            let found = unhandled(document).into_iter();
            found
                .map(|found| format!("{}/{} {}", found.kind, found.name, found.place))
                .collect()
        };
        let spark = json!({"kind": "SparkApplication", "metadata": {"name": "pi"}, "spec": {"driver": annotated, "executor": annotated}});
        assert_eq!(
            places(&spark),
            ["SparkApplication/pi /spec/driver/annotations"]
        );
        let list =
            json!({"kind": "List", "items": [spark, {"kind": "Namespace", "metadata": annotated}]});
        assert_eq!(
            places(&list),
            [
                "SparkApplication/pi /items/0/spec/driver/annotations",
                "Namespace/ /items/1/metadata/annotations",
            ]
        );
        let pod = json!({"metadata": annotated, "spec": {"containers": [{"name": "a"}]}});
        let deployment =
            json!({"kind": "Deployment", "metadata": annotated, "spec": {"template": pod}});
        assert!(places(&deployment).is_empty());
        let other = json!({"kind": "Rollout", "spec": {"template": pod, "strategy": {"canary": {"canaryMetadata": annotated}}}});
        assert_eq!(
            places(&other),
            ["Rollout/ /spec/strategy/canary/canaryMetadata/annotations"]
        );
        assert!(
            places(&json!({"kind": "Pod", "metadata": {"annotations": {"other": ""}}})).is_empty()
        );
        assert!(places(&json!([1, null])).is_empty());
    }

    #[test]
    fn rules_that_a_sidecars_end_matches() {
        let job = |rules: &Value| {
            let template = json!({"spec": {"containers": []}});
            json!({"kind": "Job", "spec": {"podFailurePolicy": {"rules": rules}, "template": template}})
        };
        let rule = |operator: &str, values: &[i32], container: Value| json!({"action": "FailJob", "onExitCodes": {"operator": operator, "values": values, "containerName": container}});
        for (rules, expected) in [
            (json!([rule("NotIn", &[75], Value::Null)]), Some(1)),
            (json!([rule("NotIn", &[75], json!("work"))]), None),
            (
                json!([
                    rule("In", &[1], Value::Null),
                    rule("In", &[1, 143], Value::Null)
                ]),
                Some(2),
            ),
            (json!([rule("NotIn", &[137, 143], Value::Null)]), None),
            (
                json!([{"action": "Count", "onExitCodes": {"operator": "NotIn", "values": [1]}}]),
                None,
            ),
            (
                json!([{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]),
                None,
            ),
            (Value::Null, None),
        ] {
            assert_eq!(find(&job(&rules))[0].failure_rule, expected, "{rules}");
        }
        let cron = json!({"kind": "CronJob", "spec": {"jobTemplate": job(&json!([rule("In", &[137], Value::Null)]))}});
        assert_eq!(find(&cron)[0].failure_rule, Some(1));
    }

    #[test]
    fn what_holds_no_template() {
        for document in [
            json!(null),
            json!([{"kind": "Pod", "spec": {}}]),
            json!({"kind": "Service", "spec": {"template": {"spec": {}}}}),
            json!({"kind": "Deployment"}),
            json!({"kind": "Job", "spec": {"tasks": [{"template": {"spec": {}}}]}}),
            json!({"kind": "Pod", "spec": null}),
            json!({"kind": ["Pod"], "spec": {}}),
            json!({"kind": "List", "items": {"kind": "Pod", "spec": {}}}),
        ] {
            check(&document, &[]);
        }
    }
}
