//! How often one caller may ask: token buckets, and not more of them than there is room for.

use std::collections::HashMap;
use std::time::Duration;

use super::{Caller, millis};

/// Callers that are told apart. A caller whose bucket is full again needs none; beyond that,
/// newcomers share one.
const CALLERS: usize = 16_384;
/// How often room is looked for where there is none, in milliseconds.
const SWEEP: u64 = 1_000;
/// A request, in the unit of buckets: thousandths, so that a bucket gains its rate each
/// millisecond.
const ONE: u64 = 1_000;

/// Admits so many requests a second from each caller, and as many more at once as it has saved up.
#[derive(Debug)]
pub struct Rates {
    per_second: u64,
    burst: u64,
    buckets: HashMap<Caller, Bucket>,
    newcomers: Bucket,
    swept: u64,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    level: u64,
    at: u64,
}

impl Rates {
    /// Every caller may ask `burst` times at once, and `per_second` times a second for ever.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let burst = u64::from(burst.max(1)) * ONE;
        Self {
            per_second: u64::from(per_second.max(1)),
            burst,
            buckets: HashMap::new(),
            newcomers: Bucket {
                level: burst,
                at: 0,
            },
            swept: 0,
        }
    }

    /// Whether a request of this caller is admitted now; if not, how long to wait before the next
    /// one.
    ///
    /// # Errors
    /// The time after which the next one would be.
    pub fn admit(&mut self, caller: &Caller, now: Duration) -> Result<(), Duration> {
        if *caller == Caller::Anybody {
            return Ok(());
        }
        let now = millis(now);
        let (per_second, burst) = (self.per_second, self.burst);
        let share = caller.share();
        if let Some(bucket) = self.buckets.get_mut(&share) {
            return bucket.take(per_second, burst, now);
        }
        if self.buckets.len() >= CALLERS && now >= self.swept + SWEEP {
            self.swept = now;
            self.buckets
                .retain(|_, bucket| bucket.level_at(per_second, burst, now) < burst);
        }
        if self.buckets.len() >= CALLERS {
            return self.newcomers.take(per_second, burst, now);
        }
        let mut bucket = Bucket {
            level: burst,
            at: now,
        };
        let admitted = bucket.take(per_second, burst, now);
        self.buckets.insert(share, bucket);
        admitted
    }
}

impl Bucket {
    fn level_at(&self, per_second: u64, burst: u64, now: u64) -> u64 {
        let gained = now.saturating_sub(self.at).saturating_mul(per_second);
        self.level.saturating_add(gained).min(burst)
    }

    fn take(&mut self, per_second: u64, burst: u64, now: u64) -> Result<(), Duration> {
        let level = self.level_at(per_second, burst, now);
        self.at = self.at.max(now);
        self.level = level;
        match level.checked_sub(ONE) {
            Some(rest) => {
                self.level = rest;
                Ok(())
            }
            None => Err(Duration::from_millis((ONE - level).div_ceil(per_second))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(number: u32) -> Caller {
        Caller::at(std::net::Ipv4Addr::from(0x0a00_0000 + number).into())
    }

    fn admitted(rates: &mut Rates, caller: &Caller, requests: usize, now: u64) -> usize {
        (0..requests)
            .filter(|_| rates.admit(caller, Duration::from_millis(now)).is_ok())
            .count()
    }

    #[test]
    fn each_caller_has_its_own() {
        let mut rates = Rates::new(10, 20);
        assert_eq!(admitted(&mut rates, &caller(1), 100, 0), 20);
        assert_eq!(
            rates.admit(&caller(1), Duration::ZERO),
            Err(Duration::from_millis(100))
        );
        assert_eq!(admitted(&mut rates, &caller(2), 1, 0), 1);
        assert_eq!(admitted(&mut rates, &caller(1), 100, 1_000), 10);
        // A clock that stands still or goes back gives nothing.
        assert_eq!(admitted(&mut rates, &caller(1), 100, 500), 0);
        assert_eq!(admitted(&mut rates, &caller(1), 100, 1_050), 0);
        assert_eq!(admitted(&mut rates, &caller(1), 100, 1_100), 1);
        assert_eq!(admitted(&mut rates, &caller(1), 100, 1_000_000), 20);
        assert_eq!(admitted(&mut rates, &Caller::Anybody, 1_000, 0), 1_000);
    }

    #[test]
    fn there_are_not_more_than_there_is_room_for() {
        let mut rates = Rates::new(1, 4);
        let many = CALLERS as u32;
        for number in 0..many {
            assert_eq!(admitted(&mut rates, &caller(number), 1, 0), 1);
        }
        // All newcomers together have what one has.
        let newcomers: usize = (0..100)
            .map(|number| admitted(&mut rates, &caller(many + number), 1, 10))
            .sum();
        assert_eq!(newcomers, 4);
        assert_eq!(rates.buckets.len(), CALLERS);
        // Who was there isn't affected, and those who have been quiet make room.
        assert_eq!(admitted(&mut rates, &caller(7), 9, 10), 3);
        assert_eq!(admitted(&mut rates, &caller(many), 9, 1_100), 4);
        assert_eq!(rates.buckets.len(), 2);
    }
}
