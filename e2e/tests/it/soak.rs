//! For a long time, everything that the operator watches changes: pods, ClusterLoggingConfigs, their
//! kind, the API server itself. What it keeps must not grow by that.
//!
//! `e2e/run soak::` runs this, and nothing else does: it restarts the API server that all others
//! share. `E2E_SOAK_MINUTES` says for how long (60), `E2E_SOAK_PODS` how many pods there are (2000).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use datakit_operator_e2e::caller::Caller;
use datakit_operator_e2e::cluster::{Cluster, Mode, Namespace, is_status, refusal};
use datakit_operator_e2e::installation::{Installation, Member};
use datakit_operator_e2e::kubectl::kubectl;
use datakit_operator_e2e::replica::WEBHOOK;
use datakit_operator_e2e::repository::repository;
use datakit_operator_e2e::traffic::until_injected;
use datakit_operator_e2e::wait;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

const NAME: &str = "soak";
const REPLICAS: usize = 2;
/// So many tasks change pods, each so often.
const CHANGERS: usize = 4;
const CHANGE: Duration = Duration::from_millis(40);
/// One change out of this many replaces the pod by a new one.
const REPLACED: usize = 40;
/// How often a sidecar asks what to collect, and an agent for all pods.
const POLL: Duration = Duration::from_millis(500);
const LIST: Duration = Duration::from_secs(10);
/// How often the kind is deleted and applied again, and the API server restarted.
const KIND_EVERY: Duration = Duration::from_secs(60);
const RESTART_EVERY: Duration = Duration::from_secs(300);
/// How often memory is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// ClusterLoggingConfigs; one of three can't be read.
const OBJECTS: usize = 30;
const OBJECTS_PATH: &str = "/apis/logging.datakits.io/v1alpha1/clusterloggingconfigs";
const KIND: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/clusterloggingconfigs.logging.datakits.io";

/// What was done, and what came of it.
#[derive(Debug, Default)]
struct Tally {
    stopped: AtomicBool,
    changes: AtomicU64,
    /// While the API server was away.
    failed_changes: AtomicU64,
    answered: AtomicU64,
    /// 503, with a reason.
    not_known: AtomicU64,
    kinds: AtomicU64,
    restarts: AtomicU64,
}

impl Tally {
    fn goes_on(&self) -> bool {
        !self.stopped.load(Ordering::Relaxed)
    }
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run soak::"]
async fn memory_stays_as_it_is() -> Result<()> {
    let number = |name: &str, default: u64| {
        let set = std::env::var(name).ok();
        set.map_or(Ok(default), |set| set.parse())
            .context(name.to_owned())
    };
    let minutes = number("E2E_SOAK_MINUTES", 60)?;
    let count = usize::try_from(number("E2E_SOAK_PODS", 2000)?)?;
    let cluster = Cluster::connect().await?;
    let flags = ["--lease-duration=3s", "--pod-api=on"];
    let installation = Installation::new(&cluster, NAME, &flags).await?;
    let rules = json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
        {"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["get"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get"]},
    ]);
    installation.grant("watches", &rules).await?;
    let members = installation.start_many(REPLICAS).await?;
    let pods = installation.pods();
    until_injected(pods).await?;
    for number in 0..count {
        pods.create_pod(&pod(number), Mode::Store).await?;
    }
    apply_kind(&cluster).await?;

    let tally = Arc::new(Tally::default());
    let mut tasks = JoinSet::new();
    for changer in 0..CHANGERS {
        tasks.spawn(change(pods.clone(), changer, count, Arc::clone(&tally)));
    }
    for member in &members {
        let server = SocketAddr::from((member.replica.address(), WEBHOOK));
        let sidecar = "/v1/logging/configs?namespace=soak&pod_name=p-1";
        tasks.spawn(ask(server, sidecar, POLL, Arc::clone(&tally)));
        tasks.spawn(ask(
            server,
            "/v1/cluster/api/v1/pods",
            LIST,
            Arc::clone(&tally),
        ));
    }
    tasks.spawn(come_and_go(cluster.clone(), Arc::clone(&tally)));
    tasks.spawn(restart(cluster.clone(), Arc::clone(&tally)));
    let resident = watch_memory(&members, Duration::from_secs(60 * minutes)).await?;
    tally.stopped.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }

    println!("{minutes} minutes, {count} pods: {tally:?}");
    for (member, resident) in members.iter().zip(&resident) {
        judge(member.replica.name(), resident)?;
    }
    for member in &members {
        let panics = member.replica.metric("datakit_operator_panics_total", &[]);
        assert_eq!(panics.await?, 0.0);
    }
    until_well(&cluster, pods, &members).await
}

