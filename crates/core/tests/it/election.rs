//! Laws of the election as a state machine, whoever polls it and with whatever.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use datakit_operator_core::election::Caller;
use datakit_operator_core::election::tasks::{
    Allowed, Cursor, Election, Limits, Outcome, Page, PageSize, Poll, Settings, Start,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Polls with JSON, as the server would.
fn poll(
    election: &mut Election,
    now: u64,
    id: &str,
    offers: &[(String, u32)],
    running: &[String],
) -> Outcome {
    poll_from(election, &Caller::Anybody, now, id, offers, running)
}

fn poll_from(
    election: &mut Election,
    caller: &Caller,
    now: u64,
    id: &str,
    offers: &[(String, u32)],
    running: &[String],
) -> Outcome {
    let offers: BTreeMap<&String, &u32> =
        offers.iter().map(|(name, score)| (name, score)).collect();
    let body = json!({
        "namespace": "N/A", "id": id, "timestamp": 1, "application_inputs": offers, "running_inputs": running,
    });
    let body = body.to_string();
    let poll = Poll::parse(body.as_bytes(), &Limits::default()).unwrap();
    election.poll(&poll, caller, Duration::from_millis(now))
}

/// Everything on one page.
fn table(election: &Election, now: Duration) -> Page {
    let size = PageSize {
        rows: usize::MAX,
        bytes: usize::MAX,
    };
    election.page(now, &Cursor::Start, size)
}

/// The list of an answer, after checking its form.
fn list(allowed: &Allowed) -> Vec<String> {
    let names: Vec<String> = allowed.inputs().map(str::to_owned).collect();
    assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    let body: Value = serde_json::from_slice(allowed.json()).unwrap();
    assert_eq!(body, json!({ "allowed_inputs": names }));
    assert_eq!(serde_json::to_value(allowed).unwrap(), body);
    names
}

fn offers_of(scores: &[u32]) -> Vec<(String, u32)> {
    (0..)
        .zip(scores)
        .map(|(at, score): (usize, _)| (format!("input-{at:02}"), *score))
        .collect()
}

/// Loads of all agents, by id.
fn loads(election: &Election) -> Vec<u64> {
    table(election, Duration::ZERO)
        .agents
        .iter()
        .map(|agent| agent.load)
        .collect()
}

/// Lets agents poll in turns, as faithful ones do, for some rounds of 4 s each.
fn rounds(
    election: &mut Election,
    from: u64,
    lists: &mut [Vec<String>],
    ids: &[String],
    offers: &[(String, u32)],
    count: u64,
) -> u64 {
    for round in 0..count {
        let start = from + round * 4_000;
        for ((at, id), running) in (0..).zip(ids).zip(&mut *lists) {
            if let Outcome::Allowed(answer) = poll(election, start + at, id, offers, running) {
                *running = list(&answer);
            }
        }
        for second in 0..4 {
            election.tick(Duration::from_millis(start + 900 + second * 1_000));
        }
    }
    from + count * 4_000
}

fn cluster(agents: usize, offers: &[(String, u32)]) -> (Vec<String>, Vec<Vec<String>>) {
    let ids = (0..agents).map(|at| format!("node-{at}")).collect();
    let everything = offers.iter().map(|(name, _)| name.clone()).collect();
    (ids, vec![everything; agents])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// The optimum is at least the mean, so the heaviest carries at most the optimum and the
    /// largest score.
    #[test]
    fn what_is_placed_afresh_is_balanced(scores in prop::collection::vec(0..50u32, 1..30), agents in 1usize..8) {
        let offers = offers_of(&scores);
        let (ids, mut lists) = cluster(agents, &offers);
        let start = Start::Relearn { full_owners: Vec::new() };
        let mut election = Election::new(Settings::default(), Duration::ZERO, start);
        // With one agent in the first interval, it might have had everything before.
        rounds(&mut election, 0, &mut lists, &ids, &offers, 4);
        let total: u64 = scores.iter().copied().map(u64::from).sum();
        let largest = u64::from(scores.iter().copied().max().unwrap());
        let heaviest = loads(&election).into_iter().max().unwrap();
        prop_assert!(
            heaviest * agents as u64 <= total + largest * (agents as u64 - 1),
            "{:?}", loads(&election)
        );
        prop_assert_eq!(loads(&election).iter().sum::<u64>(), total);
    }

    /// One after another, before anybody can have started.
    #[test]
    fn those_that_join_early_share_what_is_there(scores in prop::collection::vec(1..50u32, 1..30), agents in 1usize..8) {
        let offers = offers_of(&scores);
        let (ids, mut lists) = cluster(agents, &offers);
        let mut election = Election::new(Settings::default(), Duration::ZERO, Start::Fresh);
        rounds(&mut election, 0, &mut lists, &ids, &offers, 6);
        let loads = loads(&election);
        let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
        let largest = u64::from(scores.iter().copied().max().unwrap());
        prop_assert!(most - least <= largest, "{:?} {:?}", loads, scores);
        prop_assert_eq!(election.gauges().tentative, 0);
        let mut all: Vec<_> = lists.concat();
        all.sort();
        prop_assert_eq!(all.len(), scores.len());
    }

    /// The survivors' loads differ by no more than one score, or are what they were.
    #[test]
    fn what_a_dead_agent_leaves_is_balanced(scores in prop::collection::vec(1..50u32, 1..30), agents in 2usize..8) {
        let offers = offers_of(&scores);
        let (ids, mut lists) = cluster(agents, &offers);
        let mut election = Election::new(Settings::default(), Duration::ZERO, Start::Fresh);
        let now = rounds(&mut election, 0, &mut lists, &ids, &offers, 6);
        let before = lists.clone();
        rounds(&mut election, now, &mut lists[1..], &ids[1..], &offers, 8);
        for (after, before) in lists[1..].iter().zip(&before[1..]) {
            prop_assert!(before.iter().all(|input| after.contains(input)));
        }
        let loads = loads(&election);
        let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
        prop_assert!(most - least <= u64::from(scores.iter().copied().max().unwrap()), "{:?}", loads);
        prop_assert_eq!(loads.iter().sum::<u64>(), scores.iter().copied().map(u64::from).sum::<u64>());
    }

    /// Agents that lie, change, share ids and come and go as no real one does.
    #[test]
    fn nothing_that_is_said_breaks_it(
        relearns in any::<bool>(),
        polls in prop::collection::vec(((0..4usize, 0..3u8), 0..64u32, 0..64u32, 0..3u32, prop_oneof![4 => 0..5_000u64, 1 => 0..20_000u64]), 1..120),
    ) {
        let start = if relearns { Start::Relearn { full_owners: vec!["node-1".to_owned()] } } else { Start::Fresh };
        // Maps are seeded anew in each; the answers must not show it.
        let mut twins = [start.clone(), start].map(|start| Election::new(Settings::default(), Duration::ZERO, start));
        let mut now = 0;
        for ((agent, address), offered, running, score, wait) in polls {
            now += wait;
            let names = |set: u32| (0..6).filter(move |bit| set >> bit & 1 == 1).map(|bit| format!("input-{bit}"));
            let offers: Vec<_> = names(offered).map(|name| (name, score)).collect();
            let running: Vec<_> = names(running).collect();
            let id = format!("node-{agent}");
            let caller = Caller::at([10, 0, 0, address].into());
            let [answer, same] = twins.each_mut().map(|election| poll_from(election, &caller, now, &id, &offers, &running));
            prop_assert_eq!(&answer, &same);
            if let Outcome::Allowed(answer) = answer {
                let offered: BTreeSet<_> = offers.into_iter().map(|(name, _)| name).collect();
                prop_assert!(list(&answer).iter().all(|input| offered.contains(input)));
            }
            consistent(&twins[0], now)?;
        }
        prop_assert_eq!(twins[0].take_events(), twins[1].take_events());
        prop_assert_eq!(twins[0].totals(), twins[1].totals());
        // When all have fallen silent, nothing is left.
        for second in 0..40 {
            twins[0].tick(Duration::from_millis(now + second * 1_000));
        }
        let gauges = twins[0].gauges();
        prop_assert_eq!((gauges.agents, gauges.inputs, gauges.tentative, gauges.shared_ids), (0, 0, 0, 0));
        prop_assert_eq!(twins[0].totals().moved_active, 0);
    }
}

/// The table and the gauges tell the same story, and nothing has two holders.
fn consistent(election: &Election, now: u64) -> Result<(), TestCaseError> {
    let table = serde_json::to_value(table(election, Duration::from_millis(now))).unwrap();
    let gauges = election.gauges();
    let mut held = BTreeSet::new();
    let mut tentative = 0;
    for agent in table["agents"].as_array().unwrap() {
        let mut load = 0;
        for input in agent["inputs"].as_array().unwrap() {
            let standing = input["standing"].as_str().unwrap();
            if standing != "taken back" {
                load += input["score"].as_u64().unwrap();
            }
            if matches!(standing, "tentative" | "active") {
                prop_assert!(held.insert(input["name"].as_str().unwrap()), "{}", table);
            }
            tentative += usize::from(standing == "tentative");
        }
        prop_assert_eq!(agent["load"].as_u64().unwrap(), load, "{}", table);
    }
    prop_assert_eq!(held.len(), gauges.assigned);
    prop_assert_eq!(tentative, gauges.tentative);
    prop_assert_eq!(gauges.inputs, gauges.assigned + gauges.orphaned);
    prop_assert_eq!(
        table["unassigned"].as_array().unwrap().len(),
        gauges.orphaned
    );
    Ok(())
}
