//! The status of a pod: what was decided about it, in an annotation of its own.
//!
//! Who creates a pod through a controller sees no warnings; the pod tells instead. The status is
//! made last, from the record alone, so that it can't change what is decided. It adds no more than
//! [`LONGEST`] bytes and never makes a pod too large; where there is no room it is left out.
//!
//! A pod can be reviewed again with its features in it, maybe by a replica that has another
//! configuration. What was said of a feature that is there is then said again: it tells how it got
//! there. So is the reason for a skip, where the same operator gave it: that another feature is in
//! the pod by now may be what comes of the skip.

use std::borrow::Cow;

use crate::code;
use crate::config::{Feature, Fingerprint, Language, Origin};
use crate::json::{Reader, Result, Str, write_string};
use crate::pod::part::{NewAnnotation, write_list};
use crate::pod::{Draft, Edits, Pod};

use super::annotation::{self, STATUS};
use super::decision::{Decision, Outcome};
use super::features::SPECS;
use super::note::Note;
use super::reason::Reason;

/// The longest status, in bytes.
pub const LONGEST: usize = 1024;

/// What the annotations of an object may come to, keys and values, in bytes: `ValidateAnnotations`
/// in <https://github.com/kubernetes/apimachinery/blob/master/pkg/api/validation/objectmeta.go>.
const ALL_ANNOTATIONS: usize = 256 << 10;

/// What is left out of a status that would be too long, one after the other.
const DISPENSABLE: [&str; 3] = ["notes", "images", "rules"];

/// The longest version that a status names, in bytes.
const LONGEST_VERSION: usize = 64;

/// Who decides, as a status says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineIdentity {
    /// The operator's version.
    pub version: &'static str,
    /// The configuration in use.
    pub config: Fingerprint,
}

/// A status before it is written.
#[derive(Debug, Default)]
struct Status<'s> {
    injected: Vec<There<'s>>,
    skipped: Vec<Skipped<'s>>,
    notes: Vec<&'static str>,
    /// How many of [`DISPENSABLE`] are left out in any case.
    without: usize,
}

/// A feature that is in the pod.
#[derive(Debug)]
struct There<'s> {
    feature: Feature,
    language: Option<&'static str>,
    /// Empty where the feature has no container.
    image: &'s str,
    rule: Cow<'s, str>,
    notes: Vec<&'static str>,
}

/// A feature that was asked for and isn't in the pod.
#[derive(Debug)]
struct Skipped<'s> {
    feature: Feature,
    language: Option<&'static str>,
    reason: &'static str,
    rule: Cow<'s, str>,
}

/// What a status in the pod says.
#[derive(Debug, Default)]
struct Before<'s> {
    version: Str<'s>,
    config: Str<'s>,
    /// Of the features that are there.
    features: [Option<Told<'s>>; Feature::ALL.len()],
    /// Why the others are not.
    reasons: [Option<&'static str>; Feature::ALL.len()],
    /// How many of [`DISPENSABLE`] are left out.
    without: usize,
}

/// What a status says of one feature.
#[derive(Debug, Default)]
struct Told<'s> {
    language: Option<&'static str>,
    rule: Str<'s>,
    notes: Vec<&'static str>,
}

/// Adds the status to a draft that is complete otherwise, where the pod is to have one.
pub(crate) fn add(
    identity: &EngineIdentity,
    draft: &mut Draft<'_, '_>,
    decisions: &[Decision],
    notes: &[Note],
) {
    let pod = draft.pod;
    let there = pod.annotation(STATUS);
    if !is_due(pod, there, decisions, notes) {
        return;
    }
    let Some(value) = Status::of(identity, draft, there, decisions, notes).written(identity) else {
        return;
    };
    if there == Some(value.as_str()) {
        return;
    }
    let mut edits = Edits::default();
    edits.annotations.push(NewAnnotation {
        key: STATUS,
        value: value.into(),
    });
    if has_room(draft, &edits) && draft.affords(&edits).is_ok() {
        draft.accept(edits);
    }
}

/// Whether a pod is to have a status: something was asked for, in whichever way, or one is there,
/// of which nobody knows whether it is true.
///
/// Not a pod whose author wants nothing of the operator, nor one that mustn't be changed.
fn is_due(pod: &Pod<'_>, there: Option<&str>, decisions: &[Decision], notes: &[Note]) -> bool {
    let matters = |decision: &Decision| match decision.outcome {
        Outcome::NotRequested => false,
        Outcome::Skipped => !matches!(decision.reason, Some(Reason::SwitchedOff { .. })),
        Outcome::Injected | Outcome::Repaired | Outcome::AlreadyInjected => true,
    };
    let something = there.is_some() || !notes.is_empty() || decisions.iter().any(matters);
    something && !pod.mirror && pod.too_large.is_none() && !annotation::is_off(pod)
}

/// Whether the API server takes that many annotations.
fn has_room(draft: &Draft<'_, '_>, edits: &Edits<'_>) -> bool {
    let accepted = draft.edits().annotations.iter();
    let added = accepted.chain(&edits.annotations);
    let added: usize = added.map(|one| one.key.len() + one.value.len()).sum();
    draft.pod.annotation_bytes + added <= ALL_ANNOTATIONS
}

