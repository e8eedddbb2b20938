//! A pod with the edits accepted so far.
//!
//! A feature looks at the draft, plans its own [`Edits`] beside it, and hands them over whole
//! ([`verify`](super::verify) stands between). What it never hands over never happened.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;

use crate::json::write_string;
use crate::patch::{Part, Patch};

use super::FEW;
use super::limits::{AdmissionLimits, Cost, Excess};
use super::part::{
    NewAnnotation, NewContainer, NewEnv, NewMount, NewVolume, NewVolumeSource, escaped, write_list,
};
use super::path;
use super::view::{Annotations, Pod, VolumeKind};

/// What an operation takes beside its value at most, with the longest pointer there is:
/// `{"op":"replace","path":"/spec/containers/12345/volumeMounts/12345/value","value":},`.
const OPERATION: usize = 96;

/// More volumes than these are indexed as soon as one is asked for: most pods are asked for three.
const MANY_VOLUMES: usize = 4 * FEW;

/// A pod and what has been accepted to be added to it.
#[derive(Debug, Clone)]
pub struct Draft<'p, 'a> {
    /// The pod as its author wrote it.
    pub pod: &'p Pod<'a>,
    /// How large the pod and its patch may be.
    pub limits: AdmissionLimits,
    edits: Edits<'p>,
    /// Positions of the pod's volumes by name, where there are many; of several, the first.
    own_volumes: OnceCell<HashMap<&'p str, usize>>,
    /// The same of added volumes.
    added_volumes: HashMap<Cow<'p, str>, usize>,
}

/// Edits of a pod: the plan of one feature, or the sum of the accepted ones.
#[derive(Debug, Clone, Default)]
pub struct Edits<'p> {
    /// Annotations to add. The pod has none of these keys but, maybe, the one of its status, which
    /// is replaced.
    pub annotations: Vec<NewAnnotation<'p>>,
    /// Whether to set `spec.shareProcessNamespace`.
    pub share_process_namespace: bool,
    /// Volumes to append.
    pub volumes: Vec<NewVolume<'p>>,
    /// Init containers to place before the pod's own.
    pub init_first: Vec<NewContainer<'p>>,
    /// Init containers to place behind the pod's own.
    pub init_last: Vec<NewContainer<'p>>,
    /// Containers to append.
    pub sidecars: Vec<NewContainer<'p>>,
    /// Edits of the pod's own containers, by index; may be shorter than their list.
    pub own: Vec<ContainerEdits<'p>>,
    /// Mounts for sidecars that the draft already has, by their index there.
    pub sidecar_mounts: Vec<(usize, NewMount<'p>)>,
}

/// Edits of one of the pod's own containers.
#[derive(Debug, Clone, Default)]
pub struct ContainerEdits<'p> {
    /// Changes of `env`; indices are those of the pod as its author wrote it.
    pub env: Vec<EnvEdit<'p>>,
    /// Mounts to append.
    pub mounts: Vec<NewMount<'p>>,
}

/// A change of an `env` list.
#[derive(Debug, Clone)]
pub enum EnvEdit<'p> {
    /// Appends an entry.
    Append(NewEnv<'p>),
    /// Inserts an entry before the one at `index`.
    Insert {
        /// Index of the entry that will follow.
        index: usize,
        /// The entry.
        env: NewEnv<'p>,
    },
    /// Changes the `value` of the entry at `index`.
    SetValue {
        /// Index of the entry.
        index: usize,
        /// Whether the entry has a `value` now.
        replace: bool,
        /// The new value.
        value: String,
    },
    /// Changes the `name` of the entry at `index`.
    Rename {
        /// Index of the entry.
        index: usize,
        /// The new name.
        name: &'static str,
    },
}

/// A container of the draft that runs beside the others (init containers are not edited).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// One of the pod's own containers.
    Own(usize),
    /// A sidecar that an earlier feature added.
    Sidecar(usize),
}

/// A mount of a container in the draft.
#[derive(Debug, Clone)]
pub struct MountView<'d> {
    /// Name of the volume.
    pub volume: &'d str,
    /// The path, cleaned.
    pub path: Cow<'d, str>,
    /// `subPath`
    pub sub_path: &'d str,
    /// Whether `subPathExpr` is set.
    pub sub_path_expr: bool,
    /// Whether the container can't write there.
    pub read_only: bool,
}

impl<'p, 'a> Draft<'p, 'a> {
    /// The pod without any edits.
    pub fn new(pod: &'p Pod<'a>, limits: AdmissionLimits) -> Self {
        Self {
            pod,
            limits,
            edits: Edits::default(),
            own_volumes: OnceCell::new(),
            added_volumes: HashMap::new(),
        }
    }

