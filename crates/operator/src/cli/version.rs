//! `datakit-operator version`.

use super::{EXIT_OK, Streams};

/// Options of `version`: none.
#[derive(Debug, Default, clap::Args)]
pub struct Args {}

/// The version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit this was built from, as the build script found it; `unknown` outside a repository.
pub const COMMIT: &str = env!("DATAKIT_OPERATOR_COMMIT");

/// Prints one line: name, version, commit, platform.
pub fn run(_args: &Args, streams: &mut Streams<'_>) -> anyhow::Result<u8> {
    writeln!(streams.stdout, "{}", line())?;
    Ok(EXIT_OK)
}

/// The line that `version` prints and `serve` logs first.
#[must_use]
pub fn line() -> String {
    format!(
        "datakit-operator {VERSION} (commit {COMMIT}, {}-{})",
        std::env::consts::ARCH,
        std::env::consts::OS
    )
}
