//! Label selectors for API servers.

use super::{LabelSelector, Requirement, Test};
use crate::cel::{Test as Condition, Text};

impl LabelSelector {
    /// What holds for every pod that the selector fits. Only numbers are not compared.
    pub fn in_cel(&self) -> Condition {
        Condition::all(self.requirements.iter().map(Requirement::in_cel))
    }

    /// The same in fewer words, and for more pods: one of the labels is there that have to be.
    pub fn loosely_in_cel(&self) -> Condition {
        let needed = |one: &&Requirement| one.test.needs_the_label();
        match self.requirements.iter().find(needed) {
            Some(one) => Condition::Labelled(one.key.clone()),
            None => Condition::ALWAYS,
        }
    }
}

impl Requirement {
    fn in_cel(&self) -> Condition {
        let key = || self.key.clone();
        let one_of = |values: &[String]| Text::OneOf(values.to_vec());
        match &self.test {
            Test::Exists | Test::Above(_) | Test::Below(_) => Condition::Labelled(key()),
            Test::Missing => !Condition::Labelled(key()),
            Test::Like(glob) => Condition::Label(key(), glob.in_cel()),
            Test::Unlike(glob) => !Condition::Label(key(), glob.in_cel()),
            Test::In(values) => Condition::Label(key(), one_of(values)),
            Test::NotIn(values) => !Condition::Label(key(), one_of(values)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_in_cel() {
        for (selector, exactly, loosely) in [
            ("app", "'app' in labels", "'app' in labels"),
            ("!app", "!('app' in labels)", "true"),
            (
                "app=a",
                "'app' in labels && labels['app'] == 'a'",
                "'app' in labels",
            ),
            (
                "app=",
                "'app' in labels && labels['app'] == ''",
                "'app' in labels",
            ),
            (
                "app!=a*",
                "!('app' in labels && size(labels['app']) <= 63 && labels['app'].startsWith('a'))",
                "true",
            ),
            (
                "app=*a*,tier in (x,y)",
                "'app' in labels && size(labels['app']) <= 63 && labels['app'].contains('a') && \
                 'tier' in labels && labels['tier'] in ['x', 'y']",
                "'app' in labels",
            ),
            (
                "app notin (x,y), a.b/n>3",
                "!('app' in labels && labels['app'] in ['x', 'y']) && 'a.b/n' in labels",
                "'a.b/n' in labels",
            ),
            (
                "app=v[0-9].?",
                r"'app' in labels && size(labels['app']) <= 63 && labels['app'].matches('(?s)^v[0-9]\\x{2e}.$')",
                "'app' in labels",
            ),
        ] {
            let parsed = LabelSelector::parse(selector).unwrap();
            assert_eq!(parsed.in_cel().to_string(), exactly, "{selector}");
            assert_eq!(parsed.loosely_in_cel().to_string(), loosely, "{selector}");
        }
    }
}
