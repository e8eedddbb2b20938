//! How the status of replicas is printed for people.

use serde_json::Value;

use super::Replica;
use crate::cli::table::Table;

/// The width of the tables.
const WIDTH: usize = 80;

/// What the replicas said, and these decisions.
pub(super) fn printed(replicas: &[Replica], decisions: &[Value]) -> String {
    let mut table = Table {
        head: ["REPLICA", "STATE", "VERSION", "STARTED", "LEASE"],
        wraps_from: 0,
        rows: Vec::new(),
    };
    for Replica { name, said } in replicas {
        let row = match said {
            Ok(said) => [
                name.clone(),
                text(said, &["replica", "phase"]).unwrap_or_default(),
                text(said, &["replica", "version"]).unwrap_or_default(),
                text(said, &["replica", "started"]).unwrap_or_default(),
                lease(said),
            ],
            Err(_) => {
                let state = "doesn't answer".to_owned();
                [
                    name.clone(),
                    state,
                    String::new(),
                    String::new(),
                    String::new(),
                ]
            }
        };
        table.rows.push(row);
    }
    let mut out = table.render(WIDTH);
    let mut facts = Table {
        head: ["WHAT", "REPLICA", "HOW IT IS"],
        wraps_from: 1,
        rows: Vec::new(),
    };
    for Replica { name, said } in replicas {
        if let Err(error) = said {
            let row = ["answer".to_owned(), name.clone(), error.clone()];
            facts.rows.push(row);
        }
    }
    for (what, tell) in FACTS {
        facts.rows.extend(grouped(what, replicas, tell));
    }
    for Replica { name, said } in replicas {
        let parts = said.as_ref().ok().and_then(|said| said["parts"].as_array());
        for part in parts.into_iter().flatten() {
            if part["state"] == "failing" {
                let [part, why, remedy] =
                    ["name", "text", "remedy"].map(|key| text(part, &[key]).unwrap_or_default());
                facts
                    .rows
                    .push([part, name.clone(), format!("failing: {why}; {remedy}")]);
            }
        }
    }
    if !facts.rows.is_empty() {
        out.push('\n');
        out += &facts.render(WIDTH);
    }
    let mut last = Table {
        head: ["TIME", "POD", "DECISION"],
        wraps_from: 1,
        rows: Vec::new(),
    };
    for decision in decisions {
        last.rows.push([
            text(decision, &["at"]).unwrap_or_default(),
            format!(
                "{}/{}",
                text(decision, &["namespace"]).unwrap_or_default(),
                text(decision, &["pod"]).unwrap_or_default()
            ),
            decided(decision),
        ]);
    }
    if !last.rows.is_empty() {
        out.push('\n');
        out += &last.render(WIDTH);
    }
    out
}

/// Something that is said of each replica; nothing where there is nothing to say.
type Tell = fn(&Value) -> Option<String>;

/// What is printed once if all replicas say the same.
const FACTS: [(&str, Tell); 6] = [
    ("configuration", configuration),
    ("refused", |said| text(said, &["configuration", "refused"])),
    ("certificate", certificate),
    ("CA", authority),
    ("task election", election),
    ("missed pods", missed),
];

fn grouped(what: &str, replicas: &[Replica], tell: Tell) -> Vec<[String; 3]> {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    let answered = replicas.iter().filter(|replica| replica.said.is_ok());
    for Replica { name, said } in answered {
        let Some(told) = said.as_ref().ok().and_then(tell) else {
            continue;
        };
        match groups.iter_mut().find(|(known, _)| *known == told) {
            Some((_, names)) => names.push(name),
            None => groups.push((told, vec![name])),
        }
    }
    let only = groups.len() == 1;
    let rows = groups.into_iter().map(|(told, names)| {
        let names = if only {
            String::new()
        } else {
            names.join(", ")
        };
        [what.to_owned(), names, told]
    });
    rows.collect()
}

