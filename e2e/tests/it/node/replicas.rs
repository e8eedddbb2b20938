//! The operator itself: its image, its chart, two replicas behind a Service.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use datakit_operator_e2e::cluster::{Cluster, Mode, Namespace, refusal};
use datakit_operator_e2e::helm::{chart, helm_with};
use datakit_operator_e2e::kubectl::kubectl;
use datakit_operator_e2e::node::{self, Node, PATIENCE, say};
use datakit_operator_e2e::operator::{image_archive, program};
use datakit_operator_e2e::traffic::{is_injected, until_injected};
use datakit_operator_e2e::wait;
use datakit_operator_e2e::webhook::labels;
use serde_json::{Value, json};
use tokio::task::{JoinHandle, block_in_place};

const NAME: &str = "site";
const REPOSITORY: &str = "e2e.example/datakit-operator";
/// A pod is created this often.
const PAUSE: Duration = Duration::from_millis(100);
/// How long pods are created at the end.
const AFTERWARDS: Duration = Duration::from_secs(5);
/// How long a replica may take to say whether it is there.
const AT_ONCE: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a node: run e2e/run node::"]
async fn of_the_operator_miss_no_pod_while_one_is_there() -> Result<()> {
    let node = Node::get().await?;
    let _alone = node.alone().await;
    block_in_place(|| import(node))?;
    let site = Site::new(node).await?;
    let begin = Instant::now();
    site.helm("install", &values("first"))?;
    site.until_rolled_out().await?;
    until_injected(&site.pods).await?;
    say(&format!(
        "two replicas inject {:.1?} after the chart's installation",
        begin.elapsed()
    ));

    site.says_how_it_is().await?;

    let traffic = Traffic::start(&site.pods);
    let before = site.names().await?;
    site.helm("upgrade", &values("second"))?;
    site.until_rolled_out().await?;
    let after = site.names().await?;
    ensure!(before.is_disjoint(&after), "{before:?} {after:?}");
    traffic.finish("a rolling upgrade").await?.none_missed()?;

    let traffic = Traffic::start(&site.pods);
    let evicted = after.first().context("no pod")?;
    let path = format!("/api/v1/namespaces/{NAME}/pods/{evicted}/eviction");
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": evicted},
    });
    site.cluster.create(&path, &eviction).await?;
    site.until_gone(evicted).await?;
    site.until_rolled_out().await?;
    traffic.finish("an eviction").await?.none_missed()?;

    // With one node the second replica can't go: there is no place for another one before.
    let traffic = Traffic::start(&site.pods);
    let before = site.names().await?;
    site.drain_in_vain()?;
    let during = site.names().await?;
    ensure!(!during.is_disjoint(&before), "{before:?} {during:?}");
    site.node_command(&["uncordon", node::NAME])?;
    site.until_rolled_out().await?;
    traffic.finish("a drain").await?.none_missed()?;

    let traffic = Traffic::start(&site.pods);
    let before = site.containers().await.map_err(anyhow::Error::msg)?;
    let killed = kill_one_replica()?;
    site.until_restarted(&before, 1).await?;
    site.until_rolled_out().await?;
    traffic
        .finish(&format!("kill -9 of process {killed}"))
        .await?
        .missed_only_when_dead()?;

    let traffic = Traffic::start(&site.pods);
    let before = site.containers().await.map_err(anyhow::Error::msg)?;
    node.restart().await?;
    site.until_restarted(&before, 2).await?;
    site.until_rolled_out().await?;
    until_injected(&site.pods).await?;
    let tally = traffic.finish("a restart of the node").await?;
    tally.missed_only_when_dead()?;

    // All is as before.
    let traffic = Traffic::start(&site.pods);
    tokio::time::sleep(AFTERWARDS).await;
    traffic.finish("the time afterwards").await?.none_missed()?;
    site.helm("uninstall", &Value::Null)
}

/// Makes the image twice, which gives the same bytes, and gives it to the runtime.
fn import(node: &Node) -> Result<()> {
    let folder = node.plane().directory();
    let (first, second) = (
        folder.join("operator.tar"),
        folder.join("operator-again.tar"),
    );
    for archive in [&first, &second] {
        image_archive(&format!("{REPOSITORY}:1"), archive)?;
    }
    let same = std::fs::read(&first)? == std::fs::read(&second)?;
    ensure!(same, "two builds of the image differ");
    std::fs::remove_file(second)?;
    node.import_archive(&first)
}

fn values(annotation: &str) -> Value {
    json!({
        "fullnameOverride": NAME,
        "image": {"repository": REPOSITORY, "tag": "1"},
        "podAnnotations": {"example.com/which": annotation},
        "webhook": {"namespaceSelector": {"matchLabels": labels(NAME)}},
    })
}

/// Where the operator is installed, and a namespace of pods that it injects.
struct Site {
    node: &'static Node,
    cluster: Cluster,
    pods: Namespace,
}

