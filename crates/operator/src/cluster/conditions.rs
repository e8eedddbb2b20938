//! Keeps the match condition in the registration: API servers then don't call for pods that nobody
//! asks about.
//!
//! What it says follows from the configuration of the replica that holds the Lease
//! ([`Engine::calls`](datakit_operator_core::inject::Engine::calls)). It is one entry of the
//! webhook's `matchConditions`, of a name that nobody else uses, so conditions of others stay what
//! they are. It is written by server-side apply under a field manager of its own: whoever writes
//! `caBundle` leaves it alone, and nothing that goes wrong here keeps a CA from being registered.
//!
//! API servers have match conditions from Kubernetes 1.30 on
//! (<https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#matching-requests-matchconditions>).
//! What they refuse isn't tried again for a while, and all pods are asked about meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datakit_operator_core::inject::{Calls, Engine};
use datakit_operator_core::version::KubernetesVersion;
use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MutatingWebhook, MutatingWebhookConfiguration,
};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use super::alarm::alarm;
use super::trouble::Trouble;
use super::watched::Watched;
use crate::state::{Leadership, Reviewing};
use crate::telemetry::cluster::{ClusterMetrics, Operation};

/// The name of the condition. It is a qualified name, as it has to be.
pub const NAME: &str = "admission.datakit/asked-for";
/// Who sets it, in the API server's records.
const MANAGER: &str = "datakit-operator-conditions";
/// How each part is doing says it under this name.
const PART: &str = "match_conditions";
/// The longest wait for an answer to a write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// The shortest time between two writes: whoever insists on something else is not answered as fast
/// as both can write.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long something that was refused isn't tried again.
const REFUSED: Duration = Duration::from_secs(600);

/// Which registration, and what to do with it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The MutatingWebhookConfiguration.
    pub webhook: String,
    /// Whether there is to be a condition; else what is there is removed.
    pub wanted: bool,
    /// Whether the `caBundle` is registered by the operator, which then comes first.
    pub after_bundle: bool,
}

/// What the task acts on besides the API server.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The configuration, and the API server's version.
    pub reviewing: Arc<Reviewing>,
    /// Counts, and how it is doing.
    pub metrics: ClusterMetrics,
    /// Whether this replica writes.
    pub leadership: watch::Receiver<Leadership>,
}

/// Keeps the condition of the registration, for ever.
pub async fn run(client: Client, settings: Settings, shared: Shared) {
    let Shared {
        reviewing,
        metrics,
        mut leadership,
    } = shared;
    let webhooks: Api<MutatingWebhookConfiguration> = Api::all(client);
    let trouble = Trouble::new(Operation::Conditions, &metrics);
    let mut watched = Watched::named(webhooks.clone(), &settings.webhook, trouble, Clone::clone);
    let mut changed = reviewing.changes();
    metrics.parts.begun(PART);
    let mut keeper = Keeper {
        trouble: Trouble::new(Operation::RegisterConditions, &metrics),
        webhooks,
        settings,
        metrics,
        engine: None,
        refused: None,
        said: None,
        not_before: Instant::now(),
    };
    loop {
        changed.borrow_and_update();
        let may_write = leadership.borrow_and_update().is_mine();
        let wait = keeper.follow(&reviewing, watched.only(), may_write).await;
        tokio::select! {
            () = watched.changed() => {}
            Ok(()) = leadership.changed() => {}
            Ok(()) = changed.changed() => {}
            () = alarm(wait) => {}
        }
    }
}

struct Keeper {
    webhooks: Api<MutatingWebhookConfiguration>,
    settings: Settings,
    metrics: ClusterMetrics,
    trouble: Trouble,
    /// What the configuration in use comes to.
    engine: Option<(Arc<Engine>, Calls)>,
    /// What API servers don't take, why, and when to try it again.
    refused: Option<(String, String, Instant)>,
    /// What was last said of it.
    said: Option<String>,
    not_before: Instant,
}

