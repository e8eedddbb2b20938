//! A Service and the addresses behind it, as the controllers and the nodes of a cluster keep them.
//!
//! The API server of the tests asks webhooks at the endpoints of their Service
//! (`--enable-aggregator-routing`), so names, ports and readiness count as in a cluster. Each
//! replica has an address of its own in 127.0.0.0/8. Endpoint addresses on loopback are refused as
//! addresses, but not where a domain name is expected.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::cluster::{Cluster, is_status};

/// The ready addresses behind a Service.
pub struct Endpoints {
    cluster: Cluster,
    path: String,
    /// Each address, and whether it is ready; also what was last written.
    members: Mutex<BTreeMap<Ipv4Addr, bool>>,
}

impl Endpoints {
    /// Makes the list of endpoints for a Service that is there, each with these ports (`{"name",
    /// "port"}`).
    pub async fn new(
        cluster: &Cluster,
        namespace: &str,
        service: &str,
        ports: &Value,
    ) -> Result<Self> {
        let slices = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": service, "labels": {"kubernetes.io/service-name": service}},
            "addressType": "FQDN", "ports": ports, "endpoints": [],
        });
        match cluster.create(&slices, &slice).await {
            Err(error) if !is_status(&error, 409) => {
                Err(error).with_context(|| format!("failed to create {slice}"))
            }
            _ => Ok(Self {
                cluster: cluster.clone(),
                path: format!("{slices}/{service}"),
                members: Mutex::default(),
            }),
        }
    }

    /// Says whether an address is ready: a ready one gets new connections.
    pub async fn set(&self, address: Ipv4Addr, ready: bool) -> Result<()> {
        let mut members = self.members.lock().await;
        if members.insert(address, ready) == Some(ready) {
            return Ok(());
        }
        self.write(&members).await
    }

    /// Forgets an address.
    pub async fn remove(&self, address: Ipv4Addr) -> Result<()> {
        let mut members = self.members.lock().await;
        if members.remove(&address).is_none() {
            return Ok(());
        }
        self.write(&members).await
    }

    async fn write(&self, members: &BTreeMap<Ipv4Addr, bool>) -> Result<()> {
        let endpoints: Vec<_> = members
            .iter()
            .map(|(address, ready)| json!({"addresses": [address], "conditions": {"ready": ready}}))
            .collect();
        let change = json!({ "endpoints": endpoints });
        let written = self.cluster.merge(&self.path, &change).await;
        written.with_context(|| format!("failed to change {} to {change}", self.path))?;
        Ok(())
    }
}

/// An address of this machine that nothing else in this run listens on.
pub fn address() -> Result<Ipv4Addr> {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let last = NEXT
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| {
            last.checked_add(1)
        })
        .ok()
        .context("this run has used up its addresses")?;
    // Runs on the same machine at the same time stay apart by their process ids. 127.0.x.y is left
    // to everybody else.
    let [.., high, low] = std::process::id().to_be_bytes();
    Ok(Ipv4Addr::new(127, high | 0x80, low, last))
}
