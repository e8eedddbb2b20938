//! Turns `tracing` events into log lines.
//!
//! Spans are ignored: a review is one event with all its facts, so there is nothing to nest.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::line::Line;
use super::sink::Sink;
use crate::error::Chain;

/// The subscriber of the process.
pub struct LineSubscriber {
    sink: Sink,
}

impl LineSubscriber {
    /// Sends every event that `sink` wants to it.
    #[must_use]
    pub fn new(sink: Sink) -> Self {
        Self { sink }
    }
}

impl Subscriber for LineSubscriber {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // What libraries warn of is told by whoever called them, once and with what it means here.
        // It is shown only to those who look for more.
        let ours = metadata.target().starts_with("datakit_operator");
        let theirs = *metadata.level() <= Level::WARN && self.sink.enabled(Level::DEBUG);
        metadata.is_event() && self.sink.enabled(*metadata.level()) && (ours || theirs)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::from_level(self.sink.level()))
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        self.sink
            .log(*event.metadata().level(), &message.0, |line| {
                event.record(&mut Fields {
                    line,
                    scratch: String::new(),
                });
            });
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

/// Picks the message out of an event's fields.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}

/// Writes all fields but the message to a line.
struct Fields<'a, 'b> {
    line: &'a mut Line<'b>,
    scratch: String,
}

impl Visit for Fields<'_, '_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.line.number(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.line.bool(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() != "message" {
            self.line.str(field.name(), value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.scratch.clear();
        let _ = write!(self.scratch, "{}", Chain(value));
        self.line.str(field.name(), &self.scratch);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() != "message" {
            self.scratch.clear();
            let _ = write!(self.scratch, "{value:?}");
            self.line.str(field.name(), &self.scratch);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use expect_test::expect;

    use super::*;
    use crate::telemetry::Format;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written at this level, without the times.
    fn written(level: Level, log: impl FnOnce()) -> String {
        let memory = Memory::default();
        let sink = Sink::start(Format::Text, level, Box::new(memory.clone()));
        tracing::subscriber::with_default(LineSubscriber::new(sink.clone()), log);
        sink.flush(Duration::from_secs(60));
        let written = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        written
            .lines()
            .map(|line| line.split_once(' ').unwrap().1.to_owned() + "\n")
            .collect()
    }

    #[test]
    fn events_become_lines() {
        let source = io::Error::other("disk\nfull");
        let error: &(dyn std::error::Error + 'static) = &source;
        let written = written(Level::INFO, || {
            tracing::info!(
                port = 9543_u64,
                open = true,
                name = "a b",
                "listening on {}",
                "x"
            );
            tracing::warn!(error, peer = ?Some(1), at = %"there", "failed");
            tracing::debug!("not wanted");
            tracing::info_span!("ignored").in_scope(|| tracing::info!("inside"));
        });
        expect![[r#"
            level=info msg="listening on x" port=9543 open=true name="a b"
            level=warn msg=failed error="disk\nfull" peer=Some(1) at=there
            level=info msg=inside
        "#]]
        .assert_eq(&written);
    }

    #[test]
    fn libraries_are_heard_only_by_those_who_look_for_more() {
        let log = || {
            tracing::info!(target: "h2::server", "never");
            tracing::error!(target: "h2::server", "heeded");
            tracing::debug!("ours");
        };
        assert_eq!(written(Level::INFO, log), "");
        expect![[r#"
            level=error msg=heeded
            level=debug msg=ours
        "#]]
        .assert_eq(&written(Level::DEBUG, log));
    }
}
