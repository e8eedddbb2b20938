//! Keeping pods within what the ResourceQuotas of their namespace leave
//! (<https://kubernetes.io/docs/concepts/policy/resource-quotas/>).
//!
//! The API server refuses a pod that takes more, or whose containers don't say what they take of
//! processors and memory where these are counted. What is left changes with every pod, and is known
//! a moment later; the last word has the API server.

use std::collections::BTreeMap;

use crate::namespace::{LimitRange, Quota, Scope};
use crate::pod::view::ResourceSide;
use crate::pod::{Draft, Edits, Pod};

use super::amounts::{Amount, Slots, defaults, written};
use super::limits::slots;
use super::reason::Reason;

/// Resources that every container must say something of where a quota counts them.
const TO_BE_SAID: [&str; 2] = ["cpu", "memory"];

/// What a pod takes of a resource.
struct Taken {
    /// A container of the plan that doesn't say how much.
    silent: Option<&'static str>,
    /// Without the plan.
    before: Amount,
    /// With it.
    after: Amount,
}

/// Judges a plan.
///
/// # Errors
/// The quota that it would go beyond.
pub(crate) fn check(
    draft: &Draft<'_, '_>,
    plan: &Edits<'_>,
    ranges: &[LimitRange],
    quotas: &[Quota],
) -> Result<(), Reason> {
    let pod = draft.pod;
    // A pod with a budget of its own counts with that, whatever its containers have.
    if quotas.is_empty() || pod.pod_level_resources {
        return Ok(());
    }
    let names: Vec<&'static str> = plan.new_containers().map(|new| new.name).collect();
    let Some(newest) = names.last() else {
        return Ok(());
    };
    let (after, ours) = slots(draft, plan, defaults(ranges));
    let (before, _) = slots(draft, &Edits::default(), defaults(ranges));
    let is_concerned = |resource: &str| {
        let mut needs = ours.iter().map(|at| &after.all[*at].needs);
        TO_BE_SAID.contains(&resource) || needs.any(|needs| needs.contains_key(resource))
    };
    // Whoever may write quotas may write many that bound the same; the pod is added up once.
    let mut known: BTreeMap<(bool, &str), Taken> = BTreeMap::new();
    for quota in quotas.iter().filter(|quota| counts(quota, pod, &after)) {
        let refused = |problem: String| {
            Err(Reason::ResourceQuota {
                quota: quota.name.clone(),
                problem,
            })
        };
        for left in quota
            .left
            .iter()
            .filter(|left| is_concerned(&left.resource))
        {
            let side = match left.of_limits {
                true => ResourceSide::Limits,
                false => ResourceSide::Requests,
            };
            let resource = left.resource.as_str();
            let taken = known.entry((left.of_limits, resource)).or_insert_with(|| {
                let all = ours.iter().zip(&names);
                let mut silent = all.filter(|(at, _)| after.get(**at, side, resource).is_none());
                let total = |slots: &Slots<'_>| slots.total(side, resource).unwrap_or_default();
                Taken {
                    silent: silent.next().map(|(_, name)| *name),
                    before: total(&before),
                    after: total(&after),
                }
            });
            if TO_BE_SAID.contains(&resource)
                && let Some(container) = taken.silent
            {
                return refused(format!(
                    "every container must have {}.{resource}, and `{container}` has none",
                    side.as_str(),
                ));
            }
            if taken.after > taken.before && taken.after > left.milli {
                return refused(format!(
                    "{} of {} are left, and with `{newest}` the pod takes {}",
                    written(resource, left.milli),
                    left.key,
                    written(resource, taken.after),
                ));
            }
        }
    }
    Ok(())
}

/// Whether a quota counts a pod that would have these containers.
fn counts(quota: &Quota, pod: &Pod<'_>, containers: &Slots<'_>) -> bool {
    let has_class = || !pod.priority_class.is_empty();
    quota.scopes.iter().all(|scope| match scope {
        Scope::Terminating(wanted) => pod.has_deadline == *wanted,
        Scope::BestEffort(wanted) => is_best_effort(containers) == *wanted,
        Scope::AnyPriority(wanted) => has_class() == *wanted,
        Scope::Priority { names, one_of_them } => {
            let is_one = names.iter().any(|name| *name == pod.priority_class);
            has_class() && is_one == *one_of_them
        }
        Scope::Other => false,
    })
}

fn is_best_effort(containers: &Slots<'_>) -> bool {
    let sides = [ResourceSide::Requests, ResourceSide::Limits];
    TO_BE_SAID.iter().all(|resource| {
        let mut amounts = sides
            .map(|side| containers.total(side, resource))
            .into_iter();
        amounts.all(|amount| amount.unwrap_or_default() == 0)
    })
}
