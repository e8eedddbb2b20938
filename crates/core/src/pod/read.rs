//! Reading a [`Pod`] from JSON: the only place that knows where in a pod its fields stand.

use crate::json::{Kind, Reader, Result, Str};

use super::FEW;
use super::limits::VIEW_BYTES;
use super::view::{
    Annotations, Container, EnvSource, EnvVar, Mount, Owner, Pod, ResourceSide, Resources,
    Security, Volume, VolumeKind,
};

/// Prefix of every annotation that the operator reads.
pub(crate) const ANNOTATION_PREFIX: &str = "admission.datakit/";

/// By which the agent is told what to collect.
const LOGS_ANNOTATION: &str = "datakit/logs";
/// Of annotations that tell it so for one container.
const AGENT_PREFIX: &str = "datakit/";
const LOGS_SUFFIX: &str = ".logs";

/// Prefix of annotations that say how Prometheus finds metrics.
const PROMETHEUS_PREFIX: &str = "prometheus.io/";

/// Set by the kubelet on the API objects of static pods
/// (<https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-config-mirror>).
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

impl<'a> Pod<'a> {
    /// Reads a pod or pod template.
    ///
    /// # Errors
    /// Where the text isn't JSON or a field that matters here has a type that no version of the API
    /// gives it.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self> {
        let mut pod = Self::default();
        let mut room = Room(Some(VIEW_BYTES));
        let start = reader.offset();
        reader.object(|reader, key| match key {
            "metadata" => pod.read_metadata(reader, &mut room),
            "spec" => pod.read_spec(reader, &mut room),
            _ => ignore(reader),
        })?;
        pod.bytes = reader.offset() - start;
        if room.0.is_none() {
            pod.beyond_view = true;
            pod.volumes = Vec::new();
            pod.init_containers = Vec::new();
            pod.containers = Vec::new();
        }
        Ok(pod)
    }

    fn read_metadata(&mut self, reader: &mut Reader<'a>, room: &mut Room) -> Result<()> {
        if reader.kind()? != Kind::Null {
            self.has_annotations = Annotations::Absent;
        }
        reader.object(|reader, key| {
            match key {
                "name" => self.name = text(reader)?,
                "generateName" => self.generate_name = text(reader)?,
                "namespace" => self.namespace = text(reader)?,
                "labels" => {
                    self.labels = labels(reader, room)?;
                    for (key, value) in &self.labels {
                        self.nodes.read_label(key, value);
                    }
                }
                "annotations" => self.read_annotations(reader, room)?,
                "ownerReferences" => self.owner = controller(reader)?,
                _ => ignore(reader)?,
            }
            Ok(())
        })
    }

    fn read_annotations(&mut self, reader: &mut Reader<'a>, room: &mut Room) -> Result<()> {
        self.annotations.clear();
        self.mirror = false;
        self.is_scraped = false;
        self.logs = None;
        self.logs_of_a_container = false;
        self.has_annotations = match reader.kind()? {
            Kind::Null => Annotations::Absent,
            _ => Annotations::Present,
        };
        let start = reader.offset();
        reader.entries(|reader, key| {
            if key.starts_with(ANNOTATION_PREFIX) {
                let value = text(reader)?;
                room.push(&mut self.annotations, (key, value));
                return Ok(());
            }
            if key == LOGS_ANNOTATION {
                self.logs = Some(text(reader)?);
                return Ok(());
            }
            self.logs_of_a_container |= key.starts_with(AGENT_PREFIX) && key.ends_with(LOGS_SUFFIX);
            self.mirror |= key == MIRROR_ANNOTATION;
            self.is_scraped |= key.starts_with(PROMETHEUS_PREFIX);
            self.nodes.read_annotation(&key);
            ignore(reader)
        })?;
        self.annotation_bytes = reader.offset() - start;
        Ok(())
    }

    fn read_spec(&mut self, reader: &mut Reader<'a>, room: &mut Room) -> Result<()> {
        let mut windows = false;
        let mut nodes = std::mem::take(&mut self.nodes);
        reader.object(|reader, key| {
            match key {
                "restartPolicy" => self.restart_policy = text(reader)?,
                "activeDeadlineSeconds" => {
                    self.has_deadline = reader.kind()? != Kind::Null;
                    ignore(reader)?;
                }
                "priorityClassName" => self.priority_class = text(reader)?,
                "hostPID" => self.host_pid = flag(reader)?,
                "hostNetwork" => self.host_network = flag(reader)?,
                "hostUsers" => self.host_users = reader.bool()?,
                "shareProcessNamespace" => self.share_process_namespace = reader.bool()?,
                "os" => nodes.read_os(&field(reader, "name")?),
                "nodeSelector" => nodes.read_selector(reader)?,
                "affinity" => nodes.read_affinity(reader)?,
                "schedulerName" => nodes.read_scheduler(&text(reader)?),
                "runtimeClassName" => nodes.read_runtime_class(&text(reader)?),
                "resources" => {
                    self.resources = Resources::of(reader.skip()?);
                    self.pod_level_resources =
                        pod_level_resources(&mut Reader::new(self.resources.json))?;
                }
                "securityContext" => {
                    let (security, on_windows) = security(reader)?;
                    self.security = security.shared;
                    windows |= on_windows;
                }
                "volumes" => self.volumes = list(reader, room, |reader, _| volume(reader))?,
                "containers" | "initContainers" => {
                    let read = list(reader, room, |reader, room| {
                        container(reader, room, &mut windows)
                    })?;
                    if key == "containers" {
                        self.containers = read;
                    } else {
                        self.init_containers = read;
                    }
                }
                _ => ignore(reader)?,
            }
            Ok(())
        })?;
        nodes.read_options(windows);
        self.nodes = nodes;
        Ok(())
    }
}