    /// The edits accepted so far.
    pub fn edits(&self) -> &Edits<'p> {
        &self.edits
    }

    /// Takes over a verified plan.
    pub fn accept(&mut self, plan: Edits<'p>) {
        let edits = &mut self.edits;
        edits.annotations.extend(plan.annotations);
        edits.share_process_namespace |= plan.share_process_namespace;
        edits.volumes.extend(plan.volumes);
        if edits.volumes.len() > MANY_VOLUMES {
            for at in self.added_volumes.len()..edits.volumes.len() {
                let name = edits.volumes[at].name.clone();
                self.added_volumes.entry(name).or_insert(at);
            }
        }
        edits.init_first.extend(plan.init_first);
        edits.init_last.extend(plan.init_last);
        for (index, mount) in plan.sidecar_mounts {
            if let Some(sidecar) = edits.sidecars.get_mut(index) {
                sidecar.mounts.push(mount);
            }
        }
        edits.sidecars.extend(plan.sidecars);
        if edits.own.is_empty() {
            edits.own = plan.own;
            return;
        }
        for (index, own) in plan.own.into_iter().enumerate() {
            let into = edits.own(index);
            into.env.extend(own.env);
            into.mounts.extend(own.mounts);
        }
    }

    /// All containers that run beside each other: the pod's own, then added ones.
    pub fn places(&self) -> impl Iterator<Item = Place> + use<> {
        let own = (0..self.pod.containers.len()).map(Place::Own);
        own.chain((0..self.edits.sidecars.len()).map(Place::Sidecar))
    }

    /// The name of a container.
    pub fn name(&self, place: Place) -> &str {
        match place {
            Place::Own(index) => &self.pod.containers[index].name,
            Place::Sidecar(index) => self.edits.sidecars[index].name,
        }
    }

    /// The mounts of a container, added ones included.
    pub fn mounts(&self, place: Place) -> impl Iterator<Item = MountView<'_>> {
        let (written, added) = match place {
            Place::Own(index) => (
                self.pod.containers[index].mounts.as_slice(),
                self.edits.own.get(index).map_or(&[][..], |own| &own.mounts),
            ),
            Place::Sidecar(index) => (&[][..], self.edits.sidecars[index].mounts.as_slice()),
        };
        let written = written.iter().map(|mount| MountView {
            volume: &mount.volume,
            path: path::mount_point(&mount.path),
            sub_path: &mount.sub_path,
            sub_path_expr: mount.sub_path_expr,
            read_only: mount.read_only,
        });
        written.chain(added.iter().map(MountView::of))
    }

    /// The mount that provides `path` in a container: the one with the longest path that is `path`
    /// or above it.
    pub fn covering(&self, place: Place, path: &str) -> Option<MountView<'_>> {
        self.mounts(place)
            .filter(|mount| path::below(path, &mount.path).is_some())
            .max_by_key(|mount| mount.path.len())
    }

    /// What backs the volume of that name; `None` if no such volume is declared.
    pub fn volume(&self, name: &str) -> Option<VolumeKind<'_>> {
        let own = &self.pod.volumes;
        let written = if own.len() > MANY_VOLUMES {
            let names = self.own_volumes.get_or_init(|| {
                let mut names = HashMap::with_capacity(own.len());
                for (at, volume) in own.iter().enumerate() {
                    names.entry(volume.name.as_ref()).or_insert(at);
                }
                names
            });
            names.get(name).map(|at| &own[*at])
        } else {
            self.pod.volume(name)
        };
        if let Some(volume) = written {
            return Some(volume.kind.clone());
        }
        let added = &self.edits.volumes;
        let volume = if added.len() > MANY_VOLUMES {
            &added[*self.added_volumes.get(name)?]
        } else {
            added.iter().find(|volume| volume.name == name)?
        };
        Some(volume.kind())
    }

    /// Whether the plan, with what has been accepted, stays within the limits of a patch.
    ///
    /// # Errors
    /// The limit that would be exceeded.
    pub fn affords(&self, plan: &Edits<'_>) -> Result<(), Excess> {
        let bytes = self.pod.bytes;
        let roughly = self.edits.at_most() + plan.at_most();
        if self.limits.allow(bytes, roughly).is_ok() {
            return Ok(());
        }
        let exactly = |edits: &Edits<'_>| {
            let patch = render(self.pod, edits);
            let mut cost = Cost {
                operations: patch.len(),
                bytes: if patch.is_empty() { 0 } else { patch.bytes() },
            };
            // They become part of a container that has been accepted, which brings the operation.
            let mut mounts = Vec::new();
            for (_, mount) in &edits.sidecar_mounts {
                mount.write(&mut mounts);
                mounts.push(b',');
            }
            cost.bytes += mounts.len();
            cost
        };
        // Two patches are never shorter than the one of both.
        self.limits
            .allow(bytes, exactly(&self.edits) + exactly(plan))
    }

    /// The minimal JSON Patch that makes the accepted edits.
    pub fn render(&self) -> Patch {
        render(self.pod, &self.edits)
    }
}

