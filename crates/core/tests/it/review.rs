//! Reviews: what a client gets for whatever it sends.

use datakit_operator_core::config::{Config, DEFAULT_CONFIG, EnvOverrides};
use datakit_operator_core::inject::{Engine, Note, ReviewContext};
use datakit_operator_core::review::{Answer, Disposition, review};
use expect_test::{Expect, expect};
use serde_json::{Value, json};

/// What a body is answered with: the disposition, then the answer.
fn check(body: impl AsRef<[u8]>, expected: Expect) {
    let engine = Engine::new(
        &Config::load(DEFAULT_CONFIG, &EnvOverrides::default())
            .unwrap()
            .0,
    );
    let reviewed = review(body.as_ref(), &engine, &ReviewContext::default());
    let disposition = reviewed.record.disposition;
    let answer = match reviewed.answer {
        Answer::BadRequest(sentence) => format!("400 {sentence}"),
        Answer::Review(body) => {
            let mut body: Value = serde_json::from_slice(&body).unwrap();
            let response = &mut body["response"];
            assert_eq!(response["allowed"], json!(true));
            if let Some(patch) = response.get_mut("patch") {
                *patch = format!("{} bytes", patch.as_str().unwrap().len()).into();
            }
            response.to_string()
        }
    };
    assert_eq!(
        disposition == Disposition::BadRequest,
        answer.starts_with("400")
    );
    expected.assert_eq(&format!("{}: {answer}", disposition.as_str()));
}

/// A review of a pod to create, with parts of the request replaced.
fn body(changes: Value) -> Value {
    let mut body = json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "abc",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "default",
            "operation": "CREATE",
            "object": {
                "metadata": {"annotations": {"admission.datakit/js-lib.version": ""}},
                "spec": {"containers": [{"name": "app", "image": "app"}]},
            },
        },
    });
    for (key, value) in changes.as_object().unwrap() {
        body["request"][key] = value.clone();
    }
    body
}

#[test]
fn a_pod_is_injected() {
    check(
        body(json!({})).to_string(),
        expect![[
            r#"injected: {"uid":"abc","allowed":true,"patchType":"JSONPatch","patch":"1648 bytes"}"#
        ]],
    );
}

#[test]
fn the_order_of_the_fields_does_not_matter() {
    let request = body(json!({}))["request"].take();
    let fields = request.as_object().unwrap().iter().rev();
    let fields: Vec<String> = fields
        .map(|(key, value)| format!("{}:{value}", json!(key)))
        .collect();
    check(
        format!(
            r#"{{"request":{{{}}},"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}}"#,
            fields.join(",")
        ),
        expect![[
            r#"injected: {"uid":"abc","allowed":true,"patchType":"JSONPatch","patch":"1648 bytes"}"#
        ]],
    );
}