fn container<'a>(
    reader: &mut Reader<'a>,
    room: &mut Room,
    windows: &mut bool,
) -> Result<Container<'a>> {
    let mut container = Container::default();
    reader.object(|reader, key| {
        match key {
            "name" => container.name = text(reader)?,
            "image" => container.image = text(reader)?,
            "command" => container.runs.command = reader.skip()?,
            "args" => container.runs.args = reader.skip()?,
            "livenessProbe" => container.runs.probes[0] = reader.skip()?,
            "readinessProbe" => container.runs.probes[1] = reader.skip()?,
            "startupProbe" => container.runs.probes[2] = reader.skip()?,
            "lifecycle" => container.runs.lifecycle = reader.skip()?,
            "workingDir" => container.working_dir = text(reader)?,
            "env" => container.env = list(reader, room, |reader, _| env_var(reader))?,
            "envFrom" => container.env_from = reader.skip()?,
            "volumeMounts" => container.mounts = list(reader, room, |reader, _| mount(reader))?,
            "volumeDevices" => container.devices = list(reader, room, |reader, _| device(reader))?,
            "ports" => container.tcp_ports = list(reader, room, |reader, _| tcp_port(reader))?,
            "resources" => container.resources = Resources::of(reader.skip()?),
            "restartPolicy" => {
                let policy = text(reader)?;
                container.restarts_always = policy == "Always";
                container.may_end = matches!(policy.as_ref(), "OnFailure" | "Never");
            }
            "securityContext" => {
                let (security, on_windows) = security(reader)?;
                container.security = security;
                *windows |= on_windows;
            }
            _ => ignore(reader)?,
        }
        Ok(())
    })?;
    Ok(container)
}

/// The number of a port; 0 if it isn't of TCP, which is what a port is that doesn't say.
fn tcp_port(reader: &mut Reader<'_>) -> Result<i64> {
    let mut number = 0;
    let mut is_tcp = true;
    reader.object(|reader, key| {
        match key {
            "containerPort" => number = reader.integer()?.unwrap_or_default(),
            "protocol" => is_tcp = matches!(&*text(reader)?, "" | "TCP"),
            _ => ignore(reader)?,
        }
        Ok(())
    })?;
    Ok(if is_tcp { number } else { 0 })
}

fn env_var<'a>(reader: &mut Reader<'a>) -> Result<EnvVar<'a>> {
    let mut name = Str::default();
    let mut value = Str::default();
    let mut reference = None;
    reader.object(|reader, key| {
        match key {
            "name" => name = text(reader)?,
            "value" => value = text(reader)?,
            "valueFrom" => reference = value_from(reader)?,
            _ => ignore(reader)?,
        }
        Ok(())
    })?;
    let source = match reference {
        Some(optional) => EnvSource::Reference { optional },
        None => EnvSource::Literal(value),
    };
    Ok(EnvVar { name, source })
}

