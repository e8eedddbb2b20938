//! The registration of an operator with the API server.

use anyhow::{Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Mode, Namespace, refusal};
use crate::operator::{Operator, Options};
use crate::wait;

/// The label by which an operator's namespaces are told from those of other tests.
const LABEL: &str = "e2e.datakit/operator";

/// What the API server does when the webhook gives no usable answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It creates the pod as it is, after two seconds at most: how the operator is meant to be
    /// registered.
    Ignore,
    /// It refuses the pod, so that no fault stays hidden.
    Fail,
    /// The same, and it doesn't ask again when other webhooks have changed the pod: how most are
    /// registered.
    FailAndAskOnce,
}

/// A running operator, registered for a namespace.
pub struct Injected {
    /// The operator.
    pub operator: Operator,
    /// The namespace whose pods it injects.
    pub namespace: Namespace,
}

impl Injected {
    /// Starts an operator, registers it under `name`, and makes a namespace `name` for it.
    pub async fn start(
        cluster: &Cluster,
        name: &str,
        options: &Options,
        policy: Policy,
    ) -> Result<Self> {
        let operator = Operator::start(cluster.plane(), name, options).await?;
        let labels = labels(name);
        register(
            cluster,
            name,
            &labels,
            operator.port(),
            operator.ca()?,
            policy,
        )
        .await?;
        let namespace = cluster.namespace(name, &labels).await?;
        let any = json!({"containers": [{"name": "c", "image": "i"}]});
        until_asked(&namespace, &any).await?;
        Ok(Self {
            operator,
            namespace,
        })
    }
}

/// The labels of a namespace whose pods the operator of this name injects.
#[must_use]
pub fn labels(operator: &str) -> Value {
    json!({ LABEL: operator })
}

/// Registers a webhook on a port of this machine, for namespaces with these labels. The API server
/// asks webhooks in the order of the names they are registered under.
pub async fn register(
    cluster: &Cluster,
    name: &str,
    labels: &Value,
    port: u16,
    ca: &str,
    policy: Policy,
) -> Result<()> {
    let (failure, seconds, again) = match policy {
        Policy::Ignore => ("Ignore", 2, "IfNeeded"),
        Policy::Fail => ("Fail", 10, "IfNeeded"),
        Policy::FailAndAskOnce => ("Fail", 10, "Never"),
    };
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [{
            "name": "inject.datakit.example",
            "clientConfig": {
                "url": format!("https://localhost:{port}/v1/webhooks/inject"),
                "caBundle": BASE64.encode(ca),
            },
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
            "namespaceSelector": {"matchLabels": labels},
            "failurePolicy": failure,
            "timeoutSeconds": seconds,
            "matchPolicy": "Equivalent",
            "reinvocationPolicy": again,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }],
    });
    let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    cluster.create(path, &configuration).await?;
    Ok(())
}

/// Waits until the API server asks the operator about pods of a namespace. Any operator, however it
/// is configured, remarks on an annotation that is misspelled. `spec` is that of a pod that the
/// namespace admits.
pub async fn until_asked(namespace: &Namespace, spec: &Value) -> Result<()> {
    let probe = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "probe", "annotations": {"admission.datakit/jav-lib.version": ""}},
        "spec": spec,
    });
    wait::until("the webhook", || async {
        match namespace.create_pod(&probe, Mode::DryRun).await {
            Ok(created) if !created.warnings.is_empty() => Ok(Ok(())),
            Ok(_) => Err("the operator was not asked".to_owned()),
            // While others are being started it may take a moment to answer.
            Err(error) => Err(refusal(&error)),
        }
    })
    .await?
    .or_else(|error: kube::Error| bail!(error))
}
