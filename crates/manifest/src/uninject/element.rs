//! List elements that injection may have added or changed, and what they may have been before.

use serde_json::{Map, Value};

use super::ours::{Ours, is_merged, list, start_ups};

/// In which order elements that may be the user's are believed to be.
pub(super) const RANKS: [Rank; 2] = [Rank::Likely, Rank::Possible];

/// How much speaks for an element being the user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// Nothing in it says that it is ours.
    Likely,
    /// It has a name that we use where it is free.
    Possible,
    /// It has a name and a form that only we use, so it isn't.
    Reserved,
}

/// A list of a pod's spec. Containers are counted without ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum List {
    /// `volumeMounts` of the container with this index.
    Mounts(usize),
    /// `volumes`
    Volumes,
    /// `env` of the container with this index.
    Env(usize),
}

/// An element that may be ours.
#[derive(Debug)]
pub(super) struct Element {
    /// The list that it is in.
    pub(super) list: List,
    /// Its index there.
    pub(super) index: usize,
    /// How much speaks for it being the user's.
    pub(super) rank: Rank,
    /// What it may have been before injection; the one that takes out the most comes first, the
    /// last keeps it.
    before: Vec<Before>,
    /// Which of those is assumed.
    pub(super) choice: usize,
    /// Whether this is the list of tags, before which variables are inserted.
    pub(super) is_tags: bool,
    /// Whether this refers to the entry before it, which is therefore the renamed original.
    pub(super) wraps: bool,
}

/// What an element may have been before injection.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Before {
    /// Not there.
    Absent,
    /// There, with another text under this key.
    Text(&'static str, String),
    /// There as it is.
    Same,
}

impl List {
    fn key(self) -> &'static str {
        match self {
            Self::Mounts(_) => "volumeMounts",
            Self::Volumes => "volumes",
            Self::Env(_) => "env",
        }
    }

    fn holder(self, spec: &mut Map<String, Value>) -> Option<&mut Map<String, Value>> {
        match self {
            Self::Volumes => Some(spec),
            Self::Mounts(index) | Self::Env(index) => {
                spec.get_mut("containers")?.get_mut(index)?.as_object_mut()
            }
        }
    }

    /// The list in a spec.
    pub(super) fn find_mut(self, spec: &mut Map<String, Value>) -> Option<&mut Vec<Value>> {
        self.holder(spec)?.get_mut(self.key())?.as_array_mut()
    }

    /// Takes the list out if nothing is left in it.
    pub(super) fn prune(self, spec: &mut Map<String, Value>) {
        let Some(holder) = self.holder(spec) else {
            return;
        };
        if holder
            .get(self.key())
            .and_then(Value::as_array)
            .is_some_and(Vec::is_empty)
        {
            holder.shift_remove(self.key());
        }
    }

    /// The first index at which the list differs between two specs.
    pub(super) fn first_difference(self, wanted: &Value, again: &Value) -> Option<usize> {
        let items = |spec: &Value| {
            let list = match self {
                Self::Volumes => &spec["volumes"],
                Self::Mounts(index) | Self::Env(index) => &spec["containers"][index][self.key()],
            };
            list.as_array().cloned().unwrap_or_default()
        };
        let (wanted, again) = (items(wanted), items(again));
        (wanted != again).then(|| {
            wanted
                .iter()
                .zip(&again)
                .take_while(|(a, b)| a == b)
                .count()
        })
    }
}

impl Element {
    fn new(list: List, index: usize, rank: Rank, mut before: Vec<Before>) -> Self {
        if rank != Rank::Reserved {
            before.push(Before::Same);
        }
        Self {
            list,
            index,
            rank,
            before,
            choice: 0,
            is_tags: false,
            wraps: false,
        }
    }

    /// The choices that keep more than the present one.
    pub(super) fn later_choices(&self) -> std::ops::Range<usize> {
        self.choice + 1..self.before.len()
    }

    /// The choices from the present one on with which the element was there.
    pub(super) fn choices_to_stay(&self) -> impl Iterator<Item = usize> {
        (self.choice..self.before.len()).filter(|choice| !self.is_absent_at(*choice))
    }

    /// Whether the element is assumed to have been added.
    pub(super) fn is_absent(&self) -> bool {
        self.is_absent_at(self.choice)
    }

    /// Whether the element would be assumed to have been added by a choice.
    pub(super) fn is_absent_at(&self, choice: usize) -> bool {
        self.before[choice] == Before::Absent
    }

    /// Makes the element in its list what it is assumed to have been.
    pub(super) fn apply(&self, list: &mut Vec<Value>) {
        match &self.before[self.choice] {
            Before::Same => {}
            Before::Absent => {
                list.remove(self.index);
            }
            Before::Text(key, text) => list[self.index][*key] = Value::String(text.clone()),
        }
    }
}

