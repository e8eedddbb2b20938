//! The operator isn't the only webhook.

use anyhow::Result;
use datakit_operator_e2e::cluster::{Cluster, Mode, refusal};
use datakit_operator_e2e::impostor::{Impostor, Manners};
use datakit_operator_e2e::operator::{Operator, Options, lasting_certificate};
use datakit_operator_e2e::plane::free_port;
use datakit_operator_e2e::stored::comparable;
use datakit_operator_e2e::wait;
use datakit_operator_e2e::webhook::{self, Injected, Policy};
use serde_json::{Value, json};

use crate::shapes::{FEATURES, Feature, named};

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn a_container_that_another_webhook_adds_gets_what_the_others_have() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let injected =
        Injected::start(&cluster, "reinvoked", &Options::default(), Policy::Fail).await?;

    let (ca, certificate) = lasting_certificate()?;
    let port = free_port()?;
    let late = json!([{"op": "add", "path": "/spec/containers/-", "value": {"name": "late", "image": "i"}}]);
    let _other = Impostor::start(port, Manners::Patches(certificate, late))?;
    // Behind the operator in the alphabet, so that it is asked later.
    let labels = webhook::labels("reinvoked");
    webhook::register(
        &cluster,
        "reinvoked-by-other",
        &labels,
        port,
        &ca,
        Policy::FailAndAskOnce,
    )
    .await?;

    let features = [FEATURES[0].1, Feature::Logfwd, FEATURES[5].1];
    let pod = wait::until("the other webhook", || async {
        match injected
            .namespace
            .create_pod(&asking(&features), Mode::DryRun)
            .await
        {
            Ok(created) if created.pod.to_string().contains("late") => Ok(created.pod),
            Ok(_) => Err("it was not asked".to_owned()),
            Err(error) => Err(refusal(&error)),
        }
    })
    .await?;
    for feature in features {
        feature.assert_in(&pod, &["app", "late"], false);
    }
    assert_eq!(named(&pod, "containers", "late")["image"], "i");
    let names: Vec<_> = pod["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|c| &c["name"])
        .collect();
    assert_eq!(names.len(), 4, "{names:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn two_operators_inject_once() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let first = Injected::start(&cluster, "two-first", &Options::default(), Policy::Fail).await?;
    let features = [FEATURES[3].1, Feature::Logfwd, FEATURES[5].1];
    let alone = first
        .namespace
        .create_pod(&asking(&features), Mode::DryRun)
        .await?
        .pod;

    let second = Operator::start(cluster.plane(), "two-second", &Options::default()).await?;
    let labels = webhook::labels("two-first");
    webhook::register(
        &cluster,
        "two-second",
        &labels,
        second.port(),
        second.ca()?,
        Policy::Fail,
    )
    .await?;
    let both = wait::until("a review by the second operator", || async {
        let created = first
            .namespace
            .create_pod(&asking(&features), Mode::DryRun)
            .await;
        let pod = created.map_err(|error| refusal(&error))?.pod;
        match second.reviews().is_empty() {
            true => Err("it has reviewed nothing".to_owned()),
            false => Ok(pod),
        }
    })
    .await?;
    assert_eq!(comparable(&both), comparable(&alone));
    Ok(())
}

fn asking(features: &[Feature]) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    });
    for feature in features {
        feature.ask(&mut pod);
    }
    pod
}
