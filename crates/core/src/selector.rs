//! Which pods a rule is about: by their labels, or by the name of their namespace.

mod glob;
mod labels;
mod namespace;
mod pattern;

pub use glob::GlobError;
pub use labels::{LabelSelector, SelectorError};
pub use namespace::{NamespacePattern, NamespacePatternError};
pub use pattern::{NamePattern, NamePatternError};

/// A name of at most 63 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or
/// digit, optionally prefixed by a DNS subdomain and `/`: the form of label and annotation keys
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>).
pub(crate) fn is_qualified_name(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    prefix.is_none_or(is_dns_subdomain) && !name.is_empty() && is_label_value(name)
}

/// A label's value: empty, or at most 63 letters, digits, `-`, `_` and `.` between letters or
/// digits.
pub(crate) fn is_label_value(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= MAX_LABEL
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A DNS-1123 subdomain: lower-case letters, digits and dashes in parts joined by dots, at most 253
/// in all.
pub(crate) fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|part| {
            !part.is_empty()
                && !part.starts_with('-')
                && !part.ends_with('-')
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
}

/// Most characters of a label's name and of its value.
const MAX_LABEL: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qualified_names() {
        for good in [
            "app",
            "app.kubernetes.io/name",
            "A_b-1.c",
            &"a".repeat(63),
            "a/b",
        ] {
            assert!(is_qualified_name(good), "{good}");
        }
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a/b/c",
            "A.io/x",
            "-a",
            "a-",
            "hello-$$$",
            "a b",
            &"a".repeat(64),
            "a..b/c",
            "é",
        ] {
            assert!(!is_qualified_name(bad), "{bad}");
        }
        assert!(!is_qualified_name(&format!("{}/a", "a".repeat(254))));
    }
}
