//! Pods that ask for nothing are stored as if there were no operator.

use anyhow::Result;
use datakit_operator_e2e::cluster::{Cluster, Mode};
use datakit_operator_e2e::operator::Options;
use datakit_operator_e2e::stored::comparable;
use datakit_operator_e2e::wait;
use datakit_operator_e2e::webhook::{Injected, Policy};
use serde_json::{Value, json};

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn field_for_field() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let injected =
        Injected::start(&cluster, "untouched", &Options::default(), Policy::Fail).await?;
    let excluded = cluster.namespace("untouched-excluded", &json!({})).await?;
    let mut all = Vec::new();
    for (name, spec) in crate::fields::specs() {
        all.push(
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}),
        );
    }
    let plain = json!({"containers": [{"name": "app", "image": "app"}]});
    for (name, metadata) in [
        (
            "labelled",
            json!({"labels": {"app": "x", "a/b": ""}, "finalizers": ["example.com/f"]}),
        ),
        (
            "annotated-by-others",
            json!({"annotations": {"prometheus.io/scrape": "true", "a/b": ""}}),
        ),
        (
            "switched-off",
            json!({"annotations": {
                "admission.datakit/enabled": "false", "admission.datakit/java-lib.version": "",
            }}),
        ),
        ("empty", json!({"labels": {}, "annotations": null})),
    ] {
        let mut pod =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": plain});
        pod["metadata"]["name"] = name.into();
        all.push(pod);
    }
    let mut names = Vec::new();
    for pod in &all {
        let name = pod["metadata"]["name"].as_str().unwrap();
        // What a server of another release doesn't know proves nothing here.
        let Ok(without) = excluded.create_pod(pod, Mode::Store).await else {
            continue;
        };
        let with = injected.namespace.create_pod(pod, Mode::Store).await?;
        let status = &with.pod["metadata"]["annotations"]["admission.datakit/status"];
        assert_eq!(*status, Value::Null, "{name}");
        let (without, with) = (comparable(&without.pod), comparable(&with.pod));
        assert_eq!(with, without, "{name}");
        names.push(name.to_owned());
    }
    assert!(
        names.len() >= 20,
        "only {} pods were comparable",
        names.len()
    );
    // It is no proof unless the operator has seen them.
    wait::until("the reviews in the operator's log", || async {
        let reviews = injected.operator.reviews();
        let mut reviewed = reviews.iter().map(|review| &review["pod"]);
        match names
            .iter()
            .find(|name| !reviewed.any(|pod| pod == name.as_str()))
        {
            None => Ok(()),
            Some(name) => Err(format!("no review of {name}")),
        }
    })
    .await?;
    println!("{} pods are stored as without the operator", names.len());
    Ok(())
}
