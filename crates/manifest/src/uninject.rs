//! Taking out of a pod template what injection put into it.
//!
//! Pods carry no mark of what was injected. What has one of our reserved names is ours if it has
//! our shape; other things (a variable that the configuration also sets, a mount of a volume that
//! was shared) may have been the user's. Injection itself decides: everything that can be ours is
//! taken out, the result is injected again, and where that differs from the template, the first
//! thing that differs was the user's and stays. What can't be told apart by that, such as a
//! variable that the user set to the very value and place that injection would have used, counts as
//! ours.

mod element;
mod ours;

use datakit_operator_core::config::{Config, Policy};
use datakit_operator_core::image::Image;
use datakit_operator_core::inject::{
    Engine, Feature, MarkedValue, ReviewContext, SPECS, annotation, inject_pod,
};
use datakit_operator_core::version::KubernetesVersion;
use serde_json::{Map, Value, json};

use element::{Element, List, Rank};
use ours::Ours;

/// What became of a template.
#[derive(Debug)]
pub struct Uninjected {
    /// The template without what was injected.
    pub template: Value,
    /// The features that were taken out, in the order in which they are injected.
    pub features: Vec<Feature>,
    /// Whether a status was taken out, the annotation that tells of features.
    pub status: bool,
    /// Whether injecting the result again gives the template, apart from the injected containers'
    /// own settings. For what an earlier version injected: whether it would give the template with
    /// that version.
    pub verified: bool,
}

/// An engine for [`uninject`]: what was injected once may be forbidden by now, or have no image any
/// more.
#[must_use]
pub fn engine(config: &Config) -> Engine {
    let mut config = config.clone();
    config.policy = Policy::permissive();
    // Images of what is taken out aren't compared.
    let any = Image::parse("image").ok();
    for rule in &mut config.rules {
        rule.image = rule.image.take().or_else(|| any.clone());
    }
    Engine::new(&config)
}

/// Takes out everything that was injected with the engine's configuration, and the status, whatever
/// it says.
///
/// Empty lists that remain disappear. `shareProcessNamespace` goes together with what needs it.
#[must_use]
pub fn uninject(
    template: &Value,
    namespace: Option<&str>,
    engine: &Engine,
    context: &ReviewContext,
) -> Uninjected {
    let mut plain = template.clone();
    let status = has_status(template);
    if status {
        remove_annotations(&mut plain, &[annotation::STATUS]);
    }
    let template = &plain;
    let (bare, annotated) =
        without_annotations(template, |bare| injected(bare, namespace, engine, context));
    let ours = Ours::find(template, &annotated);
    if ours.features.is_empty() {
        return Uninjected {
            template: plain,
            features: Vec::new(),
            status,
            verified: true,
        };
    }
    let mut context = context.clone();
    if ours.native_sidecar {
        let known = context
            .kubernetes_version
            .unwrap_or(KubernetesVersion::NATIVE_SIDECARS_EVERYWHERE);
        context.kubernetes_version = Some(known.max(KubernetesVersion::NATIVE_SIDECARS_EVERYWHERE));
    }
    let inject = |template: &Value| {
        let injected = injected(&ours.asking(template), namespace, engine, &context)?;
        Some(ours.as_then(injected))
    };
    let mut elements = element::find(
        template,
        &ours,
        &inject(&ours.bare(&bare)).unwrap_or_default(),
    );
    let verified = [true, false].into_iter().any(|ordered| {
        elements.iter_mut().for_each(|element| element.choice = 0);
        let wanted = normal_spec(template, &ours, ordered);
        settle(&mut elements, &wanted, |elements| {
            let again = inject(&without(&bare, &ours, elements))?;
            Some(normal_spec(&again, &ours, ordered))
        })
    });
    if !verified {
        elements.iter_mut().for_each(|element| element.choice = 0);
    }
    let mut rest = without(template, &ours, &elements);
    remove_annotations(&mut rest, &ours.annotations(template));
    Uninjected {
        template: rest,
        features: ours.features,
        status,
        verified,
    }
}

fn has_status(template: &Value) -> bool {
    template["metadata"]["annotations"]
        .get(annotation::STATUS)
        .is_some()
}

