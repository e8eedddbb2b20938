//! The Kubernetes side: everything that talks to the API server, in tasks of its own.
//!
//! Nothing here is needed to answer an admission review. Each task watches or asks, puts what it
//! learns into [`crate::state`], and goes on trying when the API server can't be reached or
//! refuses; the last known facts stay.
//!
//! | module | what it does |
//! |---|---|
//! | [`args`] | the options, and the settings that they come to |
//! | [`connect`](mod@connect) | finds the cluster and the credentials |
//! | [`lease`] | keeps one replica elected |
//! | [`leaders`] | keeps the records of agents' leader election in Leases |
//! | [`logging`] | the ClusterLoggingConfigs that sidecars ask for |
//! | [`pods`] | the pods that other programs ask for |
//! | [`tokens`] | asks whose a bearer token is |
//! | [`rights`] | asks what its owner may list |
//! | [`events`] | tells owners of pods by Events |
//! | [`certificates`] | carries out what [`crate::tls::rotation`] decides: Secret, `caBundle`, this replica's certificate |
//! | [`conditions`] | for which pods API servers call, in the registration |
//! | [`facts`] | the server's version, the namespaces' Pod Security levels, LimitRanges and ResourceQuotas |

mod alarm;
pub mod args;
pub mod certificates;
pub mod conditions;
pub mod connect;
pub mod events;
pub mod facts;
pub mod leaders;
pub mod lease;
pub mod logging;
pub mod pods;
pub mod rights;
pub mod tokens;
mod trouble;
mod watched;

pub use connect::{Access, ConnectError, connect};

/// What to do in a cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How to reach it.
    pub access: Access,
    /// The Lease by which one replica is elected; without one, this process is the only one.
    pub lease: Option<lease::Settings>,
    /// The objects of self-managed certificates, if certificates are that.
    pub certificates: Option<certificates::Settings>,
    /// The registration whose match condition is kept, if one is.
    pub conditions: Option<conditions::Settings>,
    /// Whether the Leases of agents' leaders are watched. Without that, agents are told that this
    /// isn't the place.
    pub agent_leaders: bool,
    /// Whether ClusterLoggingConfigs are watched.
    pub logging_configs: bool,
    /// Whether owners of pods are told by Events.
    pub events: bool,
}

/// The name under which this program appears in the API server's records of who set what.
const MANAGER: &str = "datakit-operator";
