//! What every program's metrics page says about its process, under the names that dashboards know.
//!
//! Read from `/proc` when the page is asked for; what can't be read there is left out, so on other
//! systems than Linux the page only lacks it.

use std::fmt;
use std::fs;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::clock;

/// Ticks a second of the times in `/proc/self/stat`: what Linux shows to programs, whatever it
/// counts in itself.
const TICKS: f64 = 100.0;

/// The process's own metrics.
#[derive(Debug)]
pub(super) struct Process {
    /// After 1970 began.
    start: Duration,
}

impl Process {
    /// A registry that has nothing else. The process counts as started now.
    pub(super) fn registry() -> Registry {
        let mut registry = Registry::default();
        let start = clock::since_1970();
        registry.register_collector(Box::new(Self { start }));
        registry
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name: &str, help: &str, unit: Option<Unit>, value: Option<u64>| {
            let Some(value) = value.and_then(|value| i64::try_from(value).ok()) else {
                return Ok(());
            };
            let value = ConstGauge::new(value);
            let kind = value.metric_type();
            let unit = unit.as_ref();
            value.encode(encoder.encode_descriptor(name, help, unit, kind)?)
        };
        let start = Some(self.start.as_secs());
        let status = read("/proc/self/status").unwrap_or_default();
        let open = fs::read_dir("/proc/self/fd").ok();
        gauge(
            "process_start_time",
            "When the process started, since 1970",
            Some(Unit::Seconds),
            start,
        )?;
        gauge(
            "process_resident_memory",
            "Memory of the process that is in RAM",
            Some(Unit::Bytes),
            field(&status, "VmRSS:").map(|kibibytes| kibibytes * 1024),
        )?;
        gauge(
            "process_threads",
            "Threads of the process",
            None,
            field(&status, "Threads:"),
        )?;
        gauge(
            "process_open_fds",
            "File descriptors that are open",
            None,
            // The one that reads the directory is among them.
            open.map(|entries| (entries.count() as u64).saturating_sub(1)),
        )?;
        gauge(
            "process_max_fds",
            "File descriptors that may be open",
            None,
            read("/proc/self/limits").and_then(|limits| field(&limits, "Max open files")),
        )?;
        if let Some(seconds) = read("/proc/self/stat").and_then(|stat| processor_time(&stat)) {
            let counter = ConstCounter::new(seconds);
            let kind = counter.metric_type();
            let help = "Processor time that the process has used";
            let seconds = Some(&Unit::Seconds);
            counter.encode(encoder.encode_descriptor("process_cpu", help, seconds, kind)?)?;
        }
        Ok(())
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The number behind a name at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Seconds, of `/proc/self/stat`.
fn processor_time(stat: &str) -> Option<f64> {
    // The program's name stands in parentheses, and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut times = rest.split_whitespace().skip(11);
    let [user, system] = [times.next()?, times.next()?];
    let (user, system): (f64, f64) = (user.parse().ok()?, system.parse().ok()?);
    Some((user + system) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_linux_writes() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 44 1 2";
        assert_eq!(processor_time(stat), Some(3.0));
        assert_eq!(processor_time("nothing"), None);
        let status = "Name:\ta\nVmRSS:\t   5120 kB\nThreads:\t9\n";
        assert_eq!(field(status, "VmRSS:"), Some(5120));
        assert_eq!(field(status, "Threads:"), Some(9));
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files  1024  4096  files\n";
        assert_eq!(field(limits, "Max open files"), Some(1024));
        assert_eq!(field("Max open files unlimited", "Max open files"), None);
    }

    #[test]
    fn has_the_names_that_dashboards_know() {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &Process::registry()).unwrap();
        let names: Vec<_> = page
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split(' ').next())
            .collect();
        let mut want = vec!["process_start_time_seconds"];
        if cfg!(target_os = "linux") {
            want.extend([
                "process_resident_memory_bytes",
                "process_threads",
                "process_open_fds",
                "process_max_fds",
                "process_cpu_seconds_total",
            ]);
        }
        assert_eq!(names, want);
    }
}
