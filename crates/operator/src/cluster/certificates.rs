//! Carries out what [`rotation`](crate::tls::rotation) decides: writes authorities into the Secret
//! and certificates into the registration if this replica holds the Lease, and gives this replica
//! its own certificate.
//!
//! The Secret comes with the installation, empty. The operator fills it and never creates one:
//! whoever may create Secrets in a namespace can have tokens of all its service accounts made
//! (<https://kubernetes.io/docs/concepts/configuration/secret/#serviceaccount-token-secrets>).
//!
//! Of the registration nothing but `caBundle` is written, by server-side apply, so whoever installs
//! and upgrades it keeps everything else.

pub mod validation;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::MANAGER;
use super::trouble::Trouble;
use super::watched::Watched;
use crate::clock;
use crate::error::Chain;
use crate::state::{Leadership, Readiness};
use crate::telemetry::cluster::{Certificate, ClusterMetrics, Operation};
use crate::tls::Identity;
use crate::tls::authority::{Authority, Der, Names, read_bundle, to_pem};
use crate::tls::keyring::{Keyring, KeyringError};
use crate::tls::replicas::Replicas;
use crate::tls::rotation::{
    Action, Event, Known, Policy, Registration, Rotation, Stored, Unaccepted,
};

/// The longest wait for an answer to a write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// The shortest time between two registrations.
const REGISTER_INTERVAL: Duration = Duration::from_secs(1);
/// How often to look at the clock when nothing else happens. The clock may have been set, or the
/// machine suspended.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The one type of Secret that means nothing to anybody else. Kubernetes never lets the type of a
/// Secret change.
const SECRET_TYPE: &str = "Opaque";

/// What belongs to this installation.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace of the Secret.
    pub namespace: String,
    /// The Secret with the authorities.
    pub secret: String,
    /// The MutatingWebhookConfiguration.
    pub webhook: String,
    /// The ValidatingWebhookConfiguration, if there is one.
    pub validation: Option<String>,
    /// The names in this replica's certificate.
    pub names: Names,
    /// Lifetimes.
    pub policy: Policy,
}

/// The Secret can't take an authority.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Unwritable {
    /// There is none.
    #[error(
        "the Secret `{0}` does not exist, and the operator may not create it; make it again with \
         `kubectl apply` of the file or `helm upgrade`"
    )]
    Absent(String),
    /// Something else reads it.
    #[error(
        "the Secret `{name}` is of type `{found}`, expected `{SECRET_TYPE}`; delete it and apply again what was \
         installed, or name another Secret with `--ca-secret`"
    )]
    Foreign {
        /// The name of the Secret.
        name: String,
        /// Its type.
        found: String,
    },
}

/// What the keeper acts on besides the API server.
#[derive(Clone, Debug)]
pub struct Shared {
    /// What the server presents.
    pub identity: Arc<Identity>,
    /// Told which authorities replicas have their certificates from.
    pub replicas: Arc<Replicas>,
    /// Told when the registration accepts it.
    pub readiness: Readiness,
    /// Counts and dates.
    pub metrics: ClusterMetrics,
    /// Whether this replica writes.
    pub leadership: watch::Receiver<Leadership>,
    /// Told when the registration accepts what is presented for the first time.
    pub accepted: Arc<Notify>,
    /// Told what is registered: the `caBundle` as PEM, once all entries have the same.
    pub registered: Arc<watch::Sender<Option<ByteString>>>,
}

