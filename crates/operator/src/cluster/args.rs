//! The options about the cluster, and the settings that they come to.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Access, Settings, certificates, conditions, lease};
use crate::tls::{self, Source};
use crate::values::lease_duration;

/// The variable by which a process knows that it runs in a Kubernetes cluster.
const ENV_IN_CLUSTER: &str = "KUBERNETES_SERVICE_HOST";
/// The pod's name, from the downward API.
const ENV_POD_NAME: &str = "POD_NAME";
/// The pod's address, from the downward API.
const ENV_POD_IP: &str = "POD_IP";

/// Options about the cluster.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Cluster")]
pub struct Args {
    /// Cluster to work with, from a desk; in a pod it is the pod's own
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub kubeconfig: Option<OsString>,

    /// MutatingWebhookConfiguration whose caBundle is kept right [default: SERVICE_NAME-mutation]
    #[arg(long, value_name = "NAME")]
    pub webhook_configuration: Option<String>,

    /// ValidatingWebhookConfiguration whose caBundle is kept the same [default: none]
    #[arg(long, value_name = "NAME")]
    pub validation_configuration: Option<String>,

    /// Secret with the CA [default: SERVICE_NAME-ca]
    #[arg(long, value_name = "NAME")]
    pub ca_secret: Option<String>,

    /// Lease that elects the replica which decides for all [default: SERVICE_NAME, in a pod or with
    /// --tls-source cluster; elsewhere none, and this process decides alone]
    #[arg(long, value_name = "NAME")]
    pub lease: Option<String>,

    /// How long the others wait for a holder of the Lease that says nothing
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = lease_duration)]
    pub lease_duration: Duration,

    /// Whether newer agents may elect leaders here, which takes the right to all Leases of the
    /// operator's namespace
    #[arg(long, value_name = "WHETHER", default_value = "on")]
    pub agent_leaders: Switch,

    /// Whether to answer sidecars that ask for ClusterLoggingConfigs, which takes the right to list
    /// and watch them
    #[arg(long, value_name = "WHETHER", default_value = "on")]
    pub logging_configs: Switch,

    /// Whether to have API servers from Kubernetes 1.30 on call only for pods that an annotation, a
    /// namespace or a label may ask for, by a match condition. That takes the rights to list, watch and
    /// patch the MutatingWebhookConfiguration
    #[arg(long, value_name = "WHETHER", default_value = "auto")]
    pub match_conditions: Narrowing,

    /// Whether to write Events on workloads whose pods aren't injected as asked, which takes the
    /// rights to create and patch Events and to get ReplicaSets and Jobs
    #[arg(long, value_name = "WHETHER", default_value = "on")]
    pub events: Switch,
}

/// Whether something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    /// It is.
    On,
    /// It isn't.
    Off,
}

/// Whether API servers call only for some pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Narrowing {
    /// Where the caBundle is kept, which takes the same rights
    Auto,
    /// They do
    On,
    /// They don't, and a match condition that is there is removed where the caBundle is kept
    Off,
}

impl Args {
    /// How to reach the cluster, if there is one.
    #[must_use]
    pub fn access(&self) -> Option<Access> {
        match &self.kubeconfig {
            Some(path) if !path.is_empty() => {
                let files = std::env::split_paths(path).collect();
                Some(Access::Kubeconfig(files))
            }
            _ => in_pod().then_some(Access::InPod),
        }
    }

