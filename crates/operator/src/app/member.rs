//! This process as a member of a cluster: the tasks that talk to the API server.

use std::sync::Arc;

use kube::Client;
use tokio::sync::{Mutex, Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::tasks::Tasks;
use super::{Settings, Shared};
use crate::cluster::{self, certificates, conditions, events, facts, lease, logging};
use crate::state::{Incident, Incidents, Leadership};
use crate::telemetry::metrics::Metrics;

/// What the rest of the process needs to know of it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) client: ClientHandle,
    /// The task that holds the Lease, if one takes part in that.
    pub(super) lease: Option<LeaseTask>,
    /// Which replica holds it.
    pub(super) leadership: watch::Receiver<Leadership>,
    /// Tells when API servers accept the certificate, where it is the cluster's.
    pub(super) accepted: Option<Arc<Notify>>,
}

/// A client; its own type can't be printed.
#[derive(Clone)]
pub(super) struct ClientHandle(Client);

/// The task that holds the Lease, which must be given up in time.
#[derive(Debug)]
pub(super) struct LeaseTask {
    /// The name of this replica.
    pub(super) identity: String,
    /// Where other replicas reach it.
    pub(super) address: Option<String>,
    /// The namespace of the Lease.
    pub(super) namespace: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Member {
    /// Starts the tasks.
    pub(super) fn start(
        client: Client,
        cluster: cluster::Settings,
        to_tell: Option<mpsc::Receiver<Incident>>,
        settings: &Settings,
        shared: &Shared,
        tasks: &mut Tasks,
    ) -> Self {
        tracing::info!(cluster = %cluster.access, "working with a cluster");
        let counters = &shared.metrics.cluster;
        let (holder, leadership) = lease::channel();
        let identity = cluster.lease.as_ref().map(|lease| lease.identity.clone());
        let lease = cluster.lease.map(|settings| {
            let (stop, stopped) = oneshot::channel();
            let stopped = async {
                let _ = stopped.await;
            };
            let (identity, namespace) = (settings.identity.clone(), settings.namespace.clone());
            let address = settings.address.clone();
            let handover = Arc::clone(&shared.handover);
            let (client, counters) = (client.clone(), counters.clone());
            LeaseTask {
                identity,
                address,
                namespace,
                stop,
                task: tokio::spawn(lease::run(
                    client, settings, counters, holder, handover, stopped,
                )),
            }
        });
        let reading = (
            client.clone(),
            Arc::clone(&shared.reviewing),
            counters.clone(),
        );
        // What the user says about the version wins.
        if settings.context.kubernetes_version.is_none() {
            let reading = reading.clone();
            tasks.supervise("server version", move || {
                let (client, reviewing, counters) = reading.clone();
                facts::version(client, reviewing, counters)
            });
        }
        tasks.supervise("namespaces", move || {
            let (client, reviewing, counters) = reading.clone();
            facts::namespaces(client, reviewing, counters)
        });
        if let Some((to_tell, instance)) = to_tell.zip(identity) {
            let telling = events::Shared {
                incidents: Arc::new(Mutex::new(to_tell)),
                instance,
                metrics: counters.clone(),
                counts: shared.metrics.events.clone(),
            };
            let client = client.clone();
            tasks.supervise("events", move || {
                events::run(client.clone(), telling.clone())
            });
        }
        if cluster.logging_configs {
            let watching = logging::Shared {
                logging: Arc::clone(&shared.logging),
                metrics: counters.clone(),
                counts: shared.metrics.logging.clone(),
                leadership: leadership.clone(),
                incidents: shared.outlets.incidents.clone(),
            };
            let client = client.clone();
            tasks.supervise("logging configurations", move || {
                logging::run(client.clone(), watching.clone())
            });
        }
        if let Some(kept) = cluster.conditions {
            let following = conditions::Shared {
                reviewing: Arc::clone(&shared.reviewing),
                metrics: counters.clone(),
                leadership: leadership.clone(),
            };
            let client = client.clone();
            tasks.supervise("match conditions", move || {
                conditions::run(client.clone(), kept.clone(), following.clone())
            });
        }
        let accepted = cluster.certificates.map(|managed| {
            let accepted = Arc::new(Notify::new());
            let registered = Arc::new(watch::Sender::new(None));
            if let Some(name) = managed.validation.clone() {
                let following = certificates::validation::Shared {
                    metrics: counters.clone(),
                    leadership: leadership.clone(),
                    registered: registered.subscribe(),
                };
                let client = client.clone();
                tasks.supervise("registration of validation", move || {
                    certificates::validation::run(client.clone(), name.clone(), following.clone())
                });
            }
            let keeping = certificates::Shared {
                identity: Arc::clone(&shared.identity),
                replicas: Arc::clone(&shared.replicas),
                readiness: shared.readiness.clone(),
                metrics: counters.clone(),
                leadership: leadership.clone(),
                accepted: Arc::clone(&accepted),
                registered,
            };
            let client = client.clone();
            tasks.supervise("certificates", move || {
                certificates::run(client.clone(), managed.clone(), keeping.clone())
            });
            accepted
        });
        Self {
            client: ClientHandle(client),
            lease,
            leadership,
            accepted,
        }
    }
}

impl LeaseTask {
    /// Gives the Lease up.
    pub(super) async fn release(self) {
        // Fails only if the task is gone, which the join tells as well.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

/// What owners are to be told, if there is a cluster to write it to: the queue and its end.
pub(super) fn incidents(
    settings: &Settings,
    metrics: &Metrics,
) -> (Incidents, Option<mpsc::Receiver<Incident>>) {
    if !settings
        .cluster
        .as_ref()
        .is_some_and(|cluster| cluster.events)
    {
        return (Incidents::default(), None);
    }
    let (incidents, to_tell) = Incidents::new(metrics.events.dropped());
    (incidents, Some(to_tell))
}

/// Resolves if the task ends by itself, which only a bug in it makes it do.
pub(super) async fn broken(lease: &mut Option<LeaseTask>) {
    match lease {
        Some(lease) => {
            let _ = (&mut lease.task).await;
        }
        None => std::future::pending().await,
    }
}

impl ClientHandle {
    pub(super) fn clone_client(&self) -> Client {
        self.0.clone()
    }
}

impl std::fmt::Debug for ClientHandle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Client(…)")
    }
}
