//! A pod of the operator as a process.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde_json::{Value, json};

use crate::account::credentials;
use crate::cluster::Cluster;
use crate::mounted::Mounted;
use crate::process::Signal;
use crate::replica::{Replica, probe};
use crate::service::address;

/// A pod that runs as a process.
pub(crate) struct Pod {
    pub(crate) replica: Replica,
    pub(crate) object: Value,
    /// Whether it is ready, as the API server was told.
    pub(crate) reported: Option<bool>,
    stopping: Option<Stopping>,
    readiness: (SocketAddr, String),
    mounts: Vec<Mount>,
}

/// A volume of a ConfigMap or Secret.
struct Mount {
    /// The path of the object at the API server.
    source: String,
    /// Where the container expects it.
    path: String,
    files: Mounted,
}

/// A pod that has been asked to end.
struct Stopping {
    limit: Instant,
    killed: bool,
}

impl Pod {
    /// Starts the process of a pod that the API server has.
    pub(crate) async fn start(cluster: &Cluster, object: &Value, directory: &Path) -> Result<Self> {
        let (name, namespace) = (
            text(&object["metadata"]["name"]),
            text(&object["metadata"]["namespace"]),
        );
        let spec = &object["spec"];
        let container = &spec["containers"][0];
        for unknown in [
            &spec["containers"][1],
            &spec["initContainers"],
            &container["command"],
            &container["lifecycle"],
            &container["envFrom"],
        ] {
            ensure!(unknown.is_null(), "not understood: {unknown:#}");
        }
        let account = spec["serviceAccountName"].as_str().unwrap_or("default");
        let server = cluster.plane().server();
        let kubeconfig = credentials(cluster, namespace, account, server, directory).await?;
        let address = address()?;
        let mounts = mount(cluster, object, directory).await?;
        let mut args = strings(&container["args"]);
        let mut variables = variables(object, address)?;
        for text in args.iter_mut().chain(variables.values_mut()) {
            for mount in &mounts {
                *text = text.replace(&mount.path, &mount.files.path().display().to_string());
            }
        }
        for (flag, port) in [("--listen", 9543), ("--probe-listen", 9544)] {
            here(&mut args, flag, address, port);
        }
        variables.insert("KUBECONFIG".to_owned(), kubeconfig.display().to_string());
        let variables: Vec<_> = variables.into_iter().collect();
        Ok(Self {
            replica: Replica::start(directory, name, address, &args, &variables)?,
            object: object.clone(),
            reported: None,
            stopping: None,
            readiness: readiness(container, address)?,
            mounts,
        })
    }

    /// Whether it may get requests. A pod that has been asked to end may not, though it still
    /// answers.
    pub(crate) async fn ready(&mut self) -> bool {
        let (server, path) = &self.readiness;
        probe(*server, path).await.is_ok() && self.stopping.is_none()
    }

    /// Asks it to end, as often as this is called; kills it when its time is up, and returns
    /// whether that was now.
    pub(crate) fn stop(&mut self, grace: Duration) -> Result<bool> {
        let Some(stopping) = &mut self.stopping else {
            self.replica.signal(Signal::Terminate)?;
            self.stopping = Some(Stopping {
                limit: Instant::now() + grace,
                killed: false,
            });
            return Ok(false);
        };
        if stopping.killed || Instant::now() < stopping.limit {
            return Ok(false);
        }
        stopping.killed = true;
        self.replica.signal(Signal::Kill)?;
        Ok(true)
    }

    /// Whether it has been asked to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// Writes what has changed in its ConfigMaps and Secrets to its files.
    pub(crate) async fn refresh(&mut self, cluster: &Cluster) -> Result<()> {
        for mount in &mut self.mounts {
            // One that has been deleted stays as it was.
            if let Ok(object) = cluster.get(&mount.source).await {
                mount.files.replace(content(&object)?)?;
            }
        }
        Ok(())
    }

    /// Its status, as the API server has to know it.
    pub(crate) fn status(&self, ready: bool) -> Value {
        let (state, address) = (if ready { "True" } else { "False" }, self.replica.address());
        let name = &self.object["spec"]["containers"][0]["name"];
        let image = &self.object["spec"]["containers"][0]["image"];
        let since = &self.object["metadata"]["creationTimestamp"];
        let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"].map(|kind| {
            let state = if kind.ends_with("Ready") {
                state
            } else {
                "True"
            };
            json!({"type": kind, "status": state})
        });
        json!({"status": {
            "phase": "Running", "conditions": conditions, "startTime": since,
            "hostIP": "127.0.0.1", "podIP": address, "podIPs": [{"ip": address}],
            "containerStatuses": [{
                "name": name, "image": image, "imageID": "", "ready": ready, "started": true,
                "restartCount": 0, "state": {"running": {"startedAt": since}},
            }],
        }})
    }

    /// The port that is meant by a number or by the name of a container's port.
    pub(crate) fn port(&self, target: &Value) -> Option<u16> {
        port(&self.object["spec"]["containers"][0], target)
    }
}

