//! Stories of a few agents, told poll by poll.

use std::time::Duration;

use super::*;
use crate::election::Caller;

/// An election and a clock.
struct Story {
    election: Election,
    now: u64,
}

impl Story {
    fn new(start: Start) -> Self {
        Self {
            election: Election::new(Settings::default(), Duration::ZERO, start),
            now: 0,
        }
    }

    fn fresh() -> Self {
        Self::new(Start::Fresh)
    }

    fn relearning() -> Self {
        Self::new(Start::Relearn {
            full_owners: Vec::new(),
        })
    }

    /// Lets time pass, as the operator's timer would.
    fn wait(&mut self, milliseconds: u64) {
        let end = self.now + milliseconds;
        loop {
            let next = self.election.next_deadline().as_millis() as u64;
            self.now = next.clamp(self.now + 1, end);
            self.election.tick(Duration::from_millis(self.now));
            if self.now == end {
                return;
            }
        }
    }

    /// One poll: `offers` as `mysql:2 redis`, `running` as `mysql redis` or `all`; the answer
    /// likewise.
    fn poll(&mut self, id: &str, offers: &str, running: &str) -> String {
        self.poll_from(&Caller::Anybody, id, offers, running)
    }

    /// The same, by somebody at an address such as `10.0.0.1`.
    fn poll_at(&mut self, address: &str, id: &str, offers: &str, running: &str) -> String {
        let caller = Caller::at(address.parse().unwrap());
        self.poll_from(&caller, id, offers, running)
    }

    fn poll_from(&mut self, caller: &Caller, id: &str, offers: &str, running: &str) -> String {
        let limits = Limits::default();
        let offers: Vec<_> = offers
            .split_whitespace()
            .map(|offer| match offer.split_once(':') {
                Some((name, score)) => (name.into(), score.parse().unwrap()),
                None => (offer.into(), 1),
            })
            .collect();
        let running = match running {
            "all" => offers.iter().map(|(name, _)| Str::clone(name)).collect(),
            _ => running.split_whitespace().map(Into::into).collect(),
        };
        let poll = Poll::new(id.into(), offers, running, &limits).unwrap();
        match self
            .election
            .poll(&poll, caller, Duration::from_millis(self.now))
        {
            Outcome::Allowed(allowed) => {
                let names: Vec<_> = allowed.inputs().collect();
                assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
                names.join(" ")
            }
            Outcome::Wait(Wait::Listening { .. }) => "wait".to_owned(),
            Outcome::Wait(Wait::Namesake { .. }) => "unclear".to_owned(),
            Outcome::Refused(refusal) => refusal.to_string(),
        }
    }

    /// Polls as a faithful agent until its list has been confirmed three times; returns the list.
    fn start(&mut self, id: &str, offers: &str) -> String {
        let mut running = "all".to_owned();
        for _ in 0..4 {
            running = self.poll(id, offers, &running);
        }
        running
    }

    /// The same for one at an address, from this target list on.
    fn start_at(&mut self, address: &str, id: &str, offers: &str, running: &str) {
        let mut running = running.to_owned();
        for _ in 0..4 {
            running = self.poll_at(address, id, offers, &running);
        }
    }

    fn gauges(&self) -> Gauges {
        self.election.gauges()
    }

    fn events(&mut self) -> String {
        self.election
            .take_events()
            .iter()
            .map(|event| format!("{event:?}\n"))
            .collect()
    }
}

use crate::json::Str;

const ALL: PageSize = PageSize {
    rows: usize::MAX,
    bytes: usize::MAX,
};

#[test]
fn one_agent_gets_all() {
    let mut story = Story::fresh();
    for _ in 0..5 {
        assert_eq!(
            story.poll("a", "mysql:2 nginx redis", "all"),
            "mysql nginx redis"
        );
        story.wait(4_000);
    }
    assert_eq!(story.poll("b", "", ""), "");
}

#[test]
fn three_that_join_together_share_by_score() {
    let mut story = Story::fresh();
    let offers = "mongodb:1 mysql:2 nginx:8 nsq:1 redis:4";
    let mut lists = ["all"; 3].map(str::to_owned);
    for _ in 0..7 {
        for (list, id) in lists.iter_mut().zip(["a", "b", "c"]) {
            *list = story.poll(id, offers, list);
            story.wait(500);
        }
        story.wait(2_500);
    }
    assert_eq!(lists, ["mongodb mysql nsq", "nginx", "redis"]);
    let totals = story.election.totals();
    assert_eq!((totals.moved_active, totals.moved_tentative), (0, 2));
    assert_eq!(story.gauges().tentative, 0);
}

