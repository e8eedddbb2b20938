//! What was found, and how it is shown.

use serde_json::{Value, json};

use crate::visible::visible;

/// Where each check is explained; `#check-<name>` is its heading.
const PAGE: &str = "docs/operations.md";

/// Every check by name, in no particular order.
#[cfg(test)]
pub(super) const NAMES: [&str; 18] = [
    "api-server",
    "rights-to-install",
    "namespace",
    "names",
    "replicas",
    "versions",
    "rights",
    "webhook",
    "validation",
    "ca-bundle",
    "certificates",
    "match-conditions",
    "lease",
    "endpoints",
    "dry-run",
    "configuration",
    "election",
    "logging-configs",
];

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// All is well, in a few words.
    Ok(String),
    /// Something may not be meant, and what can be done.
    Warning(String, String),
    /// Something doesn't work, and what can be done.
    Failed(String, String),
    /// It couldn't be looked at, or isn't there to be.
    Skipped(String),
}

impl Found {
    pub(super) fn warning(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Warning(what.into(), remedy.into())
    }

    pub(super) fn failed(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Failed(what.into(), remedy.into())
    }

    fn outcome(&self) -> &'static str {
        match self {
            Self::Ok(_) => "ok",
            Self::Warning(..) => "warning",
            Self::Failed(..) => "failed",
            Self::Skipped(_) => "skipped",
        }
    }

    fn parts(&self) -> (&str, Option<&str>) {
        match self {
            Self::Ok(message) | Self::Skipped(message) => (message, None),
            Self::Warning(message, remedy) | Self::Failed(message, remedy) => {
                (message, Some(remedy))
            }
        }
    }
}

/// All that was found, in the order of the checks.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<(&'static str, Found)>);

/// How a report is written for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    /// Marks instead of words.
    unicode: bool,
    colour: bool,
}

impl Style {
    /// The style that suits standard output. `variable` is the environment.
    pub(super) fn of(terminal: bool, variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        Self {
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
            colour: terminal
                && set("NO_COLOR").is_none()
                && variable("TERM").as_deref() != Some("dumb"),
        }
    }

    fn mark(self, found: &Found) -> String {
        let (mark, word, colour) = match found {
            Found::Ok(_) => ("✔", "ok  ", 32),
            Found::Warning(..) => ("‼", "warn", 33),
            Found::Failed(..) => ("✘", "FAIL", 31),
            Found::Skipped(_) => ("–", "skip", 2),
        };
        let mark = if self.unicode { mark } else { word };
        match self.colour {
            true => format!("\x1b[{colour}m{mark}\x1b[0m"),
            false => mark.to_owned(),
        }
    }
}

impl Report {
    /// Adds what a check found; whether it didn't fail.
    pub(super) fn add(&mut self, name: &'static str, found: Found) -> bool {
        let is_well = !matches!(found, Found::Failed(..));
        self.0.push((name, found));
        is_well
    }

    /// How many checks failed.
    pub(super) fn failed(&self) -> usize {
        self.count("failed")
    }

    fn count(&self, outcome: &str) -> usize {
        let found = self.0.iter();
        found
            .filter(|(_, found)| found.outcome() == outcome)
            .count()
    }

    /// Lines for people; of a short report only those that don't say that all is well.
    pub(super) fn text(&self, style: Style, short: bool) -> String {
        let mut text = String::new();
        for (name, found) in &self.0 {
            let (message, remedy) = found.parts();
            if short && remedy.is_none() {
                continue;
            }
            let mark = style.mark(found);
            text.push_str(&format!("{mark} {name}: {}\n", visible(message)));
            if let Some(remedy) = remedy {
                text.push_str(&format!("    {}\n    {}\n", visible(remedy), link(name)));
            }
        }
        let (failed, warnings) = (self.failed(), self.count("warning"));
        if !short || failed + warnings > 0 {
            text.push_str(&format!(
                "{} checks, {failed} failed, {warnings} with warnings, {} skipped\n",
                self.0.len(),
                self.count("skipped")
            ));
        }
        text
    }

    pub(super) fn to_json(&self) -> Value {
        let checks = self.0.iter().map(|(name, found)| {
            let (message, remedy) = found.parts();
            json!({
                "name": name,
                "outcome": found.outcome(),
                "message": message,
                "remedy": remedy,
                "link": link(name),
            })
        });
        json!({
            "checks": checks.collect::<Vec<_>>(),
            "failed": self.failed(),
            "warnings": self.count("warning"),
        })
    }
}

fn link(name: &str) -> String {
    format!("{PAGE}#check-{name}")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        report.add("api-server", Found::Ok("Kubernetes v1.37.2".to_owned()));
        report.add("namespace", Found::Skipped("not asked".to_owned()));
        let warning = ("two versions".to_owned(), "wait".to_owned());
        report.add("versions", Found::Warning(warning.0, warning.1));
        report.add("lease", Found::failed("nobody\u{1b}[2J", "look at the log"));
        report
    }

    fn style(terminal: bool, variables: &[(&str, &str)]) -> Style {
        Style::of(terminal, |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn it_reads_well_in_any_locale() {
        let plain = style(false, &[("LANG", "C")]);
        expect![[r"
            ok   api-server: Kubernetes v1.37.2
            skip namespace: not asked
            warn versions: two versions
                wait
                docs/operations.md#check-versions
            FAIL lease: nobody\u{1b}[2J
                look at the log
                docs/operations.md#check-lease
            4 checks, 1 failed, 1 with warnings, 1 skipped
        "]]
        .assert_eq(&report().text(plain, false));
        let utf8 = style(false, &[("LC_ALL", ""), ("LANG", "de_DE.UTF-8")]);
        expect![[r"
            ‼ versions: two versions
                wait
                docs/operations.md#check-versions
            ✘ lease: nobody\u{1b}[2J
                look at the log
                docs/operations.md#check-lease
            4 checks, 1 failed, 1 with warnings, 1 skipped
        "]]
        .assert_eq(&report().text(utf8, true));
        let mut well = Report::default();
        well.add("api-server", Found::Ok(String::new()));
        assert_eq!(well.text(utf8, true), "");
    }

    #[test]
    fn colours_are_for_terminals_that_want_them() {
        for (terminal, variables, colour) in [
            (true, &[][..], true),
            (false, &[], false),
            (true, &[("NO_COLOR", "1")], false),
            (true, &[("NO_COLOR", "")], true),
            (true, &[("TERM", "dumb")], false),
        ] {
            let text = report().text(style(terminal, variables), false);
            assert_eq!(text.contains("\x1b["), colour, "{terminal} {variables:?}");
        }
    }

    #[test]
    fn every_check_has_its_heading() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
        let page = std::fs::read_to_string(page).unwrap();
        for name in NAMES {
            let heading = format!("### Check: {name}");
            assert!(page.lines().any(|line| line == heading), "no `{heading}`");
        }
    }
}
