//! API servers don't call for pods that nobody asks about, and for all others they do.

mod scene;
mod understood;

use std::process::Command;

use anyhow::{Context, Result, ensure};
use datakit_operator_e2e::cluster::{Cluster, Mode, refusal};
use datakit_operator_e2e::impostor::{Impostor, Manners};
use datakit_operator_e2e::operator::{lasting_certificate, program};
use datakit_operator_e2e::plane::free_port;
use datakit_operator_e2e::process::without_proxies;
use datakit_operator_e2e::wait;
use datakit_operator_e2e::webhook::{self, Policy, labels};
use serde_json::{Value, json};

use scene::{JAVA, NAME, Scene, config, evaluation_errors, is_injected, pod, until_registered};

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn a_thousand_pods_nobody_asked_about_cost_no_call() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let name = "unasked";
    let rules = [
        json!({"namespace_selectors": ["^unasked-named$", "^unasked-(a|b)[0-9]+$"]}),
        json!({"label_selectors": ["app=web*,!batch"]}),
    ];
    let mut scene = Scene::new(&cluster, name, &rules, 2).await?;
    let is_there = |found: Option<&str>| found.is_some();
    until_registered(&scene.installation, "the condition", is_there).await?;
    scene.until_left_out(&json!({})).await?;

    let before = scene.reviews().await?;
    let pods = scene.installation.pods().clone();
    let mut creating = tokio::task::JoinSet::new();
    for number in 0..1000 {
        let (pods, name) = (pods.clone(), format!("nobody-{number}"));
        // Of each kind that exists in a cluster.
        let (labels, annotations) = match number % 5 {
            0 => (json!({}), json!({})),
            1 => (json!({"app": "db", "tier": "web"}), json!({})),
            2 => (json!({"app": "web", "batch": ""}), json!({})),
            3 => (
                json!({}),
                json!({"prometheus.io/scrape": "true", "datakit/logs": "[]"}),
            ),
            _ => (
                json!({"App": "web"}),
                json!({"admission.datakit.example/x": ""}),
            ),
        };
        if creating.len() >= 8 {
            creating.join_next().await.context("no pod")???;
        }
        creating.spawn(async move {
            let pod = pod(&name, &labels, &annotations);
            let created = pods.create_pod(&pod, Mode::DryRun).await?;
            ensure!(!is_injected(&created.pod), "{name} is injected");
            Ok(())
        });
    }
    while let Some(created) = creating.join_next().await {
        created??;
    }
    scene.until_sentinel().await?;
    let after = scene.reviews().await?;
    ensure!(
        (after - before - 1.0).abs() < f64::EPSILON,
        "{} reviews of a thousand pods nobody asked about",
        after - before - 1.0
    );

    // Who asks is called for, in each way.
    let named = cluster.namespace("unasked-named", &labels(name)).await?;
    let matched = cluster.namespace("unasked-a1", &labels(name)).await?;
    let other = cluster.namespace("unasked-a1x", &labels(name)).await?;
    let none = json!({});
    for (namespace, what, labels, annotations, injected) in [
        (&pods, "annotated", &none, json!({JAVA: ""}), true),
        (&named, "named", &none, none.clone(), true),
        (&matched, "matched", &none, none.clone(), true),
        (&other, "other", &none, none.clone(), false),
        (
            &other,
            "labelled",
            &json!({"app": "website"}),
            none.clone(),
            true,
        ),
    ] {
        let created = namespace
            .create_pod(&pod(what, labels, &annotations), Mode::DryRun)
            .await?;
        ensure!(
            is_injected(&created.pod) == injected,
            "{what}: {}",
            created.pod
        );
    }
    // Whoever asks the operator is told the same.
    let maps = format!("/api/v1/namespaces/{name}/configmaps");
    let map = |rules: &[Value]| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("{name}-config")},
            "data": {"jsonconfig": config(rules).to_string()},
        })
    };
    cluster.create(&maps, &map(&rules)).await?;
    let object = pod("stored", &none, &none);
    pods.create_pod(&object, Mode::Store).await?;
    let explain = || -> Result<(Value, String)> {
        let output = without_proxies(&mut Command::new(program()?))
            .args([
                "explain",
                "pod/stored",
                "--output=json",
                "--operator-namespace",
                name,
            ])
            .args([
                "--service-name",
                name,
                "--namespace",
                pods.name(),
                "--kubeconfig",
            ])
            .arg(cluster.plane().kubeconfig())
            .output()?;
        let said = String::from_utf8(output.stderr)?;
        let report = serde_json::from_slice(&output.stdout).with_context(|| said.clone())?;
        Ok((report, said))
    };
    let (report, said) = explain()?;
    ensure!(report["templates"][0]["called"] == false, "{report}");
    ensure!(!said.contains("match condition"), "{said}");
    cluster
        .replace(&format!("{maps}/{name}-config"), &map(&[]))
        .await?;
    let (report, said) = explain()?;
    ensure!(report["templates"][0]["called"] == true, "{report}");
    ensure!(said.contains("has another match condition"), "{said}");

    // A misspelt annotation is told.
    let typo = json!({"admission.datakit/jav-lib.version": ""});
    let created = pods
        .create_pod(&pod("typo", &none, &typo), Mode::DryRun)
        .await?;
    ensure!(created.warnings.len() == 1, "{:?}", created.warnings);
    ensure!(evaluation_errors(&cluster, name)?.is_empty());
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn it_follows_the_configuration() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let name = "following";
    let mut scene = Scene::new(&cluster, name, &[], 2).await?;
    let says = |part: &'static str| {
        move |found: Option<&str>| found.is_some_and(|found| found.contains(part))
    };
    until_registered(&scene.installation, "the condition", says("annotations")).await?;
    scene.until_left_out(&json!({"app": "new"})).await?;

    let others =
        json!({"name": "others.example/own", "expression": "request.operation != 'CONNECT'"});
    let mut configuration = scene.installation.configuration().await?;
    for webhook in configuration["webhooks"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        let conditions = webhook["matchConditions"].as_array_mut();
        conditions.context("no conditions")?.push(others.clone());
    }
    let change = json!({"webhooks": configuration["webhooks"]});
    scene.installation.change_configuration(&change).await?;

    // A new rule, and pods that only it asks about.
    scene.reload(&[json!({"label_selectors": ["app=new"]})])?;
    until_registered(&scene.installation, "the new rule", says("'new'")).await?;
    scene.until_called(&json!({"app": "new"})).await?;

    // A rule for all pods, and back.
    scene.reload(&[json!({"namespace_selectors": ["*"]})])?;
    let is_none = |found: Option<&str>| found.is_none();
    until_registered(&scene.installation, "no condition", is_none).await?;
    scene.until_said("fits pods of all namespaces").await?;
    scene.reload(&[])?;
    until_registered(&scene.installation, "the condition", says("annotations")).await?;

    // Somebody takes it away, and puts another one in its place.
    let mut without = scene.installation.configuration().await?;
    for webhook in without["webhooks"].as_array_mut().into_iter().flatten() {
        webhook["matchConditions"] = json!([others, {"name": NAME, "expression": "false"}]);
    }
    let change = json!({"webhooks": without["webhooks"]});
    scene.installation.change_configuration(&change).await?;
    until_registered(&scene.installation, "the condition", says("annotations")).await?;

    // Nothing of what others have set has changed.
    let configuration = scene.installation.configuration().await?;
    for webhook in configuration["webhooks"].as_array().into_iter().flatten() {
        let conditions = webhook["matchConditions"].as_array().context("none")?;
        ensure!(conditions.contains(&others), "{configuration:#}");
    }

    // An older API server, as far as the operator can tell, and switched off.
    let config = format!("--config={}", scene.config.display());
    for (flag, part) in [
        ("--kubernetes-version=1.29", "they need 1.30"),
        ("--match-conditions=off", "they are switched off"),
    ] {
        for member in scene.members.drain(..) {
            member.stop().await?;
        }
        scene.installation.set_flags(&[&config, flag]);
        scene.members = scene.installation.start_many(1).await?;
        until_registered(&scene.installation, "no condition", is_none).await?;
        scene.until_said(part).await?;
        for member in scene.members.drain(..) {
            member.stop().await?;
        }
        scene.installation.set_flags(&[&config]);
        scene.members = scene.installation.start_many(1).await?;
        until_registered(&scene.installation, "the condition", says("annotations")).await?;
    }
    let configuration = scene.installation.configuration().await?;
    ensure!(
        configuration.to_string().contains("others.example/own"),
        "{configuration:#}"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn what_is_refused_or_too_long_costs_no_injection() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let name = "refused";
    // Sixty-four are allowed.
    let full: Vec<Value> = (0..64)
        .map(|number| json!({"name": format!("others.example/c{number}"), "expression": "true"}))
        .collect();
    let mut scene = Scene::new(&cluster, name, &[], 1).await?;
    let is_there = |found: Option<&str>| found.is_some();
    let is_none = |found: Option<&str>| found.is_none();
    until_registered(&scene.installation, "the condition", is_there).await?;
    let mut configuration = scene.installation.configuration().await?;
    for webhook in configuration["webhooks"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        webhook["matchConditions"] = json!(full);
    }
    let change = json!({"webhooks": configuration["webhooks"]});
    scene.installation.change_configuration(&change).await?;
    scene
        .until_said("the API server refuses the match condition")
        .await?;
    until_registered(&scene.installation, "no condition", is_none).await?;
    // It injects, and is well.
    scene.until_sentinel().await?;
    ensure!(scene.members[0].replica.ready().await.is_ok());
    let current = "datakit_operator_match_conditions_current";
    wait::until("the metric", || async {
        match scene.members[0].replica.metric(current, &[]).await {
            Ok(value) if value > 0.0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;

    // As long as can be, and pods that cost as much as can be: none of it fails.
    let room: Vec<Value> = Vec::new();
    for webhook in configuration["webhooks"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        webhook["matchConditions"] = json!(room);
    }
    let change = json!({"webhooks": configuration["webhooks"]});
    scene.installation.change_configuration(&change).await?;
    let long = "?".repeat(40);
    let rules: Vec<Value> = (0..110)
        .map(|number| json!({"label_selectors": [format!("key-{number}=*a{long}?*")]}))
        .collect();
    scene.reload(&rules)?;
    until_registered(&scene.installation, "a long condition", |found| {
        found.is_some_and(|found| found.len() > 14_000)
    })
    .await?;
    let mut labels = serde_json::Map::new();
    for number in 0..110 {
        labels.insert(format!("key-{number}"), "b".repeat(63).into());
    }
    let mut annotations = serde_json::Map::new();
    for number in 0..999 {
        let part = "x".repeat(200);
        annotations.insert(format!("{part}.example/{number}"), "".into());
    }
    let (mut labels, mut annotations) = (Value::from(labels), Value::from(annotations));
    scene.until_left_out(&labels).await?;
    let pods = scene.installation.pods().clone();
    let create = async |name: &str, labels: &Value, annotations: &Value| {
        let created = pods
            .create_pod(&pod(name, labels, annotations), Mode::DryRun)
            .await;
        created.with_context(|| name.to_owned())
    };
    ensure!(!is_injected(
        &create("costly", &labels, &annotations).await?.pod
    ));
    labels["key-109"] = format!("a{}", "b".repeat(62)).into();
    ensure!(is_injected(
        &create("costly-label", &labels, &annotations).await?.pod
    ));
    labels["key-109"] = "b".into();
    annotations[JAVA] = "".into();
    ensure!(is_injected(
        &create("costly-annotation", &labels, &annotations)
            .await?
            .pod
    ));
    // More annotations aren't looked through.
    for number in 0..1000 {
        annotations[format!("a.example/{number}")] = "".into();
    }
    ensure!(is_injected(
        &create("many", &labels, &annotations).await?.pod
    ));
    ensure!(evaluation_errors(&cluster, name)?.is_empty());

    // Longer than that: label selectors are reduced to their keys, and then there is none.
    let rules: Vec<Value> = (0..1000)
        .map(|number| json!({"label_selectors": [format!("app=value-{number}")]}))
        .collect();
    scene.reload(&rules)?;
    until_registered(&scene.installation, "a short condition", |found| {
        found.is_some_and(|found| found.len() < 1000 && found.contains("'app' in labels"))
    })
    .await?;
    let rules: Vec<Value> = (0..1000)
        .map(|number| json!({"label_selectors": [format!("app!=value-{number}")]}))
        .collect();
    scene.reload(&rules)?;
    until_registered(&scene.installation, "no condition", is_none).await?;
    scene.until_said("bytes as an expression").await?;
    Ok(())
}

/// API servers call webhooks in the order of their configurations' names, and one that they left
/// out not at all, whatever later ones add. docs/operations.md says so.
#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn what_earlier_webhooks_add_counts() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let name = "ordered";
    let mut scene = Scene::new(&cluster, name, &[], 1).await?;
    let is_there = |found: Option<&str>| found.is_some();
    until_registered(&scene.installation, "the condition", is_there).await?;
    scene.until_left_out(&json!({})).await?;
    let (ca, certificate) = lasting_certificate()?;
    let port = free_port()?;
    let annotate = json!([{"op": "add", "path": "/metadata/annotations", "value": {JAVA: ""}}]);
    let _other = Impostor::start(port, Manners::Patches(certificate, annotate))?;
    for (other, counts) in [("a-ordered", true), ("z-ordered", false)] {
        webhook::register(
            &cluster,
            other,
            &labels(name),
            port,
            &ca,
            Policy::FailAndAskOnce,
        )
        .await?;
        let created = wait::until("the other webhook", || async {
            let pods = scene.installation.pods();
            let pod = pod("plain", &json!({}), &json!({}));
            match pods.create_pod(&pod, Mode::DryRun).await {
                Ok(created) if created.pod["metadata"]["annotations"][JAVA] == "" => Ok(created),
                Ok(_) => Err("it was not asked".to_owned()),
                Err(error) => Err(refusal(&error)),
            }
        })
        .await?;
        ensure!(
            is_injected(&created.pod) == counts,
            "{other}: {}",
            created.pod
        );
        let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
        cluster
            .delete(&format!("{path}/{other}"), &Value::Null)
            .await?;
        wait::until("no other webhook", || async {
            let pod = pod("plain", &json!({}), &json!({}));
            match scene
                .installation
                .pods()
                .create_pod(&pod, Mode::DryRun)
                .await
            {
                Ok(created) if created.pod["metadata"]["annotations"].is_null() => Ok(()),
                Ok(_) => Err("it is asked".to_owned()),
                Err(error) => Err(refusal(&error)),
            }
        })
        .await?;
    }
    Ok(())
}
