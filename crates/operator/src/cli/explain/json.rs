//! What is explained, for programs. The keys are in the help of the command.

use datakit_operator_core::config::Language;
use datakit_operator_core::inject::{AskedBy, Decision, Missed, Note, Origin};
use serde_json::{Value, json};

fn missed_to_json(missed: &Missed) -> Value {
    let rules: Vec<Value> = missed
        .rules
        .iter()
        .map(|miss| {
            let failed: Vec<Value> = miss
                .failed
                .iter()
                .map(|condition| {
                    json!({ "condition": condition.as_str(), "message": condition.to_string() })
                })
                .collect();
            json!({
                "rule": miss.rule.as_str(),
                "language": miss.language.map(Language::as_str),
                "failed": failed,
            })
        })
        .collect();
    json!({ "rules": rules, "more": missed.more })
}

pub(super) fn decision_to_json((decision, missed): &(Decision, Option<Missed>)) -> Value {
    let asked_by = decision.asked_by.as_ref().map(|asked_by| {
        let (kind, value) = match asked_by {
            AskedBy::Annotation(key) => ("annotation", *key),
            AskedBy::LabelSelector(text) => ("label_selector", text.as_str()),
            AskedBy::NamespacePattern(text) => ("namespace_pattern", text.as_str()),
        };
        json!({ "kind": kind, "value": value })
    });
    let reason = decision.reason.as_ref().map(|reason| {
        json!({
            "code": reason.as_str(),
            "container": reason.container(),
            "message": reason.to_string(),
            "remedy": reason.remedy(),
        })
    });
    let notes: Vec<Value> = decision.notes.iter().map(note_to_json).collect();
    json!({
        "feature": decision.feature.as_str(),
        "language": decision.language,
        "outcome": decision.outcome.as_str(),
        "askedBy": asked_by,
        "rule": decision.rule.as_ref().map(Origin::as_str),
        "reason": reason,
        "notes": notes,
        "missed": missed.as_ref().map(missed_to_json),
    })
}

pub(super) fn note_to_json(note: &Note) -> Value {
    json!({
        "code": note.as_str(),
        "container": note.container(),
        "message": note.to_string(),
        "remedy": note.remedy(),
    })
}
