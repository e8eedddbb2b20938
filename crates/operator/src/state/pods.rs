//! What is known of the cluster's pods, for other programs that ask for them.
//!
//! Whoever asks learns by [`Pods::standing`], without waiting, whether there is an answer. What
//! the pods are is behind a lock that only one thread takes, the one that watches them and makes
//! the answers: nothing of what reviews need is held up by it.

mod packing;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use datakit_operator_core::pods::{Applied, Pod, Store, View};

pub use packing::{Dictionary, PackError, Packed, Packer};

/// Text that a dictionary has, in bytes. With twice as much, pods take 2 % less.
const DICTIONARY: usize = 112 << 10;
/// Fewer pods than this need none.
const FEW: usize = 64;
/// A dictionary is made again when there are so many times as many pods as it was made of.
const GROWTH: usize = 4;
/// Also when pods take so many percent of what they took when it was made.
const WORSE: u128 = 130;

/// What is packed anew at once, in bytes: some milliseconds of work.
const AT_ONCE: usize = 256 << 10;

/// How far what is known can be relied on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Nobody is to know.
    #[default]
    Off,
    /// There is no answer, and why.
    Unknown(String),
    /// It is what the API server has.
    Known,
    /// It was so once, and why it may be otherwise by now.
    Old(String),
}

/// All pods.
#[derive(Debug, Default)]
pub struct Pods {
    standing: ArcSwap<Standing>,
    kept: Mutex<Kept>,
}

impl Pods {
    /// How far it can be relied on, at this moment.
    #[must_use]
    pub fn standing(&self) -> Arc<Standing> {
        self.standing.load_full()
    }

    /// Says so.
    pub fn stand(&self, standing: Standing) {
        self.standing.store(Arc::new(standing));
    }

    /// The pods. For the one thread that works with them.
    pub fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pods, and what they take.
#[derive(Debug, Default)]
pub struct Kept {
    store: Store<Packed>,
    packed: usize,
    unpacked: usize,
    dictionary: Option<Arc<Dictionary>>,
    made: Made,
}

/// A place among the pods: in this namespace, behind the pod of this name.
#[derive(Clone, Debug)]
pub struct Place {
    namespace: Arc<str>,
    name: Option<Box<str>>,
}

/// When the dictionary was made.
#[derive(Clone, Copy, Debug, Default)]
struct Made {
    pods: usize,
    packed: usize,
    unpacked: usize,
}

impl Kept {
    /// The pods.
    #[must_use]
    pub fn store(&self) -> &Store<Packed> {
        &self.store
    }

    /// What they take of memory, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.packed
    }

    /// A list of all pods begins.
    pub fn begin(&mut self) {
        self.store.begin();
    }

    /// Keeps a pod, unless it is kept already in this version.
    ///
    /// # Errors
    ///
    /// If there is no memory for it.
    pub fn apply(&mut self, packer: &mut Packer, pod: &Pod<'_>) -> Result<(), PackError> {
        let (namespace, name, version) = (&*pod.namespace, &*pod.name, &*pod.version);
        if self.store.has(namespace, name, version) {
            return Ok(());
        }
        let dictionary = self.dictionary()?;
        let packed = packer.pack(&pod.full, &pod.trimmed, &dictionary)?;
        self.count(&packed);
        if let Applied::Replaced(old) = self.store.apply(namespace, name, version, packed) {
            self.discount(&old);
        }
        Ok(())
    }

    /// Forgets a pod.
    pub fn remove(&mut self, namespace: &str, name: &str) {
        if let Some(old) = self.store.remove(namespace, name) {
            self.discount(&old);
        }
    }

