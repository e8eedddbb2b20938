//! `datakit-operator missed`: pods that would be injected if they were made now, and aren't.
//!
//! They were made while the operator was away, before a rule or an image was configured, or by an
//! older version. Nothing is changed: what would mend it is printed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use anyhow::anyhow;
use datakit_operator_core::inject::{Decision, Engine, Outcome, ReviewContext, inject_pod};
use datakit_operator_core::namespace::{LimitRange, Namespace, Namespaces, PodSecurity};
use datakit_operator_core::version::KubernetesVersion;
use kube::Client;
use serde_json::{Value, json};

use super::remote::{self, Operator, ask, get};
use super::table::Table;
use super::{EXIT_OK, Streams};
use crate::visible::visible;

/// So many pods are read at a time.
const PAGE: usize = 500;
/// The width of the table.
const WIDTH: usize = 120;

/// Options of `missed`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Namespace of the pods [default: all that the webhook may be asked about]
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,

    /// The operator's configuration [default: that of the cluster]
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,

    #[command(flatten)]
    operator: Operator,

    /// What to print
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    output: Output,

    /// End with exit code 3 if there are such pods
    #[arg(long)]
    fail: bool,
}

/// What to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// A table, and the commands that would mend it
    #[default]
    Text,
    /// One JSON object, see below
    Json,
}

const AFTER_HELP: &str = "\
Reads the pods of the cluster, 500 at a time, and reviews each as if it were made now, with the operator's configuration and the \
rules of its namespace. Pods that have ended or are being deleted are left out, as are the namespaces `kube-system` and the \
operator's own unless --namespace names them.

With `-o json`, the object has these keys:
  configuration  where it comes from
  pods[]         namespace, name; owner: kind and name, or null; features[]: feature, language (or null), lacks: all or some
  commands[]     what would have the pods made again, one for each workload

Examples:
  datakit-operator missed
  datakit-operator missed -n shop -o json

Exit codes:
  0  printed
  1  the cluster can't be read
  2  wrong command line or configuration
  3  there are such pods, with --fail";

/// The exit code for `--fail`.
const EXIT_FOUND: u8 = 3;

/// A pod that lacks something.
struct Missed {
    namespace: String,
    name: String,
    /// Kind and name of what made it and what made that.
    owner: Option<(String, String)>,
    lacks: Vec<Lacking>,
}

/// What it lacks.
struct Lacking {
    feature: String,
    language: Option<&'static str>,
    /// Whether it has a part of it.
    some: bool,
    asked_by: String,
}

/// Lists what was missed.
///
/// # Errors
///
/// If the cluster can't be read, and for output that can't be written.
pub fn run(args: &Args, streams: &mut Streams<'_>) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (origin, missed) = runtime.block_on(find(args, streams))?;
    match args.output {
        Output::Json => writeln!(streams.stdout, "{:#}", to_json(&origin, &missed))?,
        Output::Text => print(&missed, streams)?,
    }
    Ok(match args.fail && !missed.is_empty() {
        true => EXIT_FOUND,
        false => EXIT_OK,
    })
}

async fn find(args: &Args, streams: &mut Streams<'_>) -> anyhow::Result<(String, Vec<Missed>)> {
    let client = args.operator.connect().await?;
    let (origin, loaded) =
        remote::configuration(&client, &args.operator, args.config.as_deref()).await?;
    writeln!(streams.stderr, "configuration: {origin}")?;
    let engine = Engine::new(&loaded.config);
    let context = context(&client, args.namespace.as_deref()).await?;
    let mut missed = Vec::new();
    let mut owners = HashMap::new();
    let mut next = String::new();
    loop {
        let namespace = args.namespace.as_ref();
        let place = namespace.map_or_else(String::new, |name| format!("/namespaces/{name}"));
        let path = format!("/api/v1{place}/pods?limit={PAGE}{next}");
        let page = get(&client, &path).await;
        let page = page.map_err(|error| anyhow!("the pods can't be read: {error}"))?;
        for pod in page["items"].as_array().into_iter().flatten() {
            let left_out = [args.operator.namespace(), "kube-system"];
            let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
            if args.namespace.is_none() && left_out.contains(&namespace) {
                continue;
            }
            if let Some(mut found) = look(pod, namespace, &engine, &context) {
                found.owner = owner(&client, pod, namespace, &mut owners).await;
                missed.push(found);
            }
        }
        match page["metadata"]["continue"].as_str() {
            Some(token) if !token.is_empty() => next = format!("&continue={}", encoded(token)),
            _ => return Ok((origin, missed)),
        }
    }
}

