//! Where the pod templates are in a Kubernetes object.

use serde_json::Value;

/// A pod, or the part of a workload that its pods are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodTemplate {
    /// JSON pointer from the document's root to the object that is or holds the template: empty, or `/items/3`.
    pub object: String,
    /// JSON pointer from that object to the template: empty for a Pod, `/spec/template` for a Deployment.
    pub path: &'static str,
    /// The object's `apiVersion`, empty if it has none.
    pub api_version: String,
    /// The object's kind.
    pub kind: String,
    /// The object's name, or its `generateName`; empty if it has neither.
    pub name: String,
    /// The namespace that the template or else the object names.
    pub namespace: Option<String>,
    /// Annotations for the operator that stand on the object and not on the template, where they would count.
    pub misplaced: Vec<String>,
}

impl PodTemplate {
    /// JSON pointer from the document's root to the template.
    #[must_use]
    pub fn pointer(&self) -> String {
        format!("{}{}", self.object, self.path)
    }
}

/// The pod templates of a document, in order. Lists (`kind: List`, `kind: DeploymentList`) are searched, also in lists.
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
    let Some(path) = path_in(kind) else { return };
    let Some(template) = object.pointer(path) else {
        return;
    };
    // A kind of that name that some other API defines, without a pod in it.
    if !template["spec"].is_object() {
        return;
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    let name = metadata["name"]
        .as_str()
        .unwrap_or_else(|| metadata["generateName"].as_str().unwrap_or_default());
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
        name: name.to_owned(),
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
        .filter(|key| {
            key.starts_with("admission.datakit/") && effective.get(key.as_str()).is_none()
        })
        .cloned()
        .collect()
}

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
