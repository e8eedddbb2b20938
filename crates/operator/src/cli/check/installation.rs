//! An installation as it is.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use datakit_operator_core::config::{Config, EnvOverrides};
use datakit_operator_core::diagnostic::Severity;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ListParams, PostParams};

use super::report::{Found, Report};
use super::{LOG, Subject, election, kinds, registration, unread};
use crate::cli::remote::ask;
use crate::clock;

/// A right of the operator, and whether all can do without it.
struct Right {
    group: &'static str,
    resource: &'static str,
    verb: &'static str,
    /// What is added to the installation's name; without it any object is meant.
    suffix: Option<&'static str>,
    namespaced: bool,
}

const fn right(
    group: &'static str,
    resource: &'static str,
    verb: &'static str,
    suffix: Option<&'static str>,
    namespaced: bool,
) -> Right {
    Right {
        group,
        resource,
        verb,
        suffix,
        namespaced,
    }
}

/// Without these it doesn't work as it should, whatever the options.
const RIGHTS: [Right; 6] = [
    right("", "namespaces", "list", None, false),
    right("", "namespaces", "watch", None, false),
    right("", "limitranges", "list", None, false),
    right("", "limitranges", "watch", None, false),
    right("coordination.k8s.io", "leases", "get", Some(""), true),
    right("coordination.k8s.io", "leases", "update", Some(""), true),
];

pub(super) async fn check(subject: &Subject<'_>, report: &mut Report) {
    let deployment: Api<Deployment> = Api::namespaced(subject.client.clone(), subject.namespace);
    let deployment = ask(deployment.get(subject.name)).await;
    let pods = match &deployment {
        Ok(deployment) => pods_of(subject, deployment).await,
        Err(_) => Vec::new(),
    };
    report.add(
        "replicas",
        match &deployment {
            Ok(deployment) => replicas(deployment),
            Err(error) if error.is_missing() => Found::failed(
                format!(
                    "Deployment `{}/{}` does not exist",
                    subject.namespace, subject.name
                ),
                "name the installation with --namespace and --service-name, or install it",
            ),
            Err(error) => Found::Skipped(format!("the Deployment can't be read: {error}")),
        },
    );
    report.add("versions", versions(&pods));
    let template = deployment.ok().and_then(|found| found.spec.template.spec);
    let account = template
        .as_ref()
        .and_then(|spec| spec.service_account_name.clone());
    let account = account.unwrap_or_else(|| subject.name.to_owned());
    report.add("rights", rights(subject, &account).await);
    let (found, config) = configuration(subject).await;
    registration::check(subject, config.as_ref(), report).await;
    report.add("lease", lease(subject, &pods).await);
    report.add("endpoints", endpoints(subject).await);
    report.add("configuration", found);
    report.add("election", election::check(subject, &pods).await);
    report.add("logging-configs", kinds::check(subject, template).await);
}

async fn pods_of(subject: &Subject<'_>, deployment: &Deployment) -> Vec<Pod> {
    let labels = deployment.spec.selector.match_labels.iter().flatten();
    let labels: Vec<_> = labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let pods: Api<Pod> = Api::namespaced(subject.client.clone(), subject.namespace);
    let params = ListParams::default().labels(&labels.join(",")).limit(500);
    let listed = ask(pods.list(&params)).await;
    listed.map(|list| list.items).unwrap_or_default()
}

fn replicas(deployment: &Deployment) -> Found {
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let status = deployment.status.as_ref();
    let ready = status.and_then(|status| status.ready_replicas).unwrap_or(0);
    let state = format!("{ready} of {wanted} replicas are ready");
    match (ready, wanted) {
        (_, 0) => Found::failed("it is scaled to no replicas", "scale it to two"),
        (0, _) => Found::failed(state, LOG),
        _ if ready < wanted => Found::warning(state, LOG),
        (1, _) => Found::warning(
            state,
            "with one replica, pods are created uninjected while it restarts",
        ),
        _ => Found::Ok(state),
    }
}

fn versions(pods: &[Pod]) -> Found {
    let images = pods.iter().filter_map(|pod| {
        let container = pod.spec.as_ref()?.containers.first()?;
        container.image.as_deref()
    });
    let images: BTreeSet<&str> = images.collect();
    let mut all = images.iter();
    match (all.next(), all.next()) {
        (None, _) => Found::Skipped("there are no replicas to compare".to_owned()),
        (Some(only), None) => Found::Ok(format!("all replicas run {only}")),
        _ => Found::warning(
            format!(
                "replicas run different images: {}",
                images.iter().copied().collect::<Vec<_>>().join(", ")
            ),
            "wait for the rollout to end, or look at it with `kubectl rollout status`",
        ),
    }
}

