//! Lets each ClusterLoggingConfig say what becomes of it: a condition, and an Event where somebody
//! has to change it.
//!
//! The holder of the Lease writes, by server-side apply, the one condition and nothing else, and only
//! where the object doesn't say it already. Whatever keeps it from that (a right that is missing, a
//! kind that has no status) costs conditions, and nothing else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datakit_operator_core::logging::{LoggingConfigs, Standing, Verdict};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::super::alarm::alarm;
use super::{Kept, Shared};
use crate::clock;
use crate::cluster::trouble::Trouble;
use crate::state::{Incident, Matter, Object};
use crate::telemetry::cluster::Operation;

/// The condition's `type`.
pub(super) const TYPE: &str = "Accepted";
/// Who has set it, in the object's managed fields.
const MANAGER: &str = "datakit-operator-status";
/// The objects are looked at no more often than this.
const PERIOD: Duration = Duration::from_secs(1);
/// So many conditions are written, and objects told by Events, each time: ten a second.
const AT_ONCE: usize = 10;
/// What was written and isn't there is written again after so long: somebody else may insist on
/// something else, or the kind's schema may drop it.
const AGAIN: Duration = Duration::from_secs(600);
/// How long nothing is written after it was refused for want of a right, or of a status.
const REFUSED: Duration = Duration::from_secs(30);
/// The longest wait for an answer to a write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// What is said where the kind has no status.
const NO_STATUS: &str =
    "the kind in the cluster has no status; the current one has (docs/logging.md)";
/// What is said by replicas that don't write.
const NOT_MINE: &str = "the replica that holds the Lease writes them";

/// Writes them for ever.
pub(super) async fn run(
    client: Client,
    kind: ApiResource,
    mut objects: watch::Receiver<Vec<Arc<Kept>>>,
    shared: &Shared,
) {
    let mut leadership = shared.leadership.clone();
    let mut writer = Writer {
        api: Api::all_with(client.clone(), &kind),
        client,
        kind,
        trouble: Trouble::new(Operation::LoggingConditions, &shared.metrics),
        ledger: Ledger::default(),
        not_before: Instant::now(),
    };
    let mut look = true;
    let mut wake = None;
    loop {
        if !leadership.borrow_and_update().is_mine() {
            writer.trouble.idle(NOT_MINE);
            (look, wake) = (true, None);
        } else if look {
            let seen = objects.borrow_and_update().clone();
            look = false;
            wake = writer.look(&seen, shared).await;
        }
        sleep(PERIOD).await;
        tokio::select! {
            Ok(()) = objects.changed() => look = true,
            Ok(()) = leadership.changed() => {}
            () = alarm(wake) => look = true,
        }
    }
}

struct Writer {
    client: Client,
    api: Api<DynamicObject>,
    kind: ApiResource,
    trouble: Trouble,
    ledger: Ledger,
    /// Until then nothing is written.
    not_before: Instant,
}

/// What was written and told by this replica, of objects that exist.
#[derive(Debug, Default)]
struct Ledger {
    /// By the object's uid.
    entries: HashMap<String, Entry>,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    /// What was written, or tried to be, and when.
    written: Option<(Statement, Instant)>,
    /// What the object was told by an Event.
    told: Option<String>,
}

/// What a condition says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    verdict: Verdict,
    generation: Option<i64>,
}

/// A condition that is to be written.
#[derive(Clone, Debug)]
struct Write {
    object: Arc<Kept>,
    statement: Statement,
}

/// What is to be done now.
#[derive(Debug, Default)]
struct Plan {
    writes: Vec<Write>,
    tell: Vec<(Arc<Kept>, Verdict)>,
    /// Whether there is more than that.
    more: bool,
    /// When what was written is to be looked at again.
    again: Option<Instant>,
}

