//! Injection: which features a pod asks for, what each would add, and a decision about every one of
//! them.
//!
//! Features run in the order of [`SPECS`] and each sees what the earlier ones added. The first of a
//! feature's rules that fits the pod asks for it (`request`), and its room in `features` plans it.
//! A feature plans completely before anything of it is kept; a plan that fails
//! [`verify`](crate::pod::verify) is dropped whole and its decision says why.

mod amounts;
pub mod annotation;
mod calls;
mod class;
pub mod container;
mod context;
pub mod decision;
mod environment;
mod features;
mod limits;
pub mod miss;
pub mod note;
mod pod_security;
mod policy;
mod quota;
pub mod reason;
mod request;
mod security;
mod spec;
mod status;
mod suits;

use std::cell::OnceCell;
use std::sync::Arc;

use crate::config::{self, Config, EnvFrom, Fingerprint, Validation};
use crate::json::Reader;
use crate::namespace::{Namespace, PodSecurity};
use crate::patch::Patch;
use crate::pod::limits::AdmissionLimits;
use crate::pod::verify::verify;
use crate::pod::{Draft, Edits, Pod};

use policy::Policy;
use request::{Found, Prepared};
use spec::Request;

pub use calls::{Calls, LONGEST_EXPRESSION, WhyAll};
pub use context::ReviewContext;
pub use decision::{AskedBy, Decision, Feature, Origin, Outcome};
pub use features::SPECS;
pub use miss::{Condition, Miss, Missed};
pub use note::Note;
pub use reason::{PodSecurityRemedy, Reason};
pub use spec::{
    Ask, ContainerPlace, MarkedValue, Marks, MountMark, Spec, StartUp, Trace, VolumeMark,
};
pub use status::{EngineIdentity, LONGEST as LONGEST_STATUS};

/// What a configuration comes to for injection, worked out once: images, texts that go into
/// containers, selectors.
#[derive(Debug)]
pub struct Engine {
    features: [Configured; Feature::ALL.len()],
    limits: AdmissionLimits,
    validation: Validation,
    identity: Option<EngineIdentity>,
    /// Whether pods get a status.
    annotates: bool,
}

/// What a configuration comes to for one feature.
#[derive(Debug)]
struct Configured {
    spec: &'static Spec,
    /// Those that win first.
    rules: Vec<Prepared>,
    policy: Policy,
    env_from: Arc<EnvFrom>,
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

impl Engine {
    /// Prepares a configuration.
    pub fn new(config: &Config) -> Self {
        let env_from = Arc::new(config.env_from.clone());
        Self {
            features: SPECS
                .each_ref()
                .map(|spec| Configured::new(spec, config, &env_from)),
            limits: config.limits,
            validation: config.validation.clone(),
            identity: None,
            annotates: config.status.annotation,
        }
    }

    /// Says who decides, which goes into the [status](annotation::STATUS) of each pod, if the
    /// configuration wants that. Without it no pod gets one.
    #[must_use]
    pub fn identified(self, identity: EngineIdentity) -> Self {
        Self {
            identity: Some(identity),
            ..self
        }
    }

    /// Which configuration it is, if that was said.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.identity.map(|identity| identity.config)
    }

    /// For which pods the webhook has to be called.
    pub fn calls(&self) -> Calls {
        let prepared = self.features.iter().flat_map(|feature| &feature.rules);
        Calls::of(&prepared.map(|prepared| &prepared.rule))
    }

    /// What is refused when workloads are validated.
    pub fn validation(&self) -> &Validation {
        &self.validation
    }

    /// How large pods and patches may be.
    pub fn limits(&self) -> &AdmissionLimits {
        &self.limits
    }
}

impl Configured {
    fn new(spec: &'static Spec, config: &Config, env_from: &Arc<EnvFrom>) -> Self {
        let mut rules: Vec<Prepared> = Vec::new();
        for rule in config.rules_of(spec.feature) {
            // Of a language that the feature doesn't have nothing can be injected.
            let Some(ask) = spec.ask(rule.language) else {
                continue;
            };
            // The rules of one section share their settings.
            let room = match rules.last() {
                Some(last)
                    if Arc::ptr_eq(&last.rule.container, &rule.container)
                        && last.rule.extra == rule.extra =>
                {
                    Arc::clone(&last.room)
                }
                _ => (spec.prepare)(&rule.container, &rule.extra),
            };
            rules.push(Prepared {
                rule: rule.clone(),
                ask,
                room,
                chooses_resources: rule.container.resources != config::Resources::default(),
            });
        }
        Self {
            spec,
            rules,
            policy: Policy::new(spec.feature, config.policy.of(spec.feature)),
            env_from: Arc::clone(env_from),
        }
    }

