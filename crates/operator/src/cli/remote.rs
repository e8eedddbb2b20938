//! A cluster as its users see it: asked with the rights of a kubeconfig, by commands that end.

pub(super) mod forward;

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use datakit_operator_core::config::EnvOverrides;
use http::Request;
use kube::Client;
use serde_json::Value;
use tokio::time::timeout;

use super::Usage;
use super::source::{Loaded, Source as ConfigSource};
use crate::cluster::{self, Access, conditions};
use crate::error::Chain;

/// How long one question to the API server may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An installation that the command is about.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(super) struct Installation {
    /// Cluster to ask [default: that of ~/.kube/config; in a pod its own]
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    kubeconfig: Option<OsString>,

    /// Namespace of the operator
    #[arg(short, long, value_name = "NAME", default_value = "datakit")]
    pub(super) namespace: String,

    /// Name of the installation: of its Service and Deployment
    #[arg(long, value_name = "NAME", default_value = "datakit-operator")]
    pub(super) service_name: String,
}

impl Installation {
    /// A client of the cluster.
    pub(super) async fn connect(&self) -> anyhow::Result<Client> {
        connect(self.kubeconfig.as_ref()).await
    }
}

/// Which cluster, and which operator there.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(super) struct Operator {
    /// Cluster to ask [default: that of ~/.kube/config; in a pod its own]
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    kubeconfig: Option<OsString>,

    /// Namespace of the operator whose configuration counts
    #[arg(long, value_name = "NAME", default_value = "datakit")]
    operator_namespace: String,

    /// Name of its installation
    #[arg(long, value_name = "NAME", default_value = "datakit-operator")]
    service_name: String,
}

impl Operator {
    /// The namespace of the operator.
    pub(super) fn namespace(&self) -> &str {
        &self.operator_namespace
    }

    /// A client of the cluster.
    pub(super) async fn connect(&self) -> anyhow::Result<Client> {
        connect(self.kubeconfig.as_ref()).await
    }
}

async fn connect(kubeconfig: Option<&OsString>) -> anyhow::Result<Client> {
    let client = cluster::connect(&access(kubeconfig)?).await;
    Ok(client.map_err(|error| Usage(error.into()))?)
}

/// The cluster that `kubectl` would ask.
pub(super) fn access(kubeconfig: Option<&OsString>) -> anyhow::Result<Access> {
    match kubeconfig {
        Some(path) if !path.is_empty() => {
            let files = std::env::split_paths(path).collect();
            Ok(Access::Kubeconfig(files))
        }
        _ if cluster::args::in_pod() => Ok(Access::InPod),
        _ => {
            let home = std::env::var_os("HOME").context("HOME is not set; name a --kubeconfig");
            let home = home.map_err(Usage)?;
            let file = std::path::Path::new(&home).join(".kube/config");
            Ok(Access::Kubeconfig(vec![file]))
        }
    }
}

/// An answer of the API server in time, or why there is none.
pub(super) async fn ask<T>(
    question: impl Future<Output = kube::Result<T>>,
) -> Result<T, Unanswered> {
    match timeout(TIMEOUT, question).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => Err(Unanswered {
            code: status.code,
            why: status.message.clone(),
        }),
        Ok(Err(error)) => Err(Unanswered {
            code: 0,
            why: Chain(&error).to_string(),
        }),
        Err(_) => Err(Unanswered {
            code: 0,
            why: format!("no answer within {} seconds", TIMEOUT.as_secs()),
        }),
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Unanswered {
    /// The HTTP status; 0 if there is none.
    pub(super) code: u16,
    pub(super) why: String,
}

impl Unanswered {
    pub(super) fn is_missing(&self) -> bool {
        self.code == 404
    }
}

impl std::fmt::Display for Unanswered {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.why)
    }
}

/// Whether the API server asks the operator about pods of a namespace.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// What is to be said of the webhook: nothing where it is asked, or where that can't be read.
    pub(super) remark: Option<String>,
    /// Whether it is asked only about those for which the match condition holds.
    pub(super) narrows: bool,
}