impl Ledger {
    /// What of the objects is to be written and told at this time. Conditions of objects that aren't
    /// accepted come first.
    fn plan(&mut self, objects: &[Arc<Kept>], now: Instant) -> Plan {
        let mut configs = LoggingConfigs::default();
        let mut by_name = HashMap::with_capacity(objects.len());
        for kept in objects {
            configs.apply(Arc::clone(&kept.config));
            by_name.insert(kept.config.name(), kept);
        }
        let mut plan = Plan::default();
        let mut entries = HashMap::with_capacity(objects.len());
        for (config, verdict) in configs.verdicts() {
            let Some(kept) = by_name.get(config.name()) else {
                continue;
            };
            let mut entry = self.entries.remove(&kept.uid).unwrap_or_default();
            self::tell(kept, &verdict, &mut entry, &mut plan);
            let statement = Statement {
                verdict,
                generation: kept.generation,
            };
            match entry
                .written
                .as_ref()
                .filter(|(said, _)| *said == statement)
            {
                _ if statement.is_made_by(kept.condition.as_ref()) => {}
                Some((_, at)) if now < *at + AGAIN => {
                    let again = *at + AGAIN;
                    plan.again = Some(plan.again.map_or(again, |other| other.min(again)));
                }
                _ => plan.writes.push(Write {
                    object: Arc::clone(kept),
                    statement,
                }),
            }
            entries.insert(kept.uid.clone(), entry);
        }
        self.entries = entries;
        let accepted = |write: &Write| write.statement.verdict.standing.is_accepted();
        plan.writes.sort_by_key(accepted);
        plan.more |= plan.writes.len() > AT_ONCE;
        plan.writes.truncate(AT_ONCE);
        plan
    }

    fn wrote(&mut self, write: &Write, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&write.object.uid) {
            entry.written = Some((write.statement.clone(), now));
        }
    }
}

/// Plans to tell an object by an Event what is wrong with it, once: not again where its condition
/// says it, which somebody has told before.
fn tell(kept: &Arc<Kept>, verdict: &Verdict, entry: &mut Entry, plan: &mut Plan) {
    if !verdict.standing.is_mistake() {
        entry.told = None;
        return;
    }
    if entry.told.as_ref() == Some(&verdict.message) {
        return;
    }
    let said = kept.condition.as_ref();
    let known = said.is_some_and(|said| said.message == verdict.message);
    if !known && plan.tell.len() >= AT_ONCE {
        plan.more = true;
        return;
    }
    if !known {
        plan.tell.push((Arc::clone(kept), verdict.clone()));
    }
    entry.told = Some(verdict.message.clone());
}

impl Statement {
    /// Whether this condition says it.
    fn is_made_by(&self, condition: Option<&Condition>) -> bool {
        condition.is_some_and(|said| {
            said.status == status(self.verdict.standing)
                && said.reason == self.verdict.standing.reason()
                && said.message == self.verdict.message
                && said.observed_generation == self.generation
        })
    }
}

impl Write {
    fn condition(&self) -> Condition {
        let Statement {
            verdict,
            generation,
        } = &self.statement;
        let status = status(verdict.standing);
        let before = self.object.condition.as_ref();
        let since = before.filter(|before| before.status == status);
        let since = since.map(|before| before.last_transition_time.clone());
        let now = || Time(Timestamp::try_from(clock::now()).unwrap_or(Timestamp::UNIX_EPOCH));
        Condition {
            type_: TYPE.to_owned(),
            status: status.to_owned(),
            reason: verdict.standing.reason().to_owned(),
            message: verdict.message.clone(),
            observed_generation: *generation,
            last_transition_time: since.unwrap_or_else(now),
        }
    }
}

fn status(standing: Standing) -> &'static str {
    match standing.is_accepted() {
        true => "True",
        false => "False",
    }
}

enum Unwritten {
    /// The object was deleted or replaced meanwhile, which the watch tells.
    Outdated,
    /// The kind has no status.
    NoStatus,
    /// A right is missing.
    Forbidden(kube::Error),
    Refused(kube::Error),
    Late(tokio::time::error::Elapsed),
}

impl Writer {
    /// Writes and tells what there is to write and tell now, as far as that may be. Returns when to
    /// look again.
    async fn look(&mut self, objects: &[Arc<Kept>], shared: &Shared) -> Option<Instant> {
        let now = Instant::now();
        let Plan {
            writes,
            tell,
            mut more,
            again,
        } = self.ledger.plan(objects, now);
        for (kept, verdict) in tell {
            shared.incidents.tell_of(self.incident(&kept, verdict));
        }
        if writes.is_empty() {
            self.trouble.idle("");
        }
        if now < self.not_before {
            more |= !writes.is_empty();
        } else {
            for write in &writes {
                if !shared.leadership.borrow().is_mine() {
                    break;
                }
                if !self.try_to_write(write).await {
                    more = true;
                    break;
                }
            }
        }
        match more {
            true => Some(self.not_before.max(now + PERIOD)),
            false => again,
        }
    }

