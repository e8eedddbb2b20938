//! The annotations that the operator reads, in one place.
//!
//! They stand on the pod (so in a workload's pod template). Their names are the documented ones and part of every
//! user's manifests.

use crate::diagnostic::did_you_mean;
use crate::pod::Pod;

use super::note::{self, Note};

/// Turns everything off for the pod.
pub const ENABLED: &str = "admission.datakit/enabled";
/// Turns ddtrace off.
pub const DDTRACE_ENABLED: &str = "admission.datakit/ddtrace.enabled";
/// Turns logfwd off.
pub const LOGFWD_ENABLED: &str = "admission.datakit/logfwd.enabled";
/// Turns the profiler off.
pub const PROFILER_ENABLED: &str = "admission.datakit/profiler.enabled";

/// Asks for ddtrace for Java; the value is the image's tag.
pub const JAVA_LIB: &str = "admission.datakit/java-lib.version";
/// Asks for ddtrace for Node.js.
pub const JS_LIB: &str = "admission.datakit/js-lib.version";
/// The same as [`JS_LIB`].
pub const NODEJS_LIB: &str = "admission.datakit/nodejs-lib.version";
/// Asks for ddtrace for Python.
pub const PYTHON_LIB: &str = "admission.datakit/python-lib.version";

/// Asks for log forwarding; the value is a JSON array of instances.
pub const LOGFWD_INSTANCES: &str = "admission.datakit/logfwd.instances";

/// Asks for the Java profiler.
pub const JAVA_PROFILER: &str = "admission.datakit/java-profiler.version";
/// Asks for the Python profiler.
pub const PYTHON_PROFILER: &str = "admission.datakit/python-profiler.version";
/// Asks for the Go profiler.
pub const GOLANG_PROFILER: &str = "admission.datakit/golang-profiler.version";

/// Every annotation that has an effect.
pub const ALL: [&str; 12] = [
    ENABLED,
    DDTRACE_ENABLED,
    LOGFWD_ENABLED,
    PROFILER_ENABLED,
    JAVA_LIB,
    JS_LIB,
    NODEJS_LIB,
    PYTHON_LIB,
    LOGFWD_INSTANCES,
    JAVA_PROFILER,
    PYTHON_PROFILER,
    GOLANG_PROFILER,
];

/// Switches of features that this version doesn't have.
const OTHER_SWITCHES: [&str; 2] = [
    "admission.datakit/flameshot.enabled",
    "admission.datakit/otel.enabled",
];

/// Annotations of other versions of the operator, which this one doesn't act on.
const OTHER_VERSIONS: [&str; 6] = [
    "admission.datakit/php-lib.version",
    "admission.datakit/otel-java-lib.version",
    "admission.datakit/otel-nodejs-lib.version",
    "admission.datakit/otel-python-lib.version",
    "admission.datakit/logfwd.log_configs",
    "admission.datakit/logfwd.volume_paths",
];

/// Switches, which hold a boolean.
const SWITCHES: [&str; 4] = [ENABLED, DDTRACE_ENABLED, LOGFWD_ENABLED, PROFILER_ENABLED];

/// The switch that turns a feature off for the pod, if one does: the general one first.
pub(crate) fn switched_off(pod: &Pod<'_>, feature: &'static str) -> Option<&'static str> {
    [ENABLED, feature]
        .into_iter()
        .find(|key| pod.annotation(key).and_then(parse_bool) == Some(false))
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
        } else if OTHER_SWITCHES.contains(&key) {
            // Nothing can be switched off or on that this version doesn't have.
        } else if OTHER_VERSIONS.contains(&key) {
            note::add(&mut notes, Note::OTHER_VERSION, || {
                Note::AnnotationOfOtherVersion {
                    annotation: key.to_owned(),
                }
            });
        } else if !ALL.contains(&key) {
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

/// The annotation that was probably meant. Most of each name is the same in all, so the part that differs must be close
/// as well: `ruby-lib.version` doesn't mean `java-lib.version`.
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
