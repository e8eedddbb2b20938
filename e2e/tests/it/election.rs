//! Task election: fifty agents and three replicas, and whatever may happen to them.
//!
//! Agents poll ten times as often as real ones, so that nothing takes long; the operator's
//! time-outs are shortened, too.

mod files;
mod leaders;
mod tokens;
mod town;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use datakit_operator_e2e::agents::{Agent, Settings};
use datakit_operator_e2e::caller::Balancer;
use datakit_operator_e2e::cluster::Cluster;
use datakit_operator_e2e::installation::Installation;
use datakit_operator_e2e::process::Signal;
use datakit_operator_e2e::referee::Referee;
use datakit_operator_e2e::replica::WEBHOOK;
use datakit_operator_e2e::wait;

use town::{INTERVAL, LEASE, LISTENING, TIMEOUT, Town, settings};
use watch::Watch;

/// From an answer that names an input until it runs: the agent's next poll, and three more.
const START: Duration = INTERVAL.saturating_mul(4);

/// What happens to the replica that decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// SIGKILL.
    Killed,
    /// It doesn't reach the API server any more. Agents and other replicas reach it.
    CutOff,
    /// It is stopped, until another one decides.
    Frozen,
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn no_input_runs_twice_whoever_dies() -> Result<()> {
    let mut town = populated("election-deaths").await?;
    assert_balanced(&town.referee);
    agents_die_and_come_back(&mut town).await?;
    for blow in [Blow::Killed, Blow::Frozen] {
        strike(&mut town, blow).await?;
    }
    finished(&town).await
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn no_input_runs_twice_whoever_is_cut_off() -> Result<()> {
    let mut town = populated("election-cuts").await?;
    strike(&mut town, Blow::CutOff).await?;
    a_follower_is_cut_off(&town).await?;
    finished(&town).await
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn no_input_runs_twice_while_replicas_are_replaced() -> Result<()> {
    let mut town = populated("election-rolls").await?;
    roll(&mut town).await?;
    finished(&town).await
}

/// Three replicas and fifty agents, of which every input is collected.
async fn populated(name: &str) -> Result<Town> {
    let cluster = Cluster::connect().await?;
    let mut town = Town::found(&cluster, name).await?;
    let begun = Instant::now();
    let (late, all): (Vec<_>, Vec<_>) = settings()
        .into_iter()
        .partition(|settings| settings.id == "solo-0");
    town.start_agents(&all)?;
    // The list of the first agent to come changes until the last one has come.
    let took = town.until_complete(begun, LISTENING + 2 * START).await?;
    println!("{name}: everything runs after {took:.2?}");
    // What it offers is taken.
    town.start_agents(&late)?;
    assert_tables(&town).await?;
    Ok(town)
}

/// Everything runs, and the operator says the same.
async fn finished(town: &Town) -> Result<()> {
    assert!(town.referee.missing().is_empty());
    assert_tables(town).await?;
    let holder = town.installation.holder().await?;
    for member in &town.members {
        let text = watch::text((member.replica.address(), WEBHOOK).into()).await?;
        assert!(text.starts_with("AGENT "), "{text}");
        assert!(
            text.contains(&format!("holder: {holder}, deciding")),
            "{text}"
        );
        let moves = "datakit_operator_election_moves_total";
        let moved = member.replica.metric(moves, &[r#"="active""#]).await?;
        assert!(
            moved.abs() < f64::EPSILON,
            "{moved} moves of running inputs"
        );
    }
    town.referee.check()
}

/// The checks above would notice if two decided.
#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn two_that_know_nothing_of_each_other_are_noticed() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let installation = Installation::new(&cluster, "two-minds", &[]).await?;
    let args = [
        "serve",
        "--log-format=json",
        "--tls-source=ephemeral",
        "--election-listening=0s",
    ];
    let args = args.map(str::to_owned);
    let mut members = Vec::new();
    for pod in ["one", "two"] {
        let mut member = installation.start_alone(pod, &args)?;
        member.replica.until_ready().await?;
        members.push(member);
    }
    let balancer = Arc::new(Balancer::default());
    balancer.set(
        members
            .iter()
            .map(|member| (member.replica.address(), WEBHOOK).into()),
    );
    let referee = Arc::new(Referee::default());
    let agents: Result<Vec<_>> = settings()[..12]
        .iter()
        .map(|settings| Agent::start(settings, &balancer, &referee))
        .collect();
    let _agents = agents?;
    for what in [" and so was ", " runs on "] {
        wait::until("a foul", || async {
            match referee.fouls().iter().any(|foul| foul.contains(what)) {
                true => Ok(()),
                false => Err(format!("no foul says `{what}`")),
            }
        })
        .await?;
    }
    assert!(referee.check().is_err());
    Ok(())
}

/// Ten agents die: their inputs run elsewhere in time, and the others' run where they ran. Nothing
/// is moved when they come back.
async fn agents_die_and_come_back(town: &mut Town) -> Result<()> {
    let before = town.referee.running();
    let mut dying: Vec<String> = (0..7).map(|number| format!("node-{number:02}")).collect();
    dying.extend(["other-0", "other-1"].map(str::to_owned));
    dying.push(before["solo"].clone());
    let died = Instant::now();
    town.agents.retain(|id, _| !dying.contains(id));
    let orphans = before
        .values()
        .filter(|agent| dying.contains(agent))
        .count();
    ensure!(orphans > 10, "only {orphans} inputs ran on {dying:?}");
    let took = town.until_complete(died, TIMEOUT + START).await?;
    println!("{orphans} inputs of ten dead agents run elsewhere after {took:.2?}");
    let after = town.referee.running();
    assert_stayed(&before, &after, |agent| !dying.contains(agent));

    let back = settings()
        .into_iter()
        .filter(|settings| dying.contains(&settings.id));
    let since = Instant::now();
    town.start_agents(&back.collect::<Vec<_>>())?;
    // More answers than an agent needs to start something.
    town.until_answered(&dying, since, 6).await?;
    assert_eq!(town.referee.running(), after);
    town.referee.check()
}

/// The replica that decides goes, and an agent dies at the same time.
async fn strike(town: &mut Town, blow: Blow) -> Result<()> {
    town.spread().await?;
    let before = town.referee.running();
    let holder = town.installation.holder().await?;
    let watch = Watch::start(&town.members)?;
    watch.until_decided_by(|name| name == holder).await?;

    let busy = before.values().find(|agent| agent.starts_with("node-"));
    let victim = busy.unwrap().clone();
    let begun = Instant::now();
    town.agents.remove(&victim);
    let fallen = match blow {
        Blow::Killed => {
            // Connections still go where it was, until another one has taken over.
            town.take(&holder).kill().await?;
            None
        }
        Blow::CutOff => {
            town.cables[&holder].cut();
            None
        }
        Blow::Frozen => {
            let mut frozen = town.take(&holder);
            frozen.replica.signal(Signal::Stop)?;
            Some(frozen)
        }
    };
    watch.until_decided_by(|name| name != holder).await?;
    if let Some(mut frozen) = fallen {
        frozen.replica.signal(Signal::Continue)?;
        town.members.push(frozen);
    }
    town.route();
    let bound = LEASE + LISTENING + TIMEOUT + START;
    let took = town.until_complete(begun, bound).await?;
    let failover = watch.finish(&holder, begun)?;
    let polls = town.referee.polls(begun);
    match blow {
        Blow::Frozen => {
            let hung = polls
                .iter()
                .any(|poll| poll.answered - poll.asked > LEASE / 2);
            assert!(hung, "nobody waited for the frozen replica");
        }
        _ => {
            let unanswered = polls
                .iter()
                .any(|poll| !matches!(poll.answer, Ok((_, 200))));
            assert!(unanswered, "nobody noticed that the replica was gone");
        }
    }
    let after = town.referee.running();
    assert_stayed(&before, &after, |agent| *agent != victim);

    match blow {
        Blow::Killed => town.start_replica().await?,
        Blow::CutOff => town.cables[&holder].mend(),
        Blow::Frozen => {}
    }
    let since = Instant::now();
    let back = settings()
        .into_iter()
        .filter(|settings| settings.id == victim);
    town.start_agents(&back.collect::<Vec<_>>())?;
    // Also through the one that was gone.
    assert_tables(town).await?;
    town.until_answered(&[victim], since, 6).await?;
    assert_eq!(town.referee.running(), after);
    println!("{blow:?}: {failover}; what a dead agent ran runs elsewhere after {took:.2?}");
    town.referee.check()
}

/// A replica that doesn't decide can't reach the API server, for longer than an agent may be
/// silent. Agents stay with it.
async fn a_follower_is_cut_off(town: &Town) -> Result<()> {
    town.spread().await?;
    let before = town.referee.running();
    let holder = town.installation.holder().await?;
    let mut names = town.cables.keys().filter(|name| {
        let mut members = town.members.iter();
        **name != holder && members.any(|member| member.replica.name() == *name)
    });
    let follower = names.next().unwrap();
    let since = Instant::now();
    town.cables[follower].cut();
    let polls = (LEASE + TIMEOUT + LEASE).as_millis() / INTERVAL.as_millis();
    town.until_polled(since, usize::try_from(polls)?).await?;
    assert_eq!(town.referee.running(), before);
    let mut members = town.members.iter();
    let member = members.find(|member| member.replica.name() == follower);
    let errors = "datakit_operator_cluster_errors_total";
    let lease = [r#"operation="lease""#];
    let failed = member.unwrap().replica.metric(errors, &lease).await?;
    assert!(failed > 0.0, "{follower} can read the Lease");
    town.cables[follower].mend();
    assert_tables(town).await
}

/// Every replica is replaced by a new one, beginning with two that decide, the second before it has
/// listened long enough. One agent runs everything that it offers. Others that offer the same are
/// started meanwhile, and so say the same as it does.
async fn roll(town: &mut Town) -> Result<()> {
    let before = town.referee.running();
    let mut old = Vec::new();
    old.extend(
        town.members
            .iter()
            .map(|member| member.replica.name().to_owned()),
    );
    let begun = Instant::now();
    let mut changes = 0;
    while changes < 2 || !old.is_empty() {
        town.start_replica().await?;
        let holder = town.installation.holder().await?;
        let watch = Watch::start(&town.members)?;
        watch.until_decided_by(|name| *name == holder).await?;
        let name = match old.first() {
            Some(next) if changes >= 2 => next.clone(),
            _ => holder.clone(),
        };
        old.retain(|other| *other != name);
        let mut leaving = town.take(&name);
        town.route();
        leaving.retire().await?;
        let event = Instant::now();
        leaving.replica.signal(Signal::Terminate)?;
        assert_eq!(leaving.replica.until_ended().await?, Some(0));
        // Nobody has to wait until the Lease runs out: it is given back before the process ends.
        assert_ne!(town.installation.holder().await?, name);
        if name != holder {
            continue;
        }
        watch.until_decided_by(|name| *name != holder).await?;
        let failover = watch.finish(&holder, event)?;
        changes += 1;
        println!("rolled: {failover}");
        let idle =
            |settings: &Settings| settings.id.starts_with("solo-") && settings.id != before["solo"];
        let idle: Vec<_> = settings().into_iter().filter(idle).collect();
        town.agents
            .retain(|id, _| idle.iter().all(|settings| settings.id != *id));
        town.start_agents(&idle)?;
    }
    let watch = Watch::start(&town.members)?;
    watch.until_deciding(|_| true).await?;
    println!(
        "all replicas replaced, and inputs given out again, after {:.2?}",
        begun.elapsed()
    );
    let agents: Vec<_> = town.agents.keys().cloned().collect();
    town.until_answered(&agents, Instant::now(), 6).await?;
    assert_eq!(town.referee.running(), before);
    assert!(town.referee.missing().is_empty());
    town.referee.check()
}

/// What was collected by agents that live goes on there.
fn assert_stayed(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
    lives: impl Fn(&String) -> bool,
) {
    for (input, agent) in before {
        assert!(after.contains_key(input), "nobody runs {input}");
        if lives(agent) {
            assert_eq!(after[input], *agent, "{input}");
        }
    }
}

/// Of all agents with one list, none has more than an equal share of all that the list has, and the
/// heaviest of it. Whoever got an input had the least of all that could have got it.
fn assert_balanced(referee: &Referee) {
    let (running, offers) = (referee.running(), referee.offers());
    for (agent, list) in &offers {
        let equal = offers.values().filter(|other| *other == list).count();
        let total: u32 = list.values().sum();
        let heaviest = list.values().max().copied().unwrap_or_default();
        let inputs = running.iter().filter(|(_, runner)| *runner == agent);
        let load: u32 = inputs.map(|(input, _)| list[input]).sum();
        let bound = f64::from(total) / equal as f64 + f64::from(heaviest);
        assert!(
            f64::from(load) <= bound,
            "{agent} has {load}, more than {bound}"
        );
    }
}

/// Every replica shows what is the case, and that all of it runs.
async fn assert_tables(town: &Town) -> Result<()> {
    let (running, offers) = (town.referee.running(), town.referee.offers());
    let mut expected: BTreeMap<String, BTreeSet<String>> = offers
        .keys()
        .map(|agent| (agent.clone(), BTreeSet::new()))
        .collect();
    for (input, agent) in running {
        expected.entry(agent).or_default().insert(input);
    }
    for member in &town.members {
        let server = (member.replica.address(), WEBHOOK).into();
        let what = format!("the table of {}", member.replica.name());
        wait::until(&what, || async {
            let (_, table) = watch::table(server)
                .await
                .map_err(|error| format!("{error:#}"))?;
            let mut shown: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for agent in table["agents"].as_array().into_iter().flatten() {
                let inputs = agent["inputs"].as_array().into_iter().flatten();
                let active = inputs.filter(|input| input["standing"] == "active");
                let names = active.filter_map(|input| Some(input["name"].as_str()?.to_owned()));
                let id = agent["id"].as_str().unwrap_or_default().to_owned();
                shown.insert(id, names.collect());
            }
            if shown == expected {
                return Ok(());
            }
            let differ = expected
                .iter()
                .find(|(id, inputs)| shown.get(*id) != Some(*inputs));
            Err(format!(
                "{} agents, should be {}: {differ:?}",
                shown.len(),
                expected.len()
            ))
        })
        .await?;
    }
    Ok(())
}
