//! Requests and limits as numbers, and what a pod's containers come to together.

use std::collections::BTreeMap;

use crate::namespace::LimitRange;
use crate::pod::part::{NewContainer, Resources};
use crate::pod::view::{self, ResourceSide};
use crate::quantity::{Quantity, Units};

/// An amount of a resource in thousandths, in which the API server compares.
pub(crate) type Amount = i128;

/// Stands for what no machine has, so that sums stay numbers.
const ENDLESS: Amount = 1_000_000_000_000_000_000_000_000_000_000;

/// Request and limit of one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Need {
    pub request: Option<Amount>,
    pub limit: Option<Amount>,
}

/// What a container needs, by resource.
pub(crate) type Needs = BTreeMap<String, Need>;

/// When a container runs, which decides what it is added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Beside the other containers.
    Container,
    /// Before them, alone.
    Init,
    /// From its place among the init containers to the end.
    NativeSidecar,
}

/// A container and what it needs.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub role: Role,
    pub needs: Needs,
    /// Whether the defaults of LimitRanges are in `needs`; otherwise they are looked up with each
    /// question.
    pub complete: bool,
}

/// What containers get of each resource if they don't say: limit and request.
pub(crate) type Defaults<'r> = BTreeMap<&'r str, Need>;

/// All containers of a pod: init containers in their order, then the others.
#[derive(Debug, Clone)]
pub(crate) struct Slots<'r> {
    pub all: Vec<Slot>,
    /// `spec.resources`, which replaces the sum of the containers.
    pub budget: Needs,
    defaults: Defaults<'r>,
}

impl Need {
    pub(crate) fn side(&self, side: ResourceSide) -> Option<Amount> {
        match side {
            ResourceSide::Requests => self.request,
            ResourceSide::Limits => self.limit,
        }
    }
}

impl<'r> Slots<'r> {
    pub(crate) fn new(all: Vec<Slot>, budget: Needs, defaults: Defaults<'r>) -> Self {
        Self {
            all,
            budget,
            defaults,
        }
    }

    /// What the pod as a whole has of a resource, as the API server counts for LimitRanges
    /// (<https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers>).
    pub(crate) fn total(&self, side: ResourceSide, resource: &str) -> Option<Amount> {
        self.total_with(side, resource, None)
    }

    /// The same if a container had another amount.
    pub(crate) fn total_with(
        &self,
        side: ResourceSide,
        resource: &str,
        other: Option<(usize, Amount)>,
    ) -> Option<Amount> {
        self.budgeted(side, resource).or_else(|| {
            let get = |at| match other {
                Some((container, amount)) if container == at => Some(amount),
                _ => self.get(at, side, resource),
            };
            let mut running = None;
            let mut natives = None;
            let mut most = None;
            for (at, slot) in self.all.iter().enumerate() {
                let amount = get(at);
                if slot.role != Role::Init {
                    running = sum(running, amount);
                }
                if slot.role != Role::Container {
                    // When it starts, the native sidecars before it run.
                    most = most.max(sum(natives, amount));
                }
                if slot.role == Role::NativeSidecar {
                    natives = sum(natives, amount);
                }
            }
            most.max(running)
        })
    }

    /// The greatest amount that the others have at a time when a container runs.
    pub(crate) fn beside(&self, container: usize, side: ResourceSide, resource: &str) -> Amount {
        let get = |at| self.get(at, side, resource).unwrap_or_default();
        let mut running = 0;
        let mut natives = 0;
        // What runs beside it, of what has been passed: its start, and later starts if it is a
        // native sidecar.
        let mut most: Option<Amount> = None;
        let role = self.all[container].role;
        for (at, slot) in self.all.iter().enumerate() {
            let amount = if at == container { 0 } else { get(at) };
            if slot.role != Role::Init {
                running += amount;
            }
            let starts_beside = at == container || (role == Role::NativeSidecar && at > container);
            if slot.role != Role::Container && starts_beside {
                most = most.max(Some(natives + amount));
            }
            if slot.role == Role::NativeSidecar {
                natives += amount;
            }
        }
        if role != Role::Init {
            most = most.max(Some(running));
        }
        most.unwrap_or_default()
    }

