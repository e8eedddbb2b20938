//! The signals that end the process, and those that must not.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGINT, as from Ctrl-C.
    Interrupt,
    /// SIGTERM, as from Kubernetes.
    Terminate,
    /// SIGQUIT, as from Ctrl-\ or a container image that stops its process so.
    Quit,
}

impl Stop {
    /// What a shell reports for a process that died of the signal: 128 plus the signal's number.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Quit => 131,
            Self::Terminate => 143,
        }
    }

    /// The signal's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::Quit => "SIGQUIT",
        }
    }
}

/// The signals of operators and tools, from now on in our hands: left alone, each of them ends the
/// process at once and cuts off what is in flight.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
    hangup: Signal,
    users: [Signal; 2],
}

impl Signals {
    /// From now on signals are kept for [`next`](Self::next).
    pub(super) fn subscribe() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            users: [
                signal(SignalKind::user_defined1())?,
                signal(SignalKind::user_defined2())?,
            ],
        })
    }

    /// Waits for the next signal that ends the process. What others do is done, or said, meanwhile.
    pub(super) async fn next(&mut self) -> Stop {
        let [user1, user2] = &mut self.users;
        loop {
            let ignored = tokio::select! {
                _ = self.interrupt.recv() => return Stop::Interrupt,
                _ = self.terminate.recv() => return Stop::Terminate,
                _ = self.quit.recv() => return Stop::Quit,
                // Whoever watches files has subscribed, too.
                _ = self.hangup.recv() => {
                    tracing::info!(signal = "SIGHUP", "looking for changed files now");
                    continue;
                }
                _ = user1.recv() => "SIGUSR1",
                _ = user2.recv() => "SIGUSR2",
            };
            tracing::info!(signal = ignored, "ignored a signal that means nothing here");
        }
    }
}