    /// Decides about the feature for a pod, and adds it to the draft if it can be had.
    fn decide<'p>(
        &'p self,
        draft: &mut Draft<'p, '_>,
        namespace: &'p str,
        context: &'p ReviewContext,
        before: &[Decision],
        class: &OnceCell<class::Counted>,
    ) -> Decision {
        let pod = draft.pod;
        let Some(found) = request::choose(&self.rules, pod, namespace) else {
            return match request::asking(self.spec, pod) {
                Some(annotation) if self.may(pod, namespace).is_ok() => {
                    Decision::in_vain(self.spec.feature, annotation)
                }
                _ => Decision::not_requested(self.spec.feature),
            };
        };
        let mut notes = request::lost(self.spec, &found, pod);
        let Found {
            prepared,
            asked_by,
            annotation,
        } = found;
        let mut decision = Decision::asked(&prepared.rule, asked_by);
        let request = Request {
            rule: &prepared.rule,
            ask: prepared.ask,
            annotation,
            policy: &self.policy,
            env_from: &self.env_from,
            namespace,
            context,
        };
        let mut edits = Edits::default();
        let kept = self
            .may(pod, namespace)
            .and_then(|()| self.prevails(pod, before))
            .and_then(|()| prepared.room.plan(&request, draft, &mut edits, &mut notes))
            .and_then(|present| {
                decision.notes = note::bounded(notes);
                decision.outcome = match (present, edits.is_empty()) {
                    (false, _) => Outcome::Injected,
                    (true, false) => Outcome::Repaired,
                    (true, true) => Outcome::AlreadyInjected,
                };
                verify(draft, &edits)?;
                // Few pods get here, so the namespace isn't looked up before.
                let known = context.namespaces.get(namespace);
                let ranges = known.map_or(&[][..], |known| &known.limit_ranges);
                let chosen = prepared.chooses_resources;
                let notes = &mut decision.notes;
                class::prepare(pod, class, ranges, chosen, &mut edits, notes)?;
                notes.extend(self.fit(&request, namespace, known, draft, &mut edits)?);
                class::finish(class, &mut edits, notes);
                if let Some(known) = known {
                    quota::check(draft, &edits, ranges, &known.quotas)?;
                }
                draft.affords(&edits).map_err(Reason::PodTooLarge)
            });
        match kept {
            Ok(()) => draft.accept(edits),
            Err(reason) => decision.skip(reason),
        }
        decision
    }

    /// Whether the pod may have the feature at all.
    fn may(&self, pod: &Pod<'_>, namespace: &str) -> Result<(), Reason> {
        if let Some(annotation) = annotation::switched_off(pod, self.spec.switch) {
            return Err(Reason::SwitchedOff { annotation });
        }
        if let Some(excess) = pod.too_large {
            return Err(Reason::PodTooLarge(excess));
        }
        self.policy.allow_in(namespace)
    }

    /// Whether the pod gets this feature and not one that does the same. `before` are the decisions
    /// so far.
    fn prevails(&self, pod: &Pod<'_>, before: &[Decision]) -> Result<(), Reason> {
        let Some(rival) = self.spec.rival else {
            return Ok(());
        };
        let other = &SPECS[rival as usize];
        let asked = before.iter().find(|decision| decision.feature == rival);
        let is_first = asked.is_none();
        let [own, there] = [self.spec, other].map(|spec| {
            let name = spec.marks.container;
            pod.init_container(name).or(pod.container(name)).is_some()
        });
        let loses = match (own, there) {
            (false, true) => true,
            (true, true) => !is_first,
            (true, false) => false,
            (false, false) => asked.is_some_and(Decision::is_meant),
        };
        if !loses {
            return Ok(());
        }
        Err(Reason::OtherFeature {
            feature: rival,
            switch: other.switch,
            is_there: there,
        })
    }

    /// Brings a plan within the rules of the pod's namespace, as far as they are known, and says
    /// what that changed.
    fn fit(
        &self,
        request: &Request<'_>,
        name: &str,
        known: Option<&Namespace>,
        draft: &Draft<'_, '_>,
        plan: &mut Edits<'_>,
    ) -> Result<Vec<Note>, Reason> {
        let Some(namespace) = known else {
            if request.context.namespaces.are_all() {
                keep_any_rules(name, draft, plan)?;
            }
            return Ok(Vec::new());
        };
        let level = namespace.pod_security;
        if let Some(problem) = pod_security::violation(level, draft.pod, plan) {
            return Err(Reason::PodSecurity {
                namespace: name.to_owned(),
                level,
                problem,
                remedy: if self.spec.is_privileged {
                    PodSecurityRemedy::OtherNamespace
                } else if request.rule.container.security_context.is_some() {
                    PodSecurityRemedy::Configuration
                } else {
                    PodSecurityRemedy::OwnContainers
                },
            });
        }
        limits::fit(draft, plan, &namespace.limit_ranges)
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
    let namespace = namespace_of(&pod, namespace);
    let mut draft = Draft::new(&pod, engine.limits);
    let class = OnceCell::new();
    let mut decisions = Vec::with_capacity(engine.features.len());
    for feature in &engine.features {
        let decision = feature.decide(&mut draft, namespace, context, &decisions, &class);
        decisions.push(decision);
    }
    let notes = annotation::notes(&pod);
    if let Some(identity) = engine.identity.filter(|_| engine.annotates) {
        status::add(&identity, &mut draft, &decisions, &notes);
    }
    let patch = draft.render();
    Injection {
        patch,
        decisions,
        notes,
        pod,
    }
}

/// Why no rule asks for a feature for a pod. `namespace` is the one of the request; the pod's own
/// counts first.
///
/// `None` if one does.
pub fn missed(
    feature: Feature,
    pod: &Pod<'_>,
    namespace: Option<&str>,
    engine: &Engine,
) -> Option<Missed> {
    let namespace = namespace_of(pod, namespace);
    let Configured { spec, rules, .. } = &engine.features[feature as usize];
    let fits = request::choose(rules, pod, namespace).is_some();
    (!fits).then(|| request::missed(spec, rules, pod, namespace))
}

fn namespace_of<'n>(pod: &'n Pod<'_>, of_request: Option<&'n str>) -> &'n str {
    match pod.namespace.as_ref() {
        "" => of_request.unwrap_or_default(),
        own => own,
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
