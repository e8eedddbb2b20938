//! Rules as a list: the first that fits says what a pod gets, and of the others one learns why they
//! don't fit.

use std::sync::Arc;

use datakit_operator_core::config::{
    Config, ContainerSettings, DEFAULT_CONFIG, EnvOverrides, EnvValue, EnvVar, Extra, Feature,
    Language, Origin, Rule, When,
};
use datakit_operator_core::image::Image;
use datakit_operator_core::inject::{
    Condition, Engine, Injection, Missed, ReviewContext, inject_pod, missed,
};
use datakit_operator_core::selector::{LabelSelector, NamespacePattern};
use serde_json::{Value, json};

/// A Java rule with an image and a variable of its own.
fn java(name: &str, when: When) -> Rule {
    Rule {
        origin: Origin::new(&format!("rules.{name}")),
        section: Origin::new(&format!("rules.{name}")),
        feature: Feature::Ddtrace,
        language: Some(Language::Java),
        when,
        image: Image::parse(&format!("registry.example/{name}:1")).ok(),
        image_key: format!("rules.{name}.image"),
        container: Arc::new(ContainerSettings {
            envs: vec![EnvVar {
                name: "RULE".to_owned(),
                value: EnvValue::Literal(name.to_owned()),
            }],
            ..ContainerSettings::default()
        }),
        extra: Extra::None,
    }
}

fn when(annotation: bool, namespaces: &[&str], labels: &[&str]) -> When {
    When {
        annotation,
        namespaces: namespaces
            .iter()
            .map(|text| NamespacePattern::parse(text).unwrap())
            .collect(),
        labels: labels
            .iter()
            .map(|text| LabelSelector::parse(text).unwrap())
            .collect(),
    }
}

fn engine(rules: Vec<Rule>) -> Engine {
    Engine::new(&Config {
        rules,
        ..Config::default()
    })
}

fn pod(annotations: &Value, labels: &Value) -> String {
    json!({
        "metadata": {"annotations": annotations, "labels": labels},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    })
    .to_string()
}

fn inject<'a>(pod: &'a str, namespace: &str, engine: &Engine) -> Injection<'a> {
    inject_pod(pod, Some(namespace), engine, &ReviewContext::default()).unwrap()
}

const JAVA: &str = "admission.datakit/java-lib.version";
const PYTHON: &str = "admission.datakit/python-lib.version";

