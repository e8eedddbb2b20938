//! What a client may do to a listener before it is cut off.

use std::time::Duration;

/// What one connection takes in bytes, whatever it does: its buffers, TLS, the certificates that
/// its client presented, and tasks. Measured with what a client can make of it.
pub const CONNECTION: usize = 32 * 1024;

/// Limits of one listener. Every one of them is a flag of `serve`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once. When all are taken, the one that has been idle longest makes room.
    pub connections: usize,
    /// HTTP/2 streams (requests in flight) per connection.
    pub streams: u32,
    /// Size of a request's headers in bytes.
    pub header_bytes: u32,
    /// Time for a TLS handshake.
    pub handshake: Duration,
    /// Time for the headers of an HTTP/1.1 request, counted from when the connection became free
    /// for it; so it also ends idle HTTP/1.1 connections. API servers call webhooks over HTTP/1.1,
    /// keep idle connections for 90 s, and can't repeat a review that was on its way when we
    /// closed: ours must be the longer patience.
    pub headers: Duration,
    /// Time without any request in flight after which a connection is closed.
    pub idle: Duration,
    /// Time for a client to take a whole answer.
    pub answer: Duration,
    /// Pause between HTTP/2 pings, which find peers that vanished without closing.
    pub ping_interval: Duration,
    /// Time for the answer to such a ping.
    pub ping_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 768,
            streams: 128,
            header_bytes: 16 * 1024,
            handshake: Duration::from_secs(5),
            headers: Duration::from_secs(120),
            idle: Duration::from_secs(120),
            answer: Duration::from_secs(10),
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_connections_are_kept_longer_than_api_servers_keep_them() {
        // The idle time-out of the HTTP client in Go, which API servers are built with.
        let theirs = Duration::from_secs(90);
        let limits = Limits::default();
        assert!(limits.headers > theirs && limits.idle > theirs);
    }
}
