//! One connection, from the accepted socket to its end.

use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderValue, Method, Request};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;

use super::activity::Activity;
use super::budget::{Memory, Share};
use super::exchange::{ANSWER, AnswerBody, Received};
use super::gathered::Gathered;
use super::guarded::Guarded;
use super::places::Close;
use super::streams::{Begun, Driven};
use super::{Answer, ConnectAgain, GoElsewhere, Handler, Leaving, Limits, Peer, Transport};
use crate::clock;
use crate::telemetry::metrics::{Limit, ListenerMetrics};
use crate::tls::callers::{Caller, Callers};

/// How long an idle connection may take to say goodbye when its place is needed.
const RECLAIM_GRACE: Duration = Duration::from_millis(50);
/// hyper's smallest read buffer for HTTP/1.1, in bytes.
const MIN_BUFFER: usize = 8 * 1024;
/// Read buffer for HTTP/1.1 in bytes: bodies pass through it, so it need not hold one.
const MAX_BUFFER: usize = 64 * 1024;
/// What may come over an HTTP/2 connection before it is taken, in bytes: the least that the
/// protocol knows (RFC 9113, section 6.9.2), since a listener has as many such buffers as
/// connections.
const WINDOW: u32 = 65_535;
/// What of an answer HTTP/2 may take over before the client has room for it.
const SEND_BUFFER: usize = 16 * 1024;
/// What TLS may have ready to be sent.
const TLS_BUFFER: usize = 16 * 1024;
/// What a client may send during a TLS handshake, in bytes, and so the size of the certificates
/// that it presents. Two of them with RSA keys of 4096 bits take 4 KiB.
const HANDSHAKE: usize = 16 * 1024;
/// How long an answer may wait for memory.
const ANSWER_WAIT: Duration = Duration::from_secs(1);
/// Tells an HTTP/1.1 client to use another connection for its next request.
const CLOSE: HeaderValue = HeaderValue::from_static("close");
/// The protocol name of HTTP/2 in ALPN.
const ALPN_H2: &[u8] = b"h2";

/// What a connection may end with: an I/O, TLS, HTTP or time-out error. Only ever logged.
type BoxError = Box<dyn Error + Send + Sync>;

/// A byte stream that HTTP can be spoken on.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// What all connections of a listener share.
pub(super) struct Server<H> {
    transport: Transport,
    pub(super) limits: Limits,
    pub(super) memory: Memory,
    handler: H,
    pub(super) metrics: ListenerMetrics,
    http1: http1::Builder,
    leaving: Arc<Leaving>,
}

impl<H: Handler> Server<H> {
    pub(super) fn new(
        transport: Transport,
        limits: Limits,
        memory: Memory,
        handler: H,
        metrics: ListenerMetrics,
        leaving: Arc<Leaving>,
    ) -> Self {
        let header_bytes = limits.header_bytes as usize;
        let mut http1 = http1::Builder::new();
        http1.auto_date_header(clock::is_right());
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(limits.headers)
            .max_header_size(header_bytes)
            .max_buf_size(header_bytes.clamp(MIN_BUFFER, MAX_BUFFER));
        Self {
            transport,
            limits,
            memory,
            handler,
            metrics,
            http1,
            leaving,
        }
    }

