//! Which pods something can be added to, whatever the feature.

use crate::pod::Pod;

use super::reason::Reason;

/// Whether anything can be added to the pod at all.
pub(crate) fn anything(pod: &Pod<'_>) -> Result<(), Reason> {
    if pod.nodes.are_windows() {
        return Err(Reason::WindowsPod);
    }
    if pod.mirror {
        return Err(Reason::MirrorPod);
    }
    Ok(())
}

/// Whether a container beside the others doesn't keep the pod from ending.
pub(crate) fn running_on(pod: &Pod<'_>) -> Result<(), Reason> {
    if pod.is_meant_to_end() {
        return Err(Reason::RestartPolicy {
            policy: match pod.restarts_always() {
                true => "Always, but another one in every container,".to_owned(),
                false => pod.restart_policy.clone().into_owned(),
            },
        });
    }
    Ok(())
}
