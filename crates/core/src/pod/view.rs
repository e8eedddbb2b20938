//! What the features need to know of a pod, borrowed from the request.
//!
//! `null` and absent read the same. Names may repeat in invalid pods, so containers are addressed
//! by index.

use crate::json::Str;

use super::FEW;
use super::limits::{AdmissionLimits, Excess, Limit, VIEW_BYTES};
use super::nodes::Nodes;
use super::runs::Runs;

/// A pod, or the pod template of a workload, as its author wrote it.
#[derive(Debug, Clone, Default)]
pub struct Pod<'a> {
    /// `metadata.name`; empty for pods that are still to be named.
    pub name: Str<'a>,
    /// `metadata.generateName`
    pub generate_name: Str<'a>,
    /// `metadata.namespace`; may be empty in a review, where the request names the namespace.
    pub namespace: Str<'a>,
    /// The owner reference with `controller: true`.
    pub owner: Option<Owner<'a>>,
    /// `metadata.labels`; more than a [`FEW`] are sorted, those of one key in their order.
    pub(super) labels: Vec<(Str<'a>, Str<'a>)>,
    /// Those of `metadata.annotations` whose key begins with `admission.datakit/`.
    pub annotations: Vec<(Str<'a>, Str<'a>)>,
    /// Whether there are annotations at all.
    pub has_annotations: Annotations,
    /// Length of the JSON of all annotations: they take no more than this.
    pub annotation_bytes: usize,
    /// The annotation by which the agent is told what to collect of all containers, `datakit/logs`.
    pub logs: Option<Str<'a>>,
    /// Whether it is told so for a single container: `datakit/<container>.logs`.
    pub logs_of_a_container: bool,
    /// Whether some annotation says how Prometheus finds metrics: its key begins with
    /// `prometheus.io/`.
    pub is_scraped: bool,
    /// Whether the kubelet made this object to show a static pod; changing it changes nothing that
    /// runs.
    pub mirror: bool,
    /// `spec.restartPolicy`; empty stands for the default, `Always`.
    pub restart_policy: Str<'a>,
    /// Whether there is `spec.activeDeadlineSeconds`.
    pub has_deadline: bool,
    /// `spec.priorityClassName`
    pub priority_class: Str<'a>,
    /// `spec.hostPID`
    pub host_pid: bool,
    /// `spec.hostNetwork`
    pub host_network: bool,
    /// `spec.hostUsers`; absent stands for true.
    pub host_users: Option<bool>,
    /// `spec.shareProcessNamespace`
    pub share_process_namespace: Option<bool>,
    /// What the pod says of the nodes that it is for.
    pub nodes: Nodes,
    /// Whether `spec.resources` budgets the pod as a whole, which every container's own share must
    /// fit into.
    pub pod_level_resources: bool,
    /// `spec.resources`
    pub resources: Resources<'a>,
    /// `spec.securityContext`
    pub security: PodSecurity<'a>,
    /// `spec.volumes`
    pub volumes: Vec<Volume<'a>>,
    /// `spec.initContainers`
    pub init_containers: Vec<Container<'a>>,
    /// `spec.containers`
    pub containers: Vec<Container<'a>>,
    /// Length of the JSON that it was read from.
    pub bytes: usize,
    /// Whether the lists would take more than [`VIEW_BYTES`]; they are empty then.
    pub(super) beyond_view: bool,
    /// Why the pod is too large to be changed, if it is.
    pub(crate) too_large: Option<Excess>,
}

/// Whether there are annotations at all, which decides where new ones are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Annotations {
    /// There is no `metadata`.
    #[default]
    WithoutMetadata,
    /// There is `metadata` without `annotations`.
    Absent,
    /// There are some, or there is an empty map.
    Present,
}

