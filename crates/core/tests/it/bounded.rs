//! A review costs what its size allows, and what would become too large is left out with a reason.

use datakit_operator_core::config::{Config, DEFAULT_CONFIG, EnvOverrides};
use datakit_operator_core::inject::{
    Engine, Feature, Note, Outcome, Reason, ReviewContext, inject_pod,
};
use datakit_operator_core::pod::limits::{Limit, STORED_BYTES};
use datakit_operator_core::review::{Answer, longest_answer, review, warnings};
use serde_json::{Value, json};

use crate::shapes;

/// Each shape so large that comparing its lists entry by entry takes minutes to hours: 10^9
/// comparisons and more. Growth is measured by the benchmark `shapes`; here the runner's patience
/// is what fails.
#[test]
fn hostile_shapes_are_answered() {
    for (name, make) in shapes::ALL {
        for n in [20, 8_000, 40_000] {
            let shape = make(n);
            let reviewed = review(&shape.body, &shape.engine, &shape.context);
            let Answer::Review(answer) = &reviewed.answer else {
                panic!("{name}: {:?}", reviewed.answer);
            };
            let most = longest_answer(shape.engine.limits());
            assert!(answer.len() <= most, "{name}: {} bytes", answer.len());
            for decision in &reviewed.record.decisions {
                assert!(decision.notes.len() < 100, "{name}: {:?}", decision.notes);
            }
            assert!(reviewed.record.notes.len() < 100, "{name}");
        }
    }
}

fn engine(limits: &Value) -> Engine {
    let mut config: Value = serde_json::from_str(DEFAULT_CONFIG).unwrap();
    config["admission_limits"] = limits.clone();
    let (config, diagnostics) =
        Config::load(&config.to_string(), &EnvOverrides::default()).unwrap();
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    Engine::new(&config)
}

fn pod(containers: usize, filler: usize) -> Value {
    let containers: Vec<Value> = (0..containers)
        .map(|n| json!({"name": format!("c{n}"), "image": "x"}))
        .collect();
    json!({
        "metadata": {
            "annotations": {
                "admission.datakit/java-lib.version": "",
                "admission.datakit/logfwd.instances": r#"[{"datakit_addr":"d:1","loggings":[{"logfiles":["/a/x","/b/x"]}]}]"#,
                "admission.datakit/java-profiler.version": "",
                "filler": "x".repeat(filler),
            },
        },
        "spec": {"containers": containers},
    })
}

/// What becomes of each feature under limits: the outcome, or the limit that it would exceed.
fn check(limits: Value, pod: &Value, expected: [&str; 3]) {
    let engine = engine(&limits);
    let text = pod.to_string();
    let injection = inject_pod(&text, Some("default"), &engine, &ReviewContext::default()).unwrap();
    // These features are what the pods ask for.
    let asked = [Feature::Ddtrace, Feature::Logfwd, Feature::Profiler];
    let found: Vec<&str> = asked
        .iter()
        .map(|feature| &injection.decisions[*feature as usize])
        .map(|decision| match &decision.reason {
            Some(Reason::PodTooLarge(excess)) => {
                assert!(excess.found > excess.most || excess.limit == Limit::ViewBytes);
                match excess.limit {
                    Limit::Containers => "containers",
                    Limit::PatchOperations => "operations",
                    Limit::PatchBytes => "bytes",
                    Limit::StoredBytes => "stored",
                    Limit::ViewBytes => "view",
                }
            }
            Some(reason) => reason.as_str(),
            None => decision.outcome.as_str(),
        })
        .collect();
    assert_eq!(found, expected, "{limits}");
    let patch = injection.patch.to_json();
    assert!(injection.patch.len() <= engine.limits().patch_operations);
    assert!(
        patch.len() <= engine.limits().patch_bytes,
        "{}",
        patch.len()
    );
    if !injection.patch.is_empty() {
        assert!(text.len() + patch.len() <= STORED_BYTES);
    }
    for traces in [
        ["datakit-lib-init", found[0]],
        ["LOGFWD_JSON_CONFIG", found[1]],
        ["datakit-profiler-volume", found[2]],
    ] {
        let there = String::from_utf8_lossy(&patch).contains(traces[0]);
        assert_eq!(
            there,
            traces[1] == Outcome::Injected.as_str(),
            "{limits} {traces:?}"
        );
    }
}

#[test]
fn a_large_pod_gets_everything() {
    check(json!({}), &pod(100, 0), ["injected"; 3]);
    check(json!({}), &pod(100, 200_000), ["injected"; 3]);
}

#[test]
fn more_containers_than_allowed_are_left_alone() {
    check(json!({}), &pod(501, 0), ["containers"; 3]);
    check(json!({"containers": 2}), &pod(2, 0), ["injected"; 3]);
    check(json!({"containers": 2}), &pod(3, 0), ["containers"; 3]);
    let mut init = pod(2, 0);
    init["spec"]["initContainers"] = json!([{"name": "i", "image": "x"}]);
    check(json!({"containers": 2}), &init, ["containers"; 3]);
}

