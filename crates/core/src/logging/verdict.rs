//! What becomes of each object, for the one who wrote it.

use std::collections::HashMap;

use super::object::Selected;
use super::{LoggingConfig, LoggingConfigs, MAX_OBJECTS};

/// The longest message, in bytes: an Event's note is no longer
/// (<https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>).
const LONGEST: usize = 1024;
/// So many mistakes of one object are named; the others are counted.
const MOST_NAMED: usize = 3;

/// What becomes of an object, as its condition `Accepted` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// In one word.
    pub standing: Standing,
    /// Why, and where, in 1,024 bytes at most.
    pub message: String,
}

/// How far an object is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its selector can't be read, so it selects no pod.
    InvalidSelector,
    /// There are [`MAX_OBJECTS`] older ones, so it isn't looked at.
    TooManyObjects,
    /// A part of what it says has no effect.
    PartlyIgnored,
    /// All pods that it selects get an older object.
    Shadowed,
    /// It is used as it is.
    Accepted,
}

impl Standing {
    /// The condition's `reason`.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::InvalidSelector => "InvalidSelector",
            Self::TooManyObjects => "TooManyObjects",
            Self::PartlyIgnored => "PartlyIgnored",
            Self::Shadowed => "Shadowed",
            Self::Accepted => "Accepted",
        }
    }

    /// The condition's `status`: whether the object is used at all. A shadowed one is, once the
    /// older one is gone.
    #[must_use]
    pub const fn is_accepted(self) -> bool {
        !matches!(self, Self::InvalidSelector | Self::TooManyObjects)
    }

    /// Whether the object itself has to be changed. Other standings depend on other objects.
    #[must_use]
    pub const fn is_mistake(self) -> bool {
        matches!(self, Self::InvalidSelector | Self::PartlyIgnored)
    }
}

impl LoggingConfigs {
    /// What becomes of each object, in the order in which they are tried.
    pub fn verdicts(&self) -> impl Iterator<Item = (&LoggingConfig, Verdict)> {
        // The oldest object of each selector, and the oldest that leaves nothing to later ones.
        let mut first: HashMap<Selected<'_>, &str> = HashMap::new();
        let mut selects_all: Option<&str> = None;
        self.iter().enumerate().map(move |(place, object)| {
            let older = object.selected().and_then(|selected| {
                let same = first.get(&selected).copied();
                if place < MAX_OBJECTS {
                    first.entry(selected).or_insert(object.name());
                }
                let all = selects_all;
                if selected.is_all() {
                    selects_all.get_or_insert(object.name());
                }
                same.map(|name| (name, "selects the same pods"))
                    .or(all.map(|name| (name, "selects every pod")))
            });
            (&**object, verdict(object, place, older))
        })
    }
}

