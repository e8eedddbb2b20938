//! The pod that a sidecar asks for.

/// A pod, as the query of a request describes it.
#[derive(Debug, Clone, Copy)]
pub struct PodQuery<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its labels; `None` if the sidecar doesn't know them. Label selectors then count as
    /// fulfilled: sidecars without the pod's labels mounted depend on that.
    pub labels: Option<&'a PodLabels<'a>>,
}

/// Labels as a sidecar sends them: `key=value`, joined by commas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodLabels<'a>(Vec<(&'a str, &'a str)>);

impl<'a> PodLabels<'a> {
    /// Reads them. A pair without `=`, or with more than one, is left out.
    pub fn parse(text: &'a str) -> Self {
        let mut pairs: Vec<_> = text
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .filter(|(_, value)| !value.contains('='))
            .map(|(key, value)| (key.trim(), value.trim()))
            .collect();
        pairs.sort_by_key(|(key, _)| *key);
        Self(pairs)
    }

    /// A label's value; of one that was sent twice, the last.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        let end = self.0.partition_point(|(known, _)| *known <= key);
        let (found, value) = self.0.get(end.checked_sub(1)?)?;
        (*found == key).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        let labels = PodLabels::parse("b=2,app=web,empty=,odd,x=1=2,app=db, team = a ");
        for (key, expected) in [
            ("app", Some("db")),
            ("b", Some("2")),
            ("empty", Some("")),
            ("team", Some("a")),
            ("odd", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(labels.get(key), expected, "{key}");
        }
        assert_eq!(PodLabels::parse("").get("app"), None);
    }
}
