//! What the Kubernetes side counts.

use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Labels;
use super::parts::Parts;

/// What was asked of the API server; the value of the label `operation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Watching the webhook's registration for its match condition.
    Conditions,
    /// Writing Events.
    Events,
    /// Watching the Leases of agents' leaders.
    Leaders,
    /// Getting, taking and renewing the Lease.
    Lease,
    /// Watching LimitRanges.
    LimitRanges,
    /// Watching ClusterLoggingConfigs.
    LoggingConfigs,
    /// Writing their conditions.
    LoggingConditions,
    /// Watching namespaces.
    Namespaces,
    /// Asking for the owners of ReplicaSets and Jobs.
    Owners,
    /// Watching pods.
    Pods,
    /// Registering the `caBundle`.
    Register,
    /// Registering for which pods to be called.
    RegisterConditions,
    /// Watching the webhook's registration.
    Registration,
    /// Watching ResourceQuotas.
    ResourceQuotas,
    /// Watching the Secret with the authorities.
    Secret,
    /// Storing an authority in it.
    Store,
    /// Registering the `caBundle` of the webhook that validates.
    RegisterValidation,
    /// Watching the registration of the webhook that validates.
    Validation,
    /// Asking for the server's version.
    Version,
}

impl Operation {
    const ALL: [Self; 19] = [
        Self::Conditions,
        Self::Events,
        Self::Leaders,
        Self::Lease,
        Self::LimitRanges,
        Self::LoggingConfigs,
        Self::LoggingConditions,
        Self::Namespaces,
        Self::Owners,
        Self::Pods,
        Self::Register,
        Self::RegisterConditions,
        Self::Registration,
        Self::ResourceQuotas,
        Self::Secret,
        Self::Store,
        Self::RegisterValidation,
        Self::Validation,
        Self::Version,
    ];

    /// The value of the label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Conditions => "watch_match_conditions",
            Self::Events => "write_events",
            Self::Leaders => "watch_leaders",
            Self::Lease => "lease",
            Self::LimitRanges => "watch_limit_ranges",
            Self::LoggingConfigs => "watch_logging_configs",
            Self::LoggingConditions => "write_logging_conditions",
            Self::Namespaces => "watch_namespaces",
            Self::Owners => "get_owners",
            Self::Pods => "watch_pods",
            Self::Register => "register_ca_bundle",
            Self::RegisterConditions => "register_match_conditions",
            Self::Registration => "watch_webhook_configuration",
            Self::ResourceQuotas => "watch_resource_quotas",
            Self::Secret => "watch_ca_secret",
            Self::Store => "write_ca_secret",
            Self::RegisterValidation => "register_validation_ca_bundle",
            Self::Validation => "watch_validation_configuration",
            Self::Version => "server_version",
        }
    }
}

impl Operation {
    /// What to do if it fails and goes on failing.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Leaders => {
                "may it list and watch leases (rbac.agentLeaders)? Agents elect no leaders meanwhile"
            }
            Self::Lease => {
                "may it get and update its Lease? This replica decides nothing meanwhile"
            }
            Self::LimitRanges => {
                "may it list and watch limitranges? Bounds of namespaces are unknown meanwhile"
            }
            Self::LoggingConfigs => {
                "may it list and watch clusterloggingconfigs (loggingConfigs.enabled)? Sidecars keep what they have meanwhile"
            }
            Self::LoggingConditions => {
                "may it patch clusterloggingconfigs/status (loggingConfigs.enabled)? The objects don't say whether they are used meanwhile"
            }
            Self::Namespaces => {
                "may it list and watch namespaces? Their levels of Pod Security are unknown meanwhile"
            }
            Self::Events => {
                "may it create and patch events (events.enabled)? Owners of pods aren't told meanwhile"
            }
            Self::Owners => {
                "may it get replicasets and jobs (events.enabled)? Events are on these themselves meanwhile"
            }
            Self::ResourceQuotas => {
                "may it list and watch resourcequotas? What they leave is unknown meanwhile"
            }
            Self::Validation => {
                "may it list and watch its validating webhook configuration (validation.enabled)? Workloads are applied without warnings meanwhile"
            }
            Self::RegisterValidation => {
                "may it patch its validating webhook configuration (validation.enabled)? Workloads are applied without warnings after the next CA"
            }
            Self::Pods => {
                "may it list and watch pods (podApi.enabled)? docs/pod-api.md says what agents get meanwhile"
            }
            Self::Register => {
                "may it patch its webhook configuration? A new CA isn't registered meanwhile"
            }
            Self::Conditions => {
                "may it list and watch its webhook configuration (webhook.matchConditions)? What is registered stays as it is meanwhile"
            }
            Self::RegisterConditions => {
                "may it patch its webhook configuration (webhook.matchConditions)? What is registered stays as it is meanwhile"
            }
            Self::Registration => {
                "may it list and watch its webhook configuration? Nothing is registered meanwhile"
            }
            Self::Secret => {
                "may it list and watch the Secret with the CA? No certificate is renewed meanwhile"
            }
            Self::Store => {
                "may it update the Secret with the CA? No CA is made or renewed meanwhile"
            }
            Self::Version => {
                "can the API server be reached? Jobs get no native sidecars while its version is unknown"
            }
        }
    }
}