fn verdict(object: &LoggingConfig, place: usize, older: Option<(&str, &str)>) -> Verdict {
    let (standing, mut message) = if let Some(why) = object.invalid() {
        let message = format!("selects no pod at all: {why}");
        (Standing::InvalidSelector, message)
    } else if place >= MAX_OBJECTS {
        let message = format!("is not looked at: {MAX_OBJECTS} objects are older");
        (Standing::TooManyObjects, message)
    } else if let [first, ..] = object.mistakes() {
        let named: Vec<&str> = (object.mistakes().iter())
            .take(MOST_NAMED)
            .map(String::as_str)
            .collect();
        let message = match object.mistakes().len() - named.len() {
            0 if named.len() == 1 => first.clone(),
            0 => named.join("; "),
            more => format!("{}; and {more} more", named.join("; ")),
        };
        (Standing::PartlyIgnored, message)
    } else if let Some((name, how)) = older {
        let message = format!("no sidecar gets it: {name}, which is older, {how}");
        (Standing::Shadowed, message)
    } else {
        let message = "sidecars of the pods that it selects get it, unless an older object does";
        (Standing::Accepted, message.to_owned())
    };
    message.truncate(message.floor_char_boundary(LONGEST));
    Verdict { standing, message }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    fn said(objects: &[(&str, Value)]) -> Vec<String> {
        let mut configs = LoggingConfigs::default();
        for (age, (name, spec)) in objects.iter().enumerate() {
            let created = format!("2026-01-01T00:00:{age:02}Z");
            configs.apply(Arc::new(LoggingConfig::new(*name, created, spec)));
        }
        let verdicts = configs.verdicts();
        verdicts
            .map(|(object, Verdict { standing, message })| {
                let status = standing.is_accepted();
                format!(
                    "{} {status} {}: {message}",
                    object.name(),
                    standing.reason()
                )
            })
            .collect()
    }

    #[test]
    fn each_object_is_judged() {
        let shop = json!({"selector": {"namespaceRegex": "^shop$", "podLabelSelector": "app=web"}});
        let item = |kind: &str| json!({"type": kind, "source": "s"});
        let off = json!({"type": "file", "source": "s", "disable": true});
        let objects = [
            (
                "broken",
                json!({"selector": {"podRegex": "a(", "namespaceRegex": "^shop$"}}),
            ),
            ("shop", shop.clone()),
            ("shop-again", shop),
            (
                "no-path",
                json!({"selector": {"podRegex": "a"}, "configs": [item("stdout"), off, item("file"), 1]}),
            ),
            (
                "no-paths",
                json!({"selector": {"podRegex": "b"}, "configs": vec![item("file"); 5]}),
            ),
            ("all", json!({"selector": {"containerRegex": "^app$"}})),
            ("late", json!({"selector": {"podRegex": "c"}})),
            ("all-again", json!({"selector": {}})),
        ];
        let expected = [
            "broken false InvalidSelector: selects no pod at all: spec.selector.podRegex `a(` isn't a regular expression: unclosed group",
            "shop true Accepted: sidecars of the pods that it selects get it, unless an older object does",
            "shop-again true Shadowed: no sidecar gets it: shop, which is older, selects the same pods",
            "no-path true PartlyIgnored: spec.configs[2] is of the type file and has no path, so nothing is collected; spec.configs[3] isn't an object",
            "no-paths true PartlyIgnored: spec.configs[0] is of the type file and has no path, so nothing is collected; spec.configs[1] is of the type file and has no path, so nothing is collected; spec.configs[2] is of the type file and has no path, so nothing is collected; and 2 more",
            "all true Accepted: sidecars of the pods that it selects get it, unless an older object does",
            "late true Shadowed: no sidecar gets it: all, which is older, selects every pod",
            "all-again true Shadowed: no sidecar gets it: all, which is older, selects the same pods",
        ];
        assert_eq!(said(&objects), expected);
    }

    /// An object that selects nothing takes nothing from others.
    #[test]
    fn a_broken_object_shadows_nothing() {
        let all = json!({"selector": {}});
        let broken = json!({"selector": {"containerRegex": "("}});
        let said = said(&[("broken", broken), ("all", all)]);
        assert!(said[1].contains("true Accepted"), "{said:?}");
    }

    #[test]
    fn what_is_beyond_the_limit_says_so() {
        let mut configs = LoggingConfigs::default();
        for number in 0..=MAX_OBJECTS {
            let spec = json!({"selector": {"podRegex": format!("^{number}$")}});
            let name = format!("{number:05}");
            configs.apply(Arc::new(LoggingConfig::new(name, "2026", &spec)));
        }
        let standings: Vec<Standing> = (configs.verdicts())
            .map(|(_, verdict)| verdict.standing)
            .collect();
        let accepted = standings[..MAX_OBJECTS]
            .iter()
            .all(|standing| *standing == Standing::Accepted);
        assert!(accepted);
        assert_eq!(standings[MAX_OBJECTS..], [Standing::TooManyObjects]);
    }
}
