//! What is known of the cluster's namespaces: the rules that a pod in them must keep.
//!
//! The facts are gathered beforehand and only looked up during a review. A namespace that isn't
//! there is one that nothing is known of, and a pod in it is injected as if there were no such
//! rules.

mod limit_range;
mod quota;

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

pub use limit_range::{Bounds, LimitRange};
pub use quota::{Left, Quota, Scope};

/// Label of a namespace with the level that the API server enforces
/// (<https://kubernetes.io/docs/concepts/security/pod-security-admission/#pod-security-admission-labels-for-namespaces>).
pub const ENFORCE_LABEL: &str = "pod-security.kubernetes.io/enforce";

/// Namespaces by name. Built once, then only read.
#[derive(Debug, Clone, Default)]
pub struct Namespaces {
    by_name: HashMap<String, Namespace>,
    all: bool,
    /// What holds for all others.
    others: Option<Namespace>,
}

/// The rules of one namespace. The default has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespace {
    /// The Pod Security level that the API server enforces.
    pub pod_security: PodSecurity,
    /// The namespace's LimitRanges.
    pub limit_ranges: Vec<LimitRange>,
    /// The namespace's ResourceQuotas.
    pub quotas: Vec<Quota>,
}

/// A level of the [Pod Security
/// Standards](https://kubernetes.io/docs/concepts/security/pod-security-standards/), from the most
/// to the least permissive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PodSecurity {
    /// Everything is allowed.
    #[default]
    Privileged,
    /// Nothing that is known to break out of a container.
    Baseline,
    /// What is current good practice.
    Restricted,
}

/// A text that names no Pod Security level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "failed to read `{0}` as a Pod Security level: expected privileged, baseline or restricted"
)]
pub struct PodSecurityError(String);

impl Namespaces {
    /// Where every namespace has the same rules.
    pub fn all_alike(namespace: Namespace) -> Self {
        Self {
            by_name: HashMap::new(),
            others: Some(namespace),
            all: false,
        }
    }

    /// Adds a namespace, or replaces what was known of it.
    pub fn insert(&mut self, name: impl Into<String>, namespace: Namespace) {
        self.by_name.insert(name.into(), namespace);
    }

    /// Says that these are all namespaces of the cluster, so that another one can only be new.
    #[must_use]
    pub fn all(self) -> Self {
        Self { all: true, ..self }
    }

    /// Whether another namespace can only be new.
    pub fn are_all(&self) -> bool {
        self.all
    }

    /// The same without ResourceQuotas, for pods that are counted in them already.
    #[must_use]
    pub fn without_quotas(&self) -> Self {
        let mut namespaces = self.clone();
        let known = namespaces.by_name.values_mut();
        for namespace in known.chain(&mut namespaces.others) {
            namespace.quotas = Vec::new();
        }
        namespaces
    }

    /// What is known of a namespace.
    pub fn get(&self, name: &str) -> Option<&Namespace> {
        self.by_name.get(name).or(self.others.as_ref())
    }

    /// How many namespaces are known by name.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

impl<N: Into<String>> FromIterator<(N, Namespace)> for Namespaces {
    fn from_iter<I: IntoIterator<Item = (N, Namespace)>>(namespaces: I) -> Self {
        let by_name = namespaces
            .into_iter()
            .map(|(name, namespace)| (name.into(), namespace))
            .collect();
        Self {
            by_name,
            others: None,
            all: false,
        }
    }
}

impl PodSecurity {
    /// Every level, from the most to the least permissive.
    pub const ALL: [Self; 3] = [Self::Privileged, Self::Baseline, Self::Restricted];

    /// The level that a namespace with these labels enforces.
    ///
    /// Without the label it is privileged, unless the API server was configured to another default,
    /// which nobody can see from outside. A value that is no level counts as restricted, as in the
    /// API server.
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        labels
            .into_iter()
            .find(|(name, _)| *name == ENFORCE_LABEL)
            .map_or(Self::Privileged, |(_, level)| {
                level.parse().unwrap_or(Self::Restricted)
            })
    }

    /// The name in labels and flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

impl FromStr for PodSecurity {
    type Err = PodSecurityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or_else(|| PodSecurityError(text.to_owned()))
    }
}

impl fmt::Display for PodSecurity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_enforced_level_is_that_of_the_label() {
        let check = |labels: &[(&str, &str)], expected: PodSecurity| {
            let level = PodSecurity::from_labels(labels.iter().copied());
            assert_eq!(level, expected, "{labels:?}");
        };
        check(&[], PodSecurity::Privileged);
        check(
            &[("a", "b"), (ENFORCE_LABEL, "baseline")],
            PodSecurity::Baseline,
        );
        check(&[(ENFORCE_LABEL, "restricted")], PodSecurity::Restricted);
        check(&[(ENFORCE_LABEL, "privileged")], PodSecurity::Privileged);
        for mistaken in ["", "Baseline", "base line", "none"] {
            check(&[(ENFORCE_LABEL, mistaken)], PodSecurity::Restricted);
        }
        check(
            &[
                ("pod-security.kubernetes.io/warn", "restricted"),
                ("pod-security.kubernetes.io/enforce-version", "v1.30"),
            ],
            PodSecurity::Privileged,
        );
    }

    #[test]
    fn namespaces_are_found_by_name() {
        let baseline = Namespace {
            pod_security: PodSecurity::Baseline,
            ..Namespace::default()
        };
        let mut namespaces: Namespaces = [("a", baseline.clone())].into_iter().collect();
        namespaces.insert("b", Namespace::default());
        assert_eq!(namespaces.get("a"), Some(&baseline));
        assert_eq!(namespaces.get("b"), Some(&Namespace::default()));
        assert_eq!(namespaces.get("c"), None);
        assert_eq!((namespaces.len(), namespaces.is_empty()), (2, false));
        assert_eq!(
            Namespaces::all_alike(baseline.clone()).get("any"),
            Some(&baseline)
        );
    }
}
