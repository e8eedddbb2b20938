//! Waiting for a moment that there may be none of.

use std::time::Instant;

use tokio::time::sleep_until;

/// Ends at this moment; never if there is none.
pub(super) async fn alarm(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