async fn rights(subject: &Subject<'_>, account: &str) -> Found {
    let api: Api<SubjectAccessReview> = Api::all(subject.client.clone());
    let mut missing = Vec::new();
    for right in RIGHTS {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(format!(
                    "system:serviceaccount:{}:{account}",
                    subject.namespace
                )),
                resource_attributes: Some(ResourceAttributes {
                    group: Some(right.group.to_owned()),
                    resource: Some(right.resource.to_owned()),
                    verb: Some(right.verb.to_owned()),
                    name: right
                        .suffix
                        .map(|suffix| format!("{}{suffix}", subject.name)),
                    namespace: right.namespaced.then(|| subject.namespace.to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        match ask(api.create(&PostParams::default(), &review)).await {
            Ok(answer) if answer.status.as_ref().is_some_and(|status| status.allowed) => {}
            Ok(_) => missing.push(format!("{} {}", right.verb, right.resource)),
            Err(error) => return unread(&error, "what the operator may do"),
        }
    }
    if missing.is_empty() {
        return Found::Ok(format!(
            "service account `{account}` has what is always needed"
        ));
    }
    Found::failed(
        format!("service account `{account}` may not {}", missing.join(", ")),
        "apply the roles and bindings of the file or chart again",
    )
}

async fn lease(subject: &Subject<'_>, pods: &[Pod]) -> Found {
    let api: Api<Lease> = Api::namespaced(subject.client.clone(), subject.namespace);
    let lease = match ask(api.get(subject.name)).await {
        Ok(lease) => lease,
        Err(error) if error.is_missing() => {
            return Found::failed(format!("Lease `{}` does not exist", subject.name), LOG);
        }
        Err(error) => return unread(&error, "the Lease"),
    };
    let spec = lease.spec.unwrap_or_default();
    let holder = spec.holder_identity.unwrap_or_default();
    if holder.is_empty() {
        return Found::failed("nobody holds the Lease", LOG);
    }
    let lasts = u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
    // The clocks of this machine and of the replica may differ a little.
    let patience = Duration::from_secs(3 * lasts + 30);
    let renewed = spec.renew_time.map(|time| SystemTime::from(time.0));
    let age = renewed.map(|renewed| clock::now().duration_since(renewed).unwrap_or_default());
    if age.is_none_or(|age| age > patience) {
        return Found::failed(
            format!(
                "`{holder}` holds the Lease and renewed it {} ago",
                humantime::format_duration(Duration::from_secs(age.unwrap_or_default().as_secs()))
            ),
            LOG,
        );
    }
    let mut names = pods.iter().filter_map(|pod| pod.metadata.name.as_deref());
    if !pods.is_empty() && !names.any(|name| holder.starts_with(name)) {
        return Found::warning(
            format!("`{holder}` holds the Lease and is none of the Deployment's pods"),
            "look who else uses the Lease: a second installation needs another name",
        );
    }
    Found::Ok(format!("`{holder}` holds the Lease"))
}

async fn endpoints(subject: &Subject<'_>) -> Found {
    let api: Api<EndpointSlice> = Api::namespaced(subject.client.clone(), subject.namespace);
    let selector = format!("kubernetes.io/service-name={}", subject.name);
    let params = ListParams::default().labels(&selector).limit(500);
    let slices = match ask(api.list(&params)).await {
        Ok(slices) => slices.items,
        Err(error) => return unread(&error, "the endpoints of the Service"),
    };
    let endpoints = slices
        .iter()
        .flat_map(|slice| slice.endpoints.iter().flatten());
    let ready = endpoints.filter(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        conditions.and_then(|conditions| conditions.ready) != Some(false)
    });
    match ready.count() {
        0 => Found::failed(
            format!("no endpoint of Service `{}` is ready", subject.name),
            "compare the Service's selector with the labels of the pods, and look at their readiness",
        ),
        count => Found::Ok(format!("{count} endpoints of the Service are ready")),
    }
}

/// What is doubtful about the configuration, and what it comes to if it can be read.
async fn configuration(subject: &Subject<'_>) -> (Found, Option<Config>) {
    let name = format!("{}-config", subject.name);
    let api: Api<ConfigMap> = Api::namespaced(subject.client.clone(), subject.namespace);
    let config = match ask(api.get(&name)).await {
        Ok(config) => config,
        Err(error) if error.is_missing() => {
            let found = Found::Skipped(format!("ConfigMap `{name}` does not exist"));
            return (found, None);
        }
        Err(error) => return (unread(&error, "the ConfigMap"), None),
    };
    let text = config.data.unwrap_or_default().remove("jsonconfig");
    let Some(text) = text else {
        let found = Found::failed(
            format!("ConfigMap `{name}` has no key `jsonconfig`"),
            "apply what was installed again",
        );
        return (found, None);
    };
    let command = format!(
        "kubectl -n {} get configmap {name} -o jsonpath='{{.data.jsonconfig}}' | datakit-operator check-config -",
        subject.namespace
    );
    let (config, diagnostics) = match Config::load(&text, &EnvOverrides::default()) {
        Ok(loaded) => loaded,
        Err(error) => return (Found::failed(error.to_string(), command), None),
    };
    let worst = diagnostics
        .iter()
        .max_by_key(|found| found.severity == Severity::Error);
    let found = match worst {
        None => Found::Ok("nothing is doubtful".to_owned()),
        Some(found) if found.severity == Severity::Error => {
            Found::failed(found.to_string(), command)
        }
        Some(found) => Found::warning(found.to_string(), command),
    };
    (found, Some(config))
}