impl Site {
    async fn new(node: &'static Node) -> Result<Self> {
        let cluster = Cluster::of(node.plane()).await?;
        let restricted = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        cluster.namespace(NAME, &restricted).await?;
        let pods = cluster
            .namespace(&format!("{NAME}-pods"), &labels(NAME))
            .await?;
        Ok(Self {
            node,
            cluster,
            pods,
        })
    }

    /// Runs helm with these values, if any.
    fn helm(&self, command: &str, values: &Value) -> Result<()> {
        let chart = chart().display().to_string();
        let mut args = vec![command, NAME];
        if !values.is_null() {
            args.extend([chart.as_str(), "--values", "-"]);
        }
        let values = values.to_string();
        block_in_place(|| helm_with(self.node.plane(), NAME, &args, &values))?;
        Ok(())
    }

    /// Asks the replicas how they are, on the way that leads through the kubelet.
    async fn says_how_it_is(&self) -> Result<()> {
        let run = || {
            Command::new(program()?)
                .args(["status", "--output=json", "--namespace", NAME])
                .args(["--service-name", NAME, "--kubeconfig"])
                .arg(self.node.plane().kubeconfig())
                .output()
                .context("failed to run the operator")
        };
        let output = block_in_place(run)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        let all: Value = serde_json::from_slice(&output.stdout).context(errors.into_owned())?;
        let replicas = all["replicas"].as_array().context("no replicas")?;
        let names: BTreeSet<String> = replicas
            .iter()
            .filter(|replica| replica["status"]["replica"]["phase"] == "ready")
            .filter_map(|replica| Some(replica["name"].as_str()?.to_owned()))
            .collect();
        ensure!(names == self.names().await?, "{all:#}");
        let decisions = all["decisions"].as_array().context("no decisions")?;
        let injected = |decision: &Value| decision["outcome"] == "injected";
        ensure!(decisions.iter().any(injected), "{all:#}");
        ensure!(output.status.success(), "{:?}", output.status);
        Ok(())
    }

    /// Drains the node of the operator's pods, which their disruption budget forbids in the end.
    fn drain_in_vain(&self) -> Result<()> {
        let selector = format!("--pod-selector=app.kubernetes.io/instance={NAME}");
        let drained = self.node_command(&["drain", node::NAME, &selector, "--timeout=15s"]);
        match drained {
            Ok(()) => bail!("both replicas were evicted"),
            Err(error) => {
                let error = format!("{error:#}");
                ensure!(error.contains("disruption budget"), "{error}");
                Ok(())
            }
        }
    }

    fn node_command(&self, args: &[&str]) -> Result<()> {
        block_in_place(|| kubectl(self.node.plane(), NAME, args))?;
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Value>, String> {
        let list = self
            .cluster
            .get(&format!("/api/v1/namespaces/{NAME}/pods"))
            .await;
        let list = list.map_err(|error| refusal(&error))?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// The names of the operator's pods, also of those that are ending.
    async fn names(&self) -> Result<BTreeSet<String>> {
        let pods = self.list().await.map_err(anyhow::Error::msg)?;
        let names = pods
            .iter()
            .filter_map(|pod| pod["metadata"]["name"].as_str());
        Ok(names.map(str::to_owned).collect())
    }

    /// Waits until the Deployment has two available pods of its newest template, and no others are
    /// left.
    async fn until_rolled_out(&self) -> Result<()> {
        let path = format!("/apis/apps/v1/namespaces/{NAME}/deployments/{NAME}");
        wait::until_within(PATIENCE, "the Deployment", || async {
            let deployment = self.cluster.get(&path).await;
            let deployment = deployment.map_err(|error| refusal(&error))?;
            let status = &deployment["status"];
            let newest = status["observedGeneration"] == deployment["metadata"]["generation"];
            let counts = ["replicas", "updatedReplicas", "availableReplicas"];
            let pods = self.list().await?;
            match newest && counts.iter().all(|key| status[key] == 2) && pods.len() == 2 {
                true => Ok(()),
                false => Err(format!("{status} {pods:?}")),
            }
        })
        .await
    }

    async fn until_gone(&self, name: &str) -> Result<()> {
        wait::until_within(PATIENCE, "a pod to go", || async {
            let names = self.names().await.map_err(|error| error.to_string())?;
            match names.contains(name) {
                true => Err(format!("{names:?}")),
                false => Ok(()),
            }
        })
        .await
    }

    /// The ids of the replicas' containers, of which only those that are ready.
    async fn containers(&self) -> Result<BTreeSet<String>, String> {
        let pods = self.list().await?;
        let statuses = pods
            .iter()
            .map(|pod| &pod["status"]["containerStatuses"][0]);
        let ready = statuses.filter(|status| status["ready"] == true);
        Ok(ready
            .map(|status| status["containerID"].to_string())
            .collect())
    }

    /// Waits until two are ready, of which this many are others than before.
    async fn until_restarted(&self, before: &BTreeSet<String>, count: usize) -> Result<()> {
        wait::until_within(PATIENCE, "replicas that were started again", || async {
            let now = self.containers().await?;
            match now.len() == 2 && now.difference(before).count() == count {
                true => Ok(()),
                false => Err(format!("{before:?} {now:?}")),
            }
        })
        .await
    }
}

/// Ends one replica's process, and returns its id. In this namespace there are no others of its
/// name in containers.
fn kill_one_replica() -> Result<String> {
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let id = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let exe = std::fs::read_link(path.join("exe")).unwrap_or_default();
        // Others are on the machine's file system, at a path that says more.
        if exe.as_os_str() == "/usr/local/bin/datakit-operator" {
            let sent = Command::new("sh")
                .args(["-c", "kill -KILL $0", &id])
                .status()?;
            ensure!(sent.success(), "failed to kill {id}");
            return Ok(id);
        }
    }
    bail!("no replica runs")
}

/// Creates pods all the time, and looks where the Service leads.
struct Traffic {
    stopped: Arc<AtomicBool>,
    creator: JoinHandle<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    injected: usize,
    missed_when_dead: usize,
    /// From the first of those to the last.
    dead: Option<(Instant, Instant)>,
    missed_when_alive: Vec<String>,
}

impl Traffic {
    fn start(pods: &Namespace) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let creator = tokio::spawn(create(pods.clone(), Arc::clone(&stopped)));
        Self { stopped, creator }
    }

