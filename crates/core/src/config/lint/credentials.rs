//! Credentials that stand in the configuration in plain text, and then in every pod.

use crate::config::rule::Rule;
use crate::config::syntax::child;
use crate::config::{EnvValue, EnvVar};
use crate::diagnostic::{Code, Diagnostic};

/// How names of variables end that hold a credential.
const NAMES: [&str; 13] = [
    "TOKEN",
    "PASSWORD",
    "PASSWD",
    "SECRET",
    "API_KEY",
    "APIKEY",
    "APP_KEY",
    "ACCESS_KEY",
    "ACCESS_KEY_ID",
    "ACCESS_KEY_SECRET",
    "SECRET_KEY",
    "PRIVATE_KEY",
    "CREDENTIALS",
];

/// Parameters of a URL that hold one.
const PARAMETERS: [&str; 4] = ["token", "access_token", "api_key", "password"];

/// Looks through the variables of a rule. What was found isn't repeated: messages end in logs.
pub(super) fn check(rule: &Rule, found: &mut Vec<Diagnostic>) {
    for EnvVar { name, value } in &rule.container.envs {
        let EnvValue::Literal(text) = value else {
            continue;
        };
        let problem = if is_credential(name) && is_plain(text) {
            "a credential in plain text, which every pod that gets it shows"
        } else if has_credential(text) {
            "a URL with a credential in plain text, which every pod that gets it shows"
        } else {
            continue;
        };
        let place = child(&child(rule.section.as_str(), "envs"), name);
        found.push(
            Diagnostic::warning(place, problem)
                .code(Code::Credentials)
                .suggest("keep it in a Secret of the pods' namespaces and write `{secretKeyRef:NAME.KEY}`"),
        );
    }
}

fn is_credential(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    NAMES.iter().any(|end| {
        upper
            .strip_suffix(end)
            .is_some_and(|before| before.is_empty() || before.ends_with(['_', '-', '.']))
    })
}

/// Whether a text is more than nothing or a reference to another variable.
fn is_plain(text: &str) -> bool {
    let is_reference = text.starts_with("$(") && text.ends_with(')');
    !text.trim().is_empty() && !is_reference
}

/// Whether a text is a URL with a password or a token in it.
fn has_credential(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else {
        return false;
    };
    let (host, _) = rest.split_once(['/', '?']).unwrap_or((rest, ""));
    let user = host.rsplit_once('@').map(|(user, _)| user);
    let password = user.and_then(|user| user.split_once(':'));
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    password.is_some_and(|(_, password)| is_plain(password))
        || query.split('&').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            PARAMETERS
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known))
                && is_plain(value)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_credential() {
        for name in ["DK_TOKEN", "token", "DB_PASSWORD", "DD_API_KEY", "x.apikey"] {
            assert!(is_credential(name), "{name}");
        }
        for name in [
            "TOKENIZER",
            "DD_TAGS",
            "KEY",
            "MYTOKEN",
            "TOKEN_FILE",
            "API_KEY_NAME",
        ] {
            assert!(!is_credential(name), "{name}");
        }
        for url in [
            "https://openway.guance.com?token=tkn_1",
            "http://a/b?x=1&TOKEN=2",
            "http://user:secret@host/",
        ] {
            assert!(has_credential(url), "{url}");
        }
        for url in [
            "http://datakit-service.datakit:9529/profiling/v1/input",
            "https://a?token=",
            "https://a?token=$(TOKEN)",
            "http://$(USER):$(PASSWORD)@host",
            "http://user@host:80/",
            "token=1",
        ] {
            assert!(!has_credential(url), "{url}");
        }
    }
}
