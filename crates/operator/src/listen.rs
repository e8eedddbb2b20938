//! A listener of our own: accepts connections, keeps clients within [`Limits`], and drains.
//!
//! ```text
//! Bound ──serve──▶ Running ──(leave)──drain──▶ Drained
//!                    │ one task accepts; it alone knows all connections, so there is nothing to lock
//!                    └─ one task per connection: TLS handshake, HTTP/1.1 or HTTP/2 by ALPN, and its requests
//! ```
//!
//! When all places are taken and someone new comes, someone else gives way: who is idle, or sends a
//! body slowly, or doesn't take an answer; strangers before clients that have proved themselves,
//! and those before clients whose certificate says who they are. A client that opens many
//! connections thus only displaces itself. While every connection is busy and quick, new ones wait
//! in the kernel's queue. What clients make the process keep is taken from a [`Memory`]; when that
//! is used up, who holds much of it and does nothing gives way.

mod activity;
pub mod args;
mod budget;
mod connection;
mod exchange;
mod gathered;
mod guarded;
mod limits;
mod places;
mod streams;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

pub use self::budget::{Budget, Level, Memory, Share};
pub use self::exchange::{Answer, AnswerBody, BrokenOff, Part, Piece, Received};
pub use self::limits::{CONNECTION, Limits};
use self::places::{Gave, Places};
use crate::telemetry::metrics::{Limit, ListenerMetrics};
use crate::tls::callers::{Caller, Callers};
use crate::tls::clients::ClientName;

/// Connections that may wait in the kernel to be accepted.
const BACKLOG: u32 = 1024;
/// What the kernel keeps for a connection in each direction, in bytes; it makes the double of it.
/// By itself it would take megabytes for a client that sends fast or reads slowly, and they count
/// as memory of the container.
const SOCKET_BUFFER: u32 = 128 * 1024;
/// Pause after the operating system refused to accept, usually for want of file descriptors: trying
/// again at once would only keep a core busy.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// While all places are taken by busy connections: how often to look for one that became idle.
const FULL_RESCAN: Duration = Duration::from_millis(10);
/// How often to look for connections that have been idle, or have left an answer unread, for too
/// long.
const LONGEST_SCAN_PAUSE: Duration = Duration::from_secs(1);
/// While draining: a connection without a request for this long has nothing more to say, even if
/// its peer does not close it.
const GOODBYE: Duration = Duration::from_secs(1);
/// At most one log line in this time about a listener that is full or can't accept.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// Answers requests. There is no error: whatever happens, the client gets a response.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(&self, request: Request<Received>) -> impl Future<Output = Answer> + Send;

    /// The answer if there is no memory for the request or for its answer.
    fn no_room(&self) -> Answer;
}

/// Who is at the other end of a connection, as an extension of each of its requests. It is told
/// once, when the connection begins: the certificates that a client presented aren't kept.
#[derive(Clone, Debug)]
pub struct Peer {
    address: SocketAddr,
    caller: Caller,
}

impl Peer {
    /// Where the connection comes from: the client, or what stands between (a proxy, a node that
    /// translates addresses).
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who the client is, as far as its certificate tells.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether the client is another replica of this installation.
    #[must_use]
    pub fn is_replica(&self) -> bool {
        self.caller == Caller::Replica
    }

    /// The names of a client whose certificate is of the authority that clients are to have theirs
    /// from. Nothing for everybody else, replicas included.
    #[must_use]
    pub fn identity(&self) -> Option<&ClientName> {
        match &self.caller {
            Caller::Client(name) => Some(name),
            Caller::Anybody | Caller::Replica => None,
        }
    }
}

/// An extension of an answer: the client had better make a new connection for its next request,
/// which may lead it to a server that can do more for it. Heeded over HTTP/1.1.
#[derive(Clone, Copy, Debug)]
pub struct GoElsewhere;

/// An extension of an answer: who the client is can be told better on a new connection, so this one
/// ends with the answer. Heeded over HTTP/1.1 and HTTP/2.
#[derive(Clone, Copy, Debug)]
pub struct ConnectAgain;

/// What the bytes on a connection are.
#[derive(Clone)]
pub enum Transport {
    /// HTTP/1.1 in the clear.
    Plain,
    /// HTTP/2 or HTTP/1.1, as agreed during the TLS handshake.
    Tls {
        /// Shakes hands.
        acceptor: TlsAcceptor,
        /// Tells who the clients are.
        callers: Arc<Callers>,
    },
}

