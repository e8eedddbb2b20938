//! Passes requests on to the replica that decides, over one connection that is kept.

use std::borrow::Cow;
use std::error::Error;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use datakit_operator_core::election::Caller;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::senders;
use crate::tls::replicas::Replicas;

/// Marks a request as passed on, and says how many replicas have done so. Only heeded from
/// replicas.
pub const FORWARDED: HeaderName = HeaderName::from_static("x-datakit-operator-forwarded");
/// Who sent a request that is passed on, in the words of [`senders`].
pub const CLIENT: HeaderName = HeaderName::from_static("x-datakit-operator-client");
/// Where the replica that passes a request on is reached itself.
pub const FORWARDER: HeaderName = HeaderName::from_static("x-datakit-operator-forwarder");
/// Which other replicas the one that answers knows, as addresses separated by commas.
pub const REPLICAS: HeaderName = HeaderName::from_static("x-datakit-operator-replicas");
/// How many replicas may pass a request on, one after the other. Two: a replica that is cut off
/// from the API server knows a former holder, or only some other replica, and that one knows the
/// present holder.
pub const MAX_HOPS: u8 = 2;
/// How many other replicas are remembered.
const MAX_REPLICAS: usize = 16;
/// How long the other replica may take. Agents wait for ever, and poll again every few seconds.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long to wait for a connection to it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The largest answer that is passed on: a page of the table.
const MAX_ANSWER: usize = 4 << 20;

type BoxError = Box<dyn Error + Send + Sync>;

/// A request could not be passed on.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// Replicas can't recognise each other.
    #[error("this replica knows no CA by which it could recognise the one that decides")]
    NoTrust,
    /// No connection.
    #[error("failed to connect to the replica that decides, at {address}")]
    Connect {
        /// Where.
        address: Arc<str>,
        /// Why.
        source: BoxError,
    },
    /// No answer.
    #[error("failed to ask the replica that decides, at {address}")]
    Ask {
        /// Where.
        address: Arc<str>,
        /// Why.
        source: BoxError,
    },
}

/// What is passed on.
#[derive(Clone, Debug)]
pub struct Forwarded {
    /// The method.
    pub method: Method,
    /// The path and the query.
    pub path: Cow<'static, str>,
    /// Who sent it.
    pub client: Option<Caller>,
    /// The `Accept` header, if any.
    pub accept: Option<HeaderValue>,
    /// The body.
    pub body: Bytes,
    /// How many replicas have passed it on, this one included.
    pub hops: u8,
}

/// The connections to other replicas, usually one: to the one that decides.
#[derive(Debug)]
pub struct Forwarder {
    replicas: Arc<Replicas>,
    address: Option<Arc<str>>,
    connection: Mutex<Option<Connection>>,
    /// Other replicas that were heard of, the latest last.
    known: std::sync::Mutex<Vec<Arc<str>>>,
}

#[derive(Clone, Debug)]
struct Connection {
    address: Arc<str>,
    sender: SendRequest<Full<Bytes>>,
}

impl Forwarder {
    /// Connects when it is used first. `address` is where other replicas reach this one.
    #[must_use]
    pub fn new(replicas: Arc<Replicas>, address: Option<Arc<str>>) -> Self {
        Self {
            replicas,
            address,
            connection: Mutex::new(None),
            known: std::sync::Mutex::default(),
        }
    }

    /// Remembers another replica.
    pub fn learn(&self, address: &str) {
        if address.is_empty() || Some(address) == self.address.as_deref() {
            return;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|known| **known != *address);
        known.push(address.into());
        if known.len() > MAX_REPLICAS {
            known.remove(0);
        }
    }

