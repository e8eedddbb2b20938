//! A certificate for one process: its authority lives in memory, and only while it signs.

use std::time::Duration;

use super::authority::{Authority, Names};
use super::{Material, TlsError};
use crate::clock;

/// The key never leaves the process, and a restart makes a new one.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Makes an authority and a certificate from it. The authority's key is gone when this returns.
pub(super) fn mint(names: &Names) -> Result<Material, TlsError> {
    let now = clock::now();
    let authority = Authority::make(now, LIFETIME)?;
    let leaf = authority.issue(names, now, LIFETIME)?;
    Ok(Material {
        key: leaf.key,
        expires: Some(leaf.validity.until),
        authorities: Vec::new(),
        ca_pem: Some(authority.pem().to_owned()),
        warnings: Vec::new(),
    })
}
