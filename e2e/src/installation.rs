//! An installation of the operator without a chart: the objects it needs, and replicas as processes
//! behind its Service.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::account::credentials;
use crate::cluster::{Cluster, Namespace, refusal};
use crate::connection::Connection;
use crate::process::Signal;
use crate::replica::{PROBES, Replica, WEBHOOK, listening, probe};
use crate::service::{Endpoints, address};
use crate::wait;
use crate::webhook::labels;

/// How often the readiness of a replica is asked for.
const PERIOD: Duration = Duration::from_millis(150);
/// How long a replica that is to end goes on serving, while it is taken out of the Service and
/// clients are told to go elsewhere. The chart gives it longer.
const SHUTDOWN_DELAY: &str = "--shutdown-delay=1s";

/// The objects of one installation. Everything in it is called by its name.
pub struct Installation {
    cluster: Cluster,
    name: String,
    pods: Namespace,
    endpoints: Arc<Endpoints>,
    flags: Vec<String>,
}

/// A replica of an installation, which gets requests while it is ready.
pub struct Member {
    /// The operator.
    pub replica: Replica,
    endpoints: Arc<Endpoints>,
    /// Until it is taken out of the Service.
    prober: Option<JoinHandle<()>>,
}

/// The CA as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// `ca.crt`.
    pub certificate: String,
    /// `ca.key`.
    pub key: String,
    /// `previous-ca.crt`.
    pub previous: Option<String>,
}

impl Installation {
    /// Makes namespaces `<name>` for the operator and `<name>-pods` for pods that it injects, and
    /// everything in the cluster that an operator of this Service name needs. Nothing is registered
    /// with the API server yet. The operator gets these flags.
    pub async fn new(cluster: &Cluster, name: &str, flags: &[&str]) -> Result<Self> {
        let own = cluster.namespace(name, &json!({})).await?;
        let pods = cluster
            .namespace(&format!("{name}-pods"), &labels(name))
            .await?;
        for (path, object) in objects(name) {
            let created = cluster.create(&path, &object).await;
            created.with_context(|| format!("failed to create {object} at {path}"))?;
        }
        let ports = json!([{"name": "https", "port": WEBHOOK}]);
        let endpoints = Endpoints::new(cluster, own.name(), name, &ports).await?;
        Ok(Self {
            cluster: cluster.clone(),
            name: name.to_owned(),
            pods,
            endpoints: Arc::new(endpoints),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        })
    }

    /// Gives replicas that start from now on these flags.
    pub fn set_flags(&mut self, flags: &[&str]) {
        self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    }

    /// The namespace whose pods are injected.
    #[must_use]
    pub fn pods(&self) -> &Namespace {
        &self.pods
    }

    /// The name that the API server expects in the certificate.
    #[must_use]
    pub fn host(&self) -> String {
        format!("{0}.{0}.svc", self.name)
    }

    /// Starts a replica, not waiting for anything.
    pub async fn start(&self, pod: &str) -> Result<Member> {
        let server = self.cluster.plane().server().to_owned();
        self.start_by(pod, &server).await
    }

    /// Starts replicas at once, called `pod-0` and so on, and waits until all are ready.
    pub async fn start_many(&self, count: usize) -> Result<Vec<Member>> {
        let mut members = Vec::new();
        for number in 0..count {
            members.push(self.start(&format!("pod-{number}")).await?);
        }
        for member in &mut members {
            member.replica.until_ready().await?;
        }
        Ok(members)
    }

    /// The same for a replica that reaches the API server at an address of its own.
    pub async fn start_by(&self, pod: &str, server: &str) -> Result<Member> {
        self.start_with(pod, server, &[]).await
    }

    /// The same with further environment variables.
    pub async fn start_with(
        &self,
        pod: &str,
        server: &str,
        further: &[(String, String)],
    ) -> Result<Member> {
        let directory = self.directory().join(pod);
        let kubeconfig =
            credentials(&self.cluster, &self.name, &self.name, server, &directory).await?;
        let mut args = vec![
            "serve".to_owned(),
            "--log-format=json".to_owned(),
            "--tls-source=cluster".to_owned(),
            SHUTDOWN_DELAY.to_owned(),
            format!("--service-name={}", self.name),
        ];
        args.extend(self.flags.iter().cloned());
        let address = address()?;
        args.extend(listening(address));
        let variables = [
            ("KUBECONFIG", kubeconfig.display().to_string()),
            ("POD_NAME", pod.to_owned()),
            ("POD_NAMESPACE", self.name.clone()),
            ("POD_IP", address.to_string()),
        ];
        let mut variables = variables
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec();
        variables.extend_from_slice(further);
        let replica = Replica::start(&directory, pod, address, &args, &variables)?;
        Ok(self.member(replica))
    }

