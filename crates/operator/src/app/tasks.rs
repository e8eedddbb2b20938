//! Tasks beside the listeners.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How long to wait before a task that panicked is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(10);

/// Tasks beside the listeners. They end when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Tasks(JoinSet<()>);

impl Tasks {
    /// Starts a task.
    pub(super) fn start(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(task);
    }

    /// Starts a task that is meant to go on for ever. If a bug ends it, it is started anew: serving
    /// goes on meanwhile.
    pub(super) fn supervise<F>(&mut self, name: &'static str, task: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.start(supervised(name, task));
    }

    /// The same, on another runtime.
    pub(super) fn supervise_on<F>(
        &mut self,
        runtime: &Handle,
        name: &'static str,
        task: impl Fn() -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        self.0.spawn_on(supervised(name, task), runtime);
    }
}

async fn supervised<F>(name: &'static str, task: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let mut one = JoinSet::new();
        one.spawn(task());
        one.join_next().await;
        tracing::error!(task = name, "ended unexpectedly; starting it again");
        sleep(RESTART_PAUSE).await;
    }
}
