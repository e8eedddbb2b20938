//! Laws about whole reviews.

use base64::Engine as _;
use datakit_operator_core::inject::{Engine, ReviewContext};
use datakit_operator_core::review::{Answer, Disposition, Reviewed, review, validate};
use serde_json::{Value, json};

use crate::{Verdict, engines, sentence};

/// Any bytes get an answer, without a panic on the way.
///
/// # Errors
///
/// What is wrong with the answer.
pub fn check(body: &[u8]) -> Verdict {
    answers(body, engines::default_engine(), &ReviewContext::default())
}

/// Any bytes get an answer from this engine.
///
/// # Errors
///
/// What is wrong with the answer.
pub fn answers(body: &[u8], engine: &Engine, context: &ReviewContext) -> Verdict {
    answer(&review(body, engine, context))?;
    let validated = validate(body, engine, context);
    if let Answer::Review(answer) = &validated.answer
        && serde_json::from_slice::<Value>(answer)
            .is_ok_and(|body| body["response"]["patch"] != Value::Null)
    {
        return Err("a workload is changed".to_owned());
    }
    answer(&validated)
}

fn answer(reviewed: &Reviewed<'_>) -> Verdict {
    if reviewed.record.disposition == Disposition::Panicked {
        return Err("a panic was caught".to_owned());
    }
    match &reviewed.answer {
        Answer::BadRequest(sentence) if sentence.is_empty() => {
            Err("a bad request without a reason".to_owned())
        }
        Answer::BadRequest(_) => Ok(()),
        review => answered(review).map(|_| ()),
    }
}

/// The uid and the patch of a well-formed answer.
///
/// # Errors
///
/// What is wrong with its form.
pub fn answered(answer: &Answer) -> Result<(String, Value), String> {
    let Answer::Review(body) = answer else {
        return Err(format!("no review: {answer:?}"));
    };
    let body: Value = serde_json::from_slice(body).map_err(sentence)?;
    let response = &body["response"];
    let form = (&body["apiVersion"], &body["kind"], &response["allowed"]);
    if form
        != (
            &json!("admission.k8s.io/v1"),
            &json!("AdmissionReview"),
            &json!(true),
        )
    {
        return Err(format!("the answer has another form: {body}"));
    }
    let uid = response["uid"].as_str().unwrap_or_default().to_owned();
    if uid.is_empty() {
        return Err(format!("the answer has no uid: {body}"));
    }
    let patch = match response["patch"].as_str() {
        None => json!([]),
        Some(_) if response["patchType"] != "JSONPatch" => {
            return Err(format!("a patch of another type: {body}"));
        }
        Some(encoded) => {
            let decoder = base64::engine::general_purpose::STANDARD;
            let bytes = decoder.decode(encoded).map_err(sentence)?;
            serde_json::from_slice(&bytes).map_err(sentence)?
        }
    };
    Ok((uid, patch))
}

/// A review around a pod, as an API server sends it.
#[must_use]
pub fn body_of(pod: &Value) -> Vec<u8> {
    let body = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
        "uid": "u", "resource": {"group": "", "version": "v1", "resource": "pods"}, "namespace": "default",
        "operation": "CREATE", "object": pod,
    }});
    body.to_string().into_bytes()
}

/// A review of a Deployment that makes such pods.
#[must_use]
pub fn body_of_workload(pod: &Value) -> Vec<u8> {
    let workload = json!({"metadata": {"name": "w", "annotations": pod["metadata"]["annotations"]}, "spec": {"template": pod}});
    let body = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
        "uid": "u", "resource": {"group": "apps", "version": "v1", "resource": "deployments"}, "namespace": "default",
        "operation": "UPDATE", "object": workload, "oldObject": {"spec": {"template": null}},
    }});
    body.to_string().into_bytes()
}