    /// Starts a replica with these arguments alone, which knows nothing of the cluster.
    pub fn start_alone(&self, pod: &str, args: &[String]) -> Result<Member> {
        let directory = self.directory();
        let address = address()?;
        let args = [args, &listening(address)].concat();
        let replica = Replica::start(&directory, pod, address, &args, &[])?;
        Ok(self.member(replica))
    }

    /// Connects to one replica as the API server does, trusting the authorities in `bundle` (PEM).
    pub fn connect(&self, member: &Member, bundle: &str) -> Result<Connection> {
        member.replica.connect(&self.host(), bundle)
    }

    /// Where the replicas' logs are.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.cluster
            .plane()
            .directory()
            .join(format!("installation-{}", self.name))
    }

    /// The CAs that are registered with the API server, as PEM; empty without any.
    pub async fn bundle(&self) -> Result<String> {
        let configuration = self.configuration().await?;
        let bundle = &configuration["webhooks"][0]["clientConfig"]["caBundle"];
        let bundle = BASE64.decode(bundle.as_str().unwrap_or_default())?;
        Ok(String::from_utf8(bundle)?)
    }

    /// The registration with the API server.
    pub async fn configuration(&self) -> Result<Value> {
        Ok(self.cluster.get(&self.configuration_path()).await?)
    }

    /// Changes the registration as someone else.
    pub async fn change_configuration(&self, change: &Value) -> Result<()> {
        self.cluster
            .merge(&self.configuration_path(), change)
            .await?;
        Ok(())
    }

    /// Deletes the registration.
    pub async fn withdraw(&self) -> Result<()> {
        let path = self.configuration_path();
        self.cluster.delete(&path, &Value::Null).await?;
        Ok(())
    }

    /// Makes the registration anew.
    pub async fn register(&self) -> Result<()> {
        let registration = registration(&self.name);
        self.cluster.create(CONFIGURATIONS, &registration).await?;
        Ok(())
    }

    /// Registers these CAs in the place of what is registered, as someone else.
    pub async fn overwrite_bundle(&self, bundle: &str) -> Result<()> {
        // Another writer may come in between.
        wait::until("a change of the registration", || async {
            let path = self.configuration_path();
            let changed = self.cluster.get(&path).await;
            let mut changed = changed.map_err(|error| refusal(&error))?;
            for webhook in changed["webhooks"].as_array_mut().into_iter().flatten() {
                webhook["clientConfig"]["caBundle"] = BASE64.encode(bundle).into();
            }
            let replaced = self.cluster.replace(&path, &changed).await;
            replaced.map_err(|error| refusal(&error))
        })
        .await?;
        Ok(())
    }

    /// The Secret with the CA.
    pub async fn secret(&self) -> kube::Result<Value> {
        self.cluster.get(&self.secret_path()).await
    }

    /// The CA in the Secret, as far as it can be read.
    pub async fn stored(&self) -> Result<Stored> {
        let secret = self.secret().await?;
        let text = |key: &str| -> Result<Option<String>> {
            let Some(value) = secret["data"][key].as_str() else {
                return Ok(None);
            };
            Ok(Some(String::from_utf8(BASE64.decode(value)?)?))
        };
        Ok(Stored {
            certificate: text("ca.crt")?.unwrap_or_default(),
            key: text("ca.key")?.unwrap_or_default(),
            previous: text("previous-ca.crt")?,
        })
    }

    /// Changes the named fields of the Secret.
    pub async fn damage_secret(&self, change: &Value) -> Result<()> {
        self.cluster.merge(&self.secret_path(), change).await?;
        Ok(())
    }

    /// Deletes the Secret.
    pub async fn delete_secret(&self) -> Result<()> {
        self.cluster
            .delete(&self.secret_path(), &Value::Null)
            .await?;
        Ok(())
    }

    /// Installs the Secret again, empty. The operator can't.
    pub async fn install_secret(&self) -> Result<()> {
        let path = format!("/api/v1/namespaces/{}/secrets", self.name);
        self.cluster.create(&path, &secret(&self.name)).await?;
        Ok(())
    }

    /// Deletes the Secret, installs it again and waits until there is a CA in it: someone looks
    /// after things.
    pub async fn until_repaired(&self) -> Result<()> {
        self.delete_secret().await?;
        self.install_secret().await?;
        self.until_secret().await
    }

    /// Waits until there is a Secret with a CA.
    pub async fn until_secret(&self) -> Result<()> {
        wait::until("a CA in the Secret", || async {
            match self.secret().await {
                Ok(secret) if secret["data"]["ca.key"].is_string() => Ok(()),
                Ok(_) => Err("there is none in it".to_owned()),
                Err(error) => Err(refusal(&error)),
            }
        })
        .await
    }

    /// Who holds the Lease; empty when nobody does.
    pub async fn holder(&self) -> Result<String> {
        let path = format!(
            "/apis/coordination.k8s.io/v1/namespaces/{0}/leases/{0}",
            self.name
        );
        let lease = self.cluster.get(&path).await?;
        let holder = lease["spec"]["holderIdentity"].as_str();
        Ok(holder.unwrap_or_default().to_owned())
    }

    /// Waits until a replica other than this one holds the Lease, and returns its name.
    pub async fn until_held_by_other(&self, than: &str) -> Result<String> {
        wait::until("another holder of the Lease", || async {
            match self.holder().await {
                Ok(holder) if !holder.is_empty() && holder != than => Ok(holder),
                Ok(holder) => Err(format!("it is `{holder}`")),
                Err(error) => Err(format!("{error:#}")),
            }
        })
        .await
    }

    /// Takes away what the operator is permitted.
    pub async fn forbid(&self) -> Result<()> {
        for (path, binding) in bindings(&self.name) {
            let name = binding["metadata"]["name"].as_str().unwrap_or_default();
            let path = format!("{path}/{name}");
            self.cluster.delete(&path, &Value::Null).await?;
        }
        Ok(())
    }

    /// Gives it back.
    pub async fn permit(&self) -> Result<()> {
        for (path, binding) in bindings(&self.name) {
            self.cluster.create(&path, &binding).await?;
        }
        Ok(())
    }

    /// Gives the operator these rights beside those that it has.
    pub async fn grant(&self, suffix: &str, rules: &Value) -> Result<()> {
        let (name, role) = (&self.name, format!("{}-{suffix}", self.name));
        let api = "rbac.authorization.k8s.io/v1";
        let object = json!({
            "apiVersion": api, "kind": "ClusterRole", "metadata": {"name": role}, "rules": rules,
        });
        let path = format!("{RBAC}/clusterroles");
        self.cluster.create(&path, &object).await?;
        let binding = json!({
            "apiVersion": api, "kind": "ClusterRoleBinding", "metadata": {"name": role},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": name}],
        });
        let path = format!("{RBAC}/clusterrolebindings");
        self.cluster.create(&path, &binding).await?;
        Ok(())
    }

    fn configuration_path(&self) -> String {
        format!("{CONFIGURATIONS}/{}-mutation", self.name)
    }

    fn secret_path(&self) -> String {
        format!("/api/v1/namespaces/{0}/secrets/{0}-ca", self.name)
    }

    fn member(&self, replica: Replica) -> Member {
        Member {
            prober: Some(tokio::spawn(watch(
                replica.address(),
                Arc::clone(&self.endpoints),
            ))),
            endpoints: Arc::clone(&self.endpoints),
            replica,
        }
    }
}

