//! Leader election of newer agents: of all agents of one workspace and namespace, one collects what
//! only one may.
//!
//! An agent campaigns; the winner sends heartbeats. The state is one [`Record`] a scope, which the
//! operator keeps in a Lease and changes by compare-and-swap; this is what happens between reading
//! and writing it.
//!
//! No wall clock decides who leads. A leadership ends when its record has not changed for its whole
//! duration, by the monotonic clock of whoever looks ([`Sighting`]). A replica sees a record later
//! than it was written, so it never ends a leadership early, whatever the clocks of other replicas
//! say. A replica that has just started waits a full duration.

use std::time::Duration;

use serde::ser::{Serialize, SerializeStruct, Serializer};

/// Seconds between an agent's requests, as told to it.
pub const INTERVAL_SECONDS: u64 = 3;
/// Seconds that leadership lasts without a heartbeat.
pub const LEASE_SECONDS: u64 = 30;

/// Who leads a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The leader's id. Empty if the leader has resigned.
    pub incumbent: String,
    /// Rises by one whenever somebody takes over.
    pub epoch: u64,
    /// How long it lasts without another heartbeat.
    pub duration: Duration,
}

/// Since when a version of a record has been seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    version: String,
    since: Duration,
}

/// A record, and for how long its present version has been seen.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// As it was read.
    pub record: &'a Record,
    /// See [`Sighting::age`].
    pub age: Duration,
}

/// What an agent asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// To become the leader.
    Campaign,
    /// To stay it.
    Heartbeat,
}

/// Who asks, from the request's query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Of the agents' workspace; secret. Only its hash is ever stored.
    pub token: &'a str,
    /// The agents' election namespace; may be empty.
    pub namespace: &'a str,
    /// The agent.
    pub id: &'a str,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The one who asks leads.
    Success,
    /// It doesn't.
    Defeat,
    /// It can't be said.
    Error,
}

/// Why it can't be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// No token or no id; the answer is 400.
    Incomplete,
    /// The operator may not read or write Leases; 503, like all that follow.
    RbacForbidden,
    /// The operator has just started.
    CacheNotReady,
    /// The API server can't be reached, or the record changed at every attempt to write it.
    StorageUnavailable,
}

/// The body of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// How it went.
    pub status: Status,
    /// As it was asked.
    pub namespace: String,
    /// As it was asked.
    pub id: String,
    /// Who leads; empty if nobody does.
    pub incumbency_id: String,
    /// Of the record; 0 if there is none.
    pub epoch: u64,
    /// Only with [`Status::Error`].
    pub problem: Option<(Problem, String)>,
}

/// Decides one request.
///
/// Returns the answer and, if it is a success, the record that must be written before the answer is
/// given. If writing fails because the stored record has changed, decide again on that.
///
/// A campaign loses as long as a leadership lasts, even the leader's own. A heartbeat prolongs the
/// leader's; once it has run out, even the former leader has to campaign.
pub fn decide(
    seen: Option<Seen<'_>>,
    request: Request,
    candidate: &Candidate<'_>,
) -> (Answer, Option<Record>) {
    if let Err(answer) = check(candidate) {
        return (*answer, None);
    }
    let lasting = seen.filter(Seen::lasts).map(|seen| seen.record);
    let epoch = seen.map_or(0, |seen| seen.record.epoch);
    let written = match (request, lasting) {
        (Request::Campaign, None) => Some(epoch.saturating_add(1)),
        (Request::Heartbeat, Some(leader)) if leader.incumbent == candidate.id => Some(epoch),
        _ => None,
    };
    let written = written.map(|epoch| Record {
        incumbent: candidate.id.to_owned(),
        epoch,
        duration: Duration::from_secs(LEASE_SECONDS),
    });
    let leader = written.as_ref().or(lasting);
    let answer = Answer {
        status: if written.is_some() {
            Status::Success
        } else {
            Status::Defeat
        },
        namespace: candidate.namespace.to_owned(),
        id: candidate.id.to_owned(),
        incumbency_id: leader
            .map(|leader| leader.incumbent.clone())
            .unwrap_or_default(),
        epoch: leader.map_or(epoch, |leader| leader.epoch),
        problem: None,
    };
    (answer, written)
}

