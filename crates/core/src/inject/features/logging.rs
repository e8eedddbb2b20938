//! Logging: the agent is told by an annotation what to collect of a pod, and files of its
//! containers are on volumes, where the agent finds them.
//!
//! The pod gets no container. What its author has told the agent is never changed.

use std::sync::Arc;

use crate::config::{Extra, Feature, LogConfigs};
use crate::json::Str;
use crate::pod::part::NewAnnotation;
use crate::pod::{Draft, Edits};

use super::{application, log_paths};
use crate::inject::note::Note;
use crate::inject::reason::Reason;
use crate::inject::spec::{
    Ask, ContainerPlace, MarkedValue, Marks, MountMark, Request, Room, Spec, Trace, VolumeMark,
};
use crate::inject::suits;

/// Tells the agent what to collect of all containers of the pod.
const ANNOTATION: &str = "datakit/logs";
/// Name of the volumes that are added, followed by a number.
const VOLUME_PREFIX: &str = "datakit-logs-volume-";

pub(super) const SPEC: Spec = Spec {
    feature: Feature::Logging,
    switch: "admission.datakit/logging.enabled",
    // Only the configuration asks for it.
    asks: &[Ask {
        language: None,
        annotations: &[],
        trace: Trace::None,
    }],
    is_privileged: false,
    rival: None,
    marks: Marks {
        container: "",
        place: ContainerPlace::Nowhere,
        mount: MountMark {
            volume: "",
            paths: &[],
        },
        volumes: &[VolumeMark {
            is_numbered: true,
            ..VolumeMark::new(VOLUME_PREFIX, "emptyDir")
        }],
        told: None,
        merged: None,
        once_shared: None,
        annotations: &[(ANNOTATION, MarkedValue::Configured)],
        shares_processes: false,
    },
    prepare: |_, extra| {
        Arc::new(match extra {
            Extra::Logging(configs) => Logging(configs.clone()),
            _ => Logging(None),
        })
    },
};

/// What the agent is told to collect.
#[derive(Debug)]
struct Logging(Option<LogConfigs>);

impl Room for Logging {
    fn plan<'p>(
        &'p self,
        request: &Request<'p>,
        draft: &Draft<'p, '_>,
        edits: &mut Edits<'p>,
        notes: &mut Vec<Note>,
    ) -> Result<bool, Reason> {
        let pod = draft.pod;
        let Some(configs) = &self.0 else {
            return Err(Reason::NothingConfigured {
                key: format!("{}.config", request.rule.origin.as_str()),
            });
        };
        let present = match pod.logs.as_deref() {
            Some(own) if own == configs.as_json() => true,
            Some(_) => return Err(Reason::ToldByThePod),
            None if pod.logs_of_a_container => return Err(Reason::ToldByThePod),
            None => false,
        };
        if !present {
            suits::anything(pod)?;
            edits.annotations.push(NewAnnotation {
                key: ANNOTATION,
                value: configs.as_json().into(),
            });
        }
        let patterns: Vec<Str<'_>> = configs.paths().iter().map(Into::into).collect();
        log_paths::plan(draft, &patterns, VOLUME_PREFIX, false, edits, notes)?;
        let count = application(pod).count();
        if count > 1 && !patterns.is_empty() {
            notes.push(Note::CollectedForEach { count });
        }
        Ok(present)
    }
}