/// The template without the annotations that injection adds, and the features that add them: those
/// whose value injecting again gives.
fn without_annotations(
    template: &Value,
    inject: impl Fn(&Value) -> Option<Value>,
) -> (Value, Vec<Feature>) {
    let mut bare = template.clone();
    let mut features = Vec::new();
    let configured = SPECS.iter().flat_map(|spec| {
        let marks = spec.marks.annotations.iter();
        let marks = marks.filter(|(_, value)| matches!(value, MarkedValue::Configured));
        marks.map(move |(key, _)| (spec.feature, *key))
    });
    for (feature, key) in configured {
        let mut tried = bare.clone();
        let Some(metadata) = tried.get_mut("metadata").and_then(Value::as_object_mut) else {
            continue;
        };
        let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        else {
            continue;
        };
        let Some(value) = annotations.shift_remove(key) else {
            continue;
        };
        if annotations.is_empty() {
            metadata.shift_remove("annotations");
        }
        let again = inject(&tried).unwrap_or_default();
        if again["metadata"]["annotations"][key] == value {
            bare = tried;
            features.push(feature);
        }
    }
    (bare, features)
}

/// The template after injection; none if it is no pod.
fn injected(
    template: &Value,
    namespace: Option<&str>,
    engine: &Engine,
    context: &ReviewContext,
) -> Option<Value> {
    let text = serde_json::to_string(template).ok()?;
    let injection = inject_pod(&text, namespace, engine, context).ok()?;
    super::patch::apply(template, &injection.patch)
}

/// The template without our containers and with every element changed as chosen.
fn without(template: &Value, ours: &Ours, elements: &[Element]) -> Value {
    let mut result = template.clone();
    let Some(spec) = result.get_mut("spec").and_then(Value::as_object_mut) else {
        return result;
    };
    remove(spec, "containers", &ours.containers);
    remove(spec, "initContainers", &ours.init_containers);
    // From the back, so that indices stay right.
    for element in elements.iter().rev() {
        if let Some(list) = element.list.find_mut(spec) {
            element.apply(list);
        }
    }
    for element in elements {
        element.list.prune(spec);
    }
    if ours.specs().any(|spec| spec.marks.shares_processes) {
        spec.shift_remove("shareProcessNamespace");
    }
    result
}

/// Takes out annotations, and the map if nothing is left in it.
fn remove_annotations(template: &mut Value, keys: &[&str]) {
    let metadata = template.get_mut("metadata").and_then(Value::as_object_mut);
    let Some(metadata) = metadata.filter(|_| !keys.is_empty()) else {
        return;
    };
    if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
        for key in keys {
            annotations.shift_remove(*key);
        }
        if annotations.is_empty() {
            metadata.shift_remove("annotations");
        }
    }
}

fn remove(object: &mut Map<String, Value>, key: &str, indices: &[usize]) {
    let Some(Value::Array(items)) = object.get_mut(key) else {
        return;
    };
    let mut index = 0;
    items.retain(|_| {
        index += 1;
        !indices.contains(&(index - 1))
    });
    if items.is_empty() && !indices.is_empty() {
        object.shift_remove(key);
    }
}

/// A template's spec in a form in which equal means equal for the user: of our containers and
/// volumes only the names, no empty lists, and without what the API server fills in. It adds
/// volumes and mounts too, behind ours: for templates that come from there the order of these must
/// not count, which otherwise helps to tell what is whose.
fn normal_spec(template: &Value, ours: &Ours, ordered: bool) -> Value {
    let mut spec = template["spec"].clone();
    let mut names = Vec::new();
    for key in ["containers", "initContainers"] {
        let Some(containers) = spec[key].as_array_mut() else {
            continue;
        };
        containers.retain_mut(|container| {
            let name = container["name"].as_str().unwrap_or_default();
            let is_ours = ours.is_name(name);
            if is_ours {
                names.push(name.to_owned());
            } else if let Some(container) = container.as_object_mut() {
                drop_empty(container);
                items(container, "env").for_each(element::normalise_env);
                if !ordered {
                    sort(container, "volumeMounts", "mountPath");
                }
            }
            !is_ours
        });
    }
    if let Some(spec) = spec.as_object_mut() {
        drop_empty(spec);
        for volume in items(spec, "volumes").filter(|volume| ours.is_volume(volume)) {
            *volume = json!({ "name": volume["name"] });
        }
        if !ordered {
            sort(spec, "volumes", "name");
        }
    }
    names.sort_unstable();
    json!({ "spec": spec, "ours": names })
}

fn items<'v>(object: &'v mut Map<String, Value>, key: &str) -> impl Iterator<Item = &'v mut Value> {
    object
        .get_mut(key)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

