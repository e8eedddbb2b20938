//! Makes the answers: whole lists, piece by piece as they are taken, and single pods.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use datakit_operator_core::pods::View;
use hyper::body::Bytes;
use prometheus_client::metrics::counter::Counter;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::access::Sight;
use crate::listen::{AnswerBody, BrokenOff, Part, Received, Share};
use crate::state::pods::{Packed, Packer, Pods, Standing};

/// A piece is sent when it has so many bytes. With the last pod in it, it usually still counts as
/// small for the budget of memory.
const PIECE: usize = 40 << 10;
/// Pieces that may exist at once, of all lists together: 2 MiB of them. Who waits for one gets it
/// in turn, so that many lists at once are slow, and none is refused.
const PIECES: usize = 48;
/// How long a piece may wait for memory. Clients wait ten seconds for the whole.
const ROOM: Duration = Duration::from_secs(10);

/// Makes answers on the thread that watches pods.
#[derive(Debug)]
pub(super) struct Lists {
    pods: Arc<Pods>,
    runtime: Handle,
    packer: Arc<Mutex<Option<Packer>>>,
    turns: Arc<Semaphore>,
    broken: Counter,
}

/// Which of the pods, and how much of them.
#[derive(Clone, Debug)]
pub(super) struct Which {
    pub(super) view: View,
    pub(super) sight: Sight,
}

impl Lists {
    pub(super) fn new(pods: Arc<Pods>, runtime: Handle, broken: Counter) -> Self {
        Self {
            pods,
            runtime,
            packer: Arc::default(),
            turns: Arc::new(Semaphore::new(PIECES)),
            broken,
        }
    }

    /// Begins the list of a namespace, which is known to be seen, or of all that are seen.
    pub(super) fn begin(
        &self,
        which: Which,
        namespace: Option<&str>,
        received: Received,
    ) -> AnswerBody {
        let (sender, parts) = mpsc::channel(1);
        let making = Making {
            pods: Arc::clone(&self.pods),
            packer: Arc::clone(&self.packer),
            turns: Arc::clone(&self.turns),
            which,
            namespace: namespace.map(Into::into),
            received,
            piece: None,
            is_first: true,
        };
        let broken = self.broken.clone();
        self.runtime.spawn(async move {
            let made = tokio::select! {
                made = making.run(&sender) => made,
                // The client has gone.
                () = sender.closed() => Ok(()),
            };
            if made.is_err() {
                broken.inc();
            }
        });
        AnswerBody::of_parts(parts)
    }

    /// One pod, if it is known.
    ///
    /// # Errors
    ///
    /// If there is no memory for it.
    pub(super) async fn one(
        &self,
        view: View,
        namespace: &str,
        name: &str,
        received: Received,
    ) -> Result<Option<AnswerBody>, BrokenOff> {
        let (pods, packer) = (Arc::clone(&self.pods), Arc::clone(&self.packer));
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let made = self.runtime.spawn(async move {
            let pod = pods.kept().store().get(&namespace, &name).cloned();
            let Some(pod) = pod else {
                return Ok(None);
            };
            let (length, mut share) = (pod.length(view), received.work);
            if !share.grow(length, Instant::now() + ROOM).await {
                return Err(BrokenOff);
            }
            let mut bytes = Vec::with_capacity(length);
            unpack(&packer, &pod, view, &mut bytes)?;
            Ok(Some(AnswerBody::counted(bytes.into(), share)))
        });
        made.await.unwrap_or(Err(BrokenOff))
    }
}

/// A list that is being made.
struct Making {
    pods: Arc<Pods>,
    packer: Arc<Mutex<Option<Packer>>>,
    turns: Arc<Semaphore>,
    which: Which,
    namespace: Option<Arc<str>>,
    /// Counts as long as the answer isn't complete.
    received: Received,
    piece: Option<Piece>,
    is_first: bool,
}

/// A piece that isn't full yet.
struct Piece {
    bytes: Vec<u8>,
    share: Share,
    turn: OwnedSemaphorePermit,
}

