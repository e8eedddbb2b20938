//! The routes of agents: task election, and the leader election of newer agents.

mod table;

use std::sync::Arc;
use std::time::Duration;

use datakit_operator_core::election::Caller;
use datakit_operator_core::election::leader::{self, Candidate};
use datakit_operator_core::election::tasks::{Outcome, Poll};
use datakit_operator_core::election::text::unprintable;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use hyper::body::Bytes;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout_at};

use super::body::{self, Unreadable};
use super::respond::{self, JSON};
use crate::election::forward::{
    CLIENT, FORWARDED, FORWARDER, Forwarded, Forwarder, MAX_HOPS, REPLICAS,
};
use crate::election::leaders::{Leaders, Reply};
use crate::election::senders::{self, Denied, Senders};
use crate::election::{Coordinator, Decision};
use crate::error::Chain;
use crate::listen::{Answer, AnswerBody, ConnectAgain, GoElsewhere, Peer, Received};
use crate::telemetry::metrics::Metrics;

/// The path of task election.
pub const ELECTION_PATH: &str = "/v1/datakit/election";
/// The path of a campaign for leadership.
const CAMPAIGN_PATH: &str = "/v1/dk-election";
/// The path of a leader's heartbeat.
const HEARTBEAT_PATH: &str = "/v1/dk-election/heartbeat";
/// The path by which replicas get to know each other.
const REPLICAS_PATH: &str = "/v1/datakit/election/replicas";
/// The path that tells whether leadership can be decided.
const STATUS_PATH: &str = "/v1/dk-election/status";
/// How many replicas are asked what can't be decided here.
const MAX_ASKED: usize = 3;
/// How long that may take in all. With the 4 seconds between polls it stays well within the time after which an agent
/// counts as dead.
const ASKING_TIME: Duration = Duration::from_millis(2_500);
/// How often a replica tells the one that decides that it is there.
const HELLO_INTERVAL: Duration = Duration::from_secs(1);
/// Time for one of them.
const BODY_TIME: Duration = Duration::from_secs(10);

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// An agent or a person.
    Client,
    /// Another replica, on behalf of one.
    Replica {
        /// How many replicas have passed it on.
        hops: u8,
    },
}

/// Answers agents.
#[derive(Debug)]
pub struct Election {
    coordinator: Arc<Coordinator>,
    forwarder: Option<Forwarder>,
    leaders: Leaders,
    senders: Senders,
    bodies: body::Reader,
    metrics: Arc<Metrics>,
}

impl Election {
    /// Decides with `coordinator` for whom `senders` hears, and passes on with `forwarder` what another replica decides.
    #[must_use]
    pub fn new(
        coordinator: Arc<Coordinator>,
        forwarder: Option<Forwarder>,
        leaders: Leaders,
        senders: Senders,
        metrics: Arc<Metrics>,
    ) -> Self {
        let bodies = body::Reader::new(body::Limits {
            bytes: coordinator.settings().limits.body,
            time: BODY_TIME,
            ..body::Limits::default()
        });
        Self {
            coordinator,
            forwarder,
            leaders,
            senders,
            bodies,
            metrics,
        }
    }

    /// Whether a path is one of these.
    #[must_use]
    pub fn has(path: &str) -> bool {
        matches!(
            path,
            ELECTION_PATH | REPLICAS_PATH | CAMPAIGN_PATH | HEARTBEAT_PATH | STATUS_PATH
        )
    }