impl Member {
    /// Ends it as a node does when its pod is deleted, and returns its exit code.
    pub async fn stop(mut self) -> Result<Option<i32>> {
        self.replica.signal(Signal::Terminate)?;
        self.retire().await?;
        self.replica.until_ended().await
    }

    /// Takes it out of the Service: it runs on without requests.
    pub async fn retire(&mut self) -> Result<()> {
        if let Some(prober) = self.prober.take() {
            prober.abort();
            // What it was about to say may come later.
            let _ = prober.await;
        }
        self.endpoints.remove(self.replica.address()).await
    }

    /// Ends it as a power failure does. The Service loses it.
    pub async fn kill(mut self) -> Result<()> {
        self.replica.signal(Signal::Kill)?;
        self.replica.until_ended().await?;
        self.retire().await
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(prober) = &self.prober {
            prober.abort();
        }
    }
}

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

async fn watch(address: Ipv4Addr, endpoints: Arc<Endpoints>) {
    loop {
        let ready = probe((address, PROBES), "/readyz").await.is_ok();
        // Tried again in a moment.
        let _ = endpoints.set(address, ready).await;
        tokio::time::sleep(PERIOD).await;
    }
}

/// What is there before the operator: each object and the path of its collection.
fn objects(name: &str) -> Vec<(String, Value)> {
    let core = format!("/api/v1/namespaces/{name}");
    let api = "rbac.authorization.k8s.io/v1";
    let rule = |group: &str, resource: &str, verbs: &[&str], names: Option<String>| {
        let mut rule = json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
        if let Some(name) = names {
            rule["resourceNames"] = json!([name]);
        }
        rule
    };
    let role = json!({
        "apiVersion": api, "kind": "Role", "metadata": {"name": name},
        "rules": [
            rule("", "secrets", &["list", "watch", "update"], Some(format!("{name}-ca"))),
            rule("coordination.k8s.io", "leases", &["get", "update"], Some(name.to_owned())),
            rule("coordination.k8s.io", "leases", &["list", "watch", "create"], None),
        ],
    });
    let wide = json!({
        "apiVersion": api, "kind": "ClusterRole", "metadata": {"name": format!("e2e-{name}")},
        "rules": [
            rule(
                "admissionregistration.k8s.io",
                "mutatingwebhookconfigurations",
                &["list", "watch", "patch"],
                Some(format!("{name}-mutation")),
            ),
            rule("", "namespaces", &["list", "watch"], None),
            rule("", "limitranges", &["list", "watch"], None),
            rule("", "resourcequotas", &["list", "watch"], None),
            rule(
                "logging.datakits.io",
                "clusterloggingconfigs",
                &["list", "watch"],
                None,
            ),
            rule(
                "logging.datakits.io",
                "clusterloggingconfigs/status",
                &["patch"],
                None,
            ),
        ],
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"ports": [{"name": "https", "port": 443, "targetPort": WEBHOOK}]},
    });
    let mut objects = vec![
        (format!("{core}/secrets"), secret(name)),
        (
            format!("{core}/serviceaccounts"),
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}),
        ),
        (format!("{RBAC}/namespaces/{name}/roles"), role),
        (format!("{RBAC}/clusterroles"), wide),
        (format!("{core}/services"), service),
        (CONFIGURATIONS.to_owned(), registration(name)),
    ];
    objects.extend(bindings(name));
    objects
}

