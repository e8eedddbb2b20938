//! `admission_policy`: what can't be read allows less, never more.

use expect_test::{Expect, expect};

use super::*;

/// What is said about a policy, and what it comes to.
fn check_policy(policy: &str, expected: &Expect) -> Policy {
    let text = format!(r#"{{"admission_policy":{policy}}}"#);
    check(&text, expected);
    load(&text).0.policy
}

fn patterns(list: &AllowList) -> Vec<&str> {
    list.patterns().collect()
}

fn nothing() -> Expect {
    expect![[""]]
}

#[test]
fn without_a_policy_everything_is_allowed_but_dropping_a_digest() {
    for policy in ["null", "{}", r#"{"ddtrace":{},"logfwd":{},"profiler":{}}"#] {
        assert_eq!(check_policy(policy, &nothing()), Policy::default());
    }
    let policy = Policy::default();
    for feature in Feature::ALL.map(|feature| policy.of(feature)) {
        assert!(feature.namespaces.allows("anything") && feature.namespaces.allows(""));
        assert!(feature.versions.allows("latest"));
        assert!(!feature.drop_digest);
    }
}

#[test]
fn a_policy_says_what_is_allowed() {
    let policy = check_policy(
        r#"{"ddtrace":{"versions":["v1.*","latest"],"drop_digest":true},"logfwd":{"namespaces":[]},
            "profiler":{"namespaces":["dev-*","qa"],"versions":[]}}"#,
        &nothing(),
    );
    assert_eq!(patterns(&policy.of(Feature::Ddtrace).namespaces), ["*"]);
    assert_eq!(
        patterns(&policy.of(Feature::Ddtrace).versions),
        ["v1.*", "latest"]
    );
    assert!(policy.of(Feature::Ddtrace).drop_digest && !policy.of(Feature::Profiler).drop_digest);
    assert!(
        policy.of(Feature::Logfwd).namespaces.is_none()
            && policy.of(Feature::Profiler).versions.is_none()
    );
    for (namespace, allowed) in [
        ("dev-1", true),
        ("qa", true),
        ("my-dev-1", false),
        ("", false),
    ] {
        assert_eq!(
            policy.of(Feature::Profiler).namespaces.allows(namespace),
            allowed
        );
    }
}

