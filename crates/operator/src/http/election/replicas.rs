//! Replicas among themselves: what one can't decide is passed on to one that can.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, StatusCode};
use hyper::body::Bytes;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Election, REPLICAS_PATH};
use crate::election::Decision;
use crate::election::forward::{FORWARDED, FORWARDER, Forwarded, Forwarder, MAX_HOPS, REPLICAS};
use crate::error::Chain;
use crate::http::respond;
use crate::listen::{Answer, AnswerBody, ConnectAgain, GoElsewhere, Peer, Received};

/// How many replicas are asked what can't be decided here.
const MAX_ASKED: usize = 3;
/// How long that may take in all. With the 4 seconds between polls it stays well within the time
/// after which an agent counts as dead.
const ASKING_TIME: Duration = Duration::from_millis(2_500);
/// How often a replica tells the one that decides that it is there.
const HELLO_INTERVAL: Duration = Duration::from_secs(1);

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// An agent or a person.
    Client,
    /// Another replica, on behalf of one.
    Replica {
        /// How many replicas have passed it on.
        hops: u8,
    },
}

impl Election {
    /// Makes this replica known to the one that decides, and others known to this one, again and
    /// again. A replica that can't read the Lease any more asks those it knows.
    pub async fn stay_known(self: Arc<Self>) {
        let Some(forwarder) = &self.forwarder else {
            return std::future::pending().await;
        };
        loop {
            if let Some(address) = self.coordinator.elsewhere() {
                let hello = Forwarded {
                    method: Method::GET,
                    path: REPLICAS_PATH.into(),
                    client: None,
                    accept: None,
                    body: Bytes::new(),
                    hops: MAX_HOPS,
                };
                if let Err(error) = forwarder.ask(&address, &hello).await {
                    tracing::debug!(cause = %Chain(&error), "the replica that decides is away");
                }
            }
            sleep(HELLO_INTERVAL).await;
        }
    }

    /// Who sent a request; nothing if it claims to be a replica and isn't. Anybody could write the
    /// header; only replicas have the certificate.
    pub(super) fn origin(&self, request: &Request<Received>) -> Option<Origin> {
        let headers = request.headers();
        let Some(hops) = headers.get(FORWARDED) else {
            return (request.uri().path() != REPLICAS_PATH).then_some(Origin::Client);
        };
        let peer = request.extensions().get::<Peer>()?;
        let forwarder = self.forwarder.as_ref()?;
        if !peer.is_replica() {
            return None;
        }
        if let Some(address) = headers.get(FORWARDER) {
            forwarder.learn(address.to_str().unwrap_or_default());
        }
        let hops = hops.to_str().ok().and_then(|hops| hops.parse().ok());
        Some(Origin::Replica {
            hops: hops.unwrap_or(MAX_HOPS),
        })
    }

    pub(super) fn introduce_others(&self, answer: &mut Answer) {
        let known = self.forwarder.as_ref().map(Forwarder::known);
        let known = known.unwrap_or_default().join(",");
        if let Ok(value) = HeaderValue::from_str(&known) {
            answer.headers_mut().insert(REPLICAS, value);
        }
    }

    /// Passes on what can't be decided here: to the replica that decides, or to one that may know
    /// it.
    pub(super) async fn ask_others<T>(
        &self,
        decision: Decision<T>,
        origin: Origin,
        copy: Forwarded,
    ) -> Answer {
        let (holder, why) = match decision {
            Decision::Elsewhere { address } => (Some(address), String::new()),
            Decision::Nobody(why) => (None, why),
            Decision::Here(_) => (None, String::new()),
        };
        let hops = match origin {
            Origin::Client => 0,
            Origin::Replica { hops } => hops,
        };
        let mut said = match why.as_str() {
            "" => "the replica that decides does not answer".to_owned(),
            why => format!("nobody decides: {why}"),
        };
        let Some(forwarder) = &self.forwarder else {
            if holder.is_some() {
                "another replica decides, and this one knows no CA by which it could recognise it; run one replica, or give the certificate's CA as `ca.crt` beside it".clone_into(&mut said);
            }
            return self.no_answer(holder.is_some(), &said);
        };
        if hops >= MAX_HOPS {
            let said = "this replica was asked by another one, but doesn't decide";
            return self.no_answer(holder.is_some(), said);
        }
        let others = match hops {
            0 => forwarder.known(),
            // Who asks has asked the others as well, or will.
            _ => Vec::new(),
        };
        let others = others
            .into_iter()
            .filter(|other| Some(other) != holder.as_ref());
        let copy = Forwarded {
            hops: hops + 1,
            ..copy
        };
        let deadline = Instant::now() + ASKING_TIME;
        for address in holder.iter().cloned().chain(others).take(MAX_ASKED) {
            let Ok(asked) = timeout_at(deadline, forwarder.ask(&address, &copy)).await else {
                break;
            };
            match asked {
                Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => {
                    said = String::from_utf8_lossy(answer.body()).trim_end().to_owned();
                }
                Ok(answer) => {
                    self.metrics.election.forwarded.inc();
                    return passed_on(&answer);
                }
                Err(error) => {
                    said = Chain(&error).to_string();
                    tracing::debug!(cause = said, "failed to pass a request on");
                }
            }
        }
        self.no_answer(holder.is_some(), &said)
    }

    fn no_answer(&self, somebody_decides: bool, why: &str) -> Answer {
        let metrics = &self.metrics.election;
        match somebody_decides {
            true => metrics.unreachable.inc(),
            false => metrics.nobody.inc(),
        };
        let mut answer = keep_what_you_have(why);
        // Another replica may know better.
        answer.extensions_mut().insert(GoElsewhere);
        answer
    }
}

/// The answer of another replica.
fn passed_on(answer: &http::Response<Bytes>) -> Answer {
    let mut copied = http::Response::new(AnswerBody::from(answer.body().clone()));
    *copied.status_mut() = answer.status();
    for name in [CONTENT_TYPE, RETRY_AFTER] {
        if let Some(value) = answer.headers().get(&name) {
            copied.headers_mut().insert(name, value.clone());
        }
    }
    copied
}

/// 503: an agent that gets it goes on as it is and asks again at its next poll.
pub(super) fn keep_what_you_have(why: &str) -> Answer {
    let mut answer = respond::text(StatusCode::SERVICE_UNAVAILABLE, why);
    answer
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("4"));
    answer
}

/// For who says that it passes on a request but isn't a replica of this installation.
pub(super) fn no_replica() -> Answer {
    let line = format!(
        "`{FORWARDED}` is for replicas of this installation, which prove it by their certificate"
    );
    let mut answer = respond::text(StatusCode::FORBIDDEN, &line);
    // A replica that connected before this one knew the CA by which it is recognised.
    answer.extensions_mut().insert(ConnectAgain);
    answer
}
