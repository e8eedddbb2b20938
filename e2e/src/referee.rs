//! Watches agents while they are told what to run, and remembers everything that must not happen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// What an agent offers: its inputs with their scores.
pub type Offers = BTreeMap<String, u32>;

/// Sees every answer as soon as its agent has it, and every start of an input.
#[derive(Debug)]
pub struct Referee {
    origin: Instant,
    game: Mutex<Game>,
}

/// One life of an agent, from its start to its death. What a dead one does no longer counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    agent: String,
    number: u64,
}

/// One poll, and what came of it.
#[derive(Clone, Debug)]
pub struct Polled {
    /// Who polled.
    pub life: Life,
    /// When it asked.
    pub asked: Instant,
    /// When it had its answer.
    pub answered: Instant,
    /// Who answered, and with which status; without an answer, why there is none.
    pub answer: Result<(SocketAddr, u16), String>,
    /// The body of an answer other than 200.
    pub reason: String,
}

#[derive(Debug, Default)]
struct Game {
    lives: u64,
    /// The living.
    players: BTreeMap<String, Player>,
    polls: Vec<Polled>,
    fouls: Vec<String>,
}

#[derive(Debug)]
struct Player {
    life: u64,
    offers: Offers,
    /// The latest answer; none before the first.
    allowed: BTreeSet<String>,
    running: BTreeSet<String>,
}

impl Default for Referee {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            game: Mutex::default(),
        }
    }
}

impl Referee {
    /// An agent starts.
    pub fn born(&self, agent: &str, offers: &Offers) -> Life {
        let mut game = self.game();
        game.lives += 1;
        let number = game.lives;
        let player = Player {
            life: number,
            offers: offers.clone(),
            allowed: BTreeSet::new(),
            running: BTreeSet::new(),
        };
        if game.players.insert(agent.to_owned(), player).is_some() {
            self.cry(&mut game, &format!("{agent} was started twice"));
        }
        Life {
            agent: agent.to_owned(),
            number,
        }
    }

    /// It dies: it collects nothing from here on.
    pub fn died(&self, life: &Life) {
        let mut game = self.game();
        if game.player(life).is_some() {
            game.players.remove(&life.agent);
        }
    }

    /// It has polled.
    pub fn polled(&self, polled: Polled) {
        let mut game = self.game();
        if game.player(&polled.life).is_some() {
            game.polls.push(polled);
        }
    }

    /// It has been told what it may run.
    pub fn told(&self, life: &Life, allowed: &[String]) {
        let mut game = self.game();
        let Some(player) = game.player(life) else {
            return;
        };
        let agent = &life.agent;
        let mut fouls = Vec::new();
        if !allowed.is_sorted_by(|a, b| a < b) {
            fouls.push(format!(
                "{agent} was told {allowed:?}, which is not in order"
            ));
        }
        let told: BTreeSet<String> = allowed.iter().cloned().collect();
        for input in &told {
            if !player.offers.contains_key(input) {
                fouls.push(format!(
                    "{agent} was told to run {input}, which it doesn't offer"
                ));
            }
        }
        for input in player.running.difference(&told) {
            fouls.push(format!("{agent} runs {input} and was told something else"));
        }
        player.allowed.clone_from(&told);
        for (other, player) in game.players.iter().filter(|(other, _)| *other != agent) {
            for input in player.allowed.intersection(&told) {
                fouls.push(format!(
                    "{agent} was told to run {input}, and so was {other}"
                ));
            }
        }
        for foul in fouls {
            self.cry(&mut game, &foul);
        }
    }

    /// It has started these.
    pub fn resumed(&self, life: &Life, inputs: &[String]) {
        let mut game = self.game();
        let Some(player) = game.player(life) else {
            return;
        };
        let agent = &life.agent;
        player.running.extend(inputs.iter().cloned());
        let others = game.players.iter().filter(|(other, _)| *other != agent);
        let twice: Vec<_> = others
            .flat_map(|(other, player)| {
                let both = inputs
                    .iter()
                    .filter(|input| player.running.contains(*input));
                both.map(move |input| format!("{input} runs on {agent} and on {other}"))
            })
            .collect();
        for foul in twice {
            self.cry(&mut game, &foul);
        }
    }

    /// Something else went wrong with it.
    pub fn fault(&self, life: &Life, what: &str) {
        let mut game = self.game();
        if game.player(life).is_some() {
            self.cry(&mut game, what);
        }
    }

    /// Everything that happened and must not.
    #[must_use]
    pub fn fouls(&self) -> Vec<String> {
        self.game().fouls.clone()
    }

    /// Fails if there was anything of that kind.
    pub fn check(&self) -> Result<()> {
        let game = self.game();
        let Some(first) = game.fouls.first() else {
            return Ok(());
        };
        // One that was silent for long can't be told from a dead one.
        let silence = game.longest_silence();
        bail!(
            "{first}; and {} more: {:#?}; no agent was silent for longer than {silence:?}",
            game.fouls.len() - 1,
            &game.fouls[1..game.fouls.len().min(10)]
        )
    }

    /// What runs where.
    #[must_use]
    pub fn running(&self) -> BTreeMap<String, String> {
        let game = self.game();
        let all = game.players.iter().flat_map(|(agent, player)| {
            let inputs = player.running.iter();
            inputs.map(|input| (input.clone(), agent.clone()))
        });
        all.collect()
    }

