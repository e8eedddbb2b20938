//! Pods by namespace and name, in that order.
//!
//! A list that is read anew doesn't replace the store: what it has is put in place of what was
//! there, and what it lacks goes when it is complete. So a store of many pods needs no second one
//! beside it, and a pod that hasn't changed isn't even touched. Who lists the store goes on behind
//! the last pod that it saw, while pods come and go: a pod that is there all the time is seen once.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Pods, with a `T` kept of each.
#[derive(Debug)]
pub struct Store<T> {
    namespaces: BTreeMap<Arc<str>, BTreeMap<Box<str>, Entry<T>>>,
    count: usize,
    /// Which list the pods were last seen in.
    round: u32,
}

#[derive(Debug)]
struct Entry<T> {
    version: Version,
    round: u32,
    value: T,
}

/// A version, as small as most of them allow.
#[derive(Debug, PartialEq, Eq)]
enum Version {
    Number(u64),
    Text(Box<str>),
}

/// What became of a pod that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied<T> {
    /// It wasn't there before.
    New,
    /// It took the place of this one.
    Replaced(T),
}

impl<T> Store<T> {
    /// A list of all pods begins.
    pub fn begin(&mut self) {
        self.round = self.round.wrapping_add(1);
    }

    /// Whether a pod is kept in this version. It then counts as seen in the list that is read.
    pub fn has(&mut self, namespace: &str, name: &str, version: &str) -> bool {
        let round = self.round;
        let pods = self.namespaces.get_mut(namespace);
        let Some(entry) = pods.and_then(|pods| pods.get_mut(name)) else {
            return false;
        };
        let same = entry.version == Version::of(version);
        if same {
            entry.round = round;
        }
        same
    }

    /// Keeps a pod, in place of an earlier version of it.
    pub fn apply(&mut self, namespace: &str, name: &str, version: &str, value: T) -> Applied<T> {
        let entry = Entry {
            version: Version::of(version),
            round: self.round,
            value,
        };
        let pods = match self.namespaces.get_mut(namespace) {
            Some(pods) => pods,
            None => self.namespaces.entry(namespace.into()).or_default(),
        };
        if let Some(known) = pods.get_mut(name) {
            return Applied::Replaced(std::mem::replace(known, entry).value);
        }
        pods.insert(name.into(), entry);
        self.count += 1;
        Applied::New
    }

    /// Forgets a pod, and returns what was kept of it.
    pub fn remove(&mut self, namespace: &str, name: &str) -> Option<T> {
        let pods = self.namespaces.get_mut(namespace)?;
        let entry = pods.remove(name)?;
        if pods.is_empty() {
            self.namespaces.remove(namespace);
        }
        self.count -= 1;
        Some(entry.value)
    }

    /// The list is complete: forgets the pods that it didn't have, and tells `gone` of each.
    pub fn complete(&mut self, mut gone: impl FnMut(T)) {
        let round = self.round;
        for pods in self.namespaces.values_mut() {
            for (_, entry) in pods.extract_if(.., |_, entry| entry.round != round) {
                self.count -= 1;
                gone(entry.value);
            }
        }
        self.namespaces.retain(|_, pods| !pods.is_empty());
    }

    /// Forgets all pods.
    pub fn clear(&mut self) {
        self.namespaces.clear();
        self.count = 0;
    }

    /// How many pods there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What is kept of a pod.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<&T> {
        Some(&self.namespaces.get(namespace)?.get(name)?.value)
    }

    /// The same, to be changed without counting as another version.
    pub fn get_mut(&mut self, namespace: &str, name: &str) -> Option<&mut T> {
        let pods = self.namespaces.get_mut(namespace)?;
        Some(&mut pods.get_mut(name)?.value)
    }

    /// The namespace with pods that follows this one; the first one after none.
    #[must_use]
    pub fn namespace_after(&self, namespace: Option<&str>) -> Option<&Arc<str>> {
        let from = namespace.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.namespaces.range::<str, _>((from, Bound::Unbounded));
        rest.next().map(|(namespace, _)| namespace)
    }

    /// The pods of a namespace, by name, that follow this one; all of them after none.
    pub fn pods_after<'a>(
        &'a self,
        namespace: &str,
        name: Option<&str>,
    ) -> impl Iterator<Item = (&'a str, &'a T)> + use<'a, T> {
        let from = name.map_or(Bound::Unbounded, Bound::Excluded);
        let pods = self.namespaces.get(namespace);
        let rest = pods.map(|pods| pods.range::<str, _>((from, Bound::Unbounded)));
        rest.into_iter()
            .flatten()
            .map(|(name, entry)| (&**name, &entry.value))
    }

    /// All pods: namespace, name, and what is kept of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &str, &T)> {
        self.namespaces.iter().flat_map(|(namespace, pods)| {
            let entries = pods.iter();
            entries.map(move |(name, entry)| (namespace, &**name, &entry.value))
        })
    }
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self {
            namespaces: BTreeMap::new(),
            count: 0,
            round: 0,
        }
    }
}