/// What the pods' namespaces and the API server have to say. Not ResourceQuotas: what a pod
/// takes of one is left again when it is made anew.
async fn context(client: &Client, namespace: Option<&str>) -> anyhow::Result<ReviewContext> {
    let info = ask(client.apiserver_version()).await;
    let info = info.map_err(|error| anyhow!("the API server can't be asked: {error}"))?;
    let read = async |path: String| {
        let found = get(client, &path).await;
        found.map_err(|error| anyhow!("{path} can't be read: {error}"))
    };
    let (namespaces, ranges) = match namespace {
        Some(name) => (
            json!({"items": [read(format!("/api/v1/namespaces/{name}")).await?]}),
            read(format!("/api/v1/namespaces/{name}/limitranges")).await?,
        ),
        None => (
            read("/api/v1/namespaces".to_owned()).await?,
            read("/api/v1/limitranges".to_owned()).await?,
        ),
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut known: HashMap<String, Namespace> = HashMap::new();
    for namespace in namespaces["items"].as_array().into_iter().flatten() {
        let labels = namespace["metadata"]["labels"].as_object();
        let labels = labels.into_iter().flatten();
        let labels = labels.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
        let level = PodSecurity::from_labels(labels);
        known
            .entry(text(&namespace["metadata"]["name"]))
            .or_default()
            .pod_security = level;
    }
    for range in ranges["items"].as_array().into_iter().flatten() {
        let name = text(&range["metadata"]["name"]);
        let namespace = known
            .entry(text(&range["metadata"]["namespace"]))
            .or_default();
        namespace
            .limit_ranges
            .push(LimitRange::from_spec(name, &range["spec"]));
    }
    let known = known
        .iter()
        .map(|(name, known)| (name.as_str(), known.clone()));
    Ok(ReviewContext {
        kubernetes_version: KubernetesVersion::from_fields(&info.major, &info.minor).ok(),
        namespaces: Arc::new(known.collect::<Namespaces>()),
    })
}

/// What a pod lacks, if it would get something.
fn look(pod: &Value, namespace: &str, engine: &Engine, context: &ReviewContext) -> Option<Missed> {
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    let is_over = matches!(phase, "Succeeded" | "Failed");
    if is_over || !pod["metadata"]["deletionTimestamp"].is_null() {
        return None;
    }
    let text = pod.to_string();
    let injection = inject_pod(&text, Some(namespace), engine, context).ok()?;
    let lacks: Vec<_> = injection.decisions.iter().filter_map(lacking).collect();
    (!lacks.is_empty()).then(|| Missed {
        namespace: namespace.to_owned(),
        name: pod["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        owner: None,
        lacks,
    })
}

fn lacking(decision: &Decision) -> Option<Lacking> {
    let some = match decision.outcome {
        Outcome::Injected => false,
        Outcome::Repaired => true,
        Outcome::AlreadyInjected | Outcome::Skipped | Outcome::NotRequested => return None,
    };
    Some(Lacking {
        feature: decision.feature.as_str().to_owned(),
        language: decision.language,
        some,
        asked_by: decision
            .asked_by
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
    })
}

/// The workload that people restart: a ReplicaSet's Deployment, else the pod's own controller.
async fn owner(
    client: &Client,
    pod: &Value,
    namespace: &str,
    known: &mut HashMap<String, (String, String)>,
) -> Option<(String, String)> {
    let (kind, name) = controller(pod)?;
    if kind != "ReplicaSet" {
        return Some((kind, name));
    }
    let path = format!("/apis/apps/v1/namespaces/{namespace}/replicasets/{name}");
    if let Some(owner) = known.get(&path) {
        return Some(owner.clone());
    }
    let found = get(client, &path).await.ok();
    let owner = found.as_ref().and_then(controller).unwrap_or((kind, name));
    known.insert(path, owner.clone());
    Some(owner)
}

fn controller(object: &Value) -> Option<(String, String)> {
    let mut owners = object["metadata"]["ownerReferences"].as_array()?.iter();
    let owner = owners.find(|owner| owner["controller"] == true)?;
    let text = |key: &str| owner[key].as_str().map(str::to_owned);
    Some((text("kind")?, text("name")?))
}

/// What would have the pods made again, one command for each workload.
fn commands(missed: &[Missed]) -> Vec<String> {
    let mut commands = BTreeSet::new();
    for Missed {
        namespace,
        name,
        owner,
        ..
    } in missed
    {
        let command = match owner {
            Some((kind, owner))
                if ["Deployment", "StatefulSet", "DaemonSet"].contains(&&**kind) =>
            {
                format!(
                    "kubectl rollout restart {}/{owner} -n {namespace}",
                    kind.to_lowercase()
                )
            }
            Some((kind, _)) if kind == "Job" => continue,
            Some(_) => format!("kubectl delete pod/{name} -n {namespace}"),
            None => continue,
        };
        commands.insert(command);
    }
    commands.into_iter().collect()
}

fn print(missed: &[Missed], streams: &mut Streams<'_>) -> std::io::Result<()> {
    if missed.is_empty() {
        return writeln!(
            streams.stdout,
            "No pod lacks what it would get if it were made now."
        );
    }
    let mut table = Table {
        head: ["POD", "MADE BY", "LACKS", "ASKED FOR BY"],
        wraps_from: 0,
        rows: Vec::new(),
    };
    for pod in missed {
        for lacking in &pod.lacks {
            let language = lacking.language.map(|language| format!(" ({language})"));
            let part = if lacking.some { ", in part" } else { "" };
            let owner = pod
                .owner
                .as_ref()
                .map(|(kind, name)| format!("{kind}/{name}"));
            table.rows.push([
                format!("{}/{}", pod.namespace, pod.name),
                owner.unwrap_or_default(),
                format!("{}{}{part}", lacking.feature, language.unwrap_or_default()),
                lacking.asked_by.clone(),
            ]);
        }
    }
    write!(streams.stdout, "{}", table.render(WIDTH))?;
    let commands = commands(missed);
    if !commands.is_empty() {
        writeln!(streams.stdout, "\nTo have them made again:")?;
    }
    for command in commands {
        writeln!(streams.stdout, "  {}", visible(&command))?;
    }
    let jobs = |pod: &&Missed| pod.owner.as_ref().is_none_or(|(kind, _)| kind == "Job");
    if missed.iter().any(|pod| jobs(&pod)) {
        writeln!(
            streams.stdout,
            "\nPods of Jobs, and those that no controller has made, have to be created again by who made them."
        )?;
    }
    Ok(())
}

fn to_json(origin: &str, missed: &[Missed]) -> Value {
    let pods = missed.iter().map(|pod| {
        let features = pod.lacks.iter().map(|lacking| {
            json!({
                "feature": lacking.feature,
                "language": lacking.language,
                "lacks": if lacking.some { "some" } else { "all" },
                "askedBy": lacking.asked_by,
            })
        });
        json!({
            "namespace": pod.namespace,
            "name": pod.name,
            "owner": pod.owner.as_ref().map(|(kind, name)| json!({"kind": kind, "name": name})),
            "features": features.collect::<Vec<_>>(),
        })
    });
    json!({
        "configuration": origin,
        "pods": pods.collect::<Vec<_>>(),
        "commands": commands(missed),
    })
}

/// A text as part of a query.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match plain(byte) {
            true => encoded.push(char::from(byte)),
            false => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
