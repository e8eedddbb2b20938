//! Before the operator is installed.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, PostParams};

use super::report::{Found, Report};
use super::{Subject, registration, unread};
use crate::cli::remote::{Unanswered, ask};

/// What whoever installs creates, and whether it is in the operator's namespace.
const CREATED: [(&str, &str, bool); 11] = [
    ("", "configmaps", true),
    ("", "secrets", true),
    ("", "serviceaccounts", true),
    ("", "services", true),
    ("apps", "deployments", true),
    ("rbac.authorization.k8s.io", "roles", true),
    ("rbac.authorization.k8s.io", "rolebindings", true),
    ("rbac.authorization.k8s.io", "clusterroles", false),
    ("rbac.authorization.k8s.io", "clusterrolebindings", false),
    (
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
        false,
    ),
    (
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
        false,
    ),
];

pub(super) async fn check(subject: &Subject<'_>, report: &mut Report) {
    report.add("namespace", namespace(subject).await);
    report.add("rights-to-install", rights(subject).await);
    report.add("names", names(subject).await);
}

async fn namespace(subject: &Subject<'_>) -> Found {
    let name = subject.namespace;
    let api: Api<Namespace> = Api::all(subject.client.clone());
    match ask(api.get(name)).await {
        Ok(_) => Found::Ok(format!("`{name}` exists")),
        Err(error) if error.is_missing() => Found::warning(
            format!("`{name}` does not exist"),
            format!("run `kubectl create namespace {name}`, or `helm install --create-namespace`"),
        ),
        Err(error) => unread(&error, "the namespace"),
    }
}

async fn rights(subject: &Subject<'_>) -> Found {
    let mut missing = Vec::new();
    for (group, resource, namespaced) in CREATED {
        match may_create(subject, group, resource, namespaced).await {
            Ok(true) => {}
            Ok(false) => missing.push(resource),
            Err(error) => return unread(&error, "what you may do"),
        }
    }
    if missing.is_empty() {
        return Found::Ok("you may create what is installed".to_owned());
    }
    Found::failed(
        format!("you may not create {}", missing.join(", ")),
        "install as an administrator of the cluster",
    )
}

async fn may_create(
    subject: &Subject<'_>,
    group: &str,
    resource: &str,
    namespaced: bool,
) -> Result<bool, Unanswered> {
    let api: Api<SelfSubjectAccessReview> = Api::all(subject.client.clone());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                namespace: namespaced.then(|| subject.namespace.to_owned()),
                verb: Some("create".to_owned()),
                ..ResourceAttributes::default()
            }),
            non_resource_attributes: None,
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = ask(api.create(&PostParams::default(), &review)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// What belongs to the whole cluster is called after the installation.
async fn names(subject: &Subject<'_>) -> Found {
    let registered = match registration::mutating(subject).await {
        Ok(registered) => registered,
        Err(error) if error.is_missing() => {
            return Found::Ok(format!("no other `{}` is registered", subject.name));
        }
        Err(error) => return unread(&error, "the webhook configuration"),
    };
    match registered.elsewhere(subject, registration::INJECT) {
        None => Found::warning(
            format!("`{}` is installed in this namespace already", subject.name),
            "upgrade it instead of installing it",
        ),
        Some(elsewhere) => Found::failed(
            format!(
                "another installation is called `{}`: its webhook is at {elsewhere}",
                subject.name
            ),
            "give this one another name (fullnameOverride, --service-name)",
        ),
    }
}
