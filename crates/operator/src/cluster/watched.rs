//! Objects of one kind as the API server has them, kept up to date.
//!
//! What is kept of an object is worked out when it is seen, so that a large cluster's objects
//! aren't held in memory.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::trouble::Trouble;
use crate::error::Chain;

/// Attempts to take a watch up again are less far apart than this.
const TAKEN_UP: Duration = Duration::from_secs(90);

/// Namespace (empty for objects outside of any) and name.
pub(super) type Key = (String, String);

/// How the watch stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// Nothing was heard yet.
    Starting,
    /// What is known is what the API server has.
    Working,
    /// The API server has no such kind: a CustomResourceDefinition isn't installed.
    NoKind,
    /// It doesn't work, and why. What is known may be old.
    Failing(String),
    /// The API server doesn't let us watch, and says why.
    Refused(String),
}

type Events<K> = Pin<Box<dyn Stream<Item = watcher::Result<Event<K>>> + Send>>;

/// Watches objects of the kind `K`, of which somebody else keeps what they need.
pub(super) struct Watching<K> {
    events: Events<K>,
    trouble: Trouble,
    health: Health,
}

/// Watches objects of the kind `K` and keeps a `V` of each.
pub(super) struct Watched<K, V> {
    watching: Watching<K>,
    keep: fn(&K) -> V,
    seen: Seen<V>,
}

/// What was seen. A list that is being read anew replaces the old one when it is complete.
#[derive(Debug)]
struct Seen<V> {
    known: Option<BTreeMap<Key, V>>,
    reading: BTreeMap<Key, V>,
}

impl<K> Watching<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    pub(super) fn new(api: Api<K>, config: watcher::Config, trouble: Trouble) -> Self {
        Self {
            events: Box::pin(watcher(api, config).default_backoff()),
            trouble,
            health: Health::Starting,
        }
    }

    /// Waits for an event, or until the watch begins or ceases to work, which it then tells, too.
    /// `known`: all objects have been listed once. May be cancelled: nothing is lost.
    pub(super) async fn next(&mut self, known: bool) -> (Option<Event<K>>, bool) {
        loop {
            let next = match timeout(TAKEN_UP, self.events.next()).await {
                Ok(next) => next,
                // A watch that breaks off is taken up where it was, without a word; another failure
                // would have come by now.
                Err(_) if known && self.health.is_failing() => {
                    self.trouble.worked();
                    self.turn(Health::Working);
                    return (None, true);
                }
                Err(_) => continue,
            };
            match next {
                Some(Ok(event)) => {
                    self.trouble.worked();
                    // A list that has begun isn't one that is known.
                    let complete =
                        matches!(event, Event::InitDone | Event::Apply(_) | Event::Delete(_));
                    let turned = complete && self.turn(Health::Working);
                    return (Some(event), turned);
                }
                // The stream waits before it tries again.
                Some(Err(error)) => {
                    let health = if code(&error) == Some(404) {
                        // An answer, too.
                        self.trouble.worked();
                        Health::NoKind
                    } else {
                        self.trouble.failed(&error);
                        let why = Chain(&error).to_string();
                        match code(&error) {
                            Some(401 | 403) => Health::Refused(why),
                            _ => Health::Failing(why),
                        }
                    };
                    if self.turn(health) {
                        return (None, true);
                    }
                }
                // Watching never ends.
                None => pending().await,
            }
        }
    }

    /// Takes note of how the watch stands now, and returns whether that is new.
    fn turn(&mut self, health: Health) -> bool {
        let before = std::mem::replace(&mut self.health, health);
        before != self.health
    }

    /// How the watch stands.
    pub(super) fn health(&self) -> &Health {
        &self.health
    }
}

impl Health {
    fn is_failing(&self) -> bool {
        matches!(self, Self::Failing(_) | Self::Refused(_))
    }
}

impl<K, V> Watched<K, V>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    V: PartialEq,
{
    /// Watches all objects that `api` reaches.
    pub(super) fn all(api: Api<K>, trouble: Trouble, keep: fn(&K) -> V) -> Self {
        Self::with(api, watcher::Config::default(), trouble, keep)
    }

    /// Watches one object.
    pub(super) fn named(api: Api<K>, name: &str, trouble: Trouble, keep: fn(&K) -> V) -> Self {
        let fields = format!("metadata.name={name}");
        let config = watcher::Config::default().fields(&fields);
        Self::with(api, config, trouble, keep)
    }