/// The elements of a template that may be ours, sorted by list and index. `probe` is what injection
/// makes of the same template without environment, mounts and volumes.
pub(super) fn find(template: &Value, ours: &Ours, probe: &Value) -> Vec<Element> {
    let spec = &template["spec"];
    let own = ours.own(template);
    // Whatever injection mounts into a container, one of its own containers has as well.
    let shared: Vec<&Value> = own
        .iter()
        .flat_map(|container| list(container, "volumeMounts"))
        .collect();
    let reserved: Vec<&Value> = list(spec, "volumes")
        .filter(|volume| ours.is_volume(volume))
        .map(|volume| &volume["name"])
        .collect();
    let users: Vec<&Value> = ["initContainers", "containers"]
        .into_iter()
        .flat_map(|key| list(spec, key))
        .filter(|container| !own.iter().any(|own| std::ptr::eq(*own, *container)))
        .collect();
    // A feature without a container mounts volumes of its own into all, or one of the user's into
    // those that lack it.
    let is_spread = |mount: &Value| {
        let has = |user: &&&Value| list(user, "volumeMounts").any(|other| same_mount(other, mount));
        ours.is_without_container()
            && if reserved.contains(&&mount["name"]) {
                same_mount(mount, mount)
            } else {
                users.iter().filter(has).count() > 1
            }
    };
    let is_shared =
        |mount: &Value| shared.iter().any(|shared| same_mount(shared, mount)) || is_spread(mount);
    let used_otherwise = |name: &Value| {
        let mut mounts = users.iter().flat_map(|user| list(user, "volumeMounts"));
        mounts.any(|mount| mount["name"] == *name && !is_shared(mount))
    };
    let mut elements = Vec::new();
    let added: Vec<&Value> = list(&probe["spec"], "volumes").collect();
    let volumes = list(spec, "volumes");
    appended(List::Volumes, volumes, &mut elements, |volume| {
        let name = &volume["name"];
        if used_otherwise(name) {
            None
        } else if reserved.contains(&name) {
            Some(Rank::Reserved)
        } else {
            let mounted = shared.iter().any(|mount| mount["name"] == *name);
            (mounted && added.contains(&volume)).then_some(Rank::Possible)
        }
    });
    // Containers of the probe are those of the template without ours, in the same order.
    let mut probes = list(&probe["spec"], "containers");
    let containers = list(spec, "containers").enumerate();
    let containers = containers.filter(|(index, _)| !ours.containers.contains(index));
    for (at, (_, container)) in containers.enumerate() {
        let mounts = list(container, "volumeMounts");
        appended(List::Mounts(at), mounts, &mut elements, |mount| {
            let rank = if reserved.contains(&&mount["name"]) {
                Rank::Reserved
            } else {
                Rank::Likely
            };
            is_shared(mount).then_some(rank)
        });
        let probe = probes.next().unwrap_or(&Value::Null);
        find_env(at, container, probe, &mut elements);
    }
    elements.sort_by_key(|element| (element.list, element.index));
    elements
}

/// Sets the choice of every element.
pub(super) fn choose(elements: &mut [Element], choices: &[usize]) {
    for (element, choice) in elements.iter_mut().zip(choices) {
        element.choice = *choice;
    }
}

/// The lists that elements of a rank are in.
pub(super) fn lists(elements: &[Element], rank: Rank) -> Vec<List> {
    let of_rank = elements.iter().filter(|element| element.rank == rank);
    let mut lists: Vec<List> = of_rank.map(|element| element.list).collect();
    lists.sort_unstable();
    lists.dedup();
    lists
}

/// Finds elements in a list to which injection only ever appends: what stands before something of
/// the user's is the user's, and what stands behind something of ours is ours. `rank` says what an
/// item may be; none is the user's.
fn appended<'v>(
    list: List,
    items: impl Iterator<Item = &'v Value>,
    elements: &mut Vec<Element>,
    rank: impl Fn(&Value) -> Option<Rank>,
) {
    let ranks: Vec<Option<Rank>> = items.map(rank).collect();
    let ours = ranks
        .iter()
        .position(|rank| *rank == Some(Rank::Reserved))
        .unwrap_or(ranks.len());
    let users = ranks[..ours]
        .iter()
        .rposition(Option::is_none)
        .map_or(0, |last| last + 1);
    for (index, rank) in ranks.into_iter().enumerate().skip(users) {
        let Some(rank) = rank else { continue };
        let rank = if index >= ours { Rank::Reserved } else { rank };
        elements.push(Element::new(list, index, rank, vec![Before::Absent]));
    }
}