/// Whether the API server asks the operator about pods of the namespace of this name, with these
/// labels. `expression` is the match condition that its configuration comes to.
pub(super) async fn asked(
    client: &Client,
    operator: &Operator,
    (namespace, labels): (&str, &Value),
    expression: Option<&str>,
) -> Asked {
    let name = format!("{}-mutation", operator.service_name);
    let group = "/apis/admissionregistration.k8s.io/v1";
    let registered = get(
        client,
        &format!("{group}/mutatingwebhookconfigurations/{name}"),
    )
    .await;
    let remark = |remark: String| Asked {
        remark: Some(remark),
        narrows: false,
    };
    let registered = match registered {
        Ok(registered) => registered,
        Err(error) if error.is_missing() => {
            return remark(format!(
                "MutatingWebhookConfiguration `{name}` does not exist: nothing of this happens until it does"
            ));
        }
        Err(_) => return Asked::default(),
    };
    let webhooks = registered["webhooks"].as_array().into_iter().flatten();
    let asking = webhooks.filter(|webhook| selects(&webhook["namespaceSelector"], labels));
    let conditions: Vec<Option<&str>> = asking
        .map(|webhook| {
            let mut all = webhook["matchConditions"].as_array().into_iter().flatten();
            let ours = all.find(|condition| condition["name"] == conditions::NAME)?;
            ours["expression"].as_str()
        })
        .collect();
    if conditions.is_empty() {
        return remark(format!(
            "MutatingWebhookConfiguration `{name}` leaves namespace `{namespace}` out: the operator isn't asked about \
             its pods, and nothing of this happens there"
        ));
    }
    if conditions
        .iter()
        .any(|one| one.is_some() && *one != expression)
    {
        return remark(format!(
            "MutatingWebhookConfiguration `{name}` has another match condition than this configuration gives: if that \
             stays, pods may not be asked about; `datakit-operator check` says more"
        ));
    }
    Asked {
        remark: None,
        narrows: expression.is_some() && conditions.iter().all(Option::is_some),
    }
}

/// Whether a label selector fits, as API servers read it
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#resources-that-support-set-based-requirements>).
fn selects(selector: &Value, labels: &Value) -> bool {
    let label = |key: &str| labels.get(key).and_then(Value::as_str);
    let mut pairs = selector["matchLabels"].as_object().into_iter().flatten();
    let mut expressions = selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten();
    pairs.all(|(key, value)| label(key) == value.as_str())
        && expressions.all(|expression| {
            let label = label(expression["key"].as_str().unwrap_or_default());
            let values = expression["values"].as_array();
            let has = |label: &str| values.is_some_and(|values| values.iter().any(|v| v == label));
            match expression["operator"].as_str() {
                Some("In") => label.is_some_and(has),
                Some("NotIn") => !label.is_some_and(has),
                Some("Exists") => label.is_some(),
                Some("DoesNotExist") => label.is_none(),
                _ => false,
            }
        })
}

/// The configuration of the operator there, unless another one is named.
pub(super) async fn configuration(
    client: &Client,
    operator: &Operator,
    file: Option<&Path>,
) -> anyhow::Result<(String, Loaded)> {
    if let Some(file) = file {
        let source = ConfigSource::choose(Some(file))?;
        let loaded = source.load()?;
        return Ok((source.to_string(), loaded));
    }
    let (namespace, name) = (&operator.operator_namespace, &operator.service_name);
    let origin = format!("ConfigMap {namespace}/{name}-config");
    let path = format!("/api/v1/namespaces/{namespace}/configmaps/{name}-config");
    let map = get(client, &path).await.map_err(|error| {
        anyhow!(
            "{origin} can't be read: {error}; name the installation with --operator-namespace and --service-name, \
             or a file with --config"
        )
    })?;
    let text = map["data"]["jsonconfig"].as_str();
    let text = text.with_context(|| format!("{origin} has no key `jsonconfig`"))?;
    let loaded = Loaded::of(text, &EnvOverrides::default());
    Ok((origin, loaded.map_err(|error| Usage(error.into()))?))
}

pub(super) async fn get(client: &Client, path: &str) -> Result<Value, Unanswered> {
    let request = Request::get(path).body(Vec::new());
    ask(async {
        client
            .request(request.map_err(kube::Error::HttpError)?)
            .await
    })
    .await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_as_api_servers_read_them() {
        let labels = json!({"team": "a", "kubernetes.io/metadata.name": "shop"});
        let check = |selector: Value, want: bool| {
            assert_eq!(selects(&selector, &labels), want, "{selector}");
        };
        let expression = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        check(Value::Null, true);
        check(json!({}), true);
        check(json!({"matchLabels": {"team": "a"}}), true);
        check(json!({"matchLabels": {"team": "b"}}), false);
        check(json!({"matchLabels": {"x": ""}}), false);
        check(expression("team", "In", &["a", "b"]), true);
        check(expression("team", "In", &["b"]), false);
        check(expression("x", "In", &[""]), false);
        check(
            expression(
                "kubernetes.io/metadata.name",
                "NotIn",
                &["kube-system", "shop"],
            ),
            false,
        );
        check(expression("x", "NotIn", &["a"]), true);
        check(expression("team", "Exists", &[]), true);
        check(expression("team", "DoesNotExist", &[]), false);
        check(expression("team", "Gt", &["1"]), false);
    }
}
