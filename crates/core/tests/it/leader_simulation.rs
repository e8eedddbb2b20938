//! Random histories of the leader election of newer agents, in simulated time: replicas that stop,
//! restart, lose their permission and read late, beside one that watches as the operator in Go
//! does; agents that act as real ones do.
//!
//! The law: never do two agents act as leaders at once. It is judged by the agents alone. The same
//! histories run against replicas that believe wall clocks, as an earlier version of this operator
//! did: there the law must break, else the histories would prove nothing.

#![allow(clippy::print_stdout, reason = "seeds are for people")]

mod world;

use std::hash::{BuildHasher, Hasher, RandomState};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use world::{Accounts, Expiry, History, Op, Replica, run};

/// Times are in milliseconds.
fn op(agents: usize, replicas: usize) -> impl Strategy<Value = (u32, Op)> {
    let (agent, replica) = (0..agents, 0..replicas);
    let time = 0..45_000u32;
    let kind = prop_oneof![
        2 => agent.clone().prop_map(Op::Kill),
        2 => (agent.clone(), time.clone()).prop_map(|(agent, time)| Op::Cut { agent, time }),
        2 => (agent, time.clone()).prop_map(|(agent, time)| Op::Freeze { agent, time }),
        2 => (replica.clone(), time.clone()).prop_map(|(replica, time)| Op::Restart { replica, time }),
        3 => (replica.clone(), time.clone()).prop_map(|(replica, time)| Op::Stop { replica, time }),
        2 => (replica, time).prop_map(|(replica, time)| Op::Forbid { replica, time }),
    ];
    (0..200_000u32, kind)
}

prop_compose! {
    fn histories()(agents in 1usize..5, replicas in 1usize..4)(
        starts in prop::collection::vec(0..20_000u32, agents),
        replicas in prop::collection::vec(
            (any::<bool>(), -60_000i64..60_000).prop_map(|(watches, skew)| Replica { watches, skew }),
            replicas,
        ),
        ops in prop::collection::vec(op(agents, replicas), 0..8),
        loss in prop_oneof![Just(0u32), 0..30u32],
        delay in prop_oneof![Just(5u32), 5..1_500u32],
        watch_delay in prop_oneof![Just(5u32), 5..8_000u32],
        seed in any::<u64>(),
    ) -> History {
        History { starts, replicas, ops, loss, delay, watch_delay, seed }
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

/// `ELECTION_SEED` sets the seed, `ELECTION_CASES` the number of histories.
#[test]
fn never_two_leaders() {
    let variable = |name| std::env::var(name).ok().map(|value| value.parse().unwrap());
    let seed: u64 =
        variable("ELECTION_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let cases = variable("ELECTION_CASES").map_or(1_500, |cases| cases as u32);
    println!("ELECTION_SEED={seed}");
    let judged = runner(cases, seed).run(&histories(), |history| {
        let accounts = run(&history, Expiry::Seen);
        prop_assert_eq!(accounts.two_leaders, 0, "milliseconds with two leaders");
        prop_assert_eq!(accounts.epochs_back, 0, "epochs that did not rise");
        prop_assert!(
            accounts.led_at_the_end,
            "nobody leads although it has been quiet for long"
        );
        Ok(())
    });
    if let Err(error) = judged {
        panic!("ELECTION_SEED={seed}: {error}");
    }
}

#[test]
fn wall_clocks_crown_two() {
    let mut runner = runner(500, 1);
    let sum = |expiry, runner: &mut TestRunner| {
        (0..500)
            .map(|_| run(&histories().new_tree(runner).unwrap().current(), expiry))
            .fold(Accounts::default(), |sum, next| Accounts {
                two_leaders: sum.two_leaders + next.two_leaders,
                terms: sum.terms + next.terms,
                ..next
            })
    };
    let believed = sum(Expiry::WallClock, &mut runner);
    assert!(believed.two_leaders > 0);
    // And leadership does change hands in these histories.
    assert!(believed.terms > 1_000, "{}", believed.terms);
}