/// Changes pods one after another, and now and then replaces one.
async fn change(pods: Namespace, changer: usize, count: usize, tally: Arc<Tally>) -> Result<()> {
    let cluster = pods.cluster();
    let mut every = interval(CHANGE);
    for turn in 0_usize.. {
        every.tick().await;
        if !tally.goes_on() {
            break;
        }
        let number = (turn * CHANGERS + changer) % count;
        let path = format!("/api/v1/namespaces/{}/pods/p-{number}", pods.name());
        let done = if turn % REPLACED == 0 {
            let at_once = json!({"gracePeriodSeconds": 0});
            cluster.delete(&path, &at_once).await.map(drop)
        } else {
            let change = json!({"metadata": {"labels": {"turn": turn.to_string()}}});
            cluster.merge(&path, &change).await.map(drop)
        };
        let done = match done {
            // Replaced just now, or when the API server went away.
            Err(error) if is_status(&error, 404) => create(&pods, number).await,
            Ok(()) if turn % REPLACED == 0 => create(&pods, number).await,
            done => done,
        };
        match done {
            Ok(()) => tally.changes.fetch_add(1, Ordering::Relaxed),
            Err(_) => tally.failed_changes.fetch_add(1, Ordering::Relaxed),
        };
    }
    Ok(())
}

async fn create(pods: &Namespace, number: usize) -> kube::Result<()> {
    pods.create_pod(&pod(number), Mode::Store).await.map(drop)
}