/// Whether the source is optional, if there is one. Kinds that don't exist yet are read like those
/// that do: each is an object that may carry `optional`.
fn value_from(reader: &mut Reader<'_>) -> Result<Option<bool>> {
    if reader.kind()? == Kind::Null {
        return ignore(reader).map(|()| None);
    }
    let mut optional = false;
    reader.object(|reader, _kind| {
        if reader.kind()? != Kind::Object {
            return ignore(reader);
        }
        reader.object(|reader, key| {
            if key == "optional" {
                optional |= flag(reader)?;
                return Ok(());
            }
            ignore(reader)
        })
    })?;
    Ok(Some(optional))
}

fn mount<'a>(reader: &mut Reader<'a>) -> Result<Mount<'a>> {
    let mut mount = Mount::default();
    reader.object(|reader, key| {
        match key {
            "name" => mount.volume = text(reader)?,
            "mountPath" => mount.path = text(reader)?,
            "subPath" => mount.sub_path = text(reader)?,
            "subPathExpr" => mount.sub_path_expr = !text(reader)?.is_empty(),
            "readOnly" => mount.read_only = flag(reader)?,
            _ => ignore(reader)?,
        }
        Ok(())
    })?;
    Ok(mount)
}

fn device<'a>(reader: &mut Reader<'a>) -> Result<(Str<'a>, Str<'a>)> {
    let mut device = (Str::default(), Str::default());
    reader.object(|reader, key| {
        match key {
            "name" => device.0 = text(reader)?,
            "devicePath" => device.1 = text(reader)?,
            _ => ignore(reader)?,
        }
        Ok(())
    })?;
    Ok(device)
}

fn volume<'a>(reader: &mut Reader<'a>) -> Result<Volume<'a>> {
    let mut volume = Volume::default();
    reader.object(|reader, key| {
        if key == "name" {
            volume.name = text(reader)?;
            return Ok(());
        }
        if reader.kind()? != Kind::Object {
            return ignore(reader);
        }
        volume.kind = match key {
            "hostPath" => VolumeKind::HostPath(field(reader, "path")?),
            "emptyDir" => VolumeKind::EmptyDir,
            "downwardAPI" => VolumeKind::DownwardApi,
            "configMap" => VolumeKind::ReadOnly("configMap"),
            "secret" => VolumeKind::ReadOnly("secret"),
            "projected" => VolumeKind::ReadOnly("projected"),
            "image" => VolumeKind::ReadOnly("image"),
            "persistentVolumeClaim" => VolumeKind::Claim,
            _ => VolumeKind::Other,
        };
        match key {
            "hostPath" => Ok(()),
            _ => ignore(reader),
        }
    })?;
    Ok(volume)
}

/// The security context of a pod or container, and whether it has options that only Windows knows.
/// `hostProcess: false` says no more than that it isn't privileged there, which hardened Linux pods
/// say too.
fn security<'a>(reader: &mut Reader<'a>) -> Result<(Security<'a>, bool)> {
    let mut security = Security::default();
    let mut windows = false;
    reader.object(|reader, key| {
        match key {
            "runAsNonRoot" => security.shared.run_as_non_root = reader.bool()?,
            "runAsUser" => security.shared.run_as_user = reader.integer()?,
            "runAsGroup" => security.shared.run_as_group = reader.integer()?,
            "seccompProfile" => security.shared.seccomp = field(reader, "type")?,
            "allowPrivilegeEscalation" => security.allow_privilege_escalation = reader.bool()?,
            "privileged" => security.privileged = flag(reader)?,
            "capabilities" => capabilities(reader, &mut security)?,
            "windowsOptions" => reader.object(|reader, key| {
                match key {
                    "hostProcess" => windows |= flag(reader)?,
                    _ if reader.kind()? == Kind::String => windows |= !text(reader)?.is_empty(),
                    _ => ignore(reader)?,
                }
                Ok(())
            })?,
            _ => ignore(reader)?,
        }
        Ok(())
    })?;
    Ok((security, windows))
}

/// See <https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>.
fn capabilities<'a>(reader: &mut Reader<'a>, security: &mut Security<'a>) -> Result<()> {
    reader.object(|reader, key| match key {
        "drop" => reader.array(|reader, _| {
            security.drops_all |= text(reader)? == "ALL";
            Ok(())
        }),
        "add" => reader.array(|reader, _| {
            security.adds_beyond_restricted |= text(reader)? != "NET_BIND_SERVICE";
            Ok(())
        }),
        _ => ignore(reader),
    })
}

