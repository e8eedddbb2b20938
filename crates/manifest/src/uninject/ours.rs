//! What in a template is certainly ours, by reserved names and shape.

use datakit_operator_core::inject::{
    Ask, ContainerPlace, Feature, MarkedValue, SPECS, Spec, StartUp, Trace, annotation,
};
use serde_json::{Map, Value, json};

/// Fields of containers by which injection leaves something out.
const IN_THE_WAY: [&str; 9] = [
    "args",
    "command",
    "env",
    "lifecycle",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "volumeMounts",
    "workingDir",
];

/// What injection left in a template.
#[derive(Debug)]
pub(super) struct Ours {
    /// The features that are there.
    pub(super) features: Vec<Feature>,
    /// Indices of our containers.
    pub(super) containers: Vec<usize>,
    /// Indices of our init containers.
    pub(super) init_containers: Vec<usize>,
    /// Whether a sidecar is an init container.
    pub(super) native_sidecar: bool,
    found: Vec<Found>,
}

/// A feature that is there.
#[derive(Debug)]
struct Found {
    spec: &'static Spec,
    /// What may have asked for it, the likeliest first.
    asks: Vec<&'static Ask>,
    /// What the annotation said; empty where the container doesn't repeat it.
    told: String,
    /// A path that was shared with every container, as earlier versions did.
    shared: Option<&'static str>,
    /// The port of the container, if it has one.
    port: Option<String>,
}

impl Ours {
    /// What is ours in a template. `annotated` are features that have left an annotation of ours.
    pub(super) fn find(template: &Value, annotated: &[Feature]) -> Self {
        let mut ours = Self {
            features: Vec::new(),
            containers: Vec::new(),
            init_containers: Vec::new(),
            native_sidecar: false,
            found: Vec::new(),
        };
        for spec in &SPECS {
            let (beside, init) = match spec.marks.place {
                ContainerPlace::Init => (false, true),
                ContainerPlace::Beside => (true, false),
                ContainerPlace::BesideOrNative => (true, true),
                ContainerPlace::Nowhere => {
                    if annotated.contains(&spec.feature) {
                        ours.features.push(spec.feature);
                        ours.found.push(Found::new(spec, &Value::Null, template));
                    }
                    continue;
                }
            };
            let beside = places(template, "containers", spec, beside);
            let init = places(template, "initContainers", spec, init);
            let first = |key: &str, indices: &[usize]| {
                let index = *indices.first()?;
                Some(&template["spec"][key][index])
            };
            let own = first("initContainers", &init).or_else(|| first("containers", &beside));
            if let Some(own) = own {
                ours.features.push(spec.feature);
                ours.found.push(Found::new(spec, own, template));
            }
            ours.native_sidecar |= spec.marks.place != ContainerPlace::Init && !init.is_empty();
            ours.containers.extend(beside);
            ours.init_containers.extend(init);
        }
        ours
    }

    /// The features that are there.
    pub(super) fn specs(&self) -> impl Iterator<Item = &'static Spec> {
        self.found.iter().map(|found| found.spec)
    }

    /// Whether a feature is there that has no container.
    pub(super) fn is_without_container(&self) -> bool {
        self.specs()
            .any(|spec| spec.marks.place == ContainerPlace::Nowhere)
    }

    /// Whether a container with this name is ours.
    pub(super) fn is_name(&self, name: &str) -> bool {
        self.specs().any(|spec| spec.marks.container == name)
    }

    /// Whether a volume is one that only we add, by its name and kind.
    pub(super) fn is_volume(&self, volume: &Value) -> bool {
        let name = volume["name"].as_str().unwrap_or_default();
        let mut marks = self.specs().flat_map(|spec| spec.marks.volumes);
        marks.any(|mark| mark.is_named(name) && volume.get(mark.source).is_some())
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

    /// The template reduced to what it takes for injection to show all that it adds: containers
    /// without environment, mounts, volumes, and what they run.
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
                for key in IN_THE_WAY {
                    container.shift_remove(key);
                }
            }
        }
        bare
    }

    /// The template with annotations that ask for the features that are there, should they have
    /// been removed or switched off since. A feature that a selector asked for gets one as well,
    /// which has the same effect. Those that aren't there are switched off: a rule may ask for them
    /// by now.
    pub(super) fn asking(&self, template: &Value) -> Value {
        let mut asking = template.clone();
        let annotations = object_in(&mut asking, "metadata")
            .and_then(|metadata| object_in(metadata, "annotations"));
        let Some(annotations) = annotations.and_then(Value::as_object_mut) else {
            return asking;
        };
        annotations.shift_remove(annotation::ENABLED);
        for spec in &SPECS {
            if self.features.contains(&spec.feature) {
                annotations.shift_remove(spec.switch);
            } else {
                annotations.insert(spec.switch.to_owned(), json!("false"));
            }
        }
        for found in &self.found {
            // The template may ask for another language by now.
            for ask in found.spec.asks {
                if !found.asks.iter().any(|kept| std::ptr::eq(*kept, ask)) {
                    for key in ask.annotations {
                        annotations.shift_remove(*key);
                    }
                }
            }
            let mut asked = found.asks.iter().flat_map(|ask| ask.annotations);
            if asked.any(|key| annotations.contains_key(*key)) {
                continue;
            }
            let likeliest = found.asks.first().and_then(|ask| ask.annotations.first());
            if let Some(key) = likeliest {
                annotations.insert((*key).to_owned(), json!(found.told));
            }
        }
        asking
    }

    /// The keys of annotations that were added to the template: all that a feature adds, with its
    /// values.
    pub(super) fn annotations(&self, template: &Value) -> Vec<&'static str> {
        let there = &template["metadata"]["annotations"];
        let mut ours = Vec::new();
        for found in &self.found {
            let marked = found.spec.marks.annotations;
            let is_ours = |(key, value): &(&'static str, MarkedValue)| match value {
                MarkedValue::Text(text) => there[*key] == *text,
                // Else the feature wouldn't be there.
                MarkedValue::Configured => true,
                MarkedValue::Port => found
                    .port
                    .as_deref()
                    .is_some_and(|port| there[*key] == port),
            };
            if marked.iter().all(is_ours) {
                ours.extend(marked.iter().map(|(key, _)| *key));
            }
        }
        ours
    }

    /// What the version that injected the template would have made of it, from what this version
    /// makes of it: what is in the sidecar alone by now was mounted into every container that could
    /// hold it.
    pub(super) fn as_then(&self, mut injected: Value) -> Value {
        for found in &self.found {
            if let Some(path) = found.shared {
                self.share(found.spec, path, &mut injected);
            }
        }
        injected
    }

    /// Mounts what a feature's container has at a path into every container that can hold it.
    fn share(&self, of: &Spec, path: &str, injected: &mut Value) {
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
            .filter(|container| container["name"] == of.marks.container)
            .flat_map(|sidecar| list(sidecar, "volumeMounts"))
            .find(|mount| mount["mountPath"] == path);
        let Some(volume) = shared.map(|mount| mount["name"].clone()) else {
            return;
        };
        let containers = injected["spec"]["containers"].as_array_mut();
        for container in containers.into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default();
            if self.is_name(name) || !can_hold(container, path, &read_only) {
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
                mounts.push(json!({"name": volume, "mountPath": path}));
            }
        }
    }
}

