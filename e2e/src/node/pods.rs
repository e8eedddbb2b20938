//! Pods that run.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cluster::{Mode, Namespace, refusal};
use crate::kubectl::kubectl;
use crate::wait;

/// How long a program may take to start or to end. A Java program with its tracing library keeps a
/// core busy for a while.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// A pod that was created on a node.
pub struct Pod {
    namespace: Namespace,
    name: String,
}

impl Pod {
    /// Creates it.
    pub async fn create(namespace: &Namespace, pod: &Value) -> Result<Self> {
        let created = namespace.create_pod(pod, Mode::Store).await?;
        Self::of(namespace, &created.pod)
    }

    /// One that is there.
    pub fn of(namespace: &Namespace, pod: &Value) -> Result<Self> {
        let name = pod["metadata"]["name"].as_str();
        Ok(Self {
            namespace: namespace.clone(),
            name: name.context("a pod without a name")?.to_owned(),
        })
    }

    /// As it is now.
    pub async fn now(&self) -> kube::Result<Value> {
        self.namespace.cluster().get(&self.path()).await
    }

    /// Waits until it is in this phase, and returns it. It is an error when it ends in another.
    pub async fn until(&self, phase: &str) -> Result<Value> {
        let what = format!("{} to be {phase}", self.name);
        let found = wait::until_within(PATIENCE, &what, || async {
            let pod = self.now().await.map_err(|error| refusal(&error))?;
            match pod["status"]["phase"].as_str() {
                Some(now) if now == phase => Ok(Ok(pod)),
                Some(now @ ("Succeeded" | "Failed")) => {
                    Ok(Err(format!("it is {now}: {}", pod["status"])))
                }
                _ => Err(pod["status"].to_string()),
            }
        });
        match found.await? {
            Ok(pod) => Ok(pod),
            Err(other) => bail!(
                "expected {} to be {phase}: {other}\n{}",
                self.name,
                self.all_logs()
            ),
        }
    }

    /// Waits until all its containers are ready.
    pub async fn until_ready(&self) -> Result<Value> {
        let what = format!("{} to be ready", self.name);
        let found = wait::until_within(PATIENCE, &what, || async {
            let pod = self.now().await.map_err(|error| refusal(&error))?;
            let conditions = pod["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            match conditions.find(|condition| condition["type"] == "Ready") {
                Some(ready) if ready["status"] == "True" => Ok(pod),
                _ => Err(pod["status"].to_string()),
            }
        });
        found.await.with_context(|| self.all_logs())
    }

    /// What a container has printed.
    pub fn logs(&self, container: &str) -> Result<String> {
        let args = ["logs", &self.name, "--container", container];
        Ok(kubectl(
            self.namespace.cluster().plane(),
            self.namespace.name(),
            &args,
        )?
        .stdout)
    }

    /// Runs a command in a container and returns what it prints.
    pub fn exec(&self, container: &str, command: &[&str]) -> Result<String> {
        let mut args = vec!["exec", &self.name, "--container", container, "--"];
        args.extend(command);
        Ok(kubectl(
            self.namespace.cluster().plane(),
            self.namespace.name(),
            &args,
        )?
        .stdout)
    }

    /// What all have printed, for a look after a failure.
    #[must_use]
    pub fn all_logs(&self) -> String {
        let args = [
            "logs",
            &self.name,
            "--all-containers",
            "--prefix",
            "--tail=50",
        ];
        match kubectl(
            self.namespace.cluster().plane(),
            self.namespace.name(),
            &args,
        ) {
            Ok(printed) => printed.stdout,
            Err(error) => format!("{error:#}"),
        }
    }

    /// Deletes it without waiting.
    pub async fn delete(&self) -> Result<()> {
        let options = serde_json::json!({"gracePeriodSeconds": 0});
        let cluster = self.namespace.cluster();
        cluster.delete(&self.path(), &options).await?;
        Ok(())
    }

    fn path(&self) -> String {
        format!(
            "/api/v1/namespaces/{}/pods/{}",
            self.namespace.name(),
            self.name
        )
    }
}
