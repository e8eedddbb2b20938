//! What the parts of a running operator share: written by whoever learns something, read by whoever
//! answers.
//!
//! Everything here is read without waiting. [`crate::http`] and [`crate::cluster`] don't know each
//! other; they meet here.

mod configured;
pub mod decisions;
mod incidents;
mod logging;
pub mod missed;
mod outlets;
pub mod pods;

pub use configured::{Configuration, Configured};
pub use decisions::Decisions;
pub use incidents::{Incident, Incidents, Matter, Object};
pub use logging::{Knowledge, Logging, Source};
pub use missed::Missed;
pub use outlets::Outlets;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::{ArcSwap, Guard};
use datakit_operator_core::inject::{Engine, ReviewContext};
use tokio::sync::watch;

/// What a review is made with. Replaced as a whole, while reviews that have begun finish with what
/// they began with.
#[derive(Debug)]
pub struct Reviewing {
    engine: ArcSwap<Engine>,
    context: ArcSwap<ReviewContext>,
    changes: watch::Sender<()>,
}

impl Reviewing {
    /// Reviews with these from now on.
    #[must_use]
    pub fn new(engine: Engine, context: ReviewContext) -> Self {
        Self {
            engine: ArcSwap::from_pointee(engine),
            context: ArcSwap::from_pointee(context),
            changes: watch::Sender::new(()),
        }
    }

    /// The configuration in use.
    pub fn engine(&self) -> Guard<Arc<Engine>> {
        self.engine.load()
    }

    /// What is known of the cluster.
    pub fn context(&self) -> Guard<Arc<ReviewContext>> {
        self.context.load()
    }

    /// Takes another configuration into use.
    pub fn replace_engine(&self, engine: Engine) {
        self.engine.store(Arc::new(engine));
        self.changes.send_replace(());
    }

    /// Tells when one of both has changed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Changes what is known of the cluster.
    pub fn update_context(&self, change: impl Fn(&mut ReviewContext)) {
        self.context.rcu(|context| {
            let mut context = ReviewContext::clone(context);
            change(&mut context);
            context
        });
        self.changes.send_replace(());
    }
}

/// Whether requests should be sent here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Not serving yet, or not in a way that API servers accept.
    Starting,
    /// Serving.
    Ready,
    /// Finishing what was begun, accepting nothing new.
    Draining,
}

/// The phase of the process, shared between whoever changes it and `/readyz`.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    phase: AtomicU8,
    waiting_for: ArcSwap<String>,
}

impl Readiness {
    /// Enters a phase.
    pub fn enter(&self, phase: Phase) {
        self.0.phase.store(phase as u8, Ordering::Release);
    }

    /// Enters [`Phase::Ready`] if this is the start; a process that is shutting down stays that.
    /// Whether it did.
    pub fn become_ready(&self) -> bool {
        let (from, to) = (Phase::Starting as u8, Phase::Ready as u8);
        let phase = &self.0.phase;
        phase
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// The current phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.0.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// Says what a process that is starting waits for.
    pub fn wait_for(&self, what: impl Into<String>) {
        self.0.waiting_for.store(Arc::new(what.into()));
    }

    /// What a process that is starting waits for; empty if that is over in a moment.
    #[must_use]
    pub fn waiting_for(&self) -> Arc<String> {
        self.0.waiting_for.load_full()
    }
}

/// Which replica holds the Lease, as far as this one knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// Nobody, or it can't be told.
    Nobody {
        /// Why.
        why: &'static str,
    },
    /// Another replica.
    Other {
        /// Its name.
        holder: Arc<str>,
        /// Where it answers other replicas, if it says.
        address: Option<Arc<str>>,
        /// Whether it keeps the installation's certificates.
        keeps_certificates: bool,
        /// When it took the Lease, by its clock.
        since: Option<SystemTime>,
    },
    /// This one.
    Mine {
        /// After this another one may have it.
        until: Instant,
        /// When it took the Lease.
        since: Option<SystemTime>,
        /// How many times this replica has got it. While it stays the same, nobody else has had it.
        term: u32,
        /// What the holder before [left](Handover).
        inherited: Arc<[String]>,
    },
}

/// What the holder of the Lease leaves for the next one, kept beside the Lease.
#[derive(Debug, Default)]
pub struct Handover(ArcSwap<Vec<Arc<str>>>);

impl Handover {
    /// Replaces what is left.
    pub fn leave(&self, ids: Vec<Arc<str>>) {
        if **self.0.load() != ids {
            self.0.store(Arc::new(ids));
        }
    }

    /// What is left now.
    #[must_use]
    pub fn left(&self) -> Arc<Vec<Arc<str>>> {
        self.0.load_full()
    }
}

impl Leadership {
    /// Whether this replica may act as the holder for at least this long.
    #[must_use]
    pub fn is_mine_for(&self, time: Duration) -> bool {
        matches!(self, Self::Mine { until, .. } if Instant::now() + time < *until)
    }

    /// Whether this replica, which gets its certificate from the installation's CA, may write that
    /// at this moment.
    ///
    /// The holder does, but while an installation moves from certificates of another kind to these,
    /// the holder may be one that doesn't. The replica that waits for a CA then makes it; of
    /// several, the first one to write wins.
    #[must_use]
    pub fn may_write_certificates(&self) -> bool {
        match self {
            Self::Other {
                keeps_certificates, ..
            } => !keeps_certificates,
            Self::Mine { .. } => self.is_mine(),
            Self::Nobody { .. } => false,
        }
    }

    /// Whether this replica may act as the holder at this moment.
    #[must_use]
    pub fn is_mine(&self) -> bool {
        self.is_mine_for(Duration::ZERO)
    }
}
