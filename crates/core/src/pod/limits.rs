//! How large a pod and its patch may be.
//!
//! Whoever may create a pod may create a large one, and a patch adds to every container. So what a
//! review may hold in memory, what an answer may take, and what an object may grow to are bounded;
//! a feature that would go beyond is left out whole.

use std::fmt;

/// How much of a pod is looked at through a [`Pod`](super::Pod), in bytes of memory. An ordinary
/// pod takes less than its JSON has; tens of thousands of the shortest entries take more, and such
/// a pod is left alone.
pub const VIEW_BYTES: usize = 4 << 20;

/// What an object may come to as JSON with everything that is added, in bytes. etcd takes 1.5 MiB
/// for one request (<https://etcd.io/docs/v3.6/dev-guide/limit/>), which holds the object as
/// protobuf (as a rule shorter than JSON) with the request's own frame. 64 KiB stay free for what
/// is written into the object later: status, and `managedFields` of who writes it.
pub const STORED_BYTES: usize = (3 << 19) - (64 << 10);

/// What a patch may come to. The configuration's `admission_limits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Containers and init containers of a pod that is changed.
    pub containers: usize,
    /// Operations of a patch.
    pub patch_operations: usize,
    /// Bytes of a patch as JSON, before base64.
    pub patch_bytes: usize,
}

/// One of the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// [`AdmissionLimits::containers`]
    Containers,
    /// [`AdmissionLimits::patch_operations`]
    PatchOperations,
    /// [`AdmissionLimits::patch_bytes`]
    PatchBytes,
    /// [`STORED_BYTES`]
    StoredBytes,
    /// [`VIEW_BYTES`]
    ViewBytes,
}

/// A limit that would be exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excess {
    /// Which one.
    pub limit: Limit,
    /// What was found, in the limit's unit. Counting stops early, so it may be more.
    pub found: usize,
    /// What is allowed.
    pub most: usize,
}

/// What a patch comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Operations.
    pub operations: usize,
    /// Bytes of JSON.
    pub bytes: usize,
}

impl AdmissionLimits {
    /// The keys of the configuration, each with the greatest value that is accepted.
    pub const KEYS: [(&str, usize); 3] = [
        ("containers", 10_000),
        ("patch_operations", 100_000),
        ("patch_bytes", STORED_BYTES),
    ];

    /// The limits in the order of [`KEYS`](Self::KEYS).
    pub fn values(&mut self) -> [&mut usize; 3] {
        let Self {
            containers,
            patch_operations,
            patch_bytes,
        } = self;
        [containers, patch_operations, patch_bytes]
    }

    /// Whether a patch of that cost may be made for a pod whose JSON has `pod` bytes.
    ///
    /// # Errors
    /// The limit that is exceeded.
    pub fn allow(&self, pod: usize, cost: Cost) -> Result<(), Excess> {
        let check = |limit, found, most| {
            if found > most {
                return Err(Excess { limit, found, most });
            }
            Ok(())
        };
        check(
            Limit::PatchOperations,
            cost.operations,
            self.patch_operations,
        )?;
        check(Limit::PatchBytes, cost.bytes, self.patch_bytes)?;
        // Nothing added, nothing harmed.
        let grown = if cost.operations == 0 {
            0
        } else {
            pod.saturating_add(cost.bytes)
        };
        check(Limit::StoredBytes, grown, STORED_BYTES)
    }
}

impl Default for AdmissionLimits {
    /// 500 containers; 10,000 operations, which is what an API server takes in a patch from a
    /// client; 1 MiB.
    fn default() -> Self {
        Self {
            containers: 500,
            patch_operations: 10_000,
            patch_bytes: 1 << 20,
        }
    }
}

impl Excess {
    /// What a person can change.
    pub fn remedy(&self) -> String {
        let key = match self.limit {
            Limit::Containers => "containers",
            Limit::PatchOperations => "patch_operations",
            Limit::PatchBytes => "patch_bytes",
            Limit::StoredBytes | Limit::ViewBytes => return "make the pod smaller".to_owned(),
        };
        format!(
            "make the pod smaller or raise admission_limits.{key} in the operator's configuration"
        )
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { found, most, .. } = self;
        match self.limit {
            Limit::Containers => write!(
                f,
                "the pod has {found} containers and pods of up to {most} are changed"
            ),
            Limit::PatchOperations => write!(
                f,
                "the patch would need {found} operations or more and may have {most}"
            ),
            Limit::PatchBytes => write!(
                f,
                "the patch would take {found} bytes or more and may take {most}"
            ),
            Limit::StoredBytes => write!(
                f,
                "the pod would take {found} bytes and up to {most} can be stored with what is added later"
            ),
            Limit::ViewBytes => write!(
                f,
                "the pod's lists have more entries than are looked at ({most} bytes of them)"
            ),
        }
    }
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            operations: self.operations + other.operations,
            bytes: self.bytes + other.bytes,
        }
    }
}
