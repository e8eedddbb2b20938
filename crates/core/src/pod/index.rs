//! Lists of a pod that can be asked many times, at a price that grows with their length once.
//!
//! An ordinary pod's lists are so short that looking through them is the fastest there is. Hostile
//! ones are long, and there are as many questions; so whoever asks often builds one of these first.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashSet;

use super::draft::{Draft, MountView, Place};
use super::path;

pub use super::FEW;

/// Something that stands at a clean absolute path.
pub trait Located {
    /// The path.
    fn path(&self) -> &str;
}

/// Things by path, each with the nearest one above it.
#[derive(Debug)]
pub struct PathIndex<T> {
    sorted: Vec<T>,
    /// Position of the nearest one strictly above each; its own stands for none.
    up: Vec<usize>,
}

/// What stands where in one container.
#[derive(Debug)]
pub struct PlaceIndex<'d> {
    /// The mounts.
    pub mounts: PathIndex<MountView<'d>>,
    volumes: HashSet<&'d str>,
    devices: HashSet<Cow<'d, str>>,
}

impl<T: Located> PathIndex<T> {
    /// Sorts the things; those at one path keep their order.
    pub fn new(items: impl IntoIterator<Item = T>) -> Self {
        let mut sorted: Vec<T> = items.into_iter().collect();
        sorted.sort_by(|a, b| by_parts(a.path(), b.path()));
        let mut up: Vec<usize> = Vec::with_capacity(sorted.len());
        for at in 0..sorted.len() {
            let path = sorted[at].path();
            let nearest = match at.checked_sub(1) {
                Some(before) if sorted[before].path() == path => {
                    Some(up[before]).filter(|up| *up != before)
                }
                Some(before) => climb(&sorted, &up, before, path),
                None => None,
            };
            up.push(nearest.unwrap_or(at));
        }
        Self { sorted, up }
    }

    /// The thing with the longest path that is `path` or above it; of several at one path, the
    /// last.
    pub fn covering(&self, path: &str) -> Option<&T> {
        let behind = self
            .sorted
            .partition_point(|item| by_parts(item.path(), path) != Ordering::Greater);
        let at = climb(&self.sorted, &self.up, behind.checked_sub(1)?, path)?;
        Some(&self.sorted[at])
    }

    /// The thing at `path`; of several, the last.
    pub fn at(&self, path: &str) -> Option<&T> {
        self.covering(path).filter(|item| item.path() == path)
    }

    /// What is strictly above `path`, nearest first; of several at one path, the last.
    pub fn above(&self, path: &str) -> impl Iterator<Item = &T> {
        let behind = self
            .sorted
            .partition_point(|item| by_parts(item.path(), path) == Ordering::Less);
        let mut next = behind
            .checked_sub(1)
            .and_then(|before| climb(&self.sorted, &self.up, before, path));
        std::iter::from_fn(move || {
            let at = next?;
            next = Some(self.up[at]).filter(|up| *up != at);
            Some(&self.sorted[at])
        })
    }

    /// Whether anything is strictly below `path`.
    pub fn holds(&self, path: &str) -> bool {
        let behind = self
            .sorted
            .partition_point(|item| by_parts(item.path(), path) != Ordering::Greater);
        let next = self.sorted.get(behind);
        next.is_some_and(|next| path::below(next.path(), path).is_some())
    }
}

impl<'d> PlaceIndex<'d> {
    /// Indexes a container of a draft.
    pub fn new(draft: &'d Draft<'_, '_>, place: Place) -> Self {
        let devices = match place {
            Place::Own(index) => draft.pod.containers[index].devices.as_slice(),
            Place::Sidecar(_) => &[],
        };
        let mounts: Vec<MountView<'d>> = draft.mounts(place).collect();
        Self {
            volumes: mounts.iter().map(|mount| mount.volume).collect(),
            mounts: PathIndex::new(mounts),
            devices: devices
                .iter()
                .map(|(_, path)| path::mount_point(path))
                .collect(),
        }
    }

    /// Whether the volume is mounted anywhere.
    pub fn mounts_volume(&self, name: &str) -> bool {
        self.volumes.contains(name)
    }

    /// Whether there is a block device at `path`.
    pub fn has_device(&self, path: &str) -> bool {
        self.devices.contains(path)
    }
}

impl Located for MountView<'_> {
    fn path(&self) -> &str {
        &self.path
    }
}

impl Located for &str {
    fn path(&self) -> &str {
        self
    }
}

/// From `at`, which doesn't stand behind `path`, up to the first thing that is at or above `path`.
/// Whatever is above `path` is above all that stands between the two, so that the way up passes it.
fn climb<T: Located>(sorted: &[T], up: &[usize], mut at: usize, path: &str) -> Option<usize> {
    loop {
        if path::below(path, sorted[at].path()).is_some() {
            return Some(at);
        }
        let next = up[at];
        if next == at {
            return None;
        }
        at = next;
    }
}

/// By parts, so that what is below a path follows it at once.
fn by_parts(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let key = |byte: u8| if byte == b'/' { 0 } else { u16::from(byte) + 1 };
    match a.iter().zip(b).position(|(a, b)| a != b) {
        Some(at) => key(a[at]).cmp(&key(b[at])),
        None => a.len().cmp(&b.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A thing and its number.
    #[derive(Debug, Clone, PartialEq)]
    struct Numbered(String, usize);

    impl Located for Numbered {
        fn path(&self) -> &str {
            &self.0
        }
    }

    fn paths() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("/".to_owned()),
            proptest::collection::vec(prop_oneof!["[ab]", "[ab]\u{1}", "a[-.]b"], 1..5)
                .prop_map(|parts| format!("/{}", parts.join("/"))),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        /// What looking through the list finds.
        #[test]
        fn finds_what_a_search_finds(list in proptest::collection::vec(paths(), 0..12), asked in paths()) {
            let list: Vec<Numbered> = list.into_iter().enumerate().map(|(n, path)| Numbered(path, n)).collect();
            let index = PathIndex::new(list.clone());
            let is_above = |item: &&Numbered| path::below(&asked, &item.0).is_some();
            let nearest = list.iter().filter(is_above).max_by_key(|item| item.0.len());
            prop_assert_eq!(index.covering(&asked), nearest);
            let there = list.iter().rfind(|item| item.0 == asked);
            prop_assert_eq!(index.at(&asked), there);
            let mut above: Vec<&Numbered> = list.iter().filter(is_above).filter(|item| item.0 != asked).collect();
            above.sort_by_key(|item| std::cmp::Reverse((item.0.len(), item.1)));
            above.dedup_by_key(|item| &item.0);
            prop_assert_eq!(index.above(&asked).collect::<Vec<_>>(), above);
            let holds = list.iter().any(|item| path::below(&item.0, &asked).is_some_and(|rest| !rest.is_empty()));
            prop_assert_eq!(index.holds(&asked), holds);
        }
    }
}
