//! The profiler: a sidecar that sees the processes of the other containers.
//!
//! It changes no container of the application more than the tool of the language needs
//! ([`shared`]); the node's time zone, by which the tool's schedule runs, is mounted into the
//! sidecar alone.

use std::borrow::Cow;
use std::sync::Arc;

use crate::config::{ContainerSettings, Feature, Language};
use crate::pod::hiding::Directories;
use crate::pod::part::{NewContainer, NewMount, NewVolume, NewVolumeSource};
use crate::pod::view::{Container, Mount};
use crate::pod::{Draft, Edits, Place, Pod, VolumeKind};

use super::observer::{Observer, first_hidden};
use super::{application, process_one};
use crate::inject::container::Settings;
use crate::inject::note::{self, Note};
use crate::inject::reason::Reason;
use crate::inject::spec::{
    Ask, ContainerPlace, Marks, MountMark, Request, Room, Spec, Trace, VolumeMark,
};
use crate::inject::suits;

/// Name of the sidecar.
const CONTAINER: &str = "datakit-profiler";
/// Volume of the working directory, which the image's start script fills.
const VOLUME: &str = "datakit-profiler-volume";
const WORKING_DIR: &str = "/app/datakit-profiler";
const COMMAND: &[&str] = &["bash", "cmd.sh"];
/// Reading another container's process takes both.
const CAPABILITIES: [&str; 2] = ["SYS_PTRACE", "SYS_ADMIN"];

const TMP: &str = "/tmp";
/// The documented name first, then the one for pods that use it for something else.
const TMP_VOLUMES: [&str; 2] = ["tmp", "datakit-profiler-tmp"];
const TIMEZONE: &str = "/etc/localtime";
const TIMEZONE_VOLUMES: [&str; 2] = ["timezone", "datakit-profiler-timezone"];

pub(super) const SPEC: Spec = Spec {
    feature: Feature::Profiler,
    switch: "admission.datakit/profiler.enabled",
    asks: &[
        Ask {
            language: Some(Language::Java),
            annotations: &["admission.datakit/java-profiler.version"],
            // The JVM loads the tool's library from the working directory, writes what it found
            // there, and listens in `/tmp`.
            trace: Trace::Shared(&[WORKING_DIR, TMP]),
        },
        // py-spy reads the process from outside.
        Ask {
            language: Some(Language::Python),
            annotations: &["admission.datakit/python-profiler.version"],
            trace: Trace::None,
        },
        // The Go tool asks the process's pprof port, which the whole pod shares.
        Ask {
            language: Some(Language::Golang),
            annotations: &["admission.datakit/golang-profiler.version"],
            trace: Trace::None,
        },
    ],
    is_privileged: true,
    rival: None,
    marks: Marks {
        container: CONTAINER,
        place: ContainerPlace::Beside,
        mount: MountMark {
            volume: VOLUME,
            paths: &[WORKING_DIR],
        },
        volumes: &[
            VolumeMark::new(VOLUME, "emptyDir"),
            VolumeMark::new(TMP_VOLUMES[1], "emptyDir"),
            VolumeMark::new(TIMEZONE_VOLUMES[1], "hostPath"),
        ],
        annotations: &[],
        told: None,
        merged: None,
        once_shared: Some(TIMEZONE),
        shares_processes: true,
    },
    prepare: |container, _| Arc::new(Profiler::new(container)),
};

/// The profiler, with the settings of a rule.
#[derive(Debug)]
struct Profiler {
    settings: Settings,
    observer: Observer,
}

impl Room for Profiler {
    fn plan<'p>(
        &'p self,
        request: &Request<'p>,
        draft: &Draft<'p, '_>,
        edits: &mut Edits<'p>,
        notes: &mut Vec<Note>,
    ) -> Result<bool, Reason> {
        let present = present(draft.pod)?;
        match present {
            Some(sidecar) => repair(draft, shared(request.ask), sidecar, edits),
            None => self.plan_sidecar(request, draft, edits, notes)?,
        }
        Ok(present.is_some())
    }
}

impl Profiler {
    fn new(container: &ContainerSettings) -> Self {
        Self {
            settings: Settings::new(container),
            observer: Observer::new(container, &CAPABILITIES, false),
        }
    }