impl EngineIdentity {
    fn shown_version(&self) -> &'static str {
        &self.version[..self.version.floor_char_boundary(LONGEST_VERSION)]
    }
}

impl<'s> Status<'s> {
    fn of(
        identity: &EngineIdentity,
        draft: &'s Draft<'_, '_>,
        there: Option<&'s str>,
        decisions: &'s [Decision],
        notes: &[Note],
    ) -> Self {
        let mut before = there.map(Before::read).unwrap_or_default();
        let was_there = |decision: &Decision| {
            matches!(
                decision.outcome,
                Outcome::Repaired | Outcome::AlreadyInjected
            )
        };
        let keeps_reasons = before.is_of(identity) && decisions.iter().any(was_there);
        let mut status = Self {
            notes: codes(notes),
            ..Self::default()
        };
        for decision in decisions {
            let told = before.features[decision.feature as usize].take();
            let rule = decision.rule.as_ref().map(text_of).unwrap_or_default();
            let codes = codes(&decision.notes);
            let (rule, notes) = match (decision.outcome, told) {
                (Outcome::Skipped, _) => {
                    let given = before.reasons[decision.feature as usize];
                    let given = given.filter(|_| keeps_reasons);
                    let reason = decision.reason.as_ref().map_or("", Reason::as_str);
                    status.skipped.push(Skipped {
                        feature: decision.feature,
                        language: decision.language,
                        reason: given.unwrap_or(reason),
                        rule,
                    });
                    continue;
                }
                (Outcome::NotRequested, told) => {
                    // Nobody asks by now, but somebody did.
                    let told = told.filter(|_| is_there(draft.pod, decision.feature));
                    if let Some(told) = told {
                        status.without = before.without;
                        status.injected.push(There {
                            feature: decision.feature,
                            language: told.language,
                            image: image_of(draft, decision.feature),
                            rule: told.rule,
                            notes: told.notes,
                        });
                    }
                    continue;
                }
                (Outcome::Injected, _) | (_, None) => (rule, codes),
                (Outcome::Repaired, Some(mut told)) => {
                    status.without = before.without;
                    for code in codes {
                        push_new(&mut told.notes, code);
                    }
                    (rule, told.notes)
                }
                (Outcome::AlreadyInjected, Some(told)) => {
                    status.without = before.without;
                    let rule = if told.rule.is_empty() {
                        rule
                    } else {
                        told.rule
                    };
                    (rule, told.notes)
                }
            };
            status.injected.push(There {
                feature: decision.feature,
                language: decision.language,
                image: image_of(draft, decision.feature),
                rule,
                notes,
            });
        }
        status
    }

    /// The JSON, with as little left out as its length takes.
    fn written(&self, identity: &EngineIdentity) -> Option<String> {
        (self.without..=DISPENSABLE.len()).find_map(|without| {
            let mut out = Vec::with_capacity(LONGEST);
            self.write(identity, without, &mut out);
            let text = (out.len() <= LONGEST).then(|| String::from_utf8(out))?;
            text.ok()
        })
    }

    /// Writes the JSON without the first of [`DISPENSABLE`].
    fn write(&self, identity: &EngineIdentity, without: usize, out: &mut Vec<u8>) {
        let [notes, images, rules] = [0, 1, 2].map(|part| part >= without);
        out.extend_from_slice(b"{\"version\":");
        write_string(out, identity.shown_version());
        field(out, "config", identity.config.as_str());
        list(out, "injected", &self.injected, |out, there| {
            head(out, there.feature, there.language);
            if images && !there.image.is_empty() {
                field(out, "image", there.image);
            }
            if rules && !there.rule.is_empty() {
                field(out, "rule", &there.rule);
            }
            if notes {
                words(out, "notes", &there.notes);
            }
            out.push(b'}');
        });
        list(out, "skipped", &self.skipped, |out, skipped| {
            head(out, skipped.feature, skipped.language);
            key(out, "reason");
            write_word(out, skipped.reason);
            if rules && !skipped.rule.is_empty() {
                field(out, "rule", &skipped.rule);
            }
            out.push(b'}');
        });
        if notes {
            words(out, "notes", &self.notes);
        }
        words(out, "truncated", &DISPENSABLE[..without]);
        out.push(b'}');
    }
}

impl<'s> Before<'s> {
    /// What a text says that may be a status. Anybody may have written it, so what isn't understood
    /// is left out.
    fn read(text: &'s str) -> Self {
        let mut before = Self::default();
        if text.len() > LONGEST {
            return before;
        }
        let mut reader = Reader::new(text);
        let read = reader.object(|reader, key| match key {
            "version" => {
                before.version = reader.string()?.unwrap_or_default();
                Ok(())
            }
            "config" => {
                before.config = reader.string()?.unwrap_or_default();
                Ok(())
            }
            "injected" => reader.array(|reader, _| before.read_feature(reader)),
            "skipped" => reader.array(|reader, _| before.read_skipped(reader)),
            "truncated" => reader.array(|reader, _| {
                let part = reader.string()?.unwrap_or_default();
                let known = DISPENSABLE.iter().position(|known| *known == part);
                before.without = before.without.max(known.map_or(0, |at| at + 1));
                Ok(())
            }),
            _ => reader.skip().map(|_| ()),
        });
        match read.and_then(|()| reader.end()) {
            Ok(()) => before,
            Err(_) => Self::default(),
        }
    }

