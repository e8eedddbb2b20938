//! The configuration in use, as people are shown it.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use datakit_operator_core::config::{Config, Fingerprint};
use datakit_operator_core::diagnostic::{Diagnostic, Severity};
use serde::Serialize;

use super::decisions::short;
use crate::clock;

/// So many diagnostics are kept; a configuration may have thousands.
const DIAGNOSTICS: usize = 50;
/// The longest text, in bytes.
const LONGEST: usize = 500;

/// What is known of the configuration in use. It is read without waiting.
#[derive(Debug, Default)]
pub struct Configured(ArcSwapOption<Configuration>);

/// Where a configuration is from, and what is doubtful about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    /// Where it is from.
    pub origin: Box<str>,
    /// What tells it from others.
    pub hash: Box<str>,
    /// When it was read.
    #[serde(serialize_with = "clock::rfc3339")]
    pub read_at: SystemTime,
    /// How many rules it has.
    pub rules: usize,
    /// Why the last change of it isn't in use.
    pub refused: Option<Box<str>>,
    /// What is doubtful about it, errors first.
    pub diagnostics: Vec<Finding>,
    /// How many more there are.
    pub more_diagnostics: usize,
}

/// One thing that is doubtful.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `error` or `warning`.
    pub severity: &'static str,
    /// What it is.
    pub text: Box<str>,
}

impl Configured {
    /// This configuration is in use from now on.
    pub fn take(
        &self,
        origin: &str,
        fingerprint: Fingerprint,
        config: &Config,
        diagnostics: &[Diagnostic],
    ) {
        let mut worst: Vec<&Diagnostic> = diagnostics.iter().collect();
        worst.sort_by_key(|found| found.severity != Severity::Error);
        let shown = worst.iter().take(DIAGNOSTICS).map(|found| {
            let (severity, text) = (found.severity.as_str(), found.to_string());
            let told = text.strip_prefix(severity);
            let told = told.and_then(|rest| rest.strip_prefix(": "));
            Finding {
                severity,
                text: short(told.unwrap_or(&text), LONGEST),
            }
        });
        self.0.store(Some(Arc::new(Configuration {
            origin: short(origin, LONGEST),
            hash: fingerprint.as_str().into(),
            read_at: clock::now(),
            rules: config.rules.len(),
            refused: None,
            diagnostics: shown.collect(),
            more_diagnostics: diagnostics.len().saturating_sub(DIAGNOSTICS),
        })));
    }

    /// A change of it can't be used.
    pub fn refuse(&self, why: &str) {
        if let Some(configuration) = &*self.0.load() {
            let mut configuration = Configuration::clone(configuration);
            configuration.refused = Some(short(why, LONGEST));
            self.0.store(Some(Arc::new(configuration)));
        }
    }

    /// What is in use.
    #[must_use]
    pub fn shown(&self) -> Option<Arc<Configuration>> {
        self.0.load_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_come_first_and_a_refusal_ends_with_what_is_taken() {
        let configured = Configured::default();
        let fingerprint = Fingerprint::of_sha256([7; 32]);
        configured.refuse("nothing is in use yet");
        assert_eq!(configured.shown(), None);
        let mut diagnostics = vec![Diagnostic::warning("a", "doubtful"); DIAGNOSTICS];
        diagnostics.push(Diagnostic::error("b", "wrong"));
        configured.take("`x`", fingerprint, &Config::default(), &diagnostics);
        let shown = configured.shown().unwrap();
        let first = &shown.diagnostics[0];
        assert_eq!((first.severity, &*first.text), ("error", "b: wrong"));
        assert_eq!(
            (shown.diagnostics.len(), shown.more_diagnostics),
            (DIAGNOSTICS, 1)
        );
        configured.refuse("no JSON");
        let refused = configured.shown().unwrap().refused.clone();
        assert_eq!(refused.as_deref(), Some("no JSON"));
        configured.take("`x`", fingerprint, &Config::default(), &[]);
        assert_eq!(configured.shown().unwrap().refused, None);
    }
}
