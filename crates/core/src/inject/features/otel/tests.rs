use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::{
    Config, ContainerSettings, DEFAULT_CONFIG, EnvOverrides, EnvValue, EnvVar, Extra, Feature,
    Language, Origin, Rule, When,
};
use crate::image::Image;
use crate::inject::{Decision, Engine, Outcome, Reason, ReviewContext, inject_pod};

const LANGUAGES: [Language; 3] = [Language::Java, Language::Nodejs, Language::Python];

fn rule(language: Language) -> Rule {
    let origin = Origin::new("rules.otel");
    Rule {
        origin: origin.clone(),
        section: origin,
        feature: Feature::Otel,
        language: Some(language),
        when: When::annotation(),
        image: Image::parse("registry.example/otel:1").ok(),
        image_key: "rules.otel.image".to_owned(),
        container: Arc::new(ContainerSettings {
            envs: vec![EnvVar {
                name: "OTEL_TRACES_EXPORTER".to_owned(),
                value: EnvValue::Literal("otlp".to_owned()),
            }],
            ..ContainerSettings::default()
        }),
        extra: Extra::None,
    }
}

/// The built-in configuration with a rule for each language of OpenTelemetry.
fn engine() -> Engine {
    let (mut config, _) = Config::load(DEFAULT_CONFIG, &EnvOverrides::default()).expect("loads");
    config.rules.extend(LANGUAGES.map(rule));
    Engine::new(&config)
}

fn inject(pod: &Value) -> (Value, Vec<Decision>) {
    let text = pod.to_string();
    let context = ReviewContext::default();
    let injection = inject_pod(&text, None, &engine(), &context).expect("a pod");
    let patch: json_patch::Patch =
        serde_json::from_slice(&injection.patch.to_json()).expect("a patch");
    let mut after = pod.clone();
    json_patch::patch(&mut after, &patch).expect("applies");
    let again = inject_pod(&after.to_string(), None, &engine(), &context)
        .expect("a pod")
        .patch
        .is_empty();
    assert!(again, "injecting twice changes the pod: {after:#}");
    (after, injection.decisions)
}

fn asking(language: Language, spec: &Value) -> Value {
    let annotation = format!("admission.datakit/otel-{}-lib.version", language.as_str());
    json!({"metadata": {"annotations": {annotation: ""}}, "spec": spec})
}

/// What became of OpenTelemetry: the outcome, and the code of the reason where there is one.
fn outcome(decisions: &[Decision]) -> (Outcome, &'static str) {
    let decision = &decisions[Feature::Otel as usize];
    let reason = decision.reason.as_ref();
    (
        decision.outcome,
        reason.map_or("", |reason| reason.as_str()),
    )
}

#[test]
fn start_up_variables() {
    use Language::{Java, Nodejs, Python};
    let java = "-javaagent:/otel-auto-instrumentation-java/javaagent.jar";
    let nodejs = "--require /otel-auto-instrumentation-nodejs/autoinstrumentation.js";
    let [first, last] = [
        "/otel-auto-instrumentation-python/opentelemetry/instrumentation/auto_instrumentation",
        "/otel-auto-instrumentation-python",
    ];
    for (language, variable, own, expected) in [
        (Java, "JAVA_TOOL_OPTIONS", None, java.to_owned()),
        (Java, "JAVA_TOOL_OPTIONS", Some(""), java.to_owned()),
        (
            Java,
            "JAVA_TOOL_OPTIONS",
            Some("-Xmx1g"),
            format!("-Xmx1g {java}"),
        ),
        (Java, "JAVA_TOOL_OPTIONS", Some(java), java.to_owned()),
        (
            Java,
            "JAVA_TOOL_OPTIONS",
            Some(&format!("{java}=x -Xmx1g")),
            format!("{java}=x -Xmx1g"),
        ),
        (Nodejs, "NODE_OPTIONS", None, format!(" {nodejs}")),
        (Nodejs, "NODE_OPTIONS", Some("--x"), format!("--x {nodejs}")),
        (Nodejs, "NODE_OPTIONS", Some(nodejs), nodejs.to_owned()),
        (Python, "PYTHONPATH", None, format!("{first}:{last}")),
        (
            Python,
            "PYTHONPATH",
            Some("/app:/lib"),
            format!("{first}:/app:/lib:{last}"),
        ),
        (
            Python,
            "PYTHONPATH",
            Some(&format!("{last}/:/app:{first}")),
            format!("{last}/:/app:{first}"),
        ),
    ] {
        let env: Vec<Value> = own
            .map(|own| json!({"name": variable, "value": own}))
            .into_iter()
            .collect();
        let pod = asking(
            language,
            &json!({"containers": [{"name": "a", "env": env}]}),
        );
        let (after, decisions) = inject(&pod);
        assert_eq!(outcome(&decisions), (Outcome::Injected, ""), "{own:?}");
        let env = &after["spec"]["containers"][0]["env"];
        assert_eq!(
            *env,
            json!([{"name": variable, "value": expected}, {"name": "OTEL_TRACES_EXPORTER", "value": "otlp"}])
        );
        let init = &after["spec"]["initContainers"][0];
        let path = format!("/otel-auto-instrumentation-{}", language.as_str());
        assert_eq!(init["name"], "datakit-otel-lib-init");
        let mounts = json!([{"name": "datakit-otel-auto-instrument", "mountPath": path}]);
        assert_eq!(init["volumeMounts"], mounts);
        assert_eq!(after["spec"]["containers"][0]["volumeMounts"], mounts);
        let command = init["command"].as_array().expect("a command");
        assert_eq!(command.first(), Some(&json!("cp")));
        assert!(
            command[command.len() - 1]
                .as_str()
                .is_some_and(|to| to.starts_with(&path))
        );
    }
}