#[test]
fn a_tentative_input_is_passed_on_only_after_its_holder_shows_that_it_knows() {
    let mut story = Story::fresh();
    assert_eq!(story.poll("a", "x y", "all"), "x y");
    assert_eq!(story.poll("b", "x y", "all"), "");
    // Its answer, which takes one away, may be lost; it still says that it has both.
    assert_eq!(story.poll("a", "x y", "x y"), "x");
    assert_eq!(story.poll("b", "x y", ""), "");
    assert_eq!(story.poll("a", "x y", "x y"), "x");
    assert_eq!(story.poll("b", "x y", ""), "");
    assert_eq!(story.poll("a", "x y", "x"), "x");
    assert_eq!(story.poll("b", "x y", ""), "y");
}

#[test]
fn what_runs_is_not_moved() {
    let mut story = Story::fresh();
    assert_eq!(story.start("a", "x y z"), "x y z");
    assert_eq!(story.poll("d", "x y z", "all"), "");
    assert_eq!(story.poll("a", "x y z", "x y z"), "x y z");
    // A third equal answer was sent, even if the agent never got it.
    assert_eq!(story.election.totals().moved_tentative, 0);
}

#[test]
fn only_the_inputs_of_a_dead_agent_move_and_it_does_not_get_them_back() {
    let mut story = Story::fresh();
    let offers = "u:3 v:3 w:3 x:1 y:1 z:1";
    let mut lists = ["all"; 3].map(str::to_owned);
    for _ in 0..6 {
        for (list, id) in lists.iter_mut().zip(["a", "b", "c"]) {
            *list = story.poll(id, offers, list);
        }
        story.wait(4_000);
    }
    let before = lists.clone();
    for _ in 0..4 {
        for (list, id) in lists.iter_mut().zip(["a", "b"]) {
            *list = story.poll(id, offers, list);
        }
        story.wait(4_000);
    }
    for (after, before) in lists.iter().zip(&before) {
        for input in before.split(' ') {
            assert!(after.contains(input), "{before} -> {after}");
        }
    }
    let mut all: Vec<&str> = lists[..2].iter().flat_map(|list| list.split(' ')).collect();
    all.sort_unstable();
    assert_eq!(all.join(" "), "u v w x y z");
    assert_eq!(story.poll("c", offers, &before[2]), "");
}

#[test]
fn an_agent_is_dead_when_silent_for_longer_than_the_timeout() {
    let mut story = Story::fresh();
    story.start("a", "x");
    story.wait(4_000);
    story.poll("b", "x", "all");
    story.wait(6_000);
    assert_eq!(story.poll("b", "x", ""), "");
    story.wait(1);
    assert_eq!(story.poll("b", "x", ""), "x");
}

#[test]
fn different_lists() {
    let mut story = Story::fresh();
    assert_eq!(story.start("a", "x"), "x");
    assert_eq!(story.poll("b", "x y", "all"), "y");
    assert_eq!(story.poll("a", "x", "x"), "x");
    // A rollout: the first agent offers the new one too, and something nobody knew.
    assert_eq!(story.poll("a", "x y z", "all"), "x z");
    // It no longer offers the first.
    assert_eq!(story.poll("a", "y z", "all"), "z");
    assert_eq!(story.poll("b", "x y", "y"), "x y");
    assert_eq!(story.gauges().inputs, 3);
    assert_eq!(story.poll("b", "y", "all"), "y");
    assert_eq!(story.gauges().inputs, 2);
    story.wait(10_001);
    assert_eq!(story.gauges().inputs, 0);
    assert_eq!(story.gauges().agents, 0);
}

#[test]
fn a_changed_score_moves_nothing() {
    let mut story = Story::fresh();
    assert_eq!(story.start("a", "x:1 y:1"), "x y");
    assert_eq!(story.poll("b", "x:1 y:1 z:1", "all"), "z");
    assert_eq!(story.poll("a", "x:900 y:1", "x y"), "x y");
    let table = story.election.page(Duration::ZERO, &Cursor::Start, ALL);
    assert_eq!(table.agents[0].load, 901);
    assert_eq!(table.agents[1].load, 1);
}

