//! Finds the configuration: the one place that knows in which order it is looked for.

use std::borrow::Cow;
use std::env::VarError;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use datakit_operator_core::config::{
    Config, ConfigError, DEFAULT_CONFIG, EnvOverrides, Fingerprint,
};
use datakit_operator_core::diagnostic::Diagnostic;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

use super::Usage;
use crate::file::{self, FileError, MAX_CONFIG};

/// Names a file with the configuration.
pub const ENV_CONFIG_FILE: &str = "ENV_CONFIG_FILE";
/// Holds the configuration itself.
pub const ENV_JSON_CONFIG: &str = "ENV_JSON_CONFIG";

/// Where the configuration is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a file named by a flag or by `ENV_CONFIG_FILE`.
    File(PathBuf),
    /// In `ENV_JSON_CONFIG`, possibly blank: that says "nothing is configured".
    Json(String),
    /// Nowhere, so the documented default applies.
    Default,
}

/// What a configuration is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// For a command that ends.
    Once,
    /// For a process that reads it again when it changes.
    Serve,
    /// It is read again.
    Again,
}

/// A configuration that was read.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration in use.
    pub config: Config,
    /// What tells its document from others.
    pub fingerprint: Fingerprint,
    /// What is doubtful about it. Nothing in it stopped the rest from being used.
    pub diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// A document's text, read.
    ///
    /// # Errors
    ///
    /// If it is no JSON object.
    pub(super) fn of(text: &str, overrides: &EnvOverrides) -> Result<Self, ConfigError> {
        let (config, diagnostics) = Config::load(text, overrides)?;
        Ok(Self {
            config,
            fingerprint: fingerprint(text),
            diagnostics,
        })
    }
}

impl Source {
    /// The file named by the flag, else what the environment says, else the default.
    ///
    /// # Errors
    ///
    /// If a variable that counts is not UTF-8.
    pub fn choose(flag: Option<&Path>) -> Result<Self, Usage> {
        Self::choose_from(flag, |name| match std::env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(VarError::NotPresent) => Ok(None),
            Err(error @ VarError::NotUnicode(_)) => Err(error),
        })
    }

    fn choose_from(
        flag: Option<&Path>,
        variable: impl Fn(&str) -> Result<Option<String>, VarError>,
    ) -> Result<Self, Usage> {
        let read = |name: &'static str| {
            variable(name)
                .with_context(|| format!("failed to read the environment variable `{name}`"))
        };
        if let Some(path) = flag {
            return Ok(Self::File(path.to_owned()));
        }
        // Deployments often define the variable always and fill it sometimes.
        if let Some(path) = read(ENV_CONFIG_FILE)?.filter(|path| !path.trim().is_empty()) {
            return Ok(Self::File(path.into()));
        }
        Ok(read(ENV_JSON_CONFIG)?.map_or(Self::Default, Self::Json))
    }

    /// Reads the configuration, with the environment variables that override parts of it.
    ///
    /// # Errors
    ///
    /// If the file can't be read or the document is no JSON. What is merely wrong in it becomes a
    /// diagnostic.
    pub fn load(&self) -> Result<Loaded, Usage> {
        Ok(self.load_with(&overrides(), Use::Once)?)
    }

    /// Like [`load`](Self::load), for a process that reads the file again when it changes: it must
    /// be a regular one.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), and if the file is a pipe or a device.
    pub fn load_to_serve(&self) -> Result<Loaded, Usage> {
        Ok(self.load_with(&overrides(), Use::Serve)?)
    }

    /// Reads the configuration again. A blank file is refused: whoever means to switch everything
    /// off writes `{}`, while a file that is being written, or could not be for want of room, is
    /// blank.
    ///
    /// # Errors
    ///
    /// As [`load_to_serve`](Self::load_to_serve), and if the file is blank.
    pub fn load_again(&self) -> Result<Loaded, Usage> {
        Ok(self.load_with(&overrides(), Use::Again)?)
    }

    /// The document as it is written.
    ///
    /// # Errors
    ///
    /// If the file can't be read.
    pub(super) fn text(&self) -> Result<Cow<'_, str>, Usage> {
        Ok(self.text_for(Use::Once)?)
    }

    fn text_for(&self, what_for: Use) -> anyhow::Result<Cow<'_, str>> {
        Ok(match self {
            Self::File(path) => {
                let text = read_file(path, what_for).with_context(|| {
                    format!("failed to read the configuration file `{}`", path.display())
                })?;
                if what_for == Use::Again && text.trim().is_empty() {
                    bail!(
                        "the configuration file `{}` is blank; expected a JSON object, `{{}}` to inject nothing",
                        path.display()
                    );
                }
                text.into()
            }
            Self::Json(text) => text.into(),
            Self::Default => DEFAULT_CONFIG.into(),
        })
    }

    fn load_with(&self, overrides: &EnvOverrides, what_for: Use) -> anyhow::Result<Loaded> {
        let text = self.text_for(what_for)?;
        Loaded::of(&text, overrides)
            .with_context(|| format!("failed to load the configuration from {self}"))
    }
}