    /// Serves one connection until the peer closes it, it breaks a limit, or `close` says so.
    pub(super) async fn serve(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        activity: Arc<Activity>,
        close: oneshot::Receiver<Close>,
    ) {
        let _open = Open::new(&self.metrics.open);
        // Answers are small and complete: never wait to fill a packet.
        let _ = stream.set_nodelay(true);
        let served = async {
            let activity = Arc::clone(&activity);
            match self.transport.clone() {
                Transport::Plain => {
                    let peer = Peer {
                        address: peer,
                        caller: Caller::Anybody,
                    };
                    self.serve_http1(stream, peer, activity, close).await
                }
                Transport::Tls { acceptor, callers } => {
                    let shaking = Shaking {
                        acceptor,
                        callers,
                        address: peer,
                    };
                    self.serve_tls(shaking, stream, activity, close).await
                }
            }
        };
        let ended = tokio::select! {
            ended = served => ended,
            () = activity.is_cut() => Err("more requests than there is memory for".into()),
        };
        if let Err(error) = ended {
            let error: &(dyn Error + 'static) = &*error;
            tracing::debug!(error, %peer, "connection ended early");
        }
    }

    async fn serve_tls(
        self: Arc<Self>,
        shaking: Shaking,
        stream: TcpStream,
        activity: Arc<Activity>,
        mut close: oneshot::Receiver<Close>,
    ) -> Result<(), BoxError> {
        let stream = Guarded::new(stream, HANDSHAKE);
        let mut handshake = shaking.acceptor.accept(stream);
        let handshake = poll_fn(|context| match Pin::new(&mut handshake).poll(context) {
            Poll::Pending if handshake.get_ref().is_some_and(Guarded::is_full) => {
                Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()))
            }
            polled => polled,
        });
        let handshake = timeout(self.limits.handshake, handshake);
        let shaken = tokio::select! {
            biased;
            shaken = handshake => shaken,
            // Nothing was asked yet, so nothing needs to be finished.
            _ = &mut close => return Ok(()),
        };
        let mut stream = match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if error.kind() == io::ErrorKind::QuotaExceeded => {
                self.metrics.hit(Limit::HandshakeSize);
                return Err(error.into());
            }
            Ok(Err(error)) => {
                self.metrics.handshake_failures.inc();
                return Err(error.into());
            }
            Err(elapsed) => {
                self.metrics.hit(Limit::HandshakeTime);
                return Err(elapsed.into());
            }
        };
        let (socket, session) = stream.get_mut();
        socket.trust();
        session.set_buffer_limit(Some(TLS_BUFFER));
        let chain = session.peer_certificates().unwrap_or_default();
        let peer = Peer {
            address: shaking.address,
            caller: shaking.callers.recognise(chain),
        };
        if peer.caller != Caller::Anybody {
            activity.is_known();
        }
        if session.alpn_protocol() == Some(ALPN_H2) {
            self.serve_http2(stream, peer, activity, close).await
        } else {
            self.serve_http1(stream, peer, activity, close).await
        }
    }

    async fn serve_http1<S: Stream>(
        self: Arc<Self>,
        stream: S,
        peer: Peer,
        activity: Arc<Activity>,
        close: oneshot::Receiver<Close>,
    ) -> Result<(), BoxError> {
        let service = service_fn(|request| {
            let answered = Arc::clone(&self).answer(request, &peer, &activity);
            async {
                let mut answer = answered.await;
                if let Ok(answer) = &mut answer
                    && (self.leaving.has_begun()
                        || answer.extensions().get::<GoElsewhere>().is_some()
                        || answer.extensions().get::<ConnectAgain>().is_some())
                {
                    answer.headers_mut().insert(CONNECTION, CLOSE);
                }
                answer
            }
        });
        let connection = self.http1.serve_connection(TokioIo::new(stream), service);
        let connection = pin!(connection);
        // Told by its answers; an idle one is left alone, since a request may be on its way.
        let leave = std::future::pending();
        let ended = drive(
            connection,
            http1::Connection::graceful_shutdown,
            leave,
            close,
        )
        .await;
        match &ended {
            Err(error) if error.is_timeout() => self.metrics.hit(Limit::HeaderTime),
            Err(error) if error.is_parse_too_large() => self.metrics.hit(Limit::HeaderSize),
            _ => {}
        }
        Ok(ended?)
    }

    async fn serve_http2<S: Stream>(
        self: Arc<Self>,
        stream: S,
        peer: Peer,
        activity: Arc<Activity>,
        close: oneshot::Receiver<Close>,
    ) -> Result<(), BoxError> {
        let begun = Begun::default();
        let mut builder = http2::Builder::new(begun.clone());
        builder.auto_date_header(clock::is_right());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.limits.streams)
            .max_header_list_size(self.limits.header_bytes)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(self.limits.ping_interval)
            .keep_alive_timeout(self.limits.ping_timeout);
        let leaving = Arc::clone(&self.leaving);
        let again = Arc::new(Notify::new());
        let said = Arc::clone(&again);
        let service = service_fn(move |request| {
            let answered = Arc::clone(&self).answer(request, &peer, &activity);
            let said = Arc::clone(&said);
            async move {
                let answer = answered.await;
                if let Ok(answer) = &answer
                    && answer.extensions().get::<ConnectAgain>().is_some()
                {
                    said.notify_one();
                }
                answer
            }
        });
        let stream = Gathered::new(stream);
        let connection = builder.serve_connection(TokioIo::new(stream.clone()), service);
        let connection = pin!(Driven::new(connection, begun, stream));
        let shut_down = |mut connection: Pin<&mut Driven<_, S>>| {
            http2::Connection::graceful_shutdown(connection.connection());
        };
        let leave = async {
            tokio::select! {
                () = leaving.begins() => {}
                () = again.notified() => {}
            }
        };
        Ok(drive(connection, shut_down, leave, close).await?)
    }

    fn answer(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        peer: &Peer,
        activity: &Arc<Activity>,
    ) -> impl Future<Output = Result<Answer, Infallible>> + Send + use<H> {
        let mut in_flight = Arc::clone(activity).begin();
        request.extensions_mut().insert(peer.clone());
        let holder = Arc::clone(activity);
        let is_head = request.method() == Method::HEAD;
        let (parts, incoming) = request.into_parts();
        let mut received = Received::new(incoming, &self.memory, &holder);
        async move {
            let mut answer = if received.count().await {
                let request = Request::from_parts(parts, received);
                self.handler.handle(request).await
            } else {
                in_flight.refused();
                self.metrics.hit(Limit::Memory);
                self.handler.no_room()
            };
            if is_head {
                answer = without_body(answer);
            }
            let share = match answer.body().is_counted() {
                true => None,
                false => match self.room_for(&answer, &holder).await {
                    Some(share) => Some(share),
                    None => {
                        in_flight.refused();
                        self.metrics.hit(Limit::Memory);
                        answer = self.handler.no_room();
                        None
                    }
                },
            };
            in_flight.answered(answer.status().is_success());
            answer.body_mut().hold(share, in_flight);
            Ok(answer)
        }
    }

    /// Memory for an answer that has been made without.
    async fn room_for(&self, answer: &Answer, holder: &Arc<Activity>) -> Option<Share> {
        let mut share = Share::new(&self.memory.answers, holder);
        let bytes = answer.body().bytes().len() + ANSWER;
        let until = Instant::now() + ANSWER_WAIT;
        share.grow(bytes, until).await.then_some(share)
    }
}

