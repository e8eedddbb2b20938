//! The security context of injected containers.
//!
//! A pod that keeps the restricted Pod Security profile may live in a namespace that demands it,
//! where an injected container that doesn't keep it would have the pod refused
//! (<https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>). The kubelet
//! in turn never starts a container as root where `runAsNonRoot` holds.

use std::borrow::Cow;

use crate::pod::Pod;
use crate::pod::part::{Capabilities, Profile, SecurityContext, SecurityFields};
use crate::pod::view::Container;

use super::container::Settings;

/// The user and group that own nothing.
const NOBODY: i64 = 65534;

/// Which user an injected container's image runs as, if nobody says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageUser {
    /// Root: where the pod forbids that, the container needs a user to start at all.
    Root,
    /// A user of its own, who isn't root.
    Own,
}

/// The security context of an injected container that needs no privileges: the configured one, else
/// the restricted set where the pod's own containers keep it, else none, or just a user where the
/// pod forbids root.
pub(crate) fn context<'p>(
    settings: &'p Settings,
    pod: &Pod<'_>,
    image: ImageUser,
) -> Option<Cow<'p, SecurityContext>> {
    if let Some(configured) = &settings.security_context {
        return Some(Cow::Borrowed(configured));
    }
    let restricted = keeps_restricted(pod);
    let non_root = restricted
        && pod
            .containers
            .iter()
            .all(|container| is_non_root(pod, container));
    let forbids_root = non_root || pod.security.run_as_non_root == Some(true);
    if !restricted && !forbids_root {
        return None;
    }
    let mut fields = SecurityFields::default();
    if restricted {
        fields.allow_privilege_escalation = Some(false);
        fields.capabilities = Some(Capabilities {
            add: None,
            drop: Some(vec![Cow::Borrowed("ALL")]),
        });
        fields.seccomp_profile = Some(Profile::RuntimeDefault);
    }
    if non_root {
        fields.run_as_non_root = Some(true);
    }
    let fallback = (forbids_root && image == ImageUser::Root).then_some(NOBODY);
    (fields.run_as_user, fields.run_as_group) = user(pod, forbids_root, fallback);
    (fields != SecurityFields::default()).then(|| Cow::Owned(SecurityContext::new(fields)))
}

/// User and group where they are not inherited: those of the first container, or of the first that
/// names a user other than root where the pod forbids root.
fn user(pod: &Pod<'_>, forbids_root: bool, fallback: Option<i64>) -> (Option<i64>, Option<i64>) {
    // Root that the pod itself forbids is nothing to inherit.
    let inherited_user = match pod.security.run_as_user {
        Some(0) if forbids_root => None,
        user => user,
    };
    let mut own = pod
        .containers
        .iter()
        .map(|container| &container.security.shared);
    let from = if forbids_root {
        own.find(|own| own.run_as_user.is_some_and(|user| user != 0))
    } else {
        own.next()
    };
    let user = from.and_then(|own| own.run_as_user).or(fallback);
    let group = from.and_then(|own| own.run_as_group);
    let unless = |inherited: Option<i64>, id| if inherited.is_none() { id } else { None };
    (
        unless(inherited_user, user),
        unless(pod.security.run_as_group, group),
    )
}

/// Whether all containers of the pod's own keep the restricted profile by what the pod says.
fn keeps_restricted(pod: &Pod<'_>) -> bool {
    // Root inside a user namespace is nobody outside, so the profile doesn't ask such pods for a
    // user.
    let user_matters = pod.host_users != Some(false);
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
            && (!user_matters || is_non_root(pod, container))
    };
    let root_by_default = user_matters && pod.security.run_as_user == Some(0);
    !pod.containers.is_empty() && !root_by_default && pod.containers.iter().all(keeps)
}

fn is_non_root(pod: &Pod<'_>, container: &Container<'_>) -> bool {
    let (own, inherited) = (&container.security.shared, &pod.security);
    let forbids_root = own.run_as_non_root.or(inherited.run_as_non_root) == Some(true);
    forbids_root && own.run_as_user.or(inherited.run_as_user) != Some(0)
}