impl Version {
    fn of(text: &str) -> Self {
        // A number that is written in another way would be another text.
        let canonical = !text.starts_with(['0', '+']);
        match text.parse() {
            Ok(number) if canonical => Self::Number(number),
            _ => Self::Text(text.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn told(store: &Store<u32>) -> String {
        let pods = store
            .iter()
            .map(|(namespace, name, value)| format!("{namespace}/{name}={value}"));
        pods.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_list_that_is_read_anew_takes_the_place_of_the_old_one_in_place() {
        let mut store = Store::default();
        store.begin();
        assert_eq!(store.apply("b", "x", "1", 1), Applied::New);
        assert_eq!(store.apply("a", "y", "2", 2), Applied::New);
        assert_eq!(store.apply("a", "x", "3", 3), Applied::New);
        store.complete(|_| panic!("nothing is gone"));
        assert_eq!(told(&store), "a/x=3 a/y=2 b/x=1");
        assert_eq!(store.apply("a", "x", "4", 4), Applied::Replaced(3));

        // While the next one is read, everything is there; one that breaks off removes nothing.
        store.begin();
        assert!(store.has("a", "x", "4"));
        assert!(!store.has("a", "y", "5"));
        assert!(!store.has("c", "y", "5"));
        store.begin();
        assert!(store.has("a", "x", "4"));
        assert_eq!(store.apply("c", "n", "text", 5), Applied::New);
        assert_eq!(
            (told(&store).as_str(), store.len()),
            ("a/x=4 a/y=2 b/x=1 c/n=5", 4)
        );
        let mut gone = Vec::new();
        store.complete(|value| gone.push(value));
        gone.sort_unstable();
        assert_eq!(gone, [1, 2]);
        assert_eq!((told(&store).as_str(), store.len()), ("a/x=4 c/n=5", 2));
        assert!(store.has("c", "n", "text"));
        assert_eq!(store.remove("a", "x"), Some(4));
        assert_eq!(store.remove("a", "x"), None);
        assert_eq!(store.namespace_after(None).map(|name| &**name), Some("c"));
        store.clear();
        assert!(store.is_empty() && store.namespace_after(None).is_none());
    }

    #[test]
    fn versions_are_compared_as_they_are_written() {
        assert_eq!(Version::of("12"), Version::Number(12));
        assert_ne!(Version::of("012"), Version::of("12"));
        assert_ne!(Version::of("+12"), Version::of("12"));
        assert_ne!(Version::of(""), Version::of("0"));
    }

    proptest! {
        /// Whoever lists piece by piece sees each pod that is there all the time exactly once, in
        /// order, whatever changes meanwhile.
        #[test]
        fn listing_goes_on_while_pods_change(
            steps in proptest::collection::vec((0..4_u8, 0..6_u8, 0..3_u8), 1..80),
            at_once in 1..4_usize,
        ) {
            let mut store = Store::default();
            let mut model = BTreeMap::new();
            let stays = |name: u8| name >= 4;
            for (namespace, name) in [(0, 4), (1, 5), (3, 4)] {
                store.apply(&namespace.to_string(), &name.to_string(), "", ());
                model.insert((namespace, name), ());
            }
            let mut seen = Vec::new();
            let mut namespace: Option<Arc<str>> = store.namespace_after(None).cloned();
            let mut name: Option<String> = None;
            let mut steps = steps.into_iter();
            while let Some(here) = namespace.clone() {
                for (space, pod, what) in steps.by_ref().take(3) {
                    if stays(pod) { continue; }
                    if what == 0 {
                        store.remove(&space.to_string(), &pod.to_string());
                        model.remove(&(space, pod));
                    } else {
                        store.apply(&space.to_string(), &pod.to_string(), "", ());
                        model.insert((space, pod), ());
                    }
                }
                let piece: Vec<String> = (store.pods_after(&here, name.as_deref()))
                    .take(at_once).map(|(name, ())| name.to_owned()).collect();
                match piece.last() {
                    Some(last) => name = Some(last.clone()),
                    None => {
                        namespace = store.namespace_after(Some(&here)).cloned();
                        name = None;
                    }
                }
                seen.extend(piece.into_iter().map(|name| format!("{here}/{name}")));
            }
            let mut sorted = seen.clone();
            sorted.sort();
            sorted.dedup();
            prop_assert_eq!(&seen, &sorted);
            for there in ["0/4", "1/5", "3/4"] {
                prop_assert!(seen.iter().any(|pod| pod == there), "{} in {:?}", there, seen);
            }
            prop_assert_eq!(store.len(), model.len());
        }
    }
}
