//! The wall clock, the one place that reads it.
//!
//! A clock can be anything: a machine without a battery starts in 1970, a broken one in the year
//! 60,000. Text and certificates have four digits for a year, and libraries take for granted that
//! it is after 1970. So what is read here is kept within bounds that all of them can express, with
//! room for what is computed from it, and a process whose clock is wrong says so and goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use serde::Serializer;

/// The first second that [`now`] returns, after 1970 began: a day in, so that certificates can be
/// made backdated.
const FIRST: u64 = 24 * 60 * 60;
/// The last second that [`now`] returns, after 1970 began: the start of the year 9000. What is made
/// to last for centuries from then on still ends in a year of four digits.
const LAST: u64 = 221_845_392_000;
/// The last second of the year 9999 after 1970 began: the last one that can be written.
const LAST_WRITABLE: u64 = 253_402_300_799;

/// The time, or the nearest one that everything can handle.
#[must_use]
pub fn now() -> SystemTime {
    static TOLD: AtomicBool = AtomicBool::new(false);
    let read = read();
    let time = within(read, FIRST, LAST);
    // The flag is set before the line is logged, which reads the clock.
    if time != read && !TOLD.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            instead = %humantime::format_rfc3339_seconds(time),
            "the clock of this machine is before 1970 or after 9000; using another time instead: certificates made \
             now will be refused until it is set and this process restarted"
        );
    }
    time
}

/// Whether the clock is within bounds now. Where it isn't, answers have no `Date`: the library that
/// writes it panics. (On HTTP/1.1 it does so even when not asked for one, which ends the connection
/// and nothing else.)
#[must_use]
pub fn is_right() -> bool {
    let read = read();
    within(read, FIRST, LAST) == read
}

/// The time since 1970 began, of the same clock.
#[must_use]
pub fn since_1970() -> Duration {
    now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The time, or the nearest one that has a year of four digits after 1970: what certificates and
/// log lines can say.
#[must_use]
pub fn writable(time: SystemTime) -> SystemTime {
    within(time, 0, LAST_WRITABLE)
}

/// The sum, or the last time that can be written.
#[must_use]
pub fn later(time: SystemTime, by: Duration) -> SystemTime {
    let last = UNIX_EPOCH + Duration::from_secs(LAST_WRITABLE);
    writable(time.checked_add(by).unwrap_or(last))
}

/// The difference, or the start of 1970.
#[must_use]
pub fn earlier(time: SystemTime, by: Duration) -> SystemTime {
    writable(time.checked_sub(by).unwrap_or(UNIX_EPOCH))
}

/// Writes a time as JSON has it, in whole seconds of UTC.
///
/// # Errors
///
/// Those of the serializer.
pub fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_seconds(writable(*time)))
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one place that reads the wall clock"
)]
fn read() -> SystemTime {
    SystemTime::now()
}

fn within(time: SystemTime, first: u64, last: u64) -> SystemTime {
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    time.clamp(at(first), at(last))
}

/// The same clock for the TLS library, whose own panics before 1970.
#[must_use]
pub fn for_tls() -> Arc<dyn TimeProvider> {
    Arc::new(Clock)
}

#[derive(Debug)]
struct Clock;

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(tls_now())
    }
}

/// The time as the TLS library has it.
#[must_use]
pub fn tls_now() -> UnixTime {
    UnixTime::since_unix_epoch(since_1970())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const FOR_EVER: Duration = Duration::from_secs(1 << 40);

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn times_stay_within_what_can_be_written() {
        let check = |time, first, last, want| assert_eq!(within(time, first, last), want);
        let before = UNIX_EPOCH - SECOND;
        check(before, FIRST, LAST, at(FIRST));
        check(at(FIRST + 1), FIRST, LAST, at(FIRST + 1));
        check(at(LAST_WRITABLE), FIRST, LAST, at(LAST));
        for (time, want) in [
            (before, "1970-01-01T00:00:00Z"),
            (at(LAST_WRITABLE), "9999-12-31T23:59:59Z"),
            (at(LAST_WRITABLE) + SECOND, "9999-12-31T23:59:59Z"),
            (later(at(LAST), FOR_EVER), "9999-12-31T23:59:59Z"),
            (later(at(0), Duration::MAX), "9999-12-31T23:59:59Z"),
            (earlier(at(1), FOR_EVER), "1970-01-01T00:00:00Z"),
            (earlier(at(2), SECOND), "1970-01-01T00:00:01Z"),
            (at(LAST), "9000-01-01T00:00:00Z"),
        ] {
            let time = humantime::format_rfc3339_seconds(writable(time));
            assert_eq!(time.to_string(), want);
        }
    }
}
