//! What a pod gets to talk to the API server.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;

use crate::cluster::Cluster;
use crate::plane::kubeconfig;

/// Writes a kubeconfig with a token of a service account into a directory and returns its path.
/// `server` is the address of the API server.
pub async fn credentials(
    cluster: &Cluster,
    namespace: &str,
    account: &str,
    server: &str,
    directory: &Path,
) -> Result<PathBuf> {
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        // Longer than any test.
        "spec": {"expirationSeconds": 86_400},
    });
    let answer = cluster.create(&path, &request).await;
    let answer = answer.with_context(|| format!("failed to get a token from {path}"))?;
    let token = answer["status"]["token"].as_str().context("no token")?;
    std::fs::create_dir_all(directory)?;
    let file = directory.join("token");
    std::fs::write(&file, token)?;
    let text = kubeconfig(
        server,
        cluster.plane().authority(),
        &json!({ "tokenFile": file }),
    );
    let path = directory.join("kubeconfig");
    std::fs::write(&path, text.to_string())?;
    Ok(path)
}
