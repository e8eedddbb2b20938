//! Whatever happens to the operator, pods are created; and they are injected again once it is back.

use anyhow::Result;
use datakit_operator_e2e::cluster::{Cluster, Mode, Namespace};
use datakit_operator_e2e::impostor::{Impostor, Manners};
use datakit_operator_e2e::operator::{Operator, Options, lasting_certificate};
use datakit_operator_e2e::plane::free_port;
use datakit_operator_e2e::wait;
use datakit_operator_e2e::webhook::{self, Policy};
use serde_json::{Value, json};

use crate::shapes::{FEATURES, has_traces};

const NAME: &str = "outage";

#[tokio::test]
#[ignore = "needs the control plane: run e2e/run"]
async fn pods_are_created_all_the_same() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let (ca, certificate) = lasting_certificate()?;
    let port = free_port()?;
    let options = Options {
        port: Some(port),
        certificate: Some(certificate.clone()),
        ..Options::default()
    };
    let labels = webhook::labels(NAME);
    webhook::register(&cluster, NAME, &labels, port, &ca, Policy::Ignore).await?;
    let namespace = cluster.namespace(NAME, &labels).await?;

    let mut pods = Pods { namespace, made: 0 };
    let operator = Operator::start(cluster.plane(), NAME, &options).await?;
    pods.until_injected().await?;

    drop(operator);
    for _ in 0..3 {
        assert!(
            !has_traces(&pods.create().await?),
            "nobody can have injected it"
        );
    }

    let silent = Impostor::start(port, Manners::Silent)?;
    assert!(!has_traces(&pods.create().await?));
    assert!(silent.connections() > 0, "the API server didn't ask");
    drop(silent);

    for (what, answer) in garbage() {
        let impostor = Impostor::start(port, Manners::Says(certificate.clone(), answer))?;
        assert!(!has_traces(&pods.create().await?), "{what}");
        assert!(
            impostor.connections() > 0,
            "{what}: the API server didn't ask"
        );
    }

    let _operator = Operator::start(cluster.plane(), NAME, &options).await?;
    pods.until_injected().await?;
    Ok(())
}

/// Pods that ask for the Java library, each under a name of its own.
struct Pods {
    namespace: Namespace,
    made: usize,
}

impl Pods {
    /// Creates the next one. That it is created at all is what this file is about.
    async fn create(&mut self) -> Result<Value> {
        self.made += 1;
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("pod-{}", self.made)},
            "spec": {"containers": [{"name": "app", "image": "app"}]},
        });
        FEATURES[0].1.ask(&mut pod);
        Ok(self.namespace.create_pod(&pod, Mode::Store).await?.pod)
    }

    async fn until_injected(&mut self) -> Result<()> {
        let pods = tokio::sync::Mutex::new(self);
        let pod = wait::until("an injected pod", || async {
            match pods.lock().await.create().await {
                Ok(pod) if has_traces(&pod) => Ok(Ok(pod)),
                Ok(_) => Err("the pods aren't injected".to_owned()),
                // One that isn't created is never right.
                Err(error) => Ok(Err(error)),
            }
        })
        .await??;
        FEATURES[0].1.assert_in(&pod, &["app"], false);
        Ok(())
    }
}

fn garbage() -> Vec<(&'static str, Vec<u8>)> {
    let http = |status: &str, content: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: {content}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    let review = |response: &str| {
        let body = format!(
            r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{response}}}"#
        );
        http("200 OK", "application/json", &body)
    };
    vec![
        ("not HTTP", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
        ("nothing", Vec::new()),
        (
            "half an answer",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"api".to_vec(),
        ),
        (
            "HTML",
            http("200 OK", "text/html", "<html>It works!</html>"),
        ),
        (
            "an error",
            http("500 Internal Server Error", "text/plain", "oops"),
        ),
        (
            "a redirection",
            b"HTTP/1.1 302 Found\r\nlocation: https://localhost:1/\r\ncontent-length: 0\r\n\r\n"
                .to_vec(),
        ),
        (
            "JSON of another kind",
            http("200 OK", "application/json", r#"{"kind":"Status"}"#),
        ),
        ("no JSON", http("200 OK", "application/json", "{")),
        ("no response", review("null")),
        (
            "the answer to another review",
            review(r#"{"uid":"x","allowed":true}"#),
        ),
        (
            "a refusal of another review",
            review(r#"{"uid":"x","allowed":false}"#),
        ),
    ]
}