#[test]
fn the_first_rule_that_fits_gives_image_and_settings() {
    let engine = engine(vec![
        java("none", When::default()),
        java("asked", when(true, &["^prod$"], &[])),
        java("both", when(false, &["^prod$"], &["app=shop"])),
        java("either", when(false, &["^dev$", "^test$"], &[])),
        java("late", when(false, &["^prod$"], &["app"])),
    ]);
    for (annotations, labels, namespace, expected, asked_by) in [
        (
            json!({}),
            json!({"app": "shop"}),
            "prod",
            Some("both:1"),
            "label selector app=shop",
        ),
        (
            json!({JAVA: ""}),
            json!({"app": "shop"}),
            "prod",
            Some("asked:1"),
            "annotation admission.datakit/java-lib.version",
        ),
        // An annotation chooses the version only where it is what asks.
        (
            json!({JAVA: "v2"}),
            json!({}),
            "prod",
            Some("asked:v2"),
            "annotation admission.datakit/java-lib.version",
        ),
        (
            json!({JAVA: "v2"}),
            json!({}),
            "test",
            Some("either:1"),
            "namespace pattern ^test$",
        ),
        (
            json!({}),
            json!({"app": "web"}),
            "prod",
            Some("late:1"),
            "label selector app",
        ),
        (json!({}), json!({}), "prod", None, ""),
        (json!({}), json!({"app": "shop"}), "qa", None, ""),
    ] {
        let text = pod(&annotations, &labels);
        let injection = inject(&text, namespace, &engine);
        let decision = &injection.decisions[0];
        let patch = String::from_utf8(injection.patch.to_json()).unwrap();
        let case = format!("{annotations} {labels} {namespace}: {patch}");
        let Some(image) = expected else {
            assert!(
                injection.patch.is_empty() && decision.rule.is_none(),
                "{case}"
            );
            continue;
        };
        let name = image.split(':').next().unwrap();
        assert!(
            patch.contains(&format!(r#""image":"registry.example/{image}""#)),
            "{case}"
        );
        assert!(
            patch.contains(&format!(r#"{{"name":"RULE","value":"{name}"}}"#)),
            "{case}"
        );
        let rule = decision.rule.as_ref().map(Origin::as_str);
        assert_eq!(rule, Some(&*format!("rules.{name}")), "{case}");
        let said = decision.asked_by.as_ref().map(ToString::to_string);
        assert_eq!(said.as_deref(), Some(asked_by), "{case}");
    }
}

#[test]
fn a_missing_image_is_asked_for_where_the_rule_stands() {
    let mut rule = java("empty", when(false, &["*"], &[]));
    rule.image = None;
    let text = pod(&json!({}), &json!({}));
    let engine = engine(vec![rule]);
    let injection = inject(&text, "prod", &engine);
    let reason = injection.decisions[0].reason.as_ref().unwrap();
    assert_eq!(reason.as_str(), "image_not_configured");
    assert!(
        reason.remedy().contains("rules.empty.image"),
        "{}",
        reason.remedy()
    );
}

/// What is said of each rule.
fn told(missed: &Missed) -> Vec<String> {
    let rules = missed.rules.iter();
    rules
        .map(|miss| {
            let failed: Vec<String> = miss.failed.iter().map(ToString::to_string).collect();
            format!("{}: {}", miss.rule, failed.join("; "))
        })
        .collect()
}

#[test]
fn for_each_rule_one_learns_which_conditions_fail() {
    let engine = engine(vec![
        java("all", when(true, &["^prod$"], &["app=shop"])),
        java("asked", when(true, &[], &[])),
        java("here", when(false, &["^prod$", "^test$"], &[])),
        java("labels", when(false, &["dev"], &["app=shop"])),
        java("none", When::default()),
    ]);
    let text = pod(&json!({PYTHON: ""}), &json!({}));
    let injection = inject(&text, "dev", &engine);
    let found = missed(Feature::Ddtrace, &injection.pod, Some("dev"), &engine).unwrap();
    assert_eq!(
        told(&found),
        [
            format!("rules.asked: annotation {PYTHON} asks for another language"),
            "rules.here: namespace `dev` does not match `^prod$`, `^test$`".to_owned(),
            "rules.labels: the labels do not match `app=shop`".to_owned(),
            "rules.none: the rule has no condition, so it never applies".to_owned(),
            format!(
                "rules.all: namespace `dev` does not match `^prod$`; the labels do not match `app=shop`; annotation \
                 {PYTHON} asks for another language"
            ),
        ]
    );
    let text = pod(&json!({}), &json!({}));
    let injection = inject(&text, "dev", &engine);
    let found = missed(Feature::Ddtrace, &injection.pod, Some("dev"), &engine).unwrap();
    assert_eq!(found.rules[0].failed, [Condition::Annotation(&[JAVA])]);
    // Where a rule fits, none is missed.
    let text = pod(&json!({JAVA: ""}), &json!({}));
    let injection = inject(&text, "dev", &engine);
    assert_eq!(
        missed(Feature::Ddtrace, &injection.pod, Some("dev"), &engine),
        None
    );
}

#[test]
fn of_many_rules_the_nearest_are_told() {
    let far = (0..50).map(|n| java(&format!("far{n}"), when(true, &["^prod$"], &["app"])));
    let near = java("near", when(true, &[], &[]));
    let engine = engine(far.chain([near]).collect());
    let text = pod(&json!({}), &json!({}));
    let injection = inject(&text, "dev", &engine);
    let found = missed(Feature::Ddtrace, &injection.pod, Some("dev"), &engine).unwrap();
    assert_eq!((found.rules.len(), found.more), (Missed::MOST, 41));
    assert_eq!(found.rules[0].rule.as_str(), "rules.near");
}

#[test]
fn a_rule_in_a_language_that_the_feature_does_not_have_is_left_out() {
    let mut rule = java("go", when(false, &["*"], &[]));
    rule.language = Some(Language::Golang);
    let text = pod(&json!({}), &json!({}));
    let engine = engine(vec![rule]);
    assert!(inject(&text, "prod", &engine).patch.is_empty());
}

#[test]
fn the_built_in_rules_ask_by_annotation_alone() {
    let (config, _) = Config::load(DEFAULT_CONFIG, &EnvOverrides::default()).unwrap();
    let engine = Engine::new(&config);
    let text = pod(&json!({}), &json!({}));
    let injection = inject(&text, "prod", &engine);
    for feature in Feature::ALL {
        let found = missed(feature, &injection.pod, Some("prod"), &engine).unwrap();
        assert_eq!(found.more, 0);
        assert_eq!(
            found.rules.is_empty(),
            config.rules_of(feature).next().is_none()
        );
        for miss in &found.rules {
            assert_eq!(miss.rule.as_str(), format!("admission_inject.{feature}"));
            assert!(
                matches!(*miss.failed, [Condition::Annotation(_)]),
                "{miss:?}"
            );
        }
    }
}