    fn plan_sidecar<'p>(
        &'p self,
        request: &Request<'p>,
        draft: &Draft<'p, '_>,
        edits: &mut Edits<'p>,
        notes: &mut Vec<Note>,
    ) -> Result<(), Reason> {
        let pod = draft.pod;
        suits::anything(pod)?;
        self.observer.suits(request, pod)?;
        let image = request.configured_image()?;
        process_one::suits(pod)?;
        let shared = shared(request.ask);
        edits.volumes.push(NewVolume {
            name: VOLUME.into(),
            source: NewVolumeSource::EmptyDir,
        });
        let mut mounts = vec![NewMount::new(VOLUME, WORKING_DIR)];
        let mut is_own_tmp = false;
        if shared.contains(&TMP) {
            let tmp = tmp_mount(draft, edits)?;
            is_own_tmp = draft.volume(&tmp.volume).is_some();
            mounts.push(tmp);
        }
        let new = |mount: &&NewMount<'p>| {
            shared.contains(&mount.path.as_ref()) && !(mount.path == TMP && is_own_tmp)
        };
        let places = Directories::new(mounts.iter().filter(new).map(|mount| mount.path.as_ref()));
        for (index, container) in application(draft.pod) {
            let place = Place::Own(index);
            if let Some(hidden) = first_hidden(&places, container) {
                return Err(hidden);
            }
            for mount in mounts
                .iter()
                .filter(|mount| shared.contains(&mount.path.as_ref()))
            {
                let own = draft.mounts(place).find(|own| own.path == mount.path);
                match own {
                    // A volume of the pod's is in the containers that its author wanted it in.
                    None if !new(&mount) => {
                        if draft.covering(place, &mount.path).is_none() {
                            note::add(notes, Note::NOT_MOUNTED, || Note::NotMounted {
                                container: draft.name(place).to_owned(),
                                volume: mount.volume.clone().into_owned(),
                                path: TMP.to_owned(),
                            });
                        }
                    }
                    None => edits.mount(place, mount.clone()),
                    Some(own) if mount.path != TMP => {
                        return Err(Reason::MountPathTaken {
                            container: draft.name(place).to_owned(),
                            path: own.path.into_owned(),
                        });
                    }
                    Some(own) if own.volume == mount.volume && own.sub_path == mount.sub_path => {}
                    Some(_) => notes.push(Note::NotShared {
                        container: draft.name(place).to_owned(),
                        path: TMP.to_owned(),
                    }),
                }
            }
        }
        mounts.push(timezone_mount(draft, edits)?);
        edits.share_process_namespace = pod.share_process_namespace != Some(true);
        edits.sidecars.push(NewContainer {
            name: CONTAINER,
            image: request.with_version(image, notes)?,
            image_pull_policy: self.settings.image_pull_policy,
            command: COMMAND,
            working_dir: WORKING_DIR,
            env: self
                .settings
                .envs
                .iter()
                .filter_map(|env| env.for_pod(pod))
                .collect(),
            mounts,
            resources: self.settings.resources(pod),
            security_context: Some(Cow::Borrowed(&self.observer.security_context)),
            ..NewContainer::default()
        });
        Ok(())
    }
}

/// The sidecar, if it is there and ours.
fn present<'p>(pod: &'p Pod<'_>) -> Result<Option<&'p Container<'p>>, Reason> {
    let reserved = Reason::ReservedContainer { name: CONTAINER };
    if pod.init_container(CONTAINER).is_some() {
        return Err(reserved);
    }
    let Some(sidecar) = pod.container(CONTAINER) else {
        return Ok(None);
    };
    let works = sidecar
        .mounts
        .iter()
        .any(|mount| mount.volume == VOLUME && mount.path == WORKING_DIR);
    if works && pod.volume(VOLUME).is_some() {
        Ok(Some(sidecar))
    } else {
        Err(reserved)
    }
}

/// The paths of the sidecar that containers of the application have to see as well, for the tool of
/// a language to work.
fn shared(ask: &Ask) -> &'static [&'static str] {
    match ask.trace {
        Trace::Shared(paths) => paths,
        Trace::None | Trace::StartUp(_) => &[],
    }
}

