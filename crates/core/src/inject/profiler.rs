//! The profiler: a sidecar that sees the processes of the other containers and shares a working directory, `/tmp` (where
//! a JVM listens for tools) and the node's time zone with them.

use crate::config::{self, ProfilerImages, ProfilerLanguage, Selectors};
use crate::pod::part::{NewContainer, NewMount, NewVolume, NewVolumeSource};
use crate::pod::view::Container;
use crate::pod::{Draft, Edits, Place, Pod, VolumeKind};

use super::Planned;
use super::annotation;
use super::container::Settings;
use super::decision::{Decision, Feature};
use super::note::Note;
use super::reason::Reason;
use super::trigger::{self, Ask, Asked};

/// Name of the sidecar.
pub(crate) const CONTAINER: &str = "datakit-profiler";
/// Volume of the working directory, which the image's start script fills.
const VOLUME: &str = "datakit-profiler-volume";
const WORKING_DIR: &str = "/app/datakit-profiler";
const COMMAND: &[&str] = &["bash", "cmd.sh"];
/// Reading another container's process takes both.
const SECURITY_CONTEXT: &str = r#"{"capabilities":{"add":["SYS_PTRACE","SYS_ADMIN"]}}"#;

const TMP: &str = "/tmp";
/// The documented name first, then the one for pods that use it for something else.
const TMP_VOLUMES: [&str; 2] = ["tmp", "datakit-profiler-tmp"];
const TIMEZONE: &str = "/etc/localtime";
const TIMEZONE_VOLUMES: [&str; 2] = ["timezone", "datakit-profiler-timezone"];

/// In the order of precedence: a pod gets one language.
const ASKS: &[Ask<ProfilerLanguage>] = &[
    Ask {
        language: ProfilerLanguage::Java,
        annotations: &[annotation::JAVA_PROFILER],
    },
    Ask {
        language: ProfilerLanguage::Python,
        annotations: &[annotation::PYTHON_PROFILER],
    },
    Ask {
        language: ProfilerLanguage::Golang,
        annotations: &[annotation::GOLANG_PROFILER],
    },
];

/// The profiler, configured.
#[derive(Debug)]
pub(crate) struct Profiler {
    images: ProfilerImages,
    selectors: Selectors<ProfilerLanguage>,
    settings: Settings,
    /// Whether the configuration chooses the sidecar's user.
    chooses_user: bool,
}

impl Profiler {
    pub(crate) fn new(config: &config::Profiler) -> Self {
        let context = config.container.security_context.as_ref();
        Self {
            images: config.images.clone(),
            selectors: config.selectors.clone(),
            settings: Settings::new(&config.container),
            chooses_user: context.is_some_and(|context| {
                context.run_as_user().is_some() || context.run_as_non_root() == Some(false)
            }),
        }
    }

