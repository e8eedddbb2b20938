//! Paths inside containers, compared as the kernel will: lexically cleaned.

use std::borrow::Cow;

/// `path` without repeated and trailing slashes, `.` and `..`. Borrowed when it is clean already.
pub fn clean(path: &str) -> Cow<'_, str> {
    if is_clean(path) {
        return Cow::Borrowed(path);
    }
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            other => parts.push(other),
        }
    }
    let joined = parts.join("/");
    Cow::Owned(match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    })
}

/// Where a `mountPath` is: the kubelet takes a relative one from the root.
pub fn mount_point(path: &str) -> Cow<'_, str> {
    if path.starts_with('/') {
        return clean(path);
    }
    Cow::Owned(clean(&format!("/{path}")).into_owned())
}

/// The part of `path` below `parent`, without leading slash, if it lies there; empty if they are
/// equal. Both must be clean.
pub fn below<'p>(path: &'p str, parent: &str) -> Option<&'p str> {
    if parent == "/" {
        return path.strip_prefix('/');
    }
    let rest = path.strip_prefix(parent)?;
    if rest.is_empty() {
        Some(rest)
    } else {
        rest.strip_prefix('/')
    }
}

fn is_clean(path: &str) -> bool {
    let bytes = path.as_bytes();
    if path == "/" {
        return true;
    }
    if bytes.is_empty() || bytes[bytes.len() - 1] == b'/' {
        return false;
    }
    // Only a part that begins with a dot can be `.` or `..`; treat every such part as suspect.
    bytes[0] != b'.'
        && !bytes
            .windows(2)
            .any(|pair| pair[0] == b'/' && matches!(pair[1], b'/' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans_lexically() {
        for (path, expected) in [
            ("/", "/"),
            ("//", "/"),
            ("/..", "/"),
            ("/a/../..//b/./c/", "/b/c"),
            ("/var/log", "/var/log"),
            ("/var/log/", "/var/log"),
            ("/var/.hidden/x", "/var/.hidden/x"),
            ("a/./b", "a/b"),
            ("../a", "../a"),
            ("", "."),
            ("./", "."),
        ] {
            assert_eq!(clean(path), expected, "{path}");
        }
    }

    #[test]
    fn relative_mounts_are_at_the_root() {
        assert_eq!(mount_point("tmp/"), "/tmp");
        assert_eq!(mount_point("/tmp"), "/tmp");
    }

    #[test]
    fn below_is_by_whole_parts() {
        assert_eq!(below("/var/log/app", "/var/log"), Some("app"));
        assert_eq!(below("/var/log", "/var/log"), Some(""));
        assert_eq!(below("/var/logs", "/var/log"), None);
        assert_eq!(below("/var", "/"), Some("var"));
    }
}