fn configuration(said: &Value) -> Option<String> {
    let configuration = said.get("configuration").filter(|found| !found.is_null())?;
    let found = configuration["diagnostics"].as_array()?;
    let worst = found.first().map(|found| {
        format!(
            "{}: {}",
            text(found, &["severity"]).unwrap_or_default(),
            text(found, &["text"]).unwrap_or_default()
        )
    });
    let more = configuration["moreDiagnostics"]
        .as_u64()
        .unwrap_or_default();
    let more = found.len() as u64 + more;
    let doubt = match (worst, more) {
        (None, _) => "nothing is doubtful".to_owned(),
        (Some(worst), 1) => worst,
        (Some(worst), more) => format!("{worst} (and {} more)", more - 1),
    };
    let hash = text(configuration, &["hash"]).map(|hash| format!(" ({hash})"));
    let hash = hash.unwrap_or_default();
    Some(format!(
        "{}{hash}, {} rules; {doubt}",
        text(configuration, &["origin"])?,
        configuration["rules"]
    ))
}

fn certificate(said: &Value) -> Option<String> {
    let certificates = &said["certificates"];
    let accepted = match certificates["accepted"].as_bool() {
        Some(true) => ", accepted by the registration",
        Some(false) => ", not accepted by the registration yet",
        None => "",
    };
    Some(format!(
        "{}{accepted}, until {}",
        text(certificates, &["source"])?,
        text(certificates, &["presented", "notAfter"])?
    ))
}

fn authority(said: &Value) -> Option<String> {
    let authorities = said["certificates"]["authorities"].as_array()?;
    let authorities = authorities.iter().filter_map(|authority| {
        let sha256 = text(authority, &["sha256"])?;
        let sha256: String = sha256.chars().take(16).collect();
        let until = text(authority, &["notAfter"])?;
        Some(format!("SHA-256 {sha256}…, until {until}"))
    });
    let authorities: Vec<_> = authorities.collect();
    (!authorities.is_empty()).then(|| authorities.join("; "))
}

fn election(said: &Value) -> Option<String> {
    let election = &said["election"];
    match election["decides"].as_str()? {
        "here" => {
            let agents = election["agents"].as_array().map_or(0, Vec::len);
            let more = if election["moreAgents"] == true {
                "+"
            } else {
                ""
            };
            Some(format!(
                "{}; agents: {agents}{more}; inputs that nobody has: {}",
                text(election, &["phase"])?,
                election["unassigned"]
            ))
        }
        "nobody" => Some(format!("nobody decides: {}", text(election, &["why"])?)),
        // The one that does says more.
        _ => None,
    }
}

fn missed(said: &Value) -> Option<String> {
    let count = said["missed"]["count"].as_u64()?;
    Some(match count {
        0 => "none".to_owned(),
        count => format!("{count}; `datakit-operator missed` lists them"),
    })
}

fn lease(said: &Value) -> String {
    let lease = &said["lease"];
    if lease.is_null() {
        return String::new();
    }
    let holder = text(lease, &["holder"]).unwrap_or_default();
    match lease["mine"].as_bool() {
        Some(true) => "holds it".to_owned(),
        _ if holder.is_empty() => "nobody holds it".to_owned(),
        _ => String::new(),
    }
}

/// What became of a pod, in codes.
fn decided(decision: &Value) -> String {
    let mut parts = Vec::new();
    let outcome = text(decision, &["outcome"]).unwrap_or_default();
    if !["injected", "unchanged"].contains(&&*outcome) {
        parts.push(outcome);
    }
    for feature in decision["features"].as_array().into_iter().flatten() {
        let mut part = text(feature, &["feature"]).unwrap_or_default();
        if let Some(language) = text(feature, &["language"]) {
            part += &format!(" ({language})");
        }
        part += &format!(" {}", text(feature, &["outcome"]).unwrap_or_default());
        if let Some(reason) = text(feature, &["reason", "code"]) {
            part += &format!(": {reason}");
        }
        parts.push(part);
        parts.extend(codes(&feature["notes"]));
    }
    parts.extend(codes(&decision["notes"]));
    let dry_run = decision["dryRun"] == true;
    let dry_run = if dry_run { " (dry run)" } else { "" };
    format!("{}{dry_run}", parts.join("; "))
}

fn codes(notes: &Value) -> Vec<String> {
    let notes = notes.as_array().into_iter().flatten();
    notes.filter_map(|note| text(note, &["code"])).collect()
}

