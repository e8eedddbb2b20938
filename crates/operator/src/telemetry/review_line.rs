//! The log lines of reviews, one each.

use std::time::Duration;

use datakit_operator_core::inject::{Decision, Feature, Note, Outcome};
use datakit_operator_core::review::{Disposition, Record};
use tracing::Level;

use super::line::Line;
use super::sink::Sink;

/// Logs a review: whose pod it is, what was decided about it, and how long that took.
///
/// Features that nobody asked for are left out, as are facts that the request did not state.
pub fn log(sink: &Sink, record: &Record<'_>, took: Duration) {
    if sink.enabled(Level::INFO) {
        sink.log(Level::INFO, "pod reviewed", |line| {
            write(line, record, took);
        });
    }
}

/// Logs the review of a workload. One about which there is nothing to say is for debugging only:
/// the same is logged of each of its pods.
pub fn log_validation(sink: &Sink, record: &Record<'_>, took: Duration) {
    let level = match record.disposition {
        Disposition::Unchanged | Disposition::OtherOperation => Level::DEBUG,
        _ => Level::INFO,
    };
    if sink.enabled(level) {
        sink.log(level, "workload validated", |line| {
            write_head(line, record);
            if let Some(code) = record.refused {
                line.str("refused", code);
            }
            for decision in &record.decisions {
                if decision.outcome == Outcome::Skipped {
                    write_decision(line, decision);
                }
            }
            write_notes(line, record);
            write_config(line, record);
            write_time(line, took);
        });
    }
}

fn write(line: &mut Line<'_>, record: &Record<'_>, took: Duration) {
    write_head(line, record);
    write_injected(line, &record.decisions);
    for decision in &record.decisions {
        write_decision(line, decision);
    }
    write_notes(line, record);
    write_config(line, record);
    line.number("patch_ops", record.patch_ops as u64);
    line.number("patch_bytes", record.patch_bytes as u64);
    write_time(line, took);
}

fn write_head(line: &mut Line<'_>, record: &Record<'_>) {
    line.str("outcome", record.disposition.as_str());
    stated(line, "namespace", &record.namespace);
    if !record.owner_name.is_empty() {
        line.pieces("owner", &[&record.owner_kind, "/", &record.owner_name]);
    }
    stated(line, "pod", &record.pod_name);
    stated(line, "uid", &record.uid);
    if record.operation != "CREATE" {
        stated(line, "operation", &record.operation);
    }
    if record.dry_run {
        line.bool("dry_run", true);
    }
}

/// `config=44136fa355b3`: which configuration decided.
fn write_config(line: &mut Line<'_>, record: &Record<'_>) {
    if let Some(config) = &record.config {
        line.str("config", config.as_str());
    }
}

fn write_time(line: &mut Line<'_>, took: Duration) {
    line.tenths(
        "took_us",
        u64::try_from(took.as_nanos() / 100).unwrap_or(u64::MAX),
    );
}

fn stated(line: &mut Line<'_>, key: &str, value: &str) {
    if !value.is_empty() {
        line.str(key, value);
    }
}

/// `injected=ddtrace/java,logfwd`: what the pod got in this review.
fn write_injected(line: &mut Line<'_>, decisions: &[Decision]) {
    let mut pieces = [""; 4 * Feature::ALL.len()];
    let mut used = 0;
    for decision in decisions {
        let new = matches!(decision.outcome, Outcome::Injected | Outcome::Repaired);
        if !new || used + 4 > pieces.len() {
            continue;
        }
        let separator = if used > 0 { "," } else { "" };
        let (slash, language) = decision
            .language
            .map_or(("", ""), |language| ("/", language));
        for piece in [separator, decision.feature.as_str(), slash, language] {
            pieces[used] = piece;
            used += 1;
        }
    }
    if used > 0 {
        line.pieces("injected", &pieces[..used]);
    }
}

/// `ddtrace=injected` or `profiler=skipped:host_pid`.
fn write_decision(line: &mut Line<'_>, decision: &Decision) {
    if decision.outcome == Outcome::NotRequested {
        return;
    }
    let (feature, outcome) = (decision.feature.as_str(), decision.outcome.as_str());
    match &decision.reason {
        Some(reason) => line.pieces(feature, &[outcome, ":", reason.as_str()]),
        None => line.str(feature, outcome),
    }
}

/// `notes=logfwd:not_shared,unknown_annotation`: the code of each note once a feature.
fn write_notes(line: &mut Line<'_>, record: &Record<'_>) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    let mut see = |feature, notes: &[Note]| {
        for note in notes {
            // A note that only counts others is told by them.
            let (code, _) = note.counted();
            let note = (feature, Note::CODES[code]);
            if !seen.contains(&note) {
                seen.push(note);
            }
        }
    };
    for decision in &record.decisions {
        see(decision.feature.as_str(), &decision.notes);
    }
    see("", &record.notes);
    if seen.is_empty() {
        return;
    }
    let mut pieces = Vec::with_capacity(4 * seen.len());
    for (feature, code) in seen {
        let separator = if pieces.is_empty() { "" } else { "," };
        let colon = if feature.is_empty() { "" } else { ":" };
        pieces.extend([separator, feature, colon, code]);
    }
    line.pieces("notes", &pieces);
}
