//! Replicas and agents.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use datakit_operator_e2e::agents::{self, Agent, Nothing, Settings};
use datakit_operator_e2e::cable::Cable;
use datakit_operator_e2e::caller::Balancer;
use datakit_operator_e2e::cluster::Cluster;
use datakit_operator_e2e::installation::{Installation, Member};
use datakit_operator_e2e::referee::{Offers, Polled, Referee};
use datakit_operator_e2e::replica::WEBHOOK;

/// A tenth of what it really is.
pub(super) const INTERVAL: Duration =
    Duration::from_millis(agents::INTERVAL.as_millis() as u64 / 10);
/// `--agent-timeout`: more polls than usual, since this machine does many things at the same time.
pub(super) const TIMEOUT: Duration = Duration::from_secs(3);
/// `--election-listening`.
pub(super) const LISTENING: Duration = Duration::from_secs(3);
/// `--lease-duration`.
pub(super) const LEASE: Duration = Duration::from_secs(2);
/// What anything may take longer than it should on a machine that is busy.
const SLACK: Duration = Duration::from_secs(2);

/// An installation with agents.
pub(super) struct Town {
    pub(super) installation: Installation,
    pub(super) members: Vec<Member>,
    /// Each replica's way to the API server.
    pub(super) cables: BTreeMap<String, Cable>,
    pub(super) referee: Arc<Referee>,
    pub(super) agents: BTreeMap<String, Agent>,
    balancer: Arc<Balancer>,
    server: SocketAddr,
}

impl Town {
    /// Three replicas that are ready, and no agents.
    pub(super) async fn found(cluster: &Cluster, name: &str) -> Result<Self> {
        let flags = [
            format!("--lease-duration={}s", LEASE.as_secs()),
            format!("--agent-timeout={}s", TIMEOUT.as_secs()),
            format!("--election-listening={}s", LISTENING.as_secs()),
        ];
        let flags = flags.each_ref().map(String::as_str);
        let mut town = Self {
            installation: Installation::new(cluster, name, &flags).await?,
            members: Vec::new(),
            cables: BTreeMap::new(),
            referee: Arc::default(),
            agents: BTreeMap::new(),
            balancer: Arc::default(),
            server: cluster
                .plane()
                .server()
                .trim_start_matches("https://")
                .parse()?,
        };
        for _ in 0..3 {
            town.launch().await?;
        }
        for member in &mut town.members {
            member.replica.until_ready().await?;
        }
        town.route();
        Ok(town)
    }

    /// One more replica, which is ready then.
    pub(super) async fn start_replica(&mut self) -> Result<()> {
        self.launch().await?;
        if let Some(member) = self.members.last_mut() {
            member.replica.until_ready().await?;
        }
        self.route();
        Ok(())
    }

    async fn launch(&mut self) -> Result<()> {
        // A name is never used again.
        let name = format!("pod-{}", self.cables.len());
        let cable = Cable::to(self.server).await?;
        let server = format!("https://127.0.0.1:{}", cable.port());
        self.cables.insert(name.clone(), cable);
        self.members
            .push(self.installation.start_by(&name, &server).await?);
        Ok(())
    }

    /// New connections of agents go to the present replicas from now on.
    pub(super) fn route(&self) {
        let members = self.members.iter();
        let servers = members.map(|member| (member.replica.address(), WEBHOOK).into());
        self.balancer.set(servers);
    }

    /// Makes the agents connect anew, and waits until each replica has some.
    pub(super) async fn spread(&self) -> Result<()> {
        self.route();
        for agent in self.agents.values() {
            agent.disconnect();
        }
        let since = Instant::now();
        let all: Vec<_> = self.agents.keys().cloned().collect();
        self.until_answered(&all, since, 2).await?;
        for member in &self.members {
            let polls = self.referee.polls(since);
            let here = polls.iter().filter(|poll| match poll.answer {
                Ok((server, _)) => server.ip() == member.replica.address(),
                Err(_) => false,
            });
            let count = here.count();
            ensure!(
                count >= 10,
                "{count} answers from {}",
                member.replica.name()
            );
        }
        Ok(())
    }

