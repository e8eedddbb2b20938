//! Injection: which features a pod asks for, what each would add, and a decision about every one of them.
//!
//! Features run in a fixed order and each sees what the earlier ones added: ddtrace, logfwd, profiler (docs: one room
//! per feature in `features`). A feature plans completely before anything of it is kept; a plan that fails
//! [`verify`](crate::pod::verify) is dropped whole and its decision says why.

mod amounts;
pub mod annotation;
pub mod container;
pub mod decision;
mod features;
mod limits;
pub mod note;
mod pod_security;
mod policy;
pub mod reason;
mod security;
mod trigger;

use std::sync::Arc;

use crate::config::Config;
use crate::json::Reader;
use crate::namespace::{Namespace, Namespaces, PodSecurity};
use crate::patch::Patch;
use crate::pod::limits::AdmissionLimits;
use crate::pod::verify::verify;
use crate::pod::{Draft, Edits, Pod};
use crate::version::KubernetesVersion;

use features::{ddtrace, logfwd, profiler};

pub use decision::{AskedBy, Decision, Feature, Outcome};
pub use note::Note;
pub use reason::{PodSecurityRemedy, Reason};

/// What a configuration comes to for injection, worked out once: images, texts that go into containers, selectors.
#[derive(Debug)]
pub struct Engine {
    ddtrace: ddtrace::Ddtrace,
    logfwd: logfwd::Logfwd,
    profiler: profiler::Profiler,
    limits: AdmissionLimits,
}

/// Facts about the cluster that a review may depend on. They are read beforehand and cached, never looked up during a
/// review.
#[derive(Debug, Clone, Default)]
pub struct ReviewContext {
    /// The API server's version; `None` where it isn't known.
    pub kubernetes_version: Option<KubernetesVersion>,
    /// What is known of namespaces; nothing of those that aren't in there.
    pub namespaces: Arc<Namespaces>,
}

/// What injection came to for one pod.
#[derive(Debug)]
pub struct Injection<'a> {
    /// The pod that was read.
    pub pod: Pod<'a>,
    /// The minimal patch.
    pub patch: Patch,
    /// One decision a feature, in the order in which features run.
    pub decisions: Vec<Decision>,
    /// What is wrong with the pod's annotations themselves, and so with no feature.
    pub notes: Vec<Note>,
}

/// Names of the sidecars that are added, by this version or another one. Other features treat them as ours.
pub(crate) const SIDECARS: [&str; 3] =
    [logfwd::CONTAINER, profiler::CONTAINER, "datakit-flameshot"];

/// What a feature decided for a pod: its plan and the record of it.
#[derive(Debug)]
pub(crate) struct Planned<'p> {
    edits: Edits<'p>,
    decision: Decision,
}

impl Engine {
    /// Prepares a configuration.
    pub fn new(config: &Config) -> Self {
        Self {
            ddtrace: ddtrace::Ddtrace::new(&config.ddtrace, &config.policy.ddtrace),
            logfwd: logfwd::Logfwd::new(&config.logfwd, &config.policy.logfwd),
            profiler: profiler::Profiler::new(&config.profiler, &config.policy.profiler),
            limits: config.limits,
        }
    }

    /// How large pods and patches may be.
    pub fn limits(&self) -> &AdmissionLimits {
        &self.limits
    }

    /// Brings a plan within the rules of the pod's namespace.
    fn keep_rules(
        &self,
        name: &str,
        namespace: &Namespace,
        draft: &Draft<'_, '_>,
        plan: &mut Edits<'_>,
        decision: &mut Decision,
    ) -> Result<(), Reason> {
        let level = namespace.pod_security;
        if let Some(problem) = pod_security::violation(level, draft.pod, plan) {
            let configured = match decision.feature {
                Feature::Ddtrace => self.ddtrace.settings.security_context.is_some(),
                Feature::Logfwd => self.logfwd.settings.security_context.is_some(),
                Feature::Profiler => false,
            };
            return Err(Reason::PodSecurity {
                namespace: name.to_owned(),
                level,
                problem,
                remedy: match decision.feature {
                    Feature::Profiler => PodSecurityRemedy::OtherNamespace,
                    _ if configured => PodSecurityRemedy::Configuration,
                    _ => PodSecurityRemedy::OwnContainers,
                },
            });
        }
        let fitted = limits::fit(draft, plan, &namespace.limit_ranges)?;
        decision.notes.extend(fitted);
        Ok(())
    }
}

/// Injects a pod (or a workload's pod template) given as JSON text.
///
/// `namespace` is the one of the request; the pod's own counts first.
///
/// # Errors
/// Where the text isn't a pod. Anything else that goes wrong is a decision.
pub fn inject_pod<'a>(
    text: &'a str,
    namespace: Option<&str>,
    engine: &Engine,
    context: &ReviewContext,
) -> crate::json::Result<Injection<'a>> {
    let mut reader = Reader::new(text);
    let pod = Pod::read(&mut reader)?;
    reader.end()?;
    Ok(inject(pod, namespace, engine, context))
}

