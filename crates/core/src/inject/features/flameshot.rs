//! flameshot: a sidecar that watches the processes of the other containers and profiles those that
//! need much.
//!
//! What it watches for says the configuration (`processes`), which isn't looked into here. The
//! directory of its profiles is shared with every container of the application, since some tools
//! have the process itself write them.

use std::borrow::Cow;
use std::sync::Arc;

use crate::config::{ContainerSettings, Extra, Feature};
use crate::pod::hiding::Directories;
use crate::pod::part::{
    NewAnnotation, NewContainer, NewEnv, NewEnvValue, NewMount, NewPort, NewVolume, NewVolumeSource,
};
use crate::pod::path::{below, clean, mount_point};
use crate::pod::{Draft, Edits, Place, Pod};

use super::application;
use super::observer::{Observer, first_hidden};
use super::process_one;
use crate::inject::container::Settings;
use crate::inject::note::{self, Note};
use crate::inject::reason::Reason;
use crate::inject::spec::{
    Ask, ContainerPlace, MarkedValue, Marks, MountMark, Request, Room, Spec, Trace, VolumeMark,
};
use crate::inject::suits;

/// Name of the sidecar.
const CONTAINER: &str = "datakit-flameshot";
/// Volume of the profiles.
const VOLUME: &str = "flameshot-volume";
const COMMAND: &[&str] = &["/flameshot/flameshot"];
/// Reading another container's process takes it.
const CAPABILITY: &str = "SYS_PTRACE";
const PORT_NAME: &str = "flameshot-port";

/// Says where the profiles are; without it there is nothing to share.
const PATH_VARIABLE: &str = "FLAMESHOT_PROFILING_PATH";
/// Says where its metrics are.
const PORT_VARIABLE: &str = "FLAMESHOT_HTTP_LOCAL_PORT";
/// What to watch for; the rule's `processes`.
const PROCESSES_VARIABLE: &str = "FLAMESHOT_PROCESSES";

/// How Prometheus finds the metrics.
const ANNOTATIONS: &[(&str, MarkedValue)] = &[
    ("prometheus.io/scrape", MarkedValue::Text("true")),
    ("prometheus.io/port", MarkedValue::Port),
    ("prometheus.io/scheme", MarkedValue::Text("http")),
    ("prometheus.io/path", MarkedValue::Text("/metrics")),
    (
        "prometheus.io/param_measurement",
        MarkedValue::Text("flameshot"),
    ),
];

/// Directories of any image, of the kubelet or of this sidecar's image, with all below them.
const FILLED: [&str; 14] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/flameshot",
    "/lib",
    "/lib32",
    "/lib64",
    "/proc",
    "/run/secrets",
    "/sbin",
    "/sys",
    "/usr",
    "/var/run",
];
/// Directories that hold what programs need, each in a directory of its own.
const SHARED: [&str; 11] = [
    "/", "/home", "/media", "/mnt", "/opt", "/root", "/run", "/srv", "/var", "/var/lib", "/var/log",
];
/// The longest path that a program can open, with its end.
const LONGEST_PATH: usize = 4095;

pub(super) const SPEC: Spec = Spec {
    feature: Feature::Flameshot,
    switch: "admission.datakit/flameshot.enabled",
    asks: &[Ask {
        language: None,
        annotations: &[],
        trace: Trace::None,
    }],
    is_privileged: true,
    rival: None,
    marks: Marks {
        container: CONTAINER,
        place: ContainerPlace::Beside,
        mount: MountMark {
            volume: VOLUME,
            paths: &[],
        },
        volumes: &[VolumeMark::new(VOLUME, "emptyDir")],
        annotations: ANNOTATIONS,
        told: None,
        merged: None,
        once_shared: None,
        shares_processes: true,
    },
    prepare: |container, extra| Arc::new(Flameshot::new(container, extra)),
};

/// flameshot, with the settings of a rule.
#[derive(Debug)]
struct Flameshot {
    settings: Settings,
    observer: Observer,
    processes: String,
    prometheus: bool,
    /// What the variables say; else which key is wrong, and how.
    place: Result<Reach, (&'static str, &'static str)>,
}

