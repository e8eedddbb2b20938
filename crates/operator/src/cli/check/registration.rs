//! The registrations of the webhooks, the authorities in them, and what API servers do with them.

use std::time::{Duration, SystemTime};

use datakit_operator_core::config::Config;
use datakit_operator_core::inject::Engine;
use http::{Request, header::WARNING};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use kube::client::Body;
use serde_json::json;

use super::report::{Found, Report};
use super::{Subject, unread};
use crate::cli::remote::{Unanswered, ask};
use crate::clock;
use crate::cluster::conditions;
use crate::http::webhook::{INJECT_PATH, VALIDATE_PATH};
use crate::tls::authority::{Authority, read_bundle, to_pem};

/// Where pods are reviewed.
pub(super) const INJECT: &str = INJECT_PATH;
/// An annotation that no version knows, so that every version remarks on it.
const PROBE: &str = "admission.datakit/check";
/// Authorities that expire sooner than this should have been renewed.
const SOON: Duration = Duration::from_secs(7 * 86_400);
const APPLY_AGAIN: &str = "apply what was installed again, with `kubectl apply` or `helm upgrade`";

/// The webhooks of a registration.
pub(super) struct Registered {
    clients: Vec<WebhookClientConfig>,
    /// The operator's match condition of each.
    conditions: Vec<Option<String>>,
}

pub(super) async fn mutating(subject: &Subject<'_>) -> Result<Registered, Unanswered> {
    let api: Api<MutatingWebhookConfiguration> = Api::all(subject.client.clone());
    let found = ask(api.get(&format!("{}-mutation", subject.name))).await?;
    let webhooks = found.webhooks.into_iter().flatten();
    let (clients, conditions) = webhooks
        .map(|webhook| {
            let ours = conditions::of_webhook(webhook.match_conditions.as_ref());
            (webhook.client_config, ours.map(str::to_owned))
        })
        .unzip();
    Ok(Registered {
        clients,
        conditions,
    })
}

async fn validating(subject: &Subject<'_>) -> Result<Registered, Unanswered> {
    let api: Api<ValidatingWebhookConfiguration> = Api::all(subject.client.clone());
    let found = ask(api.get(&format!("{}-validation", subject.name))).await?;
    let webhooks = found.webhooks.into_iter().flatten();
    Ok(Registered {
        clients: webhooks.map(|webhook| webhook.client_config).collect(),
        conditions: Vec::new(),
    })
}

impl Registered {
    /// The first webhook that isn't at this path of the installation's Service.
    pub(super) fn elsewhere(&self, subject: &Subject<'_>, path: &str) -> Option<String> {
        let mut places = self
            .clients
            .iter()
            .filter_map(|config| match &config.service {
                Some(service) => {
                    let there = service.path.as_deref().unwrap_or("/");
                    let is_here = service.namespace == subject.namespace
                        && service.name == subject.name
                        && there == path;
                    (!is_here).then(|| format!("{}/{}{there}", service.namespace, service.name))
                }
                None => Some(config.url.clone().unwrap_or_default()),
            });
        places.next()
    }

    /// The authorities of each webhook.
    fn bundles(&self) -> impl Iterator<Item = &[u8]> {
        let bundles = self.clients.iter().map(|config| config.ca_bundle.as_ref());
        bundles.map(|bundle| bundle.map_or(&[][..], |bundle| &bundle.0))
    }
}

/// `config` is the configuration, if it can be read.
pub(super) async fn check(subject: &Subject<'_>, config: Option<&Config>, report: &mut Report) {
    let injection = mutating(subject).await;
    report.add("webhook", webhook(subject, &injection));
    let validation = validating(subject).await;
    report.add(
        "validation",
        validating_webhook(subject, validation, &injection),
    );
    if let Ok(injection) = injection {
        let secret: Api<Secret> = Api::namespaced(subject.client.clone(), subject.namespace);
        let secret = ask(secret.get(&format!("{}-ca", subject.name))).await;
        report.add("ca-bundle", ca_bundle(subject, &injection, secret));
        report.add("certificates", certificates(&injection, clock::now()));
        report.add("match-conditions", match_conditions(&injection, config));
        report.add("dry-run", dry_run(subject).await);
    }
}

fn webhook(subject: &Subject<'_>, registered: &Result<Registered, Unanswered>) -> Found {
    let name = format!("MutatingWebhookConfiguration `{}-mutation`", subject.name);
    let registered = match registered {
        Ok(registered) => registered,
        Err(error) if error.is_missing() => {
            return Found::failed(format!("{name} does not exist"), APPLY_AGAIN);
        }
        Err(error) => {
            return Found::failed(
                format!("{name} can't be read: {error}"),
                "run the check with the rights of an administrator",
            );
        }
    };
    if registered.clients.is_empty() {
        return Found::failed(format!("{name} has no webhook"), APPLY_AGAIN);
    }
    match registered.elsewhere(subject, INJECT_PATH) {
        None => Found::Ok(format!("{name} points to this installation")),
        Some(place) => Found::failed(
            format!(
                "{name} points to {place}, expected {}/{}{INJECT_PATH}",
                subject.namespace, subject.name
            ),
            APPLY_AGAIN,
        ),
    }
}