    /// Whether this operator has written it, with the configuration that it has.
    fn is_of(&self, identity: &EngineIdentity) -> bool {
        self.version == identity.shown_version() && self.config == identity.config.as_str()
    }

    fn read_skipped(&mut self, reader: &mut Reader<'s>) -> Result<()> {
        let (mut feature, mut reason) = (None, None);
        reader.object(|reader, key| {
            match key {
                "feature" => feature = feature_named(reader)?,
                "reason" => {
                    let name = reader.string()?.unwrap_or_default();
                    reason = code::REASONS.into_iter().find(|code| *code == name);
                }
                _ => drop(reader.skip()?),
            }
            Ok(())
        })?;
        if let Some(feature) = feature {
            self.reasons[feature as usize] = reason;
        }
        Ok(())
    }

    fn read_feature(&mut self, reader: &mut Reader<'s>) -> Result<()> {
        let mut feature = None;
        let mut told = Told::default();
        reader.object(|reader, key| {
            match key {
                "feature" => feature = feature_named(reader)?,
                "language" => {
                    let name = reader.string()?.unwrap_or_default();
                    let mut known = Language::ALL.into_iter().map(Language::as_str);
                    told.language = known.find(|known| *known == name);
                }
                "rule" => told.rule = reader.string()?.unwrap_or_default(),
                "notes" => reader.array(|reader, _| {
                    let name = reader.string()?.unwrap_or_default();
                    if let Some(code) = code::NOTES.into_iter().find(|code| *code == name) {
                        push_new(&mut told.notes, code);
                    }
                    Ok(())
                })?,
                _ => drop(reader.skip()?),
            }
            Ok(())
        })?;
        if let Some(feature) = feature {
            self.features[feature as usize] = Some(told);
        }
        Ok(())
    }
}

fn feature_named(reader: &mut Reader<'_>) -> Result<Option<Feature>> {
    let name = reader.string()?.unwrap_or_default();
    Ok(Feature::ALL
        .into_iter()
        .find(|feature| feature.as_str() == name))
}

/// The codes of notes, each once.
fn codes(notes: &[Note]) -> Vec<&'static str> {
    let mut codes = Vec::new();
    for note in notes {
        push_new(&mut codes, Note::CODES[note.counted().0]);
    }
    codes
}

fn push_new(codes: &mut Vec<&'static str>, code: &'static str) {
    if !codes.contains(&code) {
        codes.push(code);
    }
}

fn text_of(rule: &Origin) -> Cow<'_, str> {
    match rule.name() {
        "" => Cow::Borrowed(rule.as_str()),
        _ => Cow::Owned(rule.to_string()),
    }
}

/// Whether the feature's container was in the pod before.
fn is_there(pod: &Pod<'_>, feature: Feature) -> bool {
    let name = SPECS[feature as usize].marks.container;
    !name.is_empty() && pod.init_container(name).or(pod.container(name)).is_some()
}

/// The image of the feature's container, in the pod or added to it.
fn image_of<'s>(draft: &'s Draft<'_, '_>, feature: Feature) -> &'s str {
    let name = SPECS[feature as usize].marks.container;
    let pod = draft.pod;
    if name.is_empty() {
        return "";
    }
    let mut added = draft.edits().new_containers();
    let added = added.find(|container| container.name == name);
    match (added, pod.init_container(name).or(pod.container(name))) {
        (Some(added), _) => &added.image,
        (None, Some(there)) => &there.image,
        (None, None) => "",
    }
}

fn head(out: &mut Vec<u8>, feature: Feature, language: Option<&str>) {
    out.extend_from_slice(b"{\"feature\":");
    write_word(out, feature.as_str());
    if let Some(language) = language {
        key(out, "language");
        write_word(out, language);
    }
}

/// Writes one of the words that are known here, in which nothing has to be escaped.
fn write_word(out: &mut Vec<u8>, word: &str) {
    out.push(b'"');
    out.extend_from_slice(word.as_bytes());
    out.push(b'"');
}

/// Writes the key of a further field.
fn key(out: &mut Vec<u8>, key: &str) {
    out.push(b',');
    write_word(out, key);
    out.push(b':');
}

/// Writes a further field.
fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    key(out, name);
    write_string(out, value);
}

/// Writes a further field, unless there are no words.
fn words(out: &mut Vec<u8>, name: &str, words: &[&str]) {
    list(out, name, words, |out, word| write_word(out, word));
}

/// Writes a further field, unless the list is empty.
fn list<T>(out: &mut Vec<u8>, name: &str, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    if items.is_empty() {
        return;
    }
    key(out, name);
    write_list(out, items, write);
}
