//! A library that containers load at start-up: an init container copies it into a volume, which is
//! mounted into every container of the application beside the variables that it needs.

mod conflicts;
mod env_from;

use crate::config::ContainerSettings;
use crate::pod::draft::EnvEdit;
use crate::pod::limits::Cost;
use crate::pod::part::{NewContainer, NewMount, NewVolume, NewVolumeSource};
use crate::pod::{Draft, Edits, Place, Pod, VolumeKind};

use super::application;
use crate::inject::container::Settings;
use crate::inject::environment::EnvPlanner;
use crate::inject::note::Note;
use crate::inject::reason::Reason;
use crate::inject::security::{self, ImageUser};
use crate::inject::spec::{Request, StartUp};
use crate::inject::suits;
use conflicts::Loaded;

/// How a library gets into a pod.
#[derive(Debug)]
pub(super) struct Kit {
    /// Name of the init container.
    pub(super) container: &'static str,
    /// What it runs.
    pub(super) command: &'static [&'static str],
    /// The user of its image.
    pub(super) user: ImageUser,
    /// Name of the volume that holds the library.
    pub(super) volume: &'static str,
    /// Where every container finds it.
    pub(super) path: &'static str,
}

/// Plans a library with the settings of a rule.
#[derive(Debug)]
pub(super) struct Library {
    settings: Settings,
    env: EnvPlanner,
    merged: Option<&'static str>,
}

impl Library {
    /// Of the variable `merged` the values are merged instead of one winning.
    pub(super) fn new(container: &ContainerSettings, merged: Option<&'static str>) -> Self {
        let settings = Settings::new(container);
        Self {
            env: EnvPlanner::new(&settings.envs, merged),
            settings,
            merged,
        }
    }

    /// Plans all of it, or what is missing. Returns whether the init container was there before.
    pub(super) fn plan<'p>(
        &'p self,
        kit: &'static Kit,
        start_up: &'static StartUp,
        request: &Request<'p>,
        draft: &Draft<'p, '_>,
        edits: &mut Edits<'p>,
        notes: &mut Vec<Note>,
    ) -> Result<bool, Reason> {
        let present = kit.is_present(draft.pod)?;
        if !present {
            self.plan_volume(kit, request, draft.pod, edits, notes)?;
        }
        self.plan_containers(kit, start_up, request, draft, edits, notes)?;
        Ok(present)
    }

    /// The init container and the volume it fills.
    fn plan_volume<'p>(
        &'p self,
        kit: &'static Kit,
        request: &Request<'p>,
        pod: &'p Pod<'_>,
        edits: &mut Edits<'p>,
        notes: &mut Vec<Note>,
    ) -> Result<(), Reason> {
        suits::anything(pod)?;
        let image = request.configured_image()?;
        match pod.volume(kit.volume).map(|volume| &volume.kind) {
            Some(VolumeKind::EmptyDir) => {}
            Some(_) => {
                return Err(Reason::ReservedVolume {
                    name: kit.volume.to_owned(),
                });
            }
            None => edits.volumes.push(NewVolume {
                name: kit.volume.into(),
                source: NewVolumeSource::EmptyDir,
            }),
        }
        edits.init_last.push(NewContainer {
            name: kit.container,
            image: request.with_version(image, notes)?,
            image_pull_policy: self.settings.image_pull_policy,
            command: kit.command,
            mounts: vec![NewMount::new(kit.volume, kit.path)],
            resources: self.settings.resources(pod),
            security_context: security::context(&self.settings, pod, kit.user),
            ..NewContainer::default()
        });
        Ok(())
    }

    /// The mount and the variables of every container that isn't one of our sidecars.
    fn plan_containers<'p>(
        &'p self,
        kit: &'static Kit,
        start_up: &'static StartUp,
        request: &Request<'p>,
        draft: &Draft<'p, '_>,
        edits: &mut Edits<'p>,
        notes: &mut Vec<Note>,
    ) -> Result<(), Reason> {
        let pod = draft.pod;
        // They are the same in every container; some are looked up in the first one.
        let envs = &self.settings.envs;
        let configured: Vec<_> = envs.iter().map(|env| env.for_pod(pod)).collect();
        let loaded = Loaded {
            language: request.ask.language,
            start_up,
            path: kit.path,
            merged: self.merged,
        };
        // What would be more than a patch may have isn't planned to its end.
        let mut cost = Cost::default();
        for (index, container) in application(pod) {
            let own = edits.own(index);
            let mut mounts = draft.mounts(Place::Own(index));
            match mounts.find(|mount| mount.path == kit.path) {
                None => own.mounts.push(NewMount::new(kit.volume, kit.path)),
                Some(mount) if mount.volume == kit.volume && mount.sub_path.is_empty() => {}
                Some(_) => {
                    return Err(Reason::MountPathTaken {
                        container: container.name.clone().into_owned(),
                        path: kit.path.to_owned(),
                    });
                }
            }
            let by_env_from = env_from::is_defined(
                container,
                start_up.variable,
                request.namespace,
                request.env_from,
            );
            own.env = self
                .env
                .plan(envs, &configured, container, start_up, by_env_from, notes)?;
            conflicts::check(container, &loaded, by_env_from, &own.env, notes)?;
            // A list that isn't there yet is made by one operation.
            cost.operations += match container.env.len() {
                0 => own.env.len().min(1),
                _ => own.env.len(),
            };
            cost.bytes += own.env.iter().map(EnvEdit::text_len).sum::<usize>();
            draft.limits.allow(0, cost).map_err(Reason::PodTooLarge)?;
        }
        Ok(())
    }
}

impl Kit {
    /// Whether the library is there already, put there by us.
    fn is_present(&self, pod: &Pod<'_>) -> Result<bool, Reason> {
        let reserved = Reason::ReservedContainer {
            name: self.container,
        };
        if pod.container(self.container).is_some() {
            return Err(reserved);
        }
        let Some(init) = pod.init_container(self.container) else {
            return Ok(false);
        };
        let fills_volume = init
            .mounts
            .iter()
            .any(|mount| mount.volume == self.volume && mount.path == self.path);
        let volume = pod.volume(self.volume).map(|volume| &volume.kind);
        if fills_volume && volume == Some(&VolumeKind::EmptyDir) {
            Ok(true)
        } else {
            Err(reserved)
        }
    }
}
