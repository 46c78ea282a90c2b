//! Open handles, by number.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::sources::Reader;

/// What an open file reads from.
pub(super) enum OpenFile {
    /// A version's bytes, through the read engine. The handle is pinned to that version.
    Content(Box<dyn Reader>),
    /// Bytes that were whole when it was opened.
    Whole(Bytes),
}

/// Handles of one kind, each with a number that is not used twice.
#[derive(Debug)]
pub(super) struct Handles<T> {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<T>>>,
}

impl<T> Default for Handles<T> {
    fn default() -> Self {
        Self {
            next: AtomicU64::new(1),
            open: Mutex::new(HashMap::new()),
        }
    }
}

impl<T> Handles<T> {
    pub(super) fn insert(&self, value: T) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, Arc::new(value));
        number
    }

    pub(super) fn get(&self, number: u64) -> Option<Arc<T>> {
        self.lock().get(&number).map(Arc::clone)
    }

    pub(super) fn remove(&self, number: u64) {
        let removed = self.lock().remove(&number);
        // Dropped without the lock: a reader that leaves may wake others.
        drop(removed);
    }

    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<T>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