/// An address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on `{address}`")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

/// A socket that is bound but not served yet. Clients can already connect; they wait.
#[derive(Debug)]
#[must_use]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// Binds a TCP socket. Port 0 picks a free port.
    ///
    /// # Errors
    ///
    /// If the address is taken, not ours, or the port needs more privilege.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let fail = |source| BindError { address, source };
        let listener = listen(address).map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        Ok(Self { listener, address })
    }

    /// The address in use, with the port that was picked.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts to accept and to answer.
    pub fn serve<H: Handler>(
        self,
        transport: Transport,
        limits: Limits,
        memory: Memory,
        handler: H,
        metrics: ListenerMetrics,
    ) -> Running {
        let (stop, stopped) = oneshot::channel();
        let address = self.address;
        let leaving = Arc::new(Leaving::default());
        let told = Arc::clone(&leaving);
        let server = connection::Server::new(transport, limits, memory, handler, metrics, told);
        let server = Arc::new(server);
        let task = tokio::spawn(accept(self.listener, server, stopped));
        Running {
            address,
            leaving,
            stop,
            task,
        }
    }
}

/// A socket that listens, whose connections get buffers of a fixed size from the kernel.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Tells all connections of a listener that it is going to end, so that clients go elsewhere by
/// themselves.
#[derive(Debug, Default)]
struct Leaving {
    begun: AtomicBool,
    news: Notify,
}

impl Leaving {
    fn begin(&self) {
        self.begun.store(true, Ordering::Release);
        self.news.notify_waiters();
    }

    fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Resolves when it begins; never, if it has begun before this was called.
    async fn begins(&self) {
        let news = self.news.notified();
        if self.has_begun() {
            std::future::pending::<()>().await;
        } else {
            news.await;
        }
    }
}

/// A thread of its own for what nothing else may hold up, or what may hold up nothing else.
#[derive(Debug)]
pub struct Apart {
    runtime: Handle,
    /// Ends the thread when dropped.
    _alive: oneshot::Sender<()>,
}

impl Apart {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// If the operating system has no more threads or descriptors.
    pub fn start(name: &str) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let _ = runtime.block_on(ended);
            })?;
        Ok(Self {
            runtime: handle,
            _alive: alive,
        })
    }

    /// The thread's runtime, for tasks that it shall run.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Like [`Bound::bind`], for a listener that this thread is to serve.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn bind(&self, address: SocketAddr) -> Result<Bound, BindError> {
        let bound = self.runtime.spawn(Bound::bind(address)).await;
        bound.unwrap_or_else(|error| {
            let source = io::Error::other(error);
            Err(BindError { address, source })
        })
    }

    /// Like [`Bound::serve`], on this thread.
    pub fn serve<H: Handler>(
        &self,
        bound: Bound,
        transport: Transport,
        limits: Limits,
        memory: Memory,
        handler: H,
        metrics: ListenerMetrics,
    ) -> Running {
        let _here = self.runtime.enter();
        bound.serve(transport, limits, memory, handler, metrics)
    }
}

/// A listener that is being served.
#[derive(Debug)]
#[must_use = "a listener that nobody drains is cut off in mid-request"]
pub struct Running {
    address: SocketAddr,
    leaving: Arc<Leaving>,
    stop: oneshot::Sender<Duration>,
    task: JoinHandle<Drained>,
}

/// How a listener ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that had requests in flight when the grace period ended, and were cut off.
    pub aborted: usize,
}

impl Running {
    /// The address in use.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Goes on answering, new connections included, but asks clients to go elsewhere: by
    /// `Connection: close` with each HTTP/1.1 answer, by GOAWAY over HTTP/2. A client that is busy
    /// has left when [`drain`](Self::drain) comes, which otherwise would close a connection under a
    /// request that is on its way.
    pub fn leave(&self) {
        self.leaving.begin();
    }

    /// Refuses new connections from now on, lets requests in flight finish for up to `grace`, then
    /// cuts off the rest.
    pub async fn drain(self, grace: Duration) -> Drained {
        // Fails only if the task is gone, which the join below tells as well.
        let _ = self.stop.send(grace);
        self.task.await.unwrap_or(Drained { aborted: 0 })
    }

