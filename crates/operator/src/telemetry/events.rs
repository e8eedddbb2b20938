//! What became of what owners of workloads were to be told.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::Labels;

/// What became of one thing that an owner was to be told; the value of the label `outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// An Event was written, or that it happened again.
    Written,
    /// Too much was waiting.
    Dropped,
    /// The owner, or all of them, were told enough.
    Limited,
    /// The operator may not.
    Refused,
    /// The API server couldn't be asked or didn't take it. It is tried again.
    Failed,
}

impl Fate {
    const ALL: [Self; 5] = [
        Self::Written,
        Self::Dropped,
        Self::Limited,
        Self::Refused,
        Self::Failed,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Dropped => "dropped",
            Self::Limited => "limited",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// `events_total{outcome}`.
#[derive(Clone, Debug)]
pub struct EventCounts([Counter; Fate::ALL.len()]);

impl EventCounts {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let family = Family::<Labels<1>, Counter>::default();
        let help = "What owners of workloads were to be told by Events, by what became of it";
        registry.register("events", help, family.clone());
        Self(Fate::ALL.map(|fate| family.get_or_create_owned(&[("outcome", fate.as_str())])))
    }

    /// Counts what became of one.
    pub fn count(&self, fate: Fate) {
        self.0[fate as usize].inc();
    }

    /// Those that found no place in the queue.
    #[must_use]
    pub fn dropped(&self) -> Counter {
        self.0[Fate::Dropped as usize].clone()
    }
}