/// The same headers, with the length that the body would have had. Over HTTP/2, hyper leaves this
/// to its user.
fn without_body(answer: Answer) -> Answer {
    let (mut parts, body) = answer.into_parts();
    if let Some(length) = body.length() {
        let length = HeaderValue::from(length);
        parts.headers.insert(CONTENT_LENGTH, length);
    }
    Answer::from_parts(parts, AnswerBody::default())
}

/// Polls a connection to its end, and calls `shut_down` when told to leave or to close.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    mut connection: Pin<&mut C>,
    shut_down: impl Fn(Pin<&mut C>),
    leave: impl Future<Output = ()>,
    mut close: oneshot::Receiver<Close>,
) -> hyper::Result<()> {
    let close = tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        close = &mut close => close,
        () = leave => {
            shut_down(connection.as_mut());
            tokio::select! {
                biased;
                ended = connection.as_mut() => return ended,
                close = close => close,
            }
        }
    };
    if close != Ok(Close::Cut) {
        shut_down(connection.as_mut());
    }
    match close {
        Ok(Close::Finished) => connection.await,
        Ok(Close::Cut) => Ok(()),
        Ok(Close::Reclaimed) | Err(_) => timeout(RECLAIM_GRACE, connection).await.unwrap_or(Ok(())),
    }
}

/// What a TLS handshake needs.
struct Shaking {
    acceptor: TlsAcceptor,
    callers: Arc<Callers>,
    address: SocketAddr,
}

/// Counts an open connection until dropped.
struct Open(Gauge);

impl Open {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
