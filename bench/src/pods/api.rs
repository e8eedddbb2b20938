//! An API server that has pods and nothing else.

use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc};
use tokio::time::interval;

use super::shapes::Shapes;
use super::{kubeconfig, path_in};

/// How often changes are sent that come at a rate.
const TICK: Duration = Duration::from_millis(10);

/// The server. It ends with the process.
pub(crate) struct Api {
    /// Its address, as a URL.
    pub(crate) server: String,
    pub(crate) kubeconfig: PathBuf,
    /// What all pods are long, in bytes.
    pub(crate) bytes: usize,
    changes: broadcast::Sender<Option<u32>>,
    _directory: TempDir,
}

struct Pods {
    items: Vec<String>,
    changed: Vec<Bytes>,
    changes: broadcast::Sender<Option<u32>>,
}

impl Api {
    pub(crate) async fn start(pods: usize, changes: usize) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let path = path_in(&directory, "kubeconfig");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let server = format!("http://{address}");
        std::fs::write(&path, kubeconfig(&server))?;
        let mut shapes = Shapes::default();
        let items: Vec<String> = (0..pods)
            .map(|number| shapes.pod(number, 0).to_string())
            .collect();
        let changed = (0..changes).map(|change| {
            // All over the cluster, each time another one.
            let number = change.wrapping_mul(7_919) % pods.max(1);
            let mut object = serde_json::json!({"kind": "Pod", "apiVersion": "v1"});
            if let serde_json::Value::Object(fields) = shapes.pod(number, 1 + change) {
                for (key, value) in fields {
                    object[key] = value;
                }
            }
            format!("{{\"type\":\"MODIFIED\",\"object\":{object}}}\n").into()
        });
        let changed = changed.collect();
        let bytes = items.iter().map(String::len).sum();
        let (changes, _) = broadcast::channel(4);
        let served = Arc::new(Pods {
            items,
            changed,
            changes: changes.clone(),
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = Arc::clone(&served);
                let service = service_fn(move |request| {
                    let answer = served.answer(&request);
                    async { Ok::<_, Infallible>(answer) }
                });
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        Ok(Self {
            server,
            kubeconfig: path,
            bytes,
            changes,
            _directory: directory,
        })
    }

    /// Sends all changes to whoever watches.
    pub(crate) fn change(&self) {
        let _ = self.changes.send(None);
    }

    /// Sends them at so many a second.
    pub(crate) fn change_at(&self, rate: u32) {
        let _ = self.changes.send(Some(rate));
    }
}

impl Pods {
    fn answer(&self, request: &Request<Incoming>) -> Response<Parts> {
        let query = request.uri().query().unwrap_or_default();
        let value = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .find(|(key, _)| *key == name)
                .map_or("", |(_, value)| value)
        };
        let is_pods = request.uri().path() == "/api/v1/pods";
        if value("watch") == "true" {
            return Response::new(match is_pods {
                true => self.watch(),
                false => Parts::silence(),
            });
        }
        let body = match request.uri().path() {
            "/version" => r#"{"major":"1","minor":"36","gitVersion":"v1.36.0","gitCommit":"","gitTreeState":"","buildDate":"","goVersion":"","compiler":"","platform":""}"#.to_owned(),
            _ if is_pods => self.page(value("limit"), value("continue")),
            _ => r#"{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}"#.to_owned(),
        };
        Response::new(Parts::whole(body.into()))
    }

    fn page(&self, limit: &str, from: &str) -> String {
        let from = from.parse().unwrap_or(0).min(self.items.len());
        let limit = limit.parse().unwrap_or(usize::MAX);
        let to = self.items.len().min(from.saturating_add(limit));
        let next = match to < self.items.len() {
            true => format!(",\"continue\":\"{to}\""),
            false => String::new(),
        };
        let items = self.items.get(from..to).unwrap_or_default().join(",");
        format!(
            "{{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{{\"resourceVersion\":\"1\"{next}}},\"items\":[{items}]}}"
        )
    }

    fn watch(&self) -> Parts {
        let (sender, parts) = mpsc::channel(8);
        let (mut told, changed) = (self.changes.subscribe(), self.changed.clone());
        tokio::spawn(async move {
            while let Ok(rate) = told.recv().await {
                // A few at a time: timers go by milliseconds.
                let mut every = interval(TICK);
                let at_once = rate.map_or(usize::MAX, |rate| {
                    let ticks = Duration::from_secs(1).as_millis() / TICK.as_millis();
                    rate as usize / ticks as usize
                });
                for (number, line) in changed.iter().enumerate() {
                    if number.is_multiple_of(at_once) {
                        every.tick().await;
                    }
                    if sender.send(line.clone()).await.is_err() {
                        return;
                    }
                }
            }
        });
        Parts(parts)
    }
}

/// A body that comes in parts.
struct Parts(mpsc::Receiver<Bytes>);

impl Parts {
    fn whole(bytes: Bytes) -> Self {
        let (sender, parts) = mpsc::channel(1);
        let _ = sender.try_send(bytes);
        Self(parts)
    }

    /// Nothing, for ever.
    fn silence() -> Self {
        let (sender, parts) = mpsc::channel(1);
        tokio::spawn(async move { sender.closed().await });
        Self(parts)
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|part| part.map(|bytes| Ok(Frame::data(bytes))))
    }
}