impl EnvEdit<'_> {
    /// Length of the text that it sets, if it is made for the container.
    pub fn text_len(&self) -> usize {
        match self {
            Self::SetValue { value, .. } => value.len(),
            _ => 0,
        }
    }
}

impl<'p> Edits<'p> {
    /// The edits of one of the pod's own containers.
    pub fn own(&mut self, index: usize) -> &mut ContainerEdits<'p> {
        if self.own.len() <= index {
            self.own.resize_with(index + 1, ContainerEdits::default);
        }
        &mut self.own[index]
    }

    /// The containers to add: init containers first.
    pub fn new_containers(&self) -> impl Iterator<Item = &NewContainer<'p>> {
        let init = self.init_first.iter().chain(&self.init_last);
        init.chain(&self.sidecars)
    }

    /// Adds a mount to a container of the draft.
    pub fn mount(&mut self, place: Place, mount: NewMount<'p>) {
        match place {
            Place::Own(index) => self.own(index).mounts.push(mount),
            Place::Sidecar(index) => self.sidecar_mounts.push((index, mount)),
        }
    }

    /// What a patch of these edits comes to at most: quickly worked out, for the many pods that are
    /// far from any limit.
    fn at_most(&self) -> Cost {
        let mut cost = Cost::default();
        let mut add = |operation: usize| {
            cost.operations += 1;
            cost.bytes += operation;
        };
        if self.share_process_namespace {
            add(OPERATION);
        }
        for annotation in &self.annotations {
            add(OPERATION + 2 * escaped(annotation.key) + escaped(&annotation.value));
        }
        for volume in &self.volumes {
            add(OPERATION + volume.at_most());
        }
        for container in self.new_containers() {
            add(OPERATION + container.at_most());
        }
        for own in &self.own {
            for edit in &own.env {
                add(OPERATION
                    + match edit {
                        EnvEdit::Append(env) | EnvEdit::Insert { env, .. } => env.at_most(),
                        EnvEdit::SetValue { value, .. } => escaped(value),
                        EnvEdit::Rename { name, .. } => escaped(name),
                    });
            }
            for mount in &own.mounts {
                add(OPERATION + mount.at_most());
            }
        }
        for (_, mount) in &self.sidecar_mounts {
            cost.bytes += mount.at_most() + 1;
        }
        cost
    }

    /// Whether the plan changes nothing.
    pub fn is_empty(&self) -> bool {
        !self.share_process_namespace
            && self.annotations.is_empty()
            && self.volumes.is_empty()
            && self.init_first.is_empty()
            && self.init_last.is_empty()
            && self.sidecars.is_empty()
            && self.sidecar_mounts.is_empty()
            && self
                .own
                .iter()
                .all(|own| own.env.is_empty() && own.mounts.is_empty())
    }
}

impl<'d> MountView<'d> {
    /// The view of a mount that is being added.
    pub fn of(mount: &'d NewMount<'_>) -> Self {
        Self {
            volume: &mount.volume,
            path: path::mount_point(&mount.path),
            sub_path: &mount.sub_path,
            sub_path_expr: false,
            read_only: mount.read_only,
        }
    }
}

impl NewVolume<'_> {
    /// What the added volume looks like to a later feature.
    pub fn kind(&self) -> VolumeKind<'static> {
        match self.source {
            NewVolumeSource::EmptyDir => VolumeKind::EmptyDir,
            NewVolumeSource::PodLabels => VolumeKind::DownwardApi,
            NewVolumeSource::NodeTimezone => VolumeKind::HostPath("/etc/localtime".into()),
        }
    }
}

/// The minimal JSON Patch that makes edits of a pod.
fn render(pod: &Pod<'_>, edits: &Edits<'_>) -> Patch {
    let mut patch = Patch::default();
    render_annotations(pod, &edits.annotations, &mut patch);
    if edits.share_process_namespace {
        let pointer = [Part::Fixed("/spec/shareProcessNamespace")];
        match pod.share_process_namespace {
            None => patch.add(&pointer, |out| out.extend_from_slice(b"true")),
            Some(_) => patch.replace_leaf(&pointer, |out| out.extend_from_slice(b"true")),
        }
    }
    let volumes = [Part::Fixed("/spec/volumes")];
    append(
        &mut patch,
        &volumes,
        pod.volumes.is_empty(),
        &edits.volumes,
        |out, volume| {
            volume.write(out);
        },
    );
    render_init_containers(pod, edits, &mut patch);
    let containers = [Part::Fixed("/spec/containers")];
    append(
        &mut patch,
        &containers,
        false,
        &edits.sidecars,
        |out, sidecar| {
            sidecar.write(out);
        },
    );
    for (index, own) in edits.own.iter().enumerate() {
        let container = &pod.containers[index];
        render_env(&mut patch, index, container.env.is_empty(), &own.env);
        let mounts = [
            Part::Fixed("/spec/containers"),
            Part::Index(index),
            Part::Fixed("/volumeMounts"),
        ];
        append(
            &mut patch,
            &mounts,
            container.mounts.is_empty(),
            &own.mounts,
            |out, mount| {
                mount.write(out);
            },
        );
    }
    patch
}

