//! Certificates that look after themselves: they are made, registered, renewed and repaired, and no
//! pod notices.
//!
//! The API server finds the operator by its Service, so the name in the certificate is verified as
//! in a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use datakit_operator_e2e::certs::{Authority, Pair};
use datakit_operator_e2e::cluster::Cluster;
use datakit_operator_e2e::connection::{assert_pair, certificates};
use datakit_operator_e2e::installation::{Installation, Member};
use datakit_operator_e2e::mounted::Mounted;
use datakit_operator_e2e::traffic::{Traffic, until_injected};
use datakit_operator_e2e::wait;
use serde_json::{Value, json};

use crate::seen::{Seen, is_in_use};

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn first_installation() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let installation = Installation::new(&cluster, "first", &[]).await?;
    let before = installation.configuration().await?;
    let mut member = installation.start("pod-0").await?;
    member.replica.until_ready().await?;
    until_injected(installation.pods()).await?;

    let stored = installation.stored().await?;
    assert_pair(&stored.certificate, &stored.key)?;
    assert_eq!(stored.previous, None);
    let secret = installation.secret().await?;
    assert_eq!(secret["type"], "Opaque");
    assert_verified(&installation, &member, &stored.certificate)?;

    let after = installation.configuration().await?;
    for webhook in after["webhooks"].as_array().unwrap() {
        let bundle = webhook["clientConfig"]["caBundle"].as_str().unwrap();
        let bundle = String::from_utf8(BASE64.decode(bundle)?)?;
        assert_eq!(certificates(&bundle)?, certificates(&stored.certificate)?);
    }
    assert_eq!(without_bundles(&after), without_bundles(&before));
    assert_only_bundles_owned(&after);
    assert_eq!(complaints(&member), 0, "{}", member.replica.log());
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn a_restart_keeps_the_authority() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let installation = Installation::new(&cluster, "restarted", &[]).await?;
    let mut first = installation.start("pod-0").await?;
    first.replica.until_ready().await?;
    until_injected(installation.pods()).await?;
    let secret = installation.secret().await?;
    let bundle = installation.bundle().await?;

    assert_eq!(first.stop().await?, Some(0));
    let mut second = installation.start("pod-1").await?;
    second.replica.until_ready().await?;
    until_injected(installation.pods()).await?;
    // Nothing released its Lease this time.
    second.kill().await?;
    let mut third = installation.start("pod-2").await?;
    third.replica.until_ready().await?;
    until_injected(installation.pods()).await?;

    assert_eq!(installation.secret().await?, secret, "not even written");
    assert_eq!(installation.bundle().await?, bundle);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn renewals_go_unnoticed() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let flags = [
        "--ca-lifetime=24s",
        "--leaf-lifetime=8s",
        "--lease-duration=3s",
    ];
    let installation = Installation::new(&cluster, "renewed", &flags).await?;
    let members = installation.start_many(3).await?;
    until_injected(installation.pods()).await?;

    let traffic = Traffic::start(installation.pods());
    let mut seen = Seen::of(&installation, &members).await?;
    seen.until("renewals", async |seen| {
        let leaves: Vec<_> = seen.leaves.iter().map(BTreeSet::len).collect();
        let authorities = seen.authorities.len();
        // The first authority is gone when there is one alone again.
        match authorities > 1 && seen.registered == 1 && leaves.iter().all(|leaves| *leaves > 3) {
            true => Ok(()),
            false => Err(format!(
                "{authorities} authorities, of which {} are registered, and certificates: {leaves:?}",
                seen.registered
            )),
        }
    })
    .await?;
    assert!(
        seen.overlap,
        "never was the old authority there with the new"
    );
    assert_counted(&seen).await?;
    for member in &members {
        assert_eq!(complaints(member), 0, "{}", member.replica.log());
    }
    let pods = traffic.finish().await?;
    println!(
        "{pods} pods, {} authorities, certificates: {:?}",
        seen.authorities.len(),
        seen.leaves.iter().map(BTreeSet::len).collect::<Vec<_>>()
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn a_damaged_secret_is_repaired() -> Result<()> {
    let cluster = Cluster::connect().await?;
    // Short enough for a new authority to be trusted by everybody soon, and too long for a renewal
    // in between.
    let flags = ["--leaf-lifetime=20s", "--lease-duration=3s"];
    let installation = Installation::new(&cluster, "repaired", &flags).await?;
    let members = installation.start_many(2).await?;
    until_injected(installation.pods()).await?;

    let traffic = Traffic::start(installation.pods());
    let mut seen = Seen::of(&installation, &members).await?;
    let other = Authority::new()?;
    let encode = |text: &str| BASE64.encode(text);
    for (what, change) in [
        ("deleted", None),
        (
            "garbage",
            Some(json!({"data": {"ca.crt": encode("garbage"), "ca.key": encode("garbage")}})),
        ),
        (
            "key of another",
            Some(json!({"data": {"ca.key": encode(&other.key())}})),
        ),
        (
            "an authority of somebody else, which is a good one",
            Some(json!({"data": {"ca.crt": encode(&other.pem()), "ca.key": encode(&other.key())}})),
        ),
        ("no key", Some(json!({"data": {"ca.key": null}}))),
        ("empty", Some(json!({"data": null}))),
        (
            "cut off",
            Some(json!({"data": {"ca.crt": encode("-----BEGIN CERTIFICATE-----\nMIIB")}})),
        ),
    ] {
        match &change {
            None => {
                installation.delete_secret().await?;
                installation.install_secret().await?;
            }
            Some(change) => installation.damage_secret(change).await?,
        }
        let done = async |_: &Seen<'_>| is_in_use(&installation, &members).await.map_err(said);
        seen.until(&format!("the repair of a Secret: {what}"), done)
            .await?;
    }
    println!("{} pods", traffic.finish().await?);
    Ok(())
}

/// It can't be made by the operator, which goes on with what it has, and says what is to be done.
#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn a_missing_secret_is_waited_for() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let flags = ["--leaf-lifetime=20s", "--lease-duration=3s"];
    let installation = Installation::new(&cluster, "missing", &flags).await?;
    installation.delete_secret().await?;
    let mut first = installation.start("pod-0").await?;
    let reason = "the Secret with the CA does not exist";
    until_unready(&first, reason).await?;
    until_said(
        &first,
        "`missing-ca` does not exist, and the operator may not create it",
    )
    .await?;
    installation.install_secret().await?;
    first.replica.until_ready().await?;
    until_injected(installation.pods()).await?;

    let right = installation.bundle().await?;
    installation.delete_secret().await?;
    let second = installation.start("pod-1").await?;
    until_unready(&second, reason).await?;
    // Whoever was ready stays so, and what it presents stays registered.
    installation
        .overwrite_bundle(&Authority::new()?.pem())
        .await?;
    wait::until("the registered authority", || async {
        let now = installation.bundle().await.map_err(said)?;
        match certificates(&now).map_err(said)? == certificates(&right).map_err(said)? {
            true => Ok(()),
            false => Err(format!("it is {now}")),
        }
    })
    .await?;
    first.replica.ready().await.map_err(anyhow::Error::msg)?;
    until_injected(installation.pods()).await?;
    let traffic = Traffic::start(installation.pods());
    installation.install_secret().await?;
    let members = [first, second];
    wait::until("a new authority", || async {
        is_in_use(&installation, &members).await.map_err(said)
    })
    .await?;
    println!("{} pods", traffic.finish().await?);
    Ok(())
}

