//! Runs the pods of a namespace as processes, and tells the API server of them, so that real
//! controllers roll them on.
//!
//! Every pod is taken for one of `datakit-operator`, whatever its image. It gets the pod's
//! arguments and environment, but listens at an address of its own; files are where a test can
//! write them, and the paths in arguments and variables are changed to them; the service account's
//! token comes in a kubeconfig. What isn't understood is a fault. It also keeps the endpoints of
//! the namespace's Services, as a controller does in a cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, is_status};
use crate::pod::Pod;
use crate::service::Endpoints;

const PERIOD: Duration = Duration::from_millis(100);

/// A running kubelet. Its processes are killed when it is dropped.
pub struct Kubelet {
    directory: PathBuf,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    faults: Arc<Mutex<Vec<String>>>,
}

struct Node {
    cluster: Cluster,
    namespace: String,
    directory: PathBuf,
    pods: BTreeMap<String, Pod>,
    services: BTreeMap<String, (Value, Endpoints)>,
    faults: Arc<Mutex<Vec<String>>>,
}

impl Kubelet {
    /// Starts running the pods of a namespace.
    #[must_use]
    pub fn start(cluster: &Cluster, namespace: &str) -> Self {
        let faults = Arc::default();
        let directory = cluster.plane().directory();
        let directory = directory.join(format!("kubelet-{namespace}"));
        let mut node = Node {
            cluster: cluster.clone(),
            namespace: namespace.to_owned(),
            directory: directory.clone(),
            pods: BTreeMap::new(),
            services: BTreeMap::new(),
            faults: Arc::clone(&faults),
        };
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            while !*stopped.borrow() {
                if let Err(error) = node.sync().await {
                    node.blame(format!("{error:#}"));
                }
                let _ = tokio::time::timeout(PERIOD, stopped.changed()).await;
            }
        });
        Self {
            directory,
            stop,
            task,
            faults,
        }
    }

    /// Fails if anything went wrong so far: a pod that could not be run, one that ended by itself,
    /// or one that had to be killed because it did not end in time.
    pub fn check(&self) -> Result<()> {
        match self.faults.lock() {
            Ok(faults) if faults.is_empty() => Ok(()),
            Ok(faults) => bail!("{}", faults.join("\n")),
            Err(_) => bail!("a panic"),
        }
    }

    /// What all pods have written so far, also those that are gone.
    pub fn logs(&self) -> Result<Vec<String>> {
        let mut logs = Vec::new();
        for pod in std::fs::read_dir(&self.directory)? {
            let pod = pod?;
            let log = Path::new(&pod.file_name()).with_added_extension("log");
            logs.push(std::fs::read_to_string(pod.path().join(log))?);
        }
        Ok(logs)
    }

    /// Stops, and fails if anything went wrong.
    pub async fn finish(mut self) -> Result<()> {
        self.stop.send_replace(true);
        (&mut self.task).await?;
        self.check()
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Node {
    fn blame(&self, fault: String) {
        if let Ok(mut faults) = self.faults.lock()
            && !faults.contains(&fault)
        {
            faults.push(fault);
        }
    }

    async fn sync(&mut self) -> Result<()> {
        let pods = self.list("pods").await?;
        for object in &pods {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let deleted = !object["metadata"]["deletionTimestamp"].is_null();
            match self.pods.get_mut(name) {
                None if deleted => {}
                None => {
                    let started = self.start(name, object).await;
                    started.with_context(|| format!("failed to run pod `{name}`"))?;
                }
                Some(pod) if deleted => {
                    let grace = object["metadata"]["deletionGracePeriodSeconds"].as_u64();
                    if pod.stop(Duration::from_secs(grace.unwrap_or(30)))? {
                        self.blame(format!("`{name}` did not end in time and was killed"));
                    }
                }
                Some(_) => {}
            }
        }
        self.look_for_services().await?;
        let names: Vec<_> = self.pods.keys().cloned().collect();
        for name in names {
            let tended = self.tend(&name).await;
            tended.with_context(|| format!("pod `{name}`"))?;
        }
        Ok(())
    }

    /// Starts a pod, unless it is gone by now.
    async fn start(&mut self, name: &str, object: &Value) -> Result<()> {
        let path = format!("{}/binding", self.path(name));
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
            "target": {"apiVersion": "v1", "kind": "Node", "name": "node-1"},
        });
        match self.cluster.create(&path, &binding).await {
            Err(error) if is_status(&error, 404) || is_status(&error, 409) => return Ok(()),
            bound => bound?,
        };
        let directory = self.directory.join(name);
        let pod = Pod::start(&self.cluster, object, &directory).await?;
        self.pods.insert(name.to_owned(), pod);
        Ok(())
    }

    async fn look_for_services(&mut self) -> Result<()> {
        let Some(pod) = self.pods.values().next() else {
            return Ok(());
        };
        for service in self.list("services").await? {
            let name = service["metadata"]["name"].as_str().unwrap_or_default();
            let selector = &service["spec"]["selector"];
            if selector.is_null() || self.services.contains_key(name) {
                continue;
            }
            let mut ports = Vec::new();
            for port in service["spec"]["ports"].as_array().into_iter().flatten() {
                let target = pod.port(&port["targetPort"]);
                let target = target.with_context(|| format!("no container has the port {port}"))?;
                ports.push(json!({"name": port["name"], "port": target}));
            }
            let endpoints =
                Endpoints::new(&self.cluster, &self.namespace, name, &ports.into()).await?;
            self.services
                .insert(name.to_owned(), (selector.clone(), endpoints));
        }
        Ok(())
    }

    /// Does for one pod what is to be done now.
    async fn tend(&mut self, name: &str) -> Result<()> {
        let path = self.path(name);
        let Some(pod) = self.pods.get_mut(name) else {
            return Ok(());
        };
        pod.refresh(&self.cluster).await?;
        let address = pod.replica.address();
        if pod.replica.ended()? {
            for (_, endpoints) in self.services.values() {
                endpoints.remove(address).await?;
            }
            return self.bury(name).await;
        }
        let ready = pod.ready().await;
        for (selector, endpoints) in self.services.values() {
            if selects(selector, &pod.object["metadata"]["labels"]) {
                endpoints.set(address, ready).await?;
            }
        }
        if pod.reported != Some(ready) && !pod.is_stopping() {
            let change = pod.status(ready);
            pod.reported = Some(ready);
            let changed = self.cluster.merge(&format!("{path}/status"), &change).await;
            match changed {
                Err(error) if is_status(&error, 404) => {}
                changed => drop(changed?),
            }
        }
        Ok(())
    }

    /// Tells the API server that a pod is no more.
    async fn bury(&mut self, name: &str) -> Result<()> {
        let Some(pod) = self.pods.remove(name) else {
            return Ok(());
        };
        if !pod.is_stopping() {
            let log = pod.replica.log();
            self.blame(format!("`{name}` ended by itself: {log}"));
        }
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
            "preconditions": {"uid": pod.object["metadata"]["uid"]},
        });
        match self.cluster.delete(&self.path(name), &options).await {
            Err(error) if is_status(&error, 404) || is_status(&error, 409) => Ok(()),
            deleted => deleted.map(drop).map_err(Into::into),
        }
    }

    async fn list(&self, collection: &str) -> Result<Vec<Value>> {
        let path = format!("/api/v1/namespaces/{}/{collection}", self.namespace);
        let mut list = self.cluster.get(&path).await?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            _ => bail!("{path} is not a list"),
        }
    }

    fn path(&self, pod: &str) -> String {
        format!("/api/v1/namespaces/{}/pods/{pod}", self.namespace)
    }
}

fn selects(selector: &Value, labels: &Value) -> bool {
    selector
        .as_object()
        .is_some_and(|all| all.iter().all(|(key, value)| labels[key] == *value))
}
