//! Keeps the cluster's pods known to whoever answers other programs.

use std::sync::Arc;
use std::time::Duration;

use datakit_operator_core::pods::{self, Pod};
use k8s_openapi::api::core::v1;
use kube::api::{Api, ObjectMeta};
use kube::runtime::watcher::{self, Event};
use kube::{Client, Resource};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::trouble::Trouble;
use super::watched::{Health, Watching};
use crate::state::pods::{PackError, Packer, Pods, Standing};
use crate::telemetry::cluster::{ClusterMetrics, Operation};
use crate::telemetry::pods::PodMetrics;

/// Pods of one page of a list. A page is in memory twice while it is read.
const PAGE: u32 = 250;
/// So many events are handled before others on this thread have their turn: some milliseconds.
const AT_ONCE: u32 = 32;
/// How long to do without, after the pods didn't fit.
const PAUSE: Duration = Duration::from_secs(600);
/// What is said until all pods have been listed once.
const LISTING: &str = "the pods are still being listed; ask again";

/// Watches them for ever, in so many bytes of memory, if that is limited.
pub async fn run(
    client: Client,
    pods: Arc<Pods>,
    limit: Option<usize>,
    metrics: ClusterMetrics,
    counts: PodMetrics,
) {
    loop {
        pods.stand(Standing::Unknown(LISTING.to_owned()));
        let Err(dropped) = watch(client.clone(), &pods, limit, &metrics, &counts).await;
        pods.stand(Standing::Unknown(dropped.to_string()));
        pods.kept().clear();
        counts.kept(0, 0);
        tracing::error!(
            cause = %dropped,
            again_in_s = PAUSE.as_secs(),
            "the Pod API is out of service"
        );
        sleep(PAUSE).await;
    }
}

/// The pods were forgotten.
#[derive(Debug, thiserror::Error)]
enum Dropped {
    #[error(
        "{pods} pods and more don't fit into {limit} bytes of memory; give the operator more, or see --pod-api-memory"
    )]
    TooMany { pods: usize, limit: usize },
    #[error(transparent)]
    Pack(#[from] PackError),
}

enum Never {}

async fn watch(
    client: Client,
    pods: &Pods,
    limit: Option<usize>,
    metrics: &ClusterMetrics,
    counts: &PodMetrics,
) -> Result<Never, Dropped> {
    let config = watcher::Config::default().page_size(PAGE);
    let trouble = Trouble::new(Operation::Pods, metrics);
    let mut watching = Watching::<Listed>::new(Api::all(client), config, trouble);
    let mut packer = Packer::new()?;
    let (mut known, mut handled) = (false, 0_u32);
    loop {
        let (event, turned) = watching.next(known).await;
        let listed = matches!(event, Some(Event::InitDone));
        known |= listed;
        let wants_dictionary = {
            let mut kept = pods.kept();
            match event {
                Some(Event::Init) => kept.begin(),
                Some(Event::InitApply(pod) | Event::Apply(pod)) => {
                    counts.changes.inc();
                    kept.apply(&mut packer, &pod.0)?;
                }
                Some(Event::Delete(pod)) => {
                    counts.changes.inc();
                    kept.remove(&pod.0.namespace, &pod.0.name);
                }
                Some(Event::InitDone) => kept.complete(),
                None => {}
            }
            let (count, memory) = (kept.store().len(), kept.memory());
            counts.kept(count, memory);
            if let Some(limit) = limit.filter(|limit| memory > *limit) {
                return Err(Dropped::TooMany { pods: count, limit });
            }
            kept.wants_dictionary(listed)
        };
        if listed || turned {
            pods.stand(standing(watching.health(), known));
        }
        if wants_dictionary {
            repack(pods, &mut packer, counts).await?;
        }
        handled += 1;
        if handled.is_multiple_of(AT_ONCE) {
            yield_now().await;
        }
    }
}

