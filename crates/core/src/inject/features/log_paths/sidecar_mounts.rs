//! The mounts of the sidecar that reads log files.

use std::collections::HashMap;

use crate::inject::note::{Note, PathProblem};
use crate::pod::Place;
use crate::pod::draft::MountView;
use crate::pod::index::{Located, PathIndex};
use crate::pod::part::NewMount;

use super::containers::Containers;
use super::directory::{fits_the_sidecar, skip};

/// The mounts of the sidecar as they are gathered.
pub(super) struct SidecarMounts<'c, 'd, 'p, 'a> {
    there: &'c Containers<'d, 'p, 'a>,
    native: bool,
    mounts: Vec<NewMount<'p>>,
    /// For each that is the pod's own volume the pattern that asks for it, and the container that
    /// has it.
    from: Vec<Option<(&'c str, Place)>>,
    /// The pod's own volumes among them by path: their positions.
    by_path: HashMap<String, usize>,
    /// The only `subPath` by which a volume is mounted; nothing where there are several. Looked up
    /// when needed.
    sub_paths: Option<HashMap<&'p str, Option<&'p str>>>,
}

impl<'c, 'd, 'p, 'a> SidecarMounts<'c, 'd, 'p, 'a> {
    pub(super) fn new(there: &'c Containers<'d, 'p, 'a>, native: bool) -> Self {
        Self {
            there,
            native,
            mounts: Vec::new(),
            from: Vec::new(),
            by_path: HashMap::new(),
            sub_paths: None,
        }
    }

    /// Adds a volume of the pod's as a container mounts it.
    pub(super) fn add_existing(
        &mut self,
        pattern: &'c str,
        place: Place,
        cover: &MountView<'_>,
    ) -> Result<(), PathProblem> {
        let taken = |what| PathProblem::Taken {
            container: self.there.draft.name(place).to_owned(),
            what,
            path: cover.path.clone().into_owned(),
        };
        if let Some(known) = self.by_path.get(cover.path.as_ref()) {
            let known = &self.mounts[*known];
            let is_same = known.volume == cover.volume && known.sub_path == cover.sub_path;
            return if is_same {
                Ok(())
            } else {
                Err(taken("emptyDir"))
            };
        }
        fits_the_sidecar(&cover.path)?;
        let mount = NewMount {
            volume: cover.volume.to_owned().into(),
            path: cover.path.clone().into_owned().into(),
            sub_path: cover.sub_path.to_owned().into(),
            read_only: false,
        };
        if !cover.sub_path.is_empty() && self.native && !self.is_only_sub_path(&mount) {
            return Err(taken("subPath"));
        }
        self.by_path
            .insert(cover.path.clone().into_owned(), self.mounts.len());
        self.mounts.push(mount);
        self.from.push(Some((pattern, place)));
        Ok(())
    }

    /// Adds a volume that is new.
    pub(super) fn add_new(&mut self, mount: NewMount<'p>) {
        self.mounts.push(mount);
        self.from.push(None);
    }

    /// The mounts, without those that need a mount point in a volume of the pod's which wouldn't be
    /// there without them: whoever has that volume may not expect a directory in it.
    pub(super) fn done(self, notes: &mut Vec<Note>) -> Vec<NewMount<'p>> {
        let all = PathIndex::new(self.mounts.iter().map(Mounted));
        let mut kept = Vec::with_capacity(self.mounts.len());
        for (mount, from) in self.mounts.iter().zip(&self.from) {
            let outer = all.above(&mount.path).next();
            let own = outer.filter(|outer| self.by_path.contains_key(outer.path()));
            match (from, own) {
                (Some((pattern, place)), Some(Mounted(outer)))
                    if !self.there.mounts_both(mount, outer) =>
                {
                    let problem = PathProblem::Taken {
                        container: self.there.draft.name(*place).to_owned(),
                        what: "emptyDir",
                        path: mount.path.clone().into_owned(),
                    };
                    skip(notes, pattern, problem);
                }
                _ => kept.push(mount.clone()),
            }
        }
        kept
    }

    /// Whether everybody who mounts a volume, init containers included, mounts the same directory
    /// of it. The sidecar, which starts first, has the kubelet make that directory.
    fn is_only_sub_path(&mut self, mount: &NewMount<'_>) -> bool {
        let pod = self.there.draft.pod;
        let known = self.sub_paths.get_or_insert_with(|| {
            let mut known: HashMap<&str, Option<&str>> = HashMap::new();
            for mount in (pod.containers.iter().chain(&pod.init_containers)).flat_map(|c| &c.mounts)
            {
                let path = (!mount.sub_path_expr).then_some(mount.sub_path.as_ref());
                let only = known.entry(&mount.volume).or_insert(path);
                *only = only.filter(|only| path == Some(only));
            }
            known
        });
        known.get(mount.volume.as_ref()) == Some(&Some(mount.sub_path.as_ref()))
    }
}

/// A mount to add, by its path.
struct Mounted<'m, 'p>(&'m NewMount<'p>);

impl Located for Mounted<'_, '_> {
    fn path(&self) -> &str {
        &self.0.path
    }
}
