//! logfwd: a sidecar that reads the log files of the other containers through shared volumes and
//! forwards them.

mod address;
mod instances;
mod understanding;

use std::borrow::Cow;
use std::sync::Arc;

use crate::config::{ContainerSettings, Extra, Feature, LogConfigs, LogSources, SidecarMode};
use crate::json::Str;
use crate::pod::part::{NewContainer, NewEnv, NewEnvValue, NewMount, NewVolume, NewVolumeSource};
use crate::pod::{Container, Draft, Edits, Pod};
use crate::version::KubernetesVersion;

use super::log_paths::{self, POD_INFO_PATH};
use crate::inject::container::Settings;
use crate::inject::context::ReviewContext;
use crate::inject::note::{NotNative, Note};
use crate::inject::reason::Reason;
use crate::inject::security::{self, ImageUser};
use crate::inject::spec::{
    Ask, ContainerPlace, Marks, MountMark, Request, Room, Spec, Trace, VolumeMark,
};
use crate::inject::suits;
use instances::Instances;

/// Asks for log forwarding; the value is a JSON array of instances.
const INSTANCES: &str = "admission.datakit/logfwd.instances";
/// Name of the sidecar.
const CONTAINER: &str = "datakit-logfwd";
/// Volume with the pod's labels, which the sidecar copies into its tags.
const POD_INFO_VOLUME: &str = "datakit-pod-info";
/// Name of the volumes that are added, followed by a number.
const VOLUME_PREFIX: &str = "datakit-logfwd-volume-";
/// Variable with the instances of the annotation.
const INSTANCES_VARIABLE: &str = "LOGFWD_JSON_CONFIG";
/// Variable with what the configuration has the sidecar collect.
const CONFIGS_VARIABLE: &str = "LOGFWD_LOG_CONFIGS";
/// The first Kubernetes version whose API knows native sidecars without a feature gate.
const NATIVE_SIDECARS: KubernetesVersion = KubernetesVersion {
    major: 1,
    minor: 29,
};

pub(super) const SPEC: Spec = Spec {
    feature: Feature::Logfwd,
    switch: "admission.datakit/logfwd.enabled",
    asks: &[Ask {
        language: None,
        annotations: &[INSTANCES],
        trace: Trace::None,
    }],
    is_privileged: false,
    rival: None,
    marks: Marks {
        container: CONTAINER,
        place: ContainerPlace::BesideOrNative,
        mount: MountMark {
            volume: POD_INFO_VOLUME,
            paths: &[POD_INFO_PATH],
        },
        volumes: &[
            VolumeMark::new(POD_INFO_VOLUME, "downwardAPI"),
            VolumeMark {
                is_numbered: true,
                ..VolumeMark::new(VOLUME_PREFIX, "emptyDir")
            },
        ],
        annotations: &[],
        told: Some(INSTANCES_VARIABLE),
        merged: None,
        once_shared: None,
        shares_processes: false,
    },
    prepare: |container, extra| Arc::new(Logfwd::new(container, extra)),
};

/// logfwd, with the settings of a rule.
#[derive(Debug)]
struct Logfwd {
    settings: Settings,
    mode: SidecarMode,
    /// What the configuration has it collect; without, the annotation has to say it.
    sources: Option<Sources>,
}

/// What the configuration has the sidecar collect, ready to be written.
#[derive(Debug)]
struct Sources {
    configs: Option<String>,
    /// Patterns of files; a directory ends with a slash.
    patterns: Vec<String>,
}

impl Room for Logfwd {
    fn plan<'p>(
        &'p self,
        request: &Request<'p>,
        draft: &Draft<'p, '_>,
        edits: &mut Edits<'p>,
        notes: &mut Vec<Note>,
    ) -> Result<bool, Reason> {
        // The annotation says what to collect, whatever asks.
        let value = draft.pod.annotation(INSTANCES).unwrap_or_default();
        let present = present(draft.pod)?;
        match present {
            Some(sidecar) => {
                let mut instances = instances::read(value).unwrap_or_default();
                instances.paths.extend(self.patterns());
                log_paths::repair(draft, sidecar, &instances.paths, VOLUME_PREFIX, edits)?;
            }
            None => self.plan_sidecar(request, draft, value, edits, notes)?,
        }
        Ok(present.is_some())
    }
}

impl Logfwd {
    fn new(container: &ContainerSettings, extra: &Extra) -> Self {
        let (mode, sources) = match extra {
            Extra::Logfwd {
                sidecar_mode,
                sources,
            } => (*sidecar_mode, sources.as_ref().map(Sources::new)),
            _ => (SidecarMode::default(), None),
        };
        Self {
            settings: Settings::new(container),
            mode,
            sources,
        }
    }

