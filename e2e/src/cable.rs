//! A way to a server that can be cut.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Passes on what arrives at a port of its own, until it is cut. Cut for good when dropped.
#[derive(Debug)]
pub struct Cable {
    port: u16,
    whole: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Cable {
    /// Lays a cable to a server.
    pub async fn to(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (whole, _) = watch::channel(true);
        let state = whole.clone();
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let state = state.subscribe();
                if *state.borrow() {
                    tokio::spawn(pass(near, server, state));
                }
            }
        });
        Ok(Self { port, whole, task })
    }

    /// The port of its near end.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends all connections, and each new one at once.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Lets new connections through again.
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.cut();
        self.task.abort();
    }
}

async fn pass(
    mut near: TcpStream,
    server: SocketAddr,
    mut state: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut far = TcpStream::connect(server).await?;
    tokio::select! {
        done = tokio::io::copy_bidirectional(&mut near, &mut far) => done.map(drop),
        _ = state.wait_for(|whole| !whole) => Ok(()),
    }
}