/// Where flameshot can be reached.
#[derive(Debug)]
struct Reach {
    /// The directory of its profiles, cleaned.
    path: String,
    /// The port of its metrics.
    port: u16,
}

impl Room for Flameshot {
    fn plan<'p>(
        &'p self,
        request: &Request<'p>,
        draft: &Draft<'p, '_>,
        edits: &mut Edits<'p>,
        notes: &mut Vec<Note>,
    ) -> Result<bool, Reason> {
        let pod = draft.pod;
        if let Some(path) = present(pod)? {
            edits.share_process_namespace =
                !pod.host_pid && pod.share_process_namespace != Some(true);
            share(draft, &NewMount::new(VOLUME, path), edits, &mut Vec::new());
            return Ok(true);
        }
        self.plan_sidecar(request, draft, edits, notes)?;
        Ok(false)
    }
}

impl Flameshot {
    fn new(container: &ContainerSettings, extra: &Extra) -> Self {
        let settings = Settings::new(container);
        let (processes, prometheus) = match extra {
            Extra::Flameshot {
                processes,
                prometheus_annotations,
            } => (processes.clone(), *prometheus_annotations),
            _ => (String::new(), false),
        };
        Self {
            observer: Observer::new(container, &[CAPABILITY], true),
            place: Reach::of(&settings),
            settings,
            processes,
            prometheus,
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
        let reach = self.reach(request)?;
        self.observer.suits(request, pod)?;
        reach.suits(pod)?;
        let image = request.configured_image()?;
        process_one::suits(pod)?;
        edits.volumes.push(NewVolume {
            name: VOLUME.into(),
            source: NewVolumeSource::EmptyDir,
        });
        let mount = NewMount::new(VOLUME, reach.path.as_str());
        share(draft, &mount, edits, notes);
        edits.share_process_namespace = pod.share_process_namespace != Some(true);
        // Whoever has such annotations has its own way to be scraped.
        if self.prometheus && !pod.is_scraped {
            edits
                .annotations
                .extend(ANNOTATIONS.iter().filter_map(|(key, value)| {
                    let value = match value {
                        MarkedValue::Text(text) => Cow::Borrowed(*text),
                        MarkedValue::Port => Cow::Owned(reach.port.to_string()),
                        MarkedValue::Configured => return None,
                    };
                    Some(NewAnnotation { key, value })
                }));
        }
        edits.sidecars.push(NewContainer {
            name: CONTAINER,
            image: image.as_str().into(),
            image_pull_policy: self.settings.image_pull_policy,
            command: COMMAND,
            port: Some(NewPort {
                name: PORT_NAME,
                number: reach.port,
            }),
            env: self.env(pod),
            mounts: vec![mount],
            resources: self.settings.resources(pod),
            security_context: Some(Cow::Borrowed(&self.observer.security_context)),
            ..NewContainer::default()
        });
        Ok(())
    }

    /// The configured variables and what to watch for, which takes the place of a variable that is
    /// configured itself.
    fn env<'p>(&'p self, pod: &'p Pod<'_>) -> Vec<NewEnv<'p>> {
        let processes = || NewEnv {
            name: PROCESSES_VARIABLE,
            value: NewEnvValue::Literal(self.processes.as_str().into()),
        };
        let envs = &self.settings.envs;
        let mut env: Vec<NewEnv<'p>> = envs
            .iter()
            .filter_map(|env| match env.name == PROCESSES_VARIABLE {
                true => Some(processes()),
                false => env.for_pod(pod),
            })
            .collect();
        if !env.iter().any(|env| env.name == PROCESSES_VARIABLE) {
            env.push(processes());
        }
        env
    }

    /// Where it can be reached, if the rule says all that it must.
    fn reach(&self, request: &Request<'_>) -> Result<&Reach, Reason> {
        let unusable = |key: &str, problem: &str| Reason::UnusableSetting {
            key: format!("{}.{key}", request.rule.section),
            problem: problem.to_owned(),
        };
        if self.processes.is_empty() {
            return Err(unusable("processes", "there is nothing to watch for"));
        }
        self.place
            .as_ref()
            .map_err(|(variable, problem)| unusable(&format!("envs.{variable}"), problem))
    }
}

