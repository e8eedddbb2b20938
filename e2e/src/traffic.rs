//! Pods that are created all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::cluster::{Mode, Namespace, refusal};

/// How many pods are being created at a time.
const CREATORS: usize = 3;
/// How long each creator pauses after a pod.
const PAUSE: Duration = Duration::from_millis(40);
/// One pod out of this many is stored; the others go through admission and are forgotten.
const STORED: usize = 50;

/// Creates annotated pods in a namespace until it is finished.
#[derive(Debug)]
pub struct Traffic {
    namespace: String,
    log: std::path::PathBuf,
    stopped: Arc<AtomicBool>,
    creators: Vec<JoinHandle<Tally>>,
}

/// What became of the pods.
#[derive(Debug, Default)]
struct Tally {
    injected: usize,
    /// Pods that came out as they were, and pods that were refused.
    faults: Vec<String>,
    slowest: Duration,
}

impl Traffic {
    /// Starts creating pods. The webhook must be in use already.
    #[must_use]
    pub fn start(namespace: &Namespace) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let start = Instant::now();
        let creators = (0..CREATORS)
            .map(|_| tokio::spawn(create(namespace.clone(), Arc::clone(&stopped), start)))
            .collect();
        Self {
            namespace: namespace.name().to_owned(),
            log: namespace
                .cluster()
                .plane()
                .directory()
                .join("kube-apiserver.log"),
            stopped,
            creators,
        }
    }

    /// Stops creating pods and fails unless every single one was created and injected. Returns how
    /// many.
    pub async fn finish(mut self) -> Result<usize> {
        self.stopped.store(true, Ordering::SeqCst);
        let mut total = Tally::default();
        for creator in std::mem::take(&mut self.creators) {
            let tally = creator.await?;
            total.injected += tally.injected;
            total.faults.extend(tally.faults);
            total.slowest = total.slowest.max(tally.slowest);
        }
        if total.injected == 0 && total.faults.is_empty() {
            bail!("no pod was created");
        }
        if total.faults.is_empty() {
            return Ok(total.injected);
        }
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        // A URL in it names the namespace of the Service, from which that of the pods is derived.
        let service = self.namespace.trim_end_matches("-pods");
        let said: Vec<_> = log
            .lines()
            .filter(|line| {
                line.contains("calling webhook") && line.contains(&format!(".{service}.svc"))
            })
            .collect();
        bail!(
            "{} of {} pods were not injected (slowest {:?}); the first: {:#?}; the API server's log: {:#?}",
            total.faults.len(),
            total.faults.len() + total.injected,
            total.slowest,
            &total.faults[..total.faults.len().min(10)],
            &said[said.len().saturating_sub(10)..],
        )
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
    }
}

/// A pod that asks for the Java library. Each gets a name from the API server.
#[must_use]
pub fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"generateName": "pod-", "annotations": {"admission.datakit/java-lib.version": ""}},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    })
}

/// Creates one, and says whether it was injected.
pub async fn is_injected(namespace: &Namespace, mode: Mode) -> kube::Result<bool> {
    let created = namespace.create_pod(&pod(), mode).await?;
    let containers = created.pod["spec"]["initContainers"].as_array();
    Ok(containers
        .into_iter()
        .flatten()
        .any(|container| container["name"] == "datakit-lib-init"))
}

/// Waits until pods are injected.
pub async fn until_injected(namespace: &Namespace) -> Result<()> {
    crate::wait::until("an injected pod", || async {
        match is_injected(namespace, Mode::DryRun).await {
            Ok(true) => Ok(()),
            Ok(false) => Err("pods come out as they were".to_owned()),
            Err(error) => Err(refusal(&error)),
        }
    })
    .await
    .with_context(|| format!("in {}", namespace.name()))
}

async fn create(namespace: Namespace, stopped: Arc<AtomicBool>, start: Instant) -> Tally {
    let mut tally = Tally::default();
    for number in 0.. {
        if stopped.load(Ordering::SeqCst) {
            break;
        }
        let mode = match number % STORED {
            0 => Mode::Store,
            _ => Mode::DryRun,
        };
        let asked = Instant::now();
        let fault = match is_injected(&namespace, mode).await {
            Ok(true) => None,
            Ok(false) => Some("skipped".to_owned()),
            Err(error) => Some(refusal(&error)),
        };
        tally.slowest = tally.slowest.max(asked.elapsed());
        match fault {
            None => tally.injected += 1,
            Some(fault) => tally.faults.push(format!(
                "after {:?}, taking {:?}: {fault}",
                asked - start,
                asked.elapsed()
            )),
        }
        tokio::time::sleep(PAUSE).await;
    }
    tally
}
