//! Whether what a feature adds keeps the Pod Security level that its namespace enforces.
//!
//! The rules are those of <https://kubernetes.io/docs/concepts/security/pod-security-standards/>, in their current version.
//! Only what is added is judged: a pod that breaks its level by itself is the API server's to refuse. A shared process
//! namespace, `emptyDir` and `downwardAPI` volumes are allowed by every level.

use serde_json::Value;

use crate::namespace::PodSecurity;
use crate::pod::part::NewVolumeSource;
use crate::pod::{Edits, Pod};

/// Capabilities that may be added in baseline: those that container runtimes give anyway.
const BASELINE_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
const RESTRICTED_CAPABILITIES: [&str; 1] = ["NET_BIND_SERVICE"];
const SE_LINUX_TYPES: [&str; 5] = [
    "",
    "container_t",
    "container_init_t",
    "container_kvm_t",
    "container_engine_t",
];

/// What of the plan the level doesn't allow, for people; `None` if it allows all of it.
///
/// Missing hardening is told only where nothing is outright forbidden, since then it wouldn't help.
pub(crate) fn violation(level: PodSecurity, pod: &Pod<'_>, plan: &Edits<'_>) -> Option<String> {
    if level == PodSecurity::Privileged {
        return None;
    }
    let mut forbidden = Vec::new();
    let mut missing = Vec::new();
    for container in plan.new_containers() {
        let context = container.security_context.as_deref().unwrap_or("null");
        // Ours or checked at load, so it is an object.
        let context: Value = serde_json::from_str(context).unwrap_or_default();
        let mut problems = Vec::new();
        baseline(&context, &mut problems);
        capabilities(level, &context, &mut problems);
        let mut lacks = Vec::new();
        if level == PodSecurity::Restricted {
            restricted(pod, &context, &mut problems, &mut lacks);
        }
        if !problems.is_empty() {
            forbidden.push(format!("{} of `{}`", problems.join(", "), container.name));
        }
        if !lacks.is_empty() {
            missing.push(format!("`{}` without {}", container.name, lacks.join(", ")));
        }
    }
    for volume in &plan.volumes {
        match volume.source {
            NewVolumeSource::EmptyDir | NewVolumeSource::PodLabels => {}
            NewVolumeSource::NodeTimezone => {
                forbidden.push(format!("the hostPath volume `{}`", volume.name));
            }
        }
    }
    [forbidden, missing]
        .into_iter()
        .find(|problems| !problems.is_empty())
        .map(|problems| problems.join(" and "))
}

fn baseline(context: &Value, problems: &mut Vec<String>) {
    let mut forbid = |is_forbidden: bool, what: &str| {
        if is_forbidden {
            problems.push(what.to_owned());
        }
    };
    forbid(context["privileged"] == true, "privileged: true");
    let proc_mount = text(&context["procMount"]);
    forbid(!["", "Default"].contains(&proc_mount), "procMount");
    let se_linux = &context["seLinuxOptions"];
    let custom = !text(&se_linux["user"]).is_empty() || !text(&se_linux["role"]).is_empty();
    forbid(
        custom || !SE_LINUX_TYPES.contains(&text(&se_linux["type"])),
        "seLinuxOptions",
    );
    for (field, what) in [
        ("seccompProfile", "an unconfined seccompProfile"),
        ("appArmorProfile", "an unconfined appArmorProfile"),
    ] {
        forbid(text(&context[field]["type"]) == "Unconfined", what);
    }
}

fn capabilities(level: PodSecurity, context: &Value, problems: &mut Vec<String>) {
    let allowed: &[&str] = match level {
        PodSecurity::Restricted => &RESTRICTED_CAPABILITIES,
        _ => &BASELINE_CAPABILITIES,
    };
    let added = words(&context["capabilities"]["add"]);
    let forbidden: Vec<_> = added.filter(|name| !allowed.contains(name)).collect();
    match forbidden.as_slice() {
        [] => {}
        [one] => problems.push(format!("capability {one}")),
        more => problems.push(format!("capabilities {}", more.join(", "))),
    }
}

