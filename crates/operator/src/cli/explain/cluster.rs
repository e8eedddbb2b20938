//! Workloads explained where they are: with the configuration of the operator there, the version of
//! the API server, and the rules of the namespace.

use std::sync::Arc;

use anyhow::anyhow;
use datakit_operator_core::inject::{Engine, ReviewContext};
use datakit_operator_core::namespace::{LimitRange, Namespace, Namespaces, PodSecurity, Quota};
use datakit_operator_core::version::KubernetesVersion;
use datakit_operator_manifest::{ReadError, Source};
use serde_json::Value;

use crate::cli::Streams;
use crate::cli::manifests::{ManifestArgs, Prepared};
use crate::cli::remote::{self, Operator, ask, get};

/// Which cluster, and which operator there.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// Workloads in the cluster, such as deployment/shop. Its configuration of the operator, its
    /// version and the namespace's rules are read there
    #[arg(value_name = "KIND/NAME", conflicts_with_all = ["inputs", "pod_security"])]
    pub(super) objects: Vec<Object>,

    #[command(flatten)]
    operator: Operator,
}

/// A workload as kubectl names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    /// `apis/apps/v1`
    api: &'static str,
    /// `deployments`
    resource: &'static str,
    name: String,
}

/// Kinds with their short names, as kubectl takes them.
const KINDS: [(&[&str], &str, &str); 7] = [
    (
        &["deployment", "deployments", "deploy"],
        "apis/apps/v1",
        "deployments",
    ),
    (
        &["statefulset", "statefulsets", "sts"],
        "apis/apps/v1",
        "statefulsets",
    ),
    (
        &["daemonset", "daemonsets", "ds"],
        "apis/apps/v1",
        "daemonsets",
    ),
    (
        &["replicaset", "replicasets", "rs"],
        "apis/apps/v1",
        "replicasets",
    ),
    (&["job", "jobs"], "apis/batch/v1", "jobs"),
    (&["cronjob", "cronjobs", "cj"], "apis/batch/v1", "cronjobs"),
    (&["pod", "pods", "po"], "api/v1", "pods"),
];

impl std::str::FromStr for Object {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, name) = text.split_once('/').ok_or_else(|| {
            "expected KIND/NAME, such as deployment/shop; files are named with -f".to_owned()
        })?;
        let kind = kind.to_ascii_lowercase();
        let kind = kind.split('.').next().unwrap_or_default();
        let known = KINDS.iter().find(|(names, ..)| names.contains(&kind));
        let Some((_, api, resource)) = known else {
            let names = KINDS
                .iter()
                .filter_map(|(names, ..)| names.first().copied());
            return Err(format!(
                "expected one of the kinds {}",
                names.collect::<Vec<_>>().join(", ")
            ));
        };
        let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if name.is_empty() || !name.chars().all(part) {
            return Err("expected a name behind the `/`".to_owned());
        }
        Ok(Self {
            api,
            resource,
            name: name.to_owned(),
        })
    }
}

/// Reads the workloads and all that decides about their pods.
pub(super) fn prepare(
    args: &Args,
    manifests: &ManifestArgs,
    streams: &mut Streams<'_>,
) -> anyhow::Result<Prepared> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(read(args, manifests, streams))
}

async fn read(
    args: &Args,
    manifests: &ManifestArgs,
    streams: &mut Streams<'_>,
) -> anyhow::Result<Prepared> {
    let client = args.operator.connect().await?;
    let (origin, loaded) =
        remote::configuration(&client, &args.operator, manifests.config.as_deref()).await?;
    for diagnostic in &loaded.diagnostics {
        writeln!(streams.stderr, "configuration from {origin}: {diagnostic}")?;
    }
    let version = match manifests.kubernetes_version {
        Some(version) => Some(version),
        None => {
            let info = ask(client.apiserver_version()).await;
            let info = info.map_err(|error| anyhow!("the API server can't be asked: {error}"))?;
            KubernetesVersion::from_fields(&info.major, &info.minor).ok()
        }
    };
    let name = &manifests.namespace;
    let namespace = get(&client, &format!("/api/v1/namespaces/{name}")).await;
    let namespace = match namespace {
        Ok(namespace) => namespace,
        Err(error) => {
            let what = "no Pod Security level is taken into account";
            writeln!(
                streams.stderr,
                "namespace `{name}` can't be read ({error}): {what}"
            )?;
            Value::Null
        }
    };
    let labels = &namespace["metadata"]["labels"];
    let engine = Engine::new(&loaded.config);
    let expression = engine.calls().expression();
    let place = (name.as_str(), labels);
    let asked = remote::asked(&client, &args.operator, place, expression.as_deref()).await;
    if let Some(remark) = asked.remark {
        writeln!(streams.stderr, "{remark}")?;
    }
    let labels = labels.as_object().into_iter().flatten();
    let labels = labels.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
    let mut lists = Vec::new();
    for (resource, shown) in [
        ("limitranges", "LimitRanges"),
        ("resourcequotas", "ResourceQuotas"),
    ] {
        let list = get(&client, &format!("/api/v1/namespaces/{name}/{resource}")).await;
        lists.push(match list {
            Ok(list) => list["items"].as_array().cloned().unwrap_or_default(),
            Err(error) => {
                let what = "they are not taken into account";
                writeln!(
                    streams.stderr,
                    "the {shown} can't be read ({error}): {what}"
                )?;
                Vec::new()
            }
        });
    }
    let name_of = |object: &Value| {
        let name = object["metadata"]["name"].as_str();
        name.unwrap_or_default().to_owned()
    };
    let known = Namespace {
        pod_security: PodSecurity::from_labels(labels),
        limit_ranges: lists[0]
            .iter()
            .map(|range| LimitRange::from_spec(name_of(range), &range["spec"]))
            .collect(),
        quotas: lists[1]
            .iter()
            .map(|quota| Quota::from_object(name_of(quota), &quota["spec"], &quota["status"]))
            .collect(),
    };
    let mut sources = Vec::new();
    for object in &args.objects {
        let Object {
            api,
            resource,
            name: object,
        } = object;
        let path = format!("/{api}/namespaces/{name}/{resource}/{object}");
        let shown = format!("{resource}/{object}");
        sources.push(match get(&client, &path).await {
            Ok(found) => Ok(Source::parse(shown, &found.to_string())),
            Err(error) => Err(ReadError::Io {
                name: shown,
                source: std::io::Error::other(error.to_string()),
            }),
        });
    }
    Ok(Prepared {
        engine,
        config: loaded.config,
        origin,
        fingerprint: loaded.fingerprint,
        context: ReviewContext {
            kubernetes_version: version,
            namespaces: Arc::new(Namespaces::all_alike(known)),
        },
        narrows: asked.narrows,
        sources,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_as_kubectl_names_them() {
        let check = |text: &str, want: Option<(&str, &str)>| {
            let found = text.parse::<Object>().ok();
            let found = found.map(|object| (object.resource, object.name));
            assert_eq!(
                found,
                want.map(|(kind, name)| (kind, name.to_owned())),
                "{text}"
            );
        };
        check("deployment/shop", Some(("deployments", "shop")));
        check("deploy/shop", Some(("deployments", "shop")));
        check("Deployments.apps/shop", Some(("deployments", "shop")));
        check("cj/a.b-c", Some(("cronjobs", "a.b-c")));
        for wrong in [
            "shop",
            "deployment/",
            "service/shop",
            "pod/../../secrets",
            "po/a?b",
            "/a",
        ] {
            check(wrong, None);
        }
    }
}