    /// The other replicas that were heard of, the latest first.
    #[must_use]
    pub fn known(&self) -> Vec<Arc<str>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().rev().cloned().collect()
    }

    /// The other replicas.
    #[must_use]
    pub fn replicas(&self) -> &Replicas {
        &self.replicas
    }

    /// Asks the replica at `address` and returns its whole answer.
    ///
    /// # Errors
    ///
    /// If it can't be reached, isn't a replica of this installation, or doesn't answer in time.
    pub async fn ask(
        &self,
        address: &Arc<str>,
        request: &Forwarded,
    ) -> Result<Response<Bytes>, ForwardError> {
        let asked = async {
            // A connection that was kept may have ended meanwhile; a new one tells whether the
            // other replica has.
            let kept = self.kept(address).await;
            if let Some(mut sender) = kept
                && let Ok(answer) = self.send(&mut sender, address, request).await
            {
                return Ok(answer);
            }
            let mut sender = self.connected(address).await?;
            self.send(&mut sender, address, request).await
        };
        match timeout(TIMEOUT, asked).await {
            Ok(answer) => answer,
            Err(elapsed) => {
                *self.connection.lock().await = None;
                Err(ForwardError::Ask {
                    address: Arc::clone(address),
                    source: elapsed.into(),
                })
            }
        }
    }

    async fn kept(&self, address: &Arc<str>) -> Option<SendRequest<Full<Bytes>>> {
        let connection = self.connection.lock().await;
        let usable = |connection: &&Connection| {
            connection.address == *address && !connection.sender.is_closed()
        };
        let connection = connection.as_ref().filter(usable)?;
        Some(connection.sender.clone())
    }

    /// A connection made since this was called, by whoever was first.
    async fn connected(
        &self,
        address: &Arc<str>,
    ) -> Result<SendRequest<Full<Bytes>>, ForwardError> {
        // Held while connecting: all who wait want the same connection.
        let mut connection = self.connection.lock().await;
        if let Some(connection) = &*connection
            && connection.address == *address
            && !connection.sender.is_closed()
        {
            return Ok(connection.sender.clone());
        }
        *connection = None;
        let sender = match timeout(CONNECT_TIMEOUT, self.connect(address)).await {
            Ok(sender) => sender?,
            Err(elapsed) => {
                return Err(ForwardError::Connect {
                    address: Arc::clone(address),
                    source: elapsed.into(),
                });
            }
        };
        *connection = Some(Connection {
            address: Arc::clone(address),
            sender: sender.clone(),
        });
        Ok(sender)
    }

    async fn connect(&self, address: &Arc<str>) -> Result<SendRequest<Full<Bytes>>, ForwardError> {
        let fail = |source: BoxError| ForwardError::Connect {
            address: Arc::clone(address),
            source,
        };
        let (connector, host) = self.replicas.connector().ok_or(ForwardError::NoTrust)?;
        let stream = TcpStream::connect(&**address).await;
        let stream = stream.map_err(|error| fail(error.into()))?;
        // Requests are small and complete: never wait to fill a packet.
        let _ = stream.set_nodelay(true);
        let stream = connector.connect(host, stream).await;
        let stream = TokioIo::new(stream.map_err(|error| fail(error.into()))?);
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(TIMEOUT)
            .keep_alive_timeout(TIMEOUT);
        let made = builder.handshake(stream).await;
        let (sender, connection) = made.map_err(|error| fail(error.into()))?;
        // Ends with the connection, which ends with its last sender.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the replica that decides has ended");
            }
        });
        Ok(sender)
    }

    async fn send(
        &self,
        sender: &mut SendRequest<Full<Bytes>>,
        address: &Arc<str>,
        request: &Forwarded,
    ) -> Result<Response<Bytes>, ForwardError> {
        let fail = |source: BoxError| ForwardError::Ask {
            address: Arc::clone(address),
            source,
        };
        let mut copy = Request::builder()
            .method(request.method.clone())
            .uri(format!("https://{address}{}", request.path))
            .header(FORWARDED, u16::from(request.hops))
            .header(CONTENT_TYPE, "application/json");
        if let Some(own) = &self.address {
            copy = copy.header(FORWARDER, &**own);
        }
        if let Some(client) = &request.client {
            copy = copy.header(CLIENT, senders::written(client));
        }
        if let Some(accept) = &request.accept {
            copy = copy.header(ACCEPT, accept);
        }
        let copy = copy.body(Full::new(request.body.clone()));
        let copy = copy.map_err(|error| fail(error.into()))?;
        let answer = sender.send_request(copy).await;
        let (parts, body) = answer.map_err(|error| fail(error.into()))?.into_parts();
        self.learn(address);
        let others = parts.headers.get(REPLICAS);
        let others = others.and_then(|value| value.to_str().ok());
        for other in others
            .iter()
            .flat_map(|others| others.split(','))
            .take(MAX_REPLICAS)
        {
            self.learn(other.trim());
        }
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        Ok(Response::from_parts(parts, body.map_err(fail)?.to_bytes()))
    }
}