    /// What the annotation and the configuration have the sidecar collect together.
    fn instances<'v>(
        &'v self,
        value: &'v str,
        notes: &mut Vec<Note>,
    ) -> Result<Instances<'v>, Reason> {
        let mut instances = match instances::read(value) {
            Ok(instances) => instances,
            Err(problem) if self.sources.is_none() => {
                return Err(Reason::InvalidAnnotation {
                    annotation: INSTANCES,
                    problem,
                });
            }
            Err(problem) => {
                if !value.is_empty() {
                    notes.push(Note::AnnotationIgnored {
                        annotation: INSTANCES,
                        problem,
                    });
                }
                Instances::default()
            }
        };
        instances.paths.extend(self.patterns());
        Ok(instances)
    }

    fn patterns(&self) -> impl Iterator<Item = Str<'_>> {
        let sources = self.sources.iter();
        sources.flat_map(|sources| sources.patterns.iter().map(|path| path.as_str().into()))
    }

    fn plan_sidecar<'p>(
        &'p self,
        request: &Request<'p>,
        draft: &Draft<'p, '_>,
        value: &str,
        edits: &mut Edits<'p>,
        notes: &mut Vec<Note>,
    ) -> Result<(), Reason> {
        let pod = draft.pod;
        suits::anything(pod)?;
        let mut instances = self.instances(value, notes)?;
        let image = request.configured_image()?;
        notes.append(&mut instances.notes);
        let has_configs = self
            .sources
            .as_ref()
            .is_some_and(|sources| sources.configs.is_some());
        understanding::check(&instances, has_configs, image, &self.settings.envs, notes);
        let native = self.is_native(pod, request.context, notes);
        let mut mounts =
            log_paths::plan(draft, &instances.paths, VOLUME_PREFIX, native, edits, notes)?;
        edits.volumes.push(NewVolume {
            name: POD_INFO_VOLUME.into(),
            source: NewVolumeSource::PodLabels,
        });
        mounts.push(NewMount::new(POD_INFO_VOLUME, POD_INFO_PATH).read_only());
        let configs = self
            .sources
            .as_ref()
            .and_then(|sources| sources.configs.as_deref());
        let told = [
            (
                INSTANCES_VARIABLE,
                (!instances.text.is_empty()).then(|| instances.text.into()),
            ),
            (CONFIGS_VARIABLE, configs.map(Cow::Borrowed)),
        ];
        let told: Vec<_> = told
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        let mut env: Vec<_> = self
            .settings
            .envs
            .iter()
            .filter(|env| told.iter().all(|(name, _)| env.name != *name))
            .filter_map(|env| env.for_pod(pod))
            .collect();
        env.extend(told.into_iter().map(|(name, value)| NewEnv {
            name,
            value: NewEnvValue::Literal(value),
        }));
        let sidecar = NewContainer {
            name: CONTAINER,
            image: image.as_str().into(),
            image_pull_policy: self.settings.image_pull_policy,
            env,
            mounts,
            resources: self.settings.resources(pod),
            security_context: security::context(&self.settings, pod, ImageUser::Root),
            native_sidecar: native,
            ..NewContainer::default()
        };
        if native {
            edits.init_first.push(sidecar);
        } else {
            edits.sidecars.push(sidecar);
        }
        Ok(())
    }

    /// Whether the sidecar becomes a native one, which doesn't keep a Job from completing. A
    /// kubelet that doesn't know native sidecars would wait for ever for such an init container to
    /// end, so every node must.
    fn is_native(&self, pod: &Pod<'_>, context: &ReviewContext, notes: &mut Vec<Note>) -> bool {
        let known = context.kubernetes_version;
        let because = match (self.mode, known) {
            (SidecarMode::Native, Some(version)) if version < NATIVE_SIDECARS => {
                NotNative::OldCluster(version)
            }
            (SidecarMode::Native, _) => return true,
            (SidecarMode::Container, _) => NotNative::Configured,
            (SidecarMode::Auto, _) if !pod.is_meant_to_end() => return false,
            (SidecarMode::Auto, Some(version))
                if version >= KubernetesVersion::NATIVE_SIDECARS_EVERYWHERE =>
            {
                return true;
            }
            (SidecarMode::Auto, Some(version)) => NotNative::OldNodes(version),
            (SidecarMode::Auto, None) => NotNative::VersionUnknown,
        };
        if pod.is_meant_to_end() {
            notes.push(Note::KeepsJobRunning { because });
        }
        false
    }
}

impl Sources {
    fn new(sources: &LogSources) -> Self {
        let LogSources {
            configs,
            volume_paths,
        } = sources;
        let files = configs.iter().flat_map(LogConfigs::paths).cloned();
        let directories = volume_paths.iter().map(|path| {
            if path.ends_with('/') || path.contains(['*', '?', '[', '{']) {
                path.clone()
            } else {
                format!("{path}/")
            }
        });
        Self {
            configs: configs.as_ref().map(|configs| configs.as_json().to_owned()),
            patterns: files.chain(directories).collect(),
        }
    }
}

/// The sidecar, if it is there and ours.
fn present<'p>(pod: &'p Pod<'_>) -> Result<Option<&'p Container<'p>>, Reason> {
    let found = pod
        .container(CONTAINER)
        .or_else(|| pod.init_container(CONTAINER));
    let Some(sidecar) = found else {
        return Ok(None);
    };
    let is_told_pod = sidecar
        .mounts
        .iter()
        .any(|mount| mount.volume == POD_INFO_VOLUME && mount.path == POD_INFO_PATH);
    // Earlier versions had no such volume.
    let is_told_instances = sidecar.env.iter().any(|env| env.name == INSTANCES_VARIABLE);
    if is_told_pod || is_told_instances {
        Ok(Some(sidecar))
    } else {
        Err(Reason::ReservedContainer { name: CONTAINER })
    }
}
