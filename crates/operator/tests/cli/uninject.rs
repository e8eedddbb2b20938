use std::fs;

use expect_test::expect;

use crate::run::{example_files, run, run_with};

#[test]
fn examples_come_back_byte_for_byte() {
    for path in example_files() {
        let path = path.to_str().expect("text");
        for format in ["yaml", "json"] {
            let version = ["--kubernetes-version", "1.34", "-o", format];
            let original = match format {
                "yaml" => fs::read_to_string(path).expect("read"),
                _ => run(&["uninject", "-f", path, "-o", "json"], "").stdout,
            };
            let injected = run(&[&["inject", "-f", path][..], &version].concat(), "");
            let back = run(&["uninject", "-f", "-"], &injected.stdout);
            assert_eq!(back.code, 0, "{path}");
            assert_eq!(back.stdout, original, "{path}");
            assert!(
                back.stderr.contains(": took out "),
                "{path}: {}",
                back.stderr
            );
            assert!(
                !back.stderr.contains("something else"),
                "{path}: {}",
                back.stderr
            );
        }
    }
}

#[test]
fn what_was_never_injected_passes_byte_for_byte() {
    for path in example_files() {
        let path = path.to_str().expect("text");
        let ran = run(&["uninject", "-f", path], "");
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{path}");
        assert_eq!(
            ran.stdout,
            fs::read_to_string(path).expect("read"),
            "{path}"
        );
    }
}

#[test]
fn what_kubectl_shows_of_a_running_pod() {
    // Keys sorted, defaults filled in, other things added by the API server.
    let pod = "\
apiVersion: v1
kind: Pod
metadata:
  annotations:
    admission.datakit/java-lib.version: \"\"
  name: web-0
spec:
  containers:
  - env:
    - name: JAVA_TOOL_OPTIONS
      value: ' -javaagent:/datadog-lib/dd-java-agent.jar'
    - name: A
      valueFrom:
        fieldRef:
          apiVersion: v1
          fieldPath: metadata.name
    image: web
    name: web
    volumeMounts:
    - mountPath: /datadog-lib
      name: datakit-auto-instrument
    - mountPath: /var/run/secrets/kubernetes.io/serviceaccount
      name: kube-api-access-x
      readOnly: true
  initContainers:
  - command:
    - sh
    - copy-lib.sh
    - /datadog-lib
    image: lib:v0
    name: datakit-lib-init
    volumeMounts:
    - mountPath: /datadog-lib
      name: datakit-auto-instrument
  volumes:
  - emptyDir: {}
    name: datakit-auto-instrument
  - name: kube-api-access-x
    projected: {}
status: {}
";
    let config = r#"{"admission_inject": {"ddtrace": {"images": {"java_agent_image": "lib:v0"}, "envs": {"A": "{fieldRef:metadata.name}"}}}}"#;
    let ran = run_with(
        &[("ENV_JSON_CONFIG", config)],
        &["uninject", "-f", "-"],
        pod,
    );
    expect![[r#"
        apiVersion: v1
        kind: Pod
        metadata:
          annotations:
            admission.datakit/java-lib.version: ""
          name: web-0
        spec:
          containers:
          - image: web
            name: web
            volumeMounts:
            - mountPath: /var/run/secrets/kubernetes.io/serviceaccount
              name: kube-api-access-x
              readOnly: true
          volumes:
          - name: kube-api-access-x
            projected: {}
        status: {}
    "#]]
    .assert_eq(&ran.stdout);
    assert_eq!(ran.code, 0);
    assert_eq!(ran.stderr, "-:1: Pod/web-0: took out ddtrace\n");
}

#[test]
fn broken_documents_are_left_out() {
    let ran = run(&["uninject", "-f", "-"], "a: 1\n---\nb: [\n---\nc: 3\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, "a: 1\n---\nc: 3\n"));
    assert!(
        ran.stderr
            .starts_with("error: failed to parse document 2 of `-` (line 3, column 4): "),
        "{}",
        ran.stderr
    );
}

/// Values that were changed in between are again what they were, whatever their quotes.
#[test]
fn quotes_come_back() {
    let original = "\
kind: Pod
metadata:
  name: quoted
  annotations: {admission.datakit/java-lib.version: ''}
spec:
  containers:
    - name: a
      image: 'a:1'
      env:
        - name: JAVA_TOOL_OPTIONS
          value: ' -javaagent:/other/agent.jar'
        - name: DD_TAGS
          value: 'team:x'
    - name: b
      image: \"b:1\"
      env: [{name: JAVA_TOOL_OPTIONS, value: \"-Xmx1g\"}, {name: DD_TAGS, value: 'a:''b'''}]
";
    let injected = run(&["inject", "-f", "-"], original);
    assert_ne!(injected.stdout, original);
    let back = run(&["uninject", "-f", "-"], &injected.stdout);
    assert_eq!(back.stdout, original);
}

/// What a pod tells of itself is about that pod: it is taken out, also where nothing else is, and
/// `inject` doesn't write it.
#[test]
fn the_status_of_a_pod_is_taken_out() {
    let pod = |annotations: &str| {
        format!(
            "kind: Pod # keep me\nmetadata:\n  name: web\n{annotations}spec:\n  containers:\n  - name: web\n"
        )
    };
    let status = "    admission.datakit/status: '{\"skipped\":[{\"feature\":\"logfwd\"}]}'\n";
    let ran = run(
        &["uninject", "-f", "-"],
        &pod(&format!("  annotations:\n{status}")),
    );
    assert_eq!((ran.code, ran.stdout), (0, pod("")));
    assert_eq!(ran.stderr, "-:1: Pod/web: took out the status\n");

    let asking = "  annotations:\n    admission.datakit/java-lib.version: v1\n";
    let injected = run(&["inject", "-f", "-"], &pod(asking));
    assert!(
        !injected.stdout.contains("admission.datakit/status"),
        "{}",
        injected.stdout
    );
    // As it is read from a pod that the webhook has reviewed.
    let told = injected
        .stdout
        .replace(asking, &format!("{asking}{status}"));
    let ran = run(&["uninject", "-f", "-"], &told);
    assert_eq!((ran.code, ran.stdout), (0, pod(asking)));
}