impl<'a> Resources<'a> {
    /// Requests and limits that stand in a JSON object.
    pub fn of(json: &'a str) -> Self {
        Self { json }
    }

    /// Calls `seen` with each amount: its list, the resource, and the text of the quantity. What no
    /// quantity can be is left out, since the API server refuses the pod anyway.
    pub fn visit(self, mut seen: impl FnMut(ResourceSide, &str, &str)) {
        if self.json.is_empty() {
            return;
        }
        // The text has been stepped over before, so that it is JSON; another type than expected
        // ends the visit.
        let _ = Reader::new(self.json).object(|reader, key| {
            let side = match key {
                "requests" => ResourceSide::Requests,
                "limits" => ResourceSide::Limits,
                _ => return ignore(reader),
            };
            reader.entries(|reader, resource| {
                match reader.kind()? {
                    Kind::String => seen(side, &resource, &text(reader)?),
                    Kind::Number => seen(side, &resource, reader.skip()?),
                    _ => ignore(reader)?,
                }
                Ok(())
            })
        });
    }
}

/// Whether the pod as a whole has requests or limits.
fn pod_level_resources(reader: &mut Reader<'_>) -> Result<bool> {
    let mut any = false;
    reader.object(|reader, key| match key {
        "requests" | "limits" => reader.object(|reader, _| {
            any = true;
            ignore(reader)
        }),
        _ => ignore(reader),
    })?;
    Ok(any)
}

fn controller<'a>(reader: &mut Reader<'a>) -> Result<Option<Owner<'a>>> {
    let mut found = None;
    reader.array(|reader, _| {
        let mut owner = Owner::default();
        let mut controls = false;
        reader.object(|reader, key| {
            match key {
                "apiVersion" => owner.api_version = text(reader)?,
                "kind" => owner.kind = text(reader)?,
                "name" => owner.name = text(reader)?,
                "uid" => owner.uid = text(reader)?,
                "controller" => controls = flag(reader)?,
                _ => ignore(reader)?,
            }
            Ok(())
        })?;
        if controls {
            found = Some(owner);
        }
        Ok(())
    })?;
    Ok(found)
}

/// What the view may still take, in bytes; nothing once something didn't fit. A few bytes of JSON
/// can stand for a hundred times as many in memory, so what a list takes is counted whenever it
/// grows.
struct Room(Option<usize>);

impl Room {
    /// Keeps an item, if there is room for it.
    fn push<T>(&mut self, items: &mut Vec<T>, item: T) {
        if items.len() == items.capacity() && !self.grow(items.len(), size_of::<T>()) {
            return;
        }
        items.push(item);
    }

    /// A full list is about to take twice its place.
    fn grow(&mut self, items: usize, each: usize) -> bool {
        self.0 = self
            .0
            .and_then(|left| left.checked_sub(items.max(4) * each));
        self.0.is_some()
    }
}

fn list<'a, T>(
    reader: &mut Reader<'a>,
    room: &mut Room,
    mut item: impl FnMut(&mut Reader<'a>, &mut Room) -> Result<T>,
) -> Result<Vec<T>> {
    let mut items = Vec::new();
    reader.array(|reader, _| {
        let item = item(reader, room)?;
        room.push(&mut items, item);
        Ok(())
    })?;
    Ok(items)
}

/// Labels, sorted where there are many.
fn labels<'a>(reader: &mut Reader<'a>, room: &mut Room) -> Result<Vec<(Str<'a>, Str<'a>)>> {
    let mut labels = Vec::new();
    reader.entries(|reader, key| {
        let value = text(reader)?;
        room.push(&mut labels, (key, value));
        Ok(())
    })?;
    if labels.len() > FEW {
        labels.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
    Ok(labels)
}

/// One string field of an object whose other fields don't matter.
fn field<'a>(reader: &mut Reader<'a>, name: &str) -> Result<Str<'a>> {
    let mut value = Str::default();
    reader.object(|reader, key| {
        if key == name {
            value = text(reader)?;
            return Ok(());
        }
        ignore(reader)
    })?;
    Ok(value)
}

fn text<'a>(reader: &mut Reader<'a>) -> Result<Str<'a>> {
    Ok(reader.string()?.unwrap_or_default())
}

fn flag(reader: &mut Reader<'_>) -> Result<bool> {
    Ok(reader.bool()?.unwrap_or_default())
}

fn ignore(reader: &mut Reader<'_>) -> Result<()> {
    reader.skip().map(|_| ())
}