/// The text at this place, if there is one.
pub(super) fn text(value: &Value, path: &[&str]) -> Option<String> {
    let found = path.iter().try_fold(value, |value, key| value.get(key))?;
    found.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::super::merged;
    use super::*;

    fn replica(name: &str, mine: bool, change: impl FnOnce(&mut Value)) -> Replica {
        let mut said = json!({
            "replica": {"name": name, "version": "2.0.0", "phase": "ready", "started": "2026-11-27T18:00:00Z"},
            "configuration": {
                "origin": "`/etc/datakit-operator/jsonconfig`", "hash": "0f1e2d3c4b5a", "rules": 7, "refused": null,
                "diagnostics": [], "moreDiagnostics": 0,
            },
            "certificates": {
                "source": "of the installation's CA", "accepted": true,
                "presented": {"notAfter": "2026-12-04T18:00:00Z"},
                "authorities": [{"sha256": "0123456789abcdef0123", "notAfter": "2027-11-27T18:00:00Z"}],
            },
            "lease": {"holder": "replica-a", "mine": mine},
            "parts": [{"name": "watch_namespaces", "state": "well", "text": "", "remedy": null}],
            "election": {"decides": "elsewhere", "address": "10.0.0.1:9543"},
            "missed": null,
            "decisions": [],
        });
        change(&mut said);
        Replica {
            name: name.to_owned(),
            said: Ok(said),
        }
    }

    fn decision(at: &str, pod: &str) -> Value {
        json!({
            "at": at, "outcome": "injected", "namespace": "shop", "pod": pod, "dryRun": false, "notes": [],
            "features": [
                {"feature": "ddtrace", "language": "java", "outcome": "injected", "reason": null, "notes": []},
                {
                    "feature": "profiler", "language": "python", "outcome": "skipped",
                    "reason": {"code": "host_pid", "sentence": ""}, "notes": [],
                },
            ],
        })
    }

    #[test]
    fn replicas_become_one() {
        let mut replicas = vec![
            replica("replica-a", true, |said| {
                said["missed"] = json!({"count": 3});
                said["election"] = json!({"decides": "here", "phase": "deciding", "agents": [{}], "unassigned": 2});
                said["decisions"] = json!([
                    decision("2026-11-27T18:00:03Z", "third\u{202e}"),
                    decision("2026-11-27T18:00:01Z", "first")
                ]);
            }),
            replica("replica-b", false, |said| {
                said["configuration"]["diagnostics"] =
                    json!([{"severity": "warning", "text": "a: unknown key"}]);
                said["parts"][0] = json!({"name": "watch_pods", "state": "failing", "text": "forbidden", "remedy": "may it?"});
                said["decisions"] = json!([decision("2026-11-27T18:00:02Z", "second")]);
            }),
            Replica {
                name: "replica-c".to_owned(),
                said: Err("it answered 403 Forbidden: no".to_owned()),
            },
        ];
        let decisions = merged(&mut replicas);
        let order: Vec<_> = decisions.iter().map(|one| &one["pod"]).collect();
        assert_eq!(order, ["third\u{202e}", "second", "first"]);
        assert_eq!(decisions[1]["replica"], "replica-b");
        let text = printed(&replicas, &decisions);
        assert!(
            text.lines().all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
        expect![[r#"
            REPLICA    STATE           VERSION  STARTED               LEASE
            replica-a  ready           2.0.0    2026-11-27T18:00:00Z  holds it
            replica-b  ready           2.0.0    2026-11-27T18:00:00Z
            replica-c  doesn't answer

            WHAT           REPLICA    HOW IT IS
            answer         replica-c  it answered 403 Forbidden: no
            configuration  replica-a  `/etc/datakit-operator/jsonconfig` (0f1e2d3c4b5a), 7
                                      rules; nothing is doubtful
            configuration  replica-b  `/etc/datakit-operator/jsonconfig` (0f1e2d3c4b5a), 7
                                      rules; warning: a: unknown key
            certificate               of the installation's CA, accepted by the
                                      registration, until 2026-12-04T18:00:00Z
            CA                        SHA-256 0123456789abcdef…, until 2027-11-27T18:00:00Z
            task election             deciding; agents: 1; inputs that nobody has: 2
            missed pods               3; `datakit-operator missed` lists them
            watch_pods     replica-b  failing: forbidden; may it?

            TIME                  POD                 DECISION
            2026-11-27T18:00:03Z  shop/third\u{202e}  ddtrace (java) injected; profiler
                                                      (python) skipped: host_pid
            2026-11-27T18:00:02Z  shop/second         ddtrace (java) injected; profiler
                                                      (python) skipped: host_pid
            2026-11-27T18:00:01Z  shop/first          ddtrace (java) injected; profiler
                                                      (python) skipped: host_pid
        "#]]
        .assert_eq(&text);
    }
}