fn sort(object: &mut Map<String, Value>, list: &str, key: &str) {
    if let Some(items) = object.get_mut(list).and_then(Value::as_array_mut) {
        items.sort_by(|a, b| a[key].as_str().cmp(&b[key].as_str()));
    }
}

fn drop_empty(object: &mut Map<String, Value>) {
    object.retain(|_, value| {
        !value.is_null() && value.as_array().is_none_or(|items| !items.is_empty())
    });
}

/// Chooses what each element was before, taking out as much as possible, so that injection gives
/// `wanted`. `again` is what injection gives. False if no choice does.
fn settle(
    elements: &mut [Element],
    wanted: &Value,
    again: impl Fn(&[Element]) -> Option<Value>,
) -> bool {
    let Some(mut found) = again(elements) else {
        return false;
    };
    while found != *wanted {
        let Some(better) = keep_one(elements, wanted, &found, &again) else {
            return false;
        };
        found = better;
    }
    // What had to stay for a while may not have to in the end.
    for at in 0..elements.len() {
        let choice = std::mem::take(&mut elements[at].choice);
        if choice > 0 && again(elements).as_ref() != Some(wanted) {
            elements[at].choice = choice;
        }
    }
    true
}

/// Has one element stay, or stay partly: of those in one list that differs from the wanted one, the
/// one with which it differs last or not at all. Returns what injection gives then.
fn keep_one(
    elements: &mut [Element],
    wanted: &Value,
    found: &Value,
    again: impl Fn(&[Element]) -> Option<Value>,
) -> Option<Value> {
    for rank in element::RANKS {
        for list in element::lists(elements, rank) {
            let Some(first) = list.first_difference(&wanted["spec"], &found["spec"]) else {
                continue;
            };
            let before: Vec<usize> = elements.iter().map(|element| element.choice).collect();
            // How far the list agrees with which choices.
            let mut best: Option<(usize, Vec<usize>)> = None;
            for trial in trials(elements, list, rank, first) {
                element::choose(elements, &trial);
                let tried = again(elements)?;
                let Some(agrees) = list.first_difference(&wanted["spec"], &tried["spec"]) else {
                    return Some(tried);
                };
                if agrees > best.as_ref().map_or(first, |best| best.0) {
                    best = Some((agrees, trial));
                }
            }
            match best {
                Some((_, trial)) => {
                    element::choose(elements, &trial);
                    return again(elements);
                }
                None => element::choose(elements, &before),
            }
        }
    }
    None
}

/// Choices for all elements in which more of a list stays, those first with which the least does.
///
/// What stays is one element, or it and all before it, or it and some of those behind it and all
/// before some place: the variables that tags refer to are inserted before these, everything else
/// is appended.
fn trials(elements: &[Element], list: List, rank: Rank, first: usize) -> Vec<Vec<usize>> {
    let of_list: Vec<usize> = (0..elements.len())
        .filter(|at| elements[*at].list == list && elements[*at].rank == rank)
        .collect();
    let present: Vec<usize> = elements.iter().map(|element| element.choice).collect();
    let mut trials: Vec<Vec<usize>> = Vec::new();
    let mut push = |one: Option<(usize, usize)>, others: &[&[usize]]| {
        let mut trial = present.clone();
        for at in others.iter().copied().flatten() {
            let element = &elements[*at];
            trial[*at] += usize::from(element.is_absent() && !element.wraps);
        }
        if let Some((at, choice)) = one {
            trial[at] = choice;
        }
        trials.push(trial);
    };
    for (position, &at) in of_list.iter().enumerate() {
        // The order of variables means something.
        if elements[at].index >= first || !matches!(list, List::Env(_)) {
            for choice in elements[at].later_choices() {
                push(Some((at, choice)), &[]);
                push(Some((at, choice)), &[&of_list[..position]]);
            }
        }
        if elements[at].is_tags {
            for start in 0..=position {
                for end in position + 1..=of_list.len() {
                    for choice in elements[at].choices_to_stay() {
                        push(
                            Some((at, choice)),
                            &[&of_list[..start], &of_list[position..end]],
                        );
                    }
                }
            }
        }
    }
    trials.sort_by_cached_key(|trial| {
        let stay = trial
            .iter()
            .zip(elements)
            .filter(|(choice, element)| !element.is_absent_at(**choice))
            .count();
        (stay, trial.iter().sum::<usize>())
    });
    trials.dedup();
    trials
}

#[cfg(test)]
mod tests;
