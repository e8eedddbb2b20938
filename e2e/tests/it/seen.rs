//! Watching the certificates of several replicas.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use datakit_operator_e2e::connection::{Connection, assert_pair, certificates};
use datakit_operator_e2e::installation::{Installation, Member};
use datakit_operator_e2e::wait;

/// How often they are looked at while something goes on.
const GLANCE: Duration = Duration::from_millis(200);

/// What could be seen of several replicas in the course of time.
pub(crate) struct Seen<'a> {
    installation: &'a Installation,
    pub(crate) members: &'a [Member],
    /// The certificates of each replica.
    pub(crate) leaves: Vec<BTreeSet<Vec<u8>>>,
    /// Each authority that was registered, and how many are now.
    pub(crate) authorities: BTreeSet<Vec<u8>>,
    pub(crate) registered: usize,
    /// Whether two authorities were registered at once.
    pub(crate) overlap: bool,
    /// A connection to each replica from the beginning.
    connections: Vec<Connection>,
}

impl<'a> Seen<'a> {
    pub(crate) async fn of(installation: &'a Installation, members: &'a [Member]) -> Result<Self> {
        let bundle = installation.bundle().await?;
        let connections: Result<_> = members
            .iter()
            .map(|member| installation.connect(member, &bundle))
            .collect();
        Ok(Self {
            installation,
            members,
            leaves: vec![BTreeSet::new(); members.len()],
            authorities: BTreeSet::new(),
            registered: 0,
            overlap: false,
            connections: connections?,
        })
    }

    /// Looks at everything now. A certificate that the registered authorities don't vouch for, a
    /// lost connection and a replica that isn't ready are faults at any time.
    pub(crate) async fn glance(&mut self) -> Result<()> {
        let bundle = self.installation.bundle().await?;
        let registered = certificates(&bundle)?;
        self.registered = registered.len();
        self.overlap |= registered.len() > 1;
        self.authorities
            .extend(registered.iter().map(|authority| authority.to_vec()));
        for (member, seen) in self.members.iter().zip(&mut self.leaves) {
            let name = member.replica.name();
            let connection = self.installation.connect(member, &bundle);
            let connection = connection
                .with_context(|| format!("{name} is not trusted by the registered\n{bundle}"))?;
            seen.insert(connection.certificate()?);
            let ready = member.replica.ready().await;
            ensure!(ready.is_ok(), "{name} is not ready: {ready:?}");
        }
        for connection in &mut self.connections {
            connection.review().context("a connection was lost")?;
        }
        Ok(())
    }

    /// Looks again and again until something is the case.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        done: impl AsyncFn(&Self) -> Result<(), String>,
    ) -> Result<()> {
        let start = Instant::now();
        loop {
            self.glance().await.with_context(|| what.to_owned())?;
            match done(self).await {
                Ok(()) => return Ok(()),
                Err(missing) if start.elapsed() > wait::LIMIT => {
                    bail!("waited {:?} for {what}: {missing}", wait::LIMIT)
                }
                Err(_) => tokio::time::sleep(GLANCE).await,
            }
        }
    }
}

/// Fails unless the stored authority is whole, registered, and the one by which all replicas are
/// known.
pub(crate) async fn is_in_use(installation: &Installation, members: &[Member]) -> Result<()> {
    let stored = installation.stored().await?;
    assert_pair(&stored.certificate, &stored.key)?;
    let registered = certificates(&installation.bundle().await?)?;
    let newest = certificates(&stored.certificate)?;
    ensure!(
        registered.first() == newest.first(),
        "what is stored is not what is registered"
    );
    for member in members {
        installation.connect(member, &stored.certificate)?;
    }
    Ok(())
}
