//! The options about request bodies, and the limits that they come to.

use std::time::Duration;

use super::Limits;
use crate::values::{bytes, positive_duration};

/// A limit below this, in bytes, is a unit that was forgotten: ordinary reviews take as much.
const LEAST_BODY: usize = 16 * 1024;

/// What request bodies of the HTTPS server may be.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Limits on clients")]
pub struct Args {
    /// Size of a request's body, from 16KiB [default: 6MiB, or less if the memory budget has no
    /// room for such a review]
    #[arg(long, value_name = "SIZE", value_parser = body_bytes)]
    pub max_body_size: Option<usize>,

    /// Time for a whole body
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = positive_duration)]
    pub body_timeout: Duration,

    /// Bytes of a body that must arrive a second, as the mean of each two seconds
    #[arg(long, value_name = "SIZE", default_value = "16KiB", value_parser = bytes)]
    pub min_body_rate: usize,
}

impl Args {
    /// The limits of bodies, each so large as there is memory for.
    #[must_use]
    pub fn limits(&self, bytes: usize) -> Limits {
        Limits {
            bytes,
            time: self.body_timeout,
            rate: self.min_body_rate,
        }
    }
}

fn body_bytes(text: &str) -> Result<usize, String> {
    match bytes(text)? {
        bytes @ LEAST_BODY.. => Ok(bytes),
        bytes => Err(format!(
            "no ordinary review fits into {bytes} bytes; expected at least 16KiB, for example `6MiB`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn what_holds_is_what_the_options_say() {
        let Line { args } = Line::parse_from(["x"]);
        let default = Limits::default();
        assert_eq!(args.max_body_size, None);
        assert_eq!(args.limits(default.bytes), default);
        let line = "x --max-body-size 16KiB --body-timeout 2s --min-body-rate 3";
        let Line { args } = Line::parse_from(line.split_whitespace());
        assert_eq!(args.max_body_size, Some(16 * 1024));
        let want = Limits {
            bytes: 1,
            time: Duration::from_secs(2),
            rate: 3,
        };
        assert_eq!(args.limits(1), want);
    }

    #[test]
    fn a_forgotten_unit_is_told() {
        for (value, found) in [("6", "6"), ("16383", "16383"), ("15KiB", "15360")] {
            let error = Line::try_parse_from(["x", "--max-body-size", value]).unwrap_err();
            let want = format!(
                "no ordinary review fits into {found} bytes; expected at least 16KiB, for example `6MiB`"
            );
            assert!(error.to_string().contains(&want), "{error}");
        }
        assert_eq!(body_bytes("6291456"), Ok(6 << 20));
    }
}
