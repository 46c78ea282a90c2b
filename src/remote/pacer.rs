//! Whose request goes next, and when: one queue by class, one pace for all processes on the account.
//!
//! Every request to the API needs a [`Permit`]. Waiting readers come before refreshes, refreshes before
//! prefetches, and within a class who came first. [`rules`] decide when; the grants they go by lie in the
//! [`ledger`] that processes share, or in [`memory`] when there is none. The ledger is touched by a thread
//! of its own only: a disk that hangs holds up no reader, who after a second goes by this process's own
//! grants instead, until the disk answers again.

mod forecast;
mod ledger;
mod memory;
mod rules;
mod service;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::counters::PaceCounters;
use super::{Class, RemoteError};
use ledger::Ledger;
use memory::MemoryLog;
use rules::{LIMIT_MAX, Record};
use service::{Queue, Snapshot, Throttle, Waiter};

/// How long a reader waits for the ledger's disk before this process goes on without it.
const LEDGER_PATIENCE: Duration = Duration::from_secs(1);

/// The right to make one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Permit {
    granted_at: u64,
}

/// The pace of one account.
pub(super) struct Pacer {
    shared: Arc<Shared>,
}

/// What callers and the service thread have in common.
struct Shared {
    configured: u32,
    state: Mutex<State>,
    /// There is something new for the thread.
    wake: Condvar,
    /// Since when the thread has been in the ledger's system calls, in µs; 0 when it is not.
    in_ledger_since: AtomicU64,
    /// Until when requests pause, in µs.
    paused_until: watch::Sender<u64>,
}

struct State {
    queue: Queue,
    /// Grants of this process; all there is when no ledger is in use.
    own: MemoryLog,
    /// The record as last seen.
    record: Record,
    /// 429s that the ledger's record doesn't show yet.
    throttles: Vec<Throttle>,
    snapshot: Snapshot,
    /// Grants taken ahead of demand, and until when they are good, in µs.
    ahead: u32,
    ahead_until: u64,
    is_shared: bool,
    /// When the ledger was last left, in µs: what was granted since it doesn't know.
    left_at: u64,
    /// Somebody asks for a newer snapshot.
    wants_snapshot: bool,
    /// Somebody came since the last round began.
    has_arrivals: bool,
    /// Which thread serves: an older one, back from a disk that hung, ends.
    epoch: u64,
    is_closed: bool,
}

impl Pacer {
    /// A pace of `configured` requests a minute, shared through the file `ledger` if there is one.
    ///
    /// A ledger that can't be used is done without, with one warning.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn new(configured: u32, ledger: Option<PathBuf>) -> io::Result<Self> {
        let ledger = ledger.and_then(|path| match Ledger::open(&path) {
            Ok(ledger) => Some(ledger),
            Err(error) => {
                warn_unshared(&error);
                None
            }
        });
        let configured = configured.clamp(1, LIMIT_MAX);
        let shared = Arc::new(Shared {
            configured,
            state: Mutex::new(State {
                queue: Queue::default(),
                own: MemoryLog::default(),
                record: Record::default(),
                throttles: Vec::new(),
                snapshot: Snapshot::default(),
                ahead: 0,
                ahead_until: 0,
                is_shared: ledger.is_some(),
                left_at: 0,
                wants_snapshot: true,
                has_arrivals: false,
                epoch: 0,
                is_closed: false,
            }),
            wake: Condvar::new(),
            in_ledger_since: AtomicU64::new(0),
            paused_until: watch::Sender::new(0),
        });
        service::start(Arc::clone(&shared), ledger, 0)?;
        Ok(Self { shared })
    }

    /// Waits for the turn of a request of `class`. A caller that goes away leaves the queue.
    ///
    /// # Errors
    /// [`RemoteError::NoBudget`] as soon as it is known that the turn comes after `deadline`;
    /// [`RemoteError::DeadlinePassed`] when it passes.
    pub(super) async fn acquire(
        &self,
        class: Class,
        deadline: Instant,
    ) -> Result<Permit, RemoteError> {
        if deadline <= Instant::now() {
            return Err(RemoteError::DeadlinePassed);
        }
        let (answer, mut turn) = oneshot::channel();
        let now = now_micros();
        self.shared.enqueue(
            class,
            Waiter {
                answer,
                deadline: boot_deadline(deadline, now),
                since: now,
            },
            now,
        );
        loop {
            let check = Instant::now() + LEDGER_PATIENCE;
            match timeout_at(check.min(deadline), &mut turn).await {
                Ok(Ok(result)) => return result.map(|granted_at| Permit { granted_at }),
                Ok(Err(_)) => return Err(RemoteError::Connection("the client is shut down")),
                Err(_) if deadline <= Instant::now() => return Err(RemoteError::DeadlinePassed),
                Err(_) => service::leave_stuck_ledger(&self.shared),
            }
        }
    }

    /// Takes note of a 429 to the request made with `permit`; `told` is its `Retry-After`.
    pub(super) fn throttled(&self, permit: Permit, told: Option<Duration>) {
        let throttle = Throttle {
            granted_at: permit.granted_at,
            told: told.map(|told| u64::try_from(told.as_micros()).unwrap_or(u64::MAX)),
            jitter: jitter(),
        };
        self.shared.throttled(throttle, now_micros());
    }

    /// Returns as soon as requests are known to pause until after `deadline`; else never.
    pub(super) async fn paused_past(&self, deadline: Instant) {
        let mut paused = self.shared.paused_until.subscribe();
        let deadline = boot_deadline(deadline, now_micros());
        // The sender lives as long as the pacer, so this ends with the condition only.
        if paused.wait_for(|until| *until > deadline).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether requests are known to pause until after `deadline`.
    pub(super) fn is_paused_past(&self, deadline: Instant) -> bool {
        *self.shared.paused_until.borrow() > boot_deadline(deadline, now_micros())
    }

    /// How long until `requests` of `class` are granted, if nobody else asks meanwhile.
    pub(super) fn time_for(&self, class: Class, requests: u64) -> Duration {
        let now = now_micros();
        let granted = self.shared.counters(now).granted;
        let standing = self.shared.standing(granted, now);
        forecast::time_for(&standing, class, requests)
    }

    /// The pace just now, as far as known without asking the disk.
    pub(super) fn counters(&self) -> PaceCounters {
        self.shared.counters(now_micros())
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// Microseconds of the clock that all processes share and that goes on while the machine sleeps.
fn now_micros() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(time.tv_sec)
        .unwrap_or(0)
        .saturating_mul(1_000_000)
        .saturating_add(u64::try_from(time.tv_nsec / 1_000).unwrap_or(0))
}

fn boot_deadline(deadline: Instant, now: u64) -> u64 {
    let left = deadline.saturating_duration_since(Instant::now());
    now.saturating_add(u64::try_from(left.as_micros()).unwrap_or(u64::MAX))
}

/// A number from 0 to 1 that differs between processes and calls.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    // Each `RandomState` has keys of its own.
    let bits = u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or(0);
    f64::from(bits) / f64::from(u32::MAX)
}

fn warn_unshared(error: &io::Error) {
    tracing::warn!(
        kind = %error.kind(),
        "the pace file can't be used: the request budget is counted for this process alone"
    );
}

#[cfg(test)]
mod tests;
