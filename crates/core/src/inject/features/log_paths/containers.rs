//! What the containers of a pod have at the directories of log files.

use crate::inject::note::{self, Note, PathProblem};
use crate::pod::draft::MountView;
use crate::pod::hiding::Directories;
use crate::pod::index::{FEW, PlaceIndex};
use crate::pod::part::NewMount;
use crate::pod::path::{below, mount_point};
use crate::pod::{Draft, Edits, Place, VolumeKind};

use crate::inject::features::application;

/// How the files of one directory reach the sidecar.
pub(super) enum Source<'d> {
    /// A volume of the pod's own, as a container mounts it, and that container.
    Existing(Place, MountView<'d>),
    /// A new volume.
    New,
}

/// The containers of a draft and what stands where in them.
pub(super) struct Containers<'d, 'p, 'a> {
    pub(super) draft: &'d Draft<'p, 'a>,
    /// In the order of [`Draft::places`]; empty where few questions will be asked.
    indexes: Vec<PlaceIndex<'d>>,
}

impl<'d, 'p, 'a> Containers<'d, 'p, 'a> {
    pub(super) fn new(draft: &'d Draft<'p, 'a>, questions: usize) -> Self {
        let indexes = if questions > FEW {
            let places = draft.places();
            places.map(|place| PlaceIndex::new(draft, place)).collect()
        } else {
            Vec::new()
        };
        Self { draft, indexes }
    }

    fn covering(&self, at: usize, place: Place, path: &str) -> Option<MountView<'d>> {
        match self.indexes.get(at) {
            Some(index) => index.mounts.covering(path).cloned(),
            None => self.draft.covering(place, path),
        }
    }

    fn has_device(&self, at: usize, path: &str) -> bool {
        match self.indexes.get(at) {
            Some(index) => index.has_device(path),
            None => {
                let devices = &self.draft.pod.containers[at].devices;
                devices
                    .iter()
                    .any(|(_, device)| mount_point(device) == path)
            }
        }
    }

    fn mounts_volume(&self, at: usize, place: Place, volume: &str) -> bool {
        match self.indexes.get(at) {
            Some(index) => index.mounts_volume(volume),
            None => self.draft.mounts(place).any(|mount| mount.volume == volume),
        }
    }

    /// Whether a container has both mounts, so that the one is there for the other in any case.
    pub(super) fn mounts_both(&self, one: &NewMount<'_>, other: &NewMount<'_>) -> bool {
        let has = |at: usize, mount: &NewMount<'_>| {
            let there = self.covering(at, Place::Own(at), &mount.path);
            there.is_some_and(|there| there.path == mount.path && is_same(&there, mount))
        };
        let containers = 0..self.draft.pod.containers.len();
        containers
            .into_iter()
            .any(|at| has(at, one) && has(at, other))
    }

    /// Mounts volumes under our names, given with their paths, into the containers that lack them,
    /// unless they would hide something there.
    pub(super) fn complete(&self, ours: &[(&str, &str)], edits: &mut Edits<'p>) {
        let places = Directories::new(ours.iter().map(|(_, path)| *path));
        for (at, container) in application(self.draft.pod) {
            let place = Place::Own(at);
            let mut hidden = None;
            for (number, (volume, path)) in ours.iter().enumerate() {
                let is_there = self.covering(at, place, path).is_some()
                    || self.has_device(at, path)
                    || self.mounts_volume(at, place, volume);
                if is_there {
                    continue;
                }
                let hidden = hidden.get_or_insert_with(|| places.hidden(container, |_| false));
                if hidden[number].is_none() {
                    edits.mount(
                        place,
                        NewMount::new((*volume).to_owned(), (*path).to_owned()),
                    );
                }
            }
        }
    }

    /// Notes whose files in a directory the sidecar doesn't see. A volume of the pod's own isn't
    /// mounted where its author didn't: the container may have something of its image's there. One
    /// that mounts the volume elsewhere has its own use for it.
    pub(super) fn note_unshared(
        &self,
        directory: &str,
        cover: &MountView<'_>,
        notes: &mut Vec<Note>,
    ) {
        let shown = NewMount {
            volume: cover.volume.into(),
            path: directory.into(),
            sub_path: place_in_volume(cover, directory).into(),
            read_only: false,
        };
        for (at, container) in application(self.draft.pod) {
            let place = Place::Own(at);
            let container = || container.name.clone().into_owned();
            match self.covering(at, place, directory) {
                Some(own) if is_same(&own, &shown) => {}
                Some(own) => note::add(notes, Note::NOT_SHARED, || Note::NotShared {
                    container: container(),
                    path: own.path.into_owned(),
                }),
                None if self.mounts_volume(at, place, cover.volume) => {}
                None => note::add(notes, Note::NOT_MOUNTED, || Note::NotMounted {
                    container: container(),
                    volume: cover.volume.to_owned(),
                    path: directory.to_owned(),
                }),
            }
        }
    }

    /// Where the files of a directory are to come from.
    pub(super) fn source(&self, directory: &str) -> Result<Source<'d>, PathProblem> {
        let draft = self.draft;
        let taken = |place, what, path: &str| PathProblem::Taken {
            container: draft.name(place).to_owned(),
            what,
            path: path.to_owned(),
        };
        for at in 0..draft.pod.containers.len() {
            if self.has_device(at, directory) {
                return Err(taken(Place::Own(at), "block device", directory));
            }
        }
        let mut other = None;
        for (at, place) in draft.places().enumerate() {
            let Some(cover) = self.covering(at, place, directory) else {
                continue;
            };
            let kind = draft.volume(cover.volume).unwrap_or(VolumeKind::Other);
            if kind == VolumeKind::EmptyDir && !cover.sub_path_expr {
                return Ok(Source::Existing(place, cover));
            }
            let what = if cover.sub_path_expr {
                "subPathExpr"
            } else {
                kind.as_str()
            };
            other.get_or_insert_with(|| taken(place, what, &cover.path));
        }
        if let Some(problem) = other {
            return Err(problem);
        }
        Ok(Source::New)
    }
}

/// Whether a container sees at the mount's path what the mount would show there.
pub(super) fn is_same(cover: &MountView<'_>, mount: &NewMount<'_>) -> bool {
    cover.volume == mount.volume
        && !cover.sub_path_expr
        && place_in_volume(cover, &mount.path) == mount.sub_path
}

/// Where in its volume a directory is that a mount covers.
fn place_in_volume(cover: &MountView<'_>, directory: &str) -> String {
    let rest = below(directory, &cover.path).unwrap_or_default();
    let parts = [cover.sub_path.trim_end_matches('/'), rest];
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("/")
}
