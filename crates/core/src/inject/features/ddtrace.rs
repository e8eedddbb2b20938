//! ddtrace: an init container copies the tracing library into a volume, and every container of the pod loads it by its
//! language's start-up variable ([`env`]).

mod conflicts;
mod env;

use std::sync::Arc;

use crate::config::{ContainerSettings, Feature, Language};
use crate::pod::draft::EnvEdit;
use crate::pod::limits::Cost;
use crate::pod::part::{NewContainer, NewMount, NewVolume, NewVolumeSource};
use crate::pod::{Draft, Edits, Place, Pod, VolumeKind};

use super::SIDECARS;
use crate::inject::container::Settings;
use crate::inject::note::Note;
use crate::inject::reason::Reason;
use crate::inject::security::{self, ImageUser};
use crate::inject::spec::{
    Ask, ContainerPlace, Join, Marks, Request, Room, Spec, StartUp, Trace, VolumeMark,
};
use env::EnvPlanner;

/// Name of the init container.
const INIT_CONTAINER: &str = "datakit-lib-init";
/// Name of the volume that holds the library.
const VOLUME: &str = "datakit-auto-instrument";
/// Where every container finds it.
const MOUNT_PATH: &str = "/datadog-lib";
const COMMAND: &[&str] = &["sh", "copy-lib.sh", MOUNT_PATH];

pub(super) const SPEC: Spec = Spec {
    feature: Feature::Ddtrace,
    switch: "admission.datakit/ddtrace.enabled",
    asks: &[
        Ask {
            language: Some(Language::Java),
            annotations: &["admission.datakit/java-lib.version"],
            trace: Trace::StartUp(StartUp {
                variable: "JAVA_TOOL_OPTIONS",
                original: "DATAKIT_ORIGINAL_JAVA_TOOL_OPTIONS",
                bare: " -javaagent:/datadog-lib/dd-java-agent.jar",
                join: Join::Behind,
            }),
        },
        Ask {
            language: Some(Language::Nodejs),
            annotations: &[
                "admission.datakit/js-lib.version",
                "admission.datakit/nodejs-lib.version",
            ],
            trace: Trace::StartUp(StartUp {
                variable: "NODE_OPTIONS",
                original: "DATAKIT_ORIGINAL_NODE_OPTIONS",
                bare: " --require=/datadog-lib/node_modules/dd-trace/init",
                join: Join::Behind,
            }),
        },
        Ask {
            language: Some(Language::Python),
            annotations: &["admission.datakit/python-lib.version"],
            trace: Trace::StartUp(StartUp {
                variable: "PYTHONPATH",
                original: "DATAKIT_ORIGINAL_PYTHONPATH",
                bare: "/datadog-lib/",
                join: Join::Before,
            }),
        },
    ],
    is_privileged: false,
    marks: Marks {
        container: INIT_CONTAINER,
        place: ContainerPlace::Init,
        mount: (VOLUME, MOUNT_PATH),
        volumes: &[VolumeMark::new(VOLUME, "emptyDir")],
        told: None,
        merged: Some(env::TAGS),
        once_shared: None,
        shares_processes: false,
    },
    prepare: |container, _| Arc::new(Ddtrace::new(container)),
};

/// ddtrace, with the settings of a rule.
#[derive(Debug)]
struct Ddtrace {
    settings: Settings,
    env: EnvPlanner,
}

impl Room for Ddtrace {
    fn plan<'p>(
        &'p self,
        request: &Request<'p>,
        draft: &Draft<'p, '_>,
        edits: &mut Edits<'p>,
        notes: &mut Vec<Note>,
    ) -> Result<bool, Reason> {
        let present = is_present(draft.pod)?;
        if !present {
            self.plan_library(request, draft.pod, edits, notes)?;
        }
        self.plan_containers(request, draft, edits, notes)?;
        Ok(present)
    }
}

impl Ddtrace {
    fn new(container: &ContainerSettings) -> Self {
        let settings = Settings::new(container);
        Self {
            env: EnvPlanner::new(&settings.envs),
            settings,
        }
    }

    /// The init container and the volume it fills.
    fn plan_library<'p>(
        &'p self,
        request: &Request<'p>,
        pod: &'p Pod<'_>,
        edits: &mut Edits<'p>,
        notes: &mut Vec<Note>,
    ) -> Result<(), Reason> {
        crate::inject::suits(pod)?;
        let image = request.configured_image()?;
        match pod.volume(VOLUME).map(|volume| &volume.kind) {
            Some(VolumeKind::EmptyDir) => {}
            Some(_) => {
                return Err(Reason::ReservedVolume {
                    name: VOLUME.to_owned(),
                });
            }
            None => edits.volumes.push(NewVolume {
                name: VOLUME.into(),
                source: NewVolumeSource::EmptyDir,
            }),
        }
        edits.init_last.push(NewContainer {
            name: INIT_CONTAINER,
            image: request.with_version(image, notes)?,
            image_pull_policy: self.settings.image_pull_policy,
            command: COMMAND,
            mounts: vec![NewMount::new(VOLUME, MOUNT_PATH)],
            resources: self.settings.resources(pod),
            security_context: security::context(&self.settings, pod, ImageUser::Own),
            ..NewContainer::default()
        });
        Ok(())
    }

    /// The mount and the variables of every container that isn't one of our sidecars.
    fn plan_containers<'p>(
        &'p self,
        request: &Request<'p>,
        draft: &Draft<'p, '_>,
        edits: &mut Edits<'p>,
        notes: &mut Vec<Note>,
    ) -> Result<(), Reason> {
        let pod = draft.pod;
        // Every language of the table has one.
        let Trace::StartUp(start_up) = &request.ask.trace else {
            return Ok(());
        };
        // They are the same in every container; some are looked up in the first one.
        let envs = &self.settings.envs;
        let configured: Vec<_> = envs.iter().map(|env| env.for_pod(pod)).collect();
        // What would be more than a patch may have isn't planned to its end.
        let mut cost = Cost::default();
        for (index, container) in pod.containers.iter().enumerate() {
            if SIDECARS.contains(&container.name.as_ref()) {
                continue;
            }
            let place = Place::Own(index);
            let own = edits.own(index);
            let there = draft.mounts(place).find(|mount| mount.path == MOUNT_PATH);
            match there {
                None => own.mounts.push(NewMount::new(VOLUME, MOUNT_PATH)),
                Some(mount) if mount.volume == VOLUME && mount.sub_path.is_empty() => {}
                Some(_) => {
                    return Err(Reason::MountPathTaken {
                        container: container.name.clone().into_owned(),
                        path: MOUNT_PATH.to_owned(),
                    });
                }
            }
            own.env = self
                .env
                .plan(envs, &configured, container, start_up, notes)?;
            conflicts::check(container, request.ask, start_up, &own.env, notes)?;
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

/// Whether the library is there already, put there by us.
fn is_present(pod: &Pod<'_>) -> Result<bool, Reason> {
    let reserved = Reason::ReservedContainer {
        name: INIT_CONTAINER,
    };
    if pod.container(INIT_CONTAINER).is_some() {
        return Err(reserved);
    }
    let Some(init) = pod.init_container(INIT_CONTAINER) else {
        return Ok(false);
    };
    let fills_volume = init
        .mounts
        .iter()
        .any(|mount| mount.volume == VOLUME && mount.path == MOUNT_PATH);
    if fills_volume && pod.volume(VOLUME).is_some() {
        Ok(true)
    } else {
        Err(reserved)
    }
}