    /// The list is complete.
    pub fn complete(&mut self) {
        let mut gone = Vec::new();
        self.store.complete(|old| gone.push(old));
        for old in &gone {
            self.discount(old);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether another dictionary would serve these pods better; `complete` if they have all been
    /// listed just now, which came in an order that isn't random.
    #[must_use]
    pub fn wants_dictionary(&self, complete: bool) -> bool {
        let (pods, made) = (self.store.len(), self.made);
        if pods < FEW {
            return false;
        }
        let now = self.packed as u128 * made.unpacked as u128 * 100;
        let then = made.packed as u128 * self.unpacked as u128 * WORSE;
        pods >= made.pods * GROWTH
            || now > then
            || complete && pods > made.pods + made.pods / GROWTH
    }

    /// Makes a dictionary of some of the pods, for those that are packed from now on.
    ///
    /// # Errors
    ///
    /// If there is no memory for it.
    pub fn make_dictionary(&mut self, packer: &mut Packer) -> Result<(), PackError> {
        let mean = (self.unpacked / self.store.len().max(1)).max(1);
        let wanted = (DICTIONARY / mean).max(1);
        let step = (self.store.len() / wanted).max(1);
        let mut text = Vec::with_capacity(DICTIONARY + 2 * mean);
        for (_, _, pod) in self.store.iter().step_by(step) {
            if text.len() >= DICTIONARY {
                break;
            }
            for view in [View::EbpfV1, View::Full] {
                packer.unpack(pod, view, &mut text)?;
            }
        }
        // What is nearest to the end is found first.
        text.truncate(2 * DICTIONARY);
        self.dictionary = Some(new_dictionary(&text)?);
        self.made.pods = self.store.len();
        Ok(())
    }

    /// Where to begin with [`repack`](Self::repack).
    #[must_use]
    pub fn start(&self) -> Option<Place> {
        let namespace = Arc::clone(self.store.namespace_after(None)?);
        let name = None;
        Some(Place { namespace, name })
    }

    /// Packs some of the pods behind this place with the present dictionary, and returns where to
    /// go on; nothing when that was the last one.
    ///
    /// # Errors
    ///
    /// If there is no memory for it.
    pub fn repack(
        &mut self,
        packer: &mut Packer,
        place: &Place,
    ) -> Result<Option<Place>, PackError> {
        let dictionary = self.dictionary()?;
        let namespace = &place.namespace;
        let pods = self.some_after(namespace, place.name.as_deref(), View::Full, AT_ONCE);
        let (mut full, mut trimmed) = (Vec::new(), Vec::new());
        for (name, pod) in &pods {
            if pod.is_packed_with(&dictionary) {
                continue;
            }
            full.clear();
            trimmed.clear();
            packer.unpack(pod, View::Full, &mut full)?;
            packer.unpack(pod, View::EbpfV1, &mut trimmed)?;
            let (full, trimmed) = (
                String::from_utf8_lossy(&full),
                String::from_utf8_lossy(&trimmed),
            );
            let packed = packer.pack(&full, &trimmed, &dictionary)?;
            self.count(&packed);
            if let Some(kept) = self.store.get_mut(namespace, name) {
                let old = std::mem::replace(kept, packed);
                self.discount(&old);
            }
        }
        if let Some((last, _)) = pods.last() {
            return Ok(Some(Place {
                namespace: Arc::clone(namespace),
                name: Some(last.clone()),
            }));
        }
        let next = self.store.namespace_after(Some(namespace)).map(Arc::clone);
        if next.is_none() {
            (self.made.packed, self.made.unpacked) = (self.packed, self.unpacked);
        }
        Ok(next.map(|namespace| Place {
            namespace,
            name: None,
        }))
    }

    /// Some of the pods of a namespace that follow this one, so many that a view of them takes this
    /// many bytes or little more; at least one, if there is one.
    #[must_use]
    pub fn some_after(
        &self,
        namespace: &str,
        name: Option<&str>,
        view: View,
        bytes: usize,
    ) -> Vec<(Box<str>, Packed)> {
        let mut sum = 0;
        self.store
            .pods_after(namespace, name)
            .take_while(|(_, pod)| {
                let goes_on = sum < bytes;
                sum += pod.length(view);
                goes_on
            })
            .map(|(name, pod)| (name.into(), pod.clone()))
            .collect()
    }

    fn dictionary(&mut self) -> Result<Arc<Dictionary>, PackError> {
        if let Some(dictionary) = &self.dictionary {
            return Ok(Arc::clone(dictionary));
        }
        let none = new_dictionary(b"")?;
        self.dictionary = Some(Arc::clone(&none));
        Ok(none)
    }

    fn count(&mut self, pod: &Packed) {
        self.packed += pod.takes();
        self.unpacked += pod.length(View::Full);
    }

    fn discount(&mut self, pod: &Packed) {
        self.packed -= pod.takes();
        self.unpacked -= pod.length(View::Full);
    }
}

fn new_dictionary(text: &[u8]) -> Result<Arc<Dictionary>, PackError> {
    Dictionary::new(text)
        .map(Arc::new)
        .ok_or(PackError::NO_MEMORY)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn pod<'a>(name: &'a str, version: &'a str, app: usize) -> Pod<'a> {
        let text = format!(
            "{{\"name\":\"{name}\",\"app\":\"{}\",\"version\":\"{version}\"}}",
            "abcdefgh".repeat(app)
        );
        Pod {
            namespace: Cow::Borrowed("shop"),
            name: Cow::Borrowed(name),
            version: Cow::Borrowed(version),
            full: Cow::Owned(text),
            trimmed: format!("{{\"name\":\"{name}\"}}"),
        }
    }

    fn texts(kept: &Kept, packer: &mut Packer, view: View) -> Vec<String> {
        let packed = kept.some_after("shop", None, view, usize::MAX);
        let unpack = |(_, pod): &(Box<str>, Packed)| {
            let mut out = Vec::new();
            packer.unpack(pod, view, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        packed.iter().map(unpack).collect()
    }

    #[test]
    fn another_dictionary_changes_what_pods_take_and_not_what_they_say() {
        let (mut kept, mut packer) = (Kept::default(), Packer::new().unwrap());
        let names: Vec<String> = (0..100).map(|number| format!("web-{number:03}")).collect();
        kept.begin();
        for (number, name) in names.iter().enumerate() {
            kept.apply(&mut packer, &pod(name, "1", number)).unwrap();
        }
        kept.complete();
        let before = [View::Full, View::EbpfV1].map(|view| texts(&kept, &mut packer, view));
        assert!(kept.wants_dictionary(true));
        kept.make_dictionary(&mut packer).unwrap();
        let mut at = kept.start();
        let took = kept.memory();
        while let Some(place) = at {
            at = kept.repack(&mut packer, &place).unwrap();
        }
        assert!(kept.memory() < took, "{} {took}", kept.memory());
        assert!(!kept.wants_dictionary(true));
        let after = [View::Full, View::EbpfV1].map(|view| texts(&kept, &mut packer, view));
        assert_eq!(before, after);

        // What is counted is what is there.
        let sum = |kept: &Kept| {
            kept.store()
                .iter()
                .map(|(_, _, pod)| pod.takes())
                .sum::<usize>()
        };
        kept.apply(&mut packer, &pod("web-000", "2", 5)).unwrap();
        kept.apply(&mut packer, &pod("web-001", "1", 99)).unwrap();
        kept.remove("shop", "web-002");
        assert_eq!(kept.memory(), sum(&kept));
        let texts = texts(&kept, &mut packer, View::Full);
        assert!(texts[0].contains("\"2\""));
        assert_eq!(texts[1], before[0][1]);
        kept.begin();
        kept.complete();
        assert_eq!((kept.memory(), kept.store().len()), (0, 0));
    }

    #[test]
    fn some_are_as_many_as_were_asked_for() {
        let (mut kept, mut packer) = (Kept::default(), Packer::new().unwrap());
        for name in ["a", "b", "c"] {
            kept.apply(&mut packer, &pod(name, "1", 1)).unwrap();
        }
        let count = |after, bytes| kept.some_after("shop", after, View::Full, bytes).len();
        assert_eq!(
            (count(None, 1), count(None, 60), count(None, 9_999)),
            (1, 2, 3)
        );
        assert_eq!((count(Some("a"), 9_999), count(Some("c"), 9_999)), (2, 0));
        assert_eq!(kept.some_after("other", None, View::Full, 1).len(), 0);
    }
}
