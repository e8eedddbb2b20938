//! References in `envs`: values that Kubernetes looks up, written as `{fieldRef:…}` and its kin.

use super::{ContainerResource, EnvValue};
use crate::diagnostic::did_you_mean;
use crate::selector::{is_dns_subdomain, is_qualified_name};

/// A value that looks like a reference but is kept as text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lookalike {
    /// Why it is none.
    pub(super) message: String,
    /// What was probably meant.
    pub(super) suggestion: Option<String>,
}

const FIELD: &str = "fieldRef";
const RESOURCE: &str = "resourceFieldRef";
const SECRET: &str = "secretKeyRef";
const KINDS: [&str; 3] = [FIELD, RESOURCE, SECRET];

/// Paths that an environment variable can show, besides single labels and annotations
/// (<https://kubernetes.io/docs/concepts/workloads/pods/downward-api/#available-fields>).
const FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Reads a value. It is a reference only if the whole text is one; else it is the text itself, with
/// a remark if it looks as if a reference had been meant.
pub(super) fn parse(text: &str) -> (EnvValue, Option<Lookalike>) {
    let literal = || EnvValue::Literal(text.to_owned());
    match whole(text) {
        Some((kind, argument)) => match value(kind, argument) {
            Ok(value) => (value, None),
            Err(lookalike) => (literal(), Some(lookalike)),
        },
        None => (literal(), lookalike(text)),
    }
}

/// Splits `{kind:argument}`, if that is all there is and the kind exists.
fn whole(text: &str) -> Option<(&'static str, &str)> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    let (word, argument) = inner.split_once(':')?;
    let kind = KINDS.into_iter().find(|kind| *kind == word)?;
    (!argument.contains(['{', '}'])).then_some((kind, argument))
}

fn value(kind: &str, argument: &str) -> Result<EnvValue, Lookalike> {
    match kind {
        FIELD => field(argument),
        RESOURCE => resource(argument),
        _ => secret(argument),
    }
}

fn field(path: &str) -> Result<EnvValue, Lookalike> {
    if FIELDS.contains(&path) {
        return Ok(EnvValue::FieldRef(path.to_owned()));
    }
    for map in ["metadata.labels", "metadata.annotations"] {
        let Some(subscript) = path.strip_prefix(map) else {
            continue;
        };
        let key = subscript
            .strip_prefix("['")
            .and_then(|rest| rest.strip_suffix("']"));
        if let Some(key) = key {
            if is_qualified_name(key) {
                return Ok(EnvValue::FieldRef(path.to_owned()));
            }
            return Err(Lookalike {
                message: format!("kept as text, because `{key}` isn't a label or annotation key"),
                suggestion: None,
            });
        }
        let key = subscript.trim_matches(['[', ']', '\'', '"', '.', ' ']);
        let key = if is_qualified_name(key) { key } else { "app" };
        return Err(Lookalike {
            message: format!("kept as text, because `{path}` names no single key"),
            suggestion: Some(format!("write {{{FIELD}:{map}['{key}']}}")),
        });
    }
    Err(unknown(FIELD, "field", path, FIELDS))
}

fn resource(argument: &str) -> Result<EnvValue, Lookalike> {
    ContainerResource::ALL
        .into_iter()
        .find(|resource| resource.as_str() == argument)
        .map(EnvValue::ResourceFieldRef)
        .ok_or_else(|| {
            let names = ContainerResource::ALL.map(ContainerResource::as_str);
            unknown(RESOURCE, "resource", argument, names)
        })
}

/// `NAME.KEY`: the Secret's name ends at the first dot, so it can't contain one.
fn secret(argument: &str) -> Result<EnvValue, Lookalike> {
    if let Some((name, key)) = argument.split_once('.')
        && is_dns_subdomain(name)
        && is_secret_key(key)
    {
        return Ok(EnvValue::SecretKeyRef {
            name: name.to_owned(),
            key: key.to_owned(),
        });
    }
    Err(Lookalike {
        message: format!("kept as text, because `{argument}` isn't NAME.KEY of a Secret"),
        suggestion: Some(
            "NAME has lower-case letters, digits and dashes; KEY has letters, digits, `-`, `_` and `.`"
                .to_owned(),
        ),
    })
}