/// Keeps the certificates of the installation and of this replica, for ever.
pub async fn run(client: Client, settings: Settings, shared: Shared) {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &settings.namespace);
    let webhooks: Api<MutatingWebhookConfiguration> = Api::all(client);
    let Shared {
        identity,
        replicas,
        readiness,
        metrics,
        mut leadership,
        accepted,
        registered: published,
    } = shared;
    let trouble = |operation| Trouble::new(operation, &metrics);
    let mut secret = Watched::named(
        secrets.clone(),
        &settings.secret,
        trouble(Operation::Secret),
        Clone::clone,
    );
    let mut webhook = Watched::named(
        webhooks.clone(),
        &settings.webhook,
        trouble(Operation::Registration),
        Clone::clone,
    );
    let mut keeper = Keeper {
        rotation: Rotation::new(settings.policy),
        store_trouble: trouble(Operation::Store),
        register_trouble: trouble(Operation::Register),
        secrets,
        webhooks,
        settings,
        identity,
        replicas,
        readiness,
        metrics,
        accepted: Some(accepted),
        published,
        secret: None,
        webhook: None,
        keyring: None,
        seen: Vec::new(),
        damage: None,
        registered: None,
    };
    let mut wait = Duration::ZERO;
    loop {
        let event = tokio::select! {
            () = secret.changed() => keeper.see_secret(secret.only().cloned()),
            () = webhook.changed() => keeper.see_webhook(webhook.only().cloned()),
            Ok(()) = leadership.changed() => {
                Event::Holding(leadership.borrow_and_update().may_write_certificates())
            }
            () = sleep(wait) => Event::Tick,
        };
        // The Lease is looked at again before each write, since a write may come long after the
        // last news of it.
        let may_write = || leadership.borrow().may_write_certificates();
        wait = keeper.follow(event, may_write).await;
    }
}

struct Keeper {
    rotation: Rotation,
    secrets: Api<Secret>,
    webhooks: Api<MutatingWebhookConfiguration>,
    settings: Settings,
    identity: Arc<Identity>,
    replicas: Arc<Replicas>,
    readiness: Readiness,
    metrics: ClusterMetrics,
    accepted: Option<Arc<Notify>>,
    published: Arc<watch::Sender<Option<ByteString>>>,
    store_trouble: Trouble,
    register_trouble: Trouble,
    /// As last seen: what a write must not be older than.
    secret: Option<Secret>,
    webhook: Option<MutatingWebhookConfiguration>,
    /// What the Secret holds, if it is usable.
    keyring: Option<Keyring>,
    /// Every authority that was ever in it; the keys are kept only of those that are still there.
    seen: Vec<Arc<Authority>>,
    /// What was last said to be wrong with the Secret.
    damage: Option<String>,
    /// When the bundle was registered last.
    registered: Option<Instant>,
}

impl Keeper {
    /// Takes an event in, and acts until there is nothing left to do now. Returns how long to wait
    /// for another event.
    async fn follow(&mut self, event: Event, may_write: impl Fn() -> bool) -> Duration {
        let mut event = event;
        loop {
            let now = clock::now();
            let plan = self.rotation.next(event, now);
            self.tell(plan.accepted);
            let wake = plan
                .wake
                .and_then(|wake| wake.duration_since(now).ok())
                .unwrap_or(LONGEST_WAIT)
                .min(LONGEST_WAIT);
            let mut following = None;
            let mut pause = wake;
            for action in plan.actions {
                let done = match action {
                    Action::Renew { keep } if may_write() => self.renew(&keep).await,
                    Action::Register(bundle) if may_write() => self.register(&bundle).await,
                    Action::Issue(authority) => self.issue(&authority),
                    Action::Renew { .. } | Action::Register(_) => Ok(None),
                };
                match done {
                    // What was done changes the plan.
                    Ok(Some(event)) => {
                        following = Some(event);
                        break;
                    }
                    Ok(None) => {}
                    Err(retry) => pause = pause.min(retry),
                }
            }
            match following {
                Some(next) => event = next,
                None => return pause,
            }
        }
    }

    fn tell(&mut self, accepted: Result<(), Unaccepted>) {
        self.metrics.accepted.set(i64::from(accepted.is_ok()));
        let parts = &self.metrics.parts;
        match accepted {
            Ok(()) => {
                parts.well("registration", "");
                if let Some(accepted) = self.accepted.take() {
                    accepted.notify_one();
                }
            }
            Err(why) => {
                let remedy =
                    "docs/operations.md says what to do, under \"The operator isn't ready\"";
                parts.failing("registration", why.to_string(), remedy);
                self.readiness.wait_for(why.to_string());
            }
        }
    }

    fn see_secret(&mut self, secret: Option<Secret>) -> Event {
        self.secret = secret;
        let stored = match self.writable() {
            Err(Unwritable::Absent(_)) => Stored::Absent,
            Err(Unwritable::Foreign { .. }) => Stored::Foreign,
            Ok(secret) => match Keyring::read(&data(secret)) {
                Ok(keyring) => {
                    self.damage = None;
                    let known = keyring.authorities().iter().map(known).collect();
                    self.keyring = Some(keyring);
                    self.remember();
                    return Event::Stored(Stored::Authorities(known));
                }
                Err(error) => {
                    self.tell_damage(&error);
                    Stored::Unusable
                }
            },
        };
        self.keyring = None;
        self.remember();
        Event::Stored(stored)
    }