impl Reach {
    fn of(settings: &Settings) -> Result<Self, (&'static str, &'static str)> {
        let text = |name: &'static str| {
            let configured = settings.envs.iter().find(|env| env.name == name);
            let configured = configured.ok_or((name, "it is missing"))?;
            configured.literal().ok_or((
                name,
                "it must be a text, since a mount or port is made of it",
            ))
        };
        Ok(Self {
            path: directory(text(PATH_VARIABLE)?).map_err(|problem| (PATH_VARIABLE, problem))?,
            port: match text(PORT_VARIABLE)?.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err((PORT_VARIABLE, "it must be a port from 1 to 65535")),
            },
        })
    }

    /// Whether the pod has room for the port and the directory.
    fn suits(&self, pod: &Pod<'_>) -> Result<(), Reason> {
        // All containers of a pod, native sidecars among them, share one network.
        let running = pod
            .init_containers
            .iter()
            .filter(|init| init.restarts_always);
        for container in pod.containers.iter().chain(running) {
            if container.tcp_ports.contains(&i64::from(self.port)) {
                return Err(Reason::PortTaken {
                    container: container.name.clone().into_owned(),
                    port: self.port,
                });
            }
        }
        let directory = Directories::new([self.path.as_str()]);
        for (_, container) in application(pod) {
            if let Some(hidden) = first_hidden(&directory, container) {
                return Err(hidden);
            }
        }
        Ok(())
    }
}

/// A directory that a volume can be mounted at in any container.
fn directory(text: &str) -> Result<String, &'static str> {
    if !text.starts_with('/') {
        return Err("it must be an absolute path");
    }
    if text.contains(|c: char| c == ':' || c.is_control()) || text.contains("$(") {
        return Err("it has what no mount path can have: a colon, a control character or $(…)");
    }
    let directory = clean(text).into_owned();
    if directory.len() > LONGEST_PATH {
        return Err("it is longer than a path can be");
    }
    let filled = FILLED.iter().any(|up| below(&directory, up).is_some());
    if filled || SHARED.contains(&directory.as_str()) {
        return Err(
            "a volume there would hide what images have there; it must be a directory of its own",
        );
    }
    Ok(directory)
}

/// Mounts the directory of the profiles into every container of the application that has nothing
/// there and loses nothing by it.
fn share<'p>(
    draft: &Draft<'p, '_>,
    mount: &NewMount<'p>,
    edits: &mut Edits<'p>,
    notes: &mut Vec<Note>,
) {
    let directory = Directories::new([mount.path.as_ref()]);
    for (index, container) in application(draft.pod) {
        let place = Place::Own(index);
        let own = draft.mounts(place).find(|own| own.path == mount.path);
        match own {
            None => {
                if first_hidden(&directory, container).is_none() {
                    edits.mount(place, mount.clone());
                }
            }
            Some(own) if own.volume == VOLUME && own.sub_path.is_empty() => {}
            Some(_) => note::add(notes, Note::NOT_SHARED, || Note::NotShared {
                container: container.name.clone().into_owned(),
                path: mount.path.clone().into_owned(),
            }),
        }
    }
}

/// Where the sidecar has its profiles, if it is there and ours.
fn present<'p>(pod: &'p Pod<'_>) -> Result<Option<Cow<'p, str>>, Reason> {
    let reserved = Reason::ReservedContainer { name: CONTAINER };
    if pod.init_container(CONTAINER).is_some() {
        return Err(reserved);
    }
    let Some(sidecar) = pod.container(CONTAINER) else {
        return Ok(None);
    };
    let mut mounts = sidecar.mounts.iter();
    // A rule can't choose every place, and what isn't injected there isn't shared from there.
    let profiles = mounts.find(|mount| {
        mount.volume == VOLUME && mount.sub_path.is_empty() && directory(&mount.path).is_ok()
    });
    match profiles {
        Some(mount) if pod.volume(VOLUME).is_some() => Ok(Some(mount_point(&mount.path))),
        _ => Err(reserved),
    }
}

#[cfg(test)]
mod tests;
