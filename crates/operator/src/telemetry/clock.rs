//! Time stamps as text, without a calendar library.

use std::time::{SystemTime, UNIX_EPOCH};

const SECONDS_PER_DAY: u64 = 86_400;
/// The last second of the year 9999: RFC 3339 has four digits for the year.
const LAST_SECOND: u64 = 253_402_300_799;

/// Appends `time` in UTC as RFC 3339 with milliseconds. A time outside the years 1970 to 9999 counts as the nearest
/// one within.
pub fn push_timestamp(buffer: &mut Vec<u8>, time: SystemTime) {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::from(since_epoch.subsec_millis());
    let [tens, ones] = two_digits(millis % 100);
    buffer.extend_from_slice(&date_and_time(since_epoch.as_secs()));
    buffer.extend_from_slice(&[b'.', b'0' + (millis / 100) as u8, tens, ones, b'Z']);
}

/// `seconds` since 1970 in UTC as RFC 3339 without a fraction, for example `2026-11-23T01:44:26Z`.
#[must_use]
pub fn timestamp(seconds: u64) -> String {
    let mut text: String = date_and_time(seconds).into_iter().map(char::from).collect();
    text.push('Z');
    text
}

/// `2026-11-23T01:44:26`
fn date_and_time(seconds: u64) -> [u8; 19] {
    let seconds = seconds.min(LAST_SECOND);
    let (year, month, day) = civil(seconds / SECONDS_PER_DAY);
    let of_day = seconds % SECONDS_PER_DAY;
    let mut text = *b"0000-00-00T00:00:00";
    for (at, value) in [
        (0, year / 100),
        (2, year % 100),
        (5, month),
        (8, day),
        (11, of_day / 3_600),
        (14, of_day / 60 % 60),
        (17, of_day % 60),
    ] {
        text[at..at + 2].copy_from_slice(&two_digits(value));
    }
    text
}

fn two_digits(value: u64) -> [u8; 2] {
    [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8]
}

/// Year, month and day of a day counted from 1970-01-01 in the Gregorian calendar.
///
/// Counts in years that begin in March, so that the leap day is the last of its year and the months before it form
/// a regular pattern of 153 days in five months.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_PER_ERA: u64 = 146_097; // 400 years
    const DAYS_BEFORE_1970: u64 = 719_468; // since 0000-03-01
    let days = days + DAYS_BEFORE_1970;
    let (era, day_of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn known_instants() {
        let check = |seconds: u64, want: &str| assert_eq!(timestamp(seconds), want);
        check(0, "1970-01-01T00:00:00Z");
        check(951_782_399, "2000-02-28T23:59:59Z");
        check(951_782_400, "2000-02-29T00:00:00Z");
        check(1_709_251_199, "2024-02-29T23:59:59Z");
        check(1_795_398_266, "2026-11-23T01:44:26Z");
        check(4_107_542_400, "2100-03-01T00:00:00Z"); // 2100 is no leap year
        check(253_402_300_799, "9999-12-31T23:59:59Z");
        check(u64::MAX, "9999-12-31T23:59:59Z");
    }

    #[test]
    fn consecutive_days_are_consecutive() {
        let mut last = civil(0);
        for days in 1..200_000 {
            let next = civil(days);
            let follows = next == (last.0, last.1, last.2 + 1)
                || (next.2 == 1 && last.2 >= 28 && (next.0, next.1) == (last.0, last.1 + 1))
                || (next == (last.0 + 1, 1, 1) && (last.1, last.2) == (12, 31));
            assert!(follows, "{last:?} is followed by {next:?}");
            last = next;
        }
    }

    #[test]
    fn milliseconds_are_padded() {
        let mut buffer = Vec::new();
        push_timestamp(&mut buffer, UNIX_EPOCH + Duration::from_millis(7));
        assert_eq!(buffer, b"1970-01-01T00:00:00.007Z");
        buffer.clear();
        push_timestamp(&mut buffer, UNIX_EPOCH - Duration::from_millis(7));
        assert_eq!(buffer, b"1970-01-01T00:00:00.000Z");
    }
}
