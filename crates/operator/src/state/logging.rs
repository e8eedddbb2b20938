//! What is known of the cluster's ClusterLoggingConfigs.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use datakit_operator_core::logging::LoggingConfigs;

/// Read by whoever answers sidecars, written by whoever watches the objects.
#[derive(Debug, Default)]
pub struct Logging(ArcSwap<Knowledge>);

/// What is known, and how good that is.
#[derive(Debug, Default)]
pub struct Knowledge {
    /// All objects. Nothing before they have been listed once.
    pub configs: Option<LoggingConfigs>,
    /// How far that can be relied on.
    pub source: Source,
}

/// Where the objects come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// There is no cluster, or watching is switched off: nobody has such objects.
    #[default]
    None,
    /// The kind isn't installed in the cluster, so there are none either.
    NotInstalled,
    /// They are being listed for the first time.
    Starting,
    /// They are watched.
    Watched,
    /// Watching fails, and why. There may be other objects by now.
    Failing(String),
}

impl Logging {
    /// What is known now.
    pub fn known(&self) -> Guard<Arc<Knowledge>> {
        self.0.load()
    }

    /// Replaces it.
    pub fn learn(&self, knowledge: Knowledge) {
        self.0.store(Arc::new(knowledge));
    }
}
