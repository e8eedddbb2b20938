//! Where log lines go: a buffer in memory that one thread empties into the real output.
//!
//! Whoever logs copies a finished line under a lock that is never held during a write, and goes on.
//! The thread writes what has gathered within 50 ms, at once for a warning or an error. If the
//! output blocks (a full pipe whose reader stopped), lines are dropped and counted rather than let
//! a review wait or memory grow.

use std::cell::RefCell;
use std::fmt;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::Level;

use super::line::{Format, Line};
use super::metrics;
use crate::clock;

/// How long a line of level info or below may wait in memory.
const LINGER: Duration = Duration::from_millis(50);
/// The buffer is written early once it has this many bytes.
const EAGER: usize = 64 * 1024;
/// Beyond this many unwritten bytes, lines are dropped.
const CAPACITY: usize = 1024 * 1024;

/// A handle to the log output of a process; cheap to clone.
#[derive(Clone)]
pub struct Sink {
    shared: Arc<Shared>,
}

struct Shared {
    format: Format,
    level: Level,
    state: Mutex<State>,
    /// Signals the writing thread that there is something to do.
    filled: Condvar,
    /// Signals flushing threads that everything has been written.
    emptied: Condvar,
}

#[derive(Default)]
struct State {
    pending: Vec<u8>,
    urgent: bool,
    writing: bool,
    dropped: u64,
}

impl fmt::Debug for Sink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sink(…)")
    }
}

impl Sink {
    /// Starts the writing thread. Lines less severe than `level` are not wanted.
    ///
    /// If no thread can be started, every line is dropped: a process in that state has other
    /// worries.
    #[must_use]
    pub fn start(format: Format, level: Level, output: Box<dyn Write + Send>) -> Self {
        let shared = Arc::new(Shared {
            format,
            level,
            state: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
        });
        let writer = Arc::clone(&shared);
        let _ = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.write_forever(output));
        Self { shared }
    }

    /// Whether lines of this level are wanted.
    #[must_use]
    pub fn enabled(&self, level: Level) -> bool {
        level <= self.shared.level
    }

    /// The least severe level that is wanted.
    #[must_use]
    pub fn level(&self) -> Level {
        self.shared.level
    }

    /// Formats one line with `fill` and hands it to the writing thread.
    pub fn log(&self, level: Level, message: &str, fill: impl FnOnce(&mut Line<'_>)) {
        thread_local! {
            /// Lines are formatted here, outside the lock, and memory is reused.
            static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        // Read before the scratch is taken: reading the clock may log.
        let now = clock::now();
        SCRATCH.with(|scratch| {
            // Only logging from within `fill` could find it borrowed.
            let Ok(mut scratch) = scratch.try_borrow_mut() else {
                return;
            };
            scratch.clear();
            let mut line = Line::start(&mut scratch, self.shared.format, now, level, message);
            fill(&mut line);
            line.end();
            self.push(&scratch, level <= Level::WARN);
        });
    }

    /// Waits until everything logged so far is written, but no longer than `patience`.
    pub fn flush(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.shared.lock();
        while !state.pending.is_empty() || state.writing {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return;
            };
            state.urgent = true;
            self.shared.filled.notify_one();
            let waited = self.shared.emptied.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn push(&self, line: &[u8], urgent: bool) {
        let mut state = self.shared.lock();
        if state.pending.len() + line.len() > CAPACITY {
            state.dropped += 1;
            metrics::LOG_LINES_DROPPED.inc();
            return;
        }
        let was_empty = state.pending.is_empty();
        let was_due = state.is_due();
        state.pending.extend_from_slice(line);
        state.urgent |= urgent;
        let wake = was_empty || (state.is_due() && !was_due);
        drop(state);
        if wake {
            self.shared.filled.notify_one();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writing thread. It holds its own reference and lives as long as the process.
    fn write_forever(&self, mut output: Box<dyn Write + Send>) {
        let mut batch = Vec::new();
        let mut state = self.lock();
        loop {
            state = self
                .filled
                .wait_while(state, |state| state.pending.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            state = self
                .filled
                .wait_timeout_while(state, LINGER, |state| !state.is_due())
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            std::mem::swap(&mut state.pending, &mut batch);
            state.urgent = false;
            state.writing = true;
            let dropped = std::mem::take(&mut state.dropped);
            drop(state);

            if dropped > 0 {
                let now = clock::now();
                let message = "log lines dropped: the output did not keep up";
                let mut line = Line::start(&mut batch, self.format, now, Level::WARN, message);
                line.number("lines", dropped);
                line.end();
            }
            // An output that is gone (a closed pipe) is no reason to stop serving, and there is
            // nowhere to say so.
            let _ = output.write_all(&batch).and_then(|()| output.flush());
            batch.clear();
            batch.shrink_to(2 * EAGER);

            state = self.lock();
            state.writing = false;
            if state.pending.is_empty() {
                self.emptied.notify_all();
            }
        }
    }
}

impl State {
    fn is_due(&self) -> bool {
        self.urgent || self.pending.len() >= EAGER
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Hands every write to the test, which may hold the writing thread up by not receiving.
    struct Channel(mpsc::SyncSender<Vec<u8>>);

    impl Write for Channel {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(std::io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn sink(depth: usize) -> (Sink, mpsc::Receiver<Vec<u8>>) {
        let (sender, receiver) = mpsc::sync_channel(depth);
        (
            Sink::start(Format::Text, Level::INFO, Box::new(Channel(sender))),
            receiver,
        )
    }

    #[test]
    fn lines_arrive_whole_and_in_order() {
        let (sink, written) = sink(1000);
        for n in 0..500 {
            sink.log(Level::INFO, "counted", |line| line.number("n", n));
        }
        sink.flush(Duration::from_secs(60));
        let all: Vec<u8> = written.try_iter().flatten().collect();
        let text = String::from_utf8(all).expect("UTF-8");
        let numbers: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split("n=").nth(1))
            .collect();
        assert_eq!(numbers, (0..500).map(|n| n.to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn a_blocked_output_costs_lines_not_memory() {
        let (sink, written) = sink(0);
        let long = "x".repeat(400);
        for _ in 0..4 * CAPACITY / 400 {
            sink.log(Level::INFO, "spam", |line| line.str("text", &long));
        }
        assert!(sink.shared.lock().pending.len() <= CAPACITY);
        let text = std::thread::scope(|scope| {
            let flush = scope.spawn(|| sink.flush(Duration::from_secs(60)));
            let mut text = String::new();
            while !flush.is_finished() {
                if let Ok(bytes) = written.recv_timeout(Duration::from_millis(1)) {
                    text.push_str(&String::from_utf8(bytes).expect("UTF-8"));
                }
            }
            text
        });
        assert!(
            text.contains("level=warn msg=\"log lines dropped"),
            "{}",
            &text[text.len() - 300..]
        );
    }

    #[test]
    fn levels() {
        let (sink, _written) = sink(1);
        assert!(sink.enabled(Level::WARN) && sink.enabled(Level::INFO));
        assert!(!sink.enabled(Level::DEBUG));
    }
}
