//! A whole Kubernetes node: pods that are scheduled run in containers, and Services lead to them.
//!
//! It needs the namespaces that `e2e/node/enter` makes, and stays within them. Everything is at the
//! usual places of a node where only this run sees them, else in the folder of the run.

pub mod images;
mod network;
mod pods;
mod remains;
mod settings;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;
use tokio::sync::{Mutex, OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::cluster::{Cluster, refusal};
use crate::image::Image;
use crate::plane::{Beside, Plane, kubeconfig};
use crate::process::{Process, Signal};
use crate::wait;

pub use images::Contents;
pub use pods::{PATIENCE, Pod};

/// What the node is called.
pub const NAME: &str = "node-1";
/// The node's address, at which pods also find servers of the tests.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);
/// Where the runtime listens. The folder is this run's alone.
const SOCKET: &str = "/run/containerd/containerd.sock";

static NODE: OnceCell<Result<Node, String>> = OnceCell::const_new();

/// A running node.
#[derive(Debug)]
pub struct Node {
    plane: &'static Plane,
    programs: PathBuf,
    contents: Contents,
    /// References of the images that the runtime has.
    images: Mutex<BTreeSet<String>>,
    parts: Mutex<Parts>,
    /// Held for reading by who needs a node that stays as it is, and for writing by who disturbs
    /// it.
    peace: RwLock<()>,
}

/// The node's programs. They end with this process.
#[derive(Debug)]
struct Parts {
    kubelet: Process,
    containerd: Process,
    /// Held for their leashes.
    _others: [Process; 2],
}

impl Node {
    /// The node of this test run; the first caller starts it, and the control plane.
    pub async fn get() -> Result<&'static Self> {
        let start = || async { Self::start().await.map_err(|error| format!("{error:#}")) };
        let started = NODE.get_or_init(start).await;
        started
            .as_ref()
            .map_err(|error| anyhow!("no node: {error}"))
    }

    /// Keeps the node from being disturbed.
    pub async fn peace(&self) -> RwLockReadGuard<'_, ()> {
        self.peace.read().await
    }

    /// Waits until nobody needs peace, and lets nobody else begin.
    pub async fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.peace.write().await
    }

    /// The control plane.
    #[must_use]
    pub fn plane(&self) -> &'static Plane {
        self.plane
    }

    /// What images can be made from.
    #[must_use]
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Gives an image to the runtime, unless it has one of that name.
    pub async fn import(&self, image: &Image) -> Result<()> {
        let mut images = self.images.lock().await;
        if images.contains(image.reference()) {
            return Ok(());
        }
        let name = image.reference().replace(['/', ':'], "-");
        let archive = self.plane.directory().join(format!("{name}.tar"));
        image.write(&archive)?;
        self.import_archive(&archive)?;
        std::fs::remove_file(archive)?;
        images.insert(image.reference().to_owned());
        Ok(())
    }

    /// Gives an archive to the runtime, whatever is in it.
    pub fn import_archive(&self, archive: &Path) -> Result<()> {
        let file = archive.display().to_string();
        let args = [
            "--address",
            SOCKET,
            "--namespace=k8s.io",
            "images",
            "import",
            &file,
        ];
        self.runtime("ctr", &args)
            .with_context(|| format!("failed to import `{file}`"))
            .map(drop)
    }

    /// Ends the kubelet without asking, and starts it again. Containers run on.
    pub async fn restart_kubelet(&self) -> Result<()> {
        let mut parts = self.parts.lock().await;
        end(&mut parts.kubelet).await?;
        parts.kubelet = settings::kubelet(self.plane, &self.programs)?;
        Ok(())
    }

    /// Ends the node as a power failure does, with all that runs on it, and starts it again. What
    /// was in memory is gone.
    pub async fn restart(&self) -> Result<()> {
        let mut parts = self.parts.lock().await;
        end(&mut parts.kubelet).await?;
        end(&mut parts.containerd).await?;
        remains::clear(self.plane.directory())?;
        parts.containerd = settings::containerd(self.plane, &self.programs)?;
        self.until_runtime().await?;
        parts.kubelet = settings::kubelet(self.plane, &self.programs)?;
        Ok(())
    }

    async fn until_runtime(&self) -> Result<()> {
        until_runtime(&self.programs).await
    }

    /// Runs a client of the runtime and returns what it prints.
    pub fn runtime(&self, client: &str, args: &[&str]) -> Result<String> {
        run(&self.programs.join(client), args)
    }

    async fn start() -> Result<Self> {
        let begin = Instant::now();
        let programs = std::env::var_os("E2E_NODE").map(PathBuf::from).context(
            "E2E_NODE is not set; `e2e/run node::` sets it and runs these tests where they can run",
        )?;
        let contents = Contents::new()?;
        network::make(ADDRESS)?;
        let beside = Beside::Kubelet {
            address: ADDRESS,
            node: NAME.to_owned(),
        };
        let plane = Plane::get_beside(&beside).await?;
        let user = json!({"token": Plane::node_token()});
        let access = kubeconfig(plane.server(), plane.authority(), &user);
        std::fs::write(
            plane.directory().join("node.kubeconfig"),
            access.to_string(),
        )?;
        let containerd = settings::containerd(plane, &programs)?;
        until_runtime(&programs).await?;
        let parts = Parts {
            kubelet: settings::kubelet(plane, &programs)?,
            containerd,
            _others: [
                settings::proxy(plane, &programs)?,
                settings::scheduler(plane, &programs)?,
            ],
        };
        let node = Self {
            plane,
            programs,
            contents,
            images: Mutex::default(),
            parts: Mutex::new(parts),
            peace: RwLock::default(),
        };
        node.import(&node.contents.pause()).await?;
        node.until_ready().await?;
        say(&format!("the node is ready after {:.1?}", begin.elapsed()));
        Ok(node)
    }

    /// Waits until the node says that it is ready.
    pub async fn until_ready(&self) -> Result<()> {
        let cluster = Cluster::of(self.plane).await?;
        wait::until("the node", || async {
            let node = cluster.get(&format!("/api/v1/nodes/{NAME}")).await;
            let node = node.map_err(|error| refusal(&error))?;
            let conditions = node["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            match conditions.find(|condition| condition["type"] == "Ready") {
                Some(ready) if ready["status"] == "True" => Ok(()),
                Some(other) => Err(other["message"].to_string()),
                None => Err("its kubelet has not reported".to_owned()),
            }
        })
        .await
    }
}

async fn until_runtime(programs: &Path) -> Result<()> {
    let version = ["--address", SOCKET, "version"];
    wait::until("the runtime", || async {
        let said = run(&programs.join("ctr"), &version);
        said.map(drop).map_err(|error| format!("{error:#}"))
    })
    .await
}

async fn end(process: &mut Process) -> Result<()> {
    process.signal(Signal::Kill)?;
    while process.ended()?.is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Tells whoever watches the tests how long something took.
#[allow(clippy::print_stdout, reason = "the documentation is written from it")]
pub fn say(text: &str) {
    println!("{text}");
}

fn run(program: &Path, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output();
    let output = output.with_context(|| format!("failed to start `{}`", program.display()))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!(
            "`{} {}` ended with {}: {printed}{}",
            program.display(),
            args.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(printed)
}
