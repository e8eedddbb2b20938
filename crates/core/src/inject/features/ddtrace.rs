//! ddtrace: an init container copies the tracing library into a volume, and every container of the pod loads it by its
//! language's start-up variable ([`env`]).

mod env;

use crate::config::{self, DdtraceImages, DdtraceLanguage, FeaturePolicy, Selectors};
use crate::pod::draft::EnvEdit;
use crate::pod::limits::Cost;
use crate::pod::part::{NewContainer, NewMount, NewVolume, NewVolumeSource};
use crate::pod::{Draft, Edits, Place, Pod, VolumeKind};

use crate::inject::annotation;
use crate::inject::container::Settings;
use crate::inject::decision::{Decision, Feature};
use crate::inject::note::Note;
use crate::inject::policy::Policy;
use crate::inject::reason::Reason;
use crate::inject::security::{self, ImageUser};
use crate::inject::trigger::{self, Ask, Asked};
use crate::inject::{Planned, SIDECARS};
use env::EnvPlanner;

/// Name of the init container.
const INIT_CONTAINER: &str = "datakit-lib-init";
/// Name of the volume that holds the library.
const VOLUME: &str = "datakit-auto-instrument";
/// Where every container finds it.
const MOUNT_PATH: &str = "/datadog-lib";
const COMMAND: &[&str] = &["sh", "copy-lib.sh", MOUNT_PATH];

/// In the order of precedence: a pod gets one language.
const ASKS: &[Ask<DdtraceLanguage>] = &[
    Ask {
        language: DdtraceLanguage::Java,
        annotations: &[annotation::JAVA_LIB],
    },
    Ask {
        language: DdtraceLanguage::Nodejs,
        annotations: &[annotation::JS_LIB, annotation::NODEJS_LIB],
    },
    Ask {
        language: DdtraceLanguage::Python,
        annotations: &[annotation::PYTHON_LIB],
    },
];

/// ddtrace, configured.
#[derive(Debug)]
pub(crate) struct Ddtrace {
    images: DdtraceImages,
    selectors: Selectors<DdtraceLanguage>,
    pub(in crate::inject) settings: Settings,
    env: EnvPlanner,
    policy: Policy,
}

impl Ddtrace {
    pub(crate) fn new(config: &config::Ddtrace, policy: &FeaturePolicy) -> Self {
        let settings = Settings::new(&config.container);
        Self {
            images: config.images.clone(),
            selectors: config.selectors.clone(),
            env: EnvPlanner::new(&settings.envs),
            settings,
            policy: Policy::new(Feature::Ddtrace, policy),
        }
    }

    /// Plans ddtrace for a pod.
    pub(crate) fn plan<'p>(&'p self, draft: &Draft<'p, '_>, namespace: &str) -> Planned<'p> {
        let pod = draft.pod;
        let Some(asked) = trigger::asked(
            pod,
            namespace,
            ASKS,
            DdtraceLanguage::as_str,
            &self.selectors,
        ) else {
            return Planned::not_requested(Feature::Ddtrace);
        };
        let Asked {
            language,
            asked_by,
            version,
            notes,
        } = asked;
        let decision = Decision::asked(Feature::Ddtrace, Some(language.as_str()), asked_by);
        Planned::asked(
            decision,
            pod,
            annotation::DDTRACE_ENABLED,
            notes,
            |edits, notes| {
                self.policy.allow_in(namespace)?;
                let present = is_present(pod)?;
                if !present {
                    self.plan_library(pod, language, version, edits, notes)?;
                }
                self.plan_containers(draft, language, edits, notes)?;
                Ok(present)
            },
        )
    }

    /// The init container and the volume it fills.
    fn plan_library<'p>(
        &'p self,
        pod: &'p Pod<'_>,
        language: DdtraceLanguage,
        version: (&'static str, &str),
        edits: &mut Edits<'p>,
        notes: &mut Vec<Note>,
    ) -> Result<(), Reason> {
        crate::inject::suits(pod)?;
        let image = self
            .images
            .get(language)
            .ok_or(Reason::ImageNotConfigured {
                key: match language {
                    DdtraceLanguage::Java => "admission_inject.ddtrace.images.java_agent_image",
                    DdtraceLanguage::Nodejs => "admission_inject.ddtrace.images.js_agent_image",
                    DdtraceLanguage::Python => "admission_inject.ddtrace.images.python_agent_image",
                },
            })?;
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
            image: self.policy.image(image, version, notes)?,
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
        draft: &Draft<'p, '_>,
        language: DdtraceLanguage,
        edits: &mut Edits<'p>,
        notes: &mut Vec<Note>,
    ) -> Result<(), Reason> {
        let pod = draft.pod;
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
                .plan(envs, &configured, container, language, notes)?;
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
