//! `datakit-operator status`: how the replicas are doing and what they decided last, as one.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use futures_util::future::join_all;
use http::header::{CONNECTION, HOST};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::remote::{access, ask, forward};
use super::table::Table;
use super::{EXIT_FAILURE, EXIT_OK, Streams, Usage};
use crate::cluster;
use crate::http::status::STATUS_PATH;

/// How long a replica may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer of a replica, in bytes.
const LONGEST: usize = 8 << 20;
/// The port of the probes where a pod doesn't say.
const PROBE_PORT: u16 = 9544;
/// How the chart calls that port.
const PROBES: &str = "probes";
/// The width of the tables.
const WIDTH: usize = 80;

/// Options of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Cluster to ask [default: that of ~/.kube/config; in a pod its own]
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    kubeconfig: Option<OsString>,

    /// Namespace of the operator
    #[arg(short, long, value_name = "NAME", default_value = "datakit")]
    namespace: String,

    /// Name of the installation: of its Deployment
    #[arg(long, value_name = "NAME", default_value = "datakit-operator")]
    service_name: String,

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
    let client = cluster::connect(&access(args.kubeconfig.as_ref())?)
        .await
        .map_err(|error| Usage(error.into()))?;
    let (namespace, name) = (args.namespace.as_str(), args.service_name.as_str());
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
        let said = ask_pod(&client, namespace, &name, port(pod)).await;
        Replica { name, said }
    });
    Ok(join_all(asked).await)
}

