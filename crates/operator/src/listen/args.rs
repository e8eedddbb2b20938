//! The options about connections of the HTTPS server, and the limits that they come to.

use std::time::Duration;

use super::Limits;
use crate::values::{header_bytes, positive_duration};

/// What clients of the HTTPS server may do with connections.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Limits on clients")]
pub struct Args {
    /// Connections at once; when all are taken, an idle or slow one makes room [default: 768, or
    /// fewer if they would take more than half of the memory budget that threads leave, at 32KiB
    /// each]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: Option<u32>,

    /// Requests at once on one HTTP/2 connection
    #[arg(long, value_name = "N", default_value = "128", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_streams: u32,

    /// Size of a request's headers
    #[arg(long, value_name = "SIZE", default_value = "16KiB", value_parser = header_bytes)]
    pub max_header_size: u32,

    /// Time for a TLS handshake
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = positive_duration)]
    pub handshake_timeout: Duration,

    /// Time for the headers of an HTTP/1.1 request, and so for an idle HTTP/1.1 connection, of
    /// which API servers keep theirs for 90s
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = positive_duration)]
    pub header_timeout: Duration,

    /// Time for a client to take a whole answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = positive_duration)]
    pub answer_timeout: Duration,

    /// Time after which a connection without requests is closed
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = positive_duration)]
    pub idle_timeout: Duration,

    /// Pause between HTTP/2 pings
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = positive_duration)]
    pub ping_interval: Duration,

    /// Time for the answer to a ping
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = positive_duration)]
    pub ping_timeout: Duration,
}

impl Args {
    /// The limits of the listener, with so many connections as there is memory for.
    #[must_use]
    pub fn limits(&self, connections: usize) -> Limits {
        Limits {
            connections,
            streams: self.max_streams,
            header_bytes: self.max_header_size,
            handshake: self.handshake_timeout,
            headers: self.header_timeout,
            idle: self.idle_timeout,
            answer: self.answer_timeout,
            ping_interval: self.ping_interval,
            ping_timeout: self.ping_timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn what_holds_is_what_the_options_say() {
        let Line { args } = Line::parse_from(["x"]);
        let default = Limits::default();
        assert_eq!(args.limits(default.connections), default);
        let line = "x --max-streams 2 --max-header-size 3KiB --handshake-timeout 4s --header-timeout 5s \
                    --idle-timeout 6s --answer-timeout 7s --ping-interval 8s --ping-timeout 9s";
        let Line { args } = Line::parse_from(line.split_whitespace());
        let seconds = Duration::from_secs;
        let want = Limits {
            connections: 1,
            streams: 2,
            header_bytes: 3 * 1024,
            handshake: seconds(4),
            headers: seconds(5),
            idle: seconds(6),
            answer: seconds(7),
            ping_interval: seconds(8),
            ping_timeout: seconds(9),
        };
        assert_eq!(args.limits(1), want);
    }
}
