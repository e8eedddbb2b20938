//! `datakit-operator status`: how the replicas are doing and what they decided last, as one.

mod printed;

use std::time::Duration;

use anyhow::anyhow;
use futures_util::future::join_all;
use http::{HeaderValue, StatusCode, Uri};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

use self::printed::{printed, text};
use super::remote::{Installation, ask, forward};
use super::{EXIT_FAILURE, EXIT_OK, Streams, Usage};
use crate::http::status::STATUS_PATH;

/// How long a replica may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The port of the probes where a pod doesn't say.
const PROBE_PORT: u16 = 9544;
/// How the chart calls that port.
const PROBES: &str = "probes";

/// Options of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    installation: Installation,

    /// Ask this one replica instead, at the address of its probes
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// How many decisions to print in the table
    #[arg(long, value_name = "N", default_value_t = 20)]
    decisions: usize,

    /// What to print
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    output: Output,
}

/// What to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// Tables
    #[default]
    Text,
    /// One JSON object, see below
    Json,
}

const AFTER_HELP: &str = "\
Asks every replica of the Deployment for what its status page shows, by way of the API server as `kubectl port-forward` \
does, which takes the rights to get the Deployment, to list pods, and to get and create pods/portforward in the \
operator's namespace.

With `-o json`, the object has these keys:
  replicas[]   name; status: what the replica says at /status, but for its decisions, or null; error: why it says nothing
  decisions[]  those of all replicas, the latest first: as at /status, and the replica
docs/operations.md describes what is at /status.

Examples:
  datakit-operator status
  datakit-operator status -n observability --service-name my-operator -o json
  kubectl -n datakit port-forward deploy/datakit-operator 9544
  datakit-operator status --url http://localhost:9544

Exit codes:
  0  printed
  1  the cluster can't be asked, or a replica doesn't answer; the others are printed
  2  wrong command line or kubeconfig";

/// What a replica said.
struct Replica {
    name: String,
    said: Result<Value, String>,
}

/// Asks the replicas, and prints what they say.
///
/// # Errors
///
/// If the cluster can't be asked, and for output that can't be written.
pub fn run(args: &Args, streams: &mut Streams<'_>) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut replicas = match &args.url {
        Some(url) => {
            let said = runtime.block_on(ask_one(url))?;
            let name = said
                .as_ref()
                .ok()
                .and_then(|said| text(said, &["replica", "name"]));
            vec![Replica {
                name: name.unwrap_or_else(|| url.clone()),
                said,
            }]
        }
        None => runtime.block_on(ask_all(args))?,
    };
    let decisions = merged(&mut replicas);
    match args.output {
        Output::Json => {
            let replicas = replicas.iter().map(|replica| {
                json!({
                    "name": replica.name,
                    "status": replica.said.as_ref().ok(),
                    "error": replica.said.as_ref().err(),
                })
            });
            let all = json!({"replicas": replicas.collect::<Vec<_>>(), "decisions": decisions});
            writeln!(streams.stdout, "{all:#}")?;
        }
        Output::Text => {
            let shown = &decisions[..decisions.len().min(args.decisions)];
            write!(streams.stdout, "{}", printed(&replicas, shown))?;
            if shown.len() < decisions.len() && args.decisions > 0 {
                let more = decisions.len() - shown.len();
                writeln!(streams.stdout, "and {more} before; see --decisions")?;
            }
        }
    }
    Ok(match replicas.iter().all(|replica| replica.said.is_ok()) {
        true => EXIT_OK,
        false => EXIT_FAILURE,
    })
}

