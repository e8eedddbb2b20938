//! What can be added to a pod. These types are written and never read: the counterpart of the view.

mod resources;
mod security_context;

use std::borrow::Cow;

use crate::json::write_string;

pub use resources::{ResourceList, Resources};
pub use security_context::{
    Capabilities, ProcMount, Profile, SeLinuxOptions, SecurityContext, SecurityFields,
};

/// A container to add: a sidecar or an init container.
#[derive(Debug, Clone, Default)]
pub struct NewContainer<'p> {
    /// `name`
    pub name: &'static str,
    /// `image`
    pub image: Cow<'p, str>,
    /// `imagePullPolicy`
    pub image_pull_policy: &'static str,
    /// `command`; empty leaves the image's own.
    pub command: &'static [&'static str],
    /// `ports`, of which at most one is added.
    pub port: Option<NewPort>,
    /// `workingDir`; empty leaves the image's own.
    pub working_dir: &'static str,
    /// `env`
    pub env: Vec<NewEnv<'p>>,
    /// `volumeMounts`
    pub mounts: Vec<NewMount<'p>>,
    /// `resources`; `None` where the pod as a whole has a budget.
    pub resources: Option<Cow<'p, Resources>>,
    /// `securityContext`
    pub security_context: Option<Cow<'p, SecurityContext>>,
    /// Whether the init container runs beside the others as long as they do (`restartPolicy:
    /// Always`, <https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/>).
    pub native_sidecar: bool,
}

/// A TCP port to add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewPort {
    /// `name`
    pub name: &'static str,
    /// `containerPort`
    pub number: u16,
}

/// An annotation of the pod to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAnnotation<'p> {
    /// The key.
    pub key: &'static str,
    /// The value.
    pub value: Cow<'p, str>,
}

/// An environment variable to add.
#[derive(Debug, Clone)]
pub struct NewEnv<'p> {
    /// `name`
    pub name: &'p str,
    /// `value` or `valueFrom`
    pub value: NewEnvValue<'p>,
}

/// The value of a [`NewEnv`].
#[derive(Debug, Clone)]
pub enum NewEnvValue<'p> {
    /// `value`
    Literal(Cow<'p, str>),
    /// `valueFrom` as JSON.
    Reference(&'p str),
    /// `valueFrom.resourceFieldRef`
    Resource {
        /// The container whose resource is read.
        container: &'p str,
        /// Such as `limits.cpu`.
        resource: &'static str,
        /// The unit of the value.
        divisor: &'static str,
    },
}

/// A volume mount to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMount<'p> {
    /// `name` of the volume.
    pub volume: Cow<'p, str>,
    /// `mountPath`
    pub path: Cow<'p, str>,
    /// `subPath`; empty for the volume's root.
    pub sub_path: Cow<'p, str>,
    /// `readOnly`
    pub read_only: bool,
}

/// A volume to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVolume<'p> {
    /// `name`
    pub name: Cow<'p, str>,
    /// What backs it.
    pub source: NewVolumeSource,
}

/// What backs a [`NewVolume`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewVolumeSource {
    /// An empty directory that lives as long as the pod.
    EmptyDir,
    /// The pod's labels in a file `labels`.
    PodLabels,
    /// The node's `/etc/localtime`.
    NodeTimezone,
}

impl<'p> NewMount<'p> {
    /// A writable mount of a volume's root.
    pub fn new(volume: impl Into<Cow<'p, str>>, path: impl Into<Cow<'p, str>>) -> Self {
        Self {
            volume: volume.into(),
            path: path.into(),
            sub_path: Cow::Borrowed(""),
            read_only: false,
        }
    }

    /// The same, read-only.
    pub fn read_only(self) -> Self {
        Self {
            read_only: true,
            ..self
        }
    }

    /// What it takes as JSON at most.
    pub(super) fn at_most(&self) -> usize {
        64 + escaped(&self.volume) + escaped(&self.path) + escaped(&self.sub_path)
    }

    /// Writes the JSON object.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"name\":");
        write_string(out, &self.volume);
        out.extend_from_slice(b",\"mountPath\":");
        write_string(out, &self.path);
        if !self.sub_path.is_empty() {
            out.extend_from_slice(b",\"subPath\":");
            write_string(out, &self.sub_path);
        }
        if self.read_only {
            out.extend_from_slice(b",\"readOnly\":true");
        }
        out.push(b'}');
    }
}

