//! What in a template is certainly ours, by reserved names and shape.

use datakit_operator_core::inject::{Feature, annotation};
use serde_json::{Map, Value, json};

/// Name of ddtrace's init container.
const LIBRARY: &str = "datakit-lib-init";
/// Name of the log sidecar.
const LOGFWD: &str = "datakit-logfwd";
/// Name of the profiler's sidecar.
const PROFILER: &str = "datakit-profiler";
/// Where the profiler has the node's time zone.
const TIMEZONE: &str = "/etc/localtime";
/// Where a JVM listens for the profiler.
const TMP: &str = "/tmp";

/// A start-up variable and the option in it that loads the library.
pub(super) struct StartUp {
    /// The variable.
    pub(super) name: &'static str,
    /// What its value is where the container has none of its own.
    pub(super) bare: &'static str,
    /// Whether the container's own value stands behind, after a colon; else it stands before.
    pub(super) own_behind: bool,
    /// The annotation that asks for the language.
    annotation: &'static str,
}

/// The start-up variables of all languages.
pub(super) const START_UPS: [StartUp; 3] = [
    StartUp {
        name: "JAVA_TOOL_OPTIONS",
        bare: " -javaagent:/datadog-lib/dd-java-agent.jar",
        own_behind: false,
        annotation: annotation::JAVA_LIB,
    },
    StartUp {
        name: "NODE_OPTIONS",
        bare: " --require=/datadog-lib/node_modules/dd-trace/init",
        own_behind: false,
        annotation: annotation::JS_LIB,
    },
    StartUp {
        name: "PYTHONPATH",
        bare: "/datadog-lib/",
        own_behind: true,
        annotation: annotation::PYTHON_LIB,
    },
];

/// What the profiler shares with the containers of the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    /// Its working directory and `/tmp`: for Java.
    Java,
    /// Nothing: for other languages.
    Nothing,
    /// What earlier versions shared for every language: the working directory, `/tmp` and the node's time zone.
    Everything,
}

/// What injection left in a template.
#[derive(Debug)]
pub(super) struct Ours {
    /// The features that are there.
    pub(super) features: Vec<Feature>,
    /// Indices of our containers.
    pub(super) containers: Vec<usize>,
    /// Indices of our init containers.
    pub(super) init_containers: Vec<usize>,
    /// Whether the log sidecar is an init container.
    pub(super) native_sidecar: bool,
    names: Vec<&'static str>,
    profiler: Sharing,
    /// The annotation of the language whose library the containers load.
    language: &'static str,
    /// What the log sidecar was told to collect.
    instances: String,
}

impl Ours {
    pub(super) fn find(template: &Value) -> Self {
        let mut ours = Self {
            features: Vec::new(),
            containers: Vec::new(),
            init_containers: Vec::new(),
            native_sidecar: false,
            names: Vec::new(),
            profiler: Sharing::Nothing,
            language: language(template),
            instances: String::new(),
        };
        let spec = &template["spec"];
        let places = |key: &str, name: &str, volume: &str, path: &str| -> Vec<usize> {
            let is_ours = |container: &Value| {
                container["name"] == name
                    && list(container, "volumeMounts")
                        .any(|mount| mount["name"] == volume && mount["mountPath"] == path)
            };
            list(spec, key)
                .enumerate()
                .filter(|(_, container)| is_ours(container))
                .map(|(index, _)| index)
                .collect()
        };
        let library = places(
            "initContainers",
            LIBRARY,
            "datakit-auto-instrument",
            "/datadog-lib",
        );
        let logfwd = places("containers", LOGFWD, "datakit-pod-info", "/etc/podinfo");
        let native = places("initContainers", LOGFWD, "datakit-pod-info", "/etc/podinfo");
        let profiler = places(
            "containers",
            PROFILER,
            "datakit-profiler-volume",
            "/app/datakit-profiler",
        );
        if let Some(index) = profiler.first() {
            ours.profiler = sharing(&spec["containers"][*index]);
        }
        ours.native_sidecar = !native.is_empty();
        for (feature, name, there) in [
            (Feature::Ddtrace, LIBRARY, !library.is_empty()),
            (
                Feature::Logfwd,
                LOGFWD,
                !logfwd.is_empty() || !native.is_empty(),
            ),
            (Feature::Profiler, PROFILER, !profiler.is_empty()),
        ] {
            if there {
                ours.features.push(feature);
                ours.names.push(name);
            }
        }
        ours.containers = [logfwd, profiler].concat();
        ours.init_containers = [library, native].concat();
        let told = ours
            .own(template)
            .into_iter()
            .flat_map(|sidecar| list(sidecar, "env"))
            .find_map(|env| {
                (env["name"] == "LOGFWD_JSON_CONFIG")
                    .then(|| env["value"].as_str())
                    .flatten()
            });
        ours.instances = told.unwrap_or("[]").to_owned();
        ours
    }

