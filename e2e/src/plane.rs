//! etcd, the API server and the controllers: one of each for all tests of a run.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::certs::Authority;
use crate::process::{Process, Signal};
use crate::requests::Requests;
use crate::wait;

/// The controllers that tests need. No node-lifecycle: the node of the tests has no kubelet that
/// reports. No pod-garbage-collector: pods stay as they were made.
const CONTROLLERS: &str = "cronjob-controller,daemonset-controller,deployment-controller,job-controller,\
    namespace-controller,replicaset-controller,resourcequota-controller,serviceaccount-controller,\
    statefulset-controller";
/// The administrator's token. The API server listens on loopback for minutes, with data nobody
/// needs.
const TOKEN: &str = "end-to-end-tests";

const NODE_TOKEN: &str = "end-to-end-tests-node";
/// The first address for Services, which is the API server's own.
const FIRST_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

static PLANE: OnceCell<Result<Plane, String>> = OnceCell::const_new();

/// What is there beside a control plane.
#[derive(Clone, Debug)]
pub enum Beside {
    /// Nothing: the one node is an object that says it is ready.
    Nothing,
    /// A kubelet that runs pods, in a network of its own.
    Kubelet {
        /// Where the node and its pods reach the API server.
        address: Ipv4Addr,
        /// What the node is called.
        node: String,
    },
}

/// A running control plane.
#[derive(Debug)]
pub struct Plane {
    directory: PathBuf,
    programs: PathBuf,
    server: String,
    authority: String,
    /// Held for their leashes: they end with this process.
    processes: Vec<Process>,
    api: Mutex<Process>,
    api_arguments: Vec<String>,
}

