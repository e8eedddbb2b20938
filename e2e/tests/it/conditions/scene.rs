//! An installation whose configuration changes, and what of it is registered.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use datakit_operator_e2e::cluster::{Cluster, Mode, refusal};
use datakit_operator_e2e::installation::{Installation, Member};
use datakit_operator_e2e::kubectl::kubectl;
use datakit_operator_e2e::wait;
use serde_json::{Value, json};

pub(super) const NAME: &str = "admission.datakit/asked-for";
pub(super) const JAVA: &str = "admission.datakit/java-lib.version";
pub(super) const REVIEWS: &str = "datakit_operator_reviews_total";

/// An installation whose configuration is a file, and its replicas.
pub(super) struct Scene {
    pub(super) installation: Installation,
    pub(super) members: Vec<Member>,
    pub(super) config: PathBuf,
    pub(super) sentinels: usize,
}

/// A configuration with a Java rule for each of these conditions, and for pods that are annotated.
pub(super) fn config(conditions: &[Value]) -> Value {
    let rule = |when: &Value| {
        let mut rule = json!({"language": "java", "image": "java:1"});
        for (key, value) in when.as_object().into_iter().flatten() {
            rule[key] = value.clone();
        }
        rule
    };
    let annotated = json!({"namespace_selectors": ["*"], "check_annotation": true});
    let all = conditions.iter().chain([&annotated]);
    let rules: Vec<Value> = all.map(rule).collect();
    json!({"admission_inject_v2": {"ddtraces": rules}})
}

/// What is registered by the operator, if all webhooks have the same.
pub(super) async fn registered(installation: &Installation) -> Result<Option<String>> {
    let configuration = installation.configuration().await?;
    let webhooks = configuration["webhooks"].as_array().into_iter().flatten();
    let of = |webhook: &Value| {
        let mut all = webhook["matchConditions"].as_array().into_iter().flatten();
        let ours = all.find(|condition| condition["name"] == NAME)?;
        ours["expression"].as_str().map(str::to_owned)
    };
    let found: BTreeSet<Option<String>> = webhooks.map(of).collect();
    ensure!(found.len() == 1, "they differ: {configuration:#}");
    Ok(found.into_iter().next().flatten())
}

pub(super) async fn until_registered(
    installation: &Installation,
    what: &str,
    is_it: impl Fn(Option<&str>) -> bool,
) -> Result<()> {
    wait::until(what, || async {
        let found = registered(installation).await;
        let found = found.map_err(|error| format!("{error:#}"))?;
        match is_it(found.as_deref()) {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    })
    .await
}

pub(super) fn pod(name: &str, labels: &Value, annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": labels, "annotations": annotations},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    })
}

/// Whether the Java library was injected.
pub(super) fn is_injected(pod: &Value) -> bool {
    pod["spec"]["initContainers"]
        .to_string()
        .contains("datakit-lib-init")
}

impl Scene {
    pub(super) async fn new(
        cluster: &Cluster,
        name: &str,
        rules: &[Value],
        replicas: usize,
    ) -> Result<Self> {
        let config = cluster.plane().directory().join(format!("{name}.json"));
        std::fs::write(&config, self::config(rules).to_string())?;
        let flag = format!("--config={}", config.display());
        let installation = Installation::new(cluster, name, &[&flag]).await?;
        let members = installation.start_many(replicas).await?;
        Ok(Self {
            installation,
            members,
            config,
            sentinels: 0,
        })
    }

    /// Takes other rules into use, as a changed ConfigMap does.
    pub(super) fn reload(&self, rules: &[Value]) -> Result<()> {
        let fresh = self.config.with_extension("fresh");
        std::fs::write(&fresh, config(rules).to_string())?;
        std::fs::rename(&fresh, &self.config)?;
        Ok(())
    }

    /// The names of all pods that were reviewed.
    pub(super) fn reviewed(&self) -> BTreeSet<String> {
        let lines = self
            .members
            .iter()
            .flat_map(|member| member.replica.lines());
        let reviews = lines.filter(|line| line["msg"] == "pod reviewed");
        reviews
            .filter_map(|line| Some(line["pod"].as_str()?.to_owned()))
            .collect()
    }

    /// Waits until a pod has been reviewed that asks. What was reviewed before it is in the logs,
    /// too.
    pub(super) async fn until_sentinel(&mut self) -> Result<()> {
        self.sentinels += 1;
        let name = format!("sentinel-{}", self.sentinels);
        let asks = pod(&name, &json!({}), &json!({JAVA: ""}));
        let pods = self.installation.pods();
        // At first the API server may not have heard of the webhook.
        wait::until("the sentinel's injection", || async {
            match pods.create_pod(&asks, Mode::DryRun).await {
                Ok(created) if is_injected(&created.pod) => Ok(()),
                Ok(_) => Err("it isn't injected".to_owned()),
                Err(error) => Err(refusal(&error)),
            }
        })
        .await?;
        wait::until("the sentinel's review", || async {
            match self.reviewed().contains(&name) {
                true => Ok(()),
                false => Err("it isn't in a log".to_owned()),
            }
        })
        .await
    }

    /// Waits until API servers go by the condition that is registered, by which this pod isn't
    /// called for.
    pub(super) async fn until_left_out(&mut self, labels: &Value) -> Result<()> {
        // Only from then on it means something that a pod isn't reviewed.
        self.until_sentinel().await?;
        for round in 0.. {
            let name = format!("left-out-{}-{round}", self.sentinels);
            let pod = pod(&name, labels, &json!({}));
            self.installation
                .pods()
                .create_pod(&pod, Mode::DryRun)
                .await?;
            self.until_sentinel().await?;
            if !self.reviewed().contains(&name) {
                return Ok(());
            }
            ensure!(round < 500, "a pod is asked about that nobody asks about");
        }
        Ok(())
    }

    /// Waits until API servers go by the condition that is registered, by which this pod is called
    /// for.
    pub(super) async fn until_called(&self, labels: &Value) -> Result<()> {
        wait::until("a call", || async {
            let pod = pod("called", labels, &json!({}));
            let created = self
                .installation
                .pods()
                .create_pod(&pod, Mode::DryRun)
                .await;
            match created {
                Ok(created) if is_injected(&created.pod) => Ok(()),
                Ok(_) => Err("it isn't injected".to_owned()),
                Err(error) => Err(refusal(&error)),
            }
        })
        .await
    }

    pub(super) async fn reviews(&self) -> Result<f64> {
        let mut sum = 0.0;
        for member in &self.members {
            sum += member.replica.metric(REVIEWS, &[]).await?;
        }
        Ok(sum)
    }

    /// Waits until a replica has said this.
    pub(super) async fn until_said(&self, part: &str) -> Result<()> {
        wait::until("a word in the log", || async {
            let log = self.log();
            match log.contains(part) {
                true => Ok(()),
                false => Err(log),
            }
        })
        .await
    }

    pub(super) fn log(&self) -> String {
        self.members
            .iter()
            .map(|member| member.replica.log())
            .collect()
    }
}

/// How often evaluating a condition failed, of all webhooks of this name.
pub(super) fn evaluation_errors(cluster: &Cluster, name: &str) -> Result<Vec<String>> {
    let printed = kubectl(cluster.plane(), "default", &["get", "--raw", "/metrics"])?;
    let lines = printed.stdout.lines().map(str::to_owned);
    Ok(lines
        .filter(|line| {
            line.contains("match_condition_evaluation_errors_total") && line.contains(name)
        })
        .collect())
}