/// Of a type that another part of Kubernetes reads, it is not written.
#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn a_secret_of_another_type_is_left_alone() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let installation = Installation::new(&cluster, "foreign", &["--lease-duration=3s"]).await?;
    installation.delete_secret().await?;
    let path = "/api/v1/namespaces/foreign/secrets";
    let token = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "foreign-ca", "annotations": {"kubernetes.io/service-account.name": "foreign"}},
    });
    cluster.create(path, &token).await?;
    let mut member = installation.start("pod-0").await?;
    until_unready(&member, "is not of type Opaque").await?;
    until_said(
        &member,
        "`kubernetes.io/service-account-token`, expected `Opaque`",
    )
    .await?;
    let secret = installation.secret().await?;
    assert_eq!(secret["data"]["ca.key"], Value::Null, "{secret}");

    installation.delete_secret().await?;
    installation.install_secret().await?;
    member.replica.until_ready().await?;
    until_injected(installation.pods()).await
}

/// Waits until a replica isn't ready for this reason.
async fn until_unready(member: &Member, reason: &str) -> Result<()> {
    wait::until(reason, || async {
        match member.replica.ready().await {
            Err(why) if why.starts_with("503") && why.contains(reason) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

/// Waits until a replica has said this in its log.
async fn until_said(member: &Member, text: &str) -> Result<()> {
    wait::until(text, || async {
        let log = member.replica.log();
        if log.contains(text) { Ok(()) } else { Err(log) }
    })
    .await
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn an_overwritten_registration_is_put_right() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let installation = Installation::new(&cluster, "overwritten", &[]).await?;
    let members = installation.start_many(2).await?;
    until_injected(installation.pods()).await?;
    let right = installation.bundle().await?;
    let foreign = Authority::new()?.pem();
    for (what, bundle) in [
        ("foreign", foreign.clone()),
        ("foreign added", format!("{right}{foreign}")),
        ("none", String::new()),
    ] {
        installation.overwrite_bundle(&bundle).await?;
        wait::until(&format!("the registered authority: {what}"), || async {
            let now = installation.bundle().await.map_err(said)?;
            match certificates(&now).map_err(said)? == certificates(&right).map_err(said)? {
                true => Ok(()),
                false => Err(format!("it is {now}")),
            }
        })
        .await?;
        until_injected(installation.pods()).await?;
    }
    assert_only_bundles_owned(&installation.configuration().await?);
    for member in &members {
        assert_verified(&installation, member, &right)?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn the_registration_may_come_late_and_go() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let installation = Installation::new(&cluster, "late", &[]).await?;
    installation.withdraw().await?;
    let mut member = installation.start("pod-0").await?;
    installation.until_secret().await?;
    wait::until("the reason why it isn't ready", || async {
        match member.replica.ready().await {
            Err(why) if why.starts_with("503") && why.contains("does not exist") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    installation.register().await?;
    member.replica.until_ready().await?;
    until_injected(installation.pods()).await?;

    installation.withdraw().await?;
    installation.register().await?;
    until_injected(installation.pods()).await?;
    let stored = installation.stored().await?;
    assert_eq!(
        certificates(&installation.bundle().await?)?,
        certificates(&stored.certificate)?
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn files_are_read_again_when_they_change() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let installation = Installation::new(&cluster, "files", &[]).await?;
    let authority = Authority::new()?;
    installation.overwrite_bundle(&authority.pem()).await?;
    let make = || authority.server(&installation.host());
    let content = |pair: &Pair| {
        let (certificate, key) = (pair.certificate.clone(), pair.key.clone());
        BTreeMap::from([
            ("tls.crt".to_owned(), certificate.into_bytes()),
            ("tls.key".to_owned(), key.into_bytes()),
        ])
    };
    let first = make()?;
    let directory = installation.directory().join("certs");
    std::fs::create_dir_all(installation.directory())?;
    let mut files = Mounted::new(&directory, content(&first))?;
    let mut member = installation.start_alone(
        "pod-0",
        &[
            "serve".to_owned(),
            "--log-format=json".to_owned(),
            "--tls-source=files".to_owned(),
            format!("--tls-cert-file={}/tls.crt", directory.display()),
            format!("--tls-key-file={}/tls.key", directory.display()),
        ],
    )?;
    member.replica.until_ready().await?;
    until_injected(installation.pods()).await?;

    let traffic = Traffic::start(installation.pods());
    let bundle = authority.pem();
    let mut lasting = installation.connect(&member, &bundle)?;
    assert_serves(&installation, &member, &bundle, &first).await?;
    for _ in 0..2 {
        let next = make()?;
        files.replace(content(&next))?;
        assert_serves(&installation, &member, &bundle, &next).await?;
        // A certificate with the key of another is not taken, and the next good one is.
        let unfit = Pair {
            key: make()?.key,
            ..make()?
        };
        let before = complaints(&member);
        files.replace(content(&unfit))?;
        wait::until("a complaint", || async {
            match complaints(&member) > before {
                true => Ok(()),
                false => Err(member.replica.log()),
            }
        })
        .await?;
        assert_serves(&installation, &member, &bundle, &next).await?;
        lasting.review()?;
    }
    println!("{} pods", traffic.finish().await?);
    assert!(!member.replica.ended()?);
    Ok(())
}

/// Fails unless what a replica serves is from one of these authorities, for every name that it has.
fn assert_verified(installation: &Installation, member: &Member, bundle: &str) -> Result<()> {
    let host = installation.host();
    let (namespaced, service) = (
        host.trim_end_matches(".svc"),
        host.split('.').next().unwrap_or_default(),
    );
    let full = format!("{host}.cluster.local");
    for name in [
        &host,
        namespaced,
        service,
        &full,
        "localhost",
        "127.0.0.1",
        "::1",
    ] {
        let connection = member.replica.connect(name, bundle);
        connection.with_context(|| format!("as {name}"))?.review()?;
    }
    let foreign = member
        .replica
        .connect("datakit-operator.elsewhere.svc", bundle);
    assert!(foreign.is_err(), "it claims to be someone else");
    Ok(())
}

/// Waits until a replica serves this certificate.
async fn assert_serves(
    installation: &Installation,
    member: &Member,
    bundle: &str,
    pair: &Pair,
) -> Result<()> {
    let expected = certificates(&pair.certificate)?;
    wait::until("a certificate", || async {
        let served = installation
            .connect(member, bundle)
            .and_then(|served| served.certificate());
        match served.map_err(said)? == expected[0].to_vec() {
            true => Ok(()),
            false => Err("it serves another".to_owned()),
        }
    })
    .await
}

/// Fails unless the metrics say what could be seen.
async fn assert_counted(seen: &Seen<'_>) -> Result<()> {
    let (mut authorities, mut holders) = (0.0, 0.0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    for (member, leaves) in seen.members.iter().zip(&seen.leaves) {
        let metric = async |name: &str, certificate: &str| {
            let label = format!("certificate=\"{certificate}\"");
            let name = format!("datakit_operator_{name}");
            member.replica.metric(&name, &[&label]).await
        };
        for (certificate, lifetime) in [("leaf", 8.0), ("ca", 24.0)] {
            let left = metric("certificate_expiry_timestamp_seconds", certificate).await? - now;
            assert!(left > 0.0 && left <= lifetime, "{certificate}: {left} s");
        }
        let made = metric("certificates_made_total", "leaf").await?;
        assert!(made >= leaves.len() as f64, "{made} leaves");
        authorities += metric("certificates_made_total", "ca").await?;
        let held = "datakit_operator_lease_held";
        holders += member.replica.metric(held, &[]).await?;
    }
    assert!(
        authorities >= seen.authorities.len() as f64,
        "{authorities}"
    );
    assert!((holders - 1.0).abs() < f64::EPSILON, "{holders} holders");
    Ok(())
}

/// How often a replica has warned.
fn complaints(member: &Member) -> usize {
    let lines = member.replica.lines();
    let warned = |line: &&Value| line["level"] == "warn" || line["level"] == "error";
    lines.iter().filter(warned).count()
}

fn without_bundles(configuration: &Value) -> Value {
    let mut webhooks = configuration["webhooks"].clone();
    for webhook in webhooks.as_array_mut().into_iter().flatten() {
        webhook["clientConfig"]
            .as_object_mut()
            .map(|config| config.remove("caBundle"));
        // By a manager of its own, and not always there yet.
        webhook
            .as_object_mut()
            .map(|webhook| webhook.remove("matchConditions"));
    }
    webhooks
}

/// Fails unless one manager has the bundles by server-side apply, and nothing else.
fn assert_only_bundles_owned(configuration: &Value) {
    let entries = configuration["metadata"]["managedFields"]
        .as_array()
        .unwrap();
    let mut owned = Vec::new();
    for entry in entries
        .iter()
        .filter(|entry| entry.to_string().contains("f:caBundle"))
    {
        assert_eq!(entry["operation"], "Apply", "{entry:#}");
        let webhooks = entry["fieldsV1"]["f:webhooks"].as_object().unwrap();
        assert_eq!(entry["fieldsV1"].as_object().unwrap().len(), 1, "{entry:#}");
        for (key, fields) in webhooks {
            assert!(key.starts_with("k:"), "{entry:#}");
            let mut fields = fields.as_object().unwrap().clone();
            let bundle = fields.remove("f:clientConfig");
            assert_eq!(bundle, Some(json!({"f:caBundle": {}})), "{entry:#}");
            fields.retain(|field, _| ![".", "f:name"].contains(&field.as_str()));
            assert!(fields.is_empty(), "{entry:#}");
            owned.push(key.clone());
        }
    }
    assert_eq!(owned.len(), 2, "both webhooks, each once: {owned:?}");
}

fn said(error: impl Into<anyhow::Error>) -> String {
    format!("{:#}", error.into())
}
