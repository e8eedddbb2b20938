//! The routes of agents: task election, and the leader election of newer agents.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use datakit_operator_core::election::leader::{self, Candidate};
use datakit_operator_core::election::{Outcome, Poll, Table};
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use hyper::body::Bytes;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout_at};

use super::body::{self, Unreadable};
use super::respond::{self, JSON};
use crate::election::forward::{FORWARDED, FORWARDER, Forwarded, Forwarder, MAX_HOPS, REPLICAS};
use crate::election::leaders::{Leaders, Reply};
use crate::election::{Office, Ruling};
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
    office: Arc<Office>,
    forwarder: Option<Forwarder>,
    leaders: Leaders,
    bodies: body::Reader,
    metrics: Arc<Metrics>,
}

impl Election {
    /// Decides with `office`, and passes on with `forwarder` what another replica decides.
    #[must_use]
    pub fn new(
        office: Arc<Office>,
        forwarder: Option<Forwarder>,
        leaders: Leaders,
        metrics: Arc<Metrics>,
    ) -> Self {
        let bodies = body::Reader::new(body::Limits {
            bytes: office.settings().limits.body,
            time: BODY_TIME,
            ..body::Limits::default()
        });
        Self {
            office,
            forwarder,
            leaders,
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
                    (REPLICAS_PATH, _) => respond::text(StatusCode::OK, self.office.name()),
                    (_, &Method::POST) => self.poll(request, origin).await,
                    (_, &(Method::GET | Method::HEAD)) => self.table(&request, origin).await,
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
                self.leader(kind, request.uri()).await
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
            if let Some(address) = self.office.elsewhere() {
                let hello = Forwarded {
                    method: Method::GET,
                    path: REPLICAS_PATH,
                    accept: None,
                    body: Bytes::new(),
                    hops: MAX_HOPS,
                };
                if let Err(error) = forwarder.ask(&address, &hello).await {
                    tracing::debug!(cause = chain(&error), "the replica that decides is away");
                }
            }
            sleep(HELLO_INTERVAL).await;
        }
    }

    async fn poll(&self, request: Request<Received>, origin: Origin) -> Answer {
        let body = match self.bodies.read(request.into_body()).await {
            Ok(body) => body,
            Err(unreadable) => {
                if let Some(limit) = Unreadable::limit(&unreadable) {
                    self.metrics.webhook.hit(limit);
                }
                return unreadable.answer();
            }
        };
        let poll = match Poll::parse(&body, &self.office.settings().limits) {
            Ok(poll) => poll,
            Err(bad) => {
                self.metrics.election.bad.inc();
                return respond::text(StatusCode::BAD_REQUEST, &chain(&bad));
            }
        };
        match self.office.poll(&poll) {
            Ruling::Here(Outcome::Allowed(allowed)) => {
                let body = Bytes::copy_from_slice(allowed.json());
                respond::with_body(StatusCode::OK, JSON, body)
            }
            Ruling::Here(Outcome::Wait(wait)) => keep_what_you_have(&wait.to_string()),
            Ruling::Here(Outcome::Refused(refusal)) => {
                respond::text(StatusCode::TOO_MANY_REQUESTS, &refusal.to_string())
            }
            undecided @ (Ruling::Nobody(_) | Ruling::Elsewhere { .. }) => {
                let copy = Forwarded {
                    method: Method::POST,
                    path: ELECTION_PATH,
                    accept: None,
                    body: body.bytes.clone(),
                    hops: 0,
                };
                self.ask_others(undecided, origin, copy).await
            }
        }
    }

    async fn table(&self, request: &Request<Received>, origin: Origin) -> Answer {
        let accept = request.headers().get(ACCEPT);
        match self.office.table() {
            Ruling::Here(table) if wants_text(request.headers()) => respond::with_body(
                StatusCode::OK,
                respond::TEXT,
                as_text(self.office.name(), &table),
            ),
            Ruling::Here(table) => {
                let unassigned: Vec<&str> = table.unassigned.iter().map(|name| &**name).collect();
                let json = json!({
                    "holder": self.office.name(),
                    "phase": table.phase,
                    "agents": table.agents,
                    "unassigned": unassigned,
                });
                respond::with_body(StatusCode::OK, JSON, json.to_string())
            }
            undecided @ (Ruling::Nobody(_) | Ruling::Elsewhere { .. }) => {
                let copy = Forwarded {
                    method: Method::GET,
                    path: ELECTION_PATH,
                    accept: accept.cloned(),
                    body: Bytes::new(),
                    hops: 0,
                };
                self.ask_others(undecided, origin, copy).await
            }
        }
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
    async fn ask_others<T>(&self, ruling: Ruling<T>, origin: Origin, copy: Forwarded) -> Answer {
        let (holder, why) = match ruling {
            Ruling::Elsewhere { address } => (Some(address), String::new()),
            Ruling::Nobody(why) => (None, why),
            Ruling::Here(_) => (None, String::new()),
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
                    said = chain(&error);
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

    async fn leader(&self, kind: leader::Request, uri: &Uri) -> Answer {
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
        let candidate = Candidate {
            token: &token,
            namespace: &namespace,
            id: &id,
        };
        match self.leaders.answer(kind, &candidate).await {
            Reply::Answer(answer) => {
                let status = StatusCode::from_u16(answer.http_status());
                let json = serde_json::to_vec(&answer).unwrap_or_default();
                let status = status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
                respond::with_body(status, JSON, json)
            }
            Reply::TooMany(why) => respond::text(StatusCode::TOO_MANY_REQUESTS, &why),
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

fn wants_text(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.trim_start().starts_with("text/plain"))
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

/// The table for a terminal: one line an agent, then what nobody has.
#[must_use]
pub fn as_text(holder: &str, table: &Table) -> String {
    let mut rows = vec![[
        "AGENT".to_owned(),
        "LAST SEEN".to_owned(),
        "LOAD".to_owned(),
        "INPUTS".to_owned(),
    ]];
    for agent in &table.agents {
        let inputs: Vec<Cow<'_, str>> = agent
            .inputs
            .iter()
            .map(|input| match input.standing.as_str() {
                "active" => Cow::from(&*input.name),
                standing => Cow::from(format!("{} ({standing})", input.name)),
            })
            .collect();
        let shared = if agent.shared_id { " (shared!)" } else { "" };
        rows.push([
            format!("{}{shared}", agent.id),
            format!("{:.1}s ago", agent.last_seen_ms as f64 / 1000.0),
            agent.load.to_string(),
            if inputs.is_empty() {
                "-".to_owned()
            } else {
                inputs.join(", ")
            },
        ]);
    }
    let mut widths = [0; 4];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for [agent, seen, load, inputs] in &rows {
        let [a, s, l, _] = widths;
        let _ = writeln!(text, "{agent:a$}  {seen:s$}  {load:>l$}  {inputs}");
    }
    if !table.unassigned.is_empty() {
        let _ = writeln!(text, "\nnobody has: {}", table.unassigned.join(", "));
    }
    let _ = writeln!(text, "\nholder: {holder}, {}", table.phase);
    text
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
