//! ddtrace: an init container copies the tracing library into a volume, and every container of the pod loads it by its
//! language's start-up variable ([`library`](super::library)).

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
const INIT_CONTAINER: &str = "datakit-lib-init";
/// Name of the volume that holds the library.
const VOLUME: &str = "datakit-auto-instrument";
/// Where every container finds it.
const MOUNT_PATH: &str = "/datadog-lib";
/// The variable whose values are merged instead of one winning.
const TAGS: &str = "DD_TAGS";
static KIT: Kit = Kit {
    container: INIT_CONTAINER,
    // The script is in the image's own working directory.
    command: &["sh", "copy-lib.sh", MOUNT_PATH],
    user: ImageUser::Own,
    volume: VOLUME,
    path: MOUNT_PATH,
};

pub(super) const SPEC: Spec = Spec {
    feature: Feature::Ddtrace,
    switch: "admission.datakit/ddtrace.enabled",
    asks: &[
        Ask {
            language: Some(Language::Java),
            annotations: &["admission.datakit/java-lib.version"],
            trace: Trace::StartUp(StartUp {
                variable: "JAVA_TOOL_OPTIONS",
                original: "DATAKIT_ORIGINAL_JAVA_TOOL_OPTIONS",
                bare: " -javaagent:/datadog-lib/dd-java-agent.jar",
                before: "",
                behind: " -javaagent:/datadog-lib/dd-java-agent.jar",
                separator: ' ',
            }),
        },
        Ask {
            language: Some(Language::Nodejs),
            annotations: &[
                "admission.datakit/js-lib.version",
                "admission.datakit/nodejs-lib.version",
            ],
            trace: Trace::StartUp(StartUp {
                variable: "NODE_OPTIONS",
                original: "DATAKIT_ORIGINAL_NODE_OPTIONS",
                bare: " --require=/datadog-lib/node_modules/dd-trace/init",
                before: "",
                behind: " --require=/datadog-lib/node_modules/dd-trace/init",
                separator: ' ',
            }),
        },
        Ask {
            language: Some(Language::Python),
            annotations: &["admission.datakit/python-lib.version"],
            trace: Trace::StartUp(StartUp {
                variable: "PYTHONPATH",
                original: "DATAKIT_ORIGINAL_PYTHONPATH",
                bare: "/datadog-lib/",
                before: "/datadog-lib/:",
                behind: "",
                separator: ':',
            }),
        },
    ],
    is_privileged: false,
    rival: Some(Feature::Otel),
    marks: Marks {
        container: INIT_CONTAINER,
        place: ContainerPlace::Init,
        mount: MountMark {
            volume: VOLUME,
            paths: &[MOUNT_PATH],
        },
        volumes: &[VolumeMark::new(VOLUME, "emptyDir")],
        annotations: &[],
        told: None,
        merged: Some(TAGS),
        once_shared: None,
        shares_processes: false,
    },
    prepare: |container, _| Arc::new(Ddtrace(Library::new(container, Some(TAGS)))),
};

/// ddtrace, with the settings of a rule.
#[derive(Debug)]
struct Ddtrace(Library);

impl Room for Ddtrace {
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
        self.0.plan(&KIT, start_up, request, draft, edits, notes)
    }
}