    /// Whether a container with this name is ours.
    pub(super) fn is_name(&self, name: &str) -> bool {
        self.names.contains(&name)
    }

    /// Whether a volume is one that only we add, by its name and kind.
    pub(super) fn is_volume(&self, volume: &Value) -> bool {
        let name = volume["name"].as_str().unwrap_or_default();
        let kind = |key: &str| volume.get(key).is_some();
        self.features.iter().any(|feature| match feature {
            Feature::Ddtrace => name == "datakit-auto-instrument" && kind("emptyDir"),
            Feature::Logfwd => {
                name == "datakit-pod-info" && kind("downwardAPI")
                    || name.starts_with("datakit-logfwd-volume-") && kind("emptyDir")
            }
            Feature::Profiler => match name {
                "datakit-profiler-volume" | "datakit-profiler-tmp" => kind("emptyDir"),
                "datakit-profiler-timezone" => kind("hostPath"),
                _ => false,
            },
        })
    }

    /// Our own containers.
    pub(super) fn own<'t>(&self, template: &'t Value) -> Vec<&'t Value> {
        let spec = &template["spec"];
        let places = [
            ("initContainers", &self.init_containers),
            ("containers", &self.containers),
        ];
        let of_place = |(key, indices): (&'t str, &Vec<usize>)| {
            let containers = list(spec, key).enumerate();
            let own = containers.filter(|(index, _)| indices.contains(index));
            own.map(|(_, container)| container).collect::<Vec<_>>()
        };
        places.into_iter().flat_map(of_place).collect()
    }

    /// The template reduced to what it takes for injection to show all that it adds: containers without environment,
    /// mounts and volumes.
    pub(super) fn bare(&self, template: &Value) -> Value {
        let mut bare = template.clone();
        let Some(spec) = bare.get_mut("spec").and_then(Value::as_object_mut) else {
            return bare;
        };
        super::remove(spec, "containers", &self.containers);
        super::remove(spec, "initContainers", &self.init_containers);
        spec.shift_remove("volumes");
        for container in spec
            .get_mut("containers")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if let Some(container) = container.as_object_mut() {
                container.shift_remove("env");
                container.shift_remove("volumeMounts");
            }
        }
        bare
    }

    /// The template with annotations that ask for the features that are there, should they have been removed or
    /// switched off since. A feature that a selector asked for gets one as well, which has the same effect.
    pub(super) fn asking(&self, template: &Value) -> Value {
        let mut asking = template.clone();
        let annotations = object_in(&mut asking, "metadata")
            .and_then(|metadata| object_in(metadata, "annotations"));
        let Some(annotations) = annotations.and_then(Value::as_object_mut) else {
            return asking;
        };
        for switch in [
            annotation::ENABLED,
            annotation::DDTRACE_ENABLED,
            annotation::LOGFWD_ENABLED,
            annotation::PROFILER_ENABLED,
        ] {
            annotations.shift_remove(switch);
        }
        for feature in &self.features {
            let (asked, ask, value) = match feature {
                Feature::Ddtrace => (
                    &[
                        annotation::JAVA_LIB,
                        annotation::JS_LIB,
                        annotation::NODEJS_LIB,
                        annotation::PYTHON_LIB,
                    ][..],
                    self.language,
                    String::new(),
                ),
                Feature::Logfwd => (
                    &[annotation::LOGFWD_INSTANCES][..],
                    annotation::LOGFWD_INSTANCES,
                    self.instances.clone(),
                ),
                // The template may ask for another language by now. Of several, Java wins.
                Feature::Profiler if self.profiler == Sharing::Nothing => {
                    annotations.shift_remove(annotation::JAVA_PROFILER);
                    (
                        &[annotation::PYTHON_PROFILER, annotation::GOLANG_PROFILER][..],
                        annotation::PYTHON_PROFILER,
                        String::new(),
                    )
                }
                Feature::Profiler => (
                    &[annotation::JAVA_PROFILER][..],
                    annotation::JAVA_PROFILER,
                    String::new(),
                ),
            };
            if !asked.iter().any(|key| annotations.contains_key(*key)) {
                annotations.insert(ask.to_owned(), json!(value));
            }
        }
        asking
    }

    /// What the version that injected the template would have made of it, from what this version makes of it: the
    /// profiler's time zone was mounted into every container that could hold it.
    pub(super) fn as_then(&self, mut injected: Value) -> Value {
        if self.profiler != Sharing::Everything {
            return injected;
        }
        let spec = &injected["spec"];
        let read_only: Vec<Value> = list(spec, "volumes")
            .filter(|volume| {
                ["configMap", "secret", "projected", "image", "downwardAPI"]
                    .iter()
                    .any(|kind| volume.get(kind).is_some())
            })
            .map(|volume| volume["name"].clone())
            .collect();
        let shared = list(spec, "containers")
            .filter(|container| container["name"] == PROFILER)
            .flat_map(|sidecar| list(sidecar, "volumeMounts"))
            .find(|mount| mount["mountPath"] == TIMEZONE);
        let Some(volume) = shared.map(|mount| mount["name"].clone()) else {
            return injected;
        };
        let containers = injected["spec"]["containers"].as_array_mut();
        for container in containers.into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default();
            if self.is_name(name) || !can_hold_timezone(container, &read_only) {
                continue;
            }
            let Some(container) = container.as_object_mut() else {
                continue;
            };
            let mounts = container
                .entry("volumeMounts")
                .or_insert_with(|| json!([]))
                .as_array_mut();
            if let Some(mounts) = mounts {
                mounts.push(json!({"name": volume, "mountPath": TIMEZONE}));
            }
        }
        injected
    }
}