    /// What some living agent offers, and none runs.
    #[must_use]
    pub fn missing(&self) -> BTreeSet<String> {
        let game = self.game();
        let offered = game
            .players
            .values()
            .flat_map(|player| player.offers.keys());
        let mut missing: BTreeSet<String> = offered.cloned().collect();
        for player in game.players.values() {
            missing.retain(|input| !player.running.contains(input));
        }
        missing
    }

    /// What each living agent offers.
    #[must_use]
    pub fn offers(&self) -> BTreeMap<String, Offers> {
        let game = self.game();
        let players = game.players.iter();
        players
            .map(|(agent, player)| (agent.clone(), player.offers.clone()))
            .collect()
    }

    /// All polls that were answered, or failed, at `since` or later.
    #[must_use]
    pub fn polls(&self, since: Instant) -> Vec<Polled> {
        let game = self.game();
        let polls = game.polls.iter().filter(|polled| polled.answered >= since);
        polls.cloned().collect()
    }

    fn cry(&self, game: &mut Game, foul: &str) {
        let after = self.origin.elapsed();
        game.fouls.push(format!("after {after:.2?}: {foul}"));
    }

    fn game(&self) -> MutexGuard<'_, Game> {
        self.game.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Game {
    fn player(&mut self, life: &Life) -> Option<&mut Player> {
        let player = self.players.get_mut(&life.agent)?;
        (player.life == life.number).then_some(player)
    }

    /// From an answer of an agent to its next one.
    fn longest_silence(&self) -> Option<(&str, Duration)> {
        let mut last: BTreeMap<u64, Instant> = BTreeMap::new();
        let silences = self.polls.iter().filter_map(|polled| {
            let before = last.insert(polled.life.number, polled.answered)?;
            Some((&*polled.life.agent, polled.answered - before))
        });
        silences.max_by_key(|(_, silence)| *silence)
    }
}

impl Life {
    /// The agent's id.
    #[must_use]
    pub fn agent(&self) -> &str {
        &self.agent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &str) -> Vec<String> {
        names.split_whitespace().map(str::to_owned).collect()
    }

    /// Two agents that offer a, b and c; then what happens to them, and the foul that must be
    /// noticed, if any.
    fn check(story: &[(&str, &str, &str)], expected: &str) {
        let referee = Referee::default();
        let offers: Offers = ["a", "b", "c"].map(|name| (name.to_owned(), 1)).into();
        let mut lives: BTreeMap<&str, Life> = BTreeMap::new();
        for agent in ["one", "two"] {
            lives.insert(agent, referee.born(agent, &offers));
        }
        for (agent, what, inputs) in story {
            match *what {
                "told" => referee.told(&lives[agent], &list(inputs)),
                "resumed" => referee.resumed(&lives[agent], &list(inputs)),
                "died" => referee.died(&lives[agent]),
                _ => drop(lives.insert(agent, referee.born(agent, &offers))),
            }
        }
        let found = referee.check().err().map(|error| error.to_string());
        let found = found.unwrap_or_default();
        let noticed = found.contains(expected) && expected.is_empty() == found.is_empty();
        assert!(noticed, "{story:?}: instead of `{expected}`: {found}");
    }

    #[test]
    fn fouls_are_noticed() {
        check(&[("one", "told", "a b"), ("two", "told", "c")], "");
        check(
            &[("one", "told", "a b"), ("two", "told", "b c")],
            "two was told to run b, and so was one",
        );
        check(
            &[
                ("one", "told", "a"),
                ("one", "told", ""),
                ("two", "told", "a"),
            ],
            "",
        );
        check(
            &[("one", "resumed", "a b"), ("two", "resumed", "b")],
            "b runs on two and on one",
        );
        check(
            &[("one", "resumed", "a"), ("one", "told", "b")],
            "one runs a and was told something else",
        );
        check(&[("one", "told", "x")], "one was told to run x, which it");
        check(&[("one", "told", "b a")], "not in order");
        check(&[("one", "told", "a a")], "not in order");
    }

    #[test]
    fn the_dead_do_not_count() {
        let dead = [
            ("one", "told", "a"),
            ("one", "resumed", "a"),
            ("one", "died", ""),
        ];
        check(
            &[&dead[..], &[("two", "told", "a"), ("two", "resumed", "a")]].concat(),
            "",
        );
        check(
            &[&dead[..], &[("one", "told", "b"), ("two", "told", "b")]].concat(),
            "",
        );
        let back = [
            ("one", "born", ""),
            ("two", "told", "a"),
            ("one", "told", "a"),
        ];
        check(
            &[&dead[..], &back].concat(),
            "one was told to run a, and so was two",
        );
    }

    #[test]
    fn what_nobody_runs_is_missing() {
        let referee = Referee::default();
        let offers: Offers = ["a", "b"].map(|name| (name.to_owned(), 1)).into();
        let one = referee.born("one", &offers);
        let two = referee.born("two", &offers);
        referee.resumed(&one, &list("a"));
        assert_eq!(referee.missing(), list("b").into_iter().collect());
        referee.resumed(&two, &list("b"));
        assert!(referee.missing().is_empty());
        referee.died(&one);
        assert_eq!(referee.missing(), list("a").into_iter().collect());
    }
}