/// Injects a pod that has been read.
pub fn inject<'a>(
    mut pod: Pod<'a>,
    namespace: Option<&str>,
    engine: &Engine,
    context: &ReviewContext,
) -> Injection<'a> {
    pod.too_large = pod.within(&engine.limits).err();
    let namespace = match pod.namespace.as_ref() {
        "" => namespace.unwrap_or_default(),
        own => own,
    };
    let mut decisions = Vec::with_capacity(Feature::ALL.len());
    let mut draft = Draft::new(&pod, engine.limits);
    for feature in Feature::ALL {
        let planned = match feature {
            Feature::Ddtrace => engine.ddtrace.plan(&draft, namespace),
            Feature::Logfwd => engine.logfwd.plan(&draft, namespace, context),
            Feature::Profiler => engine.profiler.plan(&draft, namespace),
        };
        // Few pods get here, so the namespace isn't looked up before.
        decisions.push(take(
            &mut draft,
            planned,
            |draft, plan, decision| match context.namespaces.get(namespace) {
                Some(facts) => engine.keep_rules(namespace, facts, draft, plan, decision),
                None if context.namespaces.are_all() => keep_any_rules(namespace, draft, plan),
                None => Ok(()),
            },
        ));
    }
    let patch = draft.render();
    Injection {
        patch,
        decisions,
        notes: annotation::notes(&pod),
        pod,
    }
}

/// For a namespace that is too new to be known: it may be one of those that forbid the plan.
fn keep_any_rules(name: &str, draft: &Draft<'_, '_>, plan: &Edits<'_>) -> Result<(), Reason> {
    match pod_security::violation(PodSecurity::Baseline, draft.pod, plan) {
        None => Ok(()),
        Some(problem) => Err(Reason::NewNamespace {
            namespace: name.to_owned(),
            problem,
        }),
    }
}

/// Whether anything can be added to the pod at all.
pub(crate) fn suits(pod: &Pod<'_>) -> Result<(), Reason> {
    if pod.windows {
        return Err(Reason::WindowsPod);
    }
    if pod.mirror {
        return Err(Reason::MirrorPod);
    }
    Ok(())
}

impl<'p> Planned<'p> {
    fn not_requested(feature: Feature) -> Self {
        Self {
            edits: Edits::default(),
            decision: Decision::not_requested(feature),
        }
    }

    /// The plan of a feature that was asked for, unless the pod switches it off. `plan` fills in the edits and notes and
    /// returns whether the feature's own containers were there before.
    fn asked(
        mut decision: Decision,
        pod: &Pod<'_>,
        switch: &'static str,
        mut notes: Vec<Note>,
        plan: impl FnOnce(&mut Edits<'p>, &mut Vec<Note>) -> Result<bool, Reason>,
    ) -> Self {
        let mut edits = Edits::default();
        let planned = match annotation::switched_off(pod, switch) {
            Some(annotation) => Err(Reason::SwitchedOff { annotation }),
            None => match pod.too_large {
                Some(excess) => Err(Reason::PodTooLarge(excess)),
                None => plan(&mut edits, &mut notes),
            },
        };
        match planned {
            Ok(present) => {
                decision.notes = note::bounded(notes);
                decision.outcome = match (present, edits.is_empty()) {
                    (false, _) => Outcome::Injected,
                    (true, false) => Outcome::Repaired,
                    (true, true) => Outcome::AlreadyInjected,
                };
            }
            Err(reason) => {
                decision.skip(reason);
                edits = Edits::default();
            }
        }
        Self { edits, decision }
    }
}

/// Keeps a plan if the API server will, and says which. `keep_rules` brings it within the rules of the namespace.
fn take<'p, 'a>(
    draft: &mut Draft<'p, 'a>,
    planned: Planned<'p>,
    keep_rules: impl FnOnce(&Draft<'p, 'a>, &mut Edits<'p>, &mut Decision) -> Result<(), Reason>,
) -> Decision {
    let Planned {
        mut edits,
        mut decision,
    } = planned;
    if decision.outcome == Outcome::Skipped || decision.outcome == Outcome::NotRequested {
        return decision;
    }
    let kept = verify(draft, &edits)
        .map_err(Reason::from)
        .and_then(|()| keep_rules(draft, &mut edits, &mut decision))
        .and_then(|()| draft.affords(&edits).map_err(Reason::PodTooLarge));
    match kept {
        Ok(()) => draft.accept(edits),
        Err(reason) => decision.skip(reason),
    }
    decision
}