fn is_there(pod: &Pod) -> bool {
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

async fn ask_pod(client: &Client, namespace: &str, pod: &str, port: u16) -> Result<Value, String> {
    let (status, body) = forward::get(client, namespace, pod, port, STATUS_PATH).await?;
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
        let stream = TcpStream::connect((host.as_str(), port)).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::get(STATUS_PATH)
            .header(HOST, header)
            .header(CONNECTION, "close")
            .body(Empty::<Bytes>::new())?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LONGEST).collect().await;
        let body = body.map_err(|error| anyhow!("failed to read the answer: {error}"))?;
        Ok::<_, anyhow::Error>((status, body.to_bytes()))
    };
    let asked = timeout(TIMEOUT, asked).await;
    let asked = asked.with_context(|| format!("no answer within {} seconds", TIMEOUT.as_secs()));
    Ok(match asked {
        Ok(Ok((status, body))) => read(status, &body),
        Ok(Err(error)) | Err(error) => Err(format!("{error:#}")),
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

fn printed(replicas: &[Replica], decisions: &[Value]) -> String {
    let mut table = Table {
        head: ["REPLICA", "STATE", "VERSION", "STARTED", "LEASE"],
        wraps_from: 0,
        rows: Vec::new(),
    };
    for Replica { name, said } in replicas {
        let row = match said {
            Ok(said) => [
                name.clone(),
                text(said, &["replica", "phase"]).unwrap_or_default(),
                text(said, &["replica", "version"]).unwrap_or_default(),
                text(said, &["replica", "started"]).unwrap_or_default(),
                lease(said),
            ],
            Err(_) => {
                let state = "doesn't answer".to_owned();
                [
                    name.clone(),
                    state,
                    String::new(),
                    String::new(),
                    String::new(),
                ]
            }
        };
        table.rows.push(row);
    }
    let mut out = table.render(WIDTH);
    let mut facts = Table {
        head: ["WHAT", "REPLICA", "HOW IT IS"],
        wraps_from: 1,
        rows: Vec::new(),
    };
    for Replica { name, said } in replicas {
        if let Err(error) = said {
            let row = ["answer".to_owned(), name.clone(), error.clone()];
            facts.rows.push(row);
        }
    }
    for (what, tell) in FACTS {
        facts.rows.extend(grouped(what, replicas, tell));
    }
    for Replica { name, said } in replicas {
        let parts = said.as_ref().ok().and_then(|said| said["parts"].as_array());
        for part in parts.into_iter().flatten() {
            if part["state"] == "failing" {
                let [part, why, remedy] =
                    ["name", "text", "remedy"].map(|key| text(part, &[key]).unwrap_or_default());
                facts
                    .rows
                    .push([part, name.clone(), format!("failing: {why}; {remedy}")]);
            }
        }
    }
    if !facts.rows.is_empty() {
        out.push('\n');
        out += &facts.render(WIDTH);
    }
    let mut last = Table {
        head: ["TIME", "POD", "DECISION"],
        wraps_from: 1,
        rows: Vec::new(),
    };
    for decision in decisions {
        last.rows.push([
            text(decision, &["at"]).unwrap_or_default(),
            format!(
                "{}/{}",
                text(decision, &["namespace"]).unwrap_or_default(),
                text(decision, &["pod"]).unwrap_or_default()
            ),
            decided(decision),
        ]);
    }
    if !last.rows.is_empty() {
        out.push('\n');
        out += &last.render(WIDTH);
    }
    out
}

/// Something that is said of each replica; nothing where there is nothing to say.
type Tell = fn(&Value) -> Option<String>;

/// What is printed once if all replicas say the same.
const FACTS: [(&str, Tell); 5] = [
    ("configuration", configuration),
    ("refused", |said| text(said, &["configuration", "refused"])),
    ("certificate", certificate),
    ("CA", authority),
    ("task election", election),
];

fn grouped(what: &str, replicas: &[Replica], tell: Tell) -> Vec<[String; 3]> {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    let answered = replicas.iter().filter(|replica| replica.said.is_ok());
    for Replica { name, said } in answered {
        let Some(told) = said.as_ref().ok().and_then(tell) else {
            continue;
        };
        match groups.iter_mut().find(|(known, _)| *known == told) {
            Some((_, names)) => names.push(name),
            None => groups.push((told, vec![name])),
        }
    }
    let only = groups.len() == 1;
    let rows = groups.into_iter().map(|(told, names)| {
        let names = if only {
            String::new()
        } else {
            names.join(", ")
        };
        [what.to_owned(), names, told]
    });
    rows.collect()
}

fn configuration(said: &Value) -> Option<String> {
    let configuration = said.get("configuration").filter(|found| !found.is_null())?;
    let found = configuration["diagnostics"].as_array()?;
    let worst = found.first().map(|found| {
        format!(
            "{}: {}",
            text(found, &["severity"]).unwrap_or_default(),
            text(found, &["text"]).unwrap_or_default()
        )
    });
    let more = configuration["moreDiagnostics"]
        .as_u64()
        .unwrap_or_default();
    let more = found.len() as u64 + more;
    let doubt = match (worst, more) {
        (None, _) => "nothing is doubtful".to_owned(),
        (Some(worst), 1) => worst,
        (Some(worst), more) => format!("{worst} (and {} more)", more - 1),
    };
    Some(format!(
        "{}, {} rules; {doubt}",
        text(configuration, &["origin"])?,
        configuration["rules"]
    ))
}

fn certificate(said: &Value) -> Option<String> {
    let certificates = &said["certificates"];
    let accepted = match certificates["accepted"].as_bool() {
        Some(true) => ", accepted by the registration",
        Some(false) => ", not accepted by the registration yet",
        None => "",
    };
    Some(format!(
        "{}{accepted}, until {}",
        text(certificates, &["source"])?,
        text(certificates, &["presented", "notAfter"])?
    ))
}

fn authority(said: &Value) -> Option<String> {
    let authorities = said["certificates"]["authorities"].as_array()?;
    let authorities = authorities.iter().filter_map(|authority| {
        let sha256 = text(authority, &["sha256"])?;
        let sha256: String = sha256.chars().take(16).collect();
        let until = text(authority, &["notAfter"])?;
        Some(format!("SHA-256 {sha256}…, until {until}"))
    });
    let authorities: Vec<_> = authorities.collect();
    (!authorities.is_empty()).then(|| authorities.join("; "))
}

fn election(said: &Value) -> Option<String> {
    let election = &said["election"];
    match election["decides"].as_str()? {
        "here" => {
            let agents = election["agents"].as_array().map_or(0, Vec::len);
            let more = if election["moreAgents"] == true {
                "+"
            } else {
                ""
            };
            Some(format!(
                "{}; agents: {agents}{more}; inputs that nobody has: {}",
                text(election, &["phase"])?,
                election["unassigned"]
            ))
        }
        "nobody" => Some(format!("nobody decides: {}", text(election, &["why"])?)),
        // The one that does says more.
        _ => None,
    }
}

fn lease(said: &Value) -> String {
    let lease = &said["lease"];
    if lease.is_null() {
        return String::new();
    }
    let holder = text(lease, &["holder"]).unwrap_or_default();
    match lease["mine"].as_bool() {
        Some(true) => "holds it".to_owned(),
        _ if holder.is_empty() => "nobody holds it".to_owned(),
        _ => String::new(),
    }
}

/// What became of a pod, in codes.
fn decided(decision: &Value) -> String {
    let mut parts = Vec::new();
    let outcome = text(decision, &["outcome"]).unwrap_or_default();
    if !["injected", "unchanged"].contains(&&*outcome) {
        parts.push(outcome);
    }
    for feature in decision["features"].as_array().into_iter().flatten() {
        let mut part = text(feature, &["feature"]).unwrap_or_default();
        if let Some(language) = text(feature, &["language"]) {
            part += &format!(" ({language})");
        }
        part += &format!(" {}", text(feature, &["outcome"]).unwrap_or_default());
        if let Some(reason) = text(feature, &["reason", "code"]) {
            part += &format!(": {reason}");
        }
        parts.push(part);
        parts.extend(codes(&feature["notes"]));
    }
    parts.extend(codes(&decision["notes"]));
    let dry_run = decision["dryRun"] == true;
    let dry_run = if dry_run { " (dry run)" } else { "" };
    format!("{}{dry_run}", parts.join("; "))
}

fn codes(notes: &Value) -> Vec<String> {
    let notes = notes.as_array().into_iter().flatten();
    notes.filter_map(|note| text(note, &["code"])).collect()
}

/// The text at this place, if there is one.
fn text(value: &Value, path: &[&str]) -> Option<String> {
    let found = path.iter().try_fold(value, |value, key| value.get(key))?;
    found.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn replica(name: &str, mine: bool, change: impl FnOnce(&mut Value)) -> Replica {
        let mut said = json!({
            "replica": {"name": name, "version": "2.0.0", "phase": "ready", "started": "2026-11-27T18:00:00Z"},
            "configuration": {
                "origin": "`/etc/datakit-operator/jsonconfig`", "rules": 7, "refused": null,
                "diagnostics": [], "moreDiagnostics": 0,
            },
            "certificates": {
                "source": "of the installation's CA", "accepted": true,
                "presented": {"notAfter": "2026-12-04T18:00:00Z"},
                "authorities": [{"sha256": "0123456789abcdef0123", "notAfter": "2027-11-27T18:00:00Z"}],
            },
            "lease": {"holder": "replica-a", "mine": mine},
            "parts": [{"name": "watch_namespaces", "state": "well", "text": "", "remedy": null}],
            "election": {"decides": "elsewhere", "address": "10.0.0.1:9543"},
            "decisions": [],
        });
        change(&mut said);
        Replica {
            name: name.to_owned(),
            said: Ok(said),
        }
    }

    fn decision(at: &str, pod: &str) -> Value {
        json!({
            "at": at, "outcome": "injected", "namespace": "shop", "pod": pod, "dryRun": false, "notes": [],
            "features": [
                {"feature": "ddtrace", "language": "java", "outcome": "injected", "reason": null, "notes": []},
                {
                    "feature": "profiler", "language": "python", "outcome": "skipped",
                    "reason": {"code": "host_pid", "sentence": ""}, "notes": [],
                },
            ],
        })
    }

    #[test]
    fn replicas_become_one() {
        let mut replicas = vec![
            replica("replica-a", true, |said| {
                said["election"] = json!({"decides": "here", "phase": "deciding", "agents": [{}], "unassigned": 2});
                said["decisions"] = json!([
                    decision("2026-11-27T18:00:03Z", "third\u{202e}"),
                    decision("2026-11-27T18:00:01Z", "first")
                ]);
            }),
            replica("replica-b", false, |said| {
                said["configuration"]["diagnostics"] =
                    json!([{"severity": "warning", "text": "a: unknown key"}]);
                said["parts"][0] = json!({"name": "watch_pods", "state": "failing", "text": "forbidden", "remedy": "may it?"});
                said["decisions"] = json!([decision("2026-11-27T18:00:02Z", "second")]);
            }),
            Replica {
                name: "replica-c".to_owned(),
                said: Err("it answered 403 Forbidden: no".to_owned()),
            },
        ];
        let decisions = merged(&mut replicas);
        let order: Vec<_> = decisions.iter().map(|one| &one["pod"]).collect();
        assert_eq!(order, ["third\u{202e}", "second", "first"]);
        assert_eq!(decisions[1]["replica"], "replica-b");
        let text = printed(&replicas, &decisions);
        assert!(
            text.lines().all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
        expect![[r#"
            REPLICA    STATE           VERSION  STARTED               LEASE
            replica-a  ready           2.0.0    2026-11-27T18:00:00Z  holds it
            replica-b  ready           2.0.0    2026-11-27T18:00:00Z
            replica-c  doesn't answer

            WHAT           REPLICA    HOW IT IS
            answer         replica-c  it answered 403 Forbidden: no
            configuration  replica-a  `/etc/datakit-operator/jsonconfig`, 7 rules; nothing
                                      is doubtful
            configuration  replica-b  `/etc/datakit-operator/jsonconfig`, 7 rules; warning:
                                      a: unknown key
            certificate               of the installation's CA, accepted by the
                                      registration, until 2026-12-04T18:00:00Z
            CA                        SHA-256 0123456789abcdef…, until 2027-11-27T18:00:00Z
            task election             deciding; agents: 1; inputs that nobody has: 2
            watch_pods     replica-b  failing: forbidden; may it?

            TIME                  POD                 DECISION
            2026-11-27T18:00:03Z  shop/third\u{202e}  ddtrace (java) injected; profiler
                                                      (python) skipped: host_pid
            2026-11-27T18:00:02Z  shop/second         ddtrace (java) injected; profiler
                                                      (python) skipped: host_pid
            2026-11-27T18:00:01Z  shop/first          ddtrace (java) injected; profiler
                                                      (python) skipped: host_pid
        "#]]
        .assert_eq(&text);
    }

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
