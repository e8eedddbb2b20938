//! What the log sidecar reports to.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use serde_json::Value;

use crate::node::PATIENCE;
use crate::wait;

/// A running collector. Its threads end with this process.
#[derive(Clone, Debug)]
pub struct Collector {
    port: u16,
    reports: Arc<Mutex<Vec<Value>>>,
}

impl Collector {
    /// Starts one on any port, for all of this network.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let collector = Self {
            port: listener.local_addr()?.port(),
            reports: Arc::default(),
        };
        let reports = Arc::clone(&collector.reports);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let reports = Arc::clone(&reports);
                std::thread::spawn(move || {
                    for line in BufReader::new(connection).lines().map_while(Result::ok) {
                        if let Ok(report) = serde_json::from_str(&line) {
                            let mut reports =
                                reports.lock().unwrap_or_else(PoisonError::into_inner);
                            reports.push(report);
                        }
                    }
                });
            }
        });
        Ok(collector)
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// All that was reported so far.
    #[must_use]
    pub fn reports(&self) -> Vec<Value> {
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.clone()
    }

    /// Waits for this line, and returns its report.
    pub async fn until(&self, line: &str) -> Result<Value> {
        wait::until_within(PATIENCE, &format!("the line `{line}`"), || async {
            let reports = self.reports();
            match reports.iter().find(|report| report["line"] == line) {
                Some(report) => Ok(report.clone()),
                None => Err(format!("{reports:?}")),
            }
        })
        .await
    }
}