/// What should be registered.
enum Wanted {
    /// It can't be told yet.
    Unknown,
    /// This expression.
    Expression(String),
    /// None, and why.
    None(String),
}

enum Failed {
    /// It was changed meanwhile, which the watch will tell.
    Outdated,
    /// The API server doesn't take it, and says why.
    Refused(String),
    Error(kube::Error),
    Late(tokio::time::error::Elapsed),
}

impl Keeper {
    /// Looks at what is registered and what should be, and writes it. Returns when to look again
    /// even if nothing changes.
    async fn follow(
        &mut self,
        reviewing: &Reviewing,
        registered: Option<&MutatingWebhookConfiguration>,
        may_write: bool,
    ) -> Option<Instant> {
        let expression = match self.wanted(reviewing) {
            Wanted::Unknown => return None,
            Wanted::Expression(expression) => {
                self.say(None);
                Some(expression)
            }
            Wanted::None(why) => {
                self.say(Some(why));
                None
            }
        };
        let registered = registered?;
        let is_current = is_registered(registered, expression.as_deref());
        self.tell(is_current, expression.is_some());
        let retry = self.refused.as_ref().map(|(.., until)| *until);
        let behind = self.settings.after_bundle && lacks_a_bundle(registered);
        if is_current || !may_write || behind {
            return retry;
        }
        let now = Instant::now();
        if now < self.not_before {
            return Some(self.not_before);
        }
        let written = self.write(registered, expression.as_deref()).await;
        let pause = match written {
            Ok(()) => {
                self.trouble.worked();
                match &expression {
                    Some(expression) => tracing::info!(
                        webhook_configuration = self.settings.webhook,
                        bytes = expression.len(),
                        "registered for which pods to be called"
                    ),
                    None => tracing::info!(
                        webhook_configuration = self.settings.webhook,
                        "registered to be called for all pods"
                    ),
                }
                INTERVAL
            }
            Err(Failed::Outdated) => INTERVAL,
            Err(Failed::Refused(why)) => {
                tracing::warn!(
                    cause = why,
                    "the API server refuses the match condition; all pods are asked about"
                );
                if let Some(expression) = expression {
                    self.refused = Some((expression, why, Instant::now() + REFUSED));
                }
                INTERVAL
            }
            Err(Failed::Error(error)) => self.trouble.failed(&error),
            Err(Failed::Late(elapsed)) => self.trouble.failed(&elapsed),
        };
        self.not_before = Instant::now() + pause;
        Some(self.not_before)
    }

    fn wanted(&mut self, reviewing: &Reviewing) -> Wanted {
        let now = Instant::now();
        self.refused.take_if(|(.., until)| *until <= now);
        if !self.settings.wanted {
            return Wanted::None("they are switched off".to_owned());
        }
        match reviewing.context().kubernetes_version {
            None => return Wanted::Unknown,
            Some(version) if version >= KubernetesVersion::MATCH_CONDITIONS => {}
            Some(version) => {
                let oldest = KubernetesVersion::MATCH_CONDITIONS;
                return Wanted::None(format!("Kubernetes {version}, and they need {oldest}"));
            }
        }
        let engine = reviewing.engine();
        let known = self
            .engine
            .as_ref()
            .filter(|(of, _)| Arc::ptr_eq(of, &engine));
        let calls = match known {
            Some((_, calls)) => calls,
            None => {
                let calls = engine.calls();
                &self.engine.insert((Arc::clone(&engine), calls)).1
            }
        };
        let expression = match calls {
            Calls::All(why) => return Wanted::None(why.to_string()),
            Calls::Some(condition) => condition.to_string(),
        };
        match &self.refused {
            Some((refused, why, _)) if *refused == expression => {
                return Wanted::None(format!("the API server refuses them: {why}"));
            }
            _ => self.refused = None,
        }
        Wanted::Expression(expression)
    }

