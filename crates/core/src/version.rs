//! Kubernetes versions, as far as behaviour depends on them: major and minor.

use std::fmt;
use std::str::FromStr;

/// A Kubernetes version without its patch level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KubernetesVersion {
    /// `1` in `v1.34.2`.
    pub major: u32,
    /// `34` in `v1.34.2`.
    pub minor: u32,
}

/// A text that names no Kubernetes version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to read `{0}` as a Kubernetes version: expected something like 1.34 or v1.34.2")]
pub struct VersionError(String);

impl KubernetesVersion {
    /// From this API server version on, every node runs native sidecars: they are on by default
    /// since 1.29 and a kubelet may be at most three minor versions older than its API server
    /// (<https://kubernetes.io/releases/version-skew-policy/>).
    pub const NATIVE_SIDECARS_EVERYWHERE: Self = Self {
        major: 1,
        minor: 32,
    };

    /// From this version on every API server evaluates the match conditions of webhooks; before, they
    /// could be switched off
    /// (<https://kubernetes.io/docs/reference/command-line-tools-reference/feature-gates-removed/>).
    pub const MATCH_CONDITIONS: Self = Self {
        major: 1,
        minor: 30,
    };

    /// Reads the two fields of the API server's `/version` answer; providers append a `+` to
    /// `minor`.
    pub fn from_fields(major: &str, minor: &str) -> Result<Self, VersionError> {
        format!("{major}.{minor}").parse()
    }
}

impl FromStr for KubernetesVersion {
    type Err = VersionError;

    /// Reads `1.34`, `v1.34`, `1.34+` or `v1.32.1+k3s1`; what follows the minor version is not
    /// looked at closely.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let text = text.trim();
            let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
            let (major, rest) = text.split_once('.')?;
            let end = rest
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len());
            let (minor, tail) = rest.split_at(end);
            let tail_fits = tail.is_empty() || tail.starts_with(['.', '-', '+']);
            if !tail_fits || !major.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            Some(Self {
                major: major.parse().ok()?,
                minor: minor.parse().ok()?,
            })
        };
        read().ok_or_else(|| VersionError(text.to_owned()))
    }
}

impl fmt::Display for KubernetesVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_and_servers_write() {
        for (text, expected) in [
            ("1.34", "1.34"),
            ("v1.32.1+k3s1", "1.32"),
            ("V1.9", "1.9"),
            (" 1.29.3-gke.1282000 ", "1.29"),
            ("1.27+", "1.27"),
            ("1.30-eks", "1.30"),
        ] {
            let version: KubernetesVersion = text.parse().unwrap();
            assert_eq!(version.to_string(), expected);
        }
        assert_eq!(
            KubernetesVersion::from_fields("1", "27+"),
            Ok(KubernetesVersion {
                major: 1,
                minor: 27
            })
        );
    }

    #[test]
    fn refuses_anything_else() {
        for text in [
            "",
            "1",
            "v",
            "1.",
            ".1",
            "1.x",
            "1.3x",
            "one.two",
            "+1.2",
            "1.-2",
            "1.99999999999",
        ] {
            assert!(text.parse::<KubernetesVersion>().is_err(), "{text}");
        }
    }

    #[test]
    fn compares_by_number() {
        let version = |text: &str| text.parse::<KubernetesVersion>().unwrap();
        assert!(version("1.9") < version("1.10"));
        assert!(version("2.0") > version("1.99"));
        assert!(version("1.32.0") >= KubernetesVersion::NATIVE_SIDECARS_EVERYWHERE);
        assert!(version("1.31.9") < KubernetesVersion::NATIVE_SIDECARS_EVERYWHERE);
    }
}
