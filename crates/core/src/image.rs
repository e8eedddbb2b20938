//! Container image references: checked once, then only ever given another tag.

use std::fmt;

/// A container image reference that every container runtime can parse.
///
/// The API server refuses an image with surrounding white space; a node answers `InvalidImageName`
/// to one that breaks the grammar of <https://github.com/distribution/reference>. Both are checked
/// here, so that neither can be injected.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Image(String);

/// A checked image tag: a letter, digit or `_`, then up to 127 of those, `.` and `-`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag<'a>(&'a str);

/// Why a text is no image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Nothing but white space, or nothing at all.
    #[error("the image is empty")]
    Empty,
    /// A blank, tab or line break somewhere.
    #[error("an image must not contain white space")]
    WhiteSpace,
    /// The part before the first `/` is not a registry's host name or address with an optional
    /// port.
    #[error("`{0}` is not a registry host")]
    Registry(String),
    /// A path component other than lower-case letters and digits, joined by `.`, `_`, `__` or
    /// dashes.
    #[error(
        "`{0}` is not a repository name: lower-case letters, digits and single separators only"
    )]
    Repository(String),
    /// Not a tag.
    #[error("`{0}` is not a tag")]
    Tag(String),
    /// Not `<algorithm>:<hex>`.
    #[error("`{0}` is not a digest")]
    Digest(String),
    /// Longer than runtimes accept.
    #[error("an image name has at most {MAX_NAME} characters")]
    TooLong,
}

/// Registry host and repository together, without tag and digest.
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

impl Image {
    /// Checks a reference `[registry/]repository[:tag][@digest]`.
    pub fn parse(text: &str) -> Result<Self, ImageError> {
        if text.trim().is_empty() {
            return Err(ImageError::Empty);
        }
        if text.contains(char::is_whitespace) {
            return Err(ImageError::WhiteSpace);
        }
        let (rest, digest) = split_digest(text);
        if let Some(digest) = digest
            && !is_digest(digest)
        {
            return Err(ImageError::Digest(digest.to_owned()));
        }
        let (registry, rest) = split_registry(rest);
        if let Some(registry) = registry
            && !is_registry(registry)
        {
            return Err(ImageError::Registry(registry.to_owned()));
        }
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        if let Some(tag) = tag
            && Tag::parse(tag).is_none()
        {
            return Err(ImageError::Tag(tag.to_owned()));
        }
        if !repository.split('/').all(is_path_component) || is_image_id(text) {
            return Err(ImageError::Repository(repository.to_owned()));
        }
        if registry.map_or(0, |host| host.len() + 1) + repository.len() > MAX_NAME {
            return Err(ImageError::TooLong);
        }
        Ok(Self(text.to_owned()))
    }

    /// The reference as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same image with another tag; an existing tag or digest is dropped, a registry's port is
    /// kept.
    pub fn with_tag(&self, tag: &Tag<'_>) -> String {
        let (rest, _) = split_digest(&self.0);
        let (registry, rest) = split_registry(rest);
        let repository = rest
            .split_once(':')
            .map_or(rest, |(repository, _)| repository);
        match registry {
            Some(registry) => format!("{registry}/{repository}:{tag}"),
            None => format!("{repository}:{tag}"),
        }
    }

    /// The tag, if the reference has one.
    pub fn tag(&self) -> Option<&str> {
        let (rest, _) = split_digest(&self.0);
        let (_, tag) = split_registry(rest).1.split_once(':')?;
        Some(tag)
    }

    /// Major and minor version that the tag names: 1 and 93 in `v1.93.0-rc1`.
    pub fn version(&self) -> Option<(u32, u32)> {
        let mut numbers = self.tag()?.trim_start_matches('v').split(['.', '-']);
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }

    /// Whether the reference is bound to one content by a digest.
    pub fn has_digest(&self) -> bool {
        split_digest(&self.0).1.is_some()
    }

    /// Whether the reference says which version it means; without both, it means `latest`.
    pub fn has_tag_or_digest(&self) -> bool {
        self.has_digest() || self.tag().is_some()
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'a> Tag<'a> {
    /// `None` if the text could not be part of an image reference.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (first, rest) = text.as_bytes().split_first()?;
        let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
        let fits = text.len() <= MAX_TAG
            && word(first)
            && rest.iter().all(|b| word(b) || matches!(b, b'.' | b'-'));
        fits.then_some(Self(text))
    }

    /// The tag as it was written.
    pub fn as_str(&self) -> &'a str {
        self.0
    }
}

impl fmt::Display for Tag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

fn split_digest(text: &str) -> (&str, Option<&str>) {
    match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    }
}

/// The text before the first `/` is a registry only if it can't be a repository's first part;
/// `library/nginx` has none.
fn split_registry(text: &str) -> (Option<&str>, &str) {
    match text.split_once('/') {
        Some((host, rest))
            if host.contains(['.', ':'])
                || host == "localhost"
                || host.contains(|c: char| c.is_ascii_uppercase()) =>
        {
            (Some(host), rest)
        }
        _ => (None, text),
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        match rest.split_once(']') {
            Some((address, "")) => (address, None),
            Some((address, port)) => match port.strip_prefix(':') {
                Some(port) => (address, Some(port)),
                None => return false,
            },
            None => return false,
        }
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port_fits =
        port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    let host_fits = if text.starts_with('[') {
        host.contains(':') && host.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')
    } else {
        host.split('.').all(is_host_label)
    };
    port_fits && host_fits
}

fn is_host_label(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Lower-case words joined by one of `.`, `_`, `__` or any number of dashes.
fn is_path_component(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let edges = bytes.first().copied().is_some_and(word) && bytes.last().copied().is_some_and(word);
    edges
        && text
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|joint| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|b| b == b'-'))
}

