//! The examples, applied as they are, and the commands by which the documentation has users check
//! the result.

use std::path::{Path, PathBuf};

use anyhow::Result;
use datakit_operator_e2e::cluster::Cluster;
use datakit_operator_e2e::kubectl::kubectl;
use datakit_operator_e2e::operator::Options;
use datakit_operator_e2e::webhook::{Injected, Policy, labels};

use crate::shapes::named;

const INIT_CONTAINERS: &str = "-o=jsonpath={.spec.initContainers[*].name}";
const CONTAINERS: &str = "-o=jsonpath={.spec.containers[*].name}";

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn give_what_is_documented() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let options = Options {
        kubernetes_version: Some("1.37".to_owned()),
        ..Options::default()
    };
    let injected = Injected::start(&cluster, "examples", &options, Policy::Ignore).await?;
    // The namespace that some of the examples name.
    let shop = cluster.namespace("shop", &labels("examples")).await?;
    let home = &injected.namespace;

    let mut checked = Vec::new();
    for (file, namespace, app, init_containers, containers) in [
        (
            "java-ddtrace",
            &shop,
            "orders",
            "datakit-lib-init",
            "orders",
        ),
        ("nodejs-ddtrace", home, "nginx", "datakit-lib-init", "nginx"),
        (
            "python-ddtrace",
            &shop,
            "recommendations",
            "datakit-lib-init",
            "web",
        ),
        (
            "logfwd",
            home,
            "logging",
            "",
            "log-container datakit-logfwd",
        ),
        (
            "java-profiler",
            home,
            "movies-java",
            "",
            "movies-java datakit-profiler",
        ),
        (
            "python-profiler",
            home,
            "movies-python",
            "",
            "movies-python datakit-profiler",
        ),
        ("job-logfwd", home, "", "datakit-logfwd", "report"),
        (
            "several-features",
            &shop,
            "checkout",
            "datakit-lib-init",
            "checkout ledger datakit-logfwd datakit-profiler",
        ),
    ] {
        let path = examples().join(file).with_extension("yaml");
        let path = path.display().to_string();
        kubectl(cluster.plane(), namespace.name(), &["apply", "-f", &path])?;
        let selector = match app {
            "" => "batch.kubernetes.io%2Fjob-name%3Dnightly-report".to_owned(),
            app => format!("app%3D{app}"),
        };
        let pod = namespace.first_pod(&selector).await?;
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        for (command, expected) in [(INIT_CONTAINERS, init_containers), (CONTAINERS, containers)] {
            let printed = kubectl(
                cluster.plane(),
                namespace.name(),
                &["get", "pod", name, command],
            )?;
            assert_eq!(printed.stdout, expected, "{file}: {command}");
        }
        if containers.contains("datakit-profiler") {
            let mounts = &named(&pod, "containers", "datakit-profiler")["volumeMounts"];
            let mut mounts = mounts.as_array().into_iter().flatten();
            let mount = mounts.find(|mount| mount["mountPath"] == "/app/datakit-profiler");
            assert_eq!(
                mount.map(|mount| &mount["name"]),
                Some(&"datakit-profiler-volume".into()),
                "{file}"
            );
        }
        checked.push(format!("{file}.yaml"));
    }

    checked.sort();
    let mut all: Vec<_> = std::fs::read_dir(examples())?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<_>>()?;
    all.sort();
    assert_eq!(checked, all, "an example without a test");
    Ok(())
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}