impl Plane {
    /// The control plane of this test run; the first caller starts it.
    pub async fn get() -> Result<&'static Self> {
        Self::get_beside(&Beside::Nothing).await
    }

    /// The same for whoever may be the first and needs a node beside it. All tests of a run have
    /// the same.
    pub async fn get_beside(beside: &Beside) -> Result<&'static Self> {
        let start = || async {
            let started = Self::start(beside).await;
            started.map_err(|error| format!("{error:#}"))
        };
        let started = PLANE.get_or_init(start).await;
        started
            .as_ref()
            .map_err(|error| anyhow!("no control plane: {error}"))
    }

    /// Where the processes write their logs, and whatever else a test wants to keep for a look
    /// after a failure.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// One of the programs of the control plane.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// The address of the API server.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The certificate of the authority that vouches for the API server, as PEM.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The file with the address and credentials of an administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.join("kubeconfig")
    }

    /// The token of the node.
    #[must_use]
    pub fn node_token() -> &'static str {
        NODE_TOKEN
    }

    async fn start(beside: &Beside) -> Result<Self> {
        let programs = PathBuf::from(
            std::env::var_os("KUBEBUILDER_ASSETS")
                .context("KUBEBUILDER_ASSETS is not set; `e2e/run` sets it and runs the tests")?,
        );
        let directory = fresh_directory(beside)?;
        print_on_panic(&directory);
        let at = |name: &str| directory.join(name).display().to_string();

        let authority = Authority::new()?;
        let accounts = KeyPair::generate()?;
        let (address, api_port, names) = match beside {
            Beside::Nothing => (Ipv4Addr::LOCALHOST, free_port()?, Vec::new()),
            Beside::Kubelet { address, .. } => (*address, 443, vec![*address, FIRST_SERVICE]),
        };
        let serving = authority.server_at("localhost", &names)?;
        let server = format!("https://{address}:{api_port}");
        for (name, content) in [
            ("server.crt", serving.certificate),
            ("server.key", serving.key),
            ("accounts.key", accounts.serialize_pem()),
            ("accounts.pub", accounts.public_key_pem()),
            ("ca.crt", authority.pem()),
            ("tokens.csv", tokens(beside)),
            (
                "kubeconfig",
                kubeconfig(&server, &authority.pem(), &json!({"token": TOKEN})).to_string(),
            ),
        ] {
            std::fs::write(directory.join(name), content)?;
        }

        let (clients, peers) = (local_url(free_port()?), local_url(free_port()?));
        let etcd = Process::start(
            &programs.join("etcd"),
            [
                format!("--data-dir={}", at("etcd")),
                format!("--listen-client-urls={clients}"),
                format!("--advertise-client-urls={clients}"),
                format!("--listen-peer-urls={peers}"),
                format!("--initial-advertise-peer-urls={peers}"),
                format!("--initial-cluster=default={peers}"),
                "--unsafe-no-fsync".to_owned(),
                "--log-level=warn".to_owned(),
            ],
            &[],
            &directory.join("etcd.log"),
        )?;
        let api_arguments: Vec<String> = [
            format!("--etcd-servers={clients}"),
            format!("--secure-port={api_port}"),
            format!("--cert-dir={}", at("certs")),
            format!("--tls-cert-file={}", at("server.crt")),
            format!("--tls-private-key-file={}", at("server.key")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", at("accounts.pub")),
            format!("--service-account-signing-key-file={}", at("accounts.key")),
            "--service-cluster-ip-range=10.96.0.0/24".to_owned(),
            format!("--token-auth-file={}", at("tokens.csv")),
            "--allow-privileged=true".to_owned(),
        ]
        .into_iter()
        .chain(of_surroundings(beside))
        .chain(pooling(&programs.join("kube-apiserver"))?)
        .collect();
        let api = start_api_server(&programs, &directory, &api_arguments)?;
        let mut plane = Self {
            directory: directory.clone(),
            programs,
            server,
            authority: authority.pem(),
            processes: vec![etcd],
            api: Mutex::new(api),
            api_arguments,
        };
        plane.wait_until_ready().await?;
        let controllers = match beside {
            Beside::Nothing => CONTROLLERS,
            Beside::Kubelet { .. } => "*",
        };
        if matches!(beside, Beside::Nothing) {
            make_node(&Requests::by(&plane.kubeconfig()).await?).await?;
        }
        let controllers = Process::start(
            &plane.program("kube-controller-manager"),
            [
                format!("--kubeconfig={}", at("kubeconfig")),
                format!("--controllers={controllers}"),
                format!("--root-ca-file={}", at("ca.crt")),
                "--leader-elect=false".to_owned(),
                "--secure-port=0".to_owned(),
            ],
            &[],
            &directory.join("kube-controller-manager.log"),
        )?;
        plane.processes.push(controllers);
        Ok(plane)
    }

    /// Ends the API server as a power failure does, and starts it again. All who share the control
    /// plane are without one until this returns.
    pub async fn restart_api_server(&self) -> Result<()> {
        {
            let mut api = self.api.lock().map_err(|_| anyhow!("a test panicked"))?;
            api.signal(Signal::Kill)?;
            while api.ended()?.is_none() {
                std::thread::sleep(Duration::from_millis(5));
            }
            *api = start_api_server(&self.programs, &self.directory, &self.api_arguments)?;
        }
        let cluster = Requests::by(&self.kubeconfig()).await?;
        wait::until("the API server again", || async {
            let ready = cluster.text("/readyz").await;
            ready.map_err(|error| error.to_string())
        })
        .await
        .map(drop)
    }

    /// Waits for the API server.
    async fn wait_until_ready(&mut self) -> Result<()> {
        let cluster = Requests::by(&self.kubeconfig()).await?;
        let api = self.api.get_mut().map_err(|_| anyhow!("a test panicked"))?;
        for process in self.processes.iter_mut().chain([api]) {
            if let Some(status) = process.ended()? {
                bail!("{status}: {}", process.output());
            }
        }
        wait::until("the API server", || async {
            let ready = cluster.text("/readyz").await;
            ready.map_err(|error| error.to_string())
        })
        .await
        .map(drop)
    }
}

fn start_api_server(programs: &Path, directory: &Path, arguments: &[String]) -> Result<Process> {
    let log = directory.join("kube-apiserver.log");
    let arguments = arguments.iter().cloned();
    Process::start(&programs.join("kube-apiserver"), arguments, &[], &log)
}

