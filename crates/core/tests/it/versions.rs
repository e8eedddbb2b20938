//! The configurations that the versions of the original operator came with, or that their
//! documentation shows: what `check-config` has to say of each. What they inject, the cases say
//! that they stand in.

use std::fs;
use std::path::Path;

use datakit_operator_core::config::{Config, EnvOverrides};
use expect_test::{Expect, expect};

fn check(case: &str, expected: &Expect) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/inject");
    let text = fs::read_to_string(folder.join(case).join("config.json")).unwrap();
    let (config, mut diagnostics) = Config::load(&text, &EnvOverrides::default()).unwrap();
    diagnostics.extend(config.lint());
    let found: String = diagnostics
        .iter()
        .map(|diagnostic| format!("{} {diagnostic}\n", diagnostic.code.as_str()))
        .collect();
    expected.assert_eq(&found);
}

#[test]
fn the_default_of_1_4_3() {
    check("defaults-of-1.4.3-with-every-annotation", &expect![""]);
}

#[test]
fn a_configuration_of_1_5() {
    check(
        "configuration-of-1.5-namespace-asks",
        &expect![[r#"
        without_effect warning: admission_inject.logfwd.options.reuse_exist_volume: without effect: a volume that is already mounted is always reused
    "#]],
    );
}

#[test]
fn a_configuration_of_1_6() {
    check(
        "configuration-of-1.6-annotations-of-its-own",
        &expect![[r#"
        rule_disabled warning: admission_mutate.loggings[0]: the rule is disabled: it needs label_selectors as well; namespaces `*` and a label selector such as `!none` fit every pod
    "#]],
    );
}

#[test]
fn a_configuration_of_1_7() {
    check("configuration-of-1.7-with-every-list", &expect![""]);
}

#[test]
fn the_default_of_1_8_10() {
    check(
        "defaults-of-1.8.10-in-default",
        &expect![[r#"
        doubtful warning: admission_inject_v2.flameshots[0].processes: there is nothing to watch for, so the pods that the rule fits get nothing
        unanchored_pattern warning: admission_inject_v2.ddtraces[0].namespace_selectors: a regular expression that fits anywhere in a name, so also namespaces whose names only contain it (found `default`); write `^default$` if that isn't meant
        unanchored_pattern warning: admission_inject_v2.ddtraces[1].namespace_selectors: a regular expression that fits anywhere in a name, so also namespaces whose names only contain it (found `default`); write `^default$` if that isn't meant
        unanchored_pattern warning: admission_inject_v2.ddtraces[2].namespace_selectors: a regular expression that fits anywhere in a name, so also namespaces whose names only contain it (found `default`); write `^default$` if that isn't meant
        unanchored_pattern warning: admission_inject_v2.ddtraces[3].namespace_selectors: a regular expression that fits anywhere in a name, so also namespaces whose names only contain it (found `default`); write `^default$` if that isn't meant
        unanchored_pattern warning: admission_inject_v2.logfwds[0].namespace_selectors: a regular expression that fits anywhere in a name, so also namespaces whose names only contain it (found `default`); write `^default$` if that isn't meant
        unanchored_pattern warning: admission_inject_v2.flameshots[0].namespace_selectors: a regular expression that fits anywhere in a name, so also namespaces whose names only contain it (found `default`); write `^default$` if that isn't meant
        shadowed warning: admission_inject_v2.ddtraces[1]: is never used: admission_inject_v2.ddtraces[0] comes first and fits every pod that it fits; move it before that rule, or remove it
        shadowed warning: admission_inject_v2.ddtraces[2]: is never used: admission_inject_v2.ddtraces[0] comes first and fits every pod that it fits; move it before that rule, or remove it
        shadowed warning: admission_inject_v2.ddtraces[3]: is never used: admission_inject_v2.ddtraces[0] comes first and fits every pod that it fits; move it before that rule, or remove it
    "#]],
    );
}

#[test]
fn the_default_of_1_9_2() {
    check(
        "defaults-of-1.9.2-in-default",
        &expect![[r#"
        doubtful warning: admission_inject_v2.flameshots[0].processes: there is nothing to watch for, so the pods that the rule fits get nothing
        rule_disabled warning: admission_mutate.loggings[0]: the rule is disabled: it has neither namespace_selectors nor label_selectors; write "namespace_selectors": ["*"] to mean every namespace
        unanchored_pattern warning: admission_inject_v2.ddtraces[0].namespace_selectors: a regular expression that fits anywhere in a name, so also namespaces whose names only contain it (found `default`); write `^default$` if that isn't meant
        unanchored_pattern warning: admission_inject_v2.logfwds[0].namespace_selectors: a regular expression that fits anywhere in a name, so also namespaces whose names only contain it (found `default`); write `^default$` if that isn't meant
        unanchored_pattern warning: admission_inject_v2.flameshots[0].namespace_selectors: a regular expression that fits anywhere in a name, so also namespaces whose names only contain it (found `default`); write `^default$` if that isn't meant
    "#]],
    );
}
