//! Bodies that no API server sends. Whatever comes, a well-formed answer goes back and the process
//! lives.

use serde_json::{Value, json};

use crate::support::{JAVA_REVIEW, Operator, Protocol, post};

/// An answer is either a review that allows, or one sentence.
async fn check(operator: &Operator, bodies: impl IntoIterator<Item = Vec<u8>>) {
    let mut client = operator.client(Protocol::Http2).await;
    for body in bodies {
        let start = String::from_utf8_lossy(&body[..body.len().min(100)]).into_owned();
        let answer = client.ask(post(body)).await.expect("an answer");
        match answer.status() {
            200 => {
                let answer = answer.json();
                assert_eq!(answer["kind"], "AdmissionReview", "{start}");
                assert_eq!(answer["response"]["allowed"], true, "{start}");
                assert!(
                    answer["response"]["uid"]
                        .as_str()
                        .is_some_and(|uid| !uid.is_empty())
                );
            }
            400 => assert_eq!(
                answer.text().lines().count(),
                1,
                "{start}: {}",
                answer.text()
            ),
            other => panic!("{other} for {start}"),
        }
    }
    let panics = operator.metric("datakit_operator_panics_total").await;
    assert_eq!(panics, 0.0);
}

/// The Java review with one value replaced.
fn with(pointer: &str, value: Value) -> Vec<u8> {
    let mut review: Value = serde_json::from_slice(&JAVA_REVIEW).expect("JSON");
    *review
        .pointer_mut(pointer)
        .unwrap_or_else(|| panic!("{pointer}")) = value;
    review.to_string().into_bytes()
}

#[tokio::test]
async fn truncated_anywhere() {
    let operator = Operator::start(&[]);
    check(
        &operator,
        (0..JAVA_REVIEW.len()).map(|end| JAVA_REVIEW[..end].to_vec()),
    )
    .await;
}

#[tokio::test]
async fn one_byte_changed_anywhere() {
    let operator = Operator::start(&[]);
    let changed = (0..JAVA_REVIEW.len()).flat_map(|at| {
        [0x00, 0xff, b'"', b'{'].map(|byte| {
            let mut body = JAVA_REVIEW.to_vec();
            body[at] = byte;
            body
        })
    });
    check(&operator, changed).await;
}

#[tokio::test]
async fn deep_wide_and_huge() {
    let operator = Operator::start(&[]);
    let nested =
        |open: &str, close: &str| (open.repeat(100_000) + &close.repeat(100_000)).into_bytes();
    let java = String::from_utf8(JAVA_REVIEW.to_vec()).expect("UTF-8");
    let inside = |value: &str| {
        java.replacen(
            r#""securityContext":{}"#,
            &format!(r#""securityContext":{value}"#),
            1,
        )
        .into_bytes()
    };
    check(
        &operator,
        [
            nested("[", "]"),
            nested("{\"a\":", "}"),
            nested("[", ""),
            inside(&(("[".repeat(100_000)) + &"]".repeat(100_000))),
            inside(&"9".repeat(100_000)),
            inside("1e999999999"),
            inside("-0"),
            inside(&format!("\"{}\"", "\\u0000".repeat(10_000))),
            inside(r#""\ud800""#),
            java.replacen('{', r#"{"request":null,"#, 1).into_bytes(),
            java.replace(r#""uid":""#, r#""uid":"x","uid":""#)
                .into_bytes(),
            java.replace(r#""containers":["#, r#""containers":null,"containers":["#)
                .into_bytes(),
            [&b"\xef\xbb\xbf"[..], &JAVA_REVIEW].concat(),
            [&JAVA_REVIEW[..], b"{}"].concat(),
            vec![0; 100_000],
            vec![0xff; 100_000],
        ],
    )
    .await;
}

#[tokio::test]
async fn values_of_another_type() {
    let operator = Operator::start(&[]);
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5),
        json!("x"),
        json!([]),
        json!([null]),
        json!({}),
        json!({"": null}),
    ];
    let places = [
        "",
        "/request",
        "/request/uid",
        "/request/kind",
        "/request/resource",
        "/request/operation",
        "/request/namespace",
        "/request/dryRun",
        "/request/object",
        "/request/object/metadata",
        "/request/object/metadata/annotations",
        "/request/object/metadata/annotations/admission.datakit~1java-lib.version",
        "/request/object/metadata/labels",
        "/request/object/metadata/ownerReferences",
        "/request/object/metadata/ownerReferences/0",
        "/request/object/spec",
        "/request/object/spec/volumes",
        "/request/object/spec/volumes/0",
        "/request/object/spec/containers",
        "/request/object/spec/containers/0",
        "/request/object/spec/containers/0/env",
        "/request/object/spec/containers/0/env/0",
        "/request/object/spec/containers/0/env/0/value",
        "/request/object/spec/containers/0/volumeMounts",
        "/request/object/spec/containers/0/resources",
        "/request/object/spec/restartPolicy",
        "/request/object/spec/securityContext",
    ];
    let bodies = places
        .iter()
        .flat_map(|place| values.iter().map(move |value| with(place, value.clone())));
    check(&operator, bodies).await;
}
