//! What the configured version of logfwd doesn't read.
//!
//! Versions up to 1.85 read what a pod's annotation says, and only its first instance. Those of 1.86
//! to 1.90 read `log_configs` and ask the operator. Later ones read `log_configs`, and without it
//! the annotation.

use crate::config::rule::{Extra, Rule};
use crate::config::syntax::child;
use crate::diagnostic::{Code, Diagnostic};

const CONFIGS: &str = "LOGFWD_LOG_CONFIGS";
const OPERATOR: &str = "LOGFWD_DATAKIT_OPERATOR_ENDPOINT";

pub(super) fn check(rule: &Rule, found: &mut Vec<Diagnostic>) {
    let Extra::Logfwd { sources, .. } = &rule.extra else {
        return;
    };
    let Some(image) = &rule.image else { return };
    let Some(version) = image.version() else {
        return;
    };
    let is_set = |name: &str| rule.container.envs.iter().any(|env| env.name == name);
    let configs = sources
        .as_ref()
        .and_then(|sources| sources.configs.as_ref());
    let mut report = |path: String, message: &str, suggestion: &str| {
        found.push(
            Diagnostic::warning(path, message)
                .code(Code::LogfwdVersion)
                .found(image.as_str())
                .suggest(suggestion),
        );
    };
    let newer = "use logfwd 1.91 or newer";
    let log_configs = child(rule.origin.as_str(), "log_configs");
    let envs = child(rule.section.as_str(), "envs");
    if version < (1, 86) {
        let not_read = "the image is of a version before 1.86, which doesn't read it: it collects only what a pod's annotation says";
        if configs.is_some() {
            report(log_configs, not_read, newer);
        }
        for name in [CONFIGS, OPERATOR] {
            if is_set(name) {
                report(child(&envs, name), not_read, newer);
            }
        }
    } else if version < (1, 91) && rule.when.annotation && configs.is_none() && !is_set(CONFIGS) {
        report(
            rule.image_key.clone(),
            "the versions from 1.86 to 1.90 don't read the annotation that asks for the sidecar, so it collects nothing that it says",
            newer,
        );
    } else if rule.when.annotation && configs.is_some() {
        report(
            log_configs,
            "versions from 1.86 on read it instead of the annotation that asks for the sidecar",
            "leave out one of the two: `log_configs`, or `check_annotation`",
        );
    }
}
