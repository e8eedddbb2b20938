//! What the process says about itself: log lines on standard error and metrics for a scraper.
//!
//! Both are made for a path that is measured in microseconds. A log line is formatted into a buffer
//! in memory and written by one thread of its own ([`sink`]); a counter is an atomic that was
//! looked up before ([`metrics`]).

pub mod cluster;
pub mod counts;
pub mod election;
pub mod events;
pub mod histogram;
pub mod leaders;
pub mod line;
pub mod logging;
pub mod metrics;
pub mod missed;
pub mod parts;
pub mod pods;
mod process;
pub mod review_line;
pub mod sink;
pub mod subscriber;

use std::io;

pub use line::Format;
pub use sink::Sink;
use tracing::Level;

/// Names and values, both from closed lists.
type Labels<const N: usize> = [(&'static str, &'static str); N];

/// Starts the logging of this process: every `tracing` event from `level` on goes to `output`,
/// through the returned sink. Panics are logged as well, as one line like everything else.
///
/// A second call in one process (tests do that) leaves the first one's subscriber in place and
/// still returns a sink of its own.
pub fn start_logging(format: Format, level: Level, output: Box<dyn io::Write + Send>) -> Sink {
    let sink = Sink::start(format, level, output);
    let _ = tracing::subscriber::set_global_default(subscriber::LineSubscriber::new(sink.clone()));
    log_panics();
    sink
}

/// Replaces the runtime's own panic message, which has several lines and no level.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("(no message)");
        metrics::PANICS.inc();
        tracing::error!(place, cause = message, "panicked");
    }));
}