/// Who may ask the API server: an administrator, and the node.
fn tokens(beside: &Beside) -> String {
    let mut tokens = format!("{TOKEN},admin,admin,system:masters\n");
    if let Beside::Kubelet { node, .. } = beside {
        tokens.push_str(&format!(
            "{NODE_TOKEN},system:node:{node},{node},system:nodes\n"
        ));
    }
    tokens
}

fn of_surroundings(beside: &Beside) -> Vec<String> {
    match beside {
        Beside::Nothing => vec![
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            // Webhooks behind a Service are found by its endpoints: there is no kube-proxy.
            "--enable-aggregator-routing=true".to_owned(),
        ],
        Beside::Kubelet { address, .. } => vec![
            format!("--advertise-address={address}"),
            "--authorization-mode=Node,RBAC".to_owned(),
            // Names are for networks that have them.
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
        ],
    }
}

/// Makes the node that DaemonSets need.
async fn make_node(cluster: &Requests) -> Result<()> {
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "node-1", "labels": {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}},
        "spec": {},
    });
    cluster.create("/api/v1/nodes", &node).await?;
    // Admission taints a new node until its kubelet reports; there is none here.
    let untainted = json!({"spec": {"taints": null}});
    cluster.merge("/api/v1/nodes/node-1", &untainted).await?;
    let status = json!({"status": {
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}],
        "allocatable": {"cpu": "64", "memory": "256Gi", "pods": "1000", "ephemeral-storage": "1Ti"},
        "capacity": {"cpu": "64", "memory": "256Gi", "pods": "1000", "ephemeral-storage": "1Ti"},
    }});
    cluster
        .merge("/api/v1/nodes/node-1/status", &status)
        .await?;
    Ok(())
}

/// A port that nobody listens on at this moment.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// The folder that the build writes to, of which test binaries are in `<profile>/deps`.
pub fn target_directory() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(3);
    Ok(target
        .context("the test binary is not in a target directory")?
        .to_owned())
}

fn local_url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// A file for clients of an API server: its address, the authority that vouches for it (PEM), and
/// who the client is.
#[must_use]
pub fn kubeconfig(server: &str, authority: &str, user: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "tests",
        "clusters": [{"name": "tests", "cluster": {"server": server, "certificate-authority-data": BASE64.encode(authority)}}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "user"}}],
    })
}

/// The flag by which connections to webhooks are kept and used again wherever they lead, where that
/// can be chosen. All releases before 1.37 do so, and it is harder on a webhook that goes away.
fn pooling(api_server: &Path) -> Result<Option<String>> {
    let help = Command::new(api_server).arg("--help").output()?.stdout;
    let gate = "WebhookRoundTripLoadBalancing";
    let known = String::from_utf8_lossy(&help).contains(gate);
    Ok(known.then(|| format!("--feature-gates={gate}=false")))
}

/// A new folder for this run, after removing those of runs that have ended.
fn fresh_directory(beside: &Beside) -> Result<PathBuf> {
    let target = target_directory()?;
    let runs = match beside {
        Beside::Nothing => target.join("e2e"),
        // Processes are counted apart from the machine's, and there is one run at a time.
        Beside::Kubelet { .. } => {
            let runs = target.join("e2e-node");
            let _ = std::fs::remove_dir_all(&runs);
            runs
        }
    };
    std::fs::create_dir_all(&runs)?;
    for entry in std::fs::read_dir(&runs)? {
        let entry = entry?;
        if !Path::new("/proc").join(entry.file_name()).exists() {
            // Another run may be doing the same.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let directory = runs.join(std::process::id().to_string());
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// Adds to every panic's message where the logs are. The test harness shows it with the failed
/// test.
#[allow(clippy::print_stderr, reason = "as the default hook does")]
fn print_on_panic(directory: &Path) {
    let directory = directory.display().to_string();
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        previous(panic);
        eprintln!("the logs of all processes are in {directory}");
    }));
}