#[test]
fn an_annotation_without_a_rule_is_answered() {
    let pod = asking(Language::Java, &json!({"containers": [{"name": "a"}]})).to_string();
    let (config, _) = Config::load(DEFAULT_CONFIG, &EnvOverrides::default()).expect("loads");
    let context = ReviewContext::default();
    let injection = inject_pod(&pod, None, &Engine::new(&config), &context).expect("a pod");
    assert_eq!(outcome(&injection.decisions), (Outcome::Skipped, "no_rule"));
    assert!(injection.patch.is_empty());
}

#[test]
fn references_are_wrapped() {
    let from = json!({"configMapKeyRef": {"name": "c", "key": "k"}});
    let pod = asking(
        Language::Python,
        &json!({"containers": [{"name": "a", "env": [{"name": "PYTHONPATH", "valueFrom": from}]}]}),
    );
    let (after, _) = inject(&pod);
    let env = &after["spec"]["containers"][0]["env"];
    assert_eq!(
        env[0],
        json!({"name": "DATAKIT_ORIGINAL_PYTHONPATH", "valueFrom": from})
    );
    let value = env[1]["value"].as_str().unwrap_or_default();
    assert!(
        value.contains(":$(DATAKIT_ORIGINAL_PYTHONPATH):"),
        "{value}"
    );
}

#[test]
fn another_agent_keeps_the_container() {
    let option = |name: &str, value: &str| json!({"env": [{"name": name, "value": value}]});
    for (language, container) in [
        (
            Language::Java,
            option("JAVA_TOOL_OPTIONS", "-javaagent:/x/dd-java-agent.jar"),
        ),
        (
            Language::Java,
            option(
                "JAVA_TOOL_OPTIONS",
                "-javaagent:/x/opentelemetry-javaagent.jar",
            ),
        ),
        (
            Language::Nodejs,
            option("NODE_OPTIONS", "-r dd-trace/init.js"),
        ),
        (
            Language::Nodejs,
            option("NODE_OPTIONS", "--require=\"dd-trace/init\""),
        ),
        (Language::Python, option("PYTHONPATH", "/datadog-lib/:/app")),
        (
            Language::Python,
            option("PYTHONPATH", "/app:/otel-auto-instrumentation-python"),
        ),
        (
            Language::Python,
            json!({"volumeMounts": [{"name": "v", "mountPath": "/datadog-lib/"}]}),
        ),
    ] {
        let mut second = container.clone();
        second["name"] = "b".into();
        let spec = json!({"containers": [{"name": "a"}, second], "volumes": [{"name": "v", "emptyDir": {}}]});
        let pod = asking(language, &spec);
        let (after, decisions) = inject(&pod);
        assert_eq!(
            outcome(&decisions),
            (Outcome::Skipped, "other_agent"),
            "{second}"
        );
        assert_eq!(after, pod);
    }
    // What another language's variable says doesn't matter, nor a name that only looks alike.
    for (language, container) in [
        (Language::Java, option("NODE_OPTIONS", "-r dd-trace/init")),
        (
            Language::Python,
            option("PYTHONPATH", "/otel-auto-instrumentation-python-2"),
        ),
    ] {
        let mut only = container;
        only["name"] = "a".into();
        let (_, decisions) = inject(&asking(language, &json!({"containers": [only]})));
        assert_eq!(outcome(&decisions), (Outcome::Injected, ""));
    }
}

