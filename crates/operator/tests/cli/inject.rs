use std::fs;

use expect_test::{Expect, expect};

use crate::run::{Ran, example_files, examples, run, run_with};

pub(crate) const POD: &str = "\
kind: Pod # keep me
metadata:
  name: web
  annotations:
    admission.datakit/java-lib.version: v1 # and me
spec:
  containers:
  - name: web
";

/// A configuration whose results are short.
const CONFIG: &str = r#"{"admission_inject": {
    "ddtrace": {"images": {"java_agent_image": "lib:v0"}, "envs": {"A": "1"}},
    "logfwd": {"images": {"logfwd_image": "fwd:v0"}}
}}"#;

fn inject(args: &[&str], stdin: &str) -> Ran {
    run_with(
        &[("ENV_JSON_CONFIG", CONFIG)],
        &[&["inject", "-f", "-"], args].concat(),
        stdin,
    )
}

fn check(args: &[&str], stdin: &str, code: i32, stdout: Expect, stderr: Expect) {
    let ran = inject(args, stdin);
    stdout.assert_eq(&ran.stdout);
    stderr.assert_eq(&ran.stderr);
    assert_eq!(ran.code, code);
}

#[test]
fn a_pod_is_injected_and_the_rest_stays() {
    check(
        &[],
        POD,
        0,
        expect![[r#"
            kind: Pod # keep me
            metadata:
              name: web
              annotations:
                admission.datakit/java-lib.version: v1 # and me
            spec:
              containers:
              - name: web
                env:
                - name: JAVA_TOOL_OPTIONS
                  value: " -javaagent:/datadog-lib/dd-java-agent.jar"
                - name: A
                  value: "1"
                volumeMounts:
                - name: datakit-auto-instrument
                  mountPath: /datadog-lib
              volumes:
              - name: datakit-auto-instrument
                emptyDir: {}
              initContainers:
              - name: datakit-lib-init
                image: lib:v1
                command:
                - sh
                - copy-lib.sh
                - /datadog-lib
                volumeMounts:
                - name: datakit-auto-instrument
                  mountPath: /datadog-lib
                imagePullPolicy: IfNotPresent
        "#]],
        expect![[r#"
        -:1: Pod/web: ddtrace (java) injected, asked for by annotation admission.datakit/java-lib.version
    "#]],
    );
}

#[test]
fn what_has_nothing_to_inject_passes_byte_for_byte() {
    for text in [
        "",
        "# nothing\n",
        "a:   [1,   0x10] # odd\n---\n\n# c\n---\nb: 'x'",
        "\u{feff}a: 1\r\n---\r\nb: |\r\n  x\r\n...\r\n",
        "{\"kind\":\"Pod\" ,\"n\": 1.0}\n{\"b\" :2}",
        "apiVersion: v1\nkind: Secret\ndata: &x {a: !!binary aGk=}\nb: *x\n",
    ] {
        let ran = inject(&[], text);
        assert_eq!(
            (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
            (0, text, "")
        );
    }
}

#[test]
fn a_broken_document_does_not_keep_the_others() {
    let text = format!("a: 1\n---\nb: [\n---\nc: {{{{ .Values.c }}}}\n---\n{POD}");
    let ran = inject(&["-o", "patch"], &text);
    assert_eq!(ran.code, 1);
    expect![[r#"
        error: failed to parse document 2 of `-` (line 3, column 4): unclosed bracket '['; it is left out
        error: failed to parse document 3 of `-` (line 5, column 5): a key must be a text, not a list or an object; this looks like a template: render it first, as in `helm template CHART | datakit-operator … -f -`; it is left out
        -:7: Pod/web: ddtrace (java) injected, asked for by annotation admission.datakit/java-lib.version
    "#]].assert_eq(&ran.stderr);
    expect![[r#"
        {"source":"-","document":4,"object":"","apiVersion":"","kind":"Pod","namespace":null,"name":"web","patch":[{"op":"add","path":"/spec/volumes","value":[{"name":"datakit-auto-instrument","emptyDir":{}}]},{"op":"add","path":"/spec/initContainers","value":[{"name":"datakit-lib-init","image":"lib:v1","command":["sh","copy-lib.sh","/datadog-lib"],"volumeMounts":[{"name":"datakit-auto-instrument","mountPath":"/datadog-lib"}],"imagePullPolicy":"IfNotPresent"}]},{"op":"add","path":"/spec/containers/0/env","value":[{"name":"JAVA_TOOL_OPTIONS","value":" -javaagent:/datadog-lib/dd-java-agent.jar"},{"name":"A","value":"1"}]},{"op":"add","path":"/spec/containers/0/volumeMounts","value":[{"name":"datakit-auto-instrument","mountPath":"/datadog-lib"}]}]}
    "#]].assert_eq(&ran.stdout);
    let ran = inject(&[], &text);
    assert!(
        ran.stdout.starts_with("a: 1\n---\nkind: Pod # keep me\n"),
        "{}",
        ran.stdout
    );
}

#[test]
fn patches_apply_to_the_object() {
    let list = r#"{"kind": "List", "items": [{"kind": "Service"}, {
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c", "namespace": "n"},
        "spec": {"jobTemplate": {"spec": {"template": {
            "metadata": {"annotations": {"admission.datakit/java-lib.version": ""}},
            "spec": {"containers": [{"name": "a"}]}
        }}}}
    }]}"#;
    let ran = inject(&["-o", "patch"], list);
    let line: serde_json::Value = serde_json::from_str(&ran.stdout).expect("one object");
    assert_eq!(
        (&line["object"], &line["namespace"]),
        (&"/items/1".into(), &"n".into())
    );
    let paths: Vec<_> = line["patch"]
        .as_array()
        .expect("a patch")
        .iter()
        .map(|operation| &operation["path"])
        .collect();
    assert_eq!(paths[0], "/spec/jobTemplate/spec/template/spec/volumes");
    assert!(paths.len() > 3);
}

#[test]
fn formats_follow_the_input_or_the_flag() {
    let json = r#"{"kind": "ConfigMap", "data": {"a": "yes"}}"#;
    check(
        &["-o", "yaml"],
        json,
        0,
        expect![[r#"
        kind: ConfigMap
        data:
          a: "yes"
    "#]],
        expect![""],
    );
    check(
        &["-o", "json"],
        "a: yes\n---\nb: 012\n",
        0,
        expect![[r#"
        {
            "a": true
        }
        {
            "b": 10
        }
    "#]],
        expect![""],
    );
    check(
        &[],
        json,
        0,
        expect![[r#"{"kind": "ConfigMap", "data": {"a": "yes"}}"#]],
        expect![""],
    );
    // Mixed: YAML throughout.
    check(
        &[],
        &format!("{json}\n---\na: 'x'\n"),
        0,
        expect![[r#"
        kind: ConfigMap
        data:
          a: "yes"
        ---
        a: 'x'
    "#]],
        expect![""],
    );
}

#[test]
fn a_directory_is_read_in_order_and_summed_up() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    };
    write("b.yml", "b: 2");
    write("a/z.yaml", "a: 1\n");
    write("c.json", "{\"c\": 3}");
    write("d.YAML", POD);
    write("e.yaml", "e: [");
    write("notes.txt", "not: this\n");
    write(".git/x.yaml", "nor: this\n");
    fs::write(directory.path().join("f.yaml"), b"\xff\xfe").expect("written");
    let path = directory.path().to_str().expect("text");
    let ran = run_with(&[("ENV_JSON_CONFIG", CONFIG)], &["inject", "-f", path], "");
    assert_eq!(ran.code, 1);
    let head: String = ran
        .stdout
        .lines()
        .take(7)
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(
        head,
        "a: 1\n---\nb: 2\n---\nc: 3\n---\nkind: Pod # keep me\n"
    );
    let stderr = ran.stderr.replace(path, "DIR");
    expect![[r#"
        DIR/d.YAML:1: Pod/web: ddtrace (java) injected, asked for by annotation admission.datakit/java-lib.version
        error: failed to parse document 1 of `DIR/e.yaml` (line 1, column 4): unclosed bracket '['; it is left out
        error: failed to read `DIR/f.yaml` as text: it is not UTF-8 from byte 1 on; convert it, for instance with iconv
        5 files, 4 documents, 1 pod template
          ddtrace    1 injected
          otel       1 not requested
          logfwd     1 not requested
          flameshot  1 not requested
          profiler   1 not requested
          logging    1 not requested
          2 errors
    "#]].assert_eq(&stderr);
}

#[test]
fn several_inputs_are_taken_in_their_order() {
    let example = examples().join("nodejs-ddtrace.yaml");
    let example = example.to_str().expect("text");
    let ran = run(&["inject", "-f", "-", "-f", example], "a: 1\n");
    assert_eq!(ran.code, 0);
    assert!(
        ran.stdout.starts_with("a: 1\n---\n# nginx with"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stderr.contains("2 files, 2 documents, 1 pod template"),
        "{}",
        ran.stderr
    );
}

#[test]
fn what_did_not_happen_is_said_with_its_reason() {
    check(
        &["-v", "-o", "patch"],
        "\
kind: Deployment
metadata: {name: d, annotations: {admission.datakit/java-lib.version: \"\"}}
spec:
  template:
    metadata:
      annotations:
        admission.datakit/python-lib.version: \"\"
        admission.datakit/logfwd.instance: \"[]\"
    spec:
      containers: [{name: a}]
",
        0,
        expect![[r#"
        {"source":"-","document":1,"object":"","apiVersion":"","kind":"Deployment","namespace":null,"name":"d","patch":[]}
    "#]],
        expect![[r#"
            -:1: Deployment/d: ddtrace (python) skipped: no image is configured (admission_inject.ddtrace.images.python_agent_image); set admission_inject.ddtrace.images.python_agent_image in the operator's configuration
            -:1: Deployment/d: otel not requested
            -:1: Deployment/d: logfwd not requested
            -:1: Deployment/d: flameshot not requested
            -:1: Deployment/d: profiler not requested
            -:1: Deployment/d: logging not requested
            -:1: Deployment/d: annotation admission.datakit/logfwd.instance has no meaning; did you mean `admission.datakit/logfwd.instances`?
            -:1: Deployment/d: annotation admission.datakit/java-lib.version stands on the Deployment itself, where it has no effect; move it to spec.template.metadata.annotations
            1 file, 1 document, 1 pod template
              ddtrace    1 skipped
              otel       1 not requested
              logfwd     1 not requested
              flameshot  1 not requested
              profiler   1 not requested
              logging    1 not requested
        "#]],
    );
}

#[test]
fn a_template_that_is_no_pod_is_left_and_reported() {
    let text = "kind: Pod\nmetadata: {name: y}\nspec: {containers: {a: 1}}\n";
    check(
        &[],
        text,
        1,
        expect![[r#"
        kind: Pod
        metadata: {name: y}
        spec: {containers: {a: 1}}
    "#]],
        expect![[r#"
        error: -:1: Pod/(no name): failed to read the pod template: `metadata.name`: expected a string, found a boolean (byte 33); it is left as it is
    "#]],
    );
}

#[test]
fn the_kubernetes_version_decides_about_native_sidecars() {
    let job = examples().join("job-logfwd.yaml");
    let job = job.to_str().expect("text");
    let native = |args: &[&str]| {
        let ran = run(&[&["inject", "-f", job, "-o", "json"], args].concat(), "");
        let job: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
        let spec = &job["spec"]["template"]["spec"];
        (
            spec["initContainers"][0]["restartPolicy"] == "Always",
            ran.stderr.contains("keeps the pod of a Job running"),
        )
    };
    assert_eq!(native(&["--kubernetes-version", "v1.34.1"]), (true, false));
    assert_eq!(native(&["--kubernetes-version", "1.31"]), (false, true));
    assert_eq!(native(&[]), (false, true));
}

#[test]
fn what_the_pod_security_level_forbids_is_not_injected() {
    let pod = "\
kind: Pod
metadata:
  name: web
  namespace: shop
  annotations:
    admission.datakit/java-lib.version: v1
    admission.datakit/java-profiler.version: v1
spec:
  containers:
  - name: web
";
    let check = |level: &[&str], expected: Expect| {
        let ran = run(&[&["inject", "-f", "-"], level].concat(), pod);
        assert_eq!(ran.code, 0);
        expected.assert_eq(&ran.stderr);
    };
    check(
        &["--pod-security", "privileged"],
        expect![[r#"
        -:1: Pod/web: ddtrace (java) injected, asked for by annotation admission.datakit/java-lib.version
        -:1: Pod/web: profiler (java) injected, asked for by annotation admission.datakit/java-profiler.version
    "#]],
    );
    check(
        &["--pod-security", "baseline"],
        expect![[r#"
        -:1: Pod/web: ddtrace (java) injected, asked for by annotation admission.datakit/java-lib.version
        -:1: Pod/web: profiler (java) skipped: namespace `shop` enforces Pod Security level baseline, which forbids capabilities SYS_PTRACE, SYS_ADMIN of `datakit-profiler` and the hostPath volume `timezone`; use it in a namespace that enforces privileged
    "#]],
    );
    check(
        &["--pod-security", "restricted"],
        expect![[r#"
        -:1: Pod/web: ddtrace (java) skipped: namespace `shop` enforces Pod Security level restricted, which forbids `datakit-lib-init` without allowPrivilegeEscalation, capabilities.drop, seccompProfile, runAsNonRoot; harden the pod's own containers, which it follows
        -:1: Pod/web: profiler (java) skipped: namespace `shop` enforces Pod Security level restricted, which forbids capabilities SYS_PTRACE, SYS_ADMIN of `datakit-profiler` and the hostPath volume `timezone`; use it in a namespace that enforces privileged
    "#]],
    );
}

#[test]
fn the_namespace_flag_is_for_objects_without_one() {
    let config = r#"{"admission_inject": {"ddtrace": {
        "images": {"java_agent_image": "lib:v0"}, "enabled_namespaces": [{"namespace": "^shop$", "language": "java"}]
    }}}"#;
    let injected = |args: &[&str], namespace: &str| {
        let pod =
            format!("kind: Pod\nmetadata: {{{namespace}}}\nspec: {{containers: [{{name: a}}]}}\n");
        let ran = run_with(
            &[("ENV_JSON_CONFIG", config)],
            &[&["inject", "-f", "-"], args].concat(),
            &pod,
        );
        ran.stderr.contains("injected")
    };
    assert!(!injected(&[], ""));
    assert!(injected(&["-n", "shop"], ""));
    assert!(!injected(&["--namespace", "shop"], "namespace: other"));
    assert!(injected(&["-n", "other"], "namespace: shop"));
}

#[test]
fn wrong_use_is_told_apart_from_failure() {
    for (args, code, message) in [
        (&["inject"][..], 2, "--filename"),
        (
            &["inject", "-f", "-", "-f", "-"],
            2,
            "standard input can be read only once",
        ),
        (
            &["inject", "-f", "-", "--config", "nope.json"],
            2,
            "`nope.json`: No such file",
        ),
        (
            &["inject", "-f", "-", "--kubernetes-version", "x"],
            2,
            "something like 1.34",
        ),
        (
            &["inject", "-f", "-", "--pod-security", "Baseline"],
            2,
            "expected privileged, baseline or restricted",
        ),
        (
            &["inject", "-f", "nope.yaml"],
            1,
            "error: failed to read `nope.yaml`: No such file",
        ),
        (
            &["inject", "-f", "."],
            1,
            "found no *.yaml, *.yml or *.json file in `.`",
        ),
    ] {
        let ran = run(args, "");
        assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(message), "{args:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{args:?}");
    }
}

#[test]
fn a_doubtful_configuration_is_reported() {
    let ran = run_with(
        &[("ENV_JSON_CONFIG", r#"{"log_levl": "info"}"#)],
        &["inject", "-f", "-"],
        "a: 1\n",
    );
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "a: 1\n"));
    expect![[r#"
        configuration from ENV_JSON_CONFIG: warning: log_levl: unknown key, ignored; did you mean `log_level`?
    "#]]
    .assert_eq(&ran.stderr);
}

#[test]
fn examples_are_injected_once_and_for_all() {
    for path in example_files() {
        let path = path.to_str().expect("text");
        let first = run(&["inject", "-f", path, "--kubernetes-version", "1.34"], "");
        assert_eq!(first.code, 0, "{path}");
        assert!(
            first.stderr.contains(" injected, asked for by annotation"),
            "{path}: {}",
            first.stderr
        );
        assert!(
            !first.stderr.contains("skipped"),
            "{path}: {}",
            first.stderr
        );
        let text = fs::read_to_string(path).expect("read");
        assert!(text.starts_with("# "), "{path} begins with what it shows");
        let lost: Vec<&str> = text
            .lines()
            .filter(|line| line.trim_start().starts_with('#') && !first.stdout.contains(line))
            .collect();
        assert!(lost.is_empty(), "{path} keeps its comments: {lost:?}");
        let again = run(
            &["inject", "-f", "-", "--kubernetes-version", "1.34"],
            &first.stdout,
        );
        assert_eq!(again.stdout, first.stdout, "{path}");
        assert!(
            again.stderr.contains("already injected"),
            "{path}: {}",
            again.stderr
        );
    }
}

#[test]
fn kinds_of_other_apis() {
    let rollout = "\
kind: Rollout
metadata: {name: web}
spec:
  template:
    metadata: {annotations: {admission.datakit/java-lib.version: ''}}
    spec:
      containers: [{name: web, image: i:1}]
---
kind: SparkApplication
metadata: {name: pi}
spec:
  driver: {annotations: {admission.datakit/java-lib.version: ''}}
";
    let ran = inject(&[], rollout);
    assert_eq!(ran.code, 0);
    let (first, second) = ran.stdout.split_once("---\n").expect("two documents");
    assert!(first.contains("datakit-lib-init"), "{first}");
    assert!(rollout.ends_with(second), "{second}");
    expect![[r#"
        -:1: Rollout/web: ddtrace (java) injected, asked for by annotation admission.datakit/java-lib.version
        -:9: note: SparkApplication/pi has annotations for the operator at /spec/driver/annotations, where no pod template is known, so nothing is injected; pods that are made from it are injected if their own annotations ask for it
    "#]]
    .assert_eq(&ran.stderr);
    let explained = run(&["explain", "-f", "-"], rollout);
    assert!(
        explained.stderr.contains("SparkApplication/pi"),
        "{}",
        explained.stderr
    );
}

#[test]
fn a_failure_policy_that_a_sidecar_matches() {
    let job = "\
kind: Job
metadata: {name: retry}
spec:
  podFailurePolicy:
    rules:
    - action: FailJob
      onExitCodes: {operator: NotIn, values: [75]}
  template:
    metadata: {annotations: {admission.datakit/logfwd.instances: '[{\"datakit_addr\":\"d:1\",\"loggings\":[{\"logfiles\":[\"/var/log/w/*.log\"]}]}]'}}
    spec:
      restartPolicy: Never
      containers: [{name: work, image: 'w:1'}]
";
    let remark = "rule 1 of podFailurePolicy names no container";
    let ran = inject(&["--kubernetes-version", "1.34"], job);
    assert!(ran.stderr.contains(remark), "{}", ran.stderr);
    let named = job.replace("values: [75]", "values: [75], containerName: work");
    let ran = inject(&["--kubernetes-version", "1.34"], &named);
    assert!(!ran.stderr.contains(remark), "{}", ran.stderr);
    let without = job.replace("admission.datakit/", "other/");
    assert!(!inject(&[], &without).stderr.contains(remark));
}