    /// Answers a request for one of the paths.
    pub async fn handle(&self, request: Request<Received>) -> Answer {
        let method = request.method();
        match request.uri().path() {
            path @ (ELECTION_PATH | REPLICAS_PATH) => {
                let Some(origin) = self.origin(&request) else {
                    return no_replica();
                };
                let mut answer = match (path, method) {
                    (REPLICAS_PATH, _) => respond::text(StatusCode::OK, self.coordinator.name()),
                    (_, &Method::POST) => self.poll(request, origin).await,
                    (_, &(Method::GET | Method::HEAD)) => {
                        match self.onlooker(&request, origin).await {
                            Ok(()) => self.table(&request, origin).await,
                            Err(answer) => answer,
                        }
                    }
                    _ => return respond::method_not_allowed(method, "GET, HEAD, POST"),
                };
                if origin != Origin::Client {
                    self.introduce_others(&mut answer);
                }
                answer
            }
            STATUS_PATH => match *method {
                Method::GET | Method::HEAD => self.status().await,
                _ => respond::method_not_allowed(method, "GET, HEAD"),
            },
            path if *method == Method::POST => {
                let kind = match path {
                    CAMPAIGN_PATH => leader::Request::Campaign,
                    _ => leader::Request::Heartbeat,
                };
                match self.sender(&request, Origin::Client).await {
                    Ok(sender) => self.leader(kind, request.uri(), &sender).await,
                    Err(answer) => answer,
                }
            }
            _ => respond::method_not_allowed(method, "POST"),
        }
    }

    /// Makes this replica known to the one that decides, and others known to this one, again and again. A replica that
    /// can't read the Lease any more asks those it knows.
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

