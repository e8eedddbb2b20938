//! Looks for pods that were missed, among those that the Pod API keeps.

use std::sync::Arc;
use std::time::Duration;

use datakit_operator_core::pods::View;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use crate::state::Reviewing;
use crate::state::missed::{Found, Missed, Search};
use crate::state::pods::{PackError, Packer, Pods, Standing};
use crate::telemetry::missed::MissedPods;

/// How long after one look the next one begins.
const PAUSE: Duration = Duration::from_secs(60);
/// How soon to look whether the pods are known by now.
const SOON: Duration = Duration::from_secs(2);
/// So many bytes of pods are looked at before others on this thread have their turn: some
/// milliseconds.
const AT_ONCE: usize = 64 << 10;

/// What is looked at, with what, and who is told.
#[derive(Clone, Debug)]
pub(super) struct Looking {
    pub(super) pods: Arc<Pods>,
    pub(super) reviewing: Arc<Reviewing>,
    /// Namespaces that the webhook isn't asked about.
    pub(super) left_out: Vec<String>,
    pub(super) missed: Arc<Missed>,
    pub(super) counts: MissedPods,
}

/// Looks again and again, on the thread that works with pods.
pub(super) async fn run(looking: Looking) {
    loop {
        if !looking.is_known() {
            looking.missed.forget();
            looking.counts.forget();
            sleep(SOON).await;
            continue;
        }
        match looking.look().await {
            Ok(found) => {
                let counts = found.features;
                let counts = counts.map(|lacking| [lacking.all, lacking.some]);
                looking.counts.found(counts);
                looking.missed.found(found);
            }
            Err(error) => {
                let error: &(dyn std::error::Error + 'static) = &error;
                tracing::debug!(error, "failed to look for pods that were missed");
            }
        }
        let next = Instant::now() + PAUSE;
        while looking.is_known() && Instant::now() < next {
            sleep(SOON).await;
        }
    }
}

impl Looking {
    fn is_known(&self) -> bool {
        *self.pods.standing() == Standing::Known
    }

    async fn look(&self) -> Result<Found, PackError> {
        let (engine, context) = (self.reviewing.engine(), self.reviewing.context());
        let mut search = Search::new(Arc::clone(&engine), &context, &self.left_out);
        drop((engine, context));
        let mut packer = Packer::new()?;
        let mut json = Vec::new();
        let mut namespace: Option<Arc<str>> = None;
        loop {
            let next = {
                let kept = self.pods.kept();
                kept.store().namespace_after(namespace.as_deref()).cloned()
            };
            let Some(next) = next else {
                return Ok(search.end());
            };
            namespace = Some(Arc::clone(&next));
            if search.leaves_out(&next) {
                continue;
            }
            let mut after: Option<Box<str>> = None;
            loop {
                let some = {
                    let kept = self.pods.kept();
                    kept.some_after(&next, after.as_deref(), View::Full, AT_ONCE)
                };
                for (name, pod) in &some {
                    json.clear();
                    packer.unpack(pod, View::Full, &mut json)?;
                    search.look(&next, name, &String::from_utf8_lossy(&json));
                }
                yield_now().await;
                match some.last() {
                    Some((last, _)) => after = Some(last.clone()),
                    None => break,
                }
            }
        }
    }
}