    /// The Secret, if an authority may be written into it.
    fn writable(&self) -> Result<&Secret, Unwritable> {
        let name = &self.settings.secret;
        let secret = self.secret.as_ref();
        let secret = secret.ok_or_else(|| Unwritable::Absent(name.clone()))?;
        match secret.type_.as_deref() {
            None | Some("" | SECRET_TYPE) => Ok(secret),
            Some(other) => Err(Unwritable::Foreign {
                name: name.clone(),
                found: other.to_owned(),
            }),
        }
    }

    /// Says once what is wrong with the Secret. An empty one is as it was installed, unless it was
    /// filled before.
    fn tell_damage(&mut self, error: &KeyringError) {
        let empty = self
            .secret
            .as_ref()
            .is_none_or(|secret| data(secret).is_empty());
        if empty && self.seen.is_empty() {
            return;
        }
        let damage = Chain(error).to_string();
        if self.damage.as_ref() != Some(&damage) {
            tracing::warn!(
                secret = self.settings.secret,
                cause = damage,
                "the Secret with the CA is damaged; the replica that holds the Lease makes a new CA"
            );
            self.damage = Some(damage);
        }
    }

    /// Keeps the certificates of authorities that are gone from the Secret, without their keys.
    fn remember(&mut self) {
        let now = clock::now();
        let stored = self.keyring.as_ref().map(Keyring::authorities);
        let stored = stored.unwrap_or_default();
        let gone = |old: &&Arc<Authority>| {
            !stored.iter().any(|new| new.der() == old.der()) && old.validity().contains(now)
        };
        let gone = self.seen.iter().filter(gone);
        let gone: Vec<_> = gone.map(|old| Arc::new(old.without_key())).collect();
        self.seen = stored.iter().cloned().chain(gone).collect();
        let trusted = self
            .seen
            .iter()
            .map(|authority| Arc::clone(authority.der()));
        self.replicas.trust(&trusted.collect::<Vec<_>>());
    }

    fn see_webhook(&mut self, webhook: Option<MutatingWebhookConfiguration>) -> Event {
        let registration = match &webhook {
            None => Registration::Absent,
            Some(webhook) => {
                let entries = webhook.webhooks.iter().flatten();
                let bundles = entries.map(|entry| match &entry.client_config.ca_bundle {
                    Some(bundle) => read_bundle(&bundle.0),
                    None => (Vec::new(), true),
                });
                Registration::Bundles(bundles.collect())
            }
        };
        let bundle = webhook.as_ref().and_then(|webhook| {
            let mut bundles = webhook.webhooks.iter().flatten();
            let bundle = bundles.next()?.client_config.ca_bundle.clone()?;
            let same = bundles.all(|entry| entry.client_config.ca_bundle.as_ref() == Some(&bundle));
            same.then_some(bundle)
        });
        self.published.send_if_modified(|published| {
            let news = bundle.is_some() && *published != bundle;
            if news {
                *published = bundle;
            }
            news
        });
        self.webhook = webhook;
        Event::Registered(registration)
    }