/// A workload that made the pod.
#[derive(Debug, Clone, Default)]
pub struct Owner<'a> {
    /// Such as `apps/v1`.
    pub api_version: Str<'a>,
    /// Such as `ReplicaSet`.
    pub kind: Str<'a>,
    /// The workload's name.
    pub name: Str<'a>,
    /// What tells it from others of that name, before and after.
    pub uid: Str<'a>,
}

/// A container or init container.
#[derive(Debug, Clone, Default)]
pub struct Container<'a> {
    /// `name`
    pub name: Str<'a>,
    /// `image`
    pub image: Str<'a>,
    /// What it says that it runs; nothing where the image says so.
    pub runs: Runs<'a>,
    /// `workingDir`
    pub working_dir: Str<'a>,
    /// `env` in its order; a later entry of the same name overrides an earlier one.
    pub env: Vec<EnvVar<'a>>,
    /// `envFrom` as it stands in the JSON; empty where there is none.
    pub env_from: &'a str,
    /// `volumeMounts`
    pub mounts: Vec<Mount<'a>>,
    /// `volumeDevices` as (volume name, device path).
    pub devices: Vec<(Str<'a>, Str<'a>)>,
    /// `ports` of TCP; 0 stands for one of another protocol.
    pub tcp_ports: Vec<i64>,
    /// `resources`
    pub resources: Resources<'a>,
    /// Whether its own `restartPolicy` is `Always`, which makes an init container a native sidecar.
    pub restarts_always: bool,
    /// Whether its own `restartPolicy` is another one, so that it may end for good whatever the
    /// pod's says.
    pub may_end: bool,
    /// `securityContext`
    pub security: Security<'a>,
}

/// Requests and limits as they stand in the JSON. Few pods need them, so they are read when one
/// does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resources<'a> {
    /// The object's text; empty where there is none.
    pub(super) json: &'a str,
}

/// One of the two lists of [`Resources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceSide {
    /// `requests`
    Requests,
    /// `limits`
    Limits,
}

/// One entry of `env`.
#[derive(Debug, Clone, Default)]
pub struct EnvVar<'a> {
    /// `name`
    pub name: Str<'a>,
    /// Where the value comes from.
    pub source: EnvSource<'a>,
}

/// Where an environment variable takes its value from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvSource<'a> {
    /// `value`; empty when absent.
    Literal(Str<'a>),
    /// `valueFrom` of any kind.
    Reference {
        /// Whether the source may be missing, in which case the variable stays unset.
        optional: bool,
    },
}

/// One entry of `volumeMounts`.
#[derive(Debug, Clone, Default)]
pub struct Mount<'a> {
    /// `name` of the volume.
    pub volume: Str<'a>,
    /// `mountPath` as written.
    pub path: Str<'a>,
    /// `subPath`; empty when absent.
    pub sub_path: Str<'a>,
    /// Whether `subPathExpr` is set; what it expands to depends on the container.
    pub sub_path_expr: bool,
    /// `readOnly`
    pub read_only: bool,
}

/// One entry of `volumes`.
#[derive(Debug, Clone, Default)]
pub struct Volume<'a> {
    /// `name`
    pub name: Str<'a>,
    /// What backs it, as far as it matters here.
    pub kind: VolumeKind<'a>,
}

/// What backs a volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum VolumeKind<'a> {
    /// `emptyDir`, which is also what a volume without any source becomes.
    #[default]
    EmptyDir,
    /// `hostPath` with its path.
    HostPath(Str<'a>),
    /// `downwardAPI`: written by the kubelet, read-only inside containers.
    DownwardApi,
    /// `configMap`, `secret`, `projected` or `image`: read-only inside containers; the API's name
    /// of the kind.
    ReadOnly(&'static str),
    /// `persistentVolumeClaim`
    Claim,
    /// Anything else, kinds of the future included.
    Other,
}

/// `spec.securityContext`, which containers inherit.
#[derive(Debug, Clone, Default)]
pub struct PodSecurity<'a> {
    /// `runAsNonRoot`
    pub run_as_non_root: Option<bool>,
    /// `runAsUser`
    pub run_as_user: Option<i64>,
    /// `runAsGroup`
    pub run_as_group: Option<i64>,
    /// `seccompProfile.type`; empty when absent.
    pub seccomp: Str<'a>,
}

