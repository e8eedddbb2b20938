//! What an injected pod counts for stays what it was: its quality of service class, and what the
//! scheduler and quotas reserve for its start.
//!
//! A Guaranteed pod may have its own processors and is the last to be evicted; it is one as long as
//! every container has limits and equal requests
//! (<https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>). An init container counts with
//! what it asks for beyond the containers together
//! (<https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers>),
//! so ours never asks for more. And a pod that may fill its node's disk may still do so: an
//! `ephemeral-storage` limit of one container is one of the whole pod
//! (<https://kubernetes.io/docs/concepts/storage/ephemeral-storage/>).

use std::borrow::Cow;
use std::cell::OnceCell;

use crate::namespace::LimitRange;
use crate::pod::part::{NewContainer, ResourceList, Resources};
use crate::pod::view::{self, ResourceSide};
use crate::pod::{Edits, Pod};
use crate::quantity::Quantity;

use super::amounts::{Amount, Need, defaults, milli, quantity, written};
use super::note::Note;
use super::reason::Reason;

/// The resources that matter here, in the order in which they are written.
const RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// Those that decide about the class.
const OF_CLASS: usize = 2;
/// What a container of a Guaranteed pod gets of processors and memory where nothing is configured:
/// the limits of the default configuration.
const USUAL: [Amount; OF_CLASS] = [500, (512 << 20) * 1000];
/// Below this the runtime itself may not have the memory to start a container.
const LEAST_MEMORY: Amount = (16 << 20) * 1000;

/// With less than this the library may take what the program itself needs: it counts toward the
/// pod's limit, as all volumes on the node do.
const AMPLE_STORAGE: Amount = (1 << 30) * 1000;

/// The class of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Guaranteed,
    Burstable,
    BestEffort,
}

/// What a pod counts for before anything is added.
#[derive(Debug, Clone)]
pub(super) struct Counted {
    class: Class,
    /// What its containers have together, by resource.
    together: [Together; RESOURCES.len()],
}

#[derive(Debug, Clone, Copy, Default)]
struct Together {
    request: Amount,
    limit: Amount,
    /// Whether every container has a limit.
    limited: bool,
    /// Whether any has one.
    any_limit: bool,
}

impl Counted {
    /// Counts a pod whose namespace has these LimitRanges; what they give to containers is as good
    /// as declared.
    pub(super) fn of(pod: &Pod<'_>, ranges: &[LimitRange]) -> Self {
        let known = if ranges.is_empty() {
            None
        } else {
            Some(defaults(ranges))
        };
        let default = |resource| {
            let known = known.as_ref().and_then(|known| known.get(resource));
            known.copied().unwrap_or_default()
        };
        let defaults = RESOURCES.map(default);
        let mut counted = Self {
            class: Class::BestEffort,
            together: [Together {
                limited: true,
                ..Together::default()
            }; RESOURCES.len()],
        };
        let mut guaranteed = true;
        let mut best_effort = true;
        let mut class = |needs: &[Need; RESOURCES.len()]| {
            for need in &needs[..OF_CLASS] {
                let request = need.request.unwrap_or_default();
                let limit = need.limit.unwrap_or_default();
                best_effort &= request == 0 && limit == 0;
                guaranteed &= limit > 0 && request == limit;
            }
        };
        for container in &pod.init_containers {
            class(&needs(container.resources, &defaults));
        }
        for container in &pod.containers {
            let needs = needs(container.resources, &defaults);
            class(&needs);
            for (together, need) in counted.together.iter_mut().zip(needs) {
                together.request += need.request.unwrap_or_default();
                together.limit += need.limit.unwrap_or_default();
                together.limited &= need.limit.is_some();
                together.any_limit |= need.limit.is_some();
            }
        }
        counted.class = match (best_effort, guaranteed) {
            (true, _) => Class::BestEffort,
            (_, true) => Class::Guaranteed,
            _ => Class::Burstable,
        };
        counted
    }
}

/// What a container asks for: a request that isn't given is the limit.
fn needs(
    resources: view::Resources<'_>,
    defaults: &[Need; RESOURCES.len()],
) -> [Need; RESOURCES.len()] {
    let mut needs = [Need::default(); RESOURCES.len()];
    resources.visit(|side, resource, amount| {
        if let Some(at) = RESOURCES.iter().position(|known| *known == resource)
            && let Some(amount) = Quantity::milli_of(amount)
        {
            *side_of(&mut needs[at], side) = Some(amount);
        }
    });
    for (need, default) in needs.iter_mut().zip(defaults) {
        need.request = need.request.or(need.limit).or(default.request);
        need.limit = need.limit.or(default.limit);
    }
    needs
}