#[test]
fn nothing_asked_for_nothing_sent() {
    check(
        body(json!({"object": {"metadata": {}, "spec": {"containers": [{"name": "a"}], "fooBar": 1}}})).to_string(),
        expect![[r#"unchanged: {"uid":"abc","allowed":true}"#]],
    );
}

#[test]
fn other_operations_and_resources_are_left_alone() {
    check(
        body(json!({"operation": "UPDATE"})).to_string(),
        expect![[
            r#"other_operation: {"uid":"abc","allowed":true,"status":{"message":"nothing is done on UPDATE"}}"#
        ]],
    );
    check(
        body(json!({"operation": "DELETE", "object": null})).to_string(),
        expect![[
            r#"other_operation: {"uid":"abc","allowed":true,"status":{"message":"nothing is done on DELETE"}}"#
        ]],
    );
    check(
        body(json!({"resource": {"group": "apps", "version": "v1", "resource": "deployments"}}))
            .to_string(),
        expect![[
            r#"other_resource: {"uid":"abc","allowed":true,"status":{"message":"Unsupported resource `apps/v1/deployments`, expected pods of v1"},"warnings":["Unsupported resource `apps/v1/deployments`, expected pods of v1"]}"#
        ]],
    );
    check(
        body(json!({"subResource": "eviction"})).to_string(),
        expect![[
            r#"other_resource: {"uid":"abc","allowed":true,"status":{"message":"Unsupported resource `v1/pods/eviction`, expected pods of v1"},"warnings":["Unsupported resource `v1/pods/eviction`, expected pods of v1"]}"#
        ]],
    );
}

#[test]
fn a_pod_that_cannot_be_read_is_left_as_it_is() {
    check(
        body(json!({"object": {"spec": {"containers": [{"name": 5}]}}})).to_string(),
        expect![[
            r#"unreadable_pod: {"uid":"abc","allowed":true,"status":{"message":"the pod can't be read and is left as it is: `spec.containers[0].name`: expected a string, found a number (byte 31)"},"warnings":["the pod can't be read and is left as it is: `spec.containers[0].name`: expected a string, found a number (byte 31)"]}"#
        ]],
    );
    check(
        body(json!({"object": []})).to_string(),
        expect![[
            r#"unreadable_pod: {"uid":"abc","allowed":true,"status":{"message":"the pod can't be read and is left as it is: expected an object, found a list (byte 0)"},"warnings":["the pod can't be read and is left as it is: expected an object, found a list (byte 0)"]}"#
        ]],
    );
    check(
        body(json!({"object": null})).to_string(),
        expect![[r#"unchanged: {"uid":"abc","allowed":true}"#]],
    );
}

#[test]
fn a_damaged_review_is_answered_if_its_uid_is_known() {
    let text = body(json!({})).to_string();
    check(
        &text[..text.len() - 2],
        expect![[
            r#"damaged_review: {"uid":"abc","allowed":true,"status":{"message":"the review is damaged and the pod is left as it is: `request`: the text ends inside a value (byte 314)"},"warnings":["the review is damaged and the pod is left as it is: `request`: the text ends inside a value (byte 314)"]}"#
        ]],
    );
    check(
        &text[..80],
        expect![
            "bad_request: 400 the body is no AdmissionReview in JSON: `request.uid`: the text ends inside a value (byte 80)"
        ],
    );
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    check(
        text.replace(
            r#""app","image""#,
            &format!(r#""app","new":{deep},"image""#),
        ),
        expect![[
            r#"damaged_review: {"uid":"abc","allowed":true,"status":{"message":"the review is damaged and the pod is left as it is: `request.object`: values are nested deeper than 1024 (byte 1324)"},"warnings":["the review is damaged and the pod is left as it is: `request.object`: values are nested deeper than 1024 (byte 1324)"]}"#
        ]],
    );
    let at = text.find("js-lib").unwrap();
    let mut bytes = text.into_bytes();
    bytes[at] = 0xff;
    check(
        &bytes,
        expect![[
            r#"damaged_review: {"uid":"abc","allowed":true,"status":{"message":"the pod is left as it is: byte 240 of the review is no UTF-8"},"warnings":["the pod is left as it is: byte 240 of the review is no UTF-8"]}"#
        ]],
    );
}

#[test]
fn unusual_json_is_read_as_it_is_meant() {
    let text = body(json!({})).to_string();
    // Of repeated keys the last counts; numbers may have any size; escapes may stand in keys.
    check(
        text.replace(
            r#""uid":"abc""#,
            r#""uid":"x","big":1e999999,"huge":123456789012345678901234567890,"\u0075id":"last""#,
        ),
        expect![[
            r#"injected: {"uid":"last","allowed":true,"patchType":"JSONPatch","patch":"1648 bytes"}"#
        ]],
    );
}

#[test]
fn without_a_review_there_is_nothing_to_answer() {
    check(
        "",
        expect![
            "bad_request: 400 the body is no AdmissionReview in JSON: the text ends inside a value (byte 0)"
        ],
    );
    check(
        "garbage",
        expect![
            "bad_request: 400 the body is no AdmissionReview in JSON: expected a value (byte 0)"
        ],
    );
    check(
        "null",
        expect![
            "bad_request: 400 expected an AdmissionReview of admission.k8s.io/v1, found kind `` of apiVersion ``"
        ],
    );
    check(
        "[]",
        expect![
            "bad_request: 400 the body is no AdmissionReview in JSON: expected an object, found a list (byte 0)"
        ],
    );
    check(
        [0xff, 0xfe],
        expect!["bad_request: 400 the body is no AdmissionReview: byte 0 is no UTF-8"],
    );
    let mut old = body(json!({}));
    old["apiVersion"] = "admission.k8s.io/v1beta1".into();
    check(
        old.to_string(),
        expect![
            "bad_request: 400 expected an AdmissionReview of admission.k8s.io/v1, found kind `AdmissionReview` of apiVersion `admission.k8s.io/v1beta1`"
        ],
    );
    check(
        r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}"#,
        expect!["bad_request: 400 the AdmissionReview has no `request`"],
    );
    check(
        body(json!({"uid": ""})).to_string(),
        expect!["bad_request: 400 the AdmissionReview has no `request.uid` to answer to"],
    );
}

#[test]
fn warnings_fit_what_the_api_server_passes_on() {
    let annotations: serde_json::Map<String, Value> = (0..100)
        .map(|n| {
            (
                format!("admission.datakit/unknown-{n}-{}", "é".repeat(150)),
                json!(""),
            )
        })
        .collect();
    let text = body(json!({"object": {"metadata": {"annotations": annotations}}})).to_string();
    let engine = Engine::new(&Config::default());
    let reviewed = review(text.as_bytes(), &engine, &ReviewContext::default());
    let Answer::Review(answer) = reviewed.answer else {
        panic!()
    };
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let warnings = answer["response"]["warnings"].as_array().unwrap();
    let lengths: Vec<usize> = warnings
        .iter()
        .map(|warning| warning.as_str().unwrap().len())
        .collect();
    assert!(lengths.iter().all(|length| *length <= 256), "{lengths:?}");
    assert!(lengths.iter().sum::<usize>() <= 4096, "{lengths:?}");
    // The rest is counted.
    assert_eq!(reviewed.record.notes.len(), 21);
    let last = reviewed.record.notes.last().unwrap();
    let more = Note::More {
        kind: "unknown_annotation",
        count: 80,
    };
    assert_eq!(*last, more);
}
