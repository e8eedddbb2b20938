//! Random histories of agents and operators in simulated time, and what the agents would then
//! collect.
//!
//! The agents do what real ones do ([`agent`]); the network loses and delays; operators restart
//! ([`world`]), as a [`history`] says. The [`accounts`] are kept by looking at the agents only, never
//! at the operator's own view. The same histories run against the algorithm that operators used
//! before ([`reshuffling`]), for comparison.

#![allow(
    clippy::print_stdout,
    reason = "seeds and the comparison are for people"
)]

mod accounts;
mod agent;
mod history;
mod reshuffling;
mod world;

use std::hash::{BuildHasher, Hasher, RandomState};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use accounts::Accounts;
use history::{History, Kind, Op, Strangers};
use world::run;

/// Times are in milliseconds.
fn op(agents: usize) -> impl Strategy<Value = (u32, Op)> {
    let agent = 0..agents;
    let kind = prop_oneof![
        3 => agent.clone().prop_map(Op::Kill),
        3 => (agent.clone(), 0..12_000u32, any::<u16>()).prop_map(|(agent, down, offers)| Op::Restart { agent, down, offers }),
        2 => (agent.clone(), 0..25_000u32).prop_map(|(agent, time)| Op::Pause { agent, time }),
        2 => (agent, 0..25_000u32).prop_map(|(agent, time)| Op::Cut { agent, time }),
        2 => (0..20_000u32).prop_map(|down| Op::OperatorRestart { down }),
        1 => Just(Op::OperatorRestart { down: 0 }),
    ];
    (0..100_000u32, kind)
}

prop_compose! {
    fn histories()(agents in 1usize..7)(
        starts in prop::collection::vec(prop_oneof![2 => 0..3_000u32, 1 => 0..15_000u32, 1 => 0..60_000u32], agents),
        // Mostly the same list for all, as in one DaemonSet.
        common in any::<u16>(),
        own in prop::collection::vec(prop_oneof![3 => Just(None), 1 => any::<u16>().prop_map(Some)], agents),
        scores in prop::collection::vec(0..9u32, 16),
        ops in prop::collection::vec(op(agents), 0..6),
        loss in prop_oneof![Just(0u32), 0..25u32],
        delay in prop_oneof![Just(20u32), 20..1_500u32],
        late in any::<bool>(),
        notes in any::<bool>(),
        relearn_first in any::<bool>(),
        seed in any::<u64>(),
    ) -> History {
        let offers = own.into_iter().map(|own| own.unwrap_or(common)).collect();
        History { starts, offers, scores, ops, loss, delay, late, notes, pods: seed % 2 == 1, strangers: Strangers::None, relearn_first, seed }
    }
}

/// Agents that start together, most of the time on one list; one of them ends when all has settled.
fn one_death() -> impl Strategy<Value = History> {
    (histories(), 60_000..90_000u32).prop_map(|(mut history, time)| {
        history.starts.iter_mut().for_each(|start| *start %= 3_000);
        history.ops = vec![(time, Op::Kill(0))];
        history.loss = 0;
        history.delay = 20;
        history
    })
}

/// Three to six agents that start within 20 s and stay for 100 s, except for two that end; nothing
/// is lost.
fn calm() -> impl Strategy<Value = History> {
    let deaths = prop::collection::vec(30_000..90_000u32, 2);
    let starts = prop::collection::vec(0..20_000u32, 3..7);
    (histories(), starts, deaths).prop_map(|(mut history, starts, deaths)| {
        history.offers = vec![u16::MAX; starts.len()];
        history.starts = starts;
        history.ops = deaths
            .into_iter()
            .enumerate()
            .map(|(agent, time)| (time, Op::Kill(agent)))
            .collect();
        history.loss = 0;
        history.delay = 50;
        history
    })
}

