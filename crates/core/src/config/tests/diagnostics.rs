//! What is said about a document that isn't as it should be.

use expect_test::expect;

use super::*;
use crate::selector::{LabelSelector, NamespacePattern};

#[test]
fn a_bad_rule_is_dropped_alone() {
    let text = r#"{"admission_inject":{"ddtrace":{
        "enabled_namespaces":[
            {"namespace":"(","language":"java"},
            {"namespace":"","language":"java"},
            {"language":"java"},
            {"namespace":"a","language":"ruby"},
            {"namespace":"b","language":"Java"},
            {"namespace":"c"},
            {"namespace":7,"language":null},
            "d",
            null,
            {"namespace":"good","language":"nodejs","langauge":"x"}],
        "enabled_labelselectors":[
            {"labelselector":"","language":"java"},
            {"labelselector":"app=middleware-(a|b)","language":"java"},
            {"labelselector":"app","language":"python"}]}}}"#;
    check(
        text,
        &expect![[r#"
        error: admission_inject.ddtrace.enabled_labelselectors[0].labelselector: the label selector is empty; entry ignored
        error: admission_inject.ddtrace.enabled_labelselectors[1].labelselector: expected `,` or the end in the label selector, found `(`; entry ignored (found `app=middleware-(a|b)`)
        error: admission_inject.ddtrace.enabled_namespaces[0].namespace: the namespace pattern isn't a regular expression: unclosed group; entry ignored (found `(`)
        error: admission_inject.ddtrace.enabled_namespaces[1].namespace: the namespace pattern is empty; `*` means every namespace; entry ignored
        error: admission_inject.ddtrace.enabled_namespaces[2].namespace: the namespace pattern is empty; `*` means every namespace; entry ignored
        error: admission_inject.ddtrace.enabled_namespaces[3].language: expected one of java, nodejs, python, js; entry ignored (found `ruby`)
        error: admission_inject.ddtrace.enabled_namespaces[4].language: expected one of java, nodejs, python, js; entry ignored (found `Java`); did you mean `java`?
        error: admission_inject.ddtrace.enabled_namespaces[5].language: expected one of java, nodejs, python, js; entry ignored
        error: admission_inject.ddtrace.enabled_namespaces[6].namespace: expected a string, not a number; ignored (found `7`)
        error: admission_inject.ddtrace.enabled_namespaces[6].language: expected one of java, nodejs, python, js; entry ignored
        error: admission_inject.ddtrace.enabled_namespaces[7]: expected an object, not a string; ignored (found `"d"`)
        error: admission_inject.ddtrace.enabled_namespaces[8]: expected an object, not null; ignored (found `null`)
        warning: admission_inject.ddtrace.enabled_namespaces[9].langauge: unknown key, ignored; did you mean `language`?
    "#]],
    );
    let (config, _) = load(text);
    let selectors: Vec<&str> = config
        .rules_of(Feature::Ddtrace)
        .flat_map(|rule| {
            let labels = rule.when.labels.iter().map(LabelSelector::as_str);
            labels.chain(rule.when.namespaces.iter().map(NamespacePattern::as_str))
        })
        .collect();
    assert_eq!(selectors, ["app", "good"]);
}

#[test]
fn diagnostics_of_keys_and_kinds() {
    check(
        r#"{"Log_Level":"debug","log_levle":"x","server_listen":7,"admission_inject":{"dtrace":{},"logfwd":[],
            "profiler":{"images":{"java_profiler_image":5,"go_profiler_image":"x:1"},"env":{},"envs":null},
            "ddtrace":{"images":{"java_agent_image":"a:1"}},"ddtrace":{"images":{"java_agent_image":"b:1"}},
            "a key\n":1},"admission_inject_v2":{},"admission_mutate":{"loggings":[]}}"#,
        &expect![[r#"
            warning: Log_Level: keys are written in lower case; write `log_level`
            warning: log_levle: unknown key, ignored; did you mean `log_level`?
            error: server_listen: expected a string, not a number; ignored (found `7`)
            warning: admission_inject.dtrace: unknown key, ignored; did you mean `ddtrace`?
            warning: admission_inject.ddtrace: the key appears more than once; the last one counts
            warning: admission_inject["a key\n"]: unknown key, ignored
            error: admission_inject.logfwd: expected an object, not an array; ignored (found `[]`)
            warning: admission_inject.profiler.env: unknown key, ignored; did you mean `envs`?
            warning: admission_inject.profiler.images.go_profiler_image: unknown key, ignored; did you mean `golang_profiler_image`?
            error: admission_inject.profiler.images.java_profiler_image: expected a string, not a number; ignored (found `5`)
        "#]],
    );
}

#[test]
fn a_list_of_another_section_is_unknown() {
    check(
        r#"{"admission_inject_v2":{"otels":[],"loggings":[]}}"#,
        &expect![[r#"
            warning: admission_inject_v2.loggings: unknown key, ignored
        "#]],
    );
}

#[test]
fn a_configuration_without_images_injects_nothing() {
    for (text, nothing) in [
        ("{}", true),
        (
            r#"{"admission_inject":{"ddtrace":{"envs":{"A":"b"}}}}"#,
            true,
        ),
        (
            r#"{"admission_inject":{"logfwd":{"images":{"logfwd_image":"a:1"}}}}"#,
            false,
        ),
        (
            r#"{"admission_inject":{"profiler":{"images":{"golang_profiler_image":"a:1"}}}}"#,
            false,
        ),
        (DEFAULT_CONFIG, false),
    ] {
        assert_eq!(load(text).0.injects_nothing(), nothing, "{text}");
    }
}

#[test]
fn diagnostics_of_settings() {
    check(
        r#"{"server_listen":"9543","log_level":"warning","admission_inject":{
            "ddtrace":{"image_pull_policy":"always"},
            "logfwd":{"sidecar_mode":"nativ","image_pull_policy":"Sometimes","options":{"reuse_exist_volume":"true","x":1},
                "enabled_namespaces":[],"enabled_labelselectors":["("]},
            "profiler":{"sidecar_mode":"native","options":{}}}}"#,
        &expect![[r#"
            error: server_listen: expected an address and a port, such as 0.0.0.0:9543 or :9543; ignored (found `9543`)
            error: log_level: expected one of debug, info, warn, error; ignored (found `warning`); did you mean `warn`?
            error: admission_inject.ddtrace.image_pull_policy: expected one of Always, IfNotPresent, Never; using `IfNotPresent` (found `always`); did you mean `Always`?
            error: admission_inject.logfwd.image_pull_policy: expected one of Always, IfNotPresent, Never; using `IfNotPresent` (found `Sometimes`)
            error: admission_inject.logfwd.sidecar_mode: expected one of auto, container, native; using `auto` (found `nativ`); did you mean `native`?
            warning: admission_inject.logfwd.enabled_labelselectors: without effect: logfwd always needs its annotation
            warning: admission_inject.logfwd.enabled_namespaces: without effect: logfwd always needs its annotation
            warning: admission_inject.logfwd.options.x: unknown key, ignored
            warning: admission_inject.logfwd.options.reuse_exist_volume: without effect: a volume that is already mounted is always reused
            warning: admission_inject.profiler.sidecar_mode: unknown key, ignored
            warning: admission_inject.profiler.options: unknown key, ignored
        "#]],
    );
    let (config, _) = load(
        r#"{"admission_inject":{"logfwd":{"sidecar_mode":"native","image_pull_policy":"Never"}}}"#,
    );
    assert_eq!(
        logfwd(&config).extra,
        Extra::Logfwd {
            sidecar_mode: SidecarMode::Native,
            sources: None,
        }
    );
    assert_eq!(
        logfwd(&config).container.image_pull_policy,
        PullPolicy::Never
    );
}

#[test]
fn what_validation_refuses() {
    let text = r#"{"admission_validate":{"deny":
        ["unknown_annotation","pod_security","pod_security","unknown_anotation","switched_off",7,"x"],"denys":[]}}"#;
    check(
        text,
        &expect![[r#"
        warning: admission_validate.denys: unknown key, ignored; did you mean `deny`?
        error: admission_validate.deny[3]: expected the code of a reason or note; refuses nothing (found `unknown_anotation`); did you mean `unknown_annotation`?
        warning: admission_validate.deny[4]: without effect: nobody is warned of it (found `switched_off`)
        error: admission_validate.deny[5]: expected a string, not a number; ignored (found `7`)
        error: admission_validate.deny[6]: expected the code of a reason or note; refuses nothing (found `x`)
    "#]],
    );
    let (config, _) = Config::load(text, &EnvOverrides::default()).unwrap();
    let codes = ["unknown_annotation", "pod_security"];
    assert_eq!(config.validation.codes(), codes);
    assert!(!config.validation.denies("unknown_key"));
    for unusable in [
        r#"{"admission_validate":{"deny":"x"}}"#,
        r#"{"admission_validate":["x"]}"#,
    ] {
        let (config, diagnostics) = Config::load(unusable, &EnvOverrides::default()).unwrap();
        assert_eq!(
            (config.validation.codes().len(), diagnostics.is_empty()),
            (0, false)
        );
    }
}

#[test]
fn diagnostics_of_limits() {
    check(
        r#"{"admission_limits":{"containers":0,"patch_operations":100001,"patch_bytes":"1Mi","container":1}}"#,
        &expect![[r#"
            warning: admission_limits.container: unknown key, ignored; did you mean `containers`?
            error: admission_limits.containers: expected a whole number from 1 to 10000; using 500 (found `0`)
            error: admission_limits.patch_operations: expected a whole number from 1 to 100000; using 10000 (found `100001`)
            error: admission_limits.patch_bytes: expected a whole number from 1 to 1507328; using 1048576 (found `"1Mi"`)
        "#]],
    );
    let (config, diagnostics) = load(
        r#"{"admission_limits":{"containers":1,"patch_operations":100000,"patch_bytes":null}}"#,
    );
    assert_eq!(diagnostics, []);
    let limits = config.limits;
    assert_eq!(
        (
            limits.containers,
            limits.patch_operations,
            limits.patch_bytes
        ),
        (1, 100_000, 1 << 20)
    );
}

#[test]
fn only_so_many_unknown_keys_are_compared() {
    let keys: Vec<_> = (0..150).map(|_| r#""log_levle":1"#).collect();
    let (_, diagnostics) = load(&format!("{{{}}}", keys.join(",")));
    let suggested = diagnostics.iter().filter(|one| one.suggestion.is_some());
    assert_eq!((diagnostics.len(), suggested.count()), (150, 100));
}

#[test]
fn diagnostics_of_images() {
    check(
        &ddtrace(
            "images",
            r#"{"java_agent_image":"reg:5000/a/b","python_agent_image":" x:1","js_agent_image":"a:b:c","php_agent_image":"p:1"}"#,
        ),
        &expect![[r#"
            warning: admission_inject.ddtrace.images.php_agent_image: unknown key, ignored; did you mean `js_agent_image`?
            warning: admission_inject.ddtrace.images.java_agent_image: the image has no tag, so each node may run another version (found `reg:5000/a/b`); write reg:5000/a/b:<version>
            error: admission_inject.ddtrace.images.python_agent_image: an image must not contain white space; the image is ignored (found ` x:1`); write x:1
            error: admission_inject.ddtrace.images.js_agent_image: `b:c` is not a tag; the image is ignored (found `a:b:c`)
        "#]],
    );
}

#[test]
fn diagnostics_of_envs() {
    check(
        &ddtrace(
            "envs",
            r#"{"PORT":9529,"ON":true,"NONE":null,"LIST":["x"],"1X":"a","A B":"a","NUL":"a\u0000b",
                "A":"1","USES":"$(LATER) $(A) $(UNKNOWN) $$(LATER)","SELF":"$(SELF)","LATER":"x","A":"2",
                "REF":"{fieldref:metadata.name}","EMBEDDED":"x{secretKeyRef:a.b}","a.b":"{fieldRef:metadata.x}"}"#,
        ),
        &expect![[r#"
            warning: admission_inject.ddtrace.envs.PORT: a value must be a string, not a number; skipped (found `9529`); write "9529"
            warning: admission_inject.ddtrace.envs.ON: a value must be a string, not a boolean; skipped (found `true`); write "true"
            warning: admission_inject.ddtrace.envs.NONE: a value must be a string, not null; skipped (found `null`)
            warning: admission_inject.ddtrace.envs.LIST: a value must be a string, not an array; skipped (found `["x"]`)
            error: admission_inject.ddtrace.envs.1X: not a name for an environment variable (letters, digits, `_`, `-` and `.`, not starting with a digit); skipped (found `1X`)
            error: admission_inject.ddtrace.envs["A B"]: not a name for an environment variable (letters, digits, `_`, `-` and `.`, not starting with a digit); skipped (found `A B`)
            error: admission_inject.ddtrace.envs.NUL: a value can't contain a NUL character; skipped
            warning: admission_inject.ddtrace.envs.A: the name appears more than once; the first place and the last value count
            warning: admission_inject.ddtrace.envs.USES: `$(LATER)` stays text, because `LATER` is defined after `USES`; move `LATER` before `USES`
            warning: admission_inject.ddtrace.envs.SELF: `$(SELF)` refers to the variable itself, which Kubernetes leaves as text
            warning: admission_inject.ddtrace.envs.REF: kept as text, because it isn't a reference; did you mean {fieldRef:metadata.name}?
            warning: admission_inject.ddtrace.envs.EMBEDDED: kept as text, because a reference must be the whole value; define a variable as {secretKeyRef:a.b} before this one and use it here as $(NAME)
            warning: admission_inject.ddtrace.envs["a.b"]: kept as text, because `metadata.x` isn't a field that can be referred to; did you mean {fieldRef:metadata.uid}?
        "#]],
    );
    check(
        &ddtrace("envs", r#"[{"name":"A","value":"b"}]"#),
        &expect![[r#"
        error: admission_inject.ddtrace.envs: expected an object of names and values, not an array; ignored (found `[{"name":"A","value":"b"}]`); write {"NAME": "value"}
    "#]],
    );
    check(
        &ddtrace("envs", r#""A=b""#),
        &expect![[r#"
        error: admission_inject.ddtrace.envs: expected an object of names and values, not a string; ignored (found `"A=b"`)
    "#]],
    );
}

#[test]
fn diagnostics_of_resources() {
    check(
        &ddtrace(
            "resources",
            r#"{"request":{},"requests":{"cpu":"2","memory":true,"gpu":"1"},"limits":{"cpu":"1","memory":"512MB"}}"#,
        ),
        &expect![[r#"
            warning: admission_inject.ddtrace.resources.request: unknown key, ignored; did you mean `requests`?
            warning: admission_inject.ddtrace.resources.requests.gpu: unknown key, ignored; did you mean `cpu`?
            error: admission_inject.ddtrace.resources.requests.memory: expected a quantity, not a boolean; ignored (found `true`)
            error: admission_inject.ddtrace.resources.limits.memory: the unit is none of n, u, m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei or an exponent (found `512MB`)
            error: admission_inject.ddtrace.resources.limits.cpu: below the request of 2 (found `1`)
            warning: admission_inject.ddtrace.resources: the default resources are used because of the errors in the block
        "#]],
    );
    check(
        &ddtrace("resources", r#"{"limits":{"cpu":"-1"}}"#),
        &expect![[r#"
            error: admission_inject.ddtrace.resources.limits.cpu: a resource can't be negative (found `-1`)
            warning: admission_inject.ddtrace.resources: the default resources are used because of the errors in the block
        "#]],
    );
    check(
        &ddtrace("resources", "7"),
        &expect![[r#"
        error: admission_inject.ddtrace.resources: expected an object, not a number; ignored (found `7`)
        warning: admission_inject.ddtrace.resources: the default resources are used because of the errors in the block
    "#]],
    );
}