#[test]
fn a_pod_gets_ddtrace_or_this() {
    let both = |more: &Value, init: &Value| {
        let mut pod = asking(
            Language::Java,
            &json!({"containers": [{"name": "a"}], "initContainers": init}),
        );
        let annotations = pod["metadata"]["annotations"]
            .as_object_mut()
            .expect("annotations");
        annotations.extend(more.as_object().cloned().unwrap_or_default());
        pod
    };
    let ddtrace = "admission.datakit/python-lib.version";
    let init = |name: &str| json!([{"name": name, "image": "x"}]);
    for (more, there, expected) in [
        (json!({}), json!([]), "injected"),
        (json!({ddtrace: ""}), json!([]), "other_feature"),
        // It fails, and the pod still gets nothing else instead.
        (
            json!({ddtrace: ""}),
            init("datakit-lib-init"),
            "other_feature",
        ),
        (json!({}), init("datakit-lib-init"), "other_feature"),
        (
            json!({ddtrace: "", "admission.datakit/ddtrace.enabled": "false"}),
            json!([]),
            "injected",
        ),
        (
            json!({"admission.datakit/otel.enabled": "false"}),
            json!([]),
            "switched_off",
        ),
    ] {
        let (_, decisions) = inject(&both(&more, &there));
        let (outcome, reason) = outcome(&decisions);
        let found = if reason.is_empty() {
            outcome.as_str()
        } else {
            reason
        };
        assert_eq!(found, expected, "{more} {there}");
    }
    // What is there stays, whatever is asked for since.
    let (mut there, _) = inject(&both(&json!({}), &json!([])));
    there["metadata"]["annotations"][ddtrace] = "".into();
    let (after, decisions) = inject(&there);
    assert_eq!(after, there);
    assert_eq!(outcome(&decisions), (Outcome::AlreadyInjected, ""));
    let other = decisions[Feature::Ddtrace as usize].reason.as_ref();
    assert_eq!(other.map(Reason::as_str), Some("other_feature"));
}

#[test]
fn what_others_took_away_is_completed() {
    let (mut there, _) = inject(&asking(
        Language::Java,
        &json!({"containers": [{"name": "a"}]}),
    ));
    there["spec"]["containers"][0]["env"][0]["value"] = "-Xmx1g".into();
    there["spec"]["containers"]
        .as_array_mut()
        .expect("a list")
        .push(json!({"name": "late"}));
    let (after, decisions) = inject(&there);
    assert_eq!(outcome(&decisions), (Outcome::Repaired, ""));
    for (at, value) in ["-Xmx1g ", ""].into_iter().enumerate() {
        let container = &after["spec"]["containers"][at];
        let option = "-javaagent:/otel-auto-instrumentation-java/javaagent.jar";
        assert_eq!(container["env"][0]["value"], format!("{value}{option}"));
        assert_eq!(container["volumeMounts"].as_array().map(Vec::len), Some(1));
    }
    // Of another language, or with a foreign volume, it isn't ours.
    for (from, to) in [
        ("-java\"", "-python\""),
        ("\"emptyDir\":{}", "\"hostPath\":{\"path\":\"/x\"}"),
    ] {
        let text = there.to_string().replace(from, to);
        let foreign: Value = serde_json::from_str(&text).expect("JSON");
        let (after, decisions) = inject(&foreign);
        assert_eq!(
            decisions[Feature::Otel as usize].outcome,
            Outcome::Skipped,
            "{text}"
        );
        assert_eq!(after, foreign);
    }
}

#[test]
fn the_init_container_is_never_more_than_it_must_be() {
    let hardened = json!({
        "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsUser": 1000,
        "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"},
    });
    for (pod, container, expected) in [
        (json!(null), json!(null), json!(null)),
        (
            json!(null),
            json!({"privileged": true, "runAsUser": 0}),
            json!(null),
        ),
        // The image's own user is root, which the kubelet would refuse to start.
        (
            json!({"runAsNonRoot": true}),
            json!(null),
            json!({"runAsUser": 65534}),
        ),
        (json!(null), hardened.clone(), hardened),
    ] {
        let spec = json!({"securityContext": pod, "containers": [{"name": "a", "securityContext": container}]});
        let (after, _) = inject(&asking(Language::Java, &spec));
        assert_eq!(
            after["spec"]["initContainers"][0]["securityContext"],
            expected
        );
    }
}

#[test]
fn node_must_be_allowed_to_read_the_library() {
    for (allowed, expected) in [
        ("/datadog-lib/*", "node_permission"),
        ("/otel-auto-instrumentation-nodejs/*", ""),
    ] {
        let command = json!(["node", "--permission", format!("--allow-fs-read={allowed}")]);
        let spec = json!({"containers": [{"name": "a", "command": command}]});
        let (_, decisions) = inject(&asking(Language::Nodejs, &spec));
        assert_eq!(outcome(&decisions).1, expected, "{allowed}");
        let reason = decisions[Feature::Otel as usize].reason.as_ref();
        let remedy = "add --allow-fs-read=/otel-auto-instrumentation-nodejs/* to its options";
        assert!(reason.is_none_or(|reason| reason.remedy() == remedy));
    }
}

#[test]
fn options_that_get_too_long_are_noted() {
    let added = " -javaagent:/otel-auto-instrumentation-java/javaagent.jar".len();
    for (length, noted) in [(1023 - added, false), (1024 - added, true)] {
        let env = json!([{"name": "JAVA_TOOL_OPTIONS", "value": "-".repeat(length)}]);
        let spec = json!({"containers": [{"name": "a", "env": env}]});
        let (_, decisions) = inject(&asking(Language::Java, &spec));
        let notes = &decisions[Feature::Otel as usize].notes;
        let found = notes
            .iter()
            .any(|note| note.as_str() == "java_options_long");
        assert_eq!(found, noted, "{length}");
    }
}
