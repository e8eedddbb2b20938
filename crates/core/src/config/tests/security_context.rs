//! The `security_context` block.

use expect_test::{Expect, expect};

use super::*;

fn security_context(text: &str) -> Option<SecurityContext> {
    let (config, _) = load(&ddtrace("security_context", text));
    java(&config).container.security_context.clone()
}

fn value(json: &str) -> serde_json::Value {
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_security_context_is_passed_on() {
    for text in [
        "{}",
        r#"{"runAsUser":0,"runAsGroup":2147483647,"runAsNonRoot":false}"#,
        r#"{"privileged":true,"readOnlyRootFilesystem":true,"procMount":"Default"}"#,
        r#"{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"],"add":["NET_BIND_SERVICE","cap_chown"]}}"#,
        r#"{"seccompProfile":{"type":"RuntimeDefault"},"appArmorProfile":{"type":"Unconfined"}}"#,
        r#"{"seccompProfile":{"type":"Localhost","localhostProfile":"a/b.json"},"appArmorProfile":{"type":"Localhost","localhostProfile":"/x"}}"#,
        r#"{"seLinuxOptions":{"user":"u","role":"r","type":"t","level":"s0:c1,c2"}}"#,
        r#"{"allowPrivilegeEscalation":true,"privileged":true,"capabilities":{"add":["SYS_ADMIN"]}}"#,
    ] {
        let (_, diagnostics) = load(&ddtrace("security_context", text));
        assert_eq!(diagnostics, [], "{text}");
        let context = security_context(text).unwrap();
        assert_eq!(context.as_json(), text);
        // Each field has been read: written anew from the fields alone, it says the same.
        let anew = SecurityContext::new(context.fields().clone());
        assert_eq!(value(anew.as_json()), value(text));
    }
    let spaced = r#"{ "runAsUser": 1000, "capabilities": {"add": null, "drop": []}, "runAsNonRoot": true, "privileged": null }"#;
    let context = security_context(spaced).unwrap();
    assert_eq!(
        context.as_json(),
        r#"{"runAsUser":1000,"capabilities":{"drop":[]},"runAsNonRoot":true}"#
    );
    assert_eq!(context.fields().run_as_user, Some(1000));
    assert_eq!(context.fields().run_as_non_root, Some(true));
    assert_eq!(security_context("null"), None);
}

#[test]
fn a_security_context_that_would_be_refused_is_ignored() {
    let check = |text: &str, expected: Expect| {
        assert_eq!(security_context(text), None, "{text}");
        let (_, mut diagnostics) = load(&ddtrace("security_context", text));
        let last = diagnostics.pop().unwrap().to_string();
        assert_eq!(
            last,
            "warning: admission_inject.ddtrace.security_context: the block is ignored as a whole because of the errors in it"
        );
        expected.assert_eq(&render(&diagnostics).replace("admission_inject.ddtrace.", ""));
    };
    check(
        "[]",
        expect![[r#"
        error: security_context: expected an object, not an array (found `[]`)
    "#]],
    );
    check(
        r#"{"runasuser":1,"privileged":"yes","runAsNonRoot":1,"x":1,"windowsOptions":{}}"#,
        expect![[r#"
            error: security_context.runasuser: unknown key; did you mean `runAsUser`?
            error: security_context.x: unknown key
            error: security_context.windowsOptions: the injected images run on Linux only
            error: security_context.privileged: expected true or false, not a string (found `"yes"`)
            error: security_context.runAsNonRoot: expected true or false, not a number (found `1`)
        "#]],
    );
    check(
        r#"{"runAsUser":-1,"runAsGroup":2147483648}"#,
        expect![[r#"
        error: security_context.runAsUser: expected a whole number from 0 to 2147483647 (found `-1`)
        error: security_context.runAsGroup: expected a whole number from 0 to 2147483647 (found `2147483648`)
    "#]],
    );
    check(
        r#"{"runAsUser":1.5,"runAsGroup":"1"}"#,
        expect![[r#"
        error: security_context.runAsUser: expected a whole number from 0 to 2147483647 (found `1.5`)
        error: security_context.runAsGroup: expected a whole number, not a string (found `"1"`)
    "#]],
    );
    check(
        r#"{"runAsUser":1,"runAsUser":2}"#,
        expect![[r#"
        error: security_context.runAsUser: the key appears more than once
    "#]],
    );
    check(
        r#"{"runAsUser":0,"runAsNonRoot":true}"#,
        expect![[r#"
        error: security_context.runAsNonRoot: can't be true while `runAsUser` is 0; the node wouldn't start the container
    "#]],
    );
    check(
        r#"{"allowPrivilegeEscalation":false,"privileged":true,"capabilities":{"add":["CAP_SYS_ADMIN"]}}"#,
        expect![[r#"
            error: security_context.allowPrivilegeEscalation: can't be false while `privileged` is true
            error: security_context.allowPrivilegeEscalation: can't be false while SYS_ADMIN is added
        "#]],
    );
    check(
        r#"{"allowPrivilegeEscalation":false,"capabilities":{"add":["sys_admin"]}}"#,
        expect![[r#"
            error: security_context.allowPrivilegeEscalation: can't be false while SYS_ADMIN is added
        "#]],
    );
    check(
        r#"{"capabilities":{"add":["NET_BIND_SERVCE",1],"drop":"ALL","remove":[]}}"#,
        expect![[r#"
            error: security_context.capabilities.remove: unknown key
            error: security_context.capabilities.add[0]: no such capability (found `NET_BIND_SERVCE`); did you mean `NET_BIND_SERVICE`?
            error: security_context.capabilities.add[1]: expected a string, not a number (found `1`)
            error: security_context.capabilities.drop: expected an array, not a string (found `"ALL"`)
        "#]],
    );
    check(
        r#"{"procMount":"Unmasked","seccompProfile":{},"appArmorProfile":"x"}"#,
        expect![[r#"
            error: security_context.procMount: `Unmasked` is refused in pods that share the host's users, which most do
            error: security_context.seccompProfile: `type` is missing
            error: security_context.appArmorProfile: expected an object, not a string (found `"x"`)
        "#]],
    );
    check(
        r#"{"procMount":"default"}"#,
        expect![[r#"
        error: security_context.procMount: expected one of Default (found `default`); did you mean `Default`?
    "#]],
    );
    check(
        r#"{"seccompProfile":{"type":"runtimeDefault"},"appArmorProfile":{"type":"Localhost"}}"#,
        expect![[r#"
            error: security_context.seccompProfile.type: expected one of RuntimeDefault, Unconfined, Localhost (found `runtimeDefault`); did you mean `RuntimeDefault`?
            error: security_context.appArmorProfile: `localhostProfile` is missing
        "#]],
    );
    check(
        r#"{"seccompProfile":{"type":"Localhost","localhostProfile":"../x"},"appArmorProfile":{"type":"Localhost","localhostProfile":" x"}}"#,
        expect![[r#"
            error: security_context.seccompProfile.localhostProfile: expected a relative path without `..` (found `../x`)
            error: security_context.appArmorProfile.localhostProfile: a profile's name has no white space around it and at most 4095 bytes
        "#]],
    );
    check(
        r#"{"seccompProfile":{"type":"RuntimeDefault","localhostProfile":"x"},"appArmorProfile":{"type":"Localhost","localhostProfile":""}}"#,
        expect![[r#"
            error: security_context.seccompProfile.localhostProfile: only fits the type `Localhost`
            error: security_context.appArmorProfile.localhostProfile: the profile's name is empty
        "#]],
    );
    check(
        r#"{"seLinuxOptions":{"user":1,"level":"a\u0000"}}"#,
        expect![[r#"
            error: security_context.seLinuxOptions.user: expected a string, not a number (found `1`)
            error: security_context.seLinuxOptions.level: the text can't contain a NUL character
        "#]],
    );
}