/// Whether a request names a token and an id.
///
/// # Errors
/// The answer to give if it doesn't. Boxed, since it is rare.
pub fn check(candidate: &Candidate<'_>) -> Result<(), Box<Answer>> {
    let missing = match (candidate.token.is_empty(), candidate.id.is_empty()) {
        (false, false) => return Ok(()),
        (true, false) => "`token` is missing or empty, expected the workspace's token",
        (false, true) => "`id` is missing or empty, expected the agent's id",
        (true, true) => "`token` and `id` are missing or empty",
    };
    Err(Box::new(Answer::error(
        candidate,
        Problem::Incomplete,
        missing,
    )))
}

/// The name of the Lease of a scope, from the SHA-256 of [`scope`].
pub fn lease_name(sha256: &[u8; 32]) -> String {
    let mut name = String::from("datakit-election-");
    for byte in sha256 {
        for digit in [byte >> 4, byte & 15] {
            name.extend(char::from_digit(u32::from(digit), 16));
        }
    }
    name
}

/// What identifies a scope, to be hashed: no two pairs of token and namespace give the same bytes.
///
/// Both with their lengths before them, as 32 bits, the highest first: so version 1.9 of the
/// operator in Go does, and whoever moves from there to here, or back, keeps the leader.
pub fn scope(token: &str, namespace: &str) -> Vec<u8> {
    let mut scope = Vec::with_capacity(8 + token.len() + namespace.len());
    for part in [token, namespace] {
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        scope.extend_from_slice(&length.to_be_bytes());
        scope.extend_from_slice(part.as_bytes());
    }
    scope
}

impl Sighting {
    /// A version that is seen for the first time. `now` is the time since an arbitrary origin, by a
    /// clock that never jumps, taken after the record was read or written.
    pub fn new(version: impl Into<String>, now: Duration) -> Self {
        Self {
            version: version.into(),
            since: now,
        }
    }

    /// Takes note of the version that has just been read.
    pub fn update(&mut self, version: &str, now: Duration) {
        if self.version != version {
            *self = Self::new(version, now);
        }
    }

    /// The version that was seen last.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// For how long this version has been seen.
    pub fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.since)
    }
}

impl Seen<'_> {
    /// Whether somebody leads still.
    pub fn lasts(&self) -> bool {
        !self.record.incumbent.is_empty() && self.age < self.record.duration
    }
}

impl Answer {
    /// An answer to a request that could not be decided.
    pub fn error(candidate: &Candidate<'_>, problem: Problem, message: impl Into<String>) -> Self {
        Self {
            status: Status::Error,
            namespace: candidate.namespace.to_owned(),
            id: candidate.id.to_owned(),
            incumbency_id: String::new(),
            epoch: 0,
            problem: Some((problem, message.into())),
        }
    }

    /// The HTTP status code of the answer.
    pub fn http_status(&self) -> u16 {
        match self.problem {
            None => 200,
            Some((Problem::Incomplete, _)) => 400,
            Some(_) => 503,
        }
    }
}

impl Status {
    /// `success`, `defeat` or `error`.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Success => "success",
            Status::Defeat => "defeat",
            Status::Error => "error",
        }
    }
}

impl Problem {
    /// The code that agents know; none for a request that is incomplete.
    pub fn code(self) -> Option<&'static str> {
        match self {
            Problem::Incomplete => None,
            Problem::RbacForbidden => Some("rbac_forbidden"),
            Problem::CacheNotReady => Some("cache_not_ready"),
            Problem::StorageUnavailable => Some("storage_unavailable"),
        }
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Answer", 1)?;
        out.serialize_field("content", &Content(self))?;
        out.end()
    }
}

