//! The golden cases of injection through the command line: `testdata/inject/<case>/` holds a pod,
//! perhaps a configuration and a context, and what becomes of the pod.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::run::{Ran, run_with};

/// Cases whose pods have something of the user's that is just what injection would have added,
/// where it would have added it. Taking out takes it as well.
const AMBIGUOUS: [&str; 3] = [
    "ddtrace-empty-start-up-options",
    "ddtrace-php-own-variables-empty-or-complete",
    "ddtrace-tags-trailing-comma",
];

/// Cases that can be run by one command.
#[derive(Default)]
struct Group {
    cases: Vec<PathBuf>,
    args: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Group {
    /// Runs a subcommand on a file of each case, or on a text.
    fn run(&self, command: &str, file: Option<&str>, more: &[&str], stdin: &str) -> Ran {
        let mut args = vec![command.to_owned()];
        match file {
            Some(file) => {
                for case in &self.cases {
                    args.push("-f".to_owned());
                    args.push(case.join(file).display().to_string());
                }
            }
            None => args.extend(["-f".to_owned(), "-".to_owned()]),
        }
        args.extend(self.args.iter().cloned());
        args.extend(more.iter().map(|&arg| arg.to_owned()));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let variables: Vec<(&str, &str)> = self
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        run_with(&variables, &args, stdin)
    }
}

fn groups() -> Vec<Group> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/inject");
    let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
    for entry in fs::read_dir(root).unwrap() {
        let case = entry.unwrap().path();
        if read(&case, "pod.json")["kind"].is_null() {
            // No manifest, only something that a webhook can be sent.
            continue;
        }
        let optional = |file: &str| fs::read_to_string(case.join(file)).unwrap_or_default();
        let (config, context) = (optional("config.json"), optional("context.json"));
        let group = groups.entry((config.clone(), context.clone())).or_default();
        if group.cases.is_empty() {
            let context: Value = serde_json::from_str(&context).unwrap_or_default();
            let text = |value: &Value| value.as_str().map(str::to_owned);
            if !config.is_empty() {
                group.args.extend([
                    "--config".to_owned(),
                    case.join("config.json").display().to_string(),
                ]);
            }
            for (key, flag) in [
                ("namespace", "--namespace"),
                ("kubernetes_version", "--kubernetes-version"),
            ] {
                if let Some(value) = text(&context[key]) {
                    group.args.extend([flag.to_owned(), value]);
                }
            }
            let variables = context["environment"].as_object().into_iter().flatten();
            group.variables.extend(
                variables.map(|(name, value)| (name.clone(), text(value).unwrap_or_default())),
            );
        }
        group.cases.push(case);
    }
    assert!(!groups.is_empty(), "no case was found");
    groups.into_values().collect()
}

fn values(stream: &str) -> Vec<Value> {
    serde_json::Deserializer::from_str(stream)
        .into_iter()
        .map(Result::unwrap)
        .collect()
}

fn read(case: &Path, file: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(case.join(file)).unwrap()).unwrap()
}

/// What injection can't tell from something else is made the same.
fn normal(pod: &Value) -> Value {
    fn drop_empty(object: &mut Value) {
        if let Some(object) = object.as_object_mut() {
            object.retain(|_, value| {
                !value.is_null() && value.as_array().is_none_or(|items| !items.is_empty())
            });
        }
    }
    let mut pod = pod.clone();
    let spec = &mut pod["spec"];
    for container in spec["containers"].as_array_mut().into_iter().flatten() {
        drop_empty(container);
        for env in container["env"].as_array_mut().into_iter().flatten() {
            // No value is an empty one.
            if env["value"] == "" {
                env.as_object_mut().unwrap().remove("value");
            }
        }
        if container["env"].is_null() {
            drop_empty(container);
        }
    }
    drop_empty(spec);
    spec.as_object_mut()
        .unwrap()
        .remove("shareProcessNamespace");
    pod
}

#[test]
fn cases() {
    let mut ambiguous = BTreeSet::new();
    for group in groups() {
        let patches = group.run("inject", Some("pod.json"), &["-o", "patch"], "");
        let injected = group.run("inject", Some("pod.json"), &["-o", "json"], "");
        assert_eq!((patches.code, injected.code), (0, 0), "{}", patches.stderr);
        let (patches, pods) = (values(&patches.stdout), values(&injected.stdout));
        assert_eq!(
            (patches.len(), pods.len()),
            (group.cases.len(), group.cases.len())
        );
        for ((case, patch), pod) in group.cases.iter().zip(&patches).zip(&pods) {
            assert_eq!(
                patch["patch"],
                read(case, "patch.json"),
                "{}",
                case.display()
            );
            assert_eq!(*pod, read(case, "injected.json"), "{}", case.display());
        }
        // Injected twice is injected once.
        let again = group.run("inject", None, &["-o", "json"], &injected.stdout);
        assert_eq!(again.stdout, injected.stdout);
        // And it can be taken out again.
        let back = group.run("uninject", None, &["-o", "json"], &injected.stdout);
        assert_eq!(back.code, 0, "{}", back.stderr);
        for (case, pod) in group.cases.iter().zip(values(&back.stdout)) {
            let decisions = read(case, "decisions.json")["decisions"].clone();
            let was_there = |decision: &Value| {
                ["repaired", "already_injected"].contains(&decision["outcome"].as_str().unwrap())
            };
            let changed = read(case, "patch.json") != Value::Array(Vec::new());
            let all_new = changed && !decisions.as_array().unwrap().iter().any(was_there);
            if all_new && normal(&pod) != normal(&read(case, "pod.json")) {
                ambiguous.insert(case.file_name().unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    assert_eq!(ambiguous, BTreeSet::from(AMBIGUOUS.map(str::to_owned)));
}
