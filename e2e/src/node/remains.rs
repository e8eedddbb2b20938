//! What a node leaves in memory when it loses power: nothing.

use std::path::Path;

use anyhow::Result;

use super::run;

/// How the runtime's shims are called, as far as the kernel keeps names. One outlives the runtime
/// for each pod.
const SHIM: &str = "containerd-shim";

/// Ends all containers, and takes away what a node that starts again wouldn't find: mounts, network
/// namespaces, the runtime's state. `directory` is the folder of this run.
///
/// Processes are those of this run's own namespace, so shims are its own.
pub(super) fn clear(directory: &Path) -> Result<()> {
    // A shim ends its containers when it can; a power failure doesn't ask.
    let (mut shims, mut contained) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let id = path.file_name().unwrap_or_default().to_string_lossy();
        if !id.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let text = |file: &str| std::fs::read_to_string(path.join(file)).unwrap_or_default();
        if text("comm").trim_end() == SHIM {
            shims.push(id.into_owned());
        } else if text("cgroup").contains(super::settings::GROUP) {
            contained.push(id.into_owned());
        }
    }
    for id in shims.iter().chain(&contained) {
        // It may have ended meanwhile, with its shim.
        let _ = run(Path::new("sh"), &["-c", "kill -KILL $0", id]);
    }
    let kept = directory.display().to_string();
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    // Those that are in others come later.
    for line in mounts.lines().rev() {
        let place = line.split(' ').nth(1).unwrap_or_default();
        if place.starts_with("/run/") || place.starts_with(&kept) {
            run(Path::new("umount"), &["--lazy", place])?;
        }
    }
    for entry in std::fs::read_dir("/run")? {
        let path = entry?.path();
        match path.is_dir() {
            true => std::fs::remove_dir_all(path)?,
            false => std::fs::remove_file(path)?,
        }
    }
    Ok(())
}
