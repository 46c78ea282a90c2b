//! Whether a disk still answers.
//!
//! Whoever makes a call that waits for the disk says so for as long as it lasts. While one has lasted for longer than
//! [`PATIENCE`], the disk counts as stuck and what can be done without it is; with the end of that call it is of use again.
//! A disk that is merely slow ends each of its calls in time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long one call may take: beyond what a disk that works ever takes, and short beside the deadlines of readers.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// No call is under way.
const NONE: u64 = u64::MAX;

/// The calls that wait for one disk.
#[derive(Debug)]
pub struct DiskWatch {
    /// What the disk is for, in the log.
    purpose: &'static str,
    patience: Duration,
    start: Instant,
    /// When the oldest call that is under way began, in milliseconds after `start`, or [`NONE`]: a look costs no lock.
    oldest: AtomicU64,
    calls: Mutex<Calls>,
    is_told: AtomicBool,
}

#[derive(Debug, Default)]
struct Calls {
    next: u64,
    /// When each began. Later ones have greater numbers, so the first is the oldest.
    begun: BTreeMap<u64, u64>,
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
        Self::with_patience(purpose, PATIENCE)
    }

    pub(crate) fn with_patience(purpose: &'static str, patience: Duration) -> Self {
        Self {
            purpose,
            patience,
            start: Instant::now(),
            oldest: AtomicU64::new(NONE),
            calls: Mutex::default(),
            is_told: AtomicBool::new(false),
        }
    }

    /// A call begins, on this thread.
    pub fn begin(&self) -> DiskCall<'_> {
        let now = self.now();
        let mut calls = self.lock();
        let number = calls.next;
        calls.next += 1;
        calls.begun.insert(number, now);
        if calls.begun.len() == 1 {
            self.oldest.store(now, Ordering::Relaxed);
        }
        DiskCall {
            watch: self,
            number,
        }
    }

    /// Whether a call has been under way for too long.
    pub fn is_stuck(&self) -> bool {
        let oldest = self.oldest.load(Ordering::Relaxed);
        let is_stuck = oldest != NONE
            && u128::from(self.now().saturating_sub(oldest)) >= self.patience.as_millis();
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
            let oldest = self.oldest.load(Ordering::Relaxed);
            let lasts = if oldest == NONE {
                0
            } else {
                self.now().saturating_sub(oldest)
            };
            let left = self.patience.saturating_sub(Duration::from_millis(lasts));
            tokio::time::sleep(left.max(Duration::from_millis(1))).await;
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(NONE - 1)
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for DiskCall<'_> {
    fn drop(&mut self) {
        let mut calls = self.watch.lock();
        calls.begun.remove(&self.number);
        let oldest = calls.begun.values().next().copied();
        self.watch
            .oldest
            .store(oldest.unwrap_or(NONE), Ordering::Relaxed);
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
        let watch = DiskWatch::with_patience("test", Duration::ZERO);
        assert!(!watch.is_stuck(), "nobody waits for it");
        let first = watch.begin();
        let second = watch.begin();
        assert!(watch.is_stuck());
        drop(first);
        assert!(watch.is_stuck(), "the other one lasts");
        drop(second);
        assert!(!watch.is_stuck());
        let patient = DiskWatch::with_patience("test", Duration::MAX);
        let _lasts = patient.begin();
        assert!(!patient.is_stuck());
    }

    #[tokio::test]
    async fn who_waits_is_told_when_it_is_stuck() {
        let watch = DiskWatch::with_patience("test", Duration::from_millis(20));
        let call = watch.begin();
        watch.stuck().await;
        drop(call);
        assert!(!watch.is_stuck());
    }
}