async fn ask_all(args: &Args) -> anyhow::Result<Vec<Replica>> {
    let installation = &args.installation;
    let client = installation.connect().await?;
    let namespace = installation.namespace.as_str();
    let name = installation.service_name.as_str();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let deployment = ask(deployments.get(name)).await.map_err(|error| {
        anyhow!(
            "Deployment `{namespace}/{name}` can't be read: {error}; name the installation with --namespace and \
             --service-name"
        )
    })?;
    let labels = deployment.spec.selector.match_labels.iter().flatten();
    let labels: Vec<_> = labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let params = ListParams::default().labels(&labels.join(",")).limit(500);
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pods = ask(pods.list(&params)).await;
    let pods =
        pods.map_err(|error| anyhow!("the pods of the operator can't be listed: {error}"))?;
    let mut pods: Vec<Pod> = pods.items.into_iter().filter(is_there).collect();
    if pods.is_empty() {
        return Err(anyhow!(
            "no replica of Deployment `{namespace}/{name}` runs"
        ));
    }
    pods.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    let asked = pods.iter().map(|pod| async {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let said = ask_pod(&client, namespace, pod).await;
        Replica { name, said }
    });
    Ok(join_all(asked).await)
}

/// Whether a replica runs in the pod and is to stay.
pub(super) fn is_there(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}

fn port(pod: &Pod) -> u16 {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
    let named = ports.find(|port| port.name.as_deref() == Some(PROBES));
    let port = named.and_then(|port| u16::try_from(port.container_port).ok());
    port.unwrap_or(PROBE_PORT)
}

/// What a replica says at /status. The error says everything.
pub(super) async fn ask_pod(client: &Client, namespace: &str, pod: &Pod) -> Result<Value, String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let asked = forward::get(client, namespace, name, port(pod), STATUS_PATH).await;
    let (status, body) = asked?;
    read(status, &body)
}

/// Asks one replica directly. The outer error is about the command line.
async fn ask_one(url: &str) -> Result<Result<Value, String>, Usage> {
    let wrong = || {
        anyhow!(
            "`{url}` is not the URL of a replica's probes; expected one such as http://localhost:9544"
        )
    };
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(wrong().into());
    };
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let port = authority.port_u16().unwrap_or(80);
    let header = HeaderValue::from_str(authority.as_str()).map_err(|_| wrong())?;
    let asked = async {
        let stream = TcpStream::connect((host.as_str(), port)).await;
        let stream = stream.map_err(|error| error.to_string())?;
        forward::exchange(stream, header, STATUS_PATH).await
    };
    let late = |_| format!("no answer within {} seconds", TIMEOUT.as_secs());
    let asked = timeout(TIMEOUT, asked).await.map_err(late);
    Ok(match asked {
        Ok(Ok((status, body))) => read(status, &body),
        Ok(Err(error)) | Err(error) => Err(error),
    })
}

fn read(status: StatusCode, body: &[u8]) -> Result<Value, String> {
    if status != StatusCode::OK {
        let said = String::from_utf8_lossy(body);
        let said = match status {
            StatusCode::NOT_FOUND => "it shows no status: an older version, or --status-page off",
            _ => said.trim(),
        };
        return Err(format!("it answered {status}: {said}"));
    }
    serde_json::from_slice(body).map_err(|error| format!("its answer can't be read: {error}"))
}

/// Takes the decisions out of what the replicas said: the latest first, with the replica.
fn merged(replicas: &mut [Replica]) -> Vec<Value> {
    let mut all = Vec::new();
    for Replica { name, said } in replicas {
        let Some(said) = said.as_mut().ok().and_then(Value::as_object_mut) else {
            continue;
        };
        let Some(Value::Array(decisions)) = said.shift_remove("decisions") else {
            continue;
        };
        for mut decision in decisions {
            if let Some(decision) = decision.as_object_mut() {
                decision.insert("replica".to_owned(), json!(name));
            }
            all.push(decision);
        }
    }
    // Times have one form, which sorts as they do. Of one replica, those of one second are in order
    // already.
    all.sort_by(|a, b| b["at"].as_str().cmp(&a["at"].as_str()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_replica_refuses_is_said() {
        let refused = read(StatusCode::FORBIDDEN, b"only for\n");
        assert_eq!(
            refused,
            Err("it answered 403 Forbidden: only for".to_owned())
        );
        let older = read(StatusCode::NOT_FOUND, b"404 page not found").unwrap_err();
        assert!(older.contains("older version"), "{older}");
        assert!(read(StatusCode::OK, b"{").is_err());
        assert_eq!(read(StatusCode::OK, b"{}"), Ok(json!({})));
    }
}