#[test]
fn after_a_restart_everybody_keeps_what_they_say_they_have() {
    let mut story = Story::relearning();
    assert_eq!(story.poll("a", "x y z", "x"), "x");
    assert_eq!(story.poll("b", "x y z", "y"), "y");
    // Has just started, or has had everything.
    assert_eq!(story.poll("c", "x y z", "all"), "wait");
    assert_eq!(story.poll("d", "x y z", "x"), "");
    story.wait(9_000);
    for (id, running) in [("a", "x"), ("b", "y"), ("c", "x y z"), ("d", "")] {
        story.poll(id, "x y z", running);
    }
    story.wait(1_000);
    assert_eq!(story.poll("a", "x y z", "x"), "x");
    assert_eq!(story.poll("c", "x y z", "x y z"), "z");
    assert_eq!(story.poll("d", "x y z", ""), "");
}

#[test]
fn the_only_one_that_may_have_had_everything_is_believed() {
    let mut story = Story::relearning();
    story.wait(3_000);
    assert_eq!(story.poll("b", "x y z", "all"), "wait");
    story.wait(2_000);
    assert_eq!(story.poll("a", "x y z", "all"), "wait");
    story.wait(5_000);
    assert_eq!(story.poll("a", "x y z", "all"), "");
    assert_eq!(story.poll("b", "x y z", "all"), "x y z");
}

#[test]
fn a_note_tells_who_had_everything() {
    let mut story = Story::new(Start::Relearn {
        full_owners: vec!["b".to_owned()],
    });
    assert_eq!(story.poll("a", "x y z", "all"), "wait");
    assert_eq!(story.poll("b", "x y z", "all"), "wait");
    story.wait(10_000);
    assert_eq!(story.poll("a", "x y z", "all"), "");
    assert_eq!(story.poll("b", "x y z", "all"), "x y z");
    assert_eq!(story.election.full_owners(), ["b".into()]);
}

#[test]
fn a_note_tells_agents_of_one_id_apart() {
    let (inside, outside) = ("10.0.0.1", "10.0.0.9");
    let mut story = Story::new(Start::Fresh);
    assert_eq!(story.poll_at(inside, "a", "x", "all"), "x");
    assert_eq!(story.poll_at("10.0.0.2", "b", "x", ""), "");
    assert_eq!(story.poll_at(outside, "b,a", "s", "all"), "s");
    let note = story.election.full_owners();
    assert_eq!(note, ["a 10.0.0.1".into()]);
    // A stranger in the name of `b` had all of its own; `b` itself has just started.
    let mut story = Story::new(Start::Relearn {
        full_owners: vec!["a 10.0.0.1".to_owned(), "b 10.0.0.9".to_owned()],
    });
    assert_eq!(story.poll_at("10.0.0.2", "b", "x", "all"), "wait");
    assert_eq!(story.poll_at(inside, "a", "x", "all"), "wait");
    story.wait(10_000);
    assert_eq!(story.poll_at("10.0.0.2", "b", "x", "all"), "");
    assert_eq!(story.poll_at(inside, "a", "x", "all"), "x");
}

#[test]
fn when_all_have_just_started_work_is_shared() {
    let mut story = Story::relearning();
    assert_eq!(story.poll("a", "x y z", "all"), "wait");
    assert_eq!(story.poll("b", "x y z", "all"), "wait");
    story.wait(10_000);
    assert_eq!(story.poll("a", "x y z", "all"), "x z");
    assert_eq!(story.poll("b", "x y z", "all"), "y");
}

#[test]
fn a_witness_makes_one_of_several_credible() {
    let mut story = Story::relearning();
    assert_eq!(story.poll("a", "x y z", "all"), "wait");
    assert_eq!(story.poll("b", "x y z", "all"), "wait");
    assert_eq!(story.poll("c", "x y z", ""), "");
    story.wait(10_000);
    assert_eq!(story.poll("a", "x y z", "all"), "x y z");
    assert_eq!(story.poll("b", "x y z", "all"), "");
}

#[test]
fn a_stopped_operator_declares_nobody_dead() {
    let mut story = Story::fresh();
    story.start("a", "x");
    story.now += 60_000;
    assert_eq!(story.poll("b", "x", "all"), "");
    assert!(story.events().contains("Stalled { milliseconds: 60000 }"));
    story.wait(10_001);
    assert_eq!(story.poll("b", "x", ""), "x");
}