    /// Plans the profiler for a pod.
    pub(crate) fn plan<'p>(&'p self, draft: &Draft<'p, '_>, namespace: &str) -> Planned<'p> {
        let pod = draft.pod;
        let Some(asked) = trigger::asked(
            pod,
            namespace,
            ASKS,
            ProfilerLanguage::as_str,
            &self.selectors,
        ) else {
            return Planned::not_requested(Feature::Profiler);
        };
        let Asked {
            language,
            asked_by,
            version,
            notes,
        } = asked;
        let decision = Decision::asked(Feature::Profiler, Some(language.as_str()), asked_by);
        Planned::asked(
            decision,
            pod,
            annotation::PROFILER_ENABLED,
            notes,
            |edits, notes| {
                let present = present(pod)?;
                match present {
                    Some(sidecar) => repair(draft, sidecar, edits),
                    None => self.plan_sidecar(draft, language, version, edits, notes)?,
                }
                Ok(present.is_some())
            },
        )
    }

    fn plan_sidecar<'p>(
        &'p self,
        draft: &Draft<'p, '_>,
        language: ProfilerLanguage,
        version: (&'static str, &str),
        edits: &mut Edits<'p>,
        notes: &mut Vec<Note>,
    ) -> Result<(), Reason> {
        let pod = draft.pod;
        super::suits(pod)?;
        self.suits(pod)?;
        let image = self
            .images
            .get(language)
            .ok_or(Reason::ImageNotConfigured {
                key: match language {
                    ProfilerLanguage::Java => {
                        "admission_inject.profiler.images.java_profiler_image"
                    }
                    ProfilerLanguage::Python => {
                        "admission_inject.profiler.images.python_profiler_image"
                    }
                    ProfilerLanguage::Golang => {
                        "admission_inject.profiler.images.golang_profiler_image"
                    }
                },
            })?;
        let work = NewMount::new(VOLUME, WORKING_DIR);
        edits.volumes.push(NewVolume {
            name: VOLUME.into(),
            source: NewVolumeSource::EmptyDir,
        });
        let tmp = tmp_mount(draft, edits)?;
        let timezone = timezone_mount(draft, edits)?;
        for place in draft.places() {
            let taken = |path: &str| draft.mounts(place).any(|mount| mount.path == path);
            if taken(WORKING_DIR) {
                return Err(Reason::MountPathTaken {
                    container: draft.name(place).to_owned(),
                    path: WORKING_DIR.to_owned(),
                });
            }
            edits.mount(place, work.clone());
            match draft.covering(place, TMP).filter(|mount| mount.path == TMP) {
                None => edits.mount(place, tmp.clone()),
                Some(own) if own.volume == tmp.volume && own.sub_path == tmp.sub_path => {}
                Some(_) => notes.push(Note::NotShared {
                    container: draft.name(place).to_owned(),
                    path: TMP.to_owned(),
                }),
            }
            if !taken(TIMEZONE) && can_hold_timezone(draft, place) {
                edits.mount(place, timezone.clone());
            }
        }
        edits.share_process_namespace = pod.share_process_namespace != Some(true);
        edits.sidecars.push(NewContainer {
            name: CONTAINER,
            image: trigger::versioned(image, version, notes),
            image_pull_policy: self.settings.image_pull_policy,
            command: COMMAND,
            working_dir: WORKING_DIR,
            env: self
                .settings
                .envs
                .iter()
                .filter_map(|env| env.for_pod(pod))
                .collect(),
            mounts: vec![work, tmp, timezone],
            resources: self.settings.resources(pod),
            security_context: Some(match &self.settings.security_context {
                Some(configured) => configured.as_str().into(),
                None => SECURITY_CONTEXT.into(),
            }),
            native_sidecar: false,
        });
        Ok(())
    }

    /// What a profiler can't live with.
    fn suits(&self, pod: &Pod<'_>) -> Result<(), Reason> {
        if pod.host_pid {
            return Err(Reason::HostPid);
        }
        if !pod.restarts_always() {
            return Err(Reason::RestartPolicy {
                policy: pod.restart_policy.clone().into_owned(),
            });
        }
        if self.chooses_user {
            return Ok(());
        }
        // The image starts cron as root; under another user the container would never run, and the pod never be ready.
        let setting = match (pod.security.run_as_non_root, pod.security.run_as_user) {
            (Some(true), _) => "securityContext.runAsNonRoot: true".to_owned(),
            (_, Some(user)) if user != 0 => format!("securityContext.runAsUser: {user}"),
            _ => return Ok(()),
        };
        Err(Reason::NonRootPod { setting })
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

/// Gives containers that were added since what the profiler shares with the others.
fn repair<'p>(draft: &Draft<'p, '_>, sidecar: &'p Container<'_>, edits: &mut Edits<'p>) {
    let pod = draft.pod;
    edits.share_process_namespace = !pod.host_pid && pod.share_process_namespace != Some(true);
    for place in draft
        .places()
        .filter(|place| draft.name(*place) != CONTAINER)
    {
        for mount in &sidecar.mounts {
            let shared = [WORKING_DIR, TMP, TIMEZONE].contains(&mount.path.as_ref());
            let taken = draft.mounts(place).any(|own| own.path == mount.path);
            let possible = mount.path != TIMEZONE || can_hold_timezone(draft, place);
            if shared && !taken && possible {
                edits.mount(
                    place,
                    NewMount {
                        volume: mount.volume.as_ref().into(),
                        path: mount.path.as_ref().into(),
                        sub_path: mount.sub_path.as_ref().into(),
                        read_only: mount.read_only,
                    },
                );
            }
        }
    }
}

/// The volume for `/tmp`: one that a container has there already, so that the profiler finds the JVM's socket in it, else
/// a new one.
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

fn timezone_mount<'p>(
    draft: &Draft<'p, '_>,
    edits: &mut Edits<'p>,
) -> Result<NewMount<'p>, Reason> {
    let [documented, _] = TIMEZONE_VOLUMES;
    let existing = draft.volume(documented);
    if existing.is_some_and(|kind| matches!(kind, VolumeKind::HostPath(path) if path == TIMEZONE)) {
        return Ok(NewMount::new(documented, TIMEZONE));
    }
    let name = add_volume(
        draft,
        TIMEZONE_VOLUMES,
        NewVolumeSource::NodeTimezone,
        edits,
    )?;
    Ok(NewMount::new(name, TIMEZONE))
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

/// A container whose `/etc` is a read-only volume keeps its own time zone.
fn can_hold_timezone(draft: &Draft<'_, '_>, place: Place) -> bool {
    let Some(parent) = draft.covering(place, TIMEZONE) else {
        return true;
    };
    let kind = draft.volume(parent.volume);
    !parent.read_only && !kind.is_some_and(|kind| kind.is_read_only())
}
