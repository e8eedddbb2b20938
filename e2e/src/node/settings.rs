//! How the programs of a node are started. `e2e/node/README.md` says why each setting is what it
//! is.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::network::PODS;
use super::{ADDRESS, NAME, SOCKET, images};
use crate::plane::Plane;
use crate::process::Process;

/// The control group of containers, as it is called where there are no others.
pub(super) const GROUP: &str = ":/k8s.io/";

pub(super) fn containerd(plane: &Plane, programs: &Path) -> Result<Process> {
    let directory = plane.directory();
    let root = directory.join("containerd");
    let networks = directory.join("networks");
    std::fs::create_dir_all(&networks)?;
    let network = json!({
        "cniVersion": "1.0.0", "name": "node",
        "plugins": [{
            "type": "ptp",
            "ipam": {
                "type": "host-local", "dataDir": "/run/cni-addresses",
                "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    });
    std::fs::write(networks.join("node.conflist"), network.to_string())?;
    let config = format!(
        r#"version = 3
root = '{root}'
state = '/run/containerd'
[grpc]
address = '{SOCKET}'
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['{plugins}']
conf_dir = '{networks}'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = '{pause}'
"#,
        root = root.display(),
        plugins = programs.join("cni").display(),
        networks = networks.display(),
        pause = images::PAUSE,
    );
    let file = directory.join("containerd.toml");
    std::fs::write(&file, config)?;
    // It looks for its shim there.
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", programs.display());
    let args = [format!("--config={}", file.display())];
    let variables = [("PATH".to_owned(), path)];
    let log = directory.join("containerd.log");
    Process::start(&programs.join("containerd"), args, &variables, &log)
}

pub(super) fn kubelet(plane: &Plane, programs: &Path) -> Result<Process> {
    let directory = plane.directory();
    let names = directory.join("resolv.conf");
    // Nobody answers there, and so at once.
    std::fs::write(&names, "nameserver 127.0.0.1\n")?;
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        "cgroupDriver": "cgroupfs", "cgroupsPerQOS": false,
        "enforceNodeAllocatable": [], "failCgroupV1": false,
        "failSwapOn": false, "localStorageCapacityIsolation": false,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "makeIPTablesUtilChains": false,
        "podLogsDir": directory.join("pods"), "resolvConf": names,
    });
    start(
        "kubelet",
        plane,
        programs,
        &config,
        &[
            format!(
                "--kubeconfig={}",
                directory.join("node.kubeconfig").display()
            ),
            format!("--hostname-override={NAME}"),
            format!("--node-ip={ADDRESS}"),
            format!("--root-dir={}", directory.join("kubelet").display()),
            format!(
                "--cert-dir={}",
                directory.join("kubelet-certificates").display()
            ),
        ],
    )
}

pub(super) fn proxy(plane: &Plane, programs: &Path) -> Result<Process> {
    let config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": plane.kubeconfig()},
        "mode": "nftables", "clusterCIDR": PODS, "hostnameOverride": NAME,
        // What concerns the whole machine stays as it is.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpCloseWaitTimeout": "0s", "tcpEstablishedTimeout": "0s"},
    });
    start("kube-proxy", plane, programs, &config, &[])
}

pub(super) fn scheduler(plane: &Plane, programs: &Path) -> Result<Process> {
    let config = json!({
        "apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": plane.kubeconfig()},
        "leaderElection": {"leaderElect": false},
    });
    start(
        "kube-scheduler",
        plane,
        programs,
        &config,
        &["--secure-port=0".to_owned()],
    )
}

/// Starts a program of Kubernetes with a file of its settings.
fn start(
    name: &str,
    plane: &Plane,
    programs: &Path,
    config: &Value,
    further: &[String],
) -> Result<Process> {
    let directory = plane.directory();
    let file = directory.join(format!("{name}.json"));
    std::fs::write(&file, config.to_string())?;
    let args = [format!("--config={}", file.display())];
    let args = args.iter().chain(further);
    let log = directory.join(format!("{name}.log"));
    Process::start(&programs.join(name), args, &[], &log)
}