    async fn finish(self, during: &str) -> Result<Tally> {
        self.stopped.store(true, Ordering::SeqCst);
        let tally = self.creator.await?;
        let dead = tally
            .dead
            .map_or(Duration::ZERO, |(first, last)| last - first);
        say(&format!(
            "during {during}: {} pods injected; {} not, over {dead:.1?}, while the Service led to a dead replica or to none",
            tally.injected, tally.missed_when_dead,
        ));
        ensure!(
            tally.injected > 0,
            "no pod was injected during {during}: {tally:?}"
        );
        Ok(tally)
    }
}

impl Tally {
    fn none_missed(&self) -> Result<()> {
        ensure!(self.missed_when_dead == 0, "{self:?}");
        self.missed_only_when_dead()
    }

    fn missed_only_when_dead(&self) -> Result<()> {
        ensure!(self.missed_when_alive.is_empty(), "{self:?}");
        Ok(())
    }
}

async fn create(pods: Namespace, stopped: Arc<AtomicBool>) -> Tally {
    let mut tally = Tally::default();
    while !stopped.load(Ordering::SeqCst) {
        let begin = Instant::now();
        let before = block_in_place(where_it_leads);
        let fault = match is_injected(&pods, Mode::DryRun).await {
            Ok(true) => None,
            Ok(false) => Some("it came out as it was".to_owned()),
            Err(error) => Some(refusal(&error)),
        };
        match fault {
            None => tally.injected += 1,
            Some(fault) => {
                let after = block_in_place(where_it_leads);
                if before.is_ok() && after.is_ok() {
                    let fault =
                        format!("{fault} after {:?}: {before:?}, {after:?}", begin.elapsed());
                    tally.missed_when_alive.push(fault);
                } else {
                    tally.missed_when_dead += 1;
                    let (first, _) = tally.dead.unwrap_or((begin, begin));
                    tally.dead = Some((first, Instant::now()));
                }
            }
        }
        tokio::time::sleep(PAUSE.saturating_sub(begin.elapsed())).await;
    }
    tally
}

/// The replicas that kube-proxy leads to at this moment; an error when there is none, or one that
/// takes no connections.
fn where_it_leads() -> Result<Vec<SocketAddr>, String> {
    let rules = Command::new("nft")
        .args(["list", "table", "ip", "kube-proxy"])
        .output();
    let rules = rules.map_err(|error| error.to_string())?.stdout;
    let rules = String::from_utf8_lossy(&rules);
    let chain = rules.split("chain ").find(|chain| {
        chain.starts_with("service-") && chain.contains(&format!("-{NAME}/{NAME}/tcp/"))
    });
    let mut replicas = Vec::new();
    // `goto endpoint-…__10.88.1.7/9543`
    for part in chain.unwrap_or_default().split("__").skip(1) {
        let end = part.find(|sign: char| !(sign.is_ascii_digit() || "./".contains(sign)));
        let address = part[..end.unwrap_or(part.len())].replace('/', ":");
        let address: SocketAddr = address
            .parse()
            .map_err(|error| format!("{address}: {error}"))?;
        TcpStream::connect_timeout(&address, AT_ONCE)
            .map_err(|error| format!("{address}: {error}"))?;
        replicas.push(address);
    }
    match replicas.is_empty() {
        true => Err("none".to_owned()),
        false => Ok(replicas),
    }
}
