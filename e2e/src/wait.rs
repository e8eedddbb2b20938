//! Waiting for something that will be true soon.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long anything may take before its test fails. Generous: it only turns a wait that would
/// never end into a failure.
pub const LIMIT: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(50);

/// Asks again and again until the answer is `Ok`, and returns it.
///
/// `Err` says what is still missing; the last one is part of the error when the time is up.
pub async fn until<T, F>(what: &str, ask: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T, String>>,
{
    until_within(LIMIT, what, ask).await
}

/// The same for what may take longer.
pub async fn until_within<T, F>(
    limit: Duration,
    what: &str,
    mut ask: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = Result<T, String>>,
{
    let start = Instant::now();
    loop {
        match ask().await {
            Ok(found) => return Ok(found),
            Err(missing) if start.elapsed() > limit => {
                bail!("waited {limit:?} for {what}: {missing}")
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