/// Gives containers that were added since what the profiler shares with the others.
fn repair<'p>(
    draft: &Draft<'p, '_>,
    shared: &[&str],
    sidecar: &'p Container<'_>,
    edits: &mut Edits<'p>,
) {
    let pod = draft.pod;
    edits.share_process_namespace = !pod.host_pid && pod.share_process_namespace != Some(true);
    // One mount a path, however many the sidecar claims to have.
    let mounts: Vec<_> = shared
        .iter()
        .filter_map(|path| sidecar.mounts.iter().find(|mount| mount.path == *path))
        .filter(|mount| is_ours(pod, mount))
        .collect();
    let places = Directories::new(mounts.iter().map(|mount| mount.path.as_ref()));
    for (index, container) in application(draft.pod) {
        let place = Place::Own(index);
        let mut hides = None;
        for mount in &mounts {
            let taken = draft.mounts(place).any(|own| own.path == mount.path);
            if taken || *hides.get_or_insert_with(|| first_hidden(&places, container).is_some()) {
                continue;
            }
            edits.mount(
                place,
                NewMount {
                    read_only: mount.read_only,
                    ..NewMount::new(mount.volume.as_ref(), mount.path.as_ref())
                },
            );
        }
    }
}

/// Whether the sidecar mounts a volume that injection made: ours stand behind the one of the
/// working directory, a volume of the pod's before it.
fn is_ours(pod: &Pod<'_>, mount: &Mount<'_>) -> bool {
    let at = |name: &str| pod.volumes.iter().position(|volume| volume.name == name);
    let known = mount.volume == VOLUME || TMP_VOLUMES.contains(&mount.volume.as_ref());
    known && at(&mount.volume) >= at(VOLUME) && mount.sub_path.is_empty() && !mount.sub_path_expr
}

/// The volume for `/tmp`: one that a container has there already, so that the profiler finds the
/// JVM's socket in it, else a new one.
fn tmp_mount<'p>(draft: &Draft<'p, '_>, edits: &mut Edits<'p>) -> Result<NewMount<'p>, Reason> {
    for place in draft.places() {
        let own = draft.mounts(place).find(|mount| mount.path == TMP);
        if let Some(own) = own
            && !own.sub_path_expr
            && draft.volume(own.volume) == Some(VolumeKind::EmptyDir)
        {
            return Ok(NewMount {
                volume: own.volume.to_owned().into(),
                path: TMP.into(),
                sub_path: own.sub_path.to_owned().into(),
                read_only: false,
            });
        }
    }
    let name = add_volume(draft, TMP_VOLUMES, NewVolumeSource::EmptyDir, edits)?;
    Ok(NewMount::new(name, TMP))
}

/// The node's time zone, for the sidecar only: for others it would be a writable file of the node,
/// and their local time.
fn timezone_mount<'p>(
    draft: &Draft<'p, '_>,
    edits: &mut Edits<'p>,
) -> Result<NewMount<'p>, Reason> {
    let [documented, _] = TIMEZONE_VOLUMES;
    let existing = draft.volume(documented);
    if existing.is_some_and(|kind| matches!(kind, VolumeKind::HostPath(path) if path == TIMEZONE)) {
        return Ok(NewMount::new(documented, TIMEZONE).read_only());
    }
    let name = add_volume(
        draft,
        TIMEZONE_VOLUMES,
        NewVolumeSource::NodeTimezone,
        edits,
    )?;
    Ok(NewMount::new(name, TIMEZONE).read_only())
}

/// Adds a volume under the first name that is free.
fn add_volume<'p>(
    draft: &Draft<'p, '_>,
    names: [&'static str; 2],
    source: NewVolumeSource,
    edits: &mut Edits<'p>,
) -> Result<&'static str, Reason> {
    let free = names.into_iter().find(|name| draft.volume(name).is_none());
    let name = free.ok_or(Reason::ReservedVolume {
        name: names[1].to_owned(),
    })?;
    edits.volumes.push(NewVolume {
        name: name.into(),
        source,
    });
    Ok(name)
}