async fn mount(cluster: &Cluster, object: &Value, directory: &Path) -> Result<Vec<Mount>> {
    let spec = &object["spec"];
    let namespace = text(&object["metadata"]["namespace"]);
    let mut mounts = Vec::new();
    for place in list(&spec["containers"][0]["volumeMounts"]) {
        let mut volumes = list(&spec["volumes"]);
        let volume = volumes.find(|volume| volume["name"] == place["name"]);
        let volume = volume.context("a mount without a volume")?;
        let names = (
            &volume["configMap"]["name"],
            &volume["secret"]["secretName"],
        );
        let (collection, name) = match names {
            (Value::String(name), _) => ("configmaps", name),
            (_, Value::String(name)) => ("secrets", name),
            // The token, which is in the kubeconfig, or an empty directory.
            _ => continue,
        };
        let source = format!("/api/v1/namespaces/{namespace}/{collection}/{name}");
        let stored = cluster.get(&source).await;
        let stored = stored.with_context(|| format!("failed to mount {source}"))?;
        mounts.push(Mount {
            files: Mounted::new(&directory.join(collection).join(name), content(&stored)?)?,
            source,
            path: text(&place["mountPath"]).to_owned(),
        });
    }
    Ok(mounts)
}

/// The files that a ConfigMap or a Secret gives.
fn content(object: &Value) -> Result<BTreeMap<String, Vec<u8>>> {
    let secret = object["kind"] == "Secret";
    let mut files = BTreeMap::new();
    for (name, value) in object["data"].as_object().into_iter().flatten() {
        let value = match secret {
            true => BASE64.decode(text(value))?,
            false => text(value).as_bytes().to_vec(),
        };
        files.insert(name.clone(), value);
    }
    Ok(files)
}

/// The environment of a container. It is in a cluster, as every container can tell.
fn variables(object: &Value, address: Ipv4Addr) -> Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::from([
        ("KUBERNETES_SERVICE_HOST".to_owned(), "127.0.0.1".to_owned()),
        ("KUBERNETES_SERVICE_PORT".to_owned(), "443".to_owned()),
    ]);
    for variable in list(&object["spec"]["containers"][0]["env"]) {
        let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
            Some("metadata.name") => text(&object["metadata"]["name"]).to_owned(),
            Some("metadata.namespace") => text(&object["metadata"]["namespace"]).to_owned(),
            Some("status.podIP") => address.to_string(),
            None if variable["valueFrom"].is_null() => text(&variable["value"]).to_owned(),
            _ => bail!("not understood: {variable}"),
        };
        variables.insert(text(&variable["name"]).to_owned(), value);
    }
    Ok(variables)
}

/// Changes where an operator listens: at this address instead of all, on the same port.
fn here(args: &mut Vec<String>, flag: &str, address: Ipv4Addr, default: u16) {
    let prefix = format!("{flag}=");
    match args.iter_mut().find(|arg| arg.starts_with(&prefix)) {
        Some(arg) => {
            let port = arg.rsplit(':').next().unwrap_or_default();
            *arg = format!("{prefix}{address}:{port}");
        }
        None => args.push(format!("{prefix}{address}:{default}")),
    }
}

fn readiness(container: &Value, address: Ipv4Addr) -> Result<(SocketAddr, String)> {
    let probe = &container["readinessProbe"]["httpGet"];
    let port = port(container, &probe["port"])
        .with_context(|| format!("no port for the readiness probe {probe}"))?;
    Ok((
        SocketAddr::from((address, port)),
        text(&probe["path"]).to_owned(),
    ))
}

fn port(container: &Value, target: &Value) -> Option<u16> {
    let number = match target {
        Value::String(name) => {
            &list(&container["ports"]).find(|port| port["name"] == **name)?["containerPort"]
        }
        number => number,
    };
    number.as_u64()?.try_into().ok()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn strings(value: &Value) -> Vec<String> {
    list(value).map(|value| text(value).to_owned()).collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