/// `securityContext` of a container.
#[derive(Debug, Clone, Default)]
pub struct Security<'a> {
    /// What a pod can set as well.
    pub shared: PodSecurity<'a>,
    /// `allowPrivilegeEscalation`
    pub allow_privilege_escalation: Option<bool>,
    /// `privileged`
    pub privileged: bool,
    /// Whether `capabilities.drop` has `ALL`.
    pub drops_all: bool,
    /// Whether `capabilities.add` has something that the restricted Pod Security profile doesn't
    /// allow.
    pub adds_beyond_restricted: bool,
}

impl<'a> Pod<'a> {
    /// The value of an annotation; of repeated keys, the last.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations
            .iter()
            .rev()
            .find(|(found, _)| found == key)
            .map(|(_, value)| value.as_ref())
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        let last = if self.labels.len() > FEW {
            let behind = self
                .labels
                .partition_point(|(found, _)| found.as_ref() <= key);
            self.labels[..behind]
                .last()
                .filter(|(found, _)| found == key)
        } else {
            self.labels.iter().rev().find(|(found, _)| found == key)
        };
        last.map(|(_, value)| value.as_ref())
    }

    /// Whether the pod is small enough to be changed.
    ///
    /// # Errors
    /// The limit that it exceeds.
    pub fn within(&self, limits: &AdmissionLimits) -> Result<(), Excess> {
        let excess = |limit, found, most| Err(Excess { limit, found, most });
        if self.beyond_view {
            return excess(Limit::ViewBytes, VIEW_BYTES, VIEW_BYTES);
        }
        let containers = self.containers.len() + self.init_containers.len();
        if containers > limits.containers {
            return excess(Limit::Containers, containers, limits.containers);
        }
        Ok(())
    }

    /// Whether the kubelet restarts containers that end by themselves.
    pub fn restarts_always(&self) -> bool {
        self.restart_policy.is_empty() || self.restart_policy == "Always"
    }

    /// Whether the pod is one that ends by itself: nothing in it is always restarted, by the pod's
    /// `restartPolicy` or by the containers' own.
    pub fn is_meant_to_end(&self) -> bool {
        let all_end = || {
            let own = &self.containers;
            !own.is_empty() && own.iter().all(|container| container.may_end)
        };
        !self.restarts_always() || all_end()
    }

    /// The volume of that name.
    pub fn volume(&self, name: &str) -> Option<&Volume<'a>> {
        self.volumes.iter().find(|volume| volume.name == name)
    }

    /// The init container of that name.
    pub fn init_container(&self, name: &str) -> Option<&Container<'a>> {
        self.init_containers
            .iter()
            .find(|container| container.name == name)
    }

    /// The container of that name.
    pub fn container(&self, name: &str) -> Option<&Container<'a>> {
        self.containers
            .iter()
            .find(|container| container.name == name)
    }
}

impl ResourceSide {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Limits => "limits",
        }
    }
}

impl VolumeKind<'_> {
    /// Whether containers can't create anything in it, mount points included.
    pub fn is_read_only(&self) -> bool {
        matches!(self, Self::DownwardApi | Self::ReadOnly(_))
    }

    /// The API's name of the kind, for people.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::EmptyDir => "emptyDir",
            Self::HostPath(_) => "hostPath",
            Self::DownwardApi => "downwardAPI",
            Self::ReadOnly(kind) => kind,
            Self::Claim => "persistentVolumeClaim",
            Self::Other => "volume",
        }
    }
}

impl Default for EnvSource<'_> {
    fn default() -> Self {
        Self::Literal(Str::default())
    }
}
