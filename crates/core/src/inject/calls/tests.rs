use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::{Calls, Detail, LabelSelector, NamespacePattern, Origin, Rule, When, condition};
use crate::config::{Config, DEFAULT_CONFIG, EnvOverrides, Extra, Feature, Language};
use crate::image::Image;
use crate::inject::{Engine, Outcome, ReviewContext, inject_pod};

/// Which pods a rule fits. What isn't a pattern or a selector is left out.
fn when(annotation: bool, namespaces: &[impl AsRef<str>], labels: &[impl AsRef<str>]) -> When {
    let patterns = namespaces
        .iter()
        .map(|text| NamespacePattern::parse(text.as_ref()));
    let selectors = labels
        .iter()
        .map(|text| LabelSelector::parse(text.as_ref()));
    When {
        annotation,
        namespaces: patterns.filter_map(Result::ok).collect(),
        labels: selectors.filter_map(Result::ok).collect(),
    }
}

fn in_namespaces(patterns: &[&str]) -> When {
    when(false, patterns, &[""; 0])
}

fn with_labels(selectors: &[&str]) -> When {
    when(false, &[""; 0], selectors)
}

/// An engine with a Java rule for each of these conditions.
fn engine(conditions: &[When]) -> Engine {
    let rule = |(number, when): (usize, &When)| Rule {
        origin: Origin::new(&format!("rules[{number}]")),
        section: Origin::new("rules"),
        feature: Feature::Ddtrace,
        language: Some(Language::Java),
        when: when.clone(),
        image: Image::parse("java:1").ok(),
        image_key: String::new(),
        container: Arc::default(),
        extra: Extra::None,
    };
    Engine::new(&Config {
        rules: conditions.iter().enumerate().map(rule).collect(),
        ..Config::default()
    })
}

fn why_all(conditions: &[When]) -> String {
    match engine(conditions).calls() {
        Calls::All(why) => why.to_string(),
        Calls::Some(condition) => panic!("{condition}"),
    }
}