#[test]
fn two_agents_with_one_id_are_reported() {
    let mut story = Story::fresh();
    for _ in 0..60 {
        assert_eq!(story.poll("a", "x y", "x y"), "x y");
        story.wait(4_000);
    }
    assert_eq!(story.gauges().shared_ids, 0);
    for _ in 0..20 {
        assert_eq!(story.poll("a", "x y", "x y"), "x y");
        story.wait(1_500);
        assert_eq!(story.poll("a", "x y", "x y"), "x y");
        story.wait(2_500);
    }
    assert_eq!(story.gauges().shared_ids, 1);
    assert!(story.events().contains("SharedId"));
    for _ in 0..60 {
        story.poll("a", "x y", "x y");
        story.wait(4_000);
    }
    assert_eq!(story.gauges().shared_ids, 0);
    assert!(story.events().contains("SharedIdEnded"));
}

#[test]
fn two_agents_with_one_id_and_different_lists_do_not_flap() {
    let mut story = Story::fresh();
    let mut answers = Vec::new();
    for round in 0..10 {
        answers.push(story.poll("a", "x y", "all"));
        story.wait(2_000);
        answers.push(story.poll("a", "y z", "all"));
        story.wait(2_000);
        if round == 2 {
            assert_eq!(story.poll("b", "x y z", "all"), "");
        }
    }
    assert!(
        answers[2..].chunks(2).all(|pair| pair == ["x y", "y z"]),
        "{answers:?}"
    );
    assert_eq!(story.gauges().shared_ids, 1);
}

#[test]
fn limits_hold() {
    let mut story = Story::fresh();
    story.election.settings.limits = Limits {
        agents: 2,
        inputs: 4,
        entries: 5,
        ..Limits::default()
    };
    assert_eq!(story.poll("a", "u v w", "all"), "u v w");
    assert_eq!(
        story.poll("b", "x y", "all"),
        "there would be more than 4 different names of inputs, which is the limit for all agents together"
    );
    assert_eq!(
        story.poll("b", "u:2 v:2 w:2", "all"),
        "there would be more than 5 entries in different lists of inputs, which is the limit for all agents together"
    );
    assert_eq!(story.poll("b", "u", "all"), "");
    assert_eq!(
        story.poll("c", "u", "all"),
        "there would be more than 2 agents, which is the limit for all agents together"
    );
    // A known agent that asks for too much is refused, yet alive.
    story.wait(8_000);
    assert!(story.poll("a", "u v w x y", "all").contains("limit"));
    story.wait(8_000);
    assert_eq!(story.gauges().agents, 1);
    assert_eq!(story.election.totals().refused, 4);
}

/// A request that was under way for long must not make the operator forget what it counted.
#[test]
fn counts_outlive_late_requests() {
    let mut story = Story::fresh();
    assert_eq!(story.poll("a", "x y", "all"), "x y");
    assert_eq!(story.poll("a", "x y", "all"), "x y");
    assert_eq!(story.poll("a", "x y", "x"), "x y");
    // The third answer that equals its request: now it may be running.
    assert_eq!(story.poll("a", "x y", "x y"), "x y");
    assert_eq!(story.poll("b", "x y", "all"), "");
    assert_eq!(story.election.totals().moved_tentative, 0);
}

#[test]
fn whoever_stands_in_for_a_dead_agent_is_not_delayed() {
    let mut story = Story::fresh();
    story.start("a", "x y");
    story.wait(9_000);
    assert_eq!(story.poll("b", "x y", "all"), "");
    story.wait(2_000);
    // `b` has just joined and can't have started anything, yet nothing is taken from it.
    assert_eq!(story.poll("b", "x y", ""), "x y");
    assert_eq!(story.poll("c", "x y", "all"), "");
    assert_eq!(story.poll("b", "x y", "x y"), "x y");
}