/// Packs all pods with a dictionary of what they are now.
async fn repack(pods: &Pods, packer: &mut Packer, counts: &PodMetrics) -> Result<(), PackError> {
    let mut at = {
        let mut kept = pods.kept();
        kept.make_dictionary(packer)?;
        kept.start()
    };
    while let Some(place) = at {
        at = pods.kept().repack(packer, &place)?;
        yield_now().await;
    }
    let kept = pods.kept();
    counts.kept(kept.store().len(), kept.memory());
    Ok(())
}

fn standing(health: &Health, known: bool) -> Standing {
    match health {
        Health::Working if known => Standing::Known,
        Health::Starting | Health::Working => Standing::Unknown(LISTING.to_owned()),
        // What the operator may no longer read, it no longer shows.
        Health::Refused(why) => {
            Standing::Unknown(format!("the operator may not list and watch pods: {why}"))
        }
        Health::Failing(why) if known => Standing::Old(cannot_watch(why)),
        Health::Failing(why) => Standing::Unknown(cannot_watch(why)),
        Health::NoKind => Standing::Unknown(cannot_watch("the API server has none")),
    }
}

fn cannot_watch(why: &str) -> String {
    format!("the pods can't be watched: {why}")
}

/// A pod as it is needed here. What the watch needs to know of it is in the metadata.
#[derive(Clone, Debug)]
struct Listed(Pod<'static>, ObjectMeta);

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let pod = pods::read(raw.get())
            .map_err(D::Error::custom)?
            .into_owned();
        let metadata = ObjectMeta {
            resource_version: Some(pod.version.to_string()),
            ..ObjectMeta::default()
        };
        Ok(Self(pod, metadata))
    }
}

impl Resource for Listed {
    type DynamicType = ();
    type Scope = <v1::Pod as Resource>::Scope;

    fn kind((): &()) -> std::borrow::Cow<'_, str> {
        v1::Pod::kind(&())
    }

    fn group((): &()) -> std::borrow::Cow<'_, str> {
        v1::Pod::group(&())
    }

    fn version((): &()) -> std::borrow::Cow<'_, str> {
        v1::Pod::version(&())
    }

    fn plural((): &()) -> std::borrow::Cow<'_, str> {
        v1::Pod::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.1
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.1
    }
}

#[cfg(test)]
mod tests {
    use kube::core::{ObjectList, WatchEvent};

    use super::*;

    #[test]
    fn pods_are_read_as_they_come() {
        let list = r#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"9"},"items":[{"metadata": {"name":"a","namespace":"n","resourceVersion":"7"}, "newer":1.0}]}"#;
        let list: ObjectList<Listed> = serde_json::from_str(list).unwrap();
        let pod = &list.items[0];
        assert_eq!(
            pod.0.full,
            r#"{"metadata": {"name":"a","namespace":"n","resourceVersion":"7"}, "newer":1.0}"#
        );
        assert_eq!(pod.meta().resource_version.as_deref(), Some("7"));
        let line = r#"{"type":"MODIFIED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","namespace":"n"},"newer":1.0}}"#;
        let event: WatchEvent<Listed> = serde_json::from_str(line).unwrap();
        let WatchEvent::Modified(pod) = event else {
            panic!("{event:?}");
        };
        assert_eq!(
            (&*pod.0.full, &*pod.0.name),
            (
                r#"{"metadata":{"name":"a","namespace":"n"},"newer":1.0}"#,
                "a"
            )
        );
    }

    #[test]
    fn what_may_not_be_read_is_not_shown() {
        let failing = || Health::Failing("no".to_owned());
        let refused = Health::Refused("no".to_owned());
        assert_eq!(standing(&Health::Working, true), Standing::Known);
        for (health, known) in [
            (&Health::Starting, false),
            (&Health::Working, false),
            (&failing(), false),
            (&refused, false),
            (&refused, true),
        ] {
            assert!(matches!(standing(health, known), Standing::Unknown(_)));
        }
        assert!(matches!(standing(&failing(), true), Standing::Old(_)));
    }
}
