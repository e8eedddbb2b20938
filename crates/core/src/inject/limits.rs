//! Bringing added containers within the LimitRanges of their namespace
//! (<https://kubernetes.io/docs/concepts/policy/limit-range/>).
//!
//! The API server fills in what a container lacks when a webhook has changed a pod, as it did before, and refuses the pod
//! in the end if a bound isn't kept. So the amounts are worked out as it will see them, changed where they must be, and
//! judged by its rules before anything is kept.

mod fitting;

use crate::namespace::{Bounds, LimitRange};
use crate::pod::part::NewContainer;
use crate::pod::view::{ResourceSide, Resources};
use crate::pod::{Draft, Edits};

use super::amounts::{Needs, Role, Slot, Slots, declared, with_defaults, written};
use super::note::Note;
use super::reason::Reason;
use fitting::Fitting;

/// Fits the containers of a plan into the LimitRanges. Returns a note for each that had to change.
///
/// # Errors
/// The bound that leaves no room for a container.
pub(crate) fn fit(
    draft: &Draft<'_, '_>,
    plan: &mut Edits<'_>,
    ranges: &[LimitRange],
) -> Result<Vec<Note>, Reason> {
    let mut notes = Vec::new();
    if ranges.is_empty() || plan.new_containers().next().is_none() {
        return Ok(notes);
    }
    let (mut slots, ours) = slots(draft, plan, ranges);
    let containers = plan
        .init_first
        .iter_mut()
        .chain(&mut plan.init_last)
        .chain(&mut plan.sidecars);
    for (container, at) in containers.zip(ours) {
        let configured = declared(resources_of(container));
        let before = slots.all[at].needs.clone();
        let fitting = Fitting {
            container: container.name,
            at,
            ranges,
        };
        for resource in resources(&before, ranges) {
            let wanted = configured.get(resource).copied().unwrap_or_default();
            fitting.fit(&mut slots, resource, wanted)?;
        }
        if let Some(note) = rewrite(
            container,
            &configured,
            &before,
            &slots.all[at].needs,
            ranges,
        ) {
            notes.push(note);
        }
    }
    Ok(notes)
}

/// All containers of the pod as it would be, and which of them the plan adds, in the order of
/// [`new_containers`](Edits::new_containers).
fn slots(draft: &Draft<'_, '_>, plan: &Edits<'_>, ranges: &[LimitRange]) -> (Slots, Vec<usize>) {
    let (pod, there) = (draft.pod, draft.edits());
    let mut all = Vec::new();
    let mut ours = Vec::new();
    let mut add = |mine: bool, role: Role, resources: Resources<'_>| {
        if mine {
            ours.push(all.len());
        }
        all.push(Slot {
            role,
            needs: with_defaults(declared(resources), ranges),
        });
    };
    let init = |native| {
        if native {
            Role::NativeSidecar
        } else {
            Role::Init
        }
    };
    for (mine, edits) in [(false, there), (true, plan)] {
        for container in &edits.init_first {
            add(
                mine,
                init(container.native_sidecar),
                resources_of(container),
            );
        }
    }
    for container in &pod.init_containers {
        add(false, init(container.restarts_always), container.resources);
    }
    for (mine, edits) in [(false, there), (true, plan)] {
        for container in &edits.init_last {
            add(
                mine,
                init(container.native_sidecar),
                resources_of(container),
            );
        }
    }
    for container in &pod.containers {
        add(false, Role::Container, container.resources);
    }
    for (mine, edits) in [(false, there), (true, plan)] {
        for container in &edits.sidecars {
            add(mine, Role::Container, resources_of(container));
        }
    }
    // Of a pod's budget, other resources than these two don't count here.
    let mut budget = declared(pod.resources);
    budget.retain(|resource, _| ["cpu", "memory"].contains(&resource.as_str()));
    (Slots::new(all, budget), ours)
}

fn resources_of<'c>(container: &'c NewContainer<'_>) -> Resources<'c> {
    Resources::of(container.resources.as_deref().unwrap_or_default())
}

/// Every resource that the container needs or a LimitRange bounds.
fn resources<'r>(needs: &'r Needs, ranges: &'r [LimitRange]) -> Vec<&'r str> {
    let bounded = ranges
        .iter()
        .flat_map(|range| range.container.iter().chain(&range.pod));
    let mut all: Vec<&str> = needs.keys().map(String::as_str).collect();
    all.extend(bounded.map(|bounds| bounds.resource.as_str()));
    all.sort_unstable();
    all.dedup();
    all
}

/// Writes what was worked out into the container, where it isn't what it would get anyway.
fn rewrite(
    container: &mut NewContainer<'_>,
    configured: &Needs,
    before: &Needs,
    after: &Needs,
    ranges: &[LimitRange],
) -> Option<Note> {
    let mut changes = Vec::new();
    let mut lists: [Vec<String>; 2] = Default::default();
    let mut by: Vec<&str> = Vec::new();
    let mut rewritten = false;
    for (resource, need) in after {
        let was = before.get(resource).copied().unwrap_or_default();
        let given = configured.get(resource).copied().unwrap_or_default();
        let changed = was != *need;
        // Which of several defaults a container gets is not determined, so it gets this one.
        let explicit = changed || defaults(ranges, resource) > 1;
        rewritten |= explicit;
        for (list, side) in lists
            .iter_mut()
            .zip([ResourceSide::Requests, ResourceSide::Limits])
        {
            let amount = need.side(side);
            if let Some(amount) = amount
                && (explicit || given.side(side).is_some())
            {
                list.push(format!(r#""{resource}":"{}""#, written(resource, amount)));
            }
            if let Some(amount) = amount
                && was.side(side) != Some(amount)
            {
                let from = was
                    .side(side)
                    .map_or("none".to_owned(), |was| written(resource, was));
                changes.push(format!(
                    "{}.{resource} {} instead of {from}",
                    side.as_str(),
                    written(resource, amount)
                ));
            }
        }
        if changed {
            let concerned = ranges.iter().filter(|range| concerns(range, resource));
            by.extend(concerned.map(|range| range.name.as_str()));
        }
    }
    if !rewritten {
        return None;
    }
    let [requests, limits] = lists.map(|list| list.join(","));
    container.resources =
        Some(format!(r#"{{"requests":{{{requests}}},"limits":{{{limits}}}}}"#).into());
    by.sort_unstable();
    by.dedup();
    (!changes.is_empty()).then(|| Note::ResourcesFitted {
        container: container.name,
        limit_range: by.join("`, `"),
        changes: changes.join(", "),
    })
}

/// How many LimitRanges have a default for the resource.
fn defaults(ranges: &[LimitRange], resource: &str) -> usize {
    let has = |bounds: &Bounds| {
        bounds.resource == resource
            && (bounds.default.is_some() || bounds.default_request.is_some())
    };
    ranges
        .iter()
        .filter(|range| range.container.iter().any(has))
        .count()
}

fn concerns(range: &LimitRange, resource: &str) -> bool {
    let mut all = range.container.iter().chain(&range.pod);
    all.any(|bounds| bounds.resource == resource)
}
