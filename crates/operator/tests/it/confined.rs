//! A process that gets only so much memory, as a container does.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where control groups for memory are, of version 2 and 1, with the file that limits one.
const HIERARCHIES: [(&str, &str); 2] = [
    ("/sys/fs/cgroup", "memory.max"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
];

/// A control group with a memory limit, removed when dropped. Where none can be made, it limits
/// nothing, and only [`peak`] tells.
pub(crate) struct Confinement(Option<PathBuf>);

impl Confinement {
    pub(crate) fn new(bytes: u64) -> Self {
        let name = format!("datakit-operator-test-{}", std::process::id());
        let made = HIERARCHIES.iter().find_map(|(root, file)| {
            let group = Path::new(root).join(&name);
            std::fs::create_dir(&group).ok()?;
            // The kernel makes it; anywhere else this is just a directory.
            let limit = group.join(file);
            let limited = limit.exists() && std::fs::write(limit, bytes.to_string()).is_ok();
            if !limited {
                let _ = std::fs::remove_dir(&group);
            }
            limited.then_some(group)
        });
        Self(made)
    }

    /// A command that runs another one, with its arguments, in here.
    pub(crate) fn command(&self, program: &str) -> Command {
        let Some(group) = &self.0 else {
            return Command::new(program);
        };
        let mut command = Command::new("sh");
        let enter = r#"echo $$ >"$0/cgroup.procs" && exec "$@""#;
        command.args(["-c", enter]).arg(group).arg(program);
        command
    }
}

impl Drop for Confinement {
    fn drop(&mut self) {
        if let Some(group) = &self.0 {
            // Processes that were killed leave it a moment later.
            for _ in 0..100 {
                if std::fs::remove_dir(group).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// The most memory that a process has had resident so far, in KiB.
pub(crate) fn peak(process: u32) -> u64 {
    status(process, "VmHWM:")
}

/// The memory that a process has resident, in KiB.
pub(crate) fn resident(process: u32) -> u64 {
    status(process, "VmRSS:")
}

fn status(process: u32, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.expect("a size").parse().expect("a number")
}
