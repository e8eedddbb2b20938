//! Requests to an API server before the control plane is known to all, and what all requests are
//! made of.

use std::path::Path;

use anyhow::Result;
use http::{Method, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;

/// A client of an API server.
pub(crate) struct Requests(Client);

impl Requests {
    pub(crate) async fn by(kubeconfig: &Path) -> Result<Self> {
        Ok(Self(client(kubeconfig).await?))
    }

    pub(crate) async fn text(&self, path: &str) -> kube::Result<String> {
        let request = Request::get(path)
            .body(Vec::new())
            .map_err(kube::Error::HttpError)?;
        self.0.request_text(request).await
    }

    pub(crate) async fn create(&self, path: &str, object: &Value) -> kube::Result<Value> {
        send(&self.0, Method::POST, path, object).await
    }

    pub(crate) async fn merge(&self, path: &str, change: &Value) -> kube::Result<Value> {
        send(&self.0, Method::PATCH, path, change).await
    }
}

/// A client by a kubeconfig file.
pub(crate) async fn client(kubeconfig: &Path) -> Result<Client> {
    let text = std::fs::read_to_string(kubeconfig)?;
    let kubeconfig = Kubeconfig::from_yaml(&text)?;
    let mut config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    // It is on loopback, whatever the environment says.
    config.proxy_url = None;
    Ok(Client::try_from(config)?)
}

/// Sends JSON, or nothing where it is null, and reads the JSON that is answered.
pub(crate) async fn send(
    client: &Client,
    method: Method,
    path: &str,
    body: &Value,
) -> kube::Result<Value> {
    client.request(request(method, path, body)?).await
}

/// A request with JSON, or nothing where it is null.
pub(crate) fn request(method: Method, path: &str, body: &Value) -> kube::Result<Request<Vec<u8>>> {
    let content = match method {
        Method::PATCH => "application/merge-patch+json",
        _ => "application/json",
    };
    let body = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content)
        .header("accept", "application/json")
        .body(body)
        .map_err(kube::Error::HttpError)
}