fn fingerprint(text: &str) -> Fingerprint {
    let digest = digest(&SHA256, text.as_bytes());
    let mut bytes = [0; SHA256_OUTPUT_LEN];
    bytes.copy_from_slice(digest.as_ref());
    Fingerprint::of_sha256(bytes)
}

/// The variables that override parts of a configuration.
pub(super) fn overrides() -> EnvOverrides {
    let set = EnvOverrides::VARIABLES
        .iter()
        .filter_map(|name| Some((*name, std::env::var(name).ok()?)));
    EnvOverrides::from_vars(set)
}

fn read_file(path: &Path, what_for: Use) -> anyhow::Result<String> {
    let read = match what_for {
        Use::Once => file::read_any(path, MAX_CONFIG),
        Use::Serve | Use::Again => file::read_regular(path, MAX_CONFIG),
    };
    let bytes = read.map_err(|error| match error {
        FileError::NotAFile { .. } => anyhow::Error::from(error).context(
            "`serve` reads it again when it changes, which needs a regular file; \
             ENV_JSON_CONFIG can hold the configuration itself",
        ),
        error => error.into(),
    })?;
    decode(bytes)
}

/// The text of a document on standard input.
pub(super) fn read_stdin(stdin: &mut dyn Read) -> anyhow::Result<String> {
    let read = file::read_to_end(stdin, MAX_CONFIG).map_err(anyhow::Error::from);
    read.and_then(decode)
        .context("failed to read standard input")
}

/// The text of a document. Editors of some systems write another encoding than UTF-8, whose mark
/// says so.
fn decode(bytes: Vec<u8>) -> anyhow::Result<String> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        bail!("it is UTF-16; save it as UTF-8");
    }
    String::from_utf8(bytes).context("it is not UTF-8")
}

