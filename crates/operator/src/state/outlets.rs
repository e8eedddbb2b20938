//! Where the record of a review goes beside log and metrics. Nothing here waits.

use std::sync::Arc;

use datakit_operator_core::review::Record;

use super::decisions::Decisions;
use super::incidents::Incidents;

/// Where the record of a review goes.
#[derive(Clone, Debug)]
pub struct Outlets {
    /// What owners of workloads are told.
    pub incidents: Incidents,
    /// What people who look are shown.
    pub decisions: Arc<Decisions>,
}

impl Outlets {
    /// A pod was reviewed.
    pub fn tell(&self, record: &Record<'_>) {
        self.incidents.tell(record);
        self.decisions.keep(record);
    }
}