    async fn poll(&self, request: Request<Received>, origin: Origin) -> Answer {
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

    async fn table(&self, request: &Request<Received>, origin: Origin) -> Answer {
        let query = Query::of(request.uri());
        let (limit, from) = match table::asked(&query.get("limit"), &query.get("continue")) {
            Ok(asked) => asked,
            Err(line) => return respond::text(StatusCode::BAD_REQUEST, &line),
        };
        match self.coordinator.page(&from, table::size(limit)) {
            Decision::Here(page) if table::wants_text(request.headers()) => respond::with_body(
                StatusCode::OK,
                respond::TEXT,
                table::as_text(self.coordinator.name(), &page),
            ),
            Decision::Here(page) => {
                let json = table::as_json(self.coordinator.name(), &page);
                respond::with_body(StatusCode::OK, JSON, json)
            }
            undecided @ (Decision::Nobody(_) | Decision::Elsewhere { .. }) => {
                let path = format!("{ELECTION_PATH}?limit={limit}&continue={from}");
                let copy = Forwarded {
                    method: Method::GET,
                    path: path.into(),
                    client: None,
                    accept: request.headers().get(ACCEPT).cloned(),
                    body: Bytes::new(),
                    hops: 0,
                };
                self.ask_others(undecided, origin, copy).await
            }
        }
    }

    /// Who polls: the client, or whom a replica passes the poll on for. A replica of an earlier version doesn't say.
    async fn sender(&self, request: &Request<Received>, origin: Origin) -> Result<Caller, Answer> {
        let headers = request.headers();
        if origin != Origin::Client {
            let said = headers.get(CLIENT).and_then(|value| value.to_str().ok());
            return Ok(said.and_then(senders::read).unwrap_or(Caller::Anybody));
        }
        let Some(peer) = request.extensions().get::<Peer>() else {
            return Ok(Caller::Anybody);
        };
        let recognised = self.senders.recognise(peer, headers).await;
        recognised.map_err(|denied| self.deny(&denied))
    }

    /// Whether somebody may look, who need not be an agent: on this machine everybody may, by whom `kubectl exec` and
    /// `kubectl port-forward` arrive.
    async fn onlooker(&self, request: &Request<Received>, origin: Origin) -> Result<(), Answer> {
        let here = request
            .extensions()
            .get::<Peer>()
            .is_none_or(Senders::is_here);
        if here && request.headers().get(AUTHORIZATION).is_none() {
            return Ok(());
        }
        self.sender(request, origin).await.map(drop)
    }

    fn deny(&self, denied: &Denied) -> Answer {
        let status = denied.status();
        match status {
            StatusCode::TOO_MANY_REQUESTS => self.metrics.election.too_often.inc(),
            _ => self.metrics.election.denied.inc(),
        };
        let mut answer = respond::text(status, &denied.to_string());
        let headers = answer.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        } else if status != StatusCode::FORBIDDEN {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("4"));
        }
        answer
    }

    /// Who sent a request; nothing if it claims to be a replica and isn't. Anybody could write the header; only replicas
    /// have the certificate.
    fn origin(&self, request: &Request<Received>) -> Option<Origin> {
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

    fn introduce_others(&self, answer: &mut Answer) {
        let known = self.forwarder.as_ref().map(Forwarder::known);
        let known = known.unwrap_or_default().join(",");
        if let Ok(value) = HeaderValue::from_str(&known) {
            answer.headers_mut().insert(REPLICAS, value);
        }
    }

    /// Passes on what can't be decided here: to the replica that decides, or to one that may know it.
    async fn ask_others<T>(
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

    async fn leader(&self, kind: leader::Request, uri: &Uri, sender: &Caller) -> Answer {
        let query = Query::of(uri);
        let (token, namespace, id) = (query.get("token"), query.get("namespace"), query.get("id"));
        for (name, value) in [("token", &token), ("namespace", &namespace), ("id", &id)] {
            const LONGEST: usize = 1024;
            if value.len() > LONGEST {
                let line = format!(
                    "`{name}` has {} bytes, expected at most {LONGEST}",
                    value.len()
                );
                return respond::text(StatusCode::BAD_REQUEST, &line);
            }
        }
        for (name, value) in [("namespace", &namespace), ("id", &id)] {
            if let Some((offset, found)) = unprintable(value) {
                let line = format!(
                    "`{name}` has the character U+{:04X} at byte {offset}, expected only ones that are seen as they are",
                    u32::from(found)
                );
                return respond::text(StatusCode::BAD_REQUEST, &line);
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
            Reply::Answer(answer) => {
                let status = StatusCode::from_u16(answer.http_status());
                let json = serde_json::to_vec(&answer).unwrap_or_default();
                let status = status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
                respond::with_body(status, JSON, json)
            }
            Reply::TooMany(why) => {
                self.metrics.election.too_often.inc();
                respond::text(StatusCode::TOO_MANY_REQUESTS, &why)
            }
        }
    }

    async fn status(&self) -> Answer {
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
fn keep_what_you_have(why: &str) -> Answer {
    let mut answer = respond::text(StatusCode::SERVICE_UNAVAILABLE, why);
    answer
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("4"));
    answer
}

/// For who says that it passes on a request but isn't a replica of this installation.
fn no_replica() -> Answer {
    let line = format!(
        "`{FORWARDED}` is for replicas of this installation, which prove it by their certificate"
    );
    let mut answer = respond::text(StatusCode::FORBIDDEN, &line);
    // A replica that connected before this one knew the CA by which it is recognised.
    answer.extensions_mut().insert(ConnectAgain);
    answer
}

/// The parameters of a query, decoded as forms are.
struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    fn of(uri: &'a Uri) -> Self {
        Self(uri.query().unwrap_or_default())
    }

    /// The first value of a parameter; empty if there is none.
    fn get(&self, name: &str) -> String {
        self.0
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| decode(key) == name)
            .map(|(_, value)| decode(value))
            .unwrap_or_default()
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, more)) = rest.split_first() {
        let hex = |at: usize| more.get(at).and_then(|byte| (*byte as char).to_digit(16));
        rest = more;
        match (byte, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &more[2..];
            }
            (b'+', ..) => bytes.push(b' '),
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let check = |query: &str, want: [&str; 2]| {
            let uri: Uri = format!("/v1/dk-election?{query}").parse().unwrap();
            let query = Query::of(&uri);
            assert_eq!([query.get("token"), query.get("id")], want);
        };
        check("token=a&id=b", ["a", "b"]);
        check("id=b&namespace=&token=", ["", "b"]);
        check("token=a%2Bb+c%25&id=%e4%bd%a0", ["a+b c%", "你"]);
        check("token=%&id=%4", ["%", "%4"]);
        check("token=1&token=2", ["1", ""]);
        check("", ["", ""]);
    }
}