    /// Makes an authority and stores it.
    async fn renew(&mut self, keep: &[Der]) -> Result<Option<Event>, Duration> {
        let secret = match self.writable() {
            Ok(secret) => secret.clone(),
            Err(error) => return Err(self.store_trouble.failed(&error)),
        };
        let now = clock::now();
        let made = Authority::make(now, self.settings.policy.authority);
        let authority = made.map_err(|error| self.store_trouble.failed(&error))?;
        let kept = self
            .seen
            .iter()
            .filter(|authority| keep.contains(authority.der()));
        let kept: Vec<_> = kept.cloned().collect();
        let keyring = Keyring::new(authority, &kept, now);
        let written = timeout(WRITE_TIMEOUT, self.write_secret(secret, &keyring)).await;
        match written {
            Ok(Ok(secret)) => {
                self.store_trouble.worked();
                self.metrics.made(Certificate::Ca);
                tracing::info!(
                    secret = self.settings.secret,
                    previous = kept.len(),
                    "made a new CA"
                );
                Ok(Some(self.see_secret(Some(secret))))
            }
            // Somebody else has written it; the watch will tell what.
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
                Err(Duration::from_secs(1))
            }
            Ok(Err(error)) => Err(self.store_trouble.failed(&error)),
            Err(elapsed) => Err(self.store_trouble.failed(&elapsed)),
        }
    }

    /// Puts the authorities into the Secret, with everything else that is in it left as it is.
    async fn write_secret(&self, mut secret: Secret, keyring: &Keyring) -> kube::Result<Secret> {
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let data = secret.data.get_or_insert_default();
        for key in Keyring::KEYS {
            data.remove(*key);
        }
        let ours = keyring.data().into_iter();
        data.extend(ours.map(|(key, value)| (key, ByteString(value))));
        // It carries its version, so this fails if another replica has written meanwhile: there is
        // never more than one first CA.
        let name = &self.settings.secret;
        self.secrets.replace(name, &params, &secret).await
    }

    /// Registers the bundle, and nothing else.
    async fn register(&mut self, bundle: &[Der]) -> Result<Option<Event>, Duration> {
        let Some(webhook) = &self.webhook else {
            return Ok(None);
        };
        // The first time at once. If somebody else insists on another bundle, not as fast as the
        // two of us can write.
        let waited = self.registered.map(|registered| registered.elapsed());
        if let Some(waited) = waited.filter(|waited| *waited < REGISTER_INTERVAL) {
            return Err(REGISTER_INTERVAL - waited);
        }
        let pem: String = bundle.iter().map(|der| to_pem(der)).collect();
        let pem = ByteString(pem.into_bytes());
        let entries = webhook.webhooks.iter().flatten();
        let entries: Vec<_> = entries
            .map(|entry| json!({"name": entry.name, "clientConfig": {"caBundle": pem}}))
            .collect();
        let patch = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            // With the version, an object that was deleted meanwhile is not made anew.
            "metadata": {
                "name": self.settings.webhook,
                "resourceVersion": webhook.metadata.resource_version,
            },
            "webhooks": entries,
        });
        let params = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&patch);
        let patched = self.webhooks.patch(&self.settings.webhook, &params, &patch);
        match timeout(WRITE_TIMEOUT, patched).await {
            Ok(Ok(webhook)) => {
                self.register_trouble.worked();
                self.registered = Some(Instant::now());
                tracing::info!(
                    webhook_configuration = self.settings.webhook,
                    certificates = bundle.len(),
                    "registered the caBundle"
                );
                Ok(Some(self.see_webhook(Some(webhook))))
            }
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
                Err(Duration::from_secs(1))
            }
            Ok(Err(error)) => Err(self.register_trouble.failed(&error)),
            Err(elapsed) => Err(self.register_trouble.failed(&elapsed)),
        }
    }

    /// Makes this replica's certificate and presents it.
    fn issue(&mut self, authority: &Der) -> Result<Option<Event>, Duration> {
        let Some(authority) = self.keyring.as_ref().and_then(|ring| ring.find(authority)) else {
            return Ok(None);
        };
        let settings = &self.settings;
        let issued = authority.issue(&settings.names, clock::now(), settings.policy.leaf);
        match issued {
            Ok(leaf) => {
                self.identity.replace(leaf.key);
                self.metrics.made(Certificate::Leaf);
                self.metrics.expires(Certificate::Leaf, leaf.validity.until);
                self.metrics
                    .expires(Certificate::Ca, authority.validity().until);
                tracing::info!(
                    expires = %humantime::format_rfc3339_seconds(leaf.validity.until),
                    "presenting a new certificate"
                );
                Ok(Some(Event::Presented {
                    issuer: leaf.issuer,
                    validity: leaf.validity,
                }))
            }
            Err(error) => Err(self.store_trouble.failed(&error)),
        }
    }
}

fn known(authority: &Arc<Authority>) -> Known {
    Known {
        id: Arc::clone(authority.der()),
        validity: authority.validity(),
        can_sign: authority.can_sign(),
    }
}

fn data(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    let data = secret.data.iter().flatten();
    data.map(|(key, value)| (key.clone(), value.0.clone()))
        .collect()
}
