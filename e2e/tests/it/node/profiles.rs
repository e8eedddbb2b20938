//! Real profilers see into programs of other containers.

use anyhow::Result;
use datakit_operator_e2e::image::Image;
use datakit_operator_e2e::node::images::{Contents, app_reference};
use datakit_operator_e2e::node::{PATIENCE, Pod};
use datakit_operator_e2e::wait;
use serde_json::json;

use super::{configuration, injected};

#[tokio::test]
#[ignore = "needs a node: run e2e/run node::"]
async fn of_python_show_its_functions() -> Result<()> {
    show(
        "python",
        Contents::python,
        Contents::python_profiler,
        "work_for_a_moment",
    )
    .await
}

#[tokio::test]
#[ignore = "needs a node: run e2e/run node::"]
async fn of_java_show_its_methods() -> Result<()> {
    show("java", Contents::java, Contents::java_profiler, "App.work").await
}

/// Runs a program with its profiler until that has seen a function.
async fn show(
    language: &str,
    program: fn(&Contents) -> Result<Image>,
    profiler: fn(&Contents) -> Result<Image>,
    function: &str,
) -> Result<()> {
    let running = injected(&format!("profiles-{language}"), &configuration(1)).await?;
    running
        .node
        .import(&program(running.node.contents())?)
        .await?;
    running
        .node
        .import(&profiler(running.node.contents())?)
        .await?;
    let annotation = format!("admission.datakit/{language}-profiler.version");
    // The tool that attaches to a JVM does so as its user; all that reads a program from outside
    // has to be root.
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "app", "annotations": {annotation: ""}},
        "spec": {
            "containers": [{"name": "app", "image": app_reference(language)}],
            "terminationGracePeriodSeconds": 1,
        },
    });
    let pod = Pod::create(&running.namespace, &pod).await?;
    pod.until_ready().await?;
    let what = format!("a sample of {function}");
    let found = wait::until_within(PATIENCE, &what, || async {
        let printed = pod.logs("datakit-profiler");
        let printed = printed.map_err(|error| format!("{error:#}"))?;
        let mut samples = printed.lines().filter(|line| line.starts_with("sample "));
        match samples.any(|sample| sample.contains(function)) {
            true => Ok(Ok(())),
            false if printed.ends_with("done\n") => Ok(Err(printed)),
            false => Err(printed),
        }
    });
    if let Err(printed) = found.await? {
        panic!(
            "the profiler is done and has not seen {function}: {printed}\n{}",
            pod.all_logs()
        );
    }
    pod.delete().await
}
