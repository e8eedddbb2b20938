//! The files that the tests are about.

use std::path::{Path, PathBuf};

/// The folder that everything is in.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