fn validating_webhook(
    subject: &Subject<'_>,
    registered: Result<Registered, Unanswered>,
    injection: &Result<Registered, Unanswered>,
) -> Found {
    let name = format!(
        "ValidatingWebhookConfiguration `{}-validation`",
        subject.name
    );
    let registered = match registered {
        Ok(registered) => registered,
        Err(error) if error.is_missing() => {
            return Found::Skipped(format!(
                "{name} does not exist: workloads are applied without warnings"
            ));
        }
        Err(error) => return unread(&error, &name),
    };
    if let Some(place) = registered.elsewhere(subject, VALIDATE_PATH) {
        return Found::failed(
            format!(
                "{name} points to {place}, expected {}/{}{VALIDATE_PATH}",
                subject.namespace, subject.name
            ),
            APPLY_AGAIN,
        );
    }
    let expected = injection
        .as_ref()
        .ok()
        .and_then(|injection| injection.bundles().next());
    let differs = expected.is_some_and(|expected| registered.bundles().any(|own| own != expected));
    match differs {
        false => Found::Ok(format!("{name} points to this installation")),
        true => Found::warning(
            format!("{name} has another caBundle than the webhook that injects"),
            "start the operator with --validation-configuration and the right to patch it, which the chart does",
        ),
    }
}

fn ca_bundle(
    subject: &Subject<'_>,
    registered: &Registered,
    secret: Result<Secret, Unanswered>,
) -> Found {
    let wait = "wait for the replica that holds the Lease to register it, and look at its log for register_ca_bundle";
    for bundle in registered.bundles() {
        let (found, whole) = read_bundle(bundle);
        if found.is_empty() || !whole {
            return Found::failed("a webhook's caBundle is empty or damaged", wait);
        }
    }
    let name = format!("{}-ca", subject.name);
    let secret = match secret {
        Ok(secret) => secret,
        Err(error) if error.is_missing() => {
            return Found::Ok(format!(
                "there is one; without Secret `{name}` it isn't the operator's to keep"
            ));
        }
        Err(error) => {
            return Found::Skipped(format!(
                "there is one; whether it matches Secret `{name}` can't be read: {error}"
            ));
        }
    };
    let stored = secret.data.unwrap_or_default().remove("ca.crt");
    let (stored, _) = read_bundle(&stored.map(|data| data.0).unwrap_or_default());
    let Some(authority) = stored.first() else {
        return Found::failed(format!("Secret `{name}` holds no authority"), wait);
    };
    let mut bundles = registered.bundles().map(|bundle| read_bundle(bundle).0);
    match bundles.all(|bundle| bundle.contains(authority)) {
        true => Found::Ok(format!("it has the authority of Secret `{name}`")),
        false => Found::failed(format!("it lacks the authority of Secret `{name}`"), wait),
    }
}

fn certificates(registered: &Registered, now: SystemTime) -> Found {
    let mut last = None;
    for der in registered
        .bundles()
        .flat_map(|bundle| read_bundle(bundle).0)
    {
        if let Ok(authority) = Authority::read(to_pem(&der).as_bytes(), None)
            && authority.validity().contains(now)
        {
            last = last.max(Some(authority.validity().until));
        }
    }
    let Some(last) = last else {
        return Found::failed(
            "no registered authority is valid at this time",
            "check the clocks, and the log of the replica that holds the Lease",
        );
    };
    let until = humantime::format_rfc3339_seconds(last);
    if last.duration_since(now).unwrap_or_default() < SOON {
        return Found::warning(
            format!("the registered authority expires at {until}"),
            "look at the log of the replica that holds the Lease, which should have renewed it",
        );
    }
    Found::Ok(format!("the registered authority is valid until {until}"))
}

/// Whether API servers call for the pods that the configuration is about.
fn match_conditions(registered: &Registered, config: Option<&Config>) -> Found {
    let there = || registered.conditions.iter().flatten();
    if there().next().is_none() {
        return Found::Ok("there is none: the operator is asked about all pods".to_owned());
    }
    let Some(config) = config else {
        return Found::Skipped(
            "there is one; whether it is that of the configuration can't be told".to_owned(),
        );
    };
    let expected = Engine::new(config).calls().expression();
    match there().all(|one| Some(one) == expected.as_ref()) {
        true => Found::Ok("pods that nobody asks about are left out".to_owned()),
        false => Found::warning(
            "it isn't that of the configuration: pods may be created without asking the operator",
            "wait for the replica that holds the Lease to register it, and look at its log for register_match_conditions; \
             docs/operations.md says how to remove it, under \"Pods that nobody asks about\"",
        ),
    }
}

/// Whether API servers ask the operator, and whether it answers.
async fn dry_run(subject: &Subject<'_>) -> Found {
    let namespace = subject.dry_run_namespace;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"generateName": "datakit-operator-check-", "annotations": {PROBE: ""}},
        "spec": {
            // It is never stored; this suits any Pod Security level.
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "check", "image": "check",
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                "resources": {
                    "requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "1m", "memory": "1Mi"},
                },
            }],
        },
    });
    let request = Request::post(format!("/api/v1/namespaces/{namespace}/pods?dryRun=All"))
        .header("content-type", "application/json")
        .body(Body::from(pod.to_string().into_bytes()));
    let request = match request {
        Ok(request) => request,
        Err(error) => return Found::failed(error.to_string(), "name another --dry-run-namespace"),
    };
    let response = match ask(subject.client.send(request)).await {
        Ok(response) => response,
        Err(error) => return unread(&error, "a pod's dry run"),
    };
    let warnings = response.headers().get_all(WARNING).iter();
    let mut warnings = warnings.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    if warnings.any(|warning| warning.contains(PROBE)) {
        return Found::Ok(format!(
            "the API server asked about a pod in namespace `{namespace}` and got an answer"
        ));
    }
    let status = response.status();
    if !status.is_success() {
        return Found::Skipped(format!(
            "a pod can't be created in namespace `{namespace}` ({status}); name another with --dry-run-namespace"
        ));
    }
    Found::failed(
        format!("a pod in namespace `{namespace}` is created without an answer of the operator"),
        "look whether the webhook's selectors leave the namespace out, and whether the control plane reaches the pods' port",
    )
}
