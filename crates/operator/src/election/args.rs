//! The options of task election, and the settings that they come to.

use std::time::Duration;

use datakit_operator_core::election::tasks;

use super::senders;
use crate::values::{duration, positive_duration};

/// Options about task election.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Task election")]
pub struct Args {
    /// An agent that is silent for longer is dead, and its inputs go to others; agents poll every
    /// 4s
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = positive_duration)]
    pub agent_timeout: Duration,

    /// How long to listen to what agents run, after a start or a change of the replica that
    /// decides, before anything is given out
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub election_listening: Duration,

    /// Agents at once
    #[arg(long, value_name = "N", default_value = "20000", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_agents: u32,

    /// What the addresses of agents say: `distinct`, each reaches the operator from its own, which
    /// doesn't change while it runs; `shared`, nothing, since a proxy or a load balancer is
    /// between, so nobody can be told from anybody else
    #[arg(
        long,
        value_name = "KIND",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub agent_addresses: senders::Addresses,

    /// Requests to the election in a second from one address, and four times as many at once;
    /// agents poll every 4s
    #[arg(long, value_name = "N", default_value = "500", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_requests_per_address: u32,

    /// Whether agents must prove who they are, by a client certificate or a bearer token: `off`,
    /// `optional` or `required`
    #[arg(
        long,
        value_name = "WHETHER",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub election_auth: senders::Auth,

    /// A user, group or name in a certificate that is an agent (can be repeated) [default: whoever
    /// proves to be somebody]
    #[arg(long, value_name = "NAME")]
    pub election_agent: Vec<String>,

    /// An audience that tokens of agents may be made for (can be repeated) [default: the API
    /// server's]
    #[arg(long, value_name = "NAME")]
    pub election_audience: Vec<String>,
}

impl Args {
    /// How task election behaves.
    #[must_use]
    pub fn tasks(&self) -> tasks::Settings {
        let settings = tasks::Settings::default();
        tasks::Settings {
            agent_timeout: self.agent_timeout,
            relearning: self.election_listening,
            limits: tasks::Limits {
                agents: self.max_agents as usize,
                ..settings.limits
            },
            ..settings
        }
    }

    /// Whom it hears.
    #[must_use]
    pub fn senders(&self) -> senders::Settings {
        senders::Settings {
            auth: self.election_auth,
            agents: self.election_agent.clone(),
            addresses: self.agent_addresses,
            per_second: self.max_requests_per_address,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn what_runs_is_what_the_options_say() {
        let Line { args } = Line::parse_from(["x"]);
        assert_eq!(args.tasks(), tasks::Settings::default());
        let line = "x --agent-timeout 11s --election-listening 12s --max-agents 13 \
                    --agent-addresses shared --max-requests-per-address 14 \
                    --election-auth required --election-agent a --election-agent b";
        let Line { args } = Line::parse_from(line.split_whitespace());
        let (tasks, senders) = (args.tasks(), args.senders());
        let times = (tasks.agent_timeout.as_secs(), tasks.relearning.as_secs());
        assert_eq!((times, tasks.limits.agents), ((11, 12), 13));
        assert_eq!(senders.auth, senders::Auth::Required);
        assert_eq!(senders.addresses, senders::Addresses::Shared);
        assert_eq!(
            (senders.agents.join(","), senders.per_second),
            ("a,b".to_owned(), 14)
        );
    }
}