fn side_of(need: &mut Need, side: ResourceSide) -> &mut Option<Amount> {
    match side {
        ResourceSide::Requests => &mut need.request,
        ResourceSide::Limits => &mut need.limit,
    }
}

/// Gives the containers of a plan the resources with which the pod counts as before, except that
/// [`finish`] raises requests. `chosen` says that the configuration names those of the feature.
///
/// # Errors
/// Where an init container can't start with what the pod has.
pub(super) fn prepare(
    pod: &Pod<'_>,
    counted: &OnceCell<Counted>,
    ranges: &[LimitRange],
    chosen: bool,
    plan: &mut Edits<'_>,
    notes: &mut Vec<Note>,
) -> Result<(), Reason> {
    // A pod with a budget of its own counts with that, whatever its containers have.
    if pod.pod_level_resources || plan.new_containers().next().is_none() {
        return Ok(());
    }
    let counted = counted.get_or_init(|| Counted::of(pod, ranges));
    let storage = counted.together[OF_CLASS];
    let is_tight = storage.any_limit && storage.limit < AMPLE_STORAGE;
    // An init container of ours ends; it is there for what it leaves in a volume.
    let mut first = plan.init_first.iter().chain(&plan.init_last);
    if is_tight && first.any(|container| !container.native_sidecar) {
        notes.push(Note::EphemeralStorage {
            limit: written(RESOURCES[OF_CLASS], storage.limit),
        });
    }
    for container in plan.init_first.iter_mut().chain(&mut plan.init_last) {
        if container.native_sidecar {
            sidecar(counted, chosen, container, notes);
        } else {
            init(counted, container)?;
        }
    }
    for container in &mut plan.sidecars {
        sidecar(counted, chosen, container, notes);
    }
    Ok(())
}

fn init(counted: &Counted, container: &mut NewContainer<'_>) -> Result<(), Reason> {
    let configured = configured(container);
    let mut kept = [Need::default(); RESOURCES.len()];
    for (at, (need, together)) in configured.iter().zip(&counted.together).enumerate() {
        let of_class = at < OF_CLASS;
        if counted.class == Class::Guaranteed && of_class {
            kept[at] = limited(*need, usual(*need, at).min(together.limit));
            continue;
        }
        let limit = need.limit.filter(|_| together.limited);
        let limit = limit.map(|limit| limit.min(together.limit));
        // Where it isn't given, the API server makes it the limit.
        let request = need.request.or(need.limit);
        let request = request.map(|request| request.min(together.request));
        let request = request.map(|request| limit.map_or(request, |limit| request.min(limit)));
        kept[at] = Need {
            request: request.filter(|request| *request > 0 || limit.is_some()),
            limit,
        };
    }
    if let Some(limit) = kept[1].limit
        && limit < LEAST_MEMORY
        && configured[1]
            .limit
            .is_none_or(|configured| configured > limit)
    {
        return Err(Reason::PodTooSmall {
            memory: written("memory", limit),
            container: container.name,
        });
    }
    write(container, &configured, &kept);
    Ok(())
}

fn sidecar(
    counted: &Counted,
    chosen: bool,
    container: &mut NewContainer<'_>,
    notes: &mut Vec<Note>,
) {
    let configured = configured(container);
    let mut kept = configured;
    for (at, need) in kept.iter_mut().enumerate() {
        match counted.class {
            _ if at >= OF_CLASS => {
                if !counted.together[at].any_limit {
                    need.request = need.request.or(need.limit.take());
                }
            }
            Class::Guaranteed => *need = limited(*need, usual(*need, at)),
            Class::BestEffort if !chosen => *need = Need::default(),
            Class::BestEffort | Class::Burstable => {}
        }
    }
    let is_none =
        |need: &Need| need.request.unwrap_or_default() == 0 && need.limit.unwrap_or_default() == 0;
    if counted.class == Class::BestEffort && !kept[..OF_CLASS].iter().all(is_none) {
        notes.push(Note::QosChanged {
            container: container.name,
        });
    }
    write(container, &configured, &kept);
}

/// The amount of a container in a Guaranteed pod, where request and limit are one.
fn usual(need: Need, at: usize) -> Amount {
    let configured = need.limit.or(need.request).filter(|amount| *amount > 0);
    configured.unwrap_or(USUAL[at])
}