impl std::fmt::Display for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "`{}`", path.display()),
            Self::Json(_) => formatter.write_str(ENV_JSON_CONFIG),
            Self::Default => formatter.write_str("the embedded default"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_sources() {
        let check = |flag: Option<&str>, file: Option<&str>, json: Option<&str>, want: Source| {
            let chosen = Source::choose_from(flag.map(Path::new), |name| {
                let value = if name == ENV_CONFIG_FILE { file } else { json };
                Ok(value.map(str::to_owned))
            });
            assert_eq!(chosen.expect("all UTF-8"), want);
        };
        let file = |path: &str| Source::File(path.into());
        check(Some("a"), Some("b"), Some("{}"), file("a"));
        check(None, Some("b"), Some("{}"), file("b"));
        check(None, Some(" "), Some("{}"), Source::Json("{}".to_owned()));
        check(None, None, Some(""), Source::Json(String::new()));
        check(None, None, None, Source::Default);
    }

    #[test]
    fn an_unreadable_source_is_named() {
        let message = |source: Source| {
            format!(
                "{:#}",
                source
                    .load_with(&EnvOverrides::default(), Use::Once)
                    .expect_err("unreadable")
            )
        };
        let missing = message(Source::File("no/such/file.json".into()));
        assert!(
            missing.contains("`no/such/file.json`: No such file"),
            "{missing}"
        );
        let broken = message(Source::Json("{".to_owned()));
        assert!(broken.contains("ENV_JSON_CONFIG: "), "{broken}");
    }

    #[test]
    fn blank_is_empty_but_unset_is_the_default() {
        let load = |source: Source| {
            source
                .load_with(&EnvOverrides::default(), Use::Once)
                .expect("loads")
                .config
        };
        assert_eq!(
            load(Source::Json(" \n".to_owned())),
            load(Source::Json("{}".to_owned()))
        );
        assert_ne!(load(Source::Json(String::new())), load(Source::Default));
        let blank = Source::Json(String::new()).load_with(&EnvOverrides::default(), Use::Once);
        assert_eq!(
            blank.expect("loads").diagnostics.len(),
            1,
            "it says that nothing will be injected"
        );
    }

    /// As `sha256sum` shows it.
    #[test]
    fn documents_are_told_apart_by_the_sha_256_of_their_bytes() {
        let check = |text: &str, want: &str| {
            let loaded =
                Source::Json(text.to_owned()).load_with(&EnvOverrides::default(), Use::Once);
            assert_eq!(
                loaded.expect("loads").fingerprint.as_str(),
                want,
                "{text:?}"
            );
        };
        check("", "e3b0c44298fc");
        check("{}", "44136fa355b3");
        check("{}\n", "ca3d163bab05");
    }

    #[test]
    fn what_a_file_may_be_depends_on_what_it_is_read_for() {
        let folder = tempfile::tempdir().expect("a directory");
        let at = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| {
            std::fs::write(at(name), text).expect("written");
            at(name)
        };
        let check = |path: &Path, wants: [Result<(), &str>; 3]| {
            for (what_for, want) in [Use::Once, Use::Serve, Use::Again].into_iter().zip(wants) {
                let source = Source::File(path.to_owned());
                let loaded = source.load_with(&EnvOverrides::default(), what_for);
                let message = loaded.map(|_| ()).map_err(|error| format!("{error:#}"));
                let as_wanted = match (&message, want) {
                    (Ok(()), Ok(())) => true,
                    (Err(message), Err(want)) => {
                        message.contains(want) && message.contains(&path.display().to_string())
                    }
                    _ => false,
                };
                assert!(
                    as_wanted,
                    "{what_for:?} {}: {message:?}, not {want:?}",
                    path.display()
                );
            }
        };
        let blank = "is blank; expected a JSON object, `{}` to inject nothing";
        check(&write("full", "{}"), [Ok(()); 3]);
        check(&write("empty", ""), [Ok(()), Ok(()), Err(blank)]);
        check(&write("blank", " \n"), [Ok(()), Ok(()), Err(blank)]);
        // A document of 5 MB, of which nothing is wrong but its size.
        let long = format!("{{\"x\": \"{}\"}}", "x".repeat(5_000_000));
        let too_large = "it has more than 4 MiB";
        check(&write("long", &long), [Err(too_large); 3]);
        let device = "it is a device, expected a regular file";
        check(
            Path::new("/dev/zero"),
            [Err(too_large), Err(device), Err(device)],
        );
        check(Path::new("/dev/null"), [Ok(()), Err(device), Err(device)]);
        std::fs::write(at("bytes"), [0xff]).expect("written");
        check(&at("bytes"), [Err("it is not UTF-8"); 3]);
        std::fs::write(at("utf-16"), [0xff, 0xfe, b'{', 0, b'}', 0]).expect("written");
        check(&at("utf-16"), [Err("it is UTF-16; save it as UTF-8"); 3]);
    }
}