impl NewVolume<'_> {
    /// What it takes as JSON at most.
    pub(super) fn at_most(&self) -> usize {
        128 + escaped(&self.name)
    }

    /// Writes the JSON object.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"name\":");
        write_string(out, &self.name);
        out.extend_from_slice(match self.source {
            NewVolumeSource::EmptyDir => b",\"emptyDir\":{}}",
            NewVolumeSource::PodLabels => {
                b",\"downwardAPI\":{\"items\":[{\"path\":\"labels\",\"fieldRef\":{\"fieldPath\":\"metadata.labels\"}}]}}"
            }
            NewVolumeSource::NodeTimezone => {
                b",\"hostPath\":{\"path\":\"/etc/localtime\",\"type\":\"FileOrCreate\"}}" as &[u8]
            }
        });
    }
}

impl NewEnv<'_> {
    /// What it takes as JSON at most.
    pub(super) fn at_most(&self) -> usize {
        let value = match &self.value {
            NewEnvValue::Literal(value) => escaped(value),
            NewEnvValue::Reference(json) => json.len(),
            NewEnvValue::Resource {
                container,
                resource,
                divisor,
            } => escaped(container) + resource.len() + divisor.len(),
        };
        128 + escaped(self.name) + value
    }

    /// Writes the JSON object.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"name\":");
        write_string(out, self.name);
        match &self.value {
            NewEnvValue::Literal(value) => {
                out.extend_from_slice(b",\"value\":");
                write_string(out, value);
            }
            NewEnvValue::Reference(json) => {
                out.extend_from_slice(b",\"valueFrom\":");
                out.extend_from_slice(json.as_bytes());
            }
            NewEnvValue::Resource {
                container,
                resource,
                divisor,
            } => {
                out.extend_from_slice(b",\"valueFrom\":{\"resourceFieldRef\":{\"containerName\":");
                write_string(out, container);
                out.extend_from_slice(b",\"resource\":");
                write_string(out, resource);
                out.extend_from_slice(b",\"divisor\":");
                write_string(out, divisor);
                out.extend_from_slice(b"}}");
            }
        }
        out.push(b'}');
    }
}

impl NewContainer<'_> {
    /// What it takes as JSON at most.
    pub(super) fn at_most(&self) -> usize {
        let command: usize = self.command.iter().map(|word| escaped(word) + 1).sum();
        let env: usize = self.env.iter().map(|env| env.at_most() + 1).sum();
        let mounts: usize = self.mounts.iter().map(|mount| mount.at_most() + 1).sum();
        let resources = self.resources.as_deref();
        let resources = resources.map_or(0, |resources| resources.as_json().len());
        let security_context = self.security_context.as_deref();
        let security_context = security_context.map_or(0, |context| context.as_json().len());
        let port = self.port.map_or(0, |port| 64 + escaped(port.name));
        256 + port
            + escaped(self.name)
            + escaped(&self.image)
            + escaped(self.image_pull_policy)
            + escaped(self.working_dir)
            + command
            + env
            + mounts
            + resources
            + security_context
    }

    /// Writes the JSON object.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"name\":");
        write_string(out, self.name);
        out.extend_from_slice(b",\"image\":");
        write_string(out, &self.image);
        if !self.command.is_empty() {
            out.extend_from_slice(b",\"command\":");
            write_list(out, self.command, |out, word| write_string(out, word));
        }
        if !self.working_dir.is_empty() {
            out.extend_from_slice(b",\"workingDir\":");
            write_string(out, self.working_dir);
        }
        if let Some(port) = self.port {
            out.extend_from_slice(b",\"ports\":[{\"name\":");
            write_string(out, port.name);
            out.extend_from_slice(b",\"containerPort\":");
            out.extend_from_slice(itoa::Buffer::new().format(port.number).as_bytes());
            out.extend_from_slice(b",\"protocol\":\"TCP\"}]");
        }
        if !self.env.is_empty() {
            out.extend_from_slice(b",\"env\":");
            write_list(out, &self.env, |out, env| env.write(out));
        }
        if let Some(resources) = &self.resources {
            out.extend_from_slice(b",\"resources\":");
            out.extend_from_slice(resources.as_json().as_bytes());
        }
        if !self.mounts.is_empty() {
            out.extend_from_slice(b",\"volumeMounts\":");
            write_list(out, &self.mounts, |out, mount| mount.write(out));
        }
        out.extend_from_slice(b",\"imagePullPolicy\":");
        write_string(out, self.image_pull_policy);
        if let Some(security_context) = &self.security_context {
            out.extend_from_slice(b",\"securityContext\":");
            out.extend_from_slice(security_context.as_json().as_bytes());
        }
        if self.native_sidecar {
            out.extend_from_slice(b",\"restartPolicy\":\"Always\"");
        }
        out.push(b'}');
    }
}

/// What a text takes as a JSON string at most: a control character takes six bytes.
pub fn escaped(text: &str) -> usize {
    text.len() * 6 + 2
}

/// Writes a JSON list.
pub fn write_list<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}
