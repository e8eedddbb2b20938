//! `admission_env_from`: a mistake says nothing of any source.

use expect_test::{Expect, expect};

use super::*;

fn check_entries(entries: &str, expected: &Expect) -> EnvFrom {
    let text = format!(r#"{{"admission_env_from":{entries}}}"#);
    check(&text, expected);
    load(&text).0.env_from
}

#[test]
fn sources_define_a_variable_in_namespaces() {
    let env_from = check_entries(
        r#"[{"variable":"NODE_OPTIONS","config_maps":["node","web.*"],"namespaces":["shop-*"]},
            {"variable":"NODE_OPTIONS","secrets":["keys"]}]"#,
        &expect![[""]],
    );
    for (variable, namespace, kind, source, defined) in [
        (
            "NODE_OPTIONS",
            "shop-1",
            EnvFromKind::ConfigMap,
            "node",
            true,
        ),
        (
            "NODE_OPTIONS",
            "shop-1",
            EnvFromKind::ConfigMap,
            "web.eu",
            true,
        ),
        (
            "NODE_OPTIONS",
            "shop-1",
            EnvFromKind::ConfigMap,
            "nodes",
            false,
        ),
        (
            "NODE_OPTIONS",
            "shop",
            EnvFromKind::ConfigMap,
            "node",
            false,
        ),
        ("NODE_OPTIONS", "shop-1", EnvFromKind::Secret, "node", false),
        (
            "NODE_OPTIONS",
            "anywhere",
            EnvFromKind::Secret,
            "keys",
            true,
        ),
        (
            "PYTHONPATH",
            "shop-1",
            EnvFromKind::ConfigMap,
            "node",
            false,
        ),
    ] {
        assert_eq!(
            env_from.defines(variable, namespace, kind, source),
            defined,
            "{variable} {namespace} {kind:?} {source}"
        );
    }
}

#[test]
fn mistakes_say_nothing_of_any_source() {
    let none = EnvFrom::default();
    let found = check_entries(
        r#"["jvm", {"variable":"JAVA_OPTS","secrets":["a"]}, {"secrets":["a"]},
            {"variable":"PYTHONPATH"}, {"variable":"PYTHONPATH","secrets":["a"],"namespaces":[]},
            {"variable":"PYTHONPATH","config_maps":["^a$"]}, {"variable":"PYTHONPATH","config_maps":"a"}]"#,
        &expect![[r#"
            error: admission_env_from[0]: expected an object, not a string; ignored (found `"jvm"`)
            error: admission_env_from[1].variable: no start-up variable of a library; the entry is ignored (found `JAVA_OPTS`)
            error: admission_env_from[2].variable: expected the name of a start-up variable; the entry is ignored; one of JAVA_TOOL_OPTIONS, NODE_OPTIONS, PYTHONPATH, PHP_INI_SCAN_DIR
            warning: admission_env_from[3].config_maps: without effect: the entry names no source; name ConfigMaps or Secrets that define the variable
            warning: admission_env_from[4].namespaces: without effect: the entry names no source; name ConfigMaps or Secrets that define the variable
            error: admission_env_from[5].config_maps[0]: no name has `^`; a pattern is a glob with `*`, `?` and `[…]`, not a regular expression; names nothing (found `^a$`)
            warning: admission_env_from[5].config_maps: without effect: the entry names no source; name ConfigMaps or Secrets that define the variable
            error: admission_env_from[6].config_maps: expected an array, not a string; ignored (found `"a"`)
            warning: admission_env_from[6].config_maps: without effect: the entry names no source; name ConfigMaps or Secrets that define the variable
        "#]],
    );
    assert_eq!(found, none);
    assert_eq!(
        check_entries(
            "{}",
            &expect![[r#"
        error: admission_env_from: expected an array, not an object; ignored (found `{}`)
    "#]]
        ),
        none
    );
    assert_eq!(check_entries("null", &expect![[""]]), none);
}
