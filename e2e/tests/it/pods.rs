//! The cluster's pods, asked for as the eBPF plugin and other agents do.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use datakit_operator_e2e::account::credentials;
use datakit_operator_e2e::cable::Cable;
use datakit_operator_e2e::caller::{Caller, Response};
use datakit_operator_e2e::cluster::{Cluster, Mode, Namespace};
use datakit_operator_e2e::connection;
use datakit_operator_e2e::replica::{PROBES, Replica, WEBHOOK, listening};
use datakit_operator_e2e::service::address;
use datakit_operator_e2e::wait;
use serde_json::{Value, json};

const ALL: &str = "/v1/cluster/api/v1/pods";
const ACCOUNTS: &str = "serviceaccounts";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
/// How long the eBPF plugin waits for headers; here the whole answer must be there.
const PROBE: Duration = Duration::from_secs(2);

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn agents_see_pods_while_the_operator_may_and_can() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let name = "pod-api";
    let stage = Stage::new(&cluster, name, json!([pods_rule()])).await?;
    let (a, b) = (stage.namespace("a").await?, stage.namespace("b").await?);
    a.create_pod(&pod("web"), Mode::Store).await?;
    b.create_pod(&pod("db"), Mode::Store).await?;
    let replica = stage.start("none").await?;
    until(&replica, &one(&a, "web"), 200).await?;

    // Probed once, at start: within two seconds, or never.
    let asked = Instant::now();
    let probed = ask(&replica, "GET", ALL, None).await?;
    ensure!(asked.elapsed() < PROBE, "{:?}", asked.elapsed());
    assert_eq!(probed.status, 200);
    let all: Vec<Value> = serde_json::from_str(&probed.body)?;
    for (namespace, name) in [(&a, "web"), (&b, "db")] {
        let found = all.iter().filter(|pod| {
            pod["metadata"]["name"] == name && pod["metadata"]["namespace"] == namespace.name()
        });
        assert_eq!(found.count(), 1, "{name}");
    }

    // Everything that the API server has, as an item of a list.
    let path = format!("/api/v1/namespaces/{}/pods", a.name());
    let theirs = cluster.get(&path).await?["items"].take();
    assert!(theirs[0]["metadata"]["managedFields"].is_array());
    assert_eq!(json(&replica, &list(&a)).await?, theirs);
    assert_eq!(json(&replica, &one(&a, "web")).await?, theirs[0]);

    // What the plugin needs, and nothing else.
    let trimmed = json(&replica, &format!("{}?view=ebpf-v1", list(&a))).await?;
    let metadata = &theirs[0]["metadata"];
    let expected = json!([{
        "metadata": {
            "name": "web", "namespace": a.name(), "uid": metadata["uid"], "labels": {"app": "web"},
        },
        "spec": {
            "hostNetwork": true,
            "containers": [{"name": "c", "ports": theirs[0]["spec"]["containers"][0]["ports"]}],
        },
        "status": {},
    }]);
    assert_eq!(trimmed, expected);

    // Changes arrive.
    let labelled = json!({"metadata": {"labels": {"app": "changed"}}});
    cluster.merge(&format!("{path}/web"), &labelled).await?;
    wait::until("the change", || async {
        let pod = json(&replica, &one(&a, "web")).await;
        let label = pod.map_err(said)?["metadata"]["labels"]["app"].take();
        if label == "changed" {
            Ok(())
        } else {
            Err(label.to_string())
        }
    })
    .await?;
    let at_once = json!({"gracePeriodSeconds": 0});
    cluster.delete(&format!("{path}/web"), &at_once).await?;
    until(&replica, &one(&a, "web"), 404).await?;
    let gone = ask(&replica, "GET", &one(&a, "web"), None).await?;
    assert_eq!(gone.body, r#"{"message":"not found"}"#);
    assert_eq!(ask(&replica, "GET", &list(&a), None).await?.body, "[]");

    // What there isn't.
    assert_eq!(ask(&replica, "HEAD", ALL, None).await?.status, 200);
    assert_eq!(ask(&replica, "POST", ALL, None).await?.status, 405);
    let other = ask(&replica, "GET", "/v1/cluster/api/v1/nodes", None).await?;
    assert_eq!((other.status, &*other.body), (404, "404 page not found"));

    // Without the way to the API server it is the last state that is shown; whether there is a pod
    // that isn't in it, nobody knows.
    stage.cable.cut();
    until(&replica, &one(&a, "web"), 503).await?;
    assert_eq!(
        ask(&replica, "GET", &one(&b, "db"), None).await?.status,
        200
    );
    assert_eq!(
        json(&replica, &list(&b)).await?.as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(ask(&replica, "GET", ALL, None).await?.status, 200);

    // Without the right, nothing is shown.
    stage.forbid().await?;
    stage.cable.mend();
    let refused = until(&replica, &one(&b, "db"), 503).await?;
    ensure!(refused.contains("may not list and watch pods"), "{refused}");
    assert_eq!(ask(&replica, "GET", ALL, None).await?.status, 503);
    let parts = self::parts(&replica).await?;
    ensure!(
        parts.contains("[-]watch_pods failing: pods is forbidden"),
        "{parts}"
    );
    ensure!(parts.contains("(podApi.enabled)?"), "{parts}");
    b.create_pod(&pod("meanwhile"), Mode::Store).await?;
    stage.permit().await?;
    until(&replica, &one(&b, "meanwhile"), 200).await?;
    assert_eq!(
        json(&replica, &list(&b)).await?.as_array().map(Vec::len),
        Some(2)
    );
    let parts = self::parts(&replica).await?;
    ensure!(parts.contains("[+]watch_pods ok"), "{parts}");
    replica.ready().await.map_err(anyhow::Error::msg)
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn with_tokens_agents_see_what_they_may_list() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let rules = json!([
        pods_rule(),
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
        {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]}
    ]);
    let stage = Stage::new(&cluster, "pod-api-tokens", rules).await?;
    let (a, b) = (stage.namespace("a").await?, stage.namespace("b").await?);
    a.create_pod(&pod("web"), Mode::Store).await?;
    b.create_pod(&pod("db"), Mode::Store).await?;
    let (everything, some) = (stage.token("everything").await?, stage.token("some").await?);
    let nothing = stage.token("nothing").await?;
    stage.bind("everything", None).await?;
    stage.bind("some", Some(a.name())).await?;
    let replica = stage.start("token").await?;

    assert_eq!(ask(&replica, "GET", ALL, None).await?.status, 401);
    assert_eq!(
        ask(&replica, "GET", ALL, Some("nonsense")).await?.status,
        401
    );
    wait::until("pods", || async {
        let answer = ask(&replica, "GET", ALL, Some(&some)).await.map_err(said)?;
        if answer.status == 200 {
            Ok(())
        } else {
            Err(answer.body)
        }
    })
    .await?;
    let names = async |token: &str| {
        let answer = ask(&replica, "GET", ALL, Some(token)).await?;
        let pods: Vec<Value> = serde_json::from_str(&answer.body)?;
        let ours = pods.iter().filter_map(|pod| {
            let namespace = pod["metadata"]["namespace"].as_str()?;
            let part = namespace.strip_prefix("pod-api-tokens-")?;
            Some(format!("{part}/{}", pod["metadata"]["name"].as_str()?))
        });
        let ours: Vec<String> = ours.collect();
        Ok::<_, anyhow::Error>((ours, pods.len()))
    };
    assert_eq!(names(&everything).await?.0, ["a/web", "b/db"]);
    assert_eq!(names(&some).await?, (vec!["a/web".to_owned()], 1));
    assert_eq!(names(&nothing).await?, (Vec::new(), 0));
    for (token, namespace, name, status) in [
        (&everything, &b, "db", 200),
        (&some, &a, "web", 200),
        (&some, &a, "db", 404),
        (&some, &b, "db", 403),
        (&some, &b, "nobody", 403),
        (&nothing, &a, "web", 403),
    ] {
        let answer = ask(&replica, "GET", &one(namespace, name), Some(token)).await?;
        assert_eq!(answer.status, status, "{} {name}", namespace.name());
        let listed = ask(&replica, "GET", &list(namespace), Some(token)).await?;
        let may = status != 403;
        assert_eq!(listed.status == 200, may, "{}", namespace.name());
    }
    let log = replica.log();
    for token in [&everything, &some, &nothing] {
        ensure!(!log.contains(token.as_str()), "a token is in the log");
    }
    Ok(())
}

