//! Bringing added containers within the LimitRanges of their namespace
//! (<https://kubernetes.io/docs/concepts/policy/limit-range/>).
//!
//! The API server fills in what a container lacks when a webhook has changed a pod, as it did
//! before, and refuses the pod in the end if a bound isn't kept. So the amounts are worked out as
//! it will see them, changed where they must be, and judged by its rules before anything is kept.

mod fitting;

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::namespace::{Bounds, LimitRange};
use crate::pod::part::{NewContainer, Resources};
use crate::pod::view::ResourceSide;
use crate::pod::{Draft, Edits};

use super::amounts::{
    Defaults, Needs, Role, Slot, Slots, configured, declared, defaults, quantity, with_defaults,
    written,
};
use super::note::Note;
use super::reason::Reason;
use fitting::{Fitting, Tightest, refuse};

/// So many resources are worked out for a container. Clusters have a handful; whoever may write a
/// LimitRange can name thousands, each of which would be summed up over the pod.
const MOST_RESOURCES: usize = 32;

/// What LimitRanges say about each resource, gathered once.
#[derive(Default)]
pub(super) struct Rules<'r> {
    by_resource: BTreeMap<&'r str, Rule<'r>>,
    /// The first LimitRange.
    first: &'r str,
}

/// What they say about one.
#[derive(Default)]
pub(super) struct Rule<'r> {
    container: Tightest<'r>,
    pod: Tightest<'r>,
    /// How many have a default for it.
    defaults: usize,
    /// Names of those that are about it.
    names: Vec<&'r str>,
}

impl<'r> Rules<'r> {
    fn new(ranges: &'r [LimitRange]) -> Self {
        let mut rules = Self {
            first: ranges.first().map_or("", |range| &range.name),
            ..Self::default()
        };
        for range in ranges {
            let name = range.name.as_str();
            let mut add = |bounds: &'r Bounds, of_pod: bool| {
                let rule = rules.by_resource.entry(&bounds.resource).or_default();
                if rule.names.last() != Some(&name) {
                    rule.names.push(name);
                }
                if of_pod {
                    rule.pod.add(bounds, name);
                } else {
                    rule.container.add(bounds, name);
                    let has = bounds.default.is_some() || bounds.default_request.is_some();
                    rule.defaults += usize::from(has);
                }
            };
            range.container.iter().for_each(|bounds| add(bounds, false));
            range.pod.iter().for_each(|bounds| add(bounds, true));
        }
        rules
    }

    fn get(&self, resource: &str) -> Option<&Rule<'r>> {
        self.by_resource.get(resource)
    }

    /// The first LimitRange that is about the resource.
    fn first_with(&self, resource: &str) -> &'r str {
        let named = self.get(resource).and_then(|rule| rule.names.first());
        named.copied().unwrap_or(self.first)
    }
}

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
    let rules = Rules::new(ranges);
    let (mut slots, ours) = slots(draft, plan, defaults(ranges));
    let containers = plan
        .init_first
        .iter_mut()
        .chain(&mut plan.init_last)
        .chain(&mut plan.sidecars);
    for (container, at) in containers.zip(ours) {
        let configured = configured(container);
        let before = slots.all[at].needs.clone();
        let fitting = Fitting {
            container: container.name,
            at,
            rules: &rules,
        };
        let concerned = fitting.concerned(&before);
        if concerned.len() > MOST_RESOURCES {
            let problem = format!(
                "{} resources of containers are bounded or have defaults, and {MOST_RESOURCES} are looked at",
                concerned.len()
            );
            refuse(fitting.rules.first, problem)?;
        }
        for resource in concerned {
            let wanted = configured.get(resource).copied().unwrap_or_default();
            fitting.fit(&mut slots, resource, wanted)?;
        }
        if let Some(note) = rewrite(
            container,
            &configured,
            &before,
            &slots.all[at].needs,
            &rules,
        ) {
            notes.push(note);
        }
    }
    Ok(notes)
}

/// All containers of the pod as it would be, and which of them the plan adds, in the order of
/// [`new_containers`](Edits::new_containers).
pub(super) fn slots<'r>(
    draft: &Draft<'_, '_>,
    plan: &Edits<'_>,
    defaults: Defaults<'r>,
) -> (Slots<'r>, Vec<usize>) {
    let (pod, there) = (draft.pod, draft.edits());
    let mut all = Vec::new();
    let mut ours = Vec::new();
    let mut add = |mine: bool, role: Role, mut needs: Needs| {
        if mine {
            ours.push(all.len());
            needs = with_defaults(needs, &defaults);
        }
        all.push(Slot {
            role,
            needs,
            complete: mine,
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
            add(mine, init(container.native_sidecar), configured(container));
        }
    }
    for container in &pod.init_containers {
        add(
            false,
            init(container.restarts_always),
            declared(container.resources),
        );
    }
    for (mine, edits) in [(false, there), (true, plan)] {
        for container in &edits.init_last {
            add(mine, init(container.native_sidecar), configured(container));
        }
    }
    for container in &pod.containers {
        add(false, Role::Container, declared(container.resources));
    }
    for (mine, edits) in [(false, there), (true, plan)] {
        for container in &edits.sidecars {
            add(mine, Role::Container, configured(container));
        }
    }
    // Of a pod's budget, other resources than these two don't count here.
    let mut budget = declared(pod.resources);
    budget.retain(|resource, _| ["cpu", "memory"].contains(&resource.as_str()));
    (Slots::new(all, budget, defaults), ours)
}

/// Writes what was worked out into the container, where it isn't what it would get anyway.
fn rewrite(
    container: &mut NewContainer<'_>,
    configured: &Needs,
    before: &Needs,
    after: &Needs,
    rules: &Rules<'_>,
) -> Option<Note> {
    let mut changes = Vec::new();
    let mut lists: [Vec<_>; 2] = Default::default();
    let mut by: Vec<&str> = Vec::new();
    let mut rewritten = false;
    for (resource, need) in after {
        let was = before.get(resource).copied().unwrap_or_default();
        let given = configured.get(resource).copied().unwrap_or_default();
        let changed = was != *need;
        // Which of several defaults a container gets is not determined, so it gets this one.
        let rule = rules.get(resource);
        let explicit = changed || rule.is_some_and(|rule| rule.defaults > 1);
        rewritten |= explicit;
        for (list, side) in lists
            .iter_mut()
            .zip([ResourceSide::Requests, ResourceSide::Limits])
        {
            let amount = need.side(side);
            if let Some(amount) = amount
                && (explicit || given.side(side).is_some())
            {
                list.push((resource.clone(), quantity(resource, amount)));
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
            by.extend(rule.into_iter().flat_map(|rule| &rule.names));
        }
    }
    if !rewritten {
        return None;
    }
    let [requests, limits] = lists.map(|list| Some(list.into_iter().collect()));
    container.resources = Some(Cow::Owned(Resources::new(requests, limits)));
    by.sort_unstable();
    by.dedup();
    (!changes.is_empty()).then(|| Note::ResourcesFitted {
        container: container.name,
        limit_range: by.join("`, `"),
        changes: changes.join(", "),
    })
}
