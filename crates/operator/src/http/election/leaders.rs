//! The leader election of newer agents.

use datakit_operator_core::election::Caller;
use datakit_operator_core::election::leader::{self, Candidate};
use datakit_operator_core::election::text::unprintable;
use http::{StatusCode, Uri};
use serde_json::json;

use super::Election;
use crate::election::leaders::Reply;
use crate::http::query::Query;
use crate::http::respond::{self, JSON};
use crate::listen::Answer;
use crate::telemetry::leaders::Outcome;

impl Election {
    pub(super) async fn leader(&self, kind: leader::Request, uri: &Uri, sender: &Caller) -> Answer {
        let (outcome, answer) = match self.decide(kind, uri, sender).await {
            Ok(decided) => (decided.status.into(), answer_of(&decided)),
            Err(refused) => (Outcome::Error, refused),
        };
        self.metrics.leaders.answered(kind, outcome);
        answer
    }

    /// What agents understand, or why this isn't asked as they do.
    async fn decide(
        &self,
        kind: leader::Request,
        uri: &Uri,
        sender: &Caller,
    ) -> Result<Box<leader::Answer>, Answer> {
        let query = Query::of(uri);
        let (token, namespace, id) = (query.get("token"), query.get("namespace"), query.get("id"));
        for (name, value) in [("token", &token), ("namespace", &namespace), ("id", &id)] {
            const LONGEST: usize = 1024;
            if value.len() > LONGEST {
                let line = format!(
                    "`{name}` has {} bytes, expected at most {LONGEST}",
                    value.len()
                );
                return Err(respond::text(StatusCode::BAD_REQUEST, &line));
            }
        }
        for (name, value) in [("namespace", &namespace), ("id", &id)] {
            if let Some((offset, found)) = unprintable(value) {
                let line = format!(
                    "`{name}` has the character U+{:04X} at byte {offset}, expected only ones that are seen as they are",
                    u32::from(found)
                );
                return Err(respond::text(StatusCode::BAD_REQUEST, &line));
            }
        }
        let candidate = Candidate {
            token: &token,
            namespace: &namespace,
            id: &id,
        };
        let may_try = || self.senders.may_try(sender);
        let reply = self.leaders.answer(kind, &candidate, sender, may_try);
        match reply.await {
            Reply::Answer(answer) => Ok(answer),
            Reply::TooMany(why) => {
                self.metrics.election.too_often.inc();
                Err(respond::text(StatusCode::TOO_MANY_REQUESTS, &why))
            }
        }
    }

    pub(super) async fn status(&self) -> Answer {
        let (status, content) = match self.leaders.status().await {
            Ok(()) => (StatusCode::OK, json!({"status": "ready"})),
            Err((problem, why)) => (
                StatusCode::SERVICE_UNAVAILABLE,
                json!({"status": "error", "error_code": problem.code(), "error_msg": why}),
            ),
        };
        let body = json!({ "content": content }).to_string();
        respond::with_body(status, JSON, body)
    }
}

fn answer_of(decided: &leader::Answer) -> Answer {
    let status = StatusCode::from_u16(decided.http_status());
    let json = serde_json::to_vec(decided).unwrap_or_default();
    let status = status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    respond::with_body(status, JSON, json)
}
