//! The signals that stop a node: SIGTERM and SIGINT. A second one ends the process at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use waypost_tasks::{Task, Tasks};

/// The signals, caught from here on.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Catches them: they no longer end the process by themselves.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub(super) fn catch() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for a signal; returns its name.
    pub(super) async fn told(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "interrupted",
        }
    }

    /// The result of a future; `None` if a signal comes first.
    pub(super) async fn unless_told<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            answer = future => Some(answer),
            _ = self.told() => None,
        }
    }

    /// Ends the process at the next signal.
    pub(super) fn exit_on_the_next(mut self, tasks: &Tasks) {
        tasks.spawn_once_local(Task::SecondSignal, async move {
            self.told().await;
            tracing::warn!("second signal: stopping at once; acknowledged writes are on disk");
            std::process::exit(1);
        });
    }
}