impl Making {
    async fn run(mut self, sender: &Sender<Part>) -> Result<(), BrokenOff> {
        if let Some(namespace) = self.namespace.clone() {
            self.pods_of(&namespace, sender).await?;
        } else {
            let mut at: Option<Arc<str>> = None;
            while let Some(namespace) = self.namespace_after(at.as_deref()) {
                let seen = self.which.sight.has(&namespace).await;
                if seen.map_err(|_| BrokenOff)? {
                    self.pods_of(&namespace, sender).await?;
                }
                at = Some(namespace);
            }
        }
        let end: &[u8] = if self.is_first { b"[]" } else { b"]" };
        self.room(end.len()).await?.bytes.extend_from_slice(end);
        self.send(sender, true).await
    }

    async fn pods_of(&mut self, namespace: &str, sender: &Sender<Part>) -> Result<(), BrokenOff> {
        let view = self.which.view;
        let mut behind: Option<Box<str>> = None;
        loop {
            let pods = {
                let kept = self.pods.kept();
                // Pods that were forgotten as a whole must not look like none.
                if matches!(*self.pods.standing(), Standing::Off | Standing::Unknown(_)) {
                    return Err(BrokenOff);
                }
                kept.some_after(namespace, behind.as_deref(), view, PIECE)
            };
            let Some((last, _)) = pods.last() else {
                return Ok(());
            };
            behind = Some(last.clone());
            let lengths = pods.iter().map(|(_, pod)| pod.length(view) + 1);
            self.room(lengths.sum()).await?;
            for (_, pod) in &pods {
                self.push(pod)?;
            }
            let length = self.piece.as_ref().map_or(0, |piece| piece.bytes.len());
            if length >= PIECE {
                self.send(sender, false).await?;
            }
        }
    }

    fn namespace_after(&self, namespace: Option<&str>) -> Option<Arc<str>> {
        let kept = self.pods.kept();
        kept.store().namespace_after(namespace).cloned()
    }

    /// Room for so much more in the piece.
    async fn room(&mut self, bytes: usize) -> Result<&mut Piece, BrokenOff> {
        let mut piece = match self.piece.take() {
            Some(piece) => piece,
            None => {
                let turn = Arc::clone(&self.turns).acquire_owned().await;
                Piece {
                    bytes: Vec::new(),
                    share: self.received.work.another(),
                    turn: turn.map_err(|_| BrokenOff)?,
                }
            }
        };
        if !piece.share.grow(bytes, Instant::now() + ROOM).await {
            return Err(BrokenOff);
        }
        piece.bytes.reserve_exact(bytes);
        Ok(self.piece.insert(piece))
    }

    fn push(&mut self, pod: &Packed) -> Result<(), BrokenOff> {
        let piece = self.piece.as_mut().ok_or(BrokenOff)?;
        piece.bytes.push(if self.is_first { b'[' } else { b',' });
        self.is_first = false;
        unpack(&self.packer, pod, self.which.view, &mut piece.bytes)
    }

    async fn send(&mut self, sender: &Sender<Part>, is_last: bool) -> Result<(), BrokenOff> {
        let Some(piece) = self.piece.take() else {
            return Ok(());
        };
        let part = Part {
            bytes: Bytes::from(piece.bytes),
            share: piece.share,
            turn: piece.turn,
            is_last,
        };
        // Fails if the client has gone, which isn't our failure.
        let _ = sender.send(part).await;
        Ok(())
    }
}

fn unpack(
    packer: &Mutex<Option<Packer>>,
    pod: &Packed,
    view: View,
    out: &mut Vec<u8>,
) -> Result<(), BrokenOff> {
    let mut packer = packer.lock().unwrap_or_else(PoisonError::into_inner);
    let mut unpacked = || match &mut *packer {
        Some(packer) => packer.unpack(pod, view, out),
        none => none.insert(Packer::new()?).unpack(pod, view, out),
    };
    unpacked().map_err(|error| {
        tracing::error!(%error, "a pod that is kept can't be shown");
        BrokenOff
    })
}
