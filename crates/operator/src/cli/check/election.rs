//! Task election, as the replicas tell of it through their status page.

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::report::Found;
use super::{LOG, Subject};
use crate::cli::status;
use crate::telemetry::cluster::Operation;

/// The part of a replica that keeps leaders of newer agents.
const LEADERS: &str = Operation::Leaders.as_str();
/// What the replica says that decides, asked through its status page.
pub(super) async fn check(subject: &Subject<'_>, pods: &[Pod]) -> Found {
    let mut answers = Vec::new();
    let mut trouble = None;
    for pod in pods.iter().filter(|pod| status::is_there(pod)) {
        match status::ask_pod(&subject.client, subject.namespace, pod).await {
            Ok(said) => answers.push(said),
            Err(why) => trouble = Some(why),
        }
    }
    match trouble {
        _ if !answers.is_empty() => told(&answers),
        Some(why) => Found::Skipped(format!("the replicas can't be asked: {why}")),
        None => Found::Skipped("there are no replicas to ask".to_owned()),
    }
}

/// What the status of replicas comes to.
fn told(answers: &[Value]) -> Found {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let decides = |said: &&Value| said["election"]["decides"] == "here";
    let leaders = answers.iter().flat_map(|said| {
        let parts = said["parts"].as_array().into_iter().flatten();
        parts.filter(|part| part["name"] == LEADERS && part["state"] == "failing")
    });
    let failing = leaders
        .map(|part| (text(&part["text"]), text(&part["remedy"])))
        .next();
    match (answers.iter().find(decides), failing) {
        (None, _) => {
            let why = answers.iter().map(|said| text(&said["election"]["why"]));
            let why = why.into_iter().find(|why| !why.is_empty());
            Found::failed(
                format!(
                    "no replica decides{}",
                    why.map(|why| format!(": {why}")).unwrap_or_default()
                ),
                LOG,
            )
        }
        (Some(_), Some((why, remedy))) => {
            Found::warning(format!("newer agents can't elect leaders: {why}"), remedy)
        }
        (Some(said), None) => {
            let election = &said["election"];
            let agents = election["agents"].as_array().map_or(0, Vec::len);
            let more = if election["moreAgents"] == true {
                "+"
            } else {
                ""
            };
            Found::Ok(format!(
                "`{}` decides ({}); agents: {agents}{more}",
                text(&said["replica"]["name"]),
                text(&election["phase"])
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(election: &Value, leaders: &str) -> Value {
        json!({
            "replica": {"name": "replica-a"},
            "election": election,
            "parts": [{"name": LEADERS, "state": leaders, "text": "forbidden", "remedy": "may it?"}],
        })
    }

    #[test]
    fn replicas_tell_of_the_election() {
        let here = || json!({"decides": "here", "phase": "deciding", "agents": [{}, {}], "moreAgents": false});
        let elsewhere = || json!({"decides": "elsewhere", "address": "10.0.0.1:9543"});
        let nobody = || json!({"decides": "nobody", "why": "the Lease can't be read"});
        let all = [said(&elsewhere(), "well"), said(&here(), "well")];
        assert_eq!(
            told(&all),
            Found::Ok("`replica-a` decides (deciding); agents: 2".to_owned())
        );
        let all = [said(&elsewhere(), "failing"), said(&here(), "well")];
        let warning = Found::warning("newer agents can't elect leaders: forbidden", "may it?");
        assert_eq!(told(&all), warning);
        let all = [said(&elsewhere(), "well"), said(&nobody(), "well")];
        let failed = Found::failed("no replica decides: the Lease can't be read", LOG);
        assert_eq!(told(&all), failed);
    }
}
