//! The annotations that the operator reads, of all features together.
//!
//! They stand on the pod (so in a workload's pod template). Their names are the documented ones and
//! part of every user's manifests.

use crate::diagnostic::did_you_mean;
use crate::pod::Pod;

use super::features::SPECS;
use super::note::{self, Note};

/// Turns everything off for the pod.
pub const ENABLED: &str = "admission.datakit/enabled";

/// Says what was decided about the pod. It is ours by its name, whoever wrote it: it asks for
/// nothing, and a review makes it true.
pub const STATUS: &str = "admission.datakit/status";

/// Switches, which hold a boolean: the general one, then one a feature.
const SWITCHES: [&str; 1 + SPECS.len()] = {
    let mut all = [ENABLED; 1 + SPECS.len()];
    let mut feature = 0;
    while feature < SPECS.len() {
        all[1 + feature] = SPECS[feature].switch;
        feature += 1;
    }
    all
};

/// Every annotation that has an effect: the switches, then what asks for features.
static ALL: [&str; SWITCHES.len() + asking()] = {
    let mut all = [ENABLED; SWITCHES.len() + asking()];
    let mut at = 0;
    while at < SWITCHES.len() {
        all[at] = SWITCHES[at];
        at += 1;
    }
    let mut feature = 0;
    while feature < SPECS.len() {
        let asks = SPECS[feature].asks;
        let mut ask = 0;
        while ask < asks.len() {
            let mut key = 0;
            while key < asks[ask].annotations.len() {
                all[at] = asks[ask].annotations[key];
                at += 1;
                key += 1;
            }
            ask += 1;
        }
        feature += 1;
    }
    all
};

/// How many annotations ask for features.
const fn asking() -> usize {
    let (mut count, mut feature) = (0, 0);
    while feature < SPECS.len() {
        let asks = SPECS[feature].asks;
        let mut ask = 0;
        while ask < asks.len() {
            count += asks[ask].annotations.len();
            ask += 1;
        }
        feature += 1;
    }
    count
}

/// Annotations of other versions of the operator, which this one doesn't act on.
const OTHER_VERSIONS: [&str; 2] = [
    "admission.datakit/logfwd.log_configs",
    "admission.datakit/logfwd.volume_paths",
];

/// The switch that turns a feature off for the pod, if one does: the general one first.
pub(crate) fn switched_off(pod: &Pod<'_>, feature: &'static str) -> Option<&'static str> {
    [ENABLED, feature]
        .into_iter()
        .find(|key| pod.annotation(key).and_then(parse_bool) == Some(false))
}

/// Whether everything is turned off for the pod.
pub(crate) fn is_off(pod: &Pod<'_>) -> bool {
    pod.annotation(ENABLED).and_then(parse_bool) == Some(false)
}

/// What is wrong with the annotations themselves: misspelled names, switches that hold no boolean.
pub(crate) fn notes(pod: &Pod<'_>) -> Vec<Note> {
    let mut notes = Vec::new();
    for (key, value) in &pod.annotations {
        let key = key.as_ref();
        if SWITCHES.contains(&key) {
            if parse_bool(value).is_none() {
                note::add(&mut notes, Note::SWITCH_UNREADABLE, || {
                    Note::SwitchUnreadable {
                        annotation: key.to_owned(),
                        value: value.clone().into_owned(),
                    }
                });
            }
        } else if OTHER_VERSIONS.contains(&key) {
            note::add(&mut notes, Note::OTHER_VERSION, || {
                Note::AnnotationOfOtherVersion {
                    annotation: key.to_owned(),
                }
            });
        } else if key != STATUS && !ALL.contains(&key) {
            // What is only counted isn't compared with what may have been meant.
            note::add(&mut notes, Note::UNKNOWN_ANNOTATION, || {
                Note::UnknownAnnotation {
                    annotation: key.to_owned(),
                    suggestion: meant(key).map(str::to_owned),
                }
            });
        }
    }
    notes
}

/// The annotation that was probably meant. Most of each name is the same in all, so the part that
/// differs must be close as well: `ruby-lib.version` doesn't mean `java-lib.version`.
fn meant(key: &str) -> Option<&'static str> {
    let subject = |key: &str| -> String {
        let name = key.rsplit('/').next().unwrap_or_default();
        name.split(['-', '.']).next().unwrap_or_default().to_owned()
    };
    let meant = did_you_mean(key, ALL)?;
    let subjects = (subject(key), subject(meant));
    let close =
        subjects.0 == subjects.1 || did_you_mean(&subjects.0, [subjects.1.as_str()]).is_some();
    close.then_some(meant)
}

/// Booleans as Go's `strconv.ParseBool` reads them, which existing manifests rely on.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
