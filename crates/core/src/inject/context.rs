//! What a review may depend on beside the pod and the configuration.

use std::sync::Arc;

use crate::namespace::Namespaces;
use crate::version::KubernetesVersion;

/// Facts about the cluster that a review may depend on. They are read beforehand and cached, never
/// looked up during a review.
#[derive(Debug, Clone, Default)]
pub struct ReviewContext {
    /// The API server's version; `None` where it isn't known.
    pub kubernetes_version: Option<KubernetesVersion>,
    /// What is known of namespaces; nothing of those that aren't in there.
    pub namespaces: Arc<Namespaces>,
}
