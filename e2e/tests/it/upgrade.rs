//! Installations as people make them, updated while pods are being created: the Deployment
//! controller is the real one, and the pods it makes are processes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use datakit_operator_e2e::cluster::{Cluster, Mode, Namespace};
use datakit_operator_e2e::helm::{chart, helm_with};
use datakit_operator_e2e::kubectl::{kubectl, kubectl_with};
use datakit_operator_e2e::kubelet::Kubelet;
use datakit_operator_e2e::repository::repository;
use datakit_operator_e2e::traffic::{self, Traffic, until_injected};
use datakit_operator_e2e::webhook::labels;
use datakit_operator_e2e::{plane, wait};
use serde_json::{Value, json};
use tokio::task::block_in_place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the control plane: run e2e/run"]
async fn from_one_chart_to_the_next() -> Result<()> {
    let name = "upgraded";
    let site = Site::new(name).await?;
    let values = json!({
        "fullnameOverride": name,
        "webhook": {"timeoutSeconds": 10, "namespaceSelector": {"matchLabels": labels(name)}},
    });
    let helm = |command: &str, chart: &Path, values: &Value| {
        let chart = chart.display().to_string();
        let args = [command, name, &chart, "--values", "-"];
        block_in_place(|| helm_with(site.plane(), name, &args, &values.to_string()))
    };
    helm("install", &chart(), &values)?;
    site.until_rolled_out(2).await?;
    until_injected(&site.pods).await?;
    let before = site.authority().await?;
    let pods = site.names().await?;

    let traffic = Traffic::start(&site.pods);
    let mut next = values.clone();
    next["logFormat"] = "json".into();
    next["podAnnotations"] = json!({"example.com/changed": "yes"});
    next["webhook"]["reinvocationPolicy"] = "Never".into();
    next["replicaCount"] = 3.into();
    helm("upgrade", &later_chart(site.plane())?, &next)?;
    site.until_rolled_out(3).await?;
    let now = site.names().await?;
    assert!(
        pods.iter().all(|pod| !now.contains(pod)),
        "{pods:?} {now:?}"
    );
    // Back to what was there, as after an update that one regrets.
    block_in_place(|| helm_with(site.plane(), name, &["rollback", name, "1"], ""))?;
    site.until_rolled_out(2).await?;
    println!("{} pods", traffic.finish().await?);

    assert_eq!(site.authority().await?, before);
    site.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the control plane: run e2e/run"]
async fn by_applying_the_file_again() -> Result<()> {
    let name = "applied";
    let site = Site::new(name).await?;
    let file = repository().join("deploy/datakit-operator.yaml");
    let file = file.display().to_string();
    let read = ["apply", "--dry-run=client", "-o", "json", "-f", &file];
    let read = block_in_place(|| kubectl(site.plane(), "datakit", &read))?;
    let mut list: Value = serde_json::from_str(&read.stdout)?;
    for object in list["items"].as_array_mut().context("no list")? {
        // What kubectl adds on the way, with the whole object in it.
        object["metadata"]["annotations"] = Value::Null;
        if object["webhooks"].is_array() {
            object["webhooks"][0]["namespaceSelector"]["matchLabels"] = labels(name);
            object["webhooks"][0]["timeoutSeconds"] = 10.into();
        }
    }
    // Other tests install it, too.
    let text = list
        .to_string()
        .replace(
            r#""namespace":"datakit""#,
            &format!(r#""namespace":"{name}""#),
        )
        .replace("datakit-operator", name);
    let text = text.replace(r#""datakit""#, &format!("{name:?}"));
    let apply = |text: &str| {
        block_in_place(|| kubectl_with(site.plane(), name, &["apply", "-f", "-"], text))
    };
    apply(&text)?;
    site.until_rolled_out(2).await?;
    until_injected(&site.pods).await?;
    let before = site.authority().await?;
    let pods = site.names().await?;

    let traffic = Traffic::start(&site.pods);
    apply(&text)?;
    assert_eq!(site.authority().await?, before);
    // A changed configuration is taken over by the pods that run.
    let text = text.replace("v1.20.2-guance", "v9.9.9");
    apply(&text)?;
    site.until_all_inject("v9.9.9").await?;
    assert_eq!(site.names().await?, pods);
    let mut changed: Value = serde_json::from_str(&text)?;
    for object in changed["items"].as_array_mut().context("no list")? {
        if object["kind"] == "Deployment" {
            let template = &mut object["spec"]["template"];
            template["metadata"]["annotations"]["example.com/changed"] = "yes".into();
        }
    }
    apply(&changed.to_string())?;
    site.until_rolled_out(2).await?;
    let now = site.names().await?;
    assert!(
        pods.iter().all(|pod| !now.contains(pod)),
        "{pods:?} {now:?}"
    );
    println!("{} pods", traffic.finish().await?);

    assert_eq!(site.authority().await?, before);
    site.finish().await
}

/// Where an operator is installed: a namespace of its name whose pods run, and one for pods that it
/// injects.
struct Site {
    name: &'static str,
    own: Namespace,
    pods: Namespace,
    kubelet: Kubelet,
}

impl Site {
    async fn new(name: &'static str) -> Result<Self> {
        let cluster = Cluster::connect().await?;
        // The strictest there is: the operator's own pods conform to it.
        let restricted = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let own = cluster.namespace(name, &restricted).await?;
        let pods = cluster
            .namespace(&format!("{name}-pods"), &labels(name))
            .await?;
        let kubelet = Kubelet::start(&cluster, name);
        Ok(Self {
            name,
            own,
            pods,
            kubelet,
        })
    }

    fn plane(&self) -> &'static plane::Plane {
        self.own.cluster().plane()
    }

    async fn get(&self, path: &str) -> Result<Value> {
        Ok(self.own.cluster().get(path).await?)
    }

    /// Waits until the Deployment has this many available pods of its newest template, and no
    /// others are left.
    async fn until_rolled_out(&self, count: usize) -> Result<()> {
        let path = format!("/apis/apps/v1/namespaces/{0}/deployments/{0}", self.name);
        wait::until("the Deployment", || async {
            if let Err(error) = self.kubelet.check() {
                return Ok(Err(error));
            }
            let deployment = self.get(&path).await.map_err(|error| error.to_string())?;
            let status = &deployment["status"];
            let newest = status["observedGeneration"] == deployment["metadata"]["generation"];
            let counts = ["replicas", "updatedReplicas", "availableReplicas"];
            let done = counts.iter().all(|key| status[key] == count);
            let pods = self.names().await.map_err(|error| error.to_string())?;
            match newest && done && pods.len() == count {
                true => Ok(Ok(())),
                false => Err(format!("{pods:?} {status:#}")),
            }
        })
        .await?
    }

    /// Waits until many pods in a row, which can't all have met the same replica, get this version
    /// of a library.
    async fn until_all_inject(&self, version: &str) -> Result<()> {
        wait::until(&format!("pods with {version}"), || async {
            for _ in 0..20 {
                let pod = self.pods.create_pod(&traffic::pod(), Mode::DryRun).await;
                let pod = pod.map_err(|error| error.to_string())?.pod;
                let image = &pod["spec"]["initContainers"][0]["image"];
                if !image.to_string().contains(version) {
                    return Err(format!("one got {image}"));
                }
            }
            Ok(())
        })
        .await
    }

    /// The names of the operator's pods, also of those that are ending.
    async fn names(&self) -> Result<Vec<String>> {
        let list = self
            .get(&format!("/api/v1/namespaces/{}/pods", self.name))
            .await?;
        let pods = list["items"].as_array().context("no list")?;
        let names = pods
            .iter()
            .filter_map(|pod| pod["metadata"]["name"].as_str());
        Ok(names.map(str::to_owned).collect())
    }

    /// The authority, as it is stored and as it is registered.
    async fn authority(&self) -> Result<(Value, Value)> {
        let secret = format!("/api/v1/namespaces/{0}/secrets/{0}-ca", self.name);
        let secret = self.get(&secret).await?["data"].take();
        let group = "/apis/admissionregistration.k8s.io/v1";
        let configuration = format!(
            "{group}/mutatingwebhookconfigurations/{}-mutation",
            self.name
        );
        let configuration = self.get(&configuration).await?;
        let bundle = &configuration["webhooks"][0]["clientConfig"]["caBundle"];
        ensure!(bundle.is_string(), "none is registered: {configuration:#}");
        Ok((secret, bundle.clone()))
    }

    /// Fails if any pod ran otherwise than it should, or had anything to complain about: a
    /// permission that is missing would be that.
    async fn finish(self) -> Result<()> {
        for log in self.kubelet.logs()? {
            let mut lines = log.lines();
            let complaint = lines.find(|line| {
                let marks = ["level=warn", "level=error", r#""warn""#, r#""error""#];
                // Objects of this kind belong to no namespace, and another test makes hundreds of
                // them, unusable ones too.
                let of_others = ["ClusterLoggingConfig", "watch_logging_configs"];
                marks.iter().any(|mark| line.contains(mark))
                    && !of_others.iter().any(|other| line.contains(other))
            });
            assert_eq!(complaint, None);
        }
        self.kubelet.finish().await
    }
}

/// The chart as its next version might be.
fn later_chart(plane: &plane::Plane) -> Result<PathBuf> {
    let copy = plane.directory().join("later-chart");
    copy_all(&chart(), &copy)?;
    let file = copy.join("Chart.yaml");
    let text = std::fs::read_to_string(&file)?;
    let later: Vec<_> = text
        .lines()
        .map(|line| match line.split_once(':') {
            Some(("version", _)) => "version: 99.0.0",
            Some(("appVersion", _)) => r#"appVersion: "99.0.0""#,
            _ => line,
        })
        .collect();
    ensure!(later.concat().matches("99.0.0").count() == 2, "{text}");
    std::fs::write(file, later.join("\n"))?;
    Ok(copy)
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_all(&entry.path(), &target)?,
            false => drop(std::fs::copy(entry.path(), target)?),
        }
    }
    Ok(())
}