#[test]
fn the_table_shows_every_standing() {
    let mut story = Story::fresh();
    story.poll("a", "x y", "all");
    story.poll("b", "x y", "all");
    let table = story
        .election
        .page(Duration::from_secs(2), &Cursor::Start, ALL);
    let table = serde_json::to_string(&table).unwrap();
    expect_test::expect![[r#"{"phase":"deciding","agents":[{"id":"a","from":"anybody","last_seen_ms":2000,"load":1,"offers":2,"shared_id":false,"inputs":[{"name":"x","score":1,"standing":"tentative"},{"name":"y","score":1,"standing":"taken back"}]},{"id":"b","from":"anybody","last_seen_ms":2000,"load":1,"offers":2,"shared_id":false,"inputs":[{"name":"y","score":1,"standing":"expected"}]}],"unassigned":["y"]}"#]].assert_eq(&table);
}

#[test]
fn a_forged_poll_changes_nothing_for_the_agent_that_lives() {
    let mut story = Story::fresh();
    let [real, forger] = ["10.0.0.1", "10.0.0.9"];
    let mut running = "all".to_owned();
    for _ in 0..4 {
        running = story.poll_at(real, "a", "x y", &running);
        story.wait(4_000);
    }
    assert_eq!(running, "x y");
    // Whatever is said in its name: that it offers nothing, something else, or just what it says
    // itself.
    for (offers, says) in [("", ""), ("z", "all"), ("x y", "x y"), ("x y", "all")] {
        story.wait(1);
        let answer = story.poll_at(forger, "a", offers, says);
        assert!(
            answer == "unclear" || !answer.contains(['x', 'y']),
            "{answer}"
        );
        story.wait(1);
        assert_eq!(story.poll_at(real, "a", "x y", "x y"), "x y");
    }
    // Now there are two, and the second one is what it would be under any other name.
    assert_eq!(story.poll_at(forger, "a", "x y", "x y"), "");
    assert_eq!(story.poll_at(forger, "a", "z", "all"), "z");
    assert_eq!(story.poll_at(real, "a", "x y", "x y"), "x y");
    assert_eq!(story.gauges().agents, 2);
    // Not even its silence: it gives way to nobody as long as it lives.
    story.wait(9_000);
    assert_eq!(story.poll_at("10.0.0.8", "a", "x y", "x y"), "unclear");
    assert_eq!(story.poll_at(real, "a", "x y", "x y"), "x y");
    assert_eq!(story.election.totals().moved_active, 0);
}

#[test]
fn an_agent_that_comes_from_a_new_address_keeps_what_it_had() {
    let mut story = Story::fresh();
    let check = |story: &mut Story, to: &str, says: &str| {
        for _ in 0..2 {
            story.wait(4_000);
            assert_eq!(story.poll_at("10.0.0.7", "b", "x y", ""), "");
            assert_eq!(story.poll_at(to, "a", "x y", says), "unclear", "{to}");
        }
        story.wait(4_000);
        // `b` would have got it all by now.
        assert_eq!(story.poll_at("10.0.0.7", "b", "x y", ""), "");
        assert_eq!(story.poll_at(to, "a", "x y", says), "x y");
        assert_eq!(story.events().matches("Moved").count(), 1);
    };
    story.start_at("10.0.0.1", "a", "x y", "all");
    assert_eq!(story.poll_at("10.0.0.7", "b", "x y", "all"), "");
    // A new process of it, in a new pod; then one that goes on behind another address.
    check(&mut story, "10.0.0.2", "all");
    check(&mut story, "10.0.0.3", "x y");
    assert_eq!(story.gauges().agents, 2);
    assert_eq!(story.election.totals().died, 0);
}

/// What was being taken back from the one that is dead is with its next holder at once.
#[test]
fn whoever_takes_a_dead_agents_place_gives_up_what_was_taken_back() {
    let mut story = Story::fresh();
    assert_eq!(story.poll_at("10.0.0.1", "a", "x y", "all"), "x y");
    assert_eq!(story.poll_at("10.0.0.7", "b", "x y", "all"), "");
    story.wait(4_000);
    assert_eq!(story.poll_at("10.0.0.2", "a", "x y", "all"), "unclear");
    story.wait(4_000);
    assert_eq!(story.poll_at("10.0.0.2", "a", "x y", "all"), "unclear");
    assert_eq!(story.poll_at("10.0.0.7", "b", "x y", ""), "");
    story.wait(2_001);
    assert_eq!(story.poll_at("10.0.0.7", "b", "x y", ""), "y");
    assert_eq!(story.poll_at("10.0.0.2", "a", "x y", "all"), "x");
}

/// Who says what the dead agent would say goes before who doesn't, and both before others.
#[test]
fn of_several_that_claim_a_dead_agents_place_the_likeliest_gets_it() {
    let mut story = Story::fresh();
    let mut running = "all".to_owned();
    for _ in 0..4 {
        running = story.poll_at("10.0.0.1", "a", "x y", &running);
    }
    for other in 2..12 {
        let address = format!("10.0.0.{other}");
        assert_eq!(story.poll_at(&address, "a", "", ""), "unclear");
        story.wait(10);
    }
    assert_eq!(story.poll_at("10.0.0.99", "a", "x y", "x y"), "unclear");
    story.wait(10_001);
    assert_eq!(story.poll_at("10.0.0.99", "a", "x y", "x y"), "x y");
    assert!(story.events().contains("Moved"));
}

#[test]
fn while_it_listens_it_hears_everybody() {
    let mut story = Story::relearning();
    // Somebody was faster with the agent's name; that must not keep it from being heard.
    assert_eq!(story.poll_at("10.0.0.9", "a", "", ""), "");
    assert_eq!(story.poll_at("10.0.0.1", "a", "x y", "x"), "x");
    story.wait(10_000);
    assert_eq!(story.poll_at("10.0.0.1", "a", "x y", "x"), "x y");
}

#[test]
fn one_caller_cannot_use_up_what_others_need() {
    let mut story = Story::fresh();
    let names = |prefix: &str, count: usize| -> String {
        (0..count).map(|n| format!("{prefix}{n:04} ")).collect()
    };
    assert_eq!(story.start("node-1", "mysql"), "mysql");
    for poll in 0..10 {
        let offers = names(&format!("s{poll}-"), 2_000);
        let answer = story.poll_at("10.0.0.9", &format!("s{poll}"), &offers, "");
        let refused = answer.starts_with("agents of your address have");
        assert_eq!(refused, poll > 0, "{answer}");
    }
    for agent in 0..3_000 {
        story.poll_at("10.0.0.9", &format!("t{agent}"), "", "");
    }
    assert!(story.gauges().agents < 2_300, "{:?}", story.gauges());
    // The same from many addresses, each with what it can get.
    for address in 10..30 {
        for size in [2_000, 1_000, 500, 100, 20, 1] {
            let (offers, id) = (
                names(&format!("{address}-{size}-"), size),
                format!("{size}"),
            );
            story.poll_at(&format!("10.0.0.{address}"), &id, &offers, "");
        }
    }
    let others = names("new-", 50);
    let given = story.poll_at("10.0.1.1", "node-2", &others, "");
    assert_eq!(given.split(' ').count(), 50);
    assert_eq!(story.poll("node-1", "mysql", "mysql"), "mysql");
    // Whoever offers less than before isn't refused, however full it is.
    assert_eq!(
        story.poll_at("10.0.1.1", "node-2", "new-0007", ""),
        "new-0007"
    );
    // And nothing is left of it all.
    story.wait(10_001);
    let gauges = story.gauges();
    assert_eq!((gauges.agents, gauges.inputs), (0, 0));
    assert_eq!(story.election.offers.callers.count(), 0);
}

#[test]
fn pages_show_everything_once() {
    let mut story = Story::fresh();
    for agent in 0..20 {
        let offers = format!("i{agent} j{agent}");
        story.poll_at(&format!("10.0.0.{agent}"), "same", &offers, "");
        story.poll(&format!("n{agent}"), &offers, "all");
    }
    let whole = story.election.page(Duration::ZERO, &Cursor::Start, ALL);
    assert_eq!(whole.next, None);
    let check = |rows, bytes| {
        let (mut cursor, mut pages) = (Cursor::Start, 0);
        let (mut agents, mut unassigned) = (Vec::new(), Vec::new());
        loop {
            let size = PageSize { rows, bytes };
            let page = story.election.page(Duration::ZERO, &cursor, size);
            pages += 1;
            assert!(page.agents.len() + page.unassigned.len() <= rows.max(1));
            agents.extend(page.agents);
            unassigned.extend(page.unassigned);
            match page.next {
                // What is said is what is read again.
                Some(next) => cursor = next.to_string().parse().unwrap(),
                None => break,
            }
        }
        unassigned.sort();
        assert_eq!((&agents, &unassigned), (&whole.agents, &whole.unassigned));
        pages
    };
    assert_eq!(check(usize::MAX, usize::MAX), 1);
    let rows = whole.agents.len() + whole.unassigned.len();
    assert_eq!(check(1, usize::MAX), rows);
    assert_eq!(check(7, usize::MAX), rows.div_ceil(7));
    assert_eq!(check(usize::MAX, 1), rows);
    assert!(check(usize::MAX, 2_000) > 1);
}