#[test]
fn by_default_only_annotations_ask() {
    let (config, _) = Config::load(DEFAULT_CONFIG, &EnvOverrides::default()).unwrap();
    for config in [config, Config::default()] {
        expect_test::expect![[r"
            request.operation == 'CREATE' && request.resource.resource == 'pods' && has(request.namespace) && has(object.metadata) && (
              has(object.metadata.annotations) && (size(object.metadata.annotations) > 1000 || object.metadata.annotations.exists(key, key.startsWith('admission.datakit/')))
            )"]]
        .assert_eq(&Engine::new(&config).calls().expression().unwrap());
    }
}

#[test]
fn each_way_of_asking() {
    let engine = engine(&[
        when(false, &["^prod$", "^dev-", "^(qa|test)$"], &[""; 0]),
        in_namespaces(&["^shop$", "^prod$"]),
        when(true, &["*"], &[""; 0]),
        When::annotation(),
        When::default(),
        with_labels(&["app=web", "tier in (a,b),!batch"]),
        with_labels(&["app=web"]),
        when(false, &["^x$", "y$"], &["app", "a.b/c=d*"]),
        when(false, &["^[a&&b]"], &["wide"]),
    ]);
    expect_test::expect![[r"
        request.operation == 'CREATE' && request.resource.resource == 'pods' && has(request.namespace) && has(object.metadata) && (
          has(object.metadata.annotations) && (size(object.metadata.annotations) > 1000 || object.metadata.annotations.exists(key, key.startsWith('admission.datakit/'))) ||
          request.namespace in ['prod', 'shop'] ||
          request.namespace.startsWith('dev-') ||
          request.namespace.matches('^(qa|test)$') ||
          [has(object.metadata.labels) ? object.metadata.labels : {}].exists(labels,
            'app' in labels && labels['app'] == 'web' ||
            'tier' in labels && labels['tier'] in ['a', 'b'] && !('batch' in labels) ||
            (request.namespace == 'x' || request.namespace.endsWith('y')) && ('app' in labels || 'a.b/c' in labels && size(labels['a.b/c']) <= 63 && labels['a.b/c'].startsWith('d')) ||
            'wide' in labels)
        )"]]
    .assert_eq(&engine.calls().expression().unwrap());
}

#[test]
fn rules_for_every_pod() {
    let asked = in_namespaces(&["^prod$"]);
    assert_eq!(
        why_all(&[asked.clone(), in_namespaces(&["^x$", ".*"])]),
        "rule rules[1] fits pods of all namespaces"
    );
    assert_eq!(
        why_all(&[asked, in_namespaces(&["^x$", r"^a\b"])]),
        r"the namespace pattern `^a\b` of rule rules[1] may mean something else to API servers"
    );
}

/// What is too long is said in fewer words, and then not at all.
#[test]
fn long_lists_of_rules() {
    let labels = |operator: &str| -> Vec<_> {
        let selectors = (0..600).map(|number| format!("app{operator}value-{number}-*-*"));
        selectors.map(|text| with_labels(&[&text])).collect()
    };
    let expression = engine(&labels("=")).calls().expression().unwrap();
    assert!(expression.len() < 500, "{expression}");
    assert!(expression.contains("    'app' in labels)"), "{expression}");
    let text = why_all(&labels("!="));
    assert!(
        text.contains("bytes as an expression, at most 16384"),
        "{text}"
    );
    let names: Vec<_> = (0..1000)
        .map(|number| in_namespaces(&[&format!("^namespace-{number}$")]))
        .collect();
    let text = why_all(&names);
    assert!(text.starts_with("the rules take 17"), "{text}");
    assert!(engine(&names[..500]).calls().expression().is_some());
}

/// Texts that differ from each other in the ways that matter.
fn namespaces() -> impl Strategy<Value = String> {
    "[ab-]{1,4}"
}

fn patterns() -> impl Strategy<Value = String> {
    prop_oneof![
        r"\^?[ab-]{1,3}\$?",
        r"\^?(\.\*)?[ab]{1,2}(\.\*)?\$?",
        r"\^?\((a|b-|ab)\|[ab]{1,2}\)[+*?]?\$?",
        r"\^?\[\^?[ab]-?\][+*]?(\{1,2\})?",
        r"(\[a&&b\]|\\ba|a\{1\}\+|\(\?i\)A|a\*\*)",
    ]
}

fn selectors() -> impl Strategy<Value = String> {
    let one = prop_oneof![
        "!?[kl]",
        r"[kl](=|!=)(\*?[xy]{0,2}\*?|[xy]\?|\[!?x\]y?)",
        r"[kl] (in|notin) \((x|xy|,x)\)",
        "[kl][<>]1",
    ];
    prop::collection::vec(one, 1..3).prop_map(|all| all.join(","))
}

fn pods() -> impl Strategy<Value = serde_json::Value> {
    let labels = prop::option::of(prop::collection::btree_map("[kl]", "[xy]{0,3}|[0-3]", 0..3));
    let key = prop_oneof![
        Just("admission.datakit/java-lib.version"),
        Just("admission.datakit/jav-lib.version"),
        Just("admission.datakit/enabled"),
        Just("admission.datakit"),
        Just("datakit/logs"),
    ];
    let annotations = prop::option::of(prop::collection::btree_map(key, "x?", 0..2));
    (labels, annotations).prop_map(|(labels, annotations)| {
        json!({
            "metadata": {"labels": labels, "annotations": annotations},
            "spec": {"containers": [{"name": "app", "image": "app"}]},
        })
    })
}

fn conditions() -> impl Strategy<Value = When> {
    let namespaces = prop::collection::vec(patterns(), 0..3);
    let labels = prop::collection::vec(selectors(), 0..3);
    (any::<bool>(), namespaces, labels)
        .prop_map(|(annotation, namespaces, labels)| when(annotation, &namespaces, &labels))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the engine would inject, or say, is asked about, in every detail.
    #[test]
    fn nothing_is_missed(
        conditions in prop::collection::vec(conditions(), 0..3),
        pod in pods(),
        namespace in namespaces(),
    ) {
        let engine = engine(&conditions);
        let text = pod.to_string();
        let context = ReviewContext::default();
        let injection = inject_pod(&text, Some(&namespace), &engine, &context).unwrap();
        let asked = injection.decisions.iter().any(|decision| decision.outcome != Outcome::NotRequested);
        let says = asked || !injection.patch.is_empty() || !injection.notes.is_empty();
        let rules = || engine.features.iter().flat_map(|one| &one.rules).map(|one| &one.rule);
        let calls = [Detail::Full, Detail::Keys].map(|detail| match condition(rules(), detail) {
            Ok(condition) => Calls::Some(condition),
            Err(why) => Calls::All(why),
        });
        let included = calls.each_ref().map(|calls| calls.include(&injection.pod, &namespace));
        if says {
            prop_assert_eq!(included, [true, true], "{}", engine.calls().expression().unwrap_or_default());
        }
        prop_assert!(included[1] || !included[0], "fewer words are for more pods");
        // Most of what isn't asked for isn't called for, which is the point.
        let exact = conditions.iter().all(|when| {
            let numbers = |selector: &LabelSelector| selector.as_str().contains(['<', '>']);
            when.namespaces.iter().all(|pattern| pattern.fits_all() || pattern.in_cel().is_some())
                && !when.labels.iter().any(numbers)
        });
        if !says && exact && injection.pod.annotations.is_empty() {
            prop_assert!(!included[0], "{}", engine.calls().expression().unwrap_or_default());
        }
    }
}