fn bindings(name: &str) -> [(String, Value); 2] {
    let binding = |kind: &str, of: &str, role: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": role},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": of, "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": name}],
        })
    };
    [
        (
            format!("{RBAC}/namespaces/{name}/rolebindings"),
            binding("RoleBinding", "Role", name),
        ),
        (
            format!("{RBAC}/clusterrolebindings"),
            binding("ClusterRoleBinding", "ClusterRole", &format!("e2e-{name}")),
        ),
    ]
}

/// Empty, as it is installed.
fn secret(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("{name}-ca")}, "type": "Opaque",
    })
}

/// Two webhooks, since all of a configuration are looked after. Only the first is ever asked. The
/// time-out is long: the machine that runs the tests may be slow, and a fault of the operator would
/// show all the same.
fn registration(name: &str) -> Value {
    let webhook = |prefix: &str, objects: Value| {
        json!({
            "name": format!("{prefix}.{name}.example"),
            "clientConfig": {
                "service": {"name": name, "namespace": name, "port": 443, "path": "/v1/webhooks/inject"},
            },
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
            "namespaceSelector": {"matchLabels": labels(name)},
            "objectSelector": objects,
            "failurePolicy": "Ignore", "timeoutSeconds": 10, "matchPolicy": "Equivalent",
            "reinvocationPolicy": "IfNeeded", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        })
    };
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": format!("{name}-mutation")},
        "webhooks": [
            webhook("inject", json!({})),
            webhook("unused", json!({"matchLabels": {"unused": "unused"}})),
        ],
    })
}
