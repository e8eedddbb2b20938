//! Finds the configuration: the one place that knows in which order it is looked for.

use std::env::VarError;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use datakit_operator_core::config::{Config, DEFAULT_CONFIG, EnvOverrides};
use datakit_operator_core::diagnostic::Diagnostic;

use super::Usage;

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

/// A configuration that was read.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration in use.
    pub config: Config,
    /// What is doubtful about it. Nothing in it stopped the rest from being used.
    pub diagnostics: Vec<Diagnostic>,
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
    /// If the file can't be read or the document is no JSON. What is merely wrong in it becomes a diagnostic.
    pub fn load(&self) -> Result<Loaded, Usage> {
        let set = EnvOverrides::VARIABLES
            .iter()
            .filter_map(|name| Some((*name, std::env::var(name).ok()?)));
        Ok(self.load_with(&EnvOverrides::from_vars(set))?)
    }

    fn load_with(&self, overrides: &EnvOverrides) -> anyhow::Result<Loaded> {
        let text = match self {
            Self::File(path) => &std::fs::read_to_string(path).with_context(|| {
                format!("failed to read the configuration file `{}`", path.display())
            })?,
            Self::Json(text) => text,
            Self::Default => DEFAULT_CONFIG,
        };
        let (config, diagnostics) = Config::load(text, overrides)
            .with_context(|| format!("failed to load the configuration from {self}"))?;
        Ok(Loaded {
            config,
            diagnostics,
        })
    }
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
                    .load_with(&EnvOverrides::default())
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
                .load_with(&EnvOverrides::default())
                .expect("loads")
                .config
        };
        assert_eq!(
            load(Source::Json(" \n".to_owned())),
            load(Source::Json("{}".to_owned()))
        );
        assert_ne!(load(Source::Json(String::new())), load(Source::Default));
        let blank = Source::Json(String::new()).load_with(&EnvOverrides::default());
        assert_eq!(
            blank.expect("loads").diagnostics.len(),
            1,
            "it says that nothing will be injected"
        );
    }
}
