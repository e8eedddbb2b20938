//! Requests to the API server, as raw JSON so that no field is lost on the way.

use anyhow::{Context, Result};
use http::Method;
use kube::Client;
use serde_json::{Value, json};

use crate::plane::Plane;
use crate::requests::{client, request, send};
use crate::wait;

/// A client of the API server. Each test makes its own, since connections belong to its runtime.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    plane: &'static Plane,
}

/// A namespace of a test.
#[derive(Clone)]
pub struct Namespace {
    cluster: Cluster,
    name: String,
}

/// What creating a pod gave.
#[derive(Clone, Debug)]
pub struct Created {
    /// The pod as it was stored, or would have been.
    pub pod: Value,
    /// What the API server and its webhooks remarked.
    pub warnings: Vec<String>,
}

/// Options of creating a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is stored.
    Store,
    /// It goes through admission and validation, and is forgotten.
    DryRun,
    /// The same, and fields that the API server doesn't know are refused.
    StrictDryRun,
}

impl Cluster {
    /// A client of the control plane of this test run.
    pub async fn connect() -> Result<Self> {
        Self::of(Plane::get().await?).await
    }

    /// A client of this control plane.
    pub async fn of(plane: &'static Plane) -> Result<Self> {
        let client = client(&plane.kubeconfig()).await?;
        Ok(Self { client, plane })
    }

    /// The control plane.
    #[must_use]
    pub fn plane(&self) -> &'static Plane {
        self.plane
    }

    /// Creates an object: a POST to the path of its collection.
    pub async fn create(&self, path: &str, object: &Value) -> kube::Result<Value> {
        send(&self.client, Method::POST, path, object).await
    }

    /// Changes the named fields of an object: a merge patch.
    pub async fn merge(&self, path: &str, change: &Value) -> kube::Result<Value> {
        send(&self.client, Method::PATCH, path, change).await
    }

    /// Puts an object in the place of the one that is there.
    pub async fn replace(&self, path: &str, object: &Value) -> kube::Result<Value> {
        send(&self.client, Method::PUT, path, object).await
    }

    /// Deletes an object, with these `DeleteOptions`.
    pub async fn delete(&self, path: &str, options: &Value) -> kube::Result<Value> {
        send(&self.client, Method::DELETE, path, options).await
    }

    /// Reads an object or a list.
    pub async fn get(&self, path: &str) -> kube::Result<Value> {
        send(&self.client, Method::GET, path, &Value::Null).await
    }

    /// Makes a namespace with these labels, in which pods can be created.
    pub async fn namespace(&self, name: &str, labels: &Value) -> Result<Namespace> {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        self.create("/api/v1/namespaces", &object)
            .await
            .with_context(|| format!("failed to create namespace `{name}`"))?;
        // A pod needs the account that a controller makes. Without its token, pods of different
        // namespaces can be compared: the volume of a token has a random name.
        let account = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
        let untokened = json!({"automountServiceAccountToken": false});
        wait::until("the service account", || async {
            let changed = self.merge(&account, &untokened).await;
            changed.map_err(|error| refusal(&error))
        })
        .await?;
        Ok(Namespace {
            cluster: self.clone(),
            name: name.to_owned(),
        })
    }
}

impl Namespace {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cluster it is in.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Creates a pod. A pod that names another namespace is moved to this one.
    pub async fn create_pod(&self, pod: &Value, mode: Mode) -> kube::Result<Created> {
        let mut pod = pod.clone();
        if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("namespace");
        }
        let options = match mode {
            Mode::Store => "",
            Mode::DryRun => "?dryRun=All",
            Mode::StrictDryRun => "?dryRun=All&fieldValidation=Strict",
        };
        let path = format!("/api/v1/namespaces/{}/pods{options}", self.name);
        let request = request(Method::POST, &path, &pod)?;
        let response = self
            .cluster
            .client
            .send(request.map(kube::client::Body::from))
            .await?;
        let warnings = response.headers().get_all("warning").iter();
        let warnings = warnings
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        let created = response.status().is_success();
        let body = response.into_body().collect_bytes().await?;
        let body: Value = serde_json::from_slice(&body).map_err(kube::Error::SerdeError)?;
        if created {
            return Ok(Created {
                pod: body,
                warnings,
            });
        }
        let status = serde_json::from_value(body).map_err(kube::Error::SerdeError)?;
        Err(kube::Error::Api(Box::new(status)))
    }

    /// Creates a workload from a pod template and returns the first pod that the controllers make
    /// of it.
    pub async fn pod_of(&self, workload: &str, object: &Value) -> Result<Value> {
        let path = format!(
            "/apis/{}/namespaces/{}/{workload}",
            object["apiVersion"].as_str().unwrap_or("v1"),
            self.name
        );
        self.cluster
            .create(&path, object)
            .await
            .with_context(|| format!("failed to create {workload} {object}"))?;
        let app = object["metadata"]["name"].as_str().unwrap_or_default();
        self.first_pod(&format!("app%3D{app}")).await
    }

    /// Waits for a pod with these labels (URL-encoded) and returns it.
    pub async fn first_pod(&self, labels: &str) -> Result<Value> {
        let path = format!(
            "/api/v1/namespaces/{}/pods?labelSelector={labels}",
            self.name
        );
        wait::until(&format!("a pod with {labels} in {}", self.name), || async {
            let list = self
                .cluster
                .get(&path)
                .await
                .map_err(|error| refusal(&error))?;
            match list["items"].get(0) {
                Some(pod) => Ok(pod.clone()),
                None => Err("there is none".to_owned()),
            }
        })
        .await
    }
}

/// What the API server said in one sentence, or what went wrong on the way.
#[must_use]
pub fn refusal(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Whether the API server answered with this HTTP status.
#[must_use]
pub fn is_status(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}
