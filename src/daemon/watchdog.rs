//! Tells the service manager, while the mount really answers, that it does (systemd's `WatchdogSec=`).
//!
//! On a thread of its own, so that what it watches can't keep it from watching: it asks the kernel for the mount's
//! figures, which only a session thread can answer, and has the runtime run a task. Whichever hangs, the pings stop, and the
//! service manager starts the mount anew.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::runtime::Handle;
use tracing::{debug, warn};

/// Pings in the time after which the service manager loses its patience.
const PINGS: u32 = 3;

/// Dropping it ends the pings.
#[derive(Debug)]
pub(super) struct Watchdog {
    _lives: Sender<()>,
}

impl Watchdog {
    /// Starts the pings for the mount at `mountpoint`, if the service manager wants any.
    pub(super) fn start(mountpoint: &Path) -> Option<Self> {
        let patience = sd_notify::watchdog_enabled()?;
        let period = (patience / PINGS).max(Duration::from_millis(10));
        let mountpoint = mountpoint.to_owned();
        let runtime = Handle::current();
        Self::pinging(
            period,
            move || answers(&mountpoint, &runtime, patience),
            || {
                if let Err(error) = sd_notify::notify(&[NotifyState::Watchdog]) {
                    debug!(%error, "the service manager could not be told");
                }
            },
        )
    }

    fn pinging(
        period: Duration,
        answers: impl Fn() -> bool + Send + 'static,
        ping: impl Fn() + Send + 'static,
    ) -> Option<Self> {
        let (lives, ended) = mpsc::channel::<()>();
        let started = thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || {
                loop {
                    if answers() {
                        ping();
                    } else {
                        warn!(
                            "the mount doesn't answer: the service manager isn't told that it does"
                        );
                    }
                    if ended.recv_timeout(period) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                }
            });
        match started {
            Ok(_) => Some(Self { _lives: lives }),
            Err(error) => {
                warn!(%error, "no thread for the watchdog: the service manager will end this mount");
                None
            }
        }
    }
}

/// Whether the kernel gets an answer from the session, and the runtime runs what it is given. May block as long as
/// neither does: that is an answer, too.
fn answers(mountpoint: &Path, runtime: &Handle, patience: Duration) -> bool {
    if rustix::fs::statvfs(mountpoint).is_err() {
        return false;
    }
    let (done, is_done) = mpsc::channel();
    runtime.spawn(async move {
        // Nobody waits any more when it took too long.
        let _ = done.send(());
    });
    is_done.recv_timeout(patience).is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    use super::*;

    #[test]
    fn there_are_pings_exactly_while_the_mount_answers() {
        let healthy = Arc::new(AtomicBool::new(true));
        let (looked, looks) = mpsc::channel();
        let (pinged, pings) = mpsc::channel();
        let is_healthy = Arc::clone(&healthy);
        let watchdog = Watchdog::pinging(
            Duration::from_millis(1),
            move || {
                let is_healthy = is_healthy.load(SeqCst);
                looked.send(is_healthy).unwrap();
                is_healthy
            },
            move || pinged.send(()).unwrap(),
        );
        for _ in 0..3 {
            pings.recv().unwrap();
        }
        healthy.store(false, SeqCst);
        while looks.recv().unwrap() {}
        // From here on there is no ping but those that were sent before.
        while pings.try_recv().is_ok() {}
        for _ in 0..3 {
            assert!(!looks.recv().unwrap());
        }
        assert!(pings.try_recv().is_err());
        drop(watchdog);
        while looks.recv().is_ok() {}
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_runtime_that_is_stuck_does_not_answer() {
        let root = Path::new("/");
        let runtime = Handle::current();
        let patience = Duration::from_secs(60);
        let asked = {
            let runtime = runtime.clone();
            tokio::task::spawn_blocking(move || answers(root, &runtime, patience))
        };
        assert!(asked.await.unwrap());
        let stuck = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let handle = stuck.handle().clone();
        // Nobody drives this one.
        let asked = tokio::task::spawn_blocking(move || {
            answers(root, &handle, Duration::from_millis(50))
                || answers(Path::new("/nowhere"), &runtime, patience)
        });
        assert!(!asked.await.unwrap());
        stuck.shutdown_background();
    }
}
