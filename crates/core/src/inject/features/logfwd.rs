//! logfwd: a sidecar that reads the log files of the other containers through shared volumes and forwards them.

mod instances;
mod mounts;

use crate::config::{self, FeaturePolicy, SidecarMode};
use crate::image::Image;
use crate::pod::part::{NewContainer, NewEnv, NewEnvValue, NewMount, NewVolume, NewVolumeSource};
use crate::pod::{Container, Draft, Edits, Pod};
use crate::version::KubernetesVersion;

use crate::inject::annotation;
use crate::inject::container::Settings;
use crate::inject::decision::{AskedBy, Decision, Feature};
use instances::Instances;
use mounts::POD_INFO_PATH;

use crate::inject::note::{NotNative, Note};
use crate::inject::policy::Policy;
use crate::inject::reason::Reason;
use crate::inject::security::{self, ImageUser};
use crate::inject::{Planned, ReviewContext};

/// Name of the sidecar.
pub(crate) const CONTAINER: &str = "datakit-logfwd";
/// Volume with the pod's labels, which the sidecar copies into its tags.
const POD_INFO_VOLUME: &str = "datakit-pod-info";
/// Variable with the instances of the annotation.
const INSTANCES_VARIABLE: &str = "LOGFWD_JSON_CONFIG";
/// The first Kubernetes version whose API knows native sidecars without a feature gate.
const NATIVE_SIDECARS: KubernetesVersion = KubernetesVersion {
    major: 1,
    minor: 29,
};

/// logfwd, configured.
#[derive(Debug)]
pub(crate) struct Logfwd {
    image: Option<Image>,
    pub(in crate::inject) settings: Settings,
    mode: SidecarMode,
    policy: Policy,
}

impl Logfwd {
    pub(crate) fn new(config: &config::Logfwd, policy: &FeaturePolicy) -> Self {
        Self {
            image: config.image.clone(),
            settings: Settings::new(&config.container),
            mode: config.sidecar_mode,
            policy: Policy::new(Feature::Logfwd, policy),
        }
    }

    /// Plans logfwd for a pod. The annotation alone asks for it: it says what to collect.
    pub(crate) fn plan<'p>(
        &'p self,
        draft: &Draft<'p, '_>,
        namespace: &str,
        context: &ReviewContext,
    ) -> Planned<'p> {
        let pod = draft.pod;
        let Some(value) = pod.annotation(annotation::LOGFWD_INSTANCES) else {
            return Planned::not_requested(Feature::Logfwd);
        };
        let asked_by = AskedBy::Annotation(annotation::LOGFWD_INSTANCES);
        let decision = Decision::asked(Feature::Logfwd, None, asked_by);
        Planned::asked(
            decision,
            pod,
            annotation::LOGFWD_ENABLED,
            Vec::new(),
            |edits, notes| {
                self.policy.allow_in(namespace)?;
                let present = present(pod)?;
                match present {
                    Some(sidecar) => {
                        let instances = instances::read(value).unwrap_or_default();
                        mounts::repair(draft, sidecar, &instances.paths, edits)?;
                    }
                    None => self.plan_sidecar(draft, value, context, edits, notes)?,
                }
                Ok(present.is_some())
            },
        )
    }

    fn plan_sidecar<'p>(
        &'p self,
        draft: &Draft<'p, '_>,
        annotation: &str,
        context: &ReviewContext,
        edits: &mut Edits<'p>,
        notes: &mut Vec<Note>,
    ) -> Result<(), Reason> {
        let pod = draft.pod;
        crate::inject::suits(pod)?;
        let Instances {
            paths,
            text,
            unknown_keys,
            ..
        } = instances::read(annotation).map_err(|problem| Reason::InvalidAnnotation {
            annotation: annotation::LOGFWD_INSTANCES,
            problem,
        })?;
        let image = self.image.as_ref().ok_or(Reason::ImageNotConfigured {
            key: "admission_inject.logfwd.images.logfwd_image",
        })?;
        notes.extend(unknown_keys);
        let mut mounts = mounts::plan(draft, &paths, edits, notes)?;
        edits.volumes.push(NewVolume {
            name: POD_INFO_VOLUME.into(),
            source: NewVolumeSource::PodLabels,
        });
        mounts.push(NewMount::new(POD_INFO_VOLUME, POD_INFO_PATH).read_only());
        let configured = self
            .settings
            .envs
            .iter()
            .filter(|env| env.name != INSTANCES_VARIABLE);
        let mut env: Vec<_> = configured.filter_map(|env| env.for_pod(pod)).collect();
        env.push(NewEnv {
            name: INSTANCES_VARIABLE,
            value: NewEnvValue::Literal(text.into()),
        });
        let native = self.is_native(pod, context, notes);
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

    /// Whether the sidecar becomes a native one, which doesn't keep a Job from completing. A kubelet that doesn't know
    /// native sidecars would wait for ever for such an init container to end, so every node must.
    fn is_native(&self, pod: &Pod<'_>, context: &ReviewContext, notes: &mut Vec<Note>) -> bool {
        let known = context.kubernetes_version;
        let because = match (self.mode, known) {
            (SidecarMode::Native, Some(version)) if version < NATIVE_SIDECARS => {
                NotNative::OldCluster(version)
            }
            (SidecarMode::Native, _) => return true,
            (SidecarMode::Container, _) => NotNative::Configured,
            (SidecarMode::Auto, _) if pod.restarts_always() => return false,
            (SidecarMode::Auto, Some(version))
                if version >= KubernetesVersion::NATIVE_SIDECARS_EVERYWHERE =>
            {
                return true;
            }
            (SidecarMode::Auto, Some(version)) => NotNative::OldNodes(version),
            (SidecarMode::Auto, None) => NotNative::VersionUnknown,
        };
        if !pod.restarts_always() {
            notes.push(Note::KeepsJobRunning { because });
        }
        false
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
