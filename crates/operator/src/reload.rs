//! Files that may change while the process runs: a mounted ConfigMap or Secret, a certificate
//! renewed by a tool.
//!
//! Files are read again every few seconds and their bytes compared. That sees every way in which
//! files are replaced, the swapped symbolic link of a Kubernetes volume included, on every file
//! system.

use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::file;

/// How often to look.
const INTERVAL: Duration = Duration::from_secs(2);

/// No file that is read again may have more bytes.
const MAX: u64 = if file::MAX_CONFIG > file::MAX_CERTIFICATE {
    file::MAX_CONFIG
} else {
    file::MAX_CERTIFICATE
};

/// The bytes of some files when last looked at; nothing for one that can't be read, is too large or
/// no regular file.
pub type Contents = Vec<Option<Vec<u8>>>;

/// Calls `take_over` whenever the bytes of one of the files have changed since they were `seen`,
/// and again while it says that they could not be taken over: half of a change may have been seen.
/// SIGHUP makes it look at once.
pub async fn on_change(
    paths: Vec<PathBuf>,
    mut seen: Contents,
    mut take_over: impl FnMut() -> bool + Send,
) {
    let mut taken = true;
    // Without the signal there is still the interval.
    let mut hangup = signal(SignalKind::hangup()).ok();
    loop {
        let asked = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep(INTERVAL) => {}
            _ = asked => {}
        }
        let look_at = paths.clone();
        // Fails only when the process is ending.
        let Ok(now) = tokio::task::spawn_blocking(move || contents(&look_at)).await else {
            return;
        };
        if now != seen || !taken {
            seen = now;
            taken = take_over();
        }
    }
}

/// The bytes of the files at this moment.
#[must_use]
pub fn contents(paths: &[PathBuf]) -> Contents {
    let read = |path: &PathBuf| file::read_regular(path, MAX).ok();
    paths.iter().map(read).collect()
}
