//! Values of flags that carry a unit.

use std::time::Duration;

/// Reads a time such as `250ms`, `10s`, `2m`, `1h` or `7d`.
///
/// # Errors
///
/// One sentence for the user if it is not one, or has no unit.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let millis = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    let Some(millis) = millis else {
        return Err(format!(
            "expected a unit of ms, s, m, h or d, for example `{number}s`"
        ));
    };
    let millis = number.checked_mul(millis).ok_or("that is too long")?;
    Ok(Duration::from_millis(millis))
}

/// Like [`duration`], but zero would switch the thing off that it limits.
///
/// # Errors
///
/// As [`duration`], and for zero.
pub fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("expected more than zero".to_owned()),
        duration => Ok(duration),
    }
}

/// Reads the duration of a Lease, which holds whole seconds and is renewed every quarter of it.
///
/// # Errors
///
/// As [`duration`], and for anything but whole seconds from 2 on.
pub fn lease_duration(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration < Duration::from_secs(2) || duration.subsec_nanos() != 0 {
        return Err("expected whole seconds, 2s or more".to_owned());
    }
    Ok(duration)
}

/// Reads a size in bytes such as `512`, `16KiB` or `6MiB`; zero is refused.
///
/// # Errors
///
/// One sentence for the user.
pub fn bytes(text: &str) -> Result<usize, String> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        "GiB" => 1024 * 1024 * 1024,
        _ => {
            return Err(format!(
                "expected bytes or a unit of KiB, MiB or GiB, for example `{number}MiB`"
            ));
        }
    };
    let bytes = number
        .checked_mul(factor)
        .and_then(|bytes| usize::try_from(bytes).ok());
    match bytes {
        Some(0) => Err("expected more than zero".to_owned()),
        Some(bytes) => Ok(bytes),
        None => Err("that is too much".to_owned()),
    }
}

/// Like [`bytes`], for a limit on headers: below 1 KiB no client could say what it wants.
///
/// # Errors
///
/// As [`bytes`], and outside 1 KiB to 1 MiB.
pub fn header_bytes(text: &str) -> Result<u32, String> {
    match u32::try_from(bytes(text)?) {
        Ok(bytes @ 1_024..=1_048_576) => Ok(bytes),
        _ => Err("expected between 1KiB and 1MiB".to_owned()),
    }
}

fn split(text: &str) -> Result<(u64, &str), String> {
    let digits = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    match number.parse() {
        Ok(number) => Ok((number, unit)),
        Err(_) if number.is_empty() => Err("expected a number with a unit".to_owned()),
        Err(_) => Err("that number is too large".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |text: &str, want: Result<u64, &str>| {
            let got = duration(text).map(|duration| duration.as_millis() as u64);
            assert_eq!(
                got.as_ref().map_err(String::as_str),
                want.as_ref().map_err(|error| *error),
                "{text}"
            );
        };
        check("250ms", Ok(250));
        check("10s", Ok(10_000));
        check("2m", Ok(120_000));
        check("1h", Ok(3_600_000));
        check("0s", Ok(0));
        check(
            "10",
            Err("expected a unit of ms, s, m, h or d, for example `10s`"),
        );
        check(
            "10 s",
            Err("expected a unit of ms, s, m, h or d, for example `10s`"),
        );
        check("-1s", Err("expected a number with a unit"));
        check("", Err("expected a number with a unit"));
        check("99999999999999999999s", Err("that number is too large"));
        check("9999999999999999999h", Err("that is too long"));
        assert!(positive_duration("0s").is_err());
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes("512"), Ok(512));
        assert_eq!(bytes("16KiB"), Ok(16 * 1024));
        assert_eq!(bytes("6MiB"), Ok(6 * 1024 * 1024));
        assert_eq!(
            bytes("6MB").unwrap_err(),
            "expected bytes or a unit of KiB, MiB or GiB, for example `6MiB`"
        );
        assert!(bytes("0").is_err() && bytes("MiB").is_err() && bytes("99999999999GiB").is_err());
        assert!(header_bytes("1023").is_err() && header_bytes("2MiB").is_err());
        assert_eq!(header_bytes("16KiB"), Ok(16 * 1024));
    }
}
