//! ddtrace: an init container copies the tracing library into a volume, and every container of the
//! pod loads it by its language's start-up variable ([`library`](super::library)).

use std::sync::Arc;

use crate::config::{Extra, Feature, Language, PhpLoader};
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
const KIT: Kit = Kit {
    container: INIT_CONTAINER,
    // The script is in the image's own working directory.
    command: &["sh", "copy-lib.sh", MOUNT_PATH],
    user: ImageUser::Own,
    volume: VOLUME,
    path: MOUNT_PATH,
};

static USUAL: Kit = KIT;
/// For PHP the settings that load the library are those of the loader for the image's C library.
static PHP_GNU: Kit = Kit {
    command: &[
        "sh",
        "-c",
        "/datadog-init/copy-lib.sh /datadog-lib && cp /datadog-lib/linux-gnu/loader/dd_library_loader.ini /datadog-lib/dd_library_loader.ini",
    ],
    ..KIT
};
static PHP_MUSL: Kit = Kit {
    command: &[
        "sh",
        "-c",
        "/datadog-init/copy-lib.sh /datadog-lib && cp /datadog-lib/linux-musl/loader/dd_library_loader.ini /datadog-lib/dd_library_loader.ini",
    ],
    ..KIT
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
                companion: None,
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
                companion: None,
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
                companion: None,
                before: "/datadog-lib/:",
                behind: "",
                separator: ':',
            }),
        },
        Ask {
            language: Some(Language::Php),
            annotations: &["admission.datakit/php-lib.version"],
            // Where the loader finds the library, and the directory of its settings behind those of
            // PHP.
            trace: Trace::StartUp(StartUp {
                variable: "PHP_INI_SCAN_DIR",
                original: "DATAKIT_ORIGINAL_PHP_INI_SCAN_DIR",
                bare: "/usr/local/etc/php/conf.d:/datadog-lib",
                companion: Some(("DD_LOADER_PACKAGE_PATH", MOUNT_PATH)),
                before: "",
                behind: ":/datadog-lib",
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
    prepare: |container, extra| {
        Arc::new(Ddtrace {
            library: Library::new(container, Some(TAGS)),
            kit: match extra {
                Extra::Php(PhpLoader::LinuxGnu) => &PHP_GNU,
                Extra::Php(PhpLoader::LinuxMusl) => &PHP_MUSL,
                _ => &USUAL,
            },
        })
    },
};

/// ddtrace, with the settings of a rule.
#[derive(Debug)]
struct Ddtrace {
    library: Library,
    kit: &'static Kit,
}

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
        self.library
            .plan(self.kit, start_up, request, draft, edits, notes)
    }
}