impl Found {
    /// A feature whose container is `own`.
    fn new(spec: &'static Spec, own: &Value, template: &Value) -> Self {
        let mount_at =
            |path: &str| list(own, "volumeMounts").find(|mount| mount["mountPath"] == path);
        let told = spec.marks.told.map(|variable| {
            let told = list(own, "env")
                .find_map(|env| (env["name"] == variable).then(|| env["value"].as_str())?);
            told.unwrap_or("[]").to_owned()
        });
        // Since it is mounted into the sidecar alone, it is read-only there.
        let shared = spec
            .marks
            .once_shared
            .filter(|path| mount_at(path).is_some_and(|mount| mount["readOnly"] != true));
        // What was shared with all containers was shared for every language, whichever asked.
        let shares = |ask: &&Ask| match ask.trace {
            Trace::Shared(paths) => {
                shared.is_some() || paths.iter().all(|path| mount_at(path).is_some())
            }
            Trace::None | Trace::StartUp(_) => false,
        };
        let asks = match spec.asks.iter().find(shares) {
            Some(ask) => vec![ask],
            None => {
                let shares_nothing = |ask: &&Ask| !matches!(ask.trace, Trace::Shared(_));
                let mut asks: Vec<&Ask> = spec.asks.iter().filter(shares_nothing).collect();
                asks.sort_by_key(|ask| !is_loaded(ask, template));
                asks
            }
        };
        Self {
            spec,
            asks,
            told: told.unwrap_or_default(),
            shared,
            port: own["ports"][0]["containerPort"]
                .as_u64()
                .map(|port| port.to_string()),
        }
    }
}

/// The start-up variables of all languages.
pub(super) fn start_ups() -> impl Iterator<Item = &'static StartUp> {
    let asks = SPECS.iter().flat_map(|spec| spec.asks);
    asks.filter_map(|ask| match &ask.trace {
        Trace::StartUp(start_up) => Some(start_up),
        Trace::None | Trace::Shared(_) => None,
    })
}

/// Whether configured values are added to a variable's own.
pub(super) fn is_merged(variable: &str) -> bool {
    SPECS.iter().any(|spec| spec.marks.merged == Some(variable))
}

/// Indices of a feature's containers in one of the pod's lists, if it can be there.
fn places(template: &Value, key: &str, spec: &Spec, can_be_there: bool) -> Vec<usize> {
    fn text(value: &Value) -> &str {
        value.as_str().unwrap_or_default()
    }
    let is_ours = |container: &Value| {
        can_be_there
            && container["name"] == spec.marks.container
            && list(container, "volumeMounts").any(|mount| {
                let mark = &spec.marks.mount;
                mark.is(text(&mount["name"]), text(&mount["mountPath"]))
            })
    };
    list(&template["spec"], key)
        .enumerate()
        .filter(|(_, container)| is_ours(container))
        .map(|(index, _)| index)
        .collect()
}

/// Whether earlier versions mounted something at a path into a container: nothing is mounted there,
/// and what is mounted above can be written.
fn can_hold(container: &Value, path: &str, read_only: &[Value]) -> bool {
    let above = list(container, "volumeMounts").filter_map(|mount| {
        let own = mount["mountPath"].as_str()?.trim_end_matches('/');
        let below = path.strip_prefix(own)?;
        (below.is_empty() || below.starts_with('/')).then_some((own.len(), mount))
    });
    match above.max_by_key(|(length, _)| *length) {
        None => true,
        Some((length, _)) if length == path.len() => false,
        Some((_, mount)) => mount["readOnly"] != true && !read_only.contains(&mount["name"]),
    }
}

/// Whether the containers load the library of a language.
fn is_loaded(ask: &Ask, template: &Value) -> bool {
    let Trace::StartUp(start_up) = &ask.trace else {
        return false;
    };
    list(&template["spec"], "containers")
        .flat_map(|container| list(container, "env"))
        .any(|env| {
            env["name"] == start_up.variable
                && env["value"]
                    .as_str()
                    .is_some_and(|value| value.contains(start_up.bare.trim()))
        })
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