    /// Returns whether others may be written now.
    async fn try_to_write(&mut self, write: &Write) -> bool {
        let written = self.write(write).await;
        let now = Instant::now();
        match written {
            Ok(()) => {
                self.trouble.worked();
                self.ledger.wrote(write, now);
                return true;
            }
            Err(Unwritten::Outdated) => {
                self.ledger.wrote(write, now);
                return true;
            }
            Err(Unwritten::NoStatus) => {
                self.trouble.idle(NO_STATUS);
                self.not_before = now + REFUSED;
            }
            Err(Unwritten::Forbidden(error)) => {
                let _ = self.trouble.failed(&error);
                self.not_before = now + REFUSED;
            }
            Err(Unwritten::Refused(error)) => {
                self.not_before = now + self.trouble.failed(&error);
                // The others come first: it may be the only one that is refused.
                self.ledger.wrote(write, now);
            }
            Err(Unwritten::Late(elapsed)) => {
                self.not_before = now + self.trouble.failed(&elapsed);
            }
        }
        false
    }

    async fn write(&self, write: &Write) -> Result<(), Unwritten> {
        let name = write.object.config.name();
        let patch = json!({
            "apiVersion": self.kind.api_version,
            "kind": self.kind.kind,
            // With the uid, one that was made anew with this name is left alone.
            "metadata": {"name": name, "uid": write.object.uid},
            "status": {"conditions": [write.condition()]},
        });
        let (params, patch) = (PatchParams::apply(MANAGER).force(), Patch::Apply(&patch));
        let patched = self.api.patch_status(name, &params, &patch);
        match timeout(WRITE_TIMEOUT, patched).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => self.why_not_found().await,
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => Err(Unwritten::Outdated),
            Ok(Err(error)) => Err(match &error {
                kube::Error::Api(status) if matches!(status.code, 401 | 403) => {
                    Unwritten::Forbidden(error)
                }
                _ => Unwritten::Refused(error),
            }),
            Err(elapsed) => Err(Unwritten::Late(elapsed)),
        }
    }

    /// The API server says the same of an object that is gone and of a kind without a status; what
    /// there is of the kind tells.
    async fn why_not_found(&self) -> Result<(), Unwritten> {
        let asked = self.client.list_api_group_resources(&self.kind.api_version);
        let listed = match timeout(WRITE_TIMEOUT, asked).await {
            Ok(Ok(listed)) => listed,
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
                return Err(Unwritten::Outdated);
            }
            Ok(Err(error)) => return Err(Unwritten::Refused(error)),
            Err(elapsed) => return Err(Unwritten::Late(elapsed)),
        };
        let status = format!("{}/status", self.kind.plural);
        match listed.resources.iter().any(|one| one.name == status) {
            true => Err(Unwritten::Outdated),
            false => Err(Unwritten::NoStatus),
        }
    }

    fn incident(&self, kept: &Kept, verdict: Verdict) -> Incident {
        Incident {
            namespace: String::new(),
            owner: Object {
                api_version: self.kind.api_version.clone(),
                kind: self.kind.kind.clone(),
                name: kept.config.name().to_owned(),
                uid: kept.uid.clone(),
            },
            code: verdict.standing.reason(),
            matter: Matter::LoggingConfig,
            sentence: verdict.message,
        }
    }
}

#[cfg(test)]
mod tests {
    use datakit_operator_core::logging::LoggingConfig;
    use serde_json::Value;

    use super::*;

    fn kept(number: usize, spec: &Value, condition: Option<Condition>) -> Arc<Kept> {
        let created = format!("2026-01-01T00:{:02}:{:02}Z", number / 60, number % 60);
        Arc::new(Kept {
            config: Arc::new(LoggingConfig::new(format!("n{number}"), created, spec)),
            uid: format!("u{number}"),
            generation: Some(1),
            condition,
        })
    }