/// A limit, and the configured request as far as the limit allows it.
fn limited(need: Need, limit: Amount) -> Need {
    Need {
        request: Some(need.request.unwrap_or(limit).min(limit)),
        limit: Some(limit),
    }
}

/// Makes the requests of what is added to a Guaranteed pod equal to its limits, once these have
/// been brought within the namespace's bounds. What is enough for the container was judged by what
/// it requests otherwise.
pub(super) fn finish(counted: &OnceCell<Counted>, plan: &mut Edits<'_>, notes: &mut Vec<Note>) {
    if counted
        .get()
        .is_none_or(|counted| counted.class != Class::Guaranteed)
    {
        return;
    }
    let init = plan.init_first.iter_mut().chain(&mut plan.init_last);
    for container in init.chain(&mut plan.sidecars) {
        let before = configured(container);
        let mut after = before;
        for need in &mut after[..OF_CLASS] {
            need.request = need.limit;
        }
        if before == after {
            continue;
        }
        write(container, &before, &after);
        let amount = |at: usize| {
            let amount = written(RESOURCES[at], after[at].limit.unwrap_or_default());
            format!("{} {amount}", RESOURCES[at])
        };
        notes.push(Note::QosKept {
            container: container.name,
            amounts: [amount(0), amount(1)].join(" and "),
        });
    }
}

/// What a container to add asks for of these resources.
fn configured(container: &NewContainer<'_>) -> [Need; RESOURCES.len()] {
    let mut needs = [Need::default(); RESOURCES.len()];
    let resources = container.resources.as_deref();
    for (side, resource, amount) in resources.into_iter().flat_map(Resources::iter) {
        if let Some(at) = RESOURCES.iter().position(|known| *known == resource) {
            // Reading the text is faster than working it out exactly.
            let amount = Quantity::milli_of(amount.as_str()).unwrap_or_else(|| milli(amount));
            *side_of(&mut needs[at], side) = Some(amount);
        }
    }
    needs
}

/// The same resources without some limits, if that is all that changes.
fn without_limits<'r>(
    there: &'r Resources,
    before: &[Need],
    after: &[Need],
) -> Option<&'r Resources> {
    let mut pairs = before.iter().zip(after);
    let is_all = pairs.all(|(before, after)| {
        let same = before.limit == after.limit;
        before.request == after.request && (same || after.limit.is_none())
    });
    let requests = after.iter().any(|need| need.request.is_some());
    let is_left_out = |name: &str| {
        let at = RESOURCES.iter().position(|known| *known == name);
        at.is_some_and(|at| after[at].limit.is_none())
    };
    (is_all && requests).then(|| there.without_limits(is_left_out))?
}

/// Writes amounts into a container, if they aren't there. Those of other resources stay.
fn write(container: &mut NewContainer<'_>, before: &[Need], after: &[Need]) {
    if before == after {
        return;
    }
    // Mostly the amounts of the configuration stay, without limits that the pod has none of.
    if let Some(Cow::Borrowed(there)) = container.resources
        && let Some(kept) = without_limits(there, before, after)
    {
        container.resources = Some(Cow::Borrowed(kept));
        return;
    }
    let there = container.resources.as_deref();
    let list = |side| -> Option<ResourceList> {
        let given = |resource: &str| {
            let mut all = there.into_iter().flat_map(Resources::iter);
            all.find(|(of, name, _)| *of == side && *name == resource)
                .map(|(.., amount)| amount.clone())
        };
        let named = RESOURCES.iter().enumerate().filter_map(|(at, resource)| {
            let amount = after[at].side(side)?;
            // Most amounts stay, and writing one anew costs more than taking it over.
            let kept = (before[at].side(side) == Some(amount)).then(|| given(resource));
            let amount = kept.flatten().unwrap_or_else(|| quantity(resource, amount));
            Some((Cow::Borrowed(*resource), amount))
        });
        let others = there.into_iter().flat_map(Resources::iter);
        let others = others
            .filter(|(of, resource, _)| *of == side && !RESOURCES.contains(resource))
            .map(|(_, resource, amount)| (Cow::Owned(resource.to_owned()), amount.clone()));
        let list: ResourceList = named.chain(others).collect();
        (!list.is_empty()).then_some(list)
    };
    let lists = (list(ResourceSide::Requests), list(ResourceSide::Limits));
    container.resources = match lists {
        (None, None) => None,
        (requests, limits) => Some(Cow::Owned(Resources::new(requests, limits))),
    };
}