/// What the restricted level asks for beyond baseline and capabilities to add. The pod's own fields count where Kubernetes
/// inherits them; root inside a user namespace is nobody outside.
fn restricted(
    pod: &Pod<'_>,
    context: &Value,
    problems: &mut Vec<String>,
    lacks: &mut Vec<&'static str>,
) {
    let mut need = |kept: bool, what: &'static str| {
        if !kept {
            lacks.push(what);
        }
    };
    need(
        context["allowPrivilegeEscalation"] == false,
        "allowPrivilegeEscalation",
    );
    let drops_all = words(&context["capabilities"]["drop"]).any(|name| name == "ALL");
    need(drops_all, "capabilities.drop");
    let seccomp = match text(&context["seccompProfile"]["type"]) {
        "" => pod.security.seccomp.as_ref(),
        own => own,
    };
    need(!seccomp.is_empty(), "seccompProfile");
    if pod.host_users == Some(false) {
        return;
    }
    let non_root = context["runAsNonRoot"].as_bool();
    need(
        non_root.or(pod.security.run_as_non_root) == Some(true),
        "runAsNonRoot",
    );
    if context["runAsUser"] == 0 {
        problems.push("runAsUser: 0".to_owned());
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn words(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Reader;
    use crate::pod::part::{NewContainer, NewVolume};

    /// A level, the pod's spec, the security context of the added container, and what is forbidden of it.
    fn check(level: &str, spec: &str, context: &str, expected: &str) {
        let text = format!(r#"{{"spec":{spec}}}"#);
        let pod = Pod::read(&mut Reader::new(&text)).expect("a pod");
        let mut plan = Edits::default();
        plan.sidecars.push(NewContainer {
            name: "x",
            security_context: (!context.is_empty()).then(|| context.into()),
            ..NewContainer::default()
        });
        let found = violation(level.parse().expect("a level"), &pod, &plan);
        assert_eq!(
            found.unwrap_or_default(),
            expected,
            "{level} {spec} {context}"
        );
    }

    #[test]
    fn privileged_allows_everything() {
        check(
            "privileged",
            "{}",
            r#"{"privileged":true,"capabilities":{"add":["ALL"]}}"#,
            "",
        );
    }

    #[test]
    fn baseline_forbids_what_breaks_out() {
        for allowed in [
            "",
            "{}",
            r#"{"privileged":false,"runAsUser":0,"allowPrivilegeEscalation":true}"#,
            r#"{"capabilities":{"add":["CHOWN","SYS_CHROOT","AUDIT_WRITE"]}}"#,
            r#"{"procMount":"Default","seLinuxOptions":{"type":"container_init_t","level":"s0:c1"}}"#,
            r#"{"seccompProfile":{"type":"RuntimeDefault"},"appArmorProfile":{"type":"Localhost"}}"#,
        ] {
            check("baseline", "{}", allowed, "");
        }
        for (context, expected) in [
            (r#"{"privileged":true}"#, "privileged: true of `x`"),
            (
                r#"{"capabilities":{"add":["SYS_PTRACE"]}}"#,
                "capability SYS_PTRACE of `x`",
            ),
            (
                r#"{"capabilities":{"add":["SYS_PTRACE","CHOWN","SYS_ADMIN"]}}"#,
                "capabilities SYS_PTRACE, SYS_ADMIN of `x`",
            ),
            (
                r#"{"capabilities":{"add":["ALL"]}}"#,
                "capability ALL of `x`",
            ),
            (r#"{"procMount":"Unmasked"}"#, "procMount of `x`"),
            (
                r#"{"seLinuxOptions":{"type":"spc_t"}}"#,
                "seLinuxOptions of `x`",
            ),
            (
                r#"{"seLinuxOptions":{"user":"u"}}"#,
                "seLinuxOptions of `x`",
            ),
            (
                r#"{"seLinuxOptions":{"role":"r"}}"#,
                "seLinuxOptions of `x`",
            ),
            (
                r#"{"seccompProfile":{"type":"Unconfined"}}"#,
                "an unconfined seccompProfile of `x`",
            ),
            (
                r#"{"appArmorProfile":{"type":"Unconfined"},"privileged":true}"#,
                "privileged: true, an unconfined appArmorProfile of `x`",
            ),
        ] {
            check("baseline", "{}", context, expected);
        }
    }

    #[test]
    fn restricted_asks_for_hardening() {
        const ALL: &str = r#"{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"],"add":["NET_BIND_SERVICE"]},"runAsNonRoot":true,"seccompProfile":{"type":"Localhost"}}"#;
        const LESS: &str =
            r#"{"allowPrivilegeEscalation":false,"capabilities":{"drop":["CHOWN","ALL"]}}"#;
        const POD: &str = r#"{"securityContext":{"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}}}"#;
        check("restricted", "{}", ALL, "");
        check("restricted", POD, LESS, "");
        check(
            "restricted",
            r#"{"hostUsers":false,"securityContext":{"seccompProfile":{"type":"RuntimeDefault"}}}"#,
            LESS,
            "",
        );
        check(
            "restricted",
            "{}",
            LESS,
            "`x` without seccompProfile, runAsNonRoot",
        );
        check(
            "restricted",
            POD,
            "",
            "`x` without allowPrivilegeEscalation, capabilities.drop",
        );
        for (change, expected) in [
            (r#""runAsUser":0"#, "runAsUser: 0 of `x`"),
            (r#""runAsNonRoot":false"#, "`x` without runAsNonRoot"),
            (
                r#""capabilities":{"drop":["ALL"],"add":["CHOWN"]}"#,
                "capability CHOWN of `x`",
            ),
            (
                r#""seccompProfile":{"type":"Unconfined"}"#,
                "an unconfined seccompProfile of `x`",
            ),
            (
                r#""allowPrivilegeEscalation":true"#,
                "`x` without allowPrivilegeEscalation",
            ),
        ] {
            let context = format!("{},{change}}}", ALL.trim_end_matches('}').to_owned() + "}");
            check("restricted", "{}", &context, expected);
        }
    }

    #[test]
    fn volumes_of_the_node_are_forbidden() {
        let mut plan = Edits::default();
        for (name, source) in [
            ("a", NewVolumeSource::EmptyDir),
            ("b", NewVolumeSource::PodLabels),
            ("timezone", NewVolumeSource::NodeTimezone),
        ] {
            let name = name.into();
            plan.volumes.push(NewVolume { name, source });
        }
        plan.share_process_namespace = true;
        for level in PodSecurity::ALL {
            let expected = (level != PodSecurity::Privileged)
                .then(|| "the hostPath volume `timezone`".to_owned());
            assert_eq!(violation(level, &Pod::default(), &plan), expected);
        }
    }
}
