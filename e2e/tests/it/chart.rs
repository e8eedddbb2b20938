//! The chart, and the single file that is made of it, with real Helm on a real API server.

mod additions;
mod cases;
mod definitions;
mod gitops;
mod image;
mod install;
mod monitoring;
mod promises;
mod single_file;
mod values;
mod values_table;

use anyhow::Result;
use datakit_operator_e2e::helm::{chart, helm_with};
use datakit_operator_e2e::kubectl::{Printed, kubectl_with};
use datakit_operator_e2e::plane::Plane;
use serde_json::Value;

/// The objects that a chart or file gave, as the API server would store them.
struct Objects(Vec<Value>);

impl Objects {
    /// Reads what `kubectl -o json` prints.
    fn parse(printed: &str) -> Result<Self> {
        let list: Value = serde_json::from_str(printed)?;
        Ok(Self(match list {
            Value::Object(ref object) if object["kind"] == "List" => {
                list["items"].as_array().cloned().unwrap_or_default()
            }
            single => vec![single],
        }))
    }

    /// The only object of this kind, but for those that are there for metrics only.
    #[track_caller]
    fn one(&self, kind: &str) -> &Value {
        let component = |object: &Value| {
            let labels = &object["metadata"]["labels"];
            labels["app.kubernetes.io/component"] == "metrics"
        };
        let found: Vec<_> = self.of(kind).filter(|object| !component(object)).collect();
        let &[only] = found.as_slice() else {
            panic!("{} objects are of kind {kind}: {found:?}", found.len());
        };
        only
    }

    /// Those of this kind.
    fn of(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |object| object["kind"] == kind)
    }

    /// `Kind/name` of each, sorted.
    fn names(&self) -> Vec<String> {
        let name = |object: &Value| {
            let part = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            format!(
                "{}/{}",
                part(&object["kind"]),
                part(&object["metadata"]["name"])
            )
        };
        let mut names: Vec<_> = self.0.iter().map(name).collect();
        names.sort();
        names
    }
}

/// Renders the chart as a release of this name with these values (JSON is YAML), the test included.
fn render(plane: &Plane, release: &str, namespace: &str, values: &Value) -> Result<String> {
    let chart = chart();
    let args = [
        "template".as_ref(),
        release.as_ref(),
        chart.as_os_str(),
        "--values".as_ref(),
        "-".as_ref(),
    ];
    Ok(helm_with(plane, namespace, &args, &values.to_string())?.stdout)
}

/// What the API server would make of manifests. Fields that it doesn't know are refused.
fn accepted(plane: &Plane, namespace: &str, manifests: &str) -> Result<Printed> {
    let args = [
        "apply",
        "--server-side",
        "--dry-run=server",
        "--validate=strict",
        "-o=json",
        "-f=-",
    ];
    kubectl_with(plane, namespace, &args, manifests)
}

/// The strings of a list.
fn strings(list: &Value) -> Vec<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// The value of `--flag=value` among a container's arguments.
fn flag<'a>(objects: &'a Objects, name: &str) -> Option<&'a str> {
    let args = &objects.one("Deployment")["spec"]["template"]["spec"]["containers"][0]["args"];
    strings(args)
        .into_iter()
        .find_map(|arg| arg.strip_prefix(&format!("--{name}=")))
}
