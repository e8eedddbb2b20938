//! A sidecar that looks into the processes of the other containers: what it may do, and which pods
//! it can't live in.

use std::borrow::Cow;

use crate::config::ContainerSettings;
use crate::pod::Pod;
use crate::pod::hiding::Directories;
use crate::pod::part::{Capabilities, SecurityContext, SecurityFields};
use crate::pod::view::Container;

use crate::inject::reason::Reason;
use crate::inject::spec::Request;
use crate::inject::suits;

/// What such a sidecar runs as.
#[derive(Debug)]
pub(super) struct Observer {
    /// The security context: the configured one, else one that adds capabilities.
    pub(super) security_context: SecurityContext,
    /// Whether the configuration chooses the user.
    chooses_user: bool,
    /// Whether it listens at a port of the pod's, which on the node's network would be the node's.
    listens: bool,
}

impl Observer {
    /// The sidecar of a rule, which takes these capabilities.
    pub(super) fn new(
        container: &ContainerSettings,
        capabilities: &[&'static str],
        listens: bool,
    ) -> Self {
        let configured = container.security_context.as_ref();
        Self {
            chooses_user: configured.is_some_and(|context| {
                let fields = context.fields();
                fields.run_as_user.is_some() || fields.run_as_non_root == Some(false)
            }),
            security_context: configured
                .cloned()
                .unwrap_or_else(|| privileges(capabilities)),
            listens,
        }
    }

    /// What it can't live with.
    pub(super) fn suits(&self, request: &Request<'_>, pod: &Pod<'_>) -> Result<(), Reason> {
        if pod.host_pid {
            return Err(Reason::HostPid);
        }
        if self.listens && pod.host_network {
            return Err(Reason::HostNetwork);
        }
        if let Some(nodes) = pod.nodes.managed() {
            return Err(Reason::ManagedNodes { nodes });
        }
        suits::running_on(pod)?;
        if self.chooses_user {
            return Ok(());
        }
        // Capabilities reach root alone, and images start as root; under another user the container
        // would never run, and the pod never be ready.
        let setting = match (pod.security.run_as_non_root, pod.security.run_as_user) {
            (Some(true), _) => "securityContext.runAsNonRoot: true".to_owned(),
            (_, Some(user)) if user != 0 => format!("securityContext.runAsUser: {user}"),
            _ => return Ok(()),
        };
        Err(Reason::NonRootPod {
            setting,
            key: format!("{}.security_context", request.rule.section),
        })
    }
}

/// Why new volumes can't be mounted into a container, if they would hide what it runs or reads.
pub(super) fn first_hidden(places: &Directories<'_>, container: &Container<'_>) -> Option<Reason> {
    let hidden = places.hidden(container, |_| false);
    let hidden = hidden.into_iter().flatten().next()?;
    Some(Reason::WouldHide {
        container: container.name.clone().into_owned(),
        what: hidden.what,
        path: hidden.path,
    })
}

/// The security context of a sidecar that the configuration gives none.
fn privileges(capabilities: &[&'static str]) -> SecurityContext {
    let add = capabilities.iter().copied().map(Cow::Borrowed).collect();
    SecurityContext::new(SecurityFields {
        capabilities: Some(Capabilities {
            add: Some(add),
            drop: None,
        }),
        ..SecurityFields::default()
    })
}
