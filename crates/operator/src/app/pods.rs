//! The options about the Pod API, and its parts.

use std::sync::Arc;

use anyhow::bail;

use super::member::Member;
use super::missed::{self, Looking};
use super::tasks::Tasks;
use super::{Shared, StartError};
use crate::access::rights::{Authorizer, Rights};
use crate::access::tokens::{Reviewer, Tokens};
use crate::cluster::args::Switch;
use crate::cluster::pods;
use crate::cluster::rights::AccessReviews;
use crate::cluster::tokens::TokenReviews;
use crate::http::pods::PodRoutes;
use crate::http::pods::access::{Access, Auth, Gate};
use crate::listen::Apart;
use crate::state::pods::Standing;
use crate::values::bytes;

/// With the Pod API, a container larger than this (in bytes) has more memory for pods, not for
/// clients: with this much, they have what suits a server without it.
const ENOUGH_FOR_CLIENTS: usize = 128 << 20;
/// What the process takes at most beside what clients make it use and pods, in bytes: itself, and
/// pages of lists while they are read.
const ITSELF: usize = 32 << 20;

/// Options about the Pod API.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Pod API")]
pub struct Args {
    /// Whether to show the cluster's pods to other programs, which takes the right to list and
    /// watch them
    #[arg(long, value_name = "WHETHER", default_value = "off")]
    pub pod_api: Switch,

    /// Who may see them: everybody who reaches the port, or whoever has a token of the API server's
    /// and may list pods there
    #[arg(long, value_name = "WHO", default_value_t)]
    pub pod_api_auth: Auth,

    /// Memory that the pods may take; with more of them, nobody is shown any
    /// [default: what the container's limit leaves, or no limit if there is none]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub pod_api_memory: Option<usize>,
}

/// The Pod API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The namespace of the operator, whose pods it isn't asked about.
    pub namespace: String,
    /// Who may ask.
    pub auth: Auth,
    /// What the pods may take, in bytes.
    pub memory: Option<usize>,
}

impl Args {
    /// The limit of the container as far as it is for clients to take a part of.
    #[must_use]
    pub fn beside(&self, container: Option<usize>) -> Option<usize> {
        match self.pod_api {
            Switch::On => container.map(|limit| limit.min(ENOUGH_FOR_CLIENTS)),
            Switch::Off => container,
        }
    }

    /// The Pod API, if there is to be one, of an operator in this namespace, in a container with this
    /// limit of which clients may take so much.
    ///
    /// # Errors
    ///
    /// If there is no cluster.
    pub fn settings(
        &self,
        in_cluster: bool,
        namespace: String,
        container: Option<usize>,
        clients: usize,
    ) -> anyhow::Result<Option<Settings>> {
        if self.pod_api == Switch::Off {
            return Ok(None);
        }
        if !in_cluster {
            bail!("--pod-api on needs a cluster; give --kubeconfig, or run in a pod");
        }
        let left = container.map(|limit| limit.saturating_sub(clients + ITSELF));
        Ok(Some(Settings {
            namespace,
            auth: self.pod_api_auth,
            memory: self.pod_api_memory.or(left),
        }))
    }
}

/// Starts to watch pods, on a thread of its own, and gives the routes that show them.
pub(super) fn start(
    settings: Option<&Settings>,
    member: Option<&Member>,
    shared: &Shared,
    tasks: &mut Tasks,
) -> Result<(PodRoutes, Option<Apart>), StartError> {
    let (known, metrics) = (Arc::clone(&shared.pods), Arc::clone(&shared.metrics));
    let Some((wanted, member)) = settings.zip(member) else {
        if settings.is_some() {
            let why = "the operator doesn't know how to reach the cluster; its log says why";
            known.stand(Standing::Unknown(why.to_owned()));
        }
        return Ok((PodRoutes::new(known, None, Access::Open, metrics), None));
    };
    let apart = Apart::start("pods").map_err(StartError::Threads)?;
    let client = || member.client.clone_client();
    let watching = (
        client(),
        Arc::clone(&known),
        metrics.cluster.clone(),
        metrics.pods.clone(),
    );
    let memory = wanted.memory;
    tasks.supervise_on(apart.runtime(), "pods", move || {
        let (client, known, metrics, counts) = watching.clone();
        pods::run(client, known, memory, metrics, counts)
    });
    let looking = Looking {
        pods: Arc::clone(&known),
        reviewing: Arc::clone(&shared.reviewing),
        left_out: vec!["kube-system".to_owned(), wanted.namespace.clone()],
        missed: Arc::clone(&shared.missed),
        counts: metrics.missed.clone(),
    };
    tasks.supervise_on(apart.runtime(), "missed pods", move || {
        missed::run(looking.clone())
    });
    let access = match wanted.auth {
        Auth::None => Access::Open,
        Auth::Token => {
            let reviews = Arc::new(TokenReviews::new(client(), Vec::new()));
            let tokens = Tokens::new(reviews as Arc<dyn Reviewer>);
            let reviews = Arc::new(AccessReviews::new(client()));
            let rights = Rights::new(reviews as Arc<dyn Authorizer>);
            Access::Token(Arc::new(Gate::new(tokens, rights)))
        }
    };
    tracing::info!(
        auth = %wanted.auth,
        memory = wanted.memory,
        "shows the cluster's pods to other programs"
    );
    let runtime = apart.runtime().clone();
    let routes = PodRoutes::new(known, Some(runtime), access, metrics);
    Ok((routes, Some(apart)))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        pods: Args,
    }

    #[test]
    fn pods_get_what_clients_leave() {
        const MIB: usize = 1 << 20;
        let check = |line: &str, container: Option<usize>, want: Option<Option<usize>>| {
            let args = Line::parse_from(line.split_whitespace()).pods;
            let container = container.map(|mib| mib * MIB);
            let settings = args
                .settings(true, String::new(), container, 80 * MIB)
                .unwrap();
            let memory = settings.map(|settings| settings.memory.map(|bytes| bytes / MIB));
            assert_eq!(memory, want, "{line}");
            args.beside(container).map(|bytes| bytes / MIB)
        };
        assert_eq!(check("x", Some(512), None), Some(512));
        let on = "x --pod-api on";
        assert_eq!(check(on, Some(512), Some(Some(400))), Some(128));
        assert_eq!(check(on, Some(64), Some(Some(0))), Some(64));
        assert_eq!(check(on, None, Some(None)), None);
        let given = "x --pod-api on --pod-api-memory 7MiB";
        check(given, Some(512), Some(Some(7)));
        let args = Line::parse_from(on.split_whitespace()).pods;
        assert!(args.settings(false, String::new(), None, 0).is_err());
    }
}