/// Asks a replica over and over. It always answers: with what it knows, or that it doesn't.
async fn ask(
    server: SocketAddr,
    path: &'static str,
    period: Duration,
    tally: Arc<Tally>,
) -> Result<()> {
    let mut every = interval(period);
    while tally.goes_on() {
        every.tick().await;
        let asked =
            tokio::task::spawn_blocking(move || Caller::of(server)?.call("GET", path, "", ""));
        let answer = asked.await??;
        let counter = match answer.status {
            200 | 404 => &tally.answered,
            503 => &tally.not_known,
            status => anyhow::bail!("{path} was answered {status}: {}", answer.body),
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Deletes the kind, and with it all objects, and makes both again.
async fn come_and_go(cluster: Cluster, tally: Arc<Tally>) -> Result<()> {
    let mut last = Instant::now();
    while tally.goes_on() {
        sleep(Duration::from_secs(1)).await;
        if last.elapsed() < KIND_EVERY {
            continue;
        }
        last = Instant::now();
        wait::until("the end of the kind", || async {
            match cluster.delete(KIND, &Value::Null).await {
                Err(error) if is_status(&error, 404) => Ok(()),
                Err(error) => Err(refusal(&error)),
                Ok(_) => Err("it is there".to_owned()),
            }
        })
        .await?;
        apply_kind(&cluster).await?;
        tally.kinds.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

async fn apply_kind(cluster: &Cluster) -> Result<()> {
    let file = repository().join("deploy/clusterloggingconfigs.yaml");
    let file = file.to_str().context("the path is not UTF-8")?;
    wait::until("the kind", || async {
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", file];
        kubectl(cluster.plane(), "default", &apply).map_err(|error| format!("{error:#}"))
    })
    .await?;
    for number in 0..OBJECTS {
        let selector = match number % 3 {
            0 => json!({"podRegex": format!("^p-{number}(")}),
            _ => json!({"podRegex": format!("^p-{number}$")}),
        };
        let item = json!({"type": "file", "source": "soak", "path": "/var/log/*.log"});
        let object = json!({
            "apiVersion": "logging.datakits.io/v1alpha1", "kind": "ClusterLoggingConfig",
            "metadata": {"name": format!("soak-{number}")},
            "spec": {"selector": selector, "configs": [item]},
        });
        wait::until("an object", || async {
            match cluster.create(OBJECTS_PATH, &object).await {
                Err(error) if !is_status(&error, 409) => Err(refusal(&error)),
                _ => Ok(()),
            }
        })
        .await?;
    }
    Ok(())
}

async fn restart(cluster: Cluster, tally: Arc<Tally>) -> Result<()> {
    let mut last = Instant::now();
    while tally.goes_on() {
        sleep(Duration::from_secs(1)).await;
        if last.elapsed() >= RESTART_EVERY {
            last = Instant::now();
            cluster.plane().restart_api_server().await?;
            tally.restarts.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// The resident memory of each replica in MiB, again and again for this time.
async fn watch_memory(members: &[Member], time: Duration) -> Result<Vec<Vec<f64>>> {
    let mut resident = vec![Vec::new(); members.len()];
    let started = Instant::now();
    let mut every = interval(LOOK);
    while started.elapsed() < time {
        every.tick().await;
        for (member, resident) in members.iter().zip(&mut resident) {
            let bytes = member.replica.metric("process_resident_memory_bytes", &[]);
            resident.push(bytes.await? / f64::from(1 << 20));
        }
        if resident[0].len().is_multiple_of(60) {
            let now: Vec<_> = resident.iter().filter_map(|one| one.last()).collect();
            println!("{:?}: {now:.1?} MiB", started.elapsed());
        }
    }
    Ok(resident)
}

/// Memory is flat if the most of the last fifth of the time is about the most of the second fifth;
/// the first is for everything to be seen once.
fn judge(name: &str, resident: &[f64]) -> Result<()> {
    let fifth = resident.len() / 5;
    ensure!(fifth > 0, "too short");
    let most = |part: &[f64]| part.iter().copied().fold(0.0, f64::max);
    let parts: Vec<f64> = (0..5)
        .map(|part| most(&resident[part * fifth..(part + 1) * fifth]))
        .collect();
    println!(
        "{name}: {:.1} MiB at the start, {:.1} in the middle, {:.1} at the end; the most of each fifth {parts:.1?}",
        resident[0],
        resident[resident.len() / 2],
        resident[resident.len() - 1],
    );
    let (early, late) = (parts[1], parts[4]);
    ensure!(
        late <= early * 1.15 + 4.0,
        "{name} grows: {early:.1} to {late:.1} MiB"
    );
    Ok(())
}

/// Waits until each replica knows again what the API server has, and the objects say what they are.
async fn until_well(cluster: &Cluster, pods: &Namespace, members: &[Member]) -> Result<()> {
    let path = format!("/api/v1/namespaces/{}/pods", pods.name());
    let theirs = cluster.get(&path).await?["items"].take();
    let theirs = theirs.as_array().context("no pods")?.len();
    for member in members {
        let server = SocketAddr::from((member.replica.address(), WEBHOOK));
        // `/api/v1/…` of the API server is `/v1/cluster/api/v1/…` here.
        let path = format!("/v1/cluster{path}");
        wait::until("all pods", || async {
            let path = path.clone();
            let asked =
                tokio::task::spawn_blocking(move || Caller::of(server)?.call("GET", &path, "", ""));
            let answer = asked.await.map_err(|error| error.to_string())?;
            let answer = answer.map_err(|error| format!("{error:#}"))?;
            let ours: Vec<Value> = serde_json::from_str(&answer.body).unwrap_or_default();
            match ours.len() == theirs {
                true => Ok(()),
                false => Err(format!("{} of {theirs}, {}", ours.len(), answer.status)),
            }
        })
        .await?;
    }
    wait::until("all conditions", || async {
        let list = cluster.get(OBJECTS_PATH).await;
        let list = list.map_err(|error| refusal(&error))?;
        let items = list["items"].as_array().into_iter().flatten();
        let mut told = [0; 2];
        for object in items {
            let status = &object["status"]["conditions"][0]["status"];
            match status.as_str() {
                Some("True") => told[0] += 1,
                Some("False") => told[1] += 1,
                _ => {}
            }
        }
        match told == [OBJECTS - OBJECTS / 3, OBJECTS / 3] {
            true => Ok(()),
            false => Err(format!("{told:?}")),
        }
    })
    .await?;
    until_injected(pods).await
}

fn pod(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("p-{number}"), "labels": {"app": format!("a-{}", number % 50)},
            "annotations": {"admission.datakit/java-lib.version": ""},
        },
        "spec": {"containers": [{"name": "app", "image": "example.com/app:1", "env": [{"name": "N", "value": number.to_string()}]}]},
    })
}