    /// What to do in the cluster. `listen` is where other replicas will reach this one.
    #[must_use]
    pub fn settings(
        &self,
        access: Access,
        certificate: &tls::args::Args,
        source: &Source,
        listen: SocketAddr,
    ) -> Settings {
        let named = |name: &Option<String>, suffix: &str| match name {
            Some(name) => name.clone(),
            None => format!("{}{suffix}", certificate.service_name),
        };
        let namespace = &certificate.service_namespace;
        let certificates = match source {
            Source::Files(_) | Source::Ephemeral(_) => None,
            Source::Cluster(names, policy) => Some(certificates::Settings {
                namespace: namespace.clone(),
                secret: named(&self.ca_secret, "-ca"),
                webhook: named(&self.webhook_configuration, "-mutation"),
                validation: self.validation_configuration.clone(),
                names: names.clone(),
                policy: *policy,
            }),
        };
        let managed = certificates.is_some();
        // From a desk, with a certificate of its own, a process only looks, unless it is told which
        // Lease is its own.
        let takes_part = managed || access == Access::InPod || self.lease.is_some();
        let lease = takes_part.then(|| lease::Settings {
            namespace: namespace.clone(),
            name: named(&self.lease, ""),
            identity: lease::identity(std::env::var(ENV_POD_NAME).ok()),
            address: pod_address(listen),
            keeps_certificates: managed,
            duration: self.lease_duration,
        });
        let narrowing = self.match_conditions;
        let follows = managed || narrowing == Narrowing::On;
        let conditions = (takes_part && follows).then(|| conditions::Settings {
            webhook: named(&self.webhook_configuration, "-mutation"),
            wanted: narrowing != Narrowing::Off,
            after_bundle: managed,
        });
        Settings {
            access,
            lease,
            certificates,
            conditions,
            agent_leaders: self.agent_leaders == Switch::On,
            logging_configs: self.logging_configs == Switch::On,
            // Who only looks writes nothing.
            events: takes_part && self.events == Switch::On,
        }
    }
}

/// Whether this process runs in a pod.
#[must_use]
pub fn in_pod() -> bool {
    std::env::var_os(ENV_IN_CLUSTER).is_some_and(|host| !host.is_empty())
}

/// Where other replicas reach this one.
fn pod_address(listen: SocketAddr) -> Option<String> {
    let address: IpAddr = std::env::var(ENV_POD_IP).ok()?.parse().ok()?;
    Some(SocketAddr::new(address, listen.port()).to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        cluster: Args,
        #[command(flatten)]
        certificate: tls::args::Args,
    }

    fn settings(line: &str, access: Access) -> Settings {
        let line = Line::parse_from(line.split_whitespace());
        let around = match access {
            Access::InPod => tls::args::Around::Pod,
            Access::Kubeconfig(_) => tls::args::Around::Cluster,
        };
        let source = line.certificate.source(around).unwrap();
        let listen = SocketAddr::from(([127, 0, 0, 1], 9543));
        line.cluster
            .settings(access, &line.certificate, &source, listen)
    }

    /// The names of Secret, registration and Lease, where there are any.
    fn named(line: &str, access: Access) -> [Option<String>; 3] {
        let settings = settings(line, access);
        let certificates = settings.certificates;
        let (secret, webhook) = certificates.map(|kept| (kept.secret, kept.webhook)).unzip();
        [secret, webhook, settings.lease.map(|lease| lease.name)]
    }

    #[test]
    fn api_servers_are_told_for_which_pods_to_call() {
        let pod = Access::InPod;
        let check = |line: &str, access: &Access, want: Option<bool>| {
            let conditions = settings(line, access.clone()).conditions;
            assert_eq!(conditions.map(|kept| kept.wanted), want, "{line}");
        };
        check("x", &pod, Some(true));
        check("x --match-conditions=off", &pod, Some(false));
        check("x --tls-source=ephemeral", &pod, None);
        check(
            "x --tls-source=ephemeral --match-conditions=off",
            &pod,
            None,
        );
        check(
            "x --tls-source=ephemeral --match-conditions=on",
            &pod,
            Some(true),
        );
        let desk = Access::Kubeconfig(Vec::new());
        check("x --match-conditions=on", &desk, None);
        check("x --tls-source=cluster", &desk, Some(true));
    }

    #[test]
    fn names_follow_the_service_and_a_desk_only_looks() {
        let check = |line: &str, access: &Access, want: [&str; 3]| {
            let want = want.map(|name| (!name.is_empty()).then(|| name.to_owned()));
            assert_eq!(named(line, access.clone()), want, "{line}");
        };
        let desk = Access::Kubeconfig(Vec::new());
        let pod = Access::InPod;
        check("x --service-name a", &pod, ["a-ca", "a-mutation", "a"]);
        check(
            "x --ca-secret s --webhook-configuration w --lease l",
            &pod,
            ["s", "w", "l"],
        );
        check(
            "x --tls-source ephemeral --service-name a",
            &pod,
            ["", "", "a"],
        );
        check("x", &desk, ["", "", ""]);
        check("x --lease l", &desk, ["", "", "l"]);
        check(
            "x --tls-source cluster --service-name a",
            &desk,
            ["a-ca", "a-mutation", "a"],
        );
    }
}
