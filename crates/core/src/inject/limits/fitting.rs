//! One container and one resource: the amounts that keep all bounds, or the bound that can't be
//! kept.
//!
//! Amounts are proposed first and then judged by the API server's rules, so that a case which the
//! proposal doesn't foresee ends in a reason, never in a pod that is refused.

use crate::namespace::Bounds;
use crate::pod::view::ResourceSide;
use crate::quantity::Quantity;

use super::Rules;
use crate::inject::amounts::{Amount, Need, Needs, Slots, milli, step, written};
use crate::inject::reason::Reason;

/// Less than this the kernel can't give: a millisecond in each tenth of a second.
const LEAST_CPU: Amount = 10;

/// One container on its way into the bounds.
pub(super) struct Fitting<'r> {
    pub(super) container: &'static str,
    /// Its place among all containers.
    pub(super) at: usize,
    pub(super) rules: &'r Rules<'r>,
}

/// The tightest bounds of all LimitRanges for one resource, each with the name of its LimitRange.
#[derive(Clone, Copy, Default)]
pub(super) struct Tightest<'r> {
    min: Option<(Amount, &'r str)>,
    max: Option<(Amount, &'r str)>,
    ratio: Option<(Amount, &'r str)>,
}

impl<'r> Tightest<'r> {
    /// Adds what the LimitRange of that name says.
    pub(super) fn add(&mut self, bounds: &Bounds, name: &'r str) {
        let amount = |bound: &Option<Quantity>| bound.as_ref().map(|bound| (milli(bound), name));
        self.min = self.min.max(amount(&bounds.min));
        self.max = least(self.max, amount(&bounds.max));
        self.ratio = least(self.ratio, amount(&bounds.max_limit_request_ratio));
    }
}

fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl<'r> Fitting<'r> {
    /// The resources that the container has or must have, in order. Of others it has none and
    /// doesn't have to.
    pub(super) fn concerned<'n>(&self, needs: &'n Needs) -> Vec<&'n str>
    where
        'r: 'n,
    {
        let rules = self.rules.by_resource.iter();
        let demanded = rules
            .filter(|(_, rule)| rule.container.min.is_some() || rule.container.ratio.is_some());
        let mut all: Vec<&str> = needs
            .iter()
            .filter(|(_, need)| **need != Need::default())
            .map(|(resource, _)| resource.as_str())
            .chain(demanded.map(|(resource, _)| *resource))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Fits one resource. `wanted` is what is configured of it.
    pub(super) fn fit(
        &self,
        slots: &mut Slots<'_>,
        resource: &str,
        wanted: Need,
    ) -> Result<(), Reason> {
        let rule = self.rules.get(resource);
        let (container, pod) =
            rule.map_or_else(Default::default, |rule| (rule.container, rule.pod));
        let mut need = slots.all[self.at]
            .needs
            .get(resource)
            .copied()
            .unwrap_or_default();
        let before = need;
        within_container(&container, wanted, &mut need);
        self.within_pod(slots, &pod, resource, &mut need);
        self.within_budget(slots, &container, resource, &mut need);
        if let Some((ratio, _)) = least(container.ratio, pod.ratio) {
            within_ratio(resource, ratio, &mut need);
        }
        slots.all[self.at].needs.insert(resource.to_owned(), need);
        self.check_container(&container, resource, need)?;
        self.check_pod(slots, &pod, resource, need)?;
        self.check_budget(slots, resource, need)?;
        if need.limit >= before.limit {
            return Ok(());
        }
        self.check_enough(slots, [&container, &pod], resource, wanted, need)
    }

    /// Lowers what the containers together would have too much of, and raises what they would have
    /// too little of.
    fn within_pod(&self, slots: &Slots<'_>, pod: &Tightest<'r>, resource: &str, need: &mut Need) {
        let room = |side, max: Amount| {
            let room = max - slots.beside(self.at, side, resource);
            room - room.rem_euclid(step(resource))
        };
        for side in [ResourceSide::Limits, ResourceSide::Requests] {
            let amount = match side {
                ResourceSide::Limits => &mut need.limit,
                ResourceSide::Requests => &mut need.request,
            };
            if let (Some(amount), Some((max, _))) = (amount, pod.max)
                && slots.budgeted(side, resource).is_none()
            {
                *amount = (*amount).min(room(side, max).max(0));
            }
        }
        // A limit that is the pod's only one must reach the least by itself.
        if let (Some(limit), Some((min, _))) = (&mut need.limit, pod.min)
            && slots.budgeted(ResourceSide::Limits, resource).is_none()
        {
            let with = Some((self.at, *limit));
            let total = slots.total_with(ResourceSide::Limits, resource, with);
            *limit += total.map_or(0, |total| (min - total).max(0));
        }
        if let (Some(request), Some(limit)) = (&mut need.request, need.limit) {
            *request = (*request).min(limit);
        }
    }

    /// In a pod with a budget of its own, what a LimitRange would give to a container must fit into
    /// it.
    fn within_budget(
        &self,
        slots: &Slots<'_>,
        container: &Tightest<'_>,
        resource: &str,
        need: &mut Need,
    ) {
        if let (Some(limit), Some(budget)) = (
            &mut need.limit,
            slots.budgeted(ResourceSide::Limits, resource),
        ) {
            *limit = (*limit).min(budget);
        }
        if let (Some(request), Some(budget)) = (
            &mut need.request,
            slots.budgeted(ResourceSide::Requests, resource),
        ) {
            let room = budget - slots.beside(self.at, ResourceSide::Requests, resource);
            let least = container.min.map_or(0, |(min, _)| min);
            *request = (*request).min(room).max(least);
        }
        if let (Some(request), Some(limit)) = (&mut need.request, need.limit) {
            *request = (*request).min(limit);
        }
    }

    fn check_container(
        &self,
        bounds: &Tightest<'_>,
        resource: &str,
        need: Need,
    ) -> Result<(), Reason> {
        let name = self.container;
        let show = |amount| written(resource, amount);
        if let Some((min, range)) = bounds.min
            && (need.request.is_none_or(|request| request < min)
                || need.limit.is_some_and(|limit| limit < min))
        {
            let problem = format!(
                "a container must have {} of {resource} at least, which `{name}` can't",
                show(min)
            );
            return refuse(range, problem);
        }
        if let Some((max, range)) = bounds.max
            && (need.limit.is_none_or(|limit| limit > max)
                || need.request.is_some_and(|request| request > max))
        {
            let problem = format!(
                "a container may have {} of {resource} at most, and `{name}` would need more",
                show(max)
            );
            return refuse(range, problem);
        }
        if let Some((ratio, range)) = bounds.ratio
            && !keeps_ratio(ratio, need.request, need.limit)
        {
            let problem = format!(
                "a container's limit of {resource} may be {} times its request, which `{name}` can't keep",
                written("", ratio)
            );
            return refuse(range, problem);
        }
        Ok(())
    }

    /// What the pod comes to, as far as this container changes it.
    fn check_pod(
        &self,
        slots: &Slots<'_>,
        bounds: &Tightest<'_>,
        resource: &str,
        need: Need,
    ) -> Result<(), Reason> {
        let name = self.container;
        let show = |amount| written(resource, amount);
        for side in [ResourceSide::Limits, ResourceSide::Requests] {
            // What it has nothing of, it doesn't change.
            let (Some(_), Some(total)) = (need.side(side), slots.total(side, resource)) else {
                continue;
            };
            let what = side.as_str();
            if let Some((max, range)) = bounds.max
                && total > max
            {
                let problem = format!(
                    "a pod may have {what}.{resource} of {} at most and this one has {}",
                    show(max),
                    show(total)
                );
                return refuse(range, problem);
            }
            if let Some((min, range)) = bounds.min
                && total < min
            {
                let problem = format!(
                    "a pod must have {what}.{resource} of {} at least and would have {}",
                    show(min),
                    show(total)
                );
                return refuse(range, problem);
            }
        }
        let (request, limit) = (
            slots.total(ResourceSide::Requests, resource),
            slots.total(ResourceSide::Limits, resource),
        );
        if let Some((ratio, range)) = bounds.ratio
            && !keeps_ratio(ratio, request, limit)
        {
            let problem = format!(
                "a pod's limit of {resource} may be {} times its request, which it can't be with `{name}`",
                written("", ratio)
            );
            return refuse(range, problem);
        }
        Ok(())
    }

    fn check_budget(&self, slots: &Slots<'_>, resource: &str, need: Need) -> Result<(), Reason> {
        let Some(request) = need.request else {
            return Ok(());
        };
        let Some(budget) = slots.budgeted(ResourceSide::Requests, resource) else {
            return Ok(());
        };
        if request + slots.beside(self.at, ResourceSide::Requests, resource) <= budget {
            return Ok(());
        }
        let problem = format!(
            "a container must have {} of {resource}, which the pod's spec.resources don't leave for `{}`",
            written(resource, request),
            self.container
        );
        refuse(self.rules.first_with(resource), problem)
    }

    /// A container whose limit would be lowered below what it is said to need isn't injected: one
    /// that is out of memory ends, and an init container that ends without success keeps the pod
    /// from starting.
    fn check_enough(
        &self,
        slots: &Slots<'_>,
        [container, pod]: [&Tightest<'_>; 2],
        resource: &str,
        wanted: Need,
        need: Need,
    ) -> Result<(), Reason> {
        let Some(limit) = need.limit else {
            return Ok(());
        };
        let enough = match resource {
            "cpu" => wanted.request.unwrap_or(LEAST_CPU).min(LEAST_CPU),
            _ => wanted.request.unwrap_or(1),
        };
        let enough = enough.max(1);
        if limit >= enough {
            return Ok(());
        }
        let name = self.container;
        let show = |amount| written(resource, amount);
        let needed = format!("`{name}` needs {}", show(enough));
        if let Some((max, range)) = container.max
            && max < enough
        {
            let problem = format!(
                "a container may have limits.{resource} of {} at most and {needed}",
                show(max)
            );
            return refuse(range, problem);
        }
        if let Some((max, range)) = pod.max {
            let others = slots.beside(self.at, ResourceSide::Limits, resource);
            let problem = format!(
                "a pod may have limits.{resource} of {} at most, the other containers have {} and {needed}",
                show(max),
                show(others)
            );
            return refuse(range, problem);
        }
        let problem = format!(
            "spec.resources of the pod leave {} of {resource} and {needed}",
            show(limit)
        );
        refuse(self.rules.first_with(resource), problem)
    }
}

pub(super) fn refuse(range: &str, problem: String) -> Result<(), Reason> {
    Err(Reason::LimitRange {
        limit_range: range.to_owned(),
        problem,
    })
}

/// Moves request and limit between what a container must have and what it may have.
fn within_container(bounds: &Tightest<'_>, wanted: Need, need: &mut Need) {
    // A default limit below a configured request would make the container invalid.
    if wanted.limit.is_none()
        && let (Some(request), Some(limit)) = (need.request, &mut need.limit)
    {
        *limit = (*limit).max(request);
    }
    if let Some((max, _)) = bounds.max {
        need.limit = Some(need.limit.map_or(max, |limit| limit.min(max)));
    }
    if let Some((min, _)) = bounds.min {
        need.request = Some(need.request.map_or(min, |request| request.max(min)));
        need.limit = need.limit.map(|limit| limit.max(min));
    }
    if let (Some(request), Some(limit)) = (&mut need.request, need.limit) {
        *request = (*request).min(limit);
    }
}

/// Raises the request to what the limit asks for.
fn within_ratio(resource: &str, ratio: Amount, need: &mut Need) {
    let Some(limit) = need.limit.or(need.request) else {
        return;
    };
    if ratio <= 0 || limit <= 0 {
        return;
    }
    need.limit = Some(limit);
    if keeps_ratio(ratio, need.request, need.limit) {
        return;
    }
    let least = (limit * 1000 + ratio - 1) / ratio;
    let mut request = round_up(least, round_to(resource));
    // The API server divides in floating point, which may be off by the last digit.
    if !keeps_ratio(ratio, Some(request), need.limit) {
        request += step(resource);
    }
    need.request = Some(request.min(limit));
}

/// What people would write: bytes in MiB.
fn round_to(resource: &str) -> Amount {
    match resource {
        "memory" | "ephemeral-storage" => 1000 << 20,
        _ => step(resource),
    }
}

fn round_up(amount: Amount, step: Amount) -> Amount {
    (amount + step - 1) / step * step
}

/// The rule as the API server computes it.
fn keeps_ratio(ratio: Amount, request: Option<Amount>, limit: Option<Amount>) -> bool {
    match (request, limit) {
        (Some(request), Some(limit)) if request > 0 && limit > 0 => {
            limit as f64 / request as f64 * 1000.0 <= ratio as f64
        }
        _ => false,
    }
}