/// An operator's account with these rights, and namespaces beside it.
/// What was made while nobody injected is counted, while anybody can tell.
#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn what_was_missed_is_counted() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let stage = Stage::new(&cluster, "pod-api-missed", json!([pods_rule()])).await?;
    let namespace = stage.namespace("a").await?;
    let mut asks = pod("asks");
    asks["metadata"]["annotations"] = json!({"admission.datakit/java-lib.version": ""});
    namespace.create_pod(&asks, Mode::Store).await?;
    let replica = stage.start("none").await?;
    let labels = ["feature=\"ddtrace\"", "lacks=\"all\""];
    let count = || replica.metric("datakit_operator_missed_pods", &labels);
    wait::until("pods that were missed", || async {
        match count().await {
            Ok(count) if count >= 1.0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    stage.cable.cut();
    wait::until("nobody to tell", || async {
        count().await.map_or(Ok(()), |count| Err(count.to_string()))
    })
    .await
}

struct Stage {
    cluster: Cluster,
    name: &'static str,
    cable: Cable,
}

impl Stage {
    async fn new(cluster: &Cluster, name: &'static str, rules: Value) -> Result<Self> {
        cluster.namespace(name, &json!({})).await?;
        let path = format!("{RBAC}/clusterroles");
        let role = json!({"metadata": {"name": name}, "rules": rules});
        cluster.create(&path, &role).await?;
        let view = json!({"metadata": {"name": format!("{name}-view")}, "rules": [pods_rule()]});
        cluster.create(&path, &view).await?;
        let server = cluster.plane().server().trim_start_matches("https://");
        let stage = Self {
            cluster: cluster.clone(),
            name,
            cable: Cable::to(server.parse::<SocketAddr>()?).await?,
        };
        stage.account("operator").await?;
        stage.permit().await?;
        Ok(stage)
    }

    async fn namespace(&self, name: &str) -> Result<Namespace> {
        let name = format!("{}-{name}", self.name);
        self.cluster.namespace(&name, &json!({})).await
    }

    async fn start(&self, auth: &str) -> Result<Replica> {
        let directory = self.cluster.plane().directory().join(self.name);
        let server = format!("https://127.0.0.1:{}", self.cable.port());
        let kubeconfig =
            credentials(&self.cluster, self.name, "operator", &server, &directory).await?;
        let address = address()?;
        let mut args = vec![
            "serve".to_owned(),
            "--log-format=json".to_owned(),
            "--tls-source=ephemeral".to_owned(),
            "--pod-api=on".to_owned(),
            format!("--pod-api-auth={auth}"),
        ];
        args.extend(listening(address));
        let variables = [("KUBECONFIG".to_owned(), kubeconfig.display().to_string())];
        let mut replica = Replica::start(&directory, "pod-0", address, &args, &variables)?;
        replica.until_ready().await?;
        Ok(replica)
    }

    fn binding(&self, role: &str, account: &str) -> Value {
        json!({
            "metadata": {"name": format!("{}-{account}", self.name)},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": self.name}],
        })
    }

    async fn permit(&self) -> Result<()> {
        let binding = self.binding(self.name, "operator");
        let path = format!("{RBAC}/clusterrolebindings");
        self.cluster.create(&path, &binding).await?;
        Ok(())
    }

    async fn forbid(&self) -> Result<()> {
        let path = format!("{RBAC}/clusterrolebindings/{}-operator", self.name);
        self.cluster.delete(&path, &Value::Null).await?;
        Ok(())
    }

    async fn account(&self, name: &str) -> Result<()> {
        let path = format!("/api/v1/namespaces/{}/{ACCOUNTS}", self.name);
        let account = json!({"metadata": {"name": name}});
        self.cluster.create(&path, &account).await?;
        Ok(())
    }

    /// A token of a new account.
    async fn token(&self, account: &str) -> Result<String> {
        self.account(account).await?;
        let path = format!(
            "/api/v1/namespaces/{}/{ACCOUNTS}/{account}/token",
            self.name
        );
        let asked = json!({"spec": {"expirationSeconds": 600}});
        let made = self.cluster.create(&path, &asked).await?;
        let token = made["status"]["token"].as_str().context("no token")?;
        Ok(token.to_owned())
    }

    /// Lets an account list pods, in one namespace or in all.
    async fn bind(&self, account: &str, namespace: Option<&str>) -> Result<()> {
        let binding = self.binding(&format!("{}-view", self.name), account);
        let path = match namespace {
            Some(namespace) => format!("{RBAC}/namespaces/{namespace}/rolebindings"),
            None => format!("{RBAC}/clusterrolebindings"),
        };
        self.cluster.create(&path, &binding).await?;
        Ok(())
    }
}

fn pods_rule() -> Value {
    json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]})
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}, "annotations": {"a": "b"}},
        "spec": {
            "hostNetwork": true,
            "containers": [{"name": "c", "image": "example.com/c:1", "ports": [{"containerPort": 8080, "name": "http"}]}],
        },
    })
}