    /// Resolves if accepting ends by itself, which it never should: only a bug in it (a panic) does
    /// that.
    pub async fn broken(&mut self) {
        let _ = (&mut self.task).await;
    }
}

/// Accepts connections until told to stop, then drains.
async fn accept<H: Handler>(
    listener: TcpListener,
    server: Arc<connection::Server<H>>,
    mut stop: oneshot::Receiver<Duration>,
) -> Drained {
    let limits = server.limits;
    let metrics = server.metrics.clone();
    let pressed = Arc::clone(&server.memory.pressed);
    let idle_scan = (limits.idle.min(limits.answer) / 4).clamp(FULL_RESCAN, LONGEST_SCAN_PAUSE);
    let mut next_scan = Instant::now() + idle_scan;
    let mut complaints = Complaints::default();
    let mut places = Places::default();
    let mut newcomer: Option<(TcpStream, SocketAddr)> = None;
    let grace = loop {
        if let Some((stream, peer)) = newcomer.take() {
            if places.taken() >= limits.connections {
                complaints.full(limits.connections);
                match places.make_room() {
                    Some(Gave::Idle) => metrics.hit(Limit::Connections),
                    Some(Gave::Slow) => metrics.hit(Limit::Displaced),
                    None => {}
                }
            }
            if places.taken() < limits.connections {
                admit(stream, peer, &server, &mut places);
            } else {
                newcomer = Some((stream, peer));
            }
        }
        let waits = newcomer.is_some();
        let wake = if waits {
            next_scan.min(Instant::now() + FULL_RESCAN)
        } else {
            next_scan
        };
        tokio::select! {
            biased;
            grace = &mut stop => break grace.unwrap_or_default(),
            () = places.one_ended(), if !places.is_empty() => {}
            () = pressed.notified() => {
                if places.relieve() {
                    metrics.hit(Limit::Displaced);
                }
            }
            accepted = listener.accept(), if !waits => match accepted {
                Ok(accepted) => newcomer = Some(accepted),
                Err(error) if is_the_peers_fault(&error) => {}
                Err(error) => {
                    metrics.hit(Limit::Accept);
                    complaints.accept(&error);
                    // A descriptor less held by someone idle is one for someone new.
                    places.make_room();
                    // The places stay served: they are tasks of their own.
                    sleep(ACCEPT_BACKOFF).await;
                }
            },
            () = sleep_until(wake) => {}
        }
        if Instant::now() >= next_scan {
            next_scan = Instant::now() + idle_scan;
            for _ in 0..places.close_idle_for(limits.idle) {
                metrics.hit(Limit::IdleTime);
            }
            for _ in 0..places.cut_unread_for(limits.answer) {
                metrics.hit(Limit::AnswerTime);
            }
        }
    };
    // From here on the kernel refuses new connections, also those that were waiting in its queue.
    drop((listener, newcomer));
    places.drain();
    let all_ended = async {
        while !places.is_empty() && !places.all_idle_for(GOODBYE) {
            // Looks up now and then: connections that end tell, those that merely fall silent
            // don't.
            let _ = timeout(GOODBYE / 4, places.one_ended()).await;
        }
    };
    let _ = timeout(grace, all_ended).await;
    Drained {
        aborted: places.abort().await,
    }
}

fn admit<H: Handler>(
    stream: TcpStream,
    peer: SocketAddr,
    server: &Arc<connection::Server<H>>,
    places: &mut Places,
) {
    server.metrics.accepted.inc();
    let server = Arc::clone(server);
    places.occupy(|activity, close| server.serve(stream, peer, activity, close));
}

/// Errors of `accept` that concern one connection which is already gone.
fn is_the_peers_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// Log lines that an attacker could otherwise cause by the thousand.
#[derive(Default)]
struct Complaints {
    last: Option<Instant>,
}

impl Complaints {
    fn full(&mut self, connections: usize) {
        if self.is_due() {
            tracing::warn!(
                connections,
                "all connections are taken; closing idle ones for new ones"
            );
        }
    }

    fn accept(&mut self, error: &io::Error) {
        if self.is_due() {
            let error: &(dyn std::error::Error + 'static) = error;
            tracing::warn!(error, "failed to accept connections; trying again");
        }
    }

    fn is_due(&mut self) -> bool {
        let due = self
            .last
            .is_none_or(|last| last.elapsed() >= COMPLAINT_INTERVAL);
        if due {
            self.last = Some(Instant::now());
        }
        due
    }
}
