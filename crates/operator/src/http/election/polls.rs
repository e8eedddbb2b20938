//! Polls: an agent says what it can run, and is told what it may run.

use datakit_operator_core::election::tasks::{Outcome, Poll};
use http::{Method, Request, StatusCode};
use hyper::body::Bytes;

use super::replicas::{Origin, keep_what_you_have};
use super::{ELECTION_PATH, Election};
use crate::election::Decision;
use crate::election::forward::Forwarded;
use crate::error::Chain;
use crate::http::body::Unreadable;
use crate::http::respond::{self, JSON};
use crate::listen::{Answer, Received};

impl Election {
    pub(super) async fn poll(&self, request: Request<Received>, origin: Origin) -> Answer {
        let sender = match self.sender(&request, origin).await {
            Ok(sender) => sender,
            Err(answer) => return answer,
        };
        let body = match self.bodies.read(request.into_body()).await {
            Ok(body) => body,
            Err(unreadable) => {
                if let Some(limit) = Unreadable::limit(&unreadable) {
                    self.metrics.webhook.hit(limit);
                }
                return unreadable.answer();
            }
        };
        let poll = match Poll::parse(&body, &self.coordinator.settings().limits) {
            Ok(poll) => poll,
            Err(bad) => {
                self.metrics.election.bad.inc();
                return respond::text(StatusCode::BAD_REQUEST, &Chain(&bad).to_string());
            }
        };
        match self.coordinator.poll(&poll, &sender) {
            Decision::Here(Outcome::Allowed(allowed)) => {
                let body = Bytes::copy_from_slice(allowed.json());
                respond::with_body(StatusCode::OK, JSON, body)
            }
            Decision::Here(Outcome::Wait(wait)) => keep_what_you_have(&wait.to_string()),
            Decision::Here(Outcome::Refused(refusal)) => {
                respond::text(StatusCode::TOO_MANY_REQUESTS, &refusal.to_string())
            }
            undecided @ (Decision::Nobody(_) | Decision::Elsewhere { .. }) => {
                let copy = Forwarded {
                    method: Method::POST,
                    path: ELECTION_PATH.into(),
                    client: Some(sender),
                    accept: None,
                    body: body.bytes.clone(),
                    hops: 0,
                };
                self.ask_others(undecided, origin, copy).await
            }
        }
    }
}