struct Content<'a>(&'a Answer);

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let answer = self.0;
        let message = answer.problem.as_ref().map_or("", |(_, message)| message);
        let code = answer
            .problem
            .as_ref()
            .and_then(|(problem, _)| problem.code());
        let mut out = serializer.serialize_struct("Content", 8 + usize::from(code.is_some()))?;
        out.serialize_field("status", answer.status.as_str())?;
        out.serialize_field("namespace", &answer.namespace)?;
        out.serialize_field("id", &answer.id)?;
        out.serialize_field("incumbency_id", &answer.incumbency_id)?;
        out.serialize_field("error_msg", message)?;
        if let Some(code) = code {
            out.serialize_field("error_code", code)?;
        }
        out.serialize_field("interval", &INTERVAL_SECONDS)?;
        out.serialize_field("lease_duration", &LEASE_SECONDS)?;
        out.serialize_field("epoch", &answer.epoch)?;
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: &str) -> Candidate<'_> {
        Candidate {
            token: "tkn",
            namespace: "prod",
            id,
        }
    }

    /// Runs requests `(seconds, request, id)` on one record; one line each.
    fn check_story(story: &[(u64, Request, &str, &str)]) {
        let mut stored: Option<(Record, Sighting)> = None;
        for (at, (seconds, request, id, expected)) in story.iter().enumerate() {
            let now = Duration::from_secs(*seconds);
            let seen = stored.as_ref().map(|(record, sighting)| Seen {
                record,
                age: sighting.age(now),
            });
            let (answer, written) = decide(seen, *request, &candidate(id));
            let said = format!(
                "{} {:?} {}",
                answer.status.as_str(),
                answer.incumbency_id,
                answer.epoch
            );
            assert_eq!(&said, expected, "{seconds} s: {request:?} of {id}");
            assert_eq!(written.is_some(), answer.status == Status::Success);
            if let Some(record) = written {
                stored = Some((record, Sighting::new(at.to_string(), now)));
            }
        }
    }

    #[test]
    fn a_leadership_from_beginning_to_end() {
        use Request::{Campaign, Heartbeat};
        check_story(&[
            (0, Heartbeat, "a", r#"defeat "" 0"#),
            (0, Campaign, "a", r#"success "a" 1"#),
            (1, Campaign, "a", r#"defeat "a" 1"#),
            (1, Campaign, "b", r#"defeat "a" 1"#),
            (20, Heartbeat, "b", r#"defeat "a" 1"#),
            (20, Heartbeat, "a", r#"success "a" 1"#),
            (49, Campaign, "b", r#"defeat "a" 1"#),
            (50, Heartbeat, "a", r#"defeat "" 1"#),
            (50, Campaign, "b", r#"success "b" 2"#),
            (51, Heartbeat, "a", r#"defeat "b" 2"#),
            (51, Heartbeat, "b", r#"success "b" 2"#),
            (80, Campaign, "a", r#"defeat "b" 2"#),
            (81, Campaign, "b", r#"success "b" 3"#),
        ]);
    }

    /// A version is as old as it has been seen; a new one starts at nothing.
    #[test]
    fn ages_of_sightings() {
        let at = Duration::from_secs;
        let mut sighting = Sighting::new("1", at(100));
        sighting.update("1", at(110));
        assert_eq!(sighting.age(at(120)), at(20));
        // An earlier time, as of a thread that was slower, is no age.
        assert_eq!(sighting.age(at(90)), at(0));
        sighting.update("2", at(120));
        assert_eq!(sighting.age(at(125)), at(5));
    }

    #[test]
    fn how_answers_look() {
        let (answer, _) = decide(None, Request::Campaign, &candidate("a"));
        assert_eq!(
            serde_json::to_string(&answer).unwrap(),
            r#"{"content":{"status":"success","namespace":"prod","id":"a","incumbency_id":"a","error_msg":"","interval":3,"lease_duration":30,"epoch":1}}"#
        );
        let (answer, written) = decide(None, Request::Campaign, &candidate(""));
        assert_eq!((answer.http_status(), written), (400, None));
        let answer = Answer::error(&candidate("a"), Problem::RbacForbidden, "no");
        assert_eq!(answer.http_status(), 503);
        assert_eq!(
            serde_json::to_string(&answer).unwrap(),
            r#"{"content":{"status":"error","namespace":"prod","id":"a","incumbency_id":"","error_msg":"no","error_code":"rbac_forbidden","interval":3,"lease_duration":30,"epoch":0}}"#
        );
    }

    #[test]
    fn scopes_differ() {
        assert_ne!(scope("ab", "c"), scope("a", "bc"));
        assert_eq!(scope("tkn", "a"), b"\0\0\0\x03tkn\0\0\0\x01a");
        let name = lease_name(&[0xa5; 32]);
        assert_eq!(name, format!("datakit-election-{}", "a5".repeat(32)));
        assert!(name.len() <= 253);
    }
}
