//! One request to a port of a pod, on the way that `kubectl port-forward` takes: to the API server,
//! from there to the node's kubelet, and to the pod's own loopback address.

use http::header::{CONNECTION, HOST};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::TIMEOUT;
use crate::error::Chain;

/// The largest answer that is read, in bytes.
const LONGEST: usize = 8 << 20;

/// Asks a pod for a path over HTTP. The error says everything.
pub(in crate::cli) async fn get(
    client: &Client,
    namespace: &str,
    pod: &str,
    port: u16,
    path: &str,
) -> Result<(StatusCode, Vec<u8>), String> {
    let asked = async {
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let forwarder = pods.portforward(pod, &[port]).await;
        let mut forwarder = forwarder.map_err(|error| Chain(&error).to_string())?;
        let why = forwarder.take_error(port);
        let stream = forwarder.take_stream(port);
        let stream = stream.ok_or("the API server forwards no port")?;
        let answered = exchange(stream, HeaderValue::from_static("localhost"), path).await;
        match (answered, why) {
            (Ok(answer), _) => Ok(answer),
            // What the kubelet says of a connection that it can't make tells more than that it broke.
            (Err(broken), Some(why)) => Err(why.await.unwrap_or(broken)),
            (Err(broken), None) => Err(broken),
        }
    };
    let late = |_| format!("no answer within {} seconds", TIMEOUT.as_secs());
    timeout(TIMEOUT, asked).await.map_err(late)?
}

/// Asks for a path over a connection that is there. The error says everything.
pub(in crate::cli) async fn exchange<S>(
    stream: S,
    host: HeaderValue,
    path: &str,
) -> Result<(StatusCode, Vec<u8>), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error| format!("the connection broke: {}", Chain(&error));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let request = Request::get(path)
        .header(HOST, host)
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    // How it ends is seen by the request.
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(broken)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LONGEST).collect().await;
    let body = body.map_err(|error| format!("the answer can't be read: {error}"))?;
    connection.abort();
    Ok((status, body.to_bytes().into()))
}