    fn good(number: usize) -> Value {
        json!({"selector": {"podRegex": format!("^{number}$")}})
    }

    fn bad() -> Value {
        json!({"selector": {"podRegex": "("}})
    }

    fn names(writes: &[Write]) -> Vec<&str> {
        let names = writes.iter().map(|write| write.object.config.name());
        names.collect()
    }

    #[test]
    fn an_object_is_written_once_and_told_once() {
        let now = Instant::now();
        let mut ledger = Ledger::default();
        let objects = [kept(0, &good(0), None), kept(1, &bad(), None)];
        let plan = ledger.plan(&objects, now);
        // What isn't accepted comes first.
        assert_eq!(names(&plan.writes), ["n1", "n0"]);
        assert_eq!((plan.tell.len(), plan.more), (1, false));
        assert!(plan.tell[0].1.message.contains("podRegex `(`"));
        // It couldn't be written: no other Event.
        let again = ledger.plan(&objects, now);
        assert_eq!((again.writes.len(), again.tell.len()), (2, 0));
        for write in &plan.writes {
            ledger.wrote(write, now);
        }
        // The watch hasn't shown it yet, or somebody has changed it.
        let plan = ledger.plan(&objects, now);
        assert_eq!(
            (plan.writes.len(), plan.again),
            (0, Some(now + AGAIN)),
            "{plan:?}"
        );
        assert_eq!(ledger.plan(&objects, now + AGAIN).writes.len(), 2);
        // Another replica becomes the holder, and finds everything said.
        let said = again.writes.iter().map(Write::condition);
        let [of_bad, of_good] = said.collect::<Vec<_>>().try_into().unwrap();
        let objects = [
            kept(0, &good(0), Some(of_good)),
            kept(1, &bad(), Some(of_bad)),
        ];
        let plan = Ledger::default().plan(&objects, now);
        assert_eq!(
            (plan.writes.len(), plan.tell.len(), plan.again),
            (0, 0, None)
        );
        // Nothing is remembered of objects that are gone.
        ledger.plan(&[], now);
        assert!(ledger.entries.is_empty());
    }

    #[test]
    fn a_transition_has_a_time_and_a_generation() {
        let mut ledger = Ledger::default();
        let long_ago = Time(Timestamp::UNIX_EPOCH);
        let before = |status: &str| Condition {
            last_transition_time: long_ago.clone(),
            message: "before".to_owned(),
            observed_generation: Some(0),
            reason: "Before".to_owned(),
            status: status.to_owned(),
            type_: TYPE.to_owned(),
        };
        for (spec, status, reason, is_new) in [
            (bad(), "False", "InvalidSelector", false),
            (bad(), "True", "InvalidSelector", true),
            (good(0), "True", "Accepted", false),
            (good(0), "False", "Accepted", true),
        ] {
            let objects = [kept(0, &spec, Some(before(status)))];
            let plan = ledger.plan(&objects, Instant::now());
            let condition = plan.writes[0].condition();
            assert_eq!(condition.reason, reason);
            assert_eq!(condition.observed_generation, Some(1));
            let changed = condition.last_transition_time != long_ago;
            assert_eq!(changed, is_new, "{status} {condition:?}");
            assert_eq!(condition.status != status, is_new);
        }
    }

    /// However many there are, so many are written at once, and none is left out.
    #[test]
    fn many_are_written_bit_by_bit() {
        let mut objects: Vec<_> = (0..25).map(|n| kept(n, &good(n), None)).collect();
        objects.extend((25..50).map(|n| kept(n, &bad(), None)));
        let mut ledger = Ledger::default();
        let (mut now, mut written, mut told) = (Instant::now(), Vec::new(), 0);
        loop {
            let plan = ledger.plan(&objects, now);
            assert!(plan.writes.len() <= AT_ONCE && plan.tell.len() <= AT_ONCE);
            told += plan.tell.len();
            for write in &plan.writes {
                ledger.wrote(write, now);
                written.push(write.object.uid.clone());
            }
            if !plan.more {
                break;
            }
            now += PERIOD;
        }
        assert_eq!((written.len(), told), (50, 25));
        written.sort();
        written.dedup();
        assert_eq!(written.len(), 50);
    }
}