/// Whether one mount shows what the other does; the sidecar's may be read-only.
fn same_mount(shared: &Value, mount: &Value) -> bool {
    mount.as_object().is_some_and(|mount| {
        mount
            .keys()
            .all(|key| matches!(key.as_str(), "name" | "mountPath" | "subPath"))
    }) && ["name", "mountPath", "subPath"]
        .iter()
        .all(|key| shared[*key] == mount[*key])
}

/// Takes out of an environment variable what the API server fills in.
pub(super) fn normalise_env(entry: &mut Value) {
    let reference = entry.pointer_mut("/valueFrom/fieldRef");
    if let Some(reference) = reference.and_then(Value::as_object_mut)
        && reference
            .get("apiVersion")
            .is_some_and(|version| version == "v1")
    {
        reference.shift_remove("apiVersion");
    }
}

fn find_env(at: usize, container: &Value, probe: &Value, elements: &mut Vec<Element>) {
    let added: Vec<&Value> = list(probe, "env").collect();
    let as_added = |entry: &Value| {
        let mut entry = entry.clone();
        normalise_env(&mut entry);
        added.contains(&&entry)
    };
    // The start-up variable of the library that was asked for; several have the same one.
    let start_up = start_ups().find(|start_up| {
        let mut added = added.iter();
        added.any(|added| added["name"] == start_up.variable && added["value"] == start_up.bare)
    });
    let env: Vec<&Value> = list(container, "env").collect();
    for (index, entry) in env.iter().enumerate() {
        let name = entry["name"].as_str().unwrap_or_default();
        let mut before = Vec::new();
        let mut wraps = false;
        if let Some(start_up) = start_up.filter(|start_up| start_up.variable == name) {
            let value = entry["value"].as_str().unwrap_or_default();
            let own = value.strip_prefix(start_up.before);
            let own = own.and_then(|own| own.strip_suffix(start_up.behind));
            wraps = own.is_some_and(|own| own == format!("$({})", start_up.original));
            // What comes by `envFrom` is referred to under its own name.
            let extends = own.is_some_and(|own| own == format!("$({name})"));
            if wraps || extends || value == start_up.bare {
                before.push(Before::Absent);
            }
            if value == start_up.bare {
                before.push(Before::Text("value", String::new()));
            }
            // What is added to nothing may begin with what could have been the user's.
            if let Some(own) = own.filter(|own| !wraps && !own.is_empty()) {
                before.push(Before::Text("value", own.to_owned()));
            }
        } else if let Some(start_up) = start_up.filter(|start_up| name == start_up.original) {
            // Renamed, if what follows refers to it.
            let follows = env.get(index + 1).is_some_and(|next| {
                next["name"] == start_up.variable
                    && next["value"]
                        .as_str()
                        .is_some_and(|value| value.contains(&format!("$({name})")))
            });
            if follows {
                before.push(Before::Text("name", start_up.variable.to_owned()));
            }
        } else {
            if as_added(entry) {
                before.push(Before::Absent);
                // Of the user's an empty one is filled in.
                let companion = start_up.and_then(|start_up| start_up.companion);
                if companion.is_some_and(|(companion, _)| companion == name) {
                    before.push(Before::Text("value", String::new()));
                }
            }
            if is_merged(name) {
                let configured = added
                    .iter()
                    .find(|added| added["name"] == name)
                    .and_then(|added| added["value"].as_str());
                before.extend(own_tags(
                    entry["value"].as_str().unwrap_or_default(),
                    configured.unwrap_or_default(),
                ));
            }
        }
        if !before.is_empty() {
            let is_tags = is_merged(name);
            elements.push(Element {
                is_tags,
                wraps,
                ..Element::new(List::Env(at), index, Rank::Likely, before)
            });
        }
    }
}

/// What a list of tags may have been before the configured ones were added to it, the shortest
/// first.
fn own_tags(value: &str, configured: &str) -> Vec<Before> {
    let configured: Vec<&str> = configured
        .split(',')
        .filter(|tag| !tag.is_empty())
        .collect();
    let mut before = Vec::new();
    let mut own = value;
    // A tag may hold a blank, so what ends the list is looked for, not cut out of it: the longest
    // there is.
    let last = |own: &str| {
        let ends = |tag: &&&str| {
            own.strip_suffix(**tag)
                .is_some_and(|rest| rest.ends_with([',', ' ']))
        };
        configured.iter().filter(ends).map(|tag| tag.len()).max()
    };
    while let Some(length) = last(own) {
        let at = own.len() - length - 1;
        // A separator of the user's own at the end is kept, and none is added.
        before.push(Before::Text("value", own[..=at].to_owned()));
        before.push(Before::Text("value", own[..at].to_owned()));
        own = &own[..at];
    }
    if !own.is_empty() && configured.contains(&own) {
        before.push(Before::Text("value", String::new()));
    }
    before.reverse();
    before
}
