use expect_test::{Expect, expect};

use crate::config::{Config, DEFAULT_CONFIG, EnvOverrides};

fn check(text: &str, expected: &Expect) {
    let (config, _) = Config::load(text, &EnvOverrides::default()).unwrap();
    let found: String = config
        .lint()
        .iter()
        .map(|diagnostic| format!("{} {diagnostic}\n", diagnostic.code.as_str()))
        .collect();
    expected.assert_eq(&found);
}

/// A document with lists of rules.
fn rules(text: &str) -> String {
    format!(r#"{{"admission_inject_v2":{{{text}}}}}"#)
}

#[test]
fn the_default_configuration_has_nothing() {
    check(DEFAULT_CONFIG, &expect![""]);
}

#[test]
fn patterns_that_fit_more_than_they_seem_to() {
    check(
        &rules(
            r#""logfwds":[{"image":"a:1","namespace_selectors":["shop","^shop$","^dev-","Prod","prod-*","^a|b$",".*-qa"]}]"#,
        ),
        &expect![[r#"
            unanchored_pattern warning: admission_inject_v2.logfwds[0].namespace_selectors: a regular expression that fits anywhere in a name, so also namespaces whose names only contain it (found `shop`); write `^shop$` if that isn't meant
            never_fits warning: admission_inject_v2.logfwds[0].namespace_selectors: fits no namespace: none has `P` in its name (small letters, digits and `-` only) (found `Prod`)
            unanchored_pattern warning: admission_inject_v2.logfwds[0].namespace_selectors: a regular expression that fits anywhere in a name, so also namespaces whose names only contain it (found `prod-*`); write `^prod-` if that isn't meant
            unanchored_pattern warning: admission_inject_v2.logfwds[0].namespace_selectors: a regular expression that fits anywhere in a name, so also namespaces whose names only contain it (found `^a|b$`); write `^(a|b)$` if that isn't meant
        "#]],
    );
    check(
        r#"{"admission_inject":{"ddtrace":{"images":{"java_agent_image":"a:1"},
            "enabled_namespaces":[{"namespace":"shop","language":"java"}],
            "enabled_labelselectors":[{"labelselector":"app=a,app=b","language":"java"}]}}}"#,
        &expect![[r#"
            never_fits warning: admission_inject.ddtrace.enabled_labelselectors[0].labelselector: fits no pod: no label `app` fulfils all that is asked of it (found `app=a,app=b`)
            unanchored_pattern warning: admission_inject.ddtrace.enabled_namespaces[0].namespace: a regular expression that fits anywhere in a name, so also namespaces whose names only contain it (found `shop`); write `^shop$` if that isn't meant
        "#]],
    );
}

#[test]
fn rules_that_fit_no_pod() {
    check(
        &rules(
            r#""otels":[
                {"image":"a:1","language":"java","label_selectors":["app,!app","app=a/b","app=a"]},
                {"image":"a:1","language":"java","namespace_selectors":["^prod$","^qa$"]}
            ]},"admission_policy":{"otel":{"namespaces":["dev-*"]}"#,
        ),
        &expect![[r#"
            never_fits warning: admission_inject_v2.otels[0].label_selectors: fits no pod: no label `app` fulfils all that is asked of it (found `app,!app`)
            never_fits warning: admission_inject_v2.otels[0].label_selectors: fits no pod: no label `app` fulfils all that is asked of it (found `app=a/b`)
            never_fits warning: admission_inject_v2.otels[1]: fits no pod that may have it: admission_policy.otel allows none of its namespaces (found `prod, qa`)
        "#]],
    );
}

#[test]
fn rules_that_come_too_late() {
    check(
        &rules(
            r#""ddtraces":[
                {"name":"first","image":"a:1","language":"java","namespace_selectors":["^a$","^b-"],"label_selectors":["app"]},
                {"image":"a:1","language":"python","namespace_selectors":["^a$"],"label_selectors":["app=x","app in (y,z)"]},
                {"image":"a:1","language":"python","namespace_selectors":["^a$"]},
                {"image":"a:1","language":"python","namespace_selectors":["^c$"],"label_selectors":["app"]},
                {"image":"a:1","language":"java","namespace_selectors":["*"],"check_annotation":true},
                {"image":"a:1","language":"java","namespace_selectors":["^d$"],"check_annotation":true},
                {"image":"a:1","language":"nodejs","namespace_selectors":["^d$"],"check_annotation":true}],
            "profilers":[
                {"image":"a:1","namespace_selectors":["*"],"check_annotation":true},
                {"image":"a:1","language":"java","namespace_selectors":["^x$"],"check_annotation":true},
                {"image":"a:1","language":"java","namespace_selectors":["^x$"]}]"#,
        ),
        &expect![[r#"
            shadowed warning: admission_inject_v2.ddtraces[1]: is never used: admission_inject_v2.ddtraces[0] (first) comes first and fits every pod that it fits; move it before that rule, or remove it
            shadowed warning: admission_inject_v2.ddtraces[5]: is never used: admission_inject_v2.ddtraces[4] comes first and fits every pod that it fits; move it before that rule, or remove it
            shadowed warning: admission_inject_v2.profilers[1]: is never used: admission_inject_v2.profilers[0] comes first and fits every pod that it fits; move it before that rule, or remove it
        "#]],
    );
}

#[test]
fn two_libraries_for_one_pod() {
    check(
        &rules(
            r#""ddtraces":[
                {"name":"shop","image":"a:1","language":"java","namespace_selectors":["^shop$"]},
                {"image":"a:1","language":"php","namespace_selectors":["*"],"label_selectors":["lang=php"]},
                {"image":"a:1","language":"nodejs","namespace_selectors":["*"],"check_annotation":true}],
            "otels":[
                {"image":"a:1","language":"python","namespace_selectors":["^shop$"],"label_selectors":["app=x"]},
                {"image":"a:1","language":"python","namespace_selectors":["*"]},
                {"image":"a:1","language":"python","namespace_selectors":["^other$"],"label_selectors":["lang=python"]},
                {"image":"a:1","language":"java","namespace_selectors":["^shop$"],"check_annotation":true}]"#,
        ),
        &expect![[r#"
            shadowed warning: admission_inject_v2.otels[2]: is never used: admission_inject_v2.otels[1] comes first and fits every pod that it fits; move it before that rule, or remove it
            shadowed warning: admission_inject_v2.otels[3]: is never used: admission_inject_v2.otels[1] comes first and fits every pod that it fits; move it before that rule, or remove it
            two_libraries warning: admission_inject_v2.otels[0]: every pod that it fits gets ddtrace from admission_inject_v2.ddtraces[0] (shop) instead: a pod has one library; let their selectors exclude each other
            two_libraries warning: admission_inject_v2.otels[1]: pods that both fit get ddtrace from admission_inject_v2.ddtraces[0] (shop) instead: a pod has one library; let their selectors exclude each other
        "#]],
    );
}

#[test]
fn credentials_in_plain_text() {
    check(
        &rules(
            r#""flameshots":[{"image":"a:1","namespace_selectors":["*"],"processes":"[{}]","envs":{
                "FLAMESHOT_HPROF_UPLOAD_ACCESS_KEY_SECRET":"s3cr3t",
                "FLAMESHOT_HPROF_UPLOAD_SECURITY_TOKEN":"{secretKeyRef:oss.token}",
                "DB_PASSWORD":"$(OTHER)","API_KEY":"",
                "DK_DATAWAY":"https://openway.guance.com?token=tkn_x"}}]"#,
        ),
        &expect![[r#"
            credentials warning: admission_inject_v2.flameshots[0].envs.FLAMESHOT_HPROF_UPLOAD_ACCESS_KEY_SECRET: a credential in plain text, which every pod that gets it shows; keep it in a Secret of the pods' namespaces and write `{secretKeyRef:NAME.KEY}`
            credentials warning: admission_inject_v2.flameshots[0].envs.DK_DATAWAY: a URL with a credential in plain text, which every pod that gets it shows; keep it in a Secret of the pods' namespaces and write `{secretKeyRef:NAME.KEY}`
        "#]],
    );
}

#[test]
fn images_that_move() {
    check(
        r#"{"admission_inject":{"profiler":{"images":{"java_profiler_image":"a:latest","python_profiler_image":"a/b:latest@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
            "enabled_namespaces":[{"namespace":"^a$","language":"java"}]}}}"#,
        &expect![[r#"
            image_latest warning: admission_inject.profiler.images.java_profiler_image: `latest` is another version tomorrow, and each node may have its own (found `a:latest`); name a version
        "#]],
    );
}

#[test]
fn what_a_version_of_logfwd_does_not_read() {
    let log_configs = r#""log_configs":"[{\"type\":\"file\",\"path\":\"/a/*.log\"}]""#;
    let everywhere = r#""namespace_selectors":["*"]"#;
    check(
        &rules(&format!(
            r#""logfwds":[
                {{"image":"a/logfwd:1.85.2","namespace_selectors":["^a$"],{log_configs},"envs":{{"LOGFWD_DATAKIT_OPERATOR_ENDPOINT":"x"}}}},
                {{"image":"a/logfwd:1.90.0","namespace_selectors":["^b$"],"check_annotation":true}},
                {{"image":"a/logfwd:1.90.0","namespace_selectors":["^c$"]}},
                {{"image":"a/logfwd:1.93.0","namespace_selectors":["^d$"],"check_annotation":true,{log_configs}}},
                {{"image":"a/logfwd:1.93.0","check_annotation":true,{everywhere}}}]"#
        )),
        &expect![[r#"
            logfwd_version warning: admission_inject_v2.logfwds[0].log_configs: the image is of a version before 1.86, which doesn't read it: it collects only what a pod's annotation says (found `a/logfwd:1.85.2`); use logfwd 1.91 or newer
            logfwd_version warning: admission_inject_v2.logfwds[0].envs.LOGFWD_DATAKIT_OPERATOR_ENDPOINT: the image is of a version before 1.86, which doesn't read it: it collects only what a pod's annotation says (found `a/logfwd:1.85.2`); use logfwd 1.91 or newer
            logfwd_version warning: admission_inject_v2.logfwds[1].image: the versions from 1.86 to 1.90 don't read the annotation that asks for the sidecar, so it collects nothing that it says (found `a/logfwd:1.90.0`); use logfwd 1.91 or newer
            logfwd_version warning: admission_inject_v2.logfwds[3].log_configs: versions from 1.86 on read it instead of the annotation that asks for the sidecar (found `a/logfwd:1.93.0`); leave out one of the two: `log_configs`, or `check_annotation`
        "#]],
    );
    check(
        r#"{"admission_inject":{"logfwd":{"images":{"logfwd_image":"a/logfwd:1.86.0"}}}}"#,
        &expect![[r#"
            logfwd_version warning: admission_inject.logfwd.images.logfwd_image: the versions from 1.86 to 1.90 don't read the annotation that asks for the sidecar, so it collects nothing that it says (found `a/logfwd:1.86.0`); use logfwd 1.91 or newer
        "#]],
    );
}