    /// Says once why all pods are asked about.
    fn say(&mut self, why: Option<String>) {
        if self.said == why {
            return;
        }
        if let Some(why) = &why {
            tracing::info!(why, "no match condition: all pods are asked about");
        }
        self.said = why;
    }

    fn tell(&self, is_current: bool, narrows: bool) {
        self.metrics.conditions.set(i64::from(is_current));
        let parts = &self.metrics.parts;
        match (is_current, &self.said) {
            (false, _) => parts.failing(
                PART,
                "another match condition is registered than this configuration needs",
                "the replica that holds the Lease writes it; pods that only this configuration asks about may be missed meanwhile",
            ),
            (true, Some(why)) => parts.well(PART, format!("all pods are asked about: {why}")),
            (true, None) if narrows => {
                parts.well(PART, "pods that nobody asks about are left out");
            }
            (true, None) => parts.well(PART, ""),
        }
    }

    /// Registers the expression, or removes what is registered, and nothing else.
    async fn write(
        &self,
        registered: &MutatingWebhookConfiguration,
        expression: Option<&str>,
    ) -> Result<(), Failed> {
        let name = &self.settings.webhook;
        // With the version, an object that was deleted meanwhile is not made anew.
        let metadata = json!({
            "name": name, "resourceVersion": registered.metadata.resource_version,
        });
        let body = |entry: &dyn Fn(&MutatingWebhook) -> Value| {
            let entries = registered.webhooks.iter().flatten();
            json!({
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "MutatingWebhookConfiguration",
                "metadata": metadata,
                "webhooks": entries.map(entry).collect::<Vec<_>>(),
            })
        };
        let (patch, params) = match expression {
            Some(expression) => {
                let ours = json!([{"name": NAME, "expression": expression}]);
                let body = body(&|entry| json!({"name": entry.name, "matchConditions": ours}));
                (Patch::Apply(body), PatchParams::apply(MANAGER).force())
            }
            // Whoever else claims to have written it.
            None => {
                let none = json!([{"$patch": "delete", "name": NAME}]);
                let body = body(&|entry| json!({"name": entry.name, "matchConditions": none}));
                let params = PatchParams {
                    field_manager: Some(MANAGER.to_owned()),
                    ..PatchParams::default()
                };
                (Patch::Strategic(body), params)
            }
        };
        let patched = self.webhooks.patch(name, &params, &patch);
        let patched = timeout(WRITE_TIMEOUT, patched).await;
        match patched {
            Ok(Ok(written)) if is_registered(&written, expression) => Ok(()),
            Ok(Ok(_)) => Err(Failed::Refused("it leaves it out".to_owned())),
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
                Err(Failed::Outdated)
            }
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 400 | 422) => {
                Err(Failed::Refused(status.message.clone()))
            }
            Ok(Err(error)) => Err(Failed::Error(error)),
            Err(elapsed) => Err(Failed::Late(elapsed)),
        }
    }
}

/// The operator's condition of a webhook, among those of others.
#[must_use]
pub fn of_webhook(conditions: Option<&Vec<MatchCondition>>) -> Option<&str> {
    let mut conditions = conditions.into_iter().flatten();
    let ours = conditions.find(|condition| condition.name == NAME)?;
    Some(&ours.expression)
}

/// Whether all webhooks have this condition, or none of them any.
fn is_registered(webhook: &MutatingWebhookConfiguration, expression: Option<&str>) -> bool {
    let mut entries = webhook.webhooks.iter().flatten();
    entries.all(|entry| of_webhook(entry.match_conditions.as_ref()) == expression)
}

fn lacks_a_bundle(webhook: &MutatingWebhookConfiguration) -> bool {
    let mut entries = webhook.webhooks.iter().flatten();
    entries.any(|entry| {
        let bundle = entry.client_config.ca_bundle.as_ref();
        bundle.is_none_or(|bundle| bundle.0.is_empty())
    })
}
