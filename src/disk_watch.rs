//! Whether a disk still answers.
//!
//! Whoever makes a call that waits for the disk says so for as long as it lasts. While one lasts for longer than the disk may
//! take, the disk counts as stuck and what can be done without it is; with the end of that call it is of use again.
//! A call may also last because the disk is spinning up, or because the machine is busy: whoever goes on without the
//! disk must be right all the same.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a call may take that somebody waits for: beyond what a disk takes that is at work, and short beside the
/// deadlines of readers.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// How long a call may take that writes: the system slows writers down when a disk is busy.
pub const WRITERS_PATIENCE: Duration = Duration::from_secs(10);

/// How often is looked whether a disk answers again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// No call is under way.
const NEVER: u64 = u64::MAX;

/// The calls that wait for one disk.
#[derive(Debug)]
pub struct DiskWatch {
    /// What the disk is for, in the log.
    purpose: &'static str,
    start: Instant,
    /// When the first of the calls under way has lasted too long, in milliseconds after `start`, or [`NEVER`]: a look costs
    /// no lock.
    due: AtomicU64,
    calls: Mutex<Calls>,
    is_told: AtomicBool,
}

#[derive(Debug, Default)]
struct Calls {
    next: u64,
    /// When each will have lasted too long.
    due: BTreeMap<u64, u64>,
}

/// A call that is under way until this is dropped.
#[derive(Debug)]
pub struct DiskCall<'a> {
    watch: &'a DiskWatch,
    number: u64,
}

impl DiskWatch {
    /// A watch over the disk of `purpose`.
    pub fn new(purpose: &'static str) -> Self {
        Self {
            purpose,
            start: Instant::now(),
            due: AtomicU64::new(NEVER),
            calls: Mutex::default(),
            is_told: AtomicBool::new(false),
        }
    }

    /// A call begins, on this thread, that shows or finds something.
    pub fn begin(&self) -> DiskCall<'_> {
        self.begin_within(PATIENCE)
    }

    /// A call begins, on this thread, that writes.
    pub fn begin_write(&self) -> DiskCall<'_> {
        self.begin_within(WRITERS_PATIENCE)
    }

    pub(crate) fn begin_within(&self, patience: Duration) -> DiskCall<'_> {
        let patience = u64::try_from(patience.as_millis()).unwrap_or(NEVER);
        let due = self.now().saturating_add(patience).min(NEVER - 1);
        let mut calls = self.lock();
        let number = calls.next;
        calls.next += 1;
        calls.due.insert(number, due);
        self.publish(&calls);
        DiskCall {
            watch: self,
            number,
        }
    }

    fn publish(&self, calls: &Calls) {
        let first = calls.due.values().min().copied();
        self.due.store(first.unwrap_or(NEVER), Ordering::Relaxed);
    }

    /// Whether a call has been under way for too long.
    pub fn is_stuck(&self) -> bool {
        let due = self.due.load(Ordering::Relaxed);
        let is_stuck = due != NEVER && self.now() >= due;
        if is_stuck && !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                disk = self.purpose,
                "the disk doesn't answer: going on without it until it does"
            );
        }
        is_stuck
    }

    /// Returns when the disk is stuck; never while it isn't.
    pub async fn stuck(&self) {
        while !self.is_stuck() {
            let due = self.due.load(Ordering::Relaxed);
            let left = Duration::from_millis(due.saturating_sub(self.now()));
            // A call that begins now is looked at in time, too.
            let left = left.clamp(Duration::from_millis(1), PATIENCE);
            tokio::time::sleep(left).await;
        }
    }

    /// Returns when the disk isn't stuck.
    pub async fn answers(&self) {
        while self.is_stuck() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(NEVER - 1)
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for DiskCall<'_> {
    fn drop(&mut self) {
        let mut calls = self.watch.lock();
        calls.due.remove(&self.number);
        self.watch.publish(&calls);
        drop(calls);
        if self.watch.is_told.load(Ordering::Relaxed)
            && !self.watch.is_stuck()
            && self.watch.is_told.swap(false, Ordering::Relaxed)
        {
            tracing::info!(disk = self.watch.purpose, "the disk answers again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_stuck_while_one_call_lasts_too_long() {
        let watch = DiskWatch::new("test");
        assert!(!watch.is_stuck(), "nobody waits for it");
        let patient = watch.begin_within(Duration::MAX);
        assert!(!watch.is_stuck());
        let first = watch.begin_within(Duration::ZERO);
        let second = watch.begin_within(Duration::ZERO);
        assert!(watch.is_stuck());
        drop(first);
        assert!(watch.is_stuck(), "the other one lasts");
        drop(second);
        assert!(!watch.is_stuck());
        drop(patient);
        assert!(!watch.is_stuck());
    }

    #[tokio::test]
    async fn who_waits_is_told_when_it_is_stuck() {
        let watch = DiskWatch::new("test");
        let call = watch.begin_within(Duration::from_millis(20));
        watch.stuck().await;
        let waiting = watch.answers();
        tokio::pin!(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(call);
        waiting.await;
        assert!(!watch.is_stuck());
    }
}
