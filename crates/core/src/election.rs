//! What agents ask the operator to decide, as state machines that are given `now`.
//!
//! | room | what it decides |
//! |---|---|
//! | [`tasks`] | which agent may run which input |
//! | [`leader`] | which of the agents of one workspace and namespace leads |
//!
//! The rooms don't know each other. Beside them is what both need: who asks, how often each may,
//! and names that people will see.

mod caller;
pub mod leader;
pub mod rates;
pub mod tasks;
pub mod text;

use std::time::Duration;

pub use caller::{Caller, fair_share};

fn millis(time: Duration) -> u64 {
    // A time that doesn't fit is 584 million years away.
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