fn render_annotations(pod: &Pod<'_>, annotations: &[NewAnnotation<'_>], patch: &mut Patch) {
    const METADATA: Part = Part::Fixed("/metadata");
    const ANNOTATIONS: Part = Part::Fixed("/annotations");
    if annotations.is_empty() {
        return;
    }
    let all = |out: &mut Vec<u8>| {
        for (index, annotation) in annotations.iter().enumerate() {
            out.push(if index == 0 { b'{' } else { b',' });
            write_string(out, annotation.key);
            out.push(b':');
            write_string(out, &annotation.value);
        }
        out.push(b'}');
    };
    match pod.has_annotations {
        Annotations::WithoutMetadata => patch.add(&[METADATA], |out| {
            out.extend_from_slice(b"{\"annotations\":");
            all(out);
            out.push(b'}');
        }),
        Annotations::Absent => patch.add(&[METADATA, ANNOTATIONS], all),
        Annotations::Present => {
            for annotation in annotations {
                let pointer = [METADATA, ANNOTATIONS, Part::Key(annotation.key)];
                let replace = pod.annotation(annotation.key).is_some();
                patch.set_string(&pointer, replace, &annotation.value);
            }
        }
    }
}

fn render_init_containers(pod: &Pod<'_>, edits: &Edits<'_>, patch: &mut Patch) {
    const LIST: Part = Part::Fixed("/spec/initContainers");
    let (first, last) = (&edits.init_first, &edits.init_last);
    if pod.init_containers.is_empty() {
        let all: Vec<_> = first.iter().chain(last).collect();
        append(patch, &[LIST], true, &all, |out, container| {
            container.write(out);
        });
        return;
    }
    for (index, container) in first.iter().enumerate() {
        patch.add(&[LIST, Part::Index(index)], |out| container.write(out));
    }
    append(patch, &[LIST], false, last, |out, container| {
        container.write(out);
    });
}

/// Appends to a list, or makes it when there is none.
fn append<T>(
    patch: &mut Patch,
    list: &[Part],
    absent: bool,
    items: &[T],
    write: impl Fn(&mut Vec<u8>, &T),
) {
    if items.is_empty() {
        return;
    }
    if absent {
        patch.add(list, |out| write_list(out, items, write));
        return;
    }
    let mut end = [Part::End; 4];
    end[..list.len()].copy_from_slice(list);
    for item in items {
        patch.add(&end[..=list.len()], |out| write(out, item));
    }
}

/// Changes an `env` list from its end to its start, so that the indices of the list as written stay
/// true.
fn render_env(patch: &mut Patch, container: usize, absent: bool, edits: &[EnvEdit<'_>]) {
    let at = |index| {
        [
            Part::Fixed("/spec/containers"),
            Part::Index(container),
            Part::Fixed("/env"),
            Part::Index(index),
        ]
    };
    let list = &at(0)[..3];
    let mut placed: Vec<&EnvEdit<'_>> = edits
        .iter()
        .rev() // entries inserted at one index end up in the order in which they were planned
        .filter(|edit| !matches!(edit, EnvEdit::Append(_)))
        .collect();
    // What stands at an index is changed before something is inserted there.
    placed.sort_by_key(|edit| match edit {
        EnvEdit::Append(_) => (usize::MAX, false),
        EnvEdit::SetValue { index, .. } | EnvEdit::Rename { index, .. } => {
            (usize::MAX - index, false)
        }
        EnvEdit::Insert { index, .. } => (usize::MAX - index, true),
    });
    for edit in placed {
        match edit {
            EnvEdit::Append(_) => {}
            EnvEdit::Insert { index, env } => patch.add(&at(*index), |out| env.write(out)),
            EnvEdit::SetValue {
                index,
                replace,
                value,
            } => {
                let [a, b, c, d] = at(*index);
                patch.set_string(&[a, b, c, d, Part::Fixed("/value")], *replace, value);
            }
            EnvEdit::Rename { index, name } => {
                let [a, b, c, d] = at(*index);
                patch.set_string(&[a, b, c, d, Part::Fixed("/name")], true, name);
            }
        }
    }
    let appended: Vec<&NewEnv<'_>> = edits
        .iter()
        .filter_map(|edit| match edit {
            EnvEdit::Append(env) => Some(env),
            _ => None,
        })
        .collect();
    append(patch, list, absent, &appended, |out, env| env.write(out));
}
