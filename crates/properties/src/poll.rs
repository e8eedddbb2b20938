//! Laws about polls of agents: a body is refused with a reason or within the limits, and no two
//! agents that live are told to run the same input.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use datakit_operator_core::election::Caller;
use datakit_operator_core::election::tasks::{Election, Outcome, Poll, Settings, Start};
use serde_json::Value;

use crate::{Verdict, sentence};

/// The polls that these lines are, one every second, are answered within the laws.
///
/// # Errors
///
/// The law that is broken.
pub fn check(bytes: &[u8]) -> Verdict {
    let settings = Settings::default();
    let limits = settings.limits.clone();
    let timeout = settings.agent_timeout;
    let mut election = Election::new(settings, Duration::ZERO, Start::Fresh);
    // What each agent was told last, and when.
    let mut told: BTreeMap<String, (BTreeSet<String>, Duration)> = BTreeMap::new();
    for (second, body) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let now = Duration::from_secs(second);
        election.tick(now);
        let poll = match Poll::parse(body, &limits) {
            Ok(poll) => poll,
            Err(error) if error.to_string().is_empty() => {
                return Err("refused without a reason".to_owned());
            }
            Err(_) => continue,
        };
        bounded(&poll, &limits)?;
        let Outcome::Allowed(allowed) = election.poll(&poll, &Caller::Anybody, now) else {
            continue;
        };
        let inputs: BTreeSet<String> = allowed.inputs().map(str::to_owned).collect();
        let json: Value = serde_json::from_slice(allowed.json()).map_err(sentence)?;
        let listed = json["allowed_inputs"].as_array().map(Vec::len);
        if listed != Some(inputs.len()) {
            return Err(format!("{json} isn't the list of {inputs:?}"));
        }
        let offered: BTreeSet<&str> = poll.offers().map(|(name, _)| name).collect();
        let known: BTreeSet<&str> = poll.running().collect();
        if let Some(foreign) = (inputs.iter())
            .find(|input| !offered.contains(input.as_str()) && !known.contains(input.as_str()))
        {
            return Err(format!("`{foreign}` was neither offered nor running"));
        }
        told.retain(|_, (_, when)| now.saturating_sub(*when) <= timeout);
        let before = told.get(poll.id()).map(|(inputs, _)| inputs.clone());
        for (agent, (others, _)) in &told {
            // An agent may say that it runs what another one runs, too; that it was told to is
            // another matter.
            let new = inputs.iter().find(|input| {
                others.contains(*input)
                    && !known.contains(input.as_str())
                    && !before
                        .as_ref()
                        .is_some_and(|before| before.contains(*input))
            });
            if let (true, Some(shared)) = (agent != poll.id(), new) {
                return Err(format!(
                    "`{shared}` was given to `{agent}` and `{}`",
                    poll.id()
                ));
            }
        }
        told.insert(poll.id().to_owned(), (inputs, now));
    }
    Ok(())
}

fn bounded(poll: &Poll<'_>, limits: &datakit_operator_core::election::tasks::Limits) -> Verdict {
    let mut names = poll.offers().map(|(name, _)| name).chain(poll.running());
    let within = !poll.id().is_empty()
        && poll.id().len() <= limits.id
        && poll.offers().len() <= limits.inputs_of_agent
        && poll.running().len() <= limits.inputs_of_agent
        && names.all(|name| !name.is_empty() && name.len() <= limits.name);
    let offers: Vec<&str> = poll.offers().map(|(name, _)| name).collect();
    let sorted = offers.windows(2).all(|pair| pair[0] < pair[1]);
    if within && sorted {
        Ok(())
    } else {
        Err(format!("a poll beyond its limits: {poll:?}"))
    }
}