#[test]
fn what_is_no_policy_forbids_everything() {
    for (policy, found) in [
        ("7", "a number"),
        ("[]", "an array"),
        ("\"none\"", "a string"),
        ("false", "a boolean"),
    ] {
        let text = format!(r#"{{"admission_policy":{policy}}}"#);
        let (config, diagnostics) = load(&text);
        assert_eq!(
            render(&diagnostics),
            format!(
                "error: admission_policy: expected an object, not {found}; nothing is allowed until this is corrected \
                 (found `{policy}`)\n"
            )
        );
        let policy = config.policy;
        for feature in Feature::ALL.map(|feature| policy.of(feature)) {
            assert!(feature.namespaces.is_none());
        }
    }
}

#[test]
fn a_feature_whose_policy_is_not_understood_is_forbidden() {
    let policy = check_policy(
        r#"{"ddtrace":{"namespace":["dev-*"]},"logfwd":null,"profiler":{"namespaces":["qa"]},"profilers":{"namespaces":["dev"]},
            "logging":{"namespaces":[]},"comment":"ours"}"#,
        &expect![[r#"
            error: admission_policy.ddtrace.namespace: unknown key; ddtrace is forbidden until this is corrected; did you mean `namespaces`?
            error: admission_policy.logfwd: expected an object, not null; logfwd is forbidden until this is corrected (found `null`)
            error: admission_policy.profilers: unknown feature; profiler is forbidden until this is corrected; did you mean `profiler`?
            error: admission_policy.comment: unknown feature; ignored; the features are ddtrace, otel, logfwd, flameshot, profiler, logging
        "#]],
    );
    assert!(policy.of(Feature::Ddtrace).namespaces.is_none());
    assert!(policy.of(Feature::Logfwd).namespaces.is_none());
    assert!(policy.of(Feature::Profiler).namespaces.is_none());
}

#[test]
fn a_list_that_is_not_understood_allows_nothing_and_a_bad_pattern_is_left_out() {
    let policy = check_policy(
        r#"{"ddtrace":{"namespaces":"dev-*","versions":null,"drop_digest":"yes"},
            "logfwd":{"namespaces":["^dev-","dev-(a|b)","dev-{a,b}","",null,7,"[x","ok"],"versions":["*"]},
            "profiler":{"versions":["v1.*","bad tag"],"drop_digest":null}}"#,
        &expect![[r#"
            error: admission_policy.ddtrace.namespaces: expected an array, not a string; no namespace is allowed until this is corrected (found `"dev-*"`); write ["dev-*"]
            error: admission_policy.ddtrace.versions: expected an array, not null; no version is allowed until this is corrected (found `null`)
            error: admission_policy.ddtrace.drop_digest: expected true or false, not a string; no tag takes the place of a digest until this is corrected (found `"yes"`)
            error: admission_policy.logfwd.namespaces[0]: no name has `^`; a pattern is a glob with `*`, `?` and `[…]`, not a regular expression; allows nothing (found `^dev-`)
            error: admission_policy.logfwd.namespaces[1]: no name has `(`; a pattern is a glob with `*`, `?` and `[…]`, not a regular expression; allows nothing (found `dev-(a|b)`)
            error: admission_policy.logfwd.namespaces[2]: `dev-{a,b}` isn't a pattern: `{` and `}` aren't supported; write one entry for each alternative; allows nothing (found `dev-{a,b}`)
            error: admission_policy.logfwd.namespaces[3]: the pattern is empty; `*` means everything; allows nothing (found ``)
            error: admission_policy.logfwd.namespaces[4]: expected a string, not null; ignored (found `null`)
            error: admission_policy.logfwd.namespaces[5]: expected a string, not a number; ignored (found `7`)
            error: admission_policy.logfwd.namespaces[6]: `[x` isn't a pattern: `[` is never closed; allows nothing (found `[x`)
            warning: admission_policy.logfwd.versions: without effect: no annotation chooses logfwd's version
            error: admission_policy.profiler.versions[1]: no name has ` `; a pattern is a glob with `*`, `?` and `[…]`, not a regular expression; allows nothing (found `bad tag`)
            error: admission_policy.profiler.drop_digest: expected true or false, not null; no tag takes the place of a digest until this is corrected (found `null`)
        "#]],
    );
    assert!(
        policy.of(Feature::Ddtrace).namespaces.is_none()
            && policy.of(Feature::Ddtrace).versions.is_none()
    );
    assert!(!policy.of(Feature::Ddtrace).drop_digest && !policy.of(Feature::Profiler).drop_digest);
    assert_eq!(patterns(&policy.of(Feature::Logfwd).namespaces), ["ok"]);
    assert_eq!(patterns(&policy.of(Feature::Profiler).versions), ["v1.*"]);
}

#[test]
fn a_policy_at_the_wrong_place_forbids_everything() {
    for (text, expected) in [
        (
            r#"{"admision_policy":{"profiler":{"namespaces":[]}}}"#,
            expect![[r#"
                error: admision_policy: unknown key, probably a policy; nothing is allowed until this is corrected; write `admission_policy` at the top level
            "#]],
        ),
        (
            r#"{"policy":{},"admission_policy":{"ddtrace":{"namespaces":["*"]}}}"#,
            expect![[r#"
                error: policy: unknown key, probably a policy; nothing is allowed until this is corrected; write `admission_policy` at the top level
            "#]],
        ),
        (
            r#"{"admission_inject":{"admission_policy":{},"ddtrace":{"Policy":{}}}}"#,
            expect![[r#"
                error: admission_inject.admission_policy: unknown key, probably a policy; nothing is allowed until this is corrected; write `admission_policy` at the top level
                error: admission_inject.ddtrace.Policy: unknown key, probably a policy; nothing is allowed until this is corrected; write `admission_policy` at the top level
            "#]],
        ),
    ] {
        check(text, &expected);
        let policy = load(text).0.policy;
        for feature in Feature::ALL.map(|feature| policy.of(feature)) {
            assert!(feature.namespaces.is_none(), "{text}");
        }
    }
}

#[test]
fn selectors_of_a_forbidden_feature_are_without_effect() {
    let text = r#"{"admission_inject":{
            "ddtrace":{"enabled_namespaces":[{"namespace":"a","language":"java"}]},
            "profiler":{"enabled_labelselectors":[{"labelselector":"a","language":"java"}]}},
        "admission_policy":{"ddtrace":{"namespaces":[]},"profiler":{"namespaces":["b"]}}}"#;
    check(
        text,
        &expect![[r#"
        warning: admission_inject.ddtrace: its selectors are without effect: admission_policy.ddtrace allows no namespace
    "#]],
    );
}

#[test]
fn keys_match_as_elsewhere() {
    let policy = check_policy(
        r#"{"DDTRACE":{"Namespaces":["a"]},"ddtrace":{"namespaces":["b"],"namespaces":["c"]}}"#,
        &expect![[r#"
            warning: admission_policy.DDTRACE: keys are written in lower case; write `ddtrace`
            warning: admission_policy.ddtrace: the key appears more than once; the last one counts
            warning: admission_policy.ddtrace.namespaces: the key appears more than once; the last one counts
        "#]],
    );
    assert_eq!(patterns(&policy.of(Feature::Ddtrace).namespaces), ["c"]);
}