fn list(namespace: &Namespace) -> String {
    format!("/v1/cluster/api/v1/namespaces/{}/pods", namespace.name())
}

fn one(namespace: &Namespace, name: &str) -> String {
    format!("{}/{name}", list(namespace))
}

fn said(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

/// Waits for a status, and returns the body.
async fn until(replica: &Replica, path: &str, status: u16) -> Result<String> {
    wait::until(&format!("{status} for {path}"), || async {
        let answer = ask(replica, "GET", path, None).await.map_err(said)?;
        match answer.status == status {
            true => Ok(answer.body),
            false => Err(format!(
                "{} {}\n{}",
                answer.status,
                answer.body,
                replica.log()
            )),
        }
    })
    .await
}

/// What `/readyz` says of each part.
async fn parts(replica: &Replica) -> Result<String> {
    let probes = SocketAddr::from((replica.address(), PROBES));
    let asked = move || connection::get(probes, "/readyz?verbose");
    Ok(tokio::task::spawn_blocking(asked).await??.1)
}

async fn json(replica: &Replica, path: &str) -> Result<Value> {
    let answer = ask(replica, "GET", path, None).await?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
    Ok(serde_json::from_str(&answer.body)?)
}

async fn ask(
    replica: &Replica,
    method: &'static str,
    path: &str,
    token: Option<&str>,
) -> Result<Response> {
    let server = SocketAddr::from((replica.address(), WEBHOOK));
    let header = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let (path, header) = (path.to_owned(), header.unwrap_or_default());
    tokio::task::spawn_blocking(move || Caller::of(server)?.call(method, &path, &header, ""))
        .await?
}