/// The API server's rule for keys of Secrets and ConfigMaps.
fn is_secret_key(key: &str) -> bool {
    !key.is_empty()
        && key.len() <= 253
        && key != "."
        && !key.starts_with("..")
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn unknown<const N: usize>(
    kind: &str,
    what: &str,
    argument: &str,
    known: [&'static str; N],
) -> Lookalike {
    Lookalike {
        message: format!(
            "kept as text, because `{argument}` isn't a {what} that can be referred to"
        ),
        suggestion: Some(match did_you_mean(argument, known) {
            Some(known) => format!("did you mean {{{kind}:{known}}}?"),
            None => format!("known are {}", known.join(", ")),
        }),
    }
}

/// Looks for the beginning of a reference anywhere in the text.
fn lookalike(text: &str) -> Option<Lookalike> {
    text.match_indices('{').find_map(|(index, _)| {
        let rest = text[index + 1..].trim_start();
        let end = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        let kind = if word.eq_ignore_ascii_case("configMapKeyRef") {
            return Some(Lookalike {
                message: "kept as text, because ConfigMaps can't be referred to".to_owned(),
                suggestion: None,
            });
        } else {
            // `field` and `secret` alone are ordinary words.
            did_you_mean(word, KINDS).filter(|kind| kind.len() <= word.len() + 2)?
        };
        // A brace and a word alone are common in templates; a reference goes on with a colon.
        let argument = rest.trim_start().strip_prefix(':');
        if argument.is_none() && word != kind {
            return None;
        }
        let argument = argument
            .map(|argument| argument.split('}').next().unwrap_or_default().trim())
            .filter(|argument| value(kind, argument).is_ok());
        let corrected = argument.map(|argument| format!("{{{kind}:{argument}}}"));
        let complete = text.starts_with('{') && text.find('}').is_none_or(|at| at + 1 == text.len());
        Some(if complete {
            Lookalike {
                message: "kept as text, because it isn't a reference".to_owned(),
                suggestion: Some(match corrected {
                    Some(corrected) => format!("did you mean {corrected}?"),
                    None => format!("a reference is written {{{kind}:…}}"),
                }),
            }
        } else {
            Lookalike {
                message: "kept as text, because a reference must be the whole value".to_owned(),
                suggestion: corrected.map(|corrected| {
                    format!("define a variable as {corrected} before this one and use it here as $(NAME)")
                }),
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> EnvValue {
        EnvValue::Literal(text.to_owned())
    }

    #[test]
    fn every_field() {
        let maps = [
            "metadata.labels['app']",
            "metadata.labels['app.kubernetes.io/name']",
            "metadata.annotations['a_b']",
        ];
        for path in FIELDS.into_iter().chain(maps) {
            let (value, remark) = parse(&format!("{{fieldRef:{path}}}"));
            assert_eq!(value, EnvValue::FieldRef(path.to_owned()));
            assert_eq!(remark, None);
        }
    }

    #[test]
    fn resources() {
        for resource in ContainerResource::ALL {
            let (value, remark) = parse(&format!("{{resourceFieldRef:{}}}", resource.as_str()));
            assert_eq!(value, EnvValue::ResourceFieldRef(resource));
            assert_eq!(remark, None);
        }
    }

    #[test]
    fn secrets() {
        let check = |argument: &str, expected: Option<(&str, &str)>| {
            let text = format!("{{secretKeyRef:{argument}}}");
            let (value, remark) = parse(&text);
            match expected {
                Some((name, key)) => assert_eq!(
                    (value, remark),
                    (
                        EnvValue::SecretKeyRef {
                            name: name.into(),
                            key: key.into()
                        },
                        None
                    )
                ),
                None => {
                    assert_eq!(value, literal(&text));
                    assert!(remark.is_some(), "{argument}");
                }
            }
        };
        check(
            "flameshot-oss.access_key_id",
            Some(("flameshot-oss", "access_key_id")),
        );
        check("a.b.c", Some(("a", "b.c")));
        check("a..b", Some(("a", ".b")));
        check("nodot", None);
        check("Upper.key", None);
        check("name.a/b", None);
        check("name.", None);
        check(".key", None);
        check("name..", None);
        check("name...x", None);
        check(&format!("name.{}", "k".repeat(254)), None);
    }

    /// Rows 22 and 23: anything else is text, with a remark where a reference was probably meant.
    #[test]
    fn text_stays_text() {
        let check = |text: &str, expected: Option<(&str, Option<&str>)>| {
            let (value, remark) = parse(text);
            assert_eq!(value, literal(text));
            let expected = expected.map(|(message, suggestion)| Lookalike {
                message: message.to_owned(),
                suggestion: suggestion.map(str::to_owned),
            });
            assert_eq!(remark, expected, "{text}");
        };
        for plain in [
            "",
            "x",
            "{}",
            "{name}",
            "{\"field\":1}",
            "$(POD_NAME)",
            "{field:1}",
            "${fieldReference}",
            "{a{b",
        ] {
            check(plain, None);
        }
        check(
            "{fieldRef:metadata.PODNAME}",
            Some((
                "kept as text, because `metadata.PODNAME` isn't a field that can be referred to",
                Some("did you mean {fieldRef:metadata.name}?"),
            )),
        );
        check(
            "{fieldRef:spec.tolerations}",
            Some((
                "kept as text, because `spec.tolerations` isn't a field that can be referred to",
                Some(
                    "known are metadata.name, metadata.namespace, metadata.uid, spec.nodeName, spec.serviceAccountName, status.hostIP, status.hostIPs, status.podIP, status.podIPs",
                ),
            )),
        );
        check(
            "{fieldRef:metadata.annotations['hello-$$$']}",
            Some((
                "kept as text, because `hello-$$$` isn't a label or annotation key",
                None,
            )),
        );
        check(
            "{fieldRef:metadata.labels[\"app\"]}",
            Some((
                "kept as text, because `metadata.labels[\"app\"]` names no single key",
                Some("write {fieldRef:metadata.labels['app']}"),
            )),
        );
        check(
            "{fieldRef:metadata.labels}",
            Some((
                "kept as text, because `metadata.labels` names no single key",
                Some("write {fieldRef:metadata.labels['app']}"),
            )),
        );
        check(
            "{fieldRef:metadataXlabels['a']}",
            Some((
                "kept as text, because `metadataXlabels['a']` isn't a field that can be referred to",
                Some(
                    "known are metadata.name, metadata.namespace, metadata.uid, spec.nodeName, spec.serviceAccountName, status.hostIP, status.hostIPs, status.podIP, status.podIPs",
                ),
            )),
        );
        check(
            "{resourceFieldRef:limits.cpus}",
            Some((
                "kept as text, because `limits.cpus` isn't a resource that can be referred to",
                Some("did you mean {resourceFieldRef:limits.cpu}?"),
            )),
        );
        check(
            "prefix{fieldRef:metadata.name}suffix",
            Some((
                "kept as text, because a reference must be the whole value",
                Some(
                    "define a variable as {fieldRef:metadata.name} before this one and use it here as $(NAME)",
                ),
            )),
        );
        check(
            " {fieldRef:metadata.name}",
            Some((
                "kept as text, because a reference must be the whole value",
                Some(
                    "define a variable as {fieldRef:metadata.name} before this one and use it here as $(NAME)",
                ),
            )),
        );
        check(
            "{fieldRef:metadata.name}{fieldRef:metadata.uid}",
            Some((
                "kept as text, because a reference must be the whole value",
                Some(
                    "define a variable as {fieldRef:metadata.name} before this one and use it here as $(NAME)",
                ),
            )),
        );
        check(
            "{fieldref: metadata.name }",
            Some((
                "kept as text, because it isn't a reference",
                Some("did you mean {fieldRef:metadata.name}?"),
            )),
        );
        check(
            "{secretkeyref:a.b",
            Some((
                "kept as text, because it isn't a reference",
                Some("did you mean {secretKeyRef:a.b}?"),
            )),
        );
        check(
            "{secretKeyRef",
            Some((
                "kept as text, because it isn't a reference",
                Some("a reference is written {secretKeyRef:…}"),
            )),
        );
        check(
            "{configMapKeyRef:a.b}",
            Some((
                "kept as text, because ConfigMaps can't be referred to",
                None,
            )),
        );
    }
}
