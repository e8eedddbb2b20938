//! What an injected pod looks like, feature by feature.

use datakit_operator_e2e::stored;
use serde_json::{Value, json};

/// A feature, and how a pod asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feature {
    /// A tracing library, with the key of its annotation and its start-up variable.
    Ddtrace(&'static str, &'static str),
    Logfwd,
    /// A profiler, with the key of its annotation.
    Profiler(&'static str),
}

/// One of each that a user can ask for.
pub(crate) const FEATURES: [(&str, Feature); 8] = [
    (
        "java",
        Feature::Ddtrace("java-lib.version", "JAVA_TOOL_OPTIONS"),
    ),
    ("js", Feature::Ddtrace("js-lib.version", "NODE_OPTIONS")),
    (
        "nodejs",
        Feature::Ddtrace("nodejs-lib.version", "NODE_OPTIONS"),
    ),
    (
        "python",
        Feature::Ddtrace("python-lib.version", "PYTHONPATH"),
    ),
    ("logfwd", Feature::Logfwd),
    ("java-profiler", Feature::Profiler("java-profiler.version")),
    (
        "python-profiler",
        Feature::Profiler("python-profiler.version"),
    ),
    (
        "golang-profiler",
        Feature::Profiler("golang-profiler.version"),
    ),
];

/// The directory that [`LOGFWD`] collects from.
pub(crate) const LOG_DIRECTORY: &str = "/var/log/app";
/// A value for logfwd's annotation.
pub(crate) const LOGFWD: &str = r#"[{"datakit_addr":"datakit-service.datakit.svc:9533","loggings":[{"logfiles":["/var/log/app/*.log"],"source":"app"}]}]"#;

impl Feature {
    /// The annotation that asks for it.
    pub(crate) fn annotation(self) -> (String, String) {
        let (key, value) = match self {
            Self::Ddtrace(key, _) | Self::Profiler(key) => (key, ""),
            Self::Logfwd => ("logfwd.instances", LOGFWD),
        };
        (format!("admission.datakit/{key}"), value.to_owned())
    }

    /// Adds its annotation to a pod or a pod template.
    pub(crate) fn ask(self, pod: &mut Value) {
        let (key, value) = self.annotation();
        pod["metadata"]["annotations"][key] = value.into();
    }

    /// Fails unless all of it is in a pod whose own containers are `apps`. `native`: the sidecar of
    /// logfwd is one that ends with a Job.
    pub(crate) fn assert_in(self, pod: &Value, apps: &[&str], native: bool) {
        match self {
            Self::Ddtrace(_, variable) => {
                named(pod, "initContainers", "datakit-lib-init");
                volume(pod, "datakit-auto-instrument");
                for app in apps {
                    let app = named(pod, "containers", app);
                    assert_mounted(app, "datakit-auto-instrument", "/datadog-lib");
                    let value = element(&app["env"], variable)["value"]
                        .as_str()
                        .unwrap_or_default();
                    assert!(value.contains("/datadog-lib/"), "{variable}={value}");
                }
            }
            Self::Logfwd => {
                let sidecar = match native {
                    true => named(pod, "initContainers", "datakit-logfwd"),
                    false => named(pod, "containers", "datakit-logfwd"),
                };
                let always = json!("Always");
                assert_eq!(sidecar.get("restartPolicy"), native.then_some(&always));
                let instances = element(&sidecar["env"], "LOGFWD_JSON_CONFIG")["value"]
                    .as_str()
                    .unwrap_or_default();
                assert!(instances.contains(LOG_DIRECTORY), "{instances}");
                volume(pod, "datakit-logfwd-volume-0");
                assert_mounted(sidecar, "datakit-logfwd-volume-0", LOG_DIRECTORY);
                for app in apps {
                    assert_mounted(
                        named(pod, "containers", app),
                        "datakit-logfwd-volume-0",
                        LOG_DIRECTORY,
                    );
                }
            }
            Self::Profiler(key) => {
                assert_eq!(pod["spec"]["shareProcessNamespace"], true);
                let sidecar = named(pod, "containers", "datakit-profiler");
                let added = &sidecar["securityContext"]["capabilities"]["add"];
                assert_eq!(added, &json!(["SYS_PTRACE", "SYS_ADMIN"]));
                volume(pod, "datakit-profiler-volume");
                assert_mounted(sidecar, "datakit-profiler-volume", "/app/datakit-profiler");
                let mut mounts = sidecar["volumeMounts"].as_array().into_iter().flatten();
                let time_zone = mounts.find(|mount| mount["name"] == "timezone");
                let time_zone = time_zone.unwrap_or_else(|| panic!("no time zone: {sidecar:#}"));
                assert_eq!(time_zone["mountPath"], "/etc/localtime");
                assert_eq!(time_zone["readOnly"], true);
                for app in apps {
                    let app = named(pod, "containers", app);
                    let mounts = app["volumeMounts"].to_string();
                    assert!(!mounts.contains("/etc/localtime"), "{app:#}");
                    if key.starts_with("java") {
                        assert_mounted(app, "datakit-profiler-volume", "/app/datakit-profiler");
                        assert_mounted(app, "tmp", "/tmp");
                    } else {
                        assert!(!mounts.contains("datakit-profiler-volume"), "{app:#}");
                    }
                }
            }
        }
    }
}

/// Whether there is anything of the operator in a stored pod.
pub(crate) fn has_traces(pod: &Value) -> bool {
    let mut pod = stored::comparable(pod);
    pod["metadata"]["annotations"] = Value::Null;
    pod.to_string().contains("datakit") || pod.to_string().contains("datadog")
}

/// A container of a pod, by name.
pub(crate) fn named<'a>(pod: &'a Value, list: &str, name: &str) -> &'a Value {
    element(&pod["spec"][list], name)
}

fn volume<'a>(pod: &'a Value, name: &str) -> &'a Value {
    named(pod, "volumes", name)
}

fn element<'a>(list: &'a Value, name: &str) -> &'a Value {
    let found = list
        .as_array()
        .into_iter()
        .flatten()
        .find(|element| element["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {list:#}"))
}

fn assert_mounted(container: &Value, volume: &str, path: &str) {
    let mut mounts = container["volumeMounts"].as_array().into_iter().flatten();
    let found = mounts.any(|mount| mount["name"] == volume && mount["mountPath"] == path);
    assert!(found, "{volume} is not at {path} in {container:#}");
}