    fn with(api: Api<K>, config: watcher::Config, trouble: Trouble, keep: fn(&K) -> V) -> Self {
        Self {
            watching: Watching::new(api, config, trouble),
            keep,
            seen: Seen::default(),
        }
    }

    /// Waits until something is known that wasn't known before, or the watch begins or ceases to
    /// work. May be cancelled: nothing is lost.
    pub(super) async fn changed(&mut self) {
        loop {
            let (event, turned) = self.watching.next(self.seen.known.is_some()).await;
            let changed = event.is_some_and(|event| self.seen.see(event, self.keep));
            if changed || turned {
                return;
            }
        }
    }

    /// How the watch stands.
    pub(super) fn health(&self) -> &Health {
        self.watching.health()
    }

    /// What is kept, in the order of the keys. Nothing before all objects have been listed once.
    pub(super) fn known(&self) -> Option<&BTreeMap<Key, V>> {
        self.seen.known.as_ref()
    }

    /// What is kept of the one object that is watched, if it exists.
    pub(super) fn only(&self) -> Option<&V> {
        self.known()?.values().next()
    }
}

impl<V: PartialEq> Seen<V> {
    /// Takes an event in, and returns whether it changed what is known.
    fn see<K: Resource>(&mut self, event: Event<K>, keep: impl FnOnce(&K) -> V) -> bool {
        match event {
            Event::Init => {
                self.reading.clear();
                false
            }
            Event::InitApply(object) => {
                self.reading.insert(key(&object), keep(&object));
                false
            }
            Event::InitDone => {
                self.known = Some(std::mem::take(&mut self.reading));
                true
            }
            Event::Apply(object) => {
                let known = self.known.get_or_insert_default();
                let (key, value) = (key(&object), keep(&object));
                let same = known.get(&key) == Some(&value);
                known.insert(key, value);
                !same
            }
            Event::Delete(object) => {
                let known = self.known.get_or_insert_default();
                known.remove(&key(&object)).is_some()
            }
        }
    }
}

impl<V> Default for Seen<V> {
    fn default() -> Self {
        Self {
            known: None,
            reading: BTreeMap::new(),
        }
    }
}

/// The status that the API server answered with, if it did.
fn code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

fn key<K: Resource>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;

    use super::*;

    fn object(name: &str, value: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some("shop".to_owned()),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([("value".to_owned(), value.to_owned())])),
            ..ConfigMap::default()
        }
    }

    fn keep(object: &ConfigMap) -> String {
        object.data.as_ref().unwrap()["value"].clone()
    }

    #[test]
    fn what_is_known_follows_the_events() {
        let mut seen = Seen::default();
        let mut check = |event, changed: bool, want: Option<&str>| {
            let told = format!("{event:?}");
            assert_eq!(seen.see(event, keep), changed, "{told}");
            let known = seen.known.as_ref().map(|known| {
                let known = known
                    .iter()
                    .map(|((namespace, name), value)| format!("{namespace}/{name}={value}"));
                known.collect::<Vec<_>>().join(" ")
            });
            assert_eq!(known.as_deref(), want, "{told}");
        };
        // Nothing is known before the first list is complete.
        check(Event::Init, false, None);
        check(Event::InitApply(object("b", "1")), false, None);
        check(Event::InitApply(object("a", "1")), false, None);
        check(Event::InitDone, true, Some("shop/a=1 shop/b=1"));
        check(
            Event::Apply(object("a", "1")),
            false,
            Some("shop/a=1 shop/b=1"),
        );
        check(
            Event::Apply(object("a", "2")),
            true,
            Some("shop/a=2 shop/b=1"),
        );
        check(Event::Delete(object("b", "1")), true, Some("shop/a=2"));
        check(Event::Delete(object("b", "1")), false, Some("shop/a=2"));
        // While a list is read anew, the old one counts; a list that broke off is forgotten.
        check(Event::Init, false, Some("shop/a=2"));
        check(
            Event::InitApply(object("lost", "1")),
            false,
            Some("shop/a=2"),
        );
        check(Event::Init, false, Some("shop/a=2"));
        check(Event::InitApply(object("c", "3")), false, Some("shop/a=2"));
        check(Event::InitDone, true, Some("shop/c=3"));
        check(Event::Init, false, Some("shop/c=3"));
        check(Event::InitDone, true, Some(""));
    }
}
