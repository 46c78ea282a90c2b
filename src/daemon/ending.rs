//! What ends a mount, and what makes it read its secret again.

use std::io;
use std::sync::Arc;

use crate::failure::Failure;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Why a mount ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// SIGINT or SIGTERM.
    Signal,
    /// Somebody unmounted it.
    Unmounted,
    /// Somebody asked over the control socket.
    Asked,
    /// A callback panicked: the state can't be trusted any more.
    Panic,
}

/// What SIGHUP means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangup {
    /// To read the secret again.
    Reloads,
    /// The end, unless it was ignored at the beginning, as behind nohup(1): nobody would find again what goes on without
    /// its terminal.
    Ends,
}

/// Whether who started this process wants it to outlive the terminal. To be asked before signals are received.
pub fn ignores_hangups() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 != 0)
}

/// Everything that can end the mount, in one place to wait for.
pub(super) struct Endings {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    hangup_means: Hangup,
    sender: mpsc::Sender<Ending>,
    receiver: mpsc::Receiver<Ending>,
}

impl Endings {
    /// Takes over the signals; from here on they no longer kill the process.
    pub(super) fn new(hangup_means: Hangup) -> io::Result<Self> {
        let hangup_means = if ignores_hangups() {
            Hangup::Reloads
        } else {
            hangup_means
        };
        let (sender, receiver) = mpsc::channel(4);
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            hangup_means,
            sender,
            receiver,
        })
    }

    /// Something to call, from any thread and without waiting, when the mount must end.
    pub(super) fn trigger(&self, ending: Ending) -> Arc<dyn Fn() + Send + Sync> {
        let sender = self.sender.clone();
        // A full channel already holds a reason to end.
        Arc::new(move || {
            let _ = sender.try_send(ending);
        })
    }

    /// What comes before there is anything to end in order, unless a signal comes sooner.
    ///
    /// # Errors
    /// Its own, or that it was ended.
    pub(super) async fn unless_signalled<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            outcome = work => outcome,
            _ = self.interrupt.recv() => Err(Failure::found("interrupted before it had begun")),
            _ = self.terminate.recv() => Err(Failure::found("ended before it had begun")),
            _ = self.hangup.recv(), if self.hangup_means == Hangup::Ends => {
                Err(Failure::found("ended with its terminal before it had begun"))
            }
        }
    }

    /// Waits for the end; every SIGHUP on the way that is none calls `reload`.
    pub(super) async fn wait(mut self, reload: impl Fn()) -> Ending {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return Ending::Signal,
                _ = self.terminate.recv() => return Ending::Signal,
                _ = self.hangup.recv() => match self.hangup_means {
                    Hangup::Reloads => reload(),
                    Hangup::Ends => return Ending::Signal,
                },
                Some(ending) = self.receiver.recv() => return ending,
            }
        }
    }
}