/// What the profiler's sidecar shares, by its own mounts.
fn sharing(sidecar: &Value) -> Sharing {
    let mount_at =
        |path: &str| list(sidecar, "volumeMounts").find(|mount| mount["mountPath"] == path);
    match mount_at(TIMEZONE) {
        // Since it is mounted into the sidecar alone, it is read-only there.
        Some(mount) if mount["readOnly"] != true => Sharing::Everything,
        _ if mount_at(TMP).is_some() => Sharing::Java,
        _ => Sharing::Nothing,
    }
}

/// Whether earlier versions mounted the time zone into a container: nothing is mounted there, and what is mounted above
/// can be written.
fn can_hold_timezone(container: &Value, read_only: &[Value]) -> bool {
    let above = list(container, "volumeMounts").filter_map(|mount| {
        let path = mount["mountPath"].as_str()?.trim_end_matches('/');
        let below = TIMEZONE.strip_prefix(path)?;
        (below.is_empty() || below.starts_with('/')).then_some((path.len(), mount))
    });
    match above.max_by_key(|(length, _)| *length) {
        None => true,
        Some((length, _)) if length == TIMEZONE.len() => false,
        Some((_, mount)) => mount["readOnly"] != true && !read_only.contains(&mount["name"]),
    }
}

/// The annotation of the language whose library the containers load.
fn language(template: &Value) -> &'static str {
    let loads = |start_up: &&StartUp| {
        list(&template["spec"], "containers")
            .flat_map(|container| list(container, "env"))
            .any(|env| {
                env["name"] == start_up.name
                    && env["value"]
                        .as_str()
                        .is_some_and(|value| value.contains(start_up.bare.trim()))
            })
    };
    START_UPS
        .iter()
        .find(loads)
        .unwrap_or(&START_UPS[0])
        .annotation
}

/// The items of a list, none if it is absent.
pub(super) fn list<'v>(object: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    object[key].as_array().into_iter().flatten()
}

/// The object under a key, made if there is none; none if the value is no object itself.
fn object_in<'v>(value: &'v mut Value, key: &str) -> Option<&'v mut Value> {
    let inner = value.as_object_mut()?.entry(key).or_insert(Value::Null);
    if !inner.is_object() {
        *inner = Value::Object(Map::new());
    }
    Some(inner)
}