/// Sixty-four hex digits name a local image by its ID, which runtimes refuse as a reference.
fn is_image_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else {
        return false;
    };
    let algorithm_fits = algorithm.split(['-', '_', '+', '.']).all(|part| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.bytes().all(|b| b.is_ascii_alphanumeric())
    });
    // The registered algorithms have one length each; a short digest would only fail later, on the
    // node.
    let length_fits = match algorithm {
        "sha256" => hex.len() == 64,
        "sha384" => hex.len() == 96,
        "sha512" => hex.len() == 128,
        _ => hex.len() >= 32,
    };
    algorithm_fits && length_fits && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn accepts_references() {
        for text in [
            "nginx",
            "nginx:1",
            "library/nginx",
            "pubrepo.guance.com/datakit-operator/dd-lib-java-init:v1.20.2-guance",
            "localhost/a",
            "reg:5000/a/b",
            "[2001:db8::1]:5000/a:b",
            "[::1]/a",
            "Registry/a",
            "a/b_c/d__e/f---g/h.i:T_1.-",
        ] {
            assert_eq!(Image::parse(text).as_ref().map(Image::as_str), Ok(text));
        }
        assert!(Image::parse(&format!("a.b/c@{SHA}")).is_ok());
        assert!(Image::parse(&format!("a.b/c:v1@{SHA}")).is_ok());
    }

    #[test]
    fn refuses_what_would_break_a_pod() {
        use ImageError as E;
        let check = |text: &str, expected: ImageError| {
            assert_eq!(Image::parse(text), Err(expected), "{text:?}");
        };
        check("", E::Empty);
        check(" \n", E::Empty);
        check(" nginx", E::WhiteSpace);
        check("nginx\n", E::WhiteSpace);
        check("ngi nx", E::WhiteSpace);
        check("nginx:", E::Tag(String::new()));
        check("nginx:a:b", E::Tag("a:b".into()));
        check("nginx:bad!", E::Tag("bad!".into()));
        check("Nginx", E::Repository("Nginx".into()));
        check("a..b", E::Repository("a..b".into()));
        check("a___b", E::Repository("a___b".into()));
        check("a//b", E::Repository("a//b".into()));
        check("/a", E::Repository("/a".into()));
        check("a/", E::Repository("a/".into()));
        check("a.b/", E::Repository(String::new()));
        check("-a", E::Repository("-a".into()));
        check("a\0b", E::Repository("a\0b".into()));
        check("ä", E::Repository("ä".into()));
        check("http://a/b", E::Registry("http:".into()));
        check("a..b/c", E::Registry("a..b".into()));
        check("[::1/c:x", E::Registry("[::1".into()));
        check("a@sha256:12", E::Digest("sha256:12".into()));
        check("a@", E::Digest(String::new()));
        check(&"a".repeat(256), E::TooLong);
        let id = "0123456789abcdef".repeat(4);
        check(&id, E::Repository(id.clone()));
    }

    #[test]
    fn replaces_the_tag() {
        let digest = format!("a.b/c:v1@{SHA}");
        let bare_digest = format!("c@{SHA}");
        for (image, tag, expected) in [
            ("reg:5000/a/b:v1", "v2", "reg:5000/a/b:v2"),
            ("reg:5000/a/b", "v2", "reg:5000/a/b:v2"),
            ("nginx", "x", "nginx:x"),
            ("a.b/c/d:v1", "v2", "a.b/c/d:v2"),
            ("localhost/a", "v2", "localhost/a:v2"),
            ("[::1]:5000/a:v1", "v2", "[::1]:5000/a:v2"),
            (&digest, "v2", "a.b/c:v2"),
            (&bare_digest, "v2", "c:v2"),
        ] {
            let image = Image::parse(image).unwrap();
            assert_eq!(image.with_tag(&Tag::parse(tag).unwrap()), expected);
        }
    }

    #[test]
    fn knows_whether_a_version_is_named() {
        let digest = format!("a@{SHA}");
        let both = format!("reg:5000/a:1@{SHA}");
        for (text, tag, has_digest) in [
            ("a", None, false),
            ("reg:5000/a", None, false),
            ("a:1", Some("1"), false),
            ("reg:5000/a:1", Some("1"), false),
            (&digest, None, true),
            (&both, Some("1"), true),
        ] {
            let image = Image::parse(text).unwrap();
            assert_eq!((image.tag(), image.has_digest()), (tag, has_digest));
            assert_eq!(image.has_tag_or_digest(), tag.is_some() || has_digest);
        }
    }

    #[test]
    fn checks_tags() {
        for good in ["latest", "v1.20.2-guance", "_", "1", &"a".repeat(128)] {
            assert_eq!(Tag::parse(good).map(|tag| tag.as_str()), Some(good));
        }
        for bad in [
            "",
            "bad tag!",
            ".a",
            "-a",
            "a:b",
            "a/b",
            "é",
            &"a".repeat(129),
        ] {
            assert_eq!(Tag::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn versions() {
        for (tag, expected) in [
            ("1.86.0", Some((1, 86))),
            ("v1.93.0-rc1", Some((1, 93))),
            ("1.90", Some((1, 90))),
            ("latest", None),
            ("2", None),
        ] {
            let image = Image::parse(&format!("a:{tag}")).unwrap();
            assert_eq!(image.version(), expected, "{tag}");
        }
    }
}