/// A certificate; the value of the label `certificate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// The authority's.
    Ca,
    /// The one that is presented.
    Leaf,
}

impl Certificate {
    const ALL: [Self; 2] = [Self::Ca, Self::Leaf];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Ca => "ca",
            Self::Leaf => "leaf",
        }
    }
}

/// Certificates, the Lease and the API server.
#[derive(Clone, Debug)]
pub struct ClusterMetrics {
    expiry: Family<Labels<1>, Gauge<f64, AtomicU64>>,
    made: [Counter; Certificate::ALL.len()],
    failures: [Counter; Operation::ALL.len()],
    /// How each part is doing.
    pub parts: Parts,
    /// Whether this replica holds the Lease: 0 or 1.
    pub lease_held: Gauge,
    /// Whether the registration accepts what this replica presents: 0 or 1.
    pub accepted: Gauge,
    /// Whether API servers call for the pods that this replica's configuration needs: 0 or 1.
    pub conditions: Gauge,
}

impl ClusterMetrics {
    pub(super) fn new(registry: &mut Registry, parts: Parts) -> Self {
        let expiry = Family::<Labels<1>, Gauge<f64, AtomicU64>>::default();
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When certificates expire, in seconds since 1970",
            expiry.clone(),
        );
        let made = Family::<Labels<1>, Counter>::default();
        registry.register(
            "certificates_made",
            "Certificates made by this replica",
            made.clone(),
        );
        let failures = Family::<Labels<1>, Counter>::default();
        registry.register(
            "cluster_errors",
            "Requests to the API server that failed",
            failures.clone(),
        );
        let lease_held = Gauge::default();
        registry.register(
            "lease_held",
            "Whether this replica holds the Lease",
            lease_held.clone(),
        );
        let accepted = Gauge::default();
        registry.register(
            "ca_bundle_accepts_certificate",
            "Whether the registered caBundle accepts what this replica presents",
            accepted.clone(),
        );
        let conditions = Gauge::default();
        // What is there before anything is known was written by a holder of the Lease.
        conditions.set(1);
        registry.register(
            "match_conditions_current",
            "Whether the registered match condition is that of this replica's configuration",
            conditions.clone(),
        );
        Self {
            expiry,
            made: Certificate::ALL.map(|certificate| {
                made.get_or_create_owned(&[("certificate", certificate.as_str())])
            }),
            failures: Operation::ALL.map(|operation| {
                failures.get_or_create_owned(&[("operation", operation.as_str())])
            }),
            parts,
            lease_held,
            accepted,
            conditions,
        }
    }

    /// A certificate was made.
    pub fn made(&self, certificate: Certificate) {
        self.made[certificate as usize].inc();
    }

    /// A certificate in use expires at this time. Until this is said of one, the metric has no
    /// value for it.
    pub fn expires(&self, certificate: Certificate, at: SystemTime) {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.expiry
            .get_or_create_owned(&[("certificate", certificate.as_str())])
            .set(since.as_secs_f64());
    }

    /// A request to the API server failed.
    pub(crate) fn failed(&self, operation: Operation) {
        self.failures[operation as usize].inc();
    }
}
