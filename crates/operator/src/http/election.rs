//! The routes of agents: task election, and the leader election of newer agents.

mod leaders;
mod polls;
mod replicas;
mod senders;
mod table;

use std::sync::Arc;
use std::time::Duration;

use datakit_operator_core::election::leader::Request as Kind;
use http::{Method, Request, StatusCode};

use self::replicas::Origin;
pub use self::table::{Agent, Summary};
use super::{body, respond};
use crate::election::Coordinator;
use crate::election::forward::Forwarder;
use crate::election::leaders::Leaders;
use crate::election::senders::Senders;
use crate::listen::{Answer, Received};
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
/// Time for the body of a poll.
const BODY_TIME: Duration = Duration::from_secs(10);

/// Answers agents.
#[derive(Debug)]
pub struct Election {
    coordinator: Arc<Coordinator>,
    forwarder: Option<Forwarder>,
    leaders: Arc<Leaders>,
    senders: Senders,
    bodies: body::Reader,
    metrics: Arc<Metrics>,
}

impl Election {
    /// Decides with `coordinator` for whom `senders` hears, and passes on with `forwarder` what
    /// another replica decides.
    #[must_use]
    pub fn new(
        coordinator: Arc<Coordinator>,
        forwarder: Option<Forwarder>,
        leaders: Arc<Leaders>,
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

    /// The name of this replica.
    #[must_use]
    pub fn name(&self) -> &str {
        self.coordinator.name()
    }

    /// Where other replicas are reached that this one has heard of.
    #[must_use]
    pub fn others(&self) -> Vec<String> {
        let known = self.forwarder.as_ref().map(Forwarder::known);
        let known = known.unwrap_or_default();
        known.iter().map(ToString::to_string).collect()
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
                    return replicas::no_replica();
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
                    CAMPAIGN_PATH => Kind::Campaign,
                    _ => Kind::Heartbeat,
                };
                match self.sender(&request, Origin::Client).await {
                    Ok(sender) => self.leader(kind, request.uri(), &sender).await,
                    Err(answer) => answer,
                }
            }
            _ => respond::method_not_allowed(method, "POST"),
        }
    }
}
