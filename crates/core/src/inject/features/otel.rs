//! OpenTelemetry: an init container copies the auto-instrumentation of a language into a volume,
//! and every container of the pod loads it by its language's start-up variable
//! ([`library`](super::library)).
//!
//! A program is traced by one library, so a pod gets ddtrace or this. Containers that bring another
//! agent of their own keep it ([`agents`]).

mod agents;

use std::sync::Arc;

use crate::config::{Feature, Language};
use crate::pod::{Draft, Edits};

use super::library::{Kit, Library};
use crate::inject::note::Note;
use crate::inject::reason::Reason;
use crate::inject::security::ImageUser;
use crate::inject::spec::{
    Ask, ContainerPlace, Marks, MountMark, Request, Room, Spec, StartUp, Trace, VolumeMark,
};

/// Name of the init container.
const INIT_CONTAINER: &str = "datakit-otel-lib-init";
/// Name of the volume that holds the library.
const VOLUME: &str = "datakit-otel-auto-instrument";
/// Where the init container's image has the library of Python and Node.js.
const IN_IMAGE: &str = "/autoinstrumentation/.";
const JAVA_PATH: &str = "/otel-auto-instrumentation-java";
const NODEJS_PATH: &str = "/otel-auto-instrumentation-nodejs";
const PYTHON_PATH: &str = "/otel-auto-instrumentation-python";

static JAVA: Kit = kit(
    JAVA_PATH,
    &[
        "cp",
        "/javaagent.jar",
        "/otel-auto-instrumentation-java/javaagent.jar",
    ],
);
static NODEJS: Kit = kit(NODEJS_PATH, &["cp", "-r", IN_IMAGE, NODEJS_PATH]);
static PYTHON: Kit = kit(PYTHON_PATH, &["cp", "-r", IN_IMAGE, PYTHON_PATH]);

pub(super) const SPEC: Spec = Spec {
    feature: Feature::Otel,
    switch: "admission.datakit/otel.enabled",
    asks: &[
        Ask {
            language: Some(Language::Java),
            annotations: &["admission.datakit/otel-java-lib.version"],
            trace: Trace::StartUp(StartUp {
                variable: "JAVA_TOOL_OPTIONS",
                original: "DATAKIT_ORIGINAL_JAVA_TOOL_OPTIONS",
                bare: "-javaagent:/otel-auto-instrumentation-java/javaagent.jar",
                companion: None,
                before: "",
                behind: " -javaagent:/otel-auto-instrumentation-java/javaagent.jar",
                separator: ' ',
            }),
        },
        Ask {
            language: Some(Language::Nodejs),
            annotations: &["admission.datakit/otel-nodejs-lib.version"],
            trace: Trace::StartUp(StartUp {
                variable: "NODE_OPTIONS",
                original: "DATAKIT_ORIGINAL_NODE_OPTIONS",
                bare: " --require /otel-auto-instrumentation-nodejs/autoinstrumentation.js",
                companion: None,
                before: "",
                behind: " --require /otel-auto-instrumentation-nodejs/autoinstrumentation.js",
                separator: ' ',
            }),
        },
        Ask {
            language: Some(Language::Python),
            annotations: &["admission.datakit/otel-python-lib.version"],
            // The first directory starts the instrumentation, the last has what it imports.
            trace: Trace::StartUp(StartUp {
                variable: "PYTHONPATH",
                original: "DATAKIT_ORIGINAL_PYTHONPATH",
                bare: "/otel-auto-instrumentation-python/opentelemetry/instrumentation/auto_instrumentation:/otel-auto-instrumentation-python",
                companion: None,
                before: "/otel-auto-instrumentation-python/opentelemetry/instrumentation/auto_instrumentation:",
                behind: ":/otel-auto-instrumentation-python",
                separator: ':',
            }),
        },
    ],
    is_privileged: false,
    rival: Some(Feature::Ddtrace),
    marks: Marks {
        container: INIT_CONTAINER,
        place: ContainerPlace::Init,
        mount: MountMark {
            volume: VOLUME,
            paths: &[JAVA_PATH, NODEJS_PATH, PYTHON_PATH],
        },
        volumes: &[VolumeMark::new(VOLUME, "emptyDir")],
        annotations: &[],
        told: None,
        merged: None,
        once_shared: None,
        shares_processes: false,
    },
    prepare: |container, _| Arc::new(Otel(Library::new(container, None))),
};

/// OpenTelemetry, with the settings of a rule.
#[derive(Debug)]
struct Otel(Library);

impl Room for Otel {
    fn plan<'p>(
        &'p self,
        request: &Request<'p>,
        draft: &Draft<'p, '_>,
        edits: &mut Edits<'p>,
        notes: &mut Vec<Note>,
    ) -> Result<bool, Reason> {
        // Every language of the table has one.
        let Trace::StartUp(start_up) = &request.ask.trace else {
            return Ok(false);
        };
        let kit = match request.ask.language {
            Some(Language::Nodejs) => &NODEJS,
            Some(Language::Python) => &PYTHON,
            _ => &JAVA,
        };
        for (_, container) in super::application(draft.pod) {
            agents::none(container, start_up)?;
        }
        self.0.plan(kit, start_up, request, draft, edits, notes)
    }
}

/// What the images of all languages have in common: they hold files and a shell's tools, and run as
/// root.
const fn kit(path: &'static str, command: &'static [&'static str]) -> Kit {
    Kit {
        container: INIT_CONTAINER,
        command,
        user: ImageUser::Root,
        volume: VOLUME,
        path,
    }
}

#[cfg(test)]
mod tests;
