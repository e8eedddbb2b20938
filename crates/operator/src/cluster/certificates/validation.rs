//! Keeps the `caBundle` of the webhook that validates workloads the same as that of the one that
//! injects pods.
//!
//! It follows the other registration and never leads: whatever keeps it from being written (a right
//! that an older installation doesn't have, a registration that somebody deleted) costs warnings,
//! not injected pods. What is presented is registered for injection beforehand, and this is written
//! within the time that rotation then gives API servers to hear of it.

use std::time::Instant;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::timeout;

use super::super::alarm::alarm;
use super::{MANAGER, REGISTER_INTERVAL, WRITE_TIMEOUT};
use crate::cluster::trouble::Trouble;
use crate::cluster::watched::Watched;
use crate::state::Leadership;
use crate::telemetry::cluster::{ClusterMetrics, Operation};

/// What the task acts on besides the API server.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Counts.
    pub metrics: ClusterMetrics,
    /// Whether this replica writes.
    pub leadership: watch::Receiver<Leadership>,
    /// What is registered for injection.
    pub registered: watch::Receiver<Option<ByteString>>,
}

/// Keeps the registration of this name in step, for ever.
pub async fn run(client: Client, name: String, shared: Shared) {
    let Shared {
        metrics,
        mut leadership,
        mut registered,
    } = shared;
    let webhooks: Api<ValidatingWebhookConfiguration> = Api::all(client);
    let trouble = Trouble::new(Operation::Validation, &metrics);
    let mut watched = Watched::named(webhooks.clone(), &name, trouble, Clone::clone);
    let mut trouble = Trouble::new(Operation::RegisterValidation, &metrics);
    // Whoever insists on another bundle is not answered as fast as both can write.
    let mut not_before = Instant::now();
    loop {
        let now = Instant::now();
        let mut wait = None;
        let bundle = registered.borrow_and_update().clone();
        let behind = watched.only().zip(bundle);
        let behind = behind.filter(|(webhook, bundle)| is_behind(webhook, bundle));
        let may_write = leadership.borrow_and_update().may_write_certificates();
        if let Some((webhook, bundle)) = behind.filter(|_| may_write) {
            if now >= not_before {
                let pause = match write(&webhooks, webhook, &bundle).await {
                    Ok(()) => {
                        trouble.worked();
                        tracing::info!(
                            webhook_configuration = name,
                            "registered the caBundle for validation"
                        );
                        REGISTER_INTERVAL
                    }
                    // It was changed meanwhile, which the watch will tell.
                    Err(Failed::Outdated) => REGISTER_INTERVAL,
                    Err(Failed::Refused(error)) => trouble.failed(&error),
                    Err(Failed::Late(elapsed)) => trouble.failed(&elapsed),
                };
                not_before = Instant::now() + pause;
            }
            // The watch tells what was written; if it doesn't, that is looked at once more.
            wait = Some(not_before);
        }
        tokio::select! {
            () = watched.changed() => {}
            Ok(()) = leadership.changed() => {}
            Ok(()) = registered.changed() => {}
            () = alarm(wait) => {}
        }
    }
}

enum Failed {
    Outdated,
    Refused(kube::Error),
    Late(tokio::time::error::Elapsed),
}

fn is_behind(webhook: &ValidatingWebhookConfiguration, bundle: &ByteString) -> bool {
    let mut entries = webhook.webhooks.iter().flatten();
    entries.any(|entry| entry.client_config.ca_bundle.as_ref() != Some(bundle))
}

/// Registers the bundle, and nothing else.
async fn write(
    webhooks: &Api<ValidatingWebhookConfiguration>,
    webhook: &ValidatingWebhookConfiguration,
    bundle: &ByteString,
) -> Result<(), Failed> {
    let name = webhook.metadata.name.clone().unwrap_or_default();
    let entries = webhook.webhooks.iter().flatten();
    let entries: Vec<_> = entries
        .map(|entry| json!({"name": entry.name, "clientConfig": {"caBundle": bundle}}))
        .collect();
    let patch = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        // With the version, an object that was deleted meanwhile is not made anew.
        "metadata": {"name": name, "resourceVersion": webhook.metadata.resource_version},
        "webhooks": entries,
    });
    let params = PatchParams::apply(MANAGER).force();
    let patch = Patch::Apply(&patch);
    let patched = webhooks.patch(&name, &params, &patch);
    match timeout(WRITE_TIMEOUT, patched).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
            Err(Failed::Outdated)
        }
        Ok(Err(error)) => Err(Failed::Refused(error)),
        Err(elapsed) => Err(Failed::Late(elapsed)),
    }
}
