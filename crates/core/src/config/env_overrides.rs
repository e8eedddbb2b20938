//! Settings by environment variables, which the JSON document replaced long ago and which still win
//! over it.

use crate::diagnostic::{Code, Diagnostic};

/// The deprecated environment variables that are set. Empty ones count as unset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvOverrides(Vec<(&'static str, String)>);

pub(super) const LOG_LEVEL: &str = "ENV_LOG_LEVEL";
pub(super) const SERVER_LISTEN: &str = "ENV_SERVER_LISTEN";
pub(super) const DD_AGENT_HOST: &str = "ENV_DD_AGENT_HOST";
pub(super) const DD_TRACE_AGENT_PORT: &str = "ENV_DD_TRACE_AGENT_PORT";
pub(super) const DD_JAVA_AGENT_IMAGE: &str = "ENV_DD_JAVA_AGENT_IMAGE";
pub(super) const DD_PYTHON_AGENT_IMAGE: &str = "ENV_DD_PYTHON_AGENT_IMAGE";
pub(super) const DD_JS_AGENT_IMAGE: &str = "ENV_DD_JS_AGENT_IMAGE";
pub(super) const LOGFWD_IMAGE: &str = "ENV_LOGFWD_IMAGE";

impl EnvOverrides {
    /// The variables that count. The caller reads them, since this crate has no environment.
    pub const VARIABLES: [&'static str; 8] = [
        LOG_LEVEL,
        SERVER_LISTEN,
        DD_AGENT_HOST,
        DD_TRACE_AGENT_PORT,
        DD_JAVA_AGENT_IMAGE,
        DD_PYTHON_AGENT_IMAGE,
        DD_JS_AGENT_IMAGE,
        LOGFWD_IMAGE,
    ];

    /// Picks the deprecated variables out of an environment.
    pub fn from_vars<N, V>(vars: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: AsRef<str>,
        V: Into<String>,
    {
        let mut found: Vec<(&'static str, String)> = Vec::new();
        for (name, value) in vars {
            let Some(name) = Self::VARIABLES
                .into_iter()
                .find(|known| *known == name.as_ref())
            else {
                continue;
            };
            found.retain(|(earlier, _)| *earlier != name);
            let value = value.into();
            if !value.is_empty() {
                found.push((name, value));
            }
        }
        Self(found)
    }

    /// The names of those that are set and that take the place of a feature's settings.
    pub(super) fn of_features(&self) -> impl Iterator<Item = &'static str> {
        let names = self.0.iter().map(|(name, _)| *name);
        names.filter(|name| ![LOG_LEVEL, SERVER_LISTEN].contains(name))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find_map(|(set, value)| (*set == name).then_some(value.as_str()))
    }
}

/// Says that a variable took the place of the setting at `path`.
pub(super) fn used(variable: &str, path: &str) -> Diagnostic {
    Diagnostic::warning(
        variable,
        format!("the variable is deprecated; it takes the place of `{path}`"),
    )
    .code(Code::Deprecated)
    .suggest(format!("set `{path}` in the configuration"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_its_own() {
        let overrides = EnvOverrides::from_vars([
            ("PATH", "/bin"),
            ("ENV_LOG_LEVEL", "info"),
            ("ENV_LOG_LEVEL", "debug"),
            ("ENV_SERVER_LISTEN", ""),
            ("env_logfwd_image", "x"),
        ]);
        assert_eq!(overrides.get(LOG_LEVEL), Some("debug"));
        assert_eq!(overrides.get(SERVER_LISTEN), None);
        assert_eq!(overrides.get(LOGFWD_IMAGE), None);
        assert_eq!(overrides.0.len(), 1);
    }
}
