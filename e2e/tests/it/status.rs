//! The status page in a browser, of an operator that a real API server asks.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use datakit_operator_e2e::caller::Caller;
use datakit_operator_e2e::cluster::Cluster;
use datakit_operator_e2e::operator::{Operator, Options};
use datakit_operator_e2e::process::without_proxies;
use datakit_operator_e2e::webhook::{Injected, Policy};
use serde_json::{Value, json};
use tokio::task::block_in_place;

/// What browsers of this family are called.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
/// A name that a page must show as it is.
const MARKUP: &str = "<img src=x onerror=alert(1)>";

/// The browser to use: what `CHROMIUM` names, else the first that is found.
fn browser() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("CHROMIUM").filter(|named| !named.is_empty()) {
        return Some(named.into());
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .flat_map(|folder| BROWSERS.map(|name| folder.join(name)))
        .find(|program| program.is_file())
}

/// The page as the browser has it once its script has run.
fn rendered(browser: &PathBuf, profile: &str, url: &str, language: &str) -> Result<String> {
    let output = without_proxies(&mut Command::new(browser))
        .args(["--headless=new", "--no-sandbox", "--disable-gpu"])
        .args(["--no-first-run", "--disable-background-networking"])
        .arg(format!("--user-data-dir={profile}"))
        .arg(format!("--accept-lang={language}"))
        .args(["--virtual-time-budget=10000", "--dump-dom", url])
        .output()
        .with_context(|| format!("failed to start `{}`", browser.display()))?;
    let page = String::from_utf8(output.stdout)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    ensure!(
        !said.contains("Content Security Policy"),
        "the page's own policy forbids what it does: {said}"
    );
    Ok(page)
}

/// Has a pod reviewed that no API server would let through.
fn review(operator: &Operator, name: &str) -> Result<()> {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "by-hand", "operation": "CREATE", "namespace": "shop",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "object": {
                "metadata": {"name": name, "annotations": {"admission.datakit/jav-lib.version": ""}},
                "spec": {"containers": [{"name": "app", "image": "app"}]},
            },
        },
    });
    let server = SocketAddr::from(([127, 0, 0, 1], operator.port()));
    let answer = Caller::of(server)?.call(
        "POST",
        "/v1/webhooks/inject",
        "content-type: application/json\r\n",
        &review.to_string(),
    )?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.body);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the control plane: run e2e/run"]
async fn a_browser_shows_what_was_decided() -> Result<()> {
    let Some(browser) = browser() else {
        println!(
            "skipped: there is no browser; install Debian's chromium, or name one by CHROMIUM"
        );
        return Ok(());
    };
    let cluster = Cluster::connect().await?;
    let config =
        json!({"admission_inject": {"ddtrace": {"images": {"java_agent_image": "java:1"}}}});
    let options = Options {
        config: Some(config.to_string()),
        ..Options::default()
    };
    let injected = Injected::start(&cluster, "status", &options, Policy::Fail).await?;
    let pods = format!("/api/v1/namespaces/{}/pods", injected.namespace.name());
    for (name, restart) in [("gets-it", "Always"), ("skipped", "Never")] {
        let annotation = match restart {
            "Never" => "admission.datakit/java-profiler.version",
            _ => "admission.datakit/java-lib.version",
        };
        let pod: Value = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "annotations": {annotation: ""}},
            "spec": {"restartPolicy": restart, "containers": [{"name": "app", "image": "app"}]},
        });
        cluster.create(&pods, &pod).await?;
    }
    block_in_place(|| review(&injected.operator, MARKUP))?;

    let port = injected.operator.probes()?.port();
    let folder = cluster.plane().directory().join("browser");
    let folder = folder.display().to_string();
    let page = |query: &str, language: &str| {
        let url = format!("http://localhost:{port}/status.html{query}");
        block_in_place(|| rendered(&browser, &folder, &url, language))
    };
    let english = page("", "en-US")?;
    let chinese = page("", "zh-CN,zh")?;
    let asked_for = page("?lang=zh", "en-US")?;
    for (page, language, texts) in [
        (&english, "en", ["Last decisions", "injected", "skipped"]),
        (&chinese, "zh-CN", ["最近的决定", "已注入", "已跳过"]),
        (&asked_for, "zh-CN", ["最近的决定", "已注入", "已跳过"]),
    ] {
        let tag = format!("<html lang=\"{language}\">");
        ensure!(page.contains(&tag), "no {tag} in {page}");
        let names = ["status/gets-it", "status/skipped"];
        for text in texts.iter().chain(&names).chain(&["unknown_annotation"]) {
            ensure!(page.contains(text), "no `{text}` in {page}");
        }
        // As text it is escaped again where the browser writes the page down; as markup it is not.
        ensure!(
            page.contains("shop/&lt;img src=x onerror=alert(1)&gt;"),
            "no {MARKUP} in {page}"
        );
        ensure!(!page.contains("<img"), "{page}");
        ensure!(!page.contains(" id=\"content\" hidden"), "{page}");
    }
    Ok(())
}
