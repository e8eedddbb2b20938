//! The security context of injected containers.
//!
//! A pod that keeps the restricted Pod Security profile may live in a namespace that demands it, where an injected
//! container that doesn't keep it would have the pod refused
//! (<https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>).

use std::borrow::Cow;
use std::fmt::Write;

use crate::pod::Pod;
use crate::pod::view::Container;

use super::container::Settings;

/// The security context of an injected container that needs no privileges: the configured one, else the restricted
/// set where the pod's own containers keep it, else none.
pub(crate) fn context<'p>(settings: &'p Settings, pod: &Pod<'_>) -> Option<Cow<'p, str>> {
    match &settings.security_context {
        Some(configured) => Some(Cow::Borrowed(configured)),
        None => restricted(pod).map(Cow::Owned),
    }
}

fn restricted(pod: &Pod<'_>) -> Option<String> {
    // Root inside a user namespace is nobody outside, so the profile doesn't ask such pods for a user.
    let user_matters = pod.host_users != Some(false);
    let non_root = |container: &Container<'_>| {
        let own = &container.security.shared;
        let user = own.run_as_user.or(pod.security.run_as_user);
        own.run_as_non_root.or(pod.security.run_as_non_root) == Some(true) && user != Some(0)
    };
    let keeps = |container: &Container<'_>| {
        let security = &container.security;
        let seccomp = match security.shared.seccomp.as_ref() {
            "" => pod.security.seccomp.as_ref(),
            own => own,
        };
        security.allow_privilege_escalation == Some(false)
            && !security.privileged
            && security.drops_all
            && !security.adds_beyond_restricted
            && matches!(seccomp, "RuntimeDefault" | "Localhost")
            && (!user_matters || non_root(container))
    };
    let first = pod.containers.first()?;
    if !pod.containers.iter().all(keeps) {
        return None;
    }
    let mut json =
        String::from(r#"{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}"#);
    if pod.containers.iter().all(non_root) {
        json.push_str(r#","runAsNonRoot":true"#);
    }
    let own = &first.security.shared;
    let ids = [
        ("runAsUser", own.run_as_user, pod.security.run_as_user),
        ("runAsGroup", own.run_as_group, pod.security.run_as_group),
    ];
    for (name, own, inherited) in ids {
        if let (Some(id), None) = (own, inherited) {
            let _ = write!(json, r#","{name}":{id}"#);
        }
    }
    json.push_str(r#","seccompProfile":{"type":"RuntimeDefault"}}"#);
    Some(json)
}