/// Runs a law on many histories; one that breaks it is shrunk and printed with the seed that brings
/// it back.
///
/// `ELECTION_SEED` sets the seed, `ELECTION_CASES` the number of histories.
fn check(
    cases: u32,
    histories: impl Strategy<Value = History>,
    law: impl Fn(&Accounts) -> Result<(), TestCaseError>,
) {
    let variable = |name| std::env::var(name).ok().map(|value| value.parse().unwrap());
    let seed: u64 = variable("ELECTION_SEED").unwrap_or_else(any_seed);
    let cases = variable("ELECTION_CASES").map_or(cases, |cases| cases as u32);
    println!("ELECTION_SEED={seed}");
    let mut runner = runner(cases, seed);
    if let Err(error) = runner.run(&histories, |history| law(&run(&history, Kind::Ours))) {
        panic!("ELECTION_SEED={seed}: {error}");
    }
}

fn runner(cases: u32, seed: u64) -> TestRunner {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 3_000,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// Another one at each run.
fn any_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[test]
fn laws_of_every_history() {
    check(2_500, histories(), |accounts| {
        prop_assert_eq!(accounts.twice, 0, "input-milliseconds collected twice");
        prop_assert_eq!(accounts.moved, 0, "running inputs moved");
        prop_assert_eq!(
            accounts.given_twice,
            0,
            "inputs in the latest answers of two live agents"
        );
        prop_assert_eq!(
            accounts.not_offered,
            0,
            "inputs allowed to agents that don't offer them"
        );
        prop_assert_eq!(
            accounts.late,
            0,
            "input-milliseconds not collected although it has been quiet for long"
        );
        prop_assert_eq!(accounts.moved_by_own_count, 0);
        Ok(())
    });
}

/// Who polls in other agents' names, or in many, can't make an agent's input run twice, nor be
/// taken from it.
#[test]
fn laws_of_every_history_with_strangers() {
    let strangers = prop_oneof![Just(Strangers::Idle), Just(Strangers::Greedy)];
    let histories = (histories(), strangers).prop_map(|(mut history, strangers)| {
        history.strangers = strangers;
        history
    });
    check(2_500, histories, |accounts| {
        prop_assert_eq!(accounts.twice, 0, "input-milliseconds collected twice");
        prop_assert_eq!(accounts.moved, 0, "running inputs moved");
        prop_assert_eq!(accounts.given_twice, 0);
        prop_assert_eq!(accounts.not_offered, 0);
        prop_assert_eq!(accounts.late, 0, "not collected when strangers have gone");
        prop_assert_eq!(accounts.moved_by_own_count, 0);
        Ok(())
    });
}

#[test]
fn what_a_dead_agent_ran_is_running_again_within_the_timeout_and_four_polls() {
    check(500, one_death(), |accounts| {
        // And some milliseconds that the messages take.
        let bound = 10_000 + 16_000 + 200;
        prop_assert!(accounts.longest_gap <= bound, "{} ms", accounts.longest_gap);
        Ok(())
    });
}

/// Prints the table of docs/election.md.
#[test]
fn comparison() {
    let calm = compare("calm", 200, calm().boxed());
    let rough = compare("rough", 500, histories().boxed());
    for (ours, reshuffling) in [calm, rough] {
        assert_eq!((ours.twice, ours.moved), (0, 0));
        // Otherwise the accounts would prove nothing.
        assert!(reshuffling.twice > 0 && reshuffling.moved > 0);
    }
}

fn compare(name: &str, count: u32, histories: BoxedStrategy<History>) -> (Accounts, Accounts) {
    let mut runner = runner(count, 1);
    let mut sums = [Kind::Ours, Kind::Reshuffling].map(|kind| (kind, Accounts::default()));
    for _ in 0..count {
        let mut history = histories.new_tree(&mut runner).unwrap().current();
        history.pods = false;
        for (kind, sum) in &mut sums {
            sum.add(&run(&history, *kind));
        }
    }
    println!("| {name}, {count} histories | this operator | before |\n|---|---|---|");
    let [(_, ours), (_, before)] = &sums;
    for (what, of) in Accounts::COLUMNS {
        println!("| {what} | {} | {} |", of(ours), of(before));
    }
    sums.map(|(_, sum)| sum).into()
}