    /// Takes a replica out of the list.
    pub(super) fn take(&mut self, name: &str) -> Member {
        let mut members = self.members.iter();
        let found = members.position(|member| member.replica.name() == name);
        self.members
            .remove(found.unwrap_or_else(|| panic!("no replica is called {name}")))
    }

    /// Starts agents.
    pub(super) fn start_agents(&mut self, all: &[Settings]) -> Result<()> {
        for settings in all {
            let agent = Agent::start(settings, &self.balancer, &self.referee)?;
            self.agents.insert(settings.id.clone(), agent);
        }
        Ok(())
    }

    /// Waits until all that living agents offer runs on one of them; returns how long that took.
    pub(super) async fn until_complete(&self, since: Instant, bound: Duration) -> Result<Duration> {
        loop {
            self.referee.check()?;
            let missing = self.referee.missing();
            let took = since.elapsed();
            if missing.is_empty() {
                return Ok(took);
            }
            ensure!(
                took < bound + SLACK,
                "after {took:?}, nobody runs {missing:?}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until each of these agents was told what it may run this many times.
    pub(super) async fn until_answered(
        &self,
        ids: &[String],
        since: Instant,
        times: usize,
    ) -> Result<()> {
        let told = |poll: &Polled| matches!(poll.answer, Ok((_, 200)));
        self.until_counted(ids, since, times, told).await
    }

    /// Waits until every agent has polled this many times, whatever came of it.
    pub(super) async fn until_polled(&self, since: Instant, times: usize) -> Result<()> {
        let all: Vec<_> = self.agents.keys().cloned().collect();
        self.until_counted(&all, since, times, |_| true).await
    }

    async fn until_counted(
        &self,
        ids: &[String],
        since: Instant,
        times: usize,
        counts: impl Fn(&Polled) -> bool,
    ) -> Result<()> {
        let bound = LISTENING + INTERVAL * u32::try_from(times)? + 3 * SLACK;
        loop {
            self.referee.check()?;
            let mut found: BTreeMap<&str, usize> = ids.iter().map(|id| (&**id, 0)).collect();
            let polls = self.referee.polls(since);
            for poll in polls.iter().filter(|poll| counts(poll)) {
                if let Some(count) = found.get_mut(poll.life.agent()) {
                    *count += 1;
                }
            }
            let Some((agent, count)) = found.into_iter().find(|(_, count)| *count < times) else {
                return Ok(());
            };
            let last = polls.iter().rfind(|poll| poll.life.agent() == agent);
            ensure!(
                since.elapsed() < bound,
                "{agent} has {count} of {times} answers; the last: {last:?}"
            );
            tokio::time::sleep(INTERVAL / 4).await;
        }
    }
}

impl std::fmt::Debug for Town {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Town")
            .field("agents", &self.agents)
            .finish_non_exhaustive()
    }
}

/// Fifty agents: most of one DaemonSet, some of another that has part of the same and something of
/// its own, three that want the same one input, one that has its input for itself, and two that are
/// not configured yet.
pub(super) fn settings() -> Vec<Settings> {
    const SCORES: [u32; 8] = [1, 1, 2, 3, 5, 8, 2, 1];
    let list = |prefix: &str, count: usize| -> Offers {
        let inputs = (0..count).zip(SCORES.into_iter().cycle());
        inputs
            .map(|(number, score)| (format!("{prefix}-{number:03}"), score))
            .collect()
    };
    let single = |name: &str| Offers::from([(name.to_owned(), 4)]);
    let mut other = list("common", 20);
    other.extend(list("other", 5));
    let kinds = [
        ("node", 38, list("common", 120), Nothing::List),
        ("other", 6, other, Nothing::Null),
        ("solo", 3, single("solo"), Nothing::Null),
        ("own", 1, single("own"), Nothing::Absent),
        ("bare", 2, Offers::new(), Nothing::Null),
    ];
    let mut all = Vec::new();
    for (kind, count, offers, nothing) in kinds {
        for number in 0..count {
            let id = match count {
                38 => format!("{kind}-{number:02}"),
                _ => format!("{kind}-{number}"),
            };
            all.push(Settings {
                id,
                offers: offers.clone(),
                interval: INTERVAL,
                nothing,
            });
        }
    }
    all
}
