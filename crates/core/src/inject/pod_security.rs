//! Whether what a feature adds keeps the Pod Security level that its namespace enforces.
//!
//! The rules are those of <https://kubernetes.io/docs/concepts/security/pod-security-standards/>,
//! in their current version. Only what is added is judged: a pod that breaks its level by itself is
//! the API server's to refuse. A shared process namespace, `emptyDir` and `downwardAPI` volumes are
//! allowed by every level.

use crate::namespace::PodSecurity;
use crate::pod::part::{NewVolumeSource, ProcMount, Profile, SecurityContext, SecurityFields};
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
    let none = SecurityFields::default();
    for container in plan.new_containers() {
        let context = container.security_context.as_deref();
        let context = context.map_or(&none, SecurityContext::fields);
        let mut problems = Vec::new();
        baseline(context, &mut problems);
        capabilities(level, context, &mut problems);
        let mut lacks = Vec::new();
        if level == PodSecurity::Restricted {
            restricted(pod, context, &mut problems, &mut lacks);
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

fn baseline(context: &SecurityFields, problems: &mut Vec<String>) {
    let mut forbid = |is_forbidden: bool, what: &str| {
        if is_forbidden {
            problems.push(what.to_owned());
        }
    };
    forbid(context.privileged == Some(true), "privileged: true");
    forbid(context.proc_mount == Some(ProcMount::Unmasked), "procMount");
    let se_linux = context.se_linux_options.as_ref().is_some_and(|options| {
        let is_set = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
        is_set(&options.user)
            || is_set(&options.role)
            || !SE_LINUX_TYPES.contains(&options.kind.as_deref().unwrap_or_default())
    });
    forbid(se_linux, "seLinuxOptions");
    for (profile, what) in [
        (&context.seccomp_profile, "an unconfined seccompProfile"),
        (&context.app_armor_profile, "an unconfined appArmorProfile"),
    ] {
        forbid(*profile == Some(Profile::Unconfined), what);
    }
}

fn capabilities(level: PodSecurity, context: &SecurityFields, problems: &mut Vec<String>) {
    let allowed: &[&str] = match level {
        PodSecurity::Restricted => &RESTRICTED_CAPABILITIES,
        _ => &BASELINE_CAPABILITIES,
    };
    let added = context.capabilities.iter().flat_map(|lists| &lists.add);
    let names = added.flatten().map(AsRef::as_ref);
    let forbidden: Vec<&str> = names.filter(|name| !allowed.contains(name)).collect();
    match forbidden.as_slice() {
        [] => {}
        [one] => problems.push(format!("capability {one}")),
        more => problems.push(format!("capabilities {}", more.join(", "))),
    }
}

/// What the restricted level asks for beyond baseline and capabilities to add. The pod's own fields
/// count where Kubernetes inherits them; root inside a user namespace is nobody outside.
fn restricted(
    pod: &Pod<'_>,
    context: &SecurityFields,
    problems: &mut Vec<String>,
    lacks: &mut Vec<&'static str>,
) {
    let mut need = |kept: bool, what: &'static str| {
        if !kept {
            lacks.push(what);
        }
    };
    need(
        context.allow_privilege_escalation == Some(false),
        "allowPrivilegeEscalation",
    );
    let dropped = context.capabilities.iter().flat_map(|lists| &lists.drop);
    let drops_all = dropped.flatten().any(|name| name == "ALL");
    need(drops_all, "capabilities.drop");
    let has_seccomp = context.seccomp_profile.is_some() || !pod.security.seccomp.is_empty();
    need(has_seccomp, "seccompProfile");
    if pod.host_users == Some(false) {
        return;
    }
    let non_root = context.run_as_non_root.or(pod.security.run_as_non_root);
    need(non_root == Some(true), "runAsNonRoot");
    if context.run_as_user == Some(0) {
        problems.push("runAsUser: 0".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::json::Reader;
    use crate::pod::part::{Capabilities, NewContainer, NewVolume, SeLinuxOptions};

    /// Changes a security context.
    type Change = fn(&mut SecurityFields);

    /// A level, the pod's spec, the security context of the added container, and what is forbidden
    /// of it.
    fn check(level: &str, spec: &str, context: Option<SecurityFields>, expected: &str) {
        let text = format!(r#"{{"spec":{spec}}}"#);
        let pod = Pod::read(&mut Reader::new(&text)).expect("a pod");
        let shown = format!("{level} {spec} {context:?}");
        let mut plan = Edits::default();
        plan.sidecars.push(NewContainer {
            name: "x",
            security_context: context.map(|fields| Cow::Owned(SecurityContext::new(fields))),
            ..NewContainer::default()
        });
        let found = violation(level.parse().expect("a level"), &pod, &plan);
        assert_eq!(found.unwrap_or_default(), expected, "{shown}");
    }

    fn changed(mut fields: SecurityFields, change: Change) -> Option<SecurityFields> {
        change(&mut fields);
        Some(fields)
    }

    fn capabilities(add: &[&'static str], drop: &[&'static str]) -> Option<Capabilities> {
        let list = |names: &[&'static str]| names.iter().map(|name| (*name).into()).collect();
        Some(Capabilities {
            add: Some(list(add)),
            drop: Some(list(drop)),
        })
    }

    #[test]
    fn privileged_allows_everything() {
        let context = SecurityFields {
            privileged: Some(true),
            capabilities: capabilities(&["ALL"], &[]),
            ..SecurityFields::default()
        };
        check("privileged", "{}", Some(context), "");
    }

    #[test]
    fn baseline_forbids_what_breaks_out() {
        let baseline = |change: Change, expected: &str| {
            let context = changed(SecurityFields::default(), change);
            check("baseline", "{}", context, expected);
        };
        check("baseline", "{}", None, "");
        let allowed: [Change; 5] = [
            |_| {},
            |context| {
                context.privileged = Some(false);
                context.run_as_user = Some(0);
                context.allow_privilege_escalation = Some(true);
            },
            |context| {
                context.capabilities = capabilities(&["CHOWN", "SYS_CHROOT", "AUDIT_WRITE"], &[]);
            },
            |context| {
                context.proc_mount = Some(ProcMount::Default);
                context.se_linux_options = Some(SeLinuxOptions {
                    kind: Some("container_init_t".into()),
                    level: Some("s0:c1".into()),
                    user: Some(String::new()),
                    role: None,
                });
            },
            |context| {
                context.seccomp_profile = Some(Profile::RuntimeDefault);
                context.app_armor_profile = Some(Profile::Localhost("p".into()));
            },
        ];
        for change in allowed {
            baseline(change, "");
        }
        let forbidden: [(Change, &str); 10] = [
            (
                |context| context.privileged = Some(true),
                "privileged: true of `x`",
            ),
            (
                |context| context.capabilities = capabilities(&["SYS_PTRACE"], &[]),
                "capability SYS_PTRACE of `x`",
            ),
            (
                |context| {
                    context.capabilities = capabilities(&["SYS_PTRACE", "CHOWN", "SYS_ADMIN"], &[]);
                },
                "capabilities SYS_PTRACE, SYS_ADMIN of `x`",
            ),
            (
                |context| context.capabilities = capabilities(&["ALL"], &[]),
                "capability ALL of `x`",
            ),
            (
                |context| context.proc_mount = Some(ProcMount::Unmasked),
                "procMount of `x`",
            ),
            (
                |context| se_linux(context).kind = Some("spc_t".into()),
                "seLinuxOptions of `x`",
            ),
            (
                |context| se_linux(context).user = Some("u".into()),
                "seLinuxOptions of `x`",
            ),
            (
                |context| se_linux(context).role = Some("r".into()),
                "seLinuxOptions of `x`",
            ),
            (
                |context| context.seccomp_profile = Some(Profile::Unconfined),
                "an unconfined seccompProfile of `x`",
            ),
            (
                |context| {
                    context.app_armor_profile = Some(Profile::Unconfined);
                    context.privileged = Some(true);
                },
                "privileged: true, an unconfined appArmorProfile of `x`",
            ),
        ];
        for (change, expected) in forbidden {
            baseline(change, expected);
        }
    }

    fn se_linux(context: &mut SecurityFields) -> &mut SeLinuxOptions {
        context.se_linux_options.get_or_insert_default()
    }

    #[test]
    fn restricted_asks_for_hardening() {
        const POD: &str = r#"{"securityContext":{"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}}}"#;
        let all = SecurityFields {
            allow_privilege_escalation: Some(false),
            capabilities: capabilities(&["NET_BIND_SERVICE"], &["ALL"]),
            run_as_non_root: Some(true),
            seccomp_profile: Some(Profile::Localhost("p".into())),
            ..SecurityFields::default()
        };
        let less = SecurityFields {
            allow_privilege_escalation: Some(false),
            capabilities: capabilities(&[], &["CHOWN", "ALL"]),
            ..SecurityFields::default()
        };
        check("restricted", "{}", Some(all.clone()), "");
        check("restricted", POD, Some(less.clone()), "");
        check(
            "restricted",
            r#"{"hostUsers":false,"securityContext":{"seccompProfile":{"type":"RuntimeDefault"}}}"#,
            Some(less.clone()),
            "",
        );
        check(
            "restricted",
            "{}",
            Some(less),
            "`x` without seccompProfile, runAsNonRoot",
        );
        check(
            "restricted",
            POD,
            None,
            "`x` without allowPrivilegeEscalation, capabilities.drop",
        );
        let changes: [(Change, &str); 5] = [
            (
                |context| context.run_as_user = Some(0),
                "runAsUser: 0 of `x`",
            ),
            (
                |context| context.run_as_non_root = Some(false),
                "`x` without runAsNonRoot",
            ),
            (
                |context| context.capabilities = capabilities(&["CHOWN"], &["ALL"]),
                "capability CHOWN of `x`",
            ),
            (
                |context| context.seccomp_profile = Some(Profile::Unconfined),
                "an unconfined seccompProfile of `x`",
            ),
            (
                |context| context.allow_privilege_escalation = Some(true),
                "`x` without allowPrivilegeEscalation",
            ),
        ];
        for (change, expected) in changes {
            check("restricted", "{}", changed(all.clone(), change), expected);
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
