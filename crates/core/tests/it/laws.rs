//! Laws that hold for every pod and every body. The judges are those that the fuzzer calls, too.

use datakit_operator_core::config::{Config, EnvOverrides, Policy};
use datakit_operator_core::inject::{Decision, Engine, Outcome, Reason, ReviewContext, inject_pod};
use datakit_operator_core::json::Reader;
use datakit_operator_core::review::review;
use datakit_operator_properties::engines::{default_config, default_engine};
use datakit_operator_properties::pod as judges;
use datakit_operator_properties::review::{answered, body_of, check as answers};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::pods;

fn engine() -> &'static Engine {
    default_engine()
}

fn contexts() -> impl Strategy<Value = ReviewContext> {
    prop_oneof![Just(None), Just(Some("1.31")), Just(Some("1.34"))].prop_map(
        |version: Option<&str>| ReviewContext {
            kubernetes_version: version.map(|version| version.parse().unwrap()),
            ..ReviewContext::default()
        },
    )
}

/// Injects and applies the patch with an engine that isn't ours.
fn injected(text: &str, context: &ReviewContext) -> (Value, Value) {
    judges::injected(text, engine(), context).unwrap()
}

/// A judge's verdict as proptest takes it.
fn held<T>(verdict: Result<T, String>) -> Result<T, TestCaseError> {
    verdict.map_err(TestCaseError::fail)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_of_the_users_is_lost(pod in pods::pod(), context in contexts()) {
        let (after, _) = injected(&pod.to_string(), &context);
        held(judges::contained(&pod, &after, ""))?;
    }

    #[test]
    fn a_valid_pod_stays_valid(pod in pods::pod(), context in contexts()) {
        prop_assume!(judges::invalid(&pod).is_none());
        let (after, patch) = injected(&pod.to_string(), &context);
        prop_assert_eq!(judges::invalid(&after), None, "{:#}", patch);
    }

    #[test]
    fn injecting_twice_is_injecting_once(pod in pods::pod(), context in contexts()) {
        let (once, _) = injected(&pod.to_string(), &context);
        let (_, second) = injected(&once.to_string(), &context);
        prop_assert_eq!(second, json!([]));
    }

    #[test]
    fn only_additions_and_named_leaves(pod in pods::pod(), context in contexts()) {
        let (_, patch) = injected(&pod.to_string(), &context);
        held(judges::small_steps(&patch))?;
    }

    #[test]
    fn the_nodes_time_zone_reaches_the_profiler_alone(pod in pods::pod(), context in contexts()) {
        let (_, patch) = injected(&pod.to_string(), &context);
        let is_time_zone = |mount: &Value| mount["mountPath"] == "/etc/localtime";
        for op in patch.as_array().unwrap() {
            let (path, value) = (op["path"].as_str().unwrap(), &op["value"]);
            if path.contains("/volumeMounts") {
                let added = value.as_array().map_or(std::slice::from_ref(value), |list| list);
                prop_assert!(!added.iter().any(is_time_zone), "{op}");
            }
            let mounts = value["volumeMounts"].as_array().into_iter().flatten();
            for mount in mounts.filter(|mount| is_time_zone(mount)) {
                prop_assert_eq!(&value["name"], "datakit-profiler");
                prop_assert_eq!(&mount["readOnly"], true);
            }
        }
    }

    #[test]
    fn a_policy_only_takes_away(pod in pods::pod(), context in contexts(), policy in policies()) {
        let text = pod.to_string();
        let config = default_config();
        let with = |policy: Policy| {
            let engine = Engine::new(&Config { policy, ..config.clone() });
            inject_pod(&text, Some("default"), &engine, &context).unwrap()
        };
        let policy = Config::load(&policy.to_string(), &EnvOverrides::default()).unwrap().0.policy;
        let (free, bound) = (with(Policy::permissive()), with(policy));
        let by_policy = |decision: &&Decision| {
            let code = decision.reason.as_ref().map(Reason::as_str);
            matches!(code, Some("not_allowed_here" | "version_not_allowed"))
        };
        for decision in bound.decisions.iter().filter(|decision| added(decision.outcome)) {
            // Each may have been impossible beside one that the policy takes away, but somebody
            // asked for it.
            let before = free.decisions.iter().find(|found| found.feature == decision.feature);
            prop_assert!(before.is_some_and(|before| before.outcome != Outcome::NotRequested));
        }
        match bound.decisions.iter().filter(by_policy).count() {
            0 => prop_assert_eq!(bound.patch.to_json(), free.patch.to_json()),
            _ if free.decisions.iter().filter(|decision| decision.asked_by.is_some()).count() == 1 => {
                prop_assert!(bound.patch.is_empty());
            }
            _ => {}
        }
    }

    #[test]
    fn what_is_skipped_leaves_no_trace(pod in pods::pod(), context in contexts()) {
        let text = pod.to_string();
        let injection = inject_pod(&text, Some("default"), engine(), &context).unwrap();
        let patch: Value = serde_json::from_slice(&injection.patch.to_json()).unwrap();
        held(judges::no_trace(&pod, &injection, &patch))?;
    }

    #[test]
    fn a_review_says_the_same_as_the_core(pod in pods::pod(), context in contexts()) {
        let body = body_of(&pod);
        let (_, patch) = injected(&pod.to_string(), &context);
        let reviewed = review(&body, engine(), &context);
        prop_assert_eq!(held(answered(&reviewed.answer))?, ("u".to_owned(), patch));
    }

    #[test]
    fn any_change_of_a_review_gets_an_answer(
        pod in pods::pod(),
        at in any::<prop::sample::Index>(),
        len in 0usize..40,
        junk in proptest::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut body = body_of(&pod);
        let start = at.index(body.len());
        let end = (start + len).min(body.len());
        body.splice(start..end, junk);
        held(answers(&body))?;
        held(answers(&body[..start]))?;
    }

    #[test]
    fn any_bytes_get_an_answer(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        held(answers(&body))?;
    }

    #[test]
    fn the_reader_agrees_with_another_parser(
        text in r#"[\[\]{}:,"\\ntfalsrue0-9eE.+\- u]{0,24}"#,
    ) {
        let mut reader = Reader::new(&text);
        let ours = reader.skip().and_then(|_| reader.end()).is_ok();
        // IgnoredAny looks at the form alone, as the reader does when it skips.
        let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        prop_assert_eq!(ours, theirs, "{}", text);
    }

    #[test]
    fn strings_are_read_as_they_were_written(text in any::<String>()) {
        let mut json = Vec::new();
        datakit_operator_core::json::write_string(&mut json, &text);
        let json = String::from_utf8(json).unwrap();
        prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text.clone());
        let theirs = serde_json::to_string(&text).unwrap();
        let read = Reader::new(&theirs).string().unwrap().unwrap();
        prop_assert_eq!(read.as_ref(), text.as_str());
    }
}

/// Policies that allow less than everything in some way.
fn policies() -> impl Strategy<Value = Value> {
    let list = prop_oneof![
        Just(json!(["*"])),
        Just(json!([])),
        Just(json!(["default"])),
        Just(json!(["dev-*", "l*", "v1.*"])),
    ];
    let feature = (list.clone(), list, any::<bool>()).prop_map(|(namespaces, versions, drop)| {
        json!({"namespaces": namespaces, "versions": versions, "drop_digest": drop})
    });
    let names = ["ddtrace", "otel", "logfwd", "flameshot", "profiler"];
    prop::collection::vec(feature, names.len()).prop_map(move |features| {
        let named = names.into_iter().map(str::to_owned).zip(features);
        json!({"admission_policy": named.collect::<serde_json::Map<_, _>>()})
    })
}

fn added(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Injected | Outcome::Repaired)
}