    /// What the pod as a whole is given, whatever its containers have.
    pub(crate) fn budgeted(&self, side: ResourceSide, resource: &str) -> Option<Amount> {
        self.budget.get(resource).and_then(|need| need.side(side))
    }

    /// What a container has of a resource.
    pub(crate) fn get(
        &self,
        container: usize,
        side: ResourceSide,
        resource: &str,
    ) -> Option<Amount> {
        let slot = &self.all[container];
        let need = slot.needs.get(resource).copied().unwrap_or_default();
        if slot.complete {
            return need.side(side);
        }
        let default = self.defaults.get(resource).copied().unwrap_or_default();
        completed(need, default).side(side)
    }
}

fn sum(one: Option<Amount>, other: Option<Amount>) -> Option<Amount> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one + other),
        (one, other) => one.or(other),
    }
}

/// What the user's `resources` ask for.
pub(crate) fn declared(resources: view::Resources<'_>) -> Needs {
    let mut needs = Needs::new();
    resources.visit(|side, resource, amount| {
        if let Ok(amount) = Quantity::parse(amount) {
            add(&mut needs, side, resource, &amount);
        }
    });
    needs
}

/// What a container to add asks for.
pub(crate) fn configured(container: &NewContainer<'_>) -> Needs {
    let mut needs = Needs::new();
    let resources = container.resources.as_deref();
    for (side, resource, amount) in resources.into_iter().flat_map(Resources::iter) {
        add(&mut needs, side, resource, amount);
    }
    needs
}

fn add(needs: &mut Needs, side: ResourceSide, resource: &str, amount: &Quantity) {
    let need = needs.entry(resource.to_owned()).or_default();
    match side {
        ResourceSide::Requests => need.request = Some(milli(amount)),
        ResourceSide::Limits => need.limit = Some(milli(amount)),
    }
}

/// What containers get that don't say, by resource: the first of several LimitRanges that says
/// counts.
pub(crate) fn defaults(ranges: &[LimitRange]) -> Defaults<'_> {
    let mut defaults = Defaults::new();
    for bounds in ranges.iter().flat_map(|range| &range.container) {
        let (limit, request) = (&bounds.default, &bounds.default_request);
        if limit.is_none() && request.is_none() {
            continue;
        }
        let need: &mut Need = defaults.entry(bounds.resource.as_str()).or_default();
        need.limit = need.limit.or(limit.as_ref().map(milli));
        need.request = need.request.or(request.as_ref().map(milli));
    }
    defaults
}

/// What a container ends up with: a request that isn't given is the limit, and what is still
/// missing comes from the LimitRanges.
pub(crate) fn with_defaults(mut needs: Needs, defaults: &Defaults<'_>) -> Needs {
    for need in needs.values_mut() {
        *need = completed(*need, Need::default());
    }
    for (resource, default) in defaults {
        let need = needs.entry((*resource).to_owned()).or_default();
        *need = completed(*need, *default);
    }
    needs
}

fn completed(need: Need, default: Need) -> Need {
    Need {
        request: need.request.or(need.limit).or(default.request),
        limit: need.limit.or(default.limit),
    }
}

/// The amount of a quantity.
pub(crate) fn milli(quantity: &Quantity) -> Amount {
    let beyond = if quantity.is_negative() {
        -ENDLESS
    } else {
        ENDLESS
    };
    quantity.milli().unwrap_or(beyond)
}

/// The smallest step of a resource: only CPU comes in thousandths.
pub(crate) fn step(resource: &str) -> Amount {
    if resource == "cpu" { 1 } else { 1000 }
}

/// An amount of a resource as Kubernetes has it.
pub(crate) fn quantity(resource: &str, amount: Amount) -> Quantity {
    let units = match resource {
        "memory" | "ephemeral-storage" => Units::Bytes,
        _ => Units::Plain,
    };
    Quantity::from_milli(amount, units)
}

