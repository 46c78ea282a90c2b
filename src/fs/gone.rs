//! Versions whose content turned out to be gone, until the catalogue knows.
//!
//! The metadata can still list an item whose content already answers 404. Its name disappears at once, and
//! comes back if the catalogue still has that version when this memory of it fades.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;

use crate::model::{ContentId, Guid};

/// How many are remembered.
const LIMIT: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// How long one is remembered.
const MEMORY: Duration = Duration::from_secs(600);

/// Versions whose content is gone.
#[derive(Debug)]
pub(super) struct Gone {
    versions: Mutex<LruCache<u128, Instant>>,
    /// Interactions that such a version is of.
    interactions: Mutex<LruCache<Guid, Instant>>,
}

impl Gone {
    pub(super) fn new() -> Self {
        Self {
            versions: Mutex::new(LruCache::new(LIMIT)),
            interactions: Mutex::new(LruCache::new(LIMIT)),
        }
    }

    pub(super) fn insert(&self, id: &ContentId) {
        let until = Instant::now() + MEMORY;
        // First, so that no listing is kept that lacks it.
        lock(&self.interactions).put(id.guid, until);
        lock(&self.versions).put(id.fingerprint(), until);
    }

    /// Whether an interaction may lack something that comes back by itself.
    pub(super) fn touches(&self, guid: Guid) -> bool {
        lock(&self.interactions)
            .peek(&guid)
            .is_some_and(|until| Instant::now() <= *until)
    }

    pub(super) fn contains(&self, id: &ContentId) -> bool {
        let gone = lock(&self.versions);
        // Nearly always empty: then no fingerprint is worth computing.
        !gone.is_empty()
            && gone
                .peek(&id.fingerprint())
                .is_some_and(|until| Instant::now() < *until)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
