//! The network of a node: a bridge with the node's address, and the way to Services.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Result, bail};

use super::run;

/// Pods of the node have addresses of this network.
pub(super) const PODS: &str = "10.88.1.0/24";
/// Services have addresses of this one. kube-proxy sends them elsewhere, but only what has a way to
/// go.
const SERVICES: &str = "10.96.0.0/16";
const BRIDGE: &str = "node0";

/// Makes it. Refuses to where there is a network already, since that would be the machine's own.
pub(super) fn make(address: Ipv4Addr) -> Result<()> {
    let ip = |args: &str| {
        let args: Vec<_> = args.split(' ').collect();
        run(Path::new("ip"), &args)
    };
    let ways = ip("route show")?;
    if !ways.is_empty() {
        bail!(
            "expected a network namespace without any route, found `{}`; run `e2e/run node::`",
            ways.trim()
        );
    }
    ip(&format!("link add name {BRIDGE} type bridge"))?;
    ip(&format!("address add {address}/24 dev {BRIDGE}"))?;
    ip(&format!("link set {BRIDGE} up"))?;
    ip(&format!("route add {SERVICES} dev {BRIDGE}"))?;
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    Ok(())
}