/// The same, for people.
pub(crate) fn written(resource: &str, amount: Amount) -> String {
    quantity(resource, amount).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn amounts_are_written_and_read() {
        for (resource, amount, expected) in [
            ("cpu", 100, "100m"),
            ("cpu", 2000, "2"),
            ("cpu", 0, "0"),
            ("memory", 512 << 20, "512Mi"),
            ("memory", 1 << 40, "1Ti"),
            ("memory", 3 << 29, "1536Mi"),
            ("memory", 1_000_000_000, "1G"),
            ("memory", 1500, "1500"),
            ("example.com/gpu", 1024, "1024"),
        ] {
            let amount = if resource == "cpu" {
                amount
            } else {
                amount * 1000
            };
            let text = written(resource, amount);
            assert_eq!(text, expected);
            let read = Quantity::parse(&text);
            assert_eq!(read.as_ref().map(milli), Ok(amount));
            assert_eq!(read, Ok(quantity(resource, amount)));
        }
    }

    #[test]
    fn declared_and_default_amounts() {
        let json = r#"{"limits":{"cpu":1,"memory":"1Mi"},"requests":{"memory":"1Ki","x":null,"y":"?"},"claims":[]}"#;
        let range = |item| LimitRange::from_spec("r", &json!({"limits": [item]}));
        let ranges = [
            range(
                json!({"type": "Container", "default": {"cpu": 5, "x": 2}, "defaultRequest": {"x": 1}}),
            ),
            range(json!({"type": "Container", "default": {"x": 7, "y": 9}})),
        ];
        let needs = with_defaults(declared(view::Resources::of(json)), &defaults(&ranges));
        let shown: Vec<String> = needs
            .iter()
            .map(|(resource, need)| {
                let show = |amount: Option<Amount>| amount.map(|amount| written(resource, amount));
                format!("{resource} {:?} {:?}", show(need.request), show(need.limit))
            })
            .collect();
        assert_eq!(
            shown,
            [
                r#"cpu Some("1") Some("1")"#,
                r#"memory Some("1Ki") Some("1Mi")"#,
                r#"x Some("1") Some("2")"#,
                r#"y Some("9") Some("9")"#,
            ]
        );
    }

    /// Containers as role and CPU limit.
    fn check(slots: &[(Role, Option<Amount>)], total: Option<Amount>, beside: &[Amount]) {
        let all = slots.iter().map(|(role, limit)| Slot {
            role: *role,
            needs: [(
                "cpu".to_owned(),
                Need {
                    limit: *limit,
                    request: None,
                },
            )]
            .into(),
            complete: true,
        });
        let slots = Slots::new(all.collect(), Needs::new(), Defaults::new());
        assert_eq!(slots.total(ResourceSide::Limits, "cpu"), total);
        assert_eq!(slots.total(ResourceSide::Requests, "cpu"), None);
        let found: Vec<_> = (0..slots.all.len())
            .map(|at| slots.beside(at, ResourceSide::Limits, "cpu"))
            .collect();
        assert_eq!(found, beside);
    }

    #[test]
    fn a_pod_needs_what_runs_at_the_same_time() {
        use Role::{Container, Init, NativeSidecar};
        check(
            &[(Container, Some(1)), (Container, Some(2))],
            Some(3),
            &[2, 1],
        );
        check(&[(Container, None)], None, &[0]);
        check(
            &[(Init, Some(5)), (Init, Some(7)), (Container, Some(2))],
            Some(7),
            &[0, 0, 0],
        );
        check(
            &[
                (NativeSidecar, Some(1)),
                (Init, Some(5)),
                (Container, Some(2)),
            ],
            Some(6),
            &[5, 1, 1],
        );
        check(
            &[
                (Init, Some(5)),
                (NativeSidecar, Some(1)),
                (Container, Some(2)),
            ],
            Some(5),
            &[0, 2, 1],
        );
    }
}