#[test]
fn features_are_left_out_once_the_patch_is_full() {
    let mut all = pod(2, 0);
    // Lists that are there are appended to, so that plans share no operation.
    all["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
    all["spec"]["initContainers"] = json!([{"name": "i", "image": "x"}]);
    for container in all["spec"]["containers"].as_array_mut().unwrap() {
        container["env"] = json!([{"name": "A", "value": "a"}]);
        container["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    }
    let mut first = all.clone();
    let annotations = first["metadata"]["annotations"].as_object_mut().unwrap();
    annotations.retain(|key, _| key == "admission.datakit/java-lib.version");
    let patch = |pod: &Value| {
        let (text, engine) = (pod.to_string(), engine(&json!({})));
        inject_pod(&text, None, &engine, &ReviewContext::default())
            .unwrap()
            .patch
    };
    let (of_all, of_first) = (patch(&all), patch(&first));
    for (key, full, of_all, of_first) in [
        ("patch_bytes", "bytes", of_all.bytes(), of_first.bytes()),
        (
            "patch_operations",
            "operations",
            of_all.len(),
            of_first.len(),
        ),
    ] {
        let limits = |most: usize| json!({ key: most });
        // A bracket or two more are counted.
        check(limits(of_all + 4), &all, ["injected"; 3]);
        check(limits(of_all - 1), &all, ["injected", "injected", full]);
        check(limits(of_first), &all, ["injected", full, full]);
        let alone = |outcome| [outcome, "not_requested", "not_requested"];
        check(limits(of_first), &first, alone("injected"));
        check(limits(of_first - 1), &first, alone(full));
    }
}

#[test]
fn an_object_is_not_pushed_over_what_is_stored() {
    let room = |bytes| STORED_BYTES - pod(1, 0).to_string().len() - bytes;
    check(json!({}), &pod(1, room(20_000)), ["injected"; 3]);
    check(json!({}), &pod(1, room(500)), ["stored"; 3]);
    check(json!({}), &pod(1, room(0)), ["stored"; 3]);
    check(json!({}), &pod(1, 2 * STORED_BYTES), ["stored"; 3]);
}

#[test]
fn more_entries_than_are_looked_at_are_left_alone() {
    let mut many = pod(1, 0);
    many["spec"]["containers"][0]["env"] = json!(vec![json!({}); 100_000]);
    check(json!({}), &many, ["view"; 3]);
    // What isn't asked for isn't told.
    many["metadata"] = json!({});
    check(json!({}), &many, ["not_requested"; 3]);
}

#[test]
fn the_reason_names_the_limit_what_was_found_and_the_remedy() {
    let engine = engine(&json!({"containers": 2}));
    let text = pod(3, 0).to_string();
    let injection = inject_pod(&text, Some("default"), &engine, &ReviewContext::default()).unwrap();
    let warnings: Vec<String> = warnings(&injection.decisions, &injection.notes).collect();
    assert_eq!(
        warnings[0],
        "ddtrace (java) not injected: the pod has 3 containers and pods of up to 2 are changed; \
         make the pod smaller or raise admission_limits.containers in the operator's configuration"
    );
}

#[test]
fn notes_of_one_kind_are_counted_once_there_are_many() {
    let containers: Vec<Value> = (0..40)
        .map(|n| {
            json!({"name": format!("c{n}"), "image": "x",
                   "volumeMounts": [{"name": format!("v{n}"), "mountPath": "/a"}]})
        })
        .collect();
    let volumes: Vec<Value> = (0..40)
        .map(|n| json!({"name": format!("v{n}"), "emptyDir": {}}))
        .collect();
    let text = json!({
        "metadata": {"annotations": {
            "admission.datakit/logfwd.instances": r#"[{"datakit_addr":"d:1","loggings":[{"logfiles":["/a/x"]}]}]"#,
        }},
        "spec": {"containers": containers, "volumes": volumes},
    })
    .to_string();
    let injection = inject_pod(
        &text,
        Some("default"),
        &engine(&json!({})),
        &ReviewContext::default(),
    )
    .unwrap();
    let notes = &injection.decisions[Feature::Logfwd as usize].notes;
    assert_eq!(notes.len(), 21);
    let more = Note::More {
        kind: "not_shared",
        count: 19,
    };
    assert_eq!(notes.last(), Some(&more));
    assert_eq!(more.to_string(), "19 more notes of kind `not_shared`");
}

#[test]
fn a_path_that_is_too_long_is_skipped() {
    let long = format!("/{}/x", "d".repeat(4096));
    let instances =
        json!([{"datakit_addr": "d:9533", "loggings": [{"logfiles": [long]}]}]).to_string();
    let text = json!({
        "metadata": {"annotations": {"admission.datakit/logfwd.instances": instances}},
        "spec": {"containers": [{"name": "c", "image": "x"}]},
    })
    .to_string();
    let injection = inject_pod(
        &text,
        Some("default"),
        &engine(&json!({})),
        &ReviewContext::default(),
    )
    .unwrap();
    let note = injection.decisions[Feature::Logfwd as usize].notes[0].to_string();
    assert!(note.ends_with("no path can be that long"), "{note}");
}
