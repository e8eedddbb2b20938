//! What follows from a label selector alone, whatever labels pods have.

use super::{LabelSelector, Requirement, Test};
use crate::selector::is_label_value;

/// Longer selectors aren't looked at: each condition is compared with each.
const LONGEST: usize = 1000;

impl LabelSelector {
    /// Whether every pod that this selector fits is one that `other` fits, as far as that can be
    /// told. False says nothing.
    pub fn implies(&self, other: &Self) -> bool {
        if self.text.len().max(other.text.len()) > LONGEST {
            return self == other;
        }
        other.requirements.iter().all(|wanted| {
            let same_key = self.of_key(&wanted.key);
            let mut given = same_key.map(|requirement| &requirement.test);
            given.any(|given| given.implies(&wanted.test))
        })
    }

    /// The key whose conditions no label can fulfil, if there is one.
    pub fn contradiction(&self) -> Option<&str> {
        if self.text.len() > LONGEST {
            return None;
        }
        let impossible = |requirement: &&Requirement| {
            let tests = || self.of_key(&requirement.key).map(|other| &other.test);
            requirement.test.fits_no_label()
                || requirement.test.values().is_some_and(|values| {
                    let mut fitting = values
                        .iter()
                        .filter(|value| tests().all(|test| test.holds(value.as_deref())));
                    fitting.next().is_none()
                })
                || tests().any(|test| *test == Test::Missing) && tests().any(Test::needs_the_label)
        };
        let found = self.requirements.iter().find(impossible);
        found.map(|requirement| requirement.key.as_str())
    }

    fn of_key<'s>(&'s self, key: &str) -> impl Iterator<Item = &'s Requirement> {
        self.requirements
            .iter()
            .filter(move |requirement| requirement.key == key)
    }
}

impl Test {
    fn implies(&self, wanted: &Self) -> bool {
        self == wanted
            || *wanted == Test::Exists && self.needs_the_label()
            || self.values().is_some_and(|values| {
                let mut values = values.iter();
                values.all(|value| wanted.holds(value.as_deref()))
            })
    }

    /// All values that fulfil it, `None` being a label that isn't there; nothing where there are
    /// too many to list.
    fn values(&self) -> Option<Vec<Option<String>>> {
        match self {
            Test::Missing => Some(vec![None]),
            Test::Like(glob) => Some(vec![Some(glob.literal()?)]),
            Test::In(set) => Some(set.iter().cloned().map(Some).collect()),
            _ => None,
        }
    }

    /// Whether it fits no pod without the label.
    pub(super) fn needs_the_label(&self) -> bool {
        matches!(
            self,
            Test::Exists | Test::Like(_) | Test::In(_) | Test::Above(_) | Test::Below(_)
        )
    }

    /// Whether it asks for a value that no label has.
    fn fits_no_label(&self) -> bool {
        let Test::Like(glob) = self else {
            return false;
        };
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        match glob.literal() {
            Some(literal) => !is_label_value(&literal),
            None => !glob.characters().all(is_part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> LabelSelector {
        LabelSelector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn one_selector_implies_another() {
        for (given, wanted, expected) in [
            ("app=a", "app=a", true),
            ("app=a,tier=b", "app=a", true),
            ("app=a", "app=a,tier=b", false),
            ("app=a", "app", true),
            ("app=ab", "app=a*", true),
            ("app=a*", "app=ab", false),
            ("app=a*", "app=a*", true),
            ("app in (a,b)", "app in (b,a,c)", true),
            ("app in (a,d)", "app in (b,a,c)", false),
            ("app=a", "app!=b", true),
            ("app=b", "app!=b", false),
            ("!app", "app!=b", true),
            ("!app", "app notin (b)", true),
            ("app=a", "tier!=b", false),
            ("n>3", "n", true),
            ("app", "app=a", false),
        ] {
            assert_eq!(
                parse(given).implies(&parse(wanted)),
                expected,
                "{given} → {wanted}"
            );
        }
    }

    #[test]
    fn what_no_pod_fulfils() {
        for (text, expected) in [
            ("app=a", None),
            ("app=a,app=b", Some("app")),
            ("tier=x,app=a,app!=a", Some("app")),
            ("app,!app", Some("app")),
            ("app=a*,!app", Some("app")),
            ("app in (a,b),app notin (a,b)", Some("app")),
            ("app in (a,b),app notin (a)", None),
            ("app=a,app=a*", None),
            ("app=a/b", Some("app")),
            ("app=a/*", Some("app")),
            ("app=-a", Some("app")),
            ("app=*-a", None),
            ("!app,app!=a", None),
        ] {
            assert_eq!(parse(text).contradiction(), expected, "{text}");
        }
    }
}
