//! Versions whose content turned out to be gone, until the catalogue knows.
//!
//! The metadata can still list an item whose content already answers 404. Its name disappears at once, and
//! comes back if the catalogue still has that version when this memory of it fades.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;

use crate::model::ContentId;

/// How many are remembered.
const LIMIT: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// How long one is remembered.
const MEMORY: Duration = Duration::from_secs(600);

/// Versions whose content is gone.
#[derive(Debug)]
pub(super) struct Gone(Mutex<LruCache<u128, Instant>>);

impl Gone {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(LIMIT)))
    }

    pub(super) fn insert(&self, id: &ContentId) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .put(id.fingerprint(), Instant::now() + MEMORY);
    }

    pub(super) fn contains(&self, id: &ContentId) -> bool {
        let gone = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nearly always empty: then no fingerprint is worth computing.
        !gone.is_empty()
            && gone
                .peek(&id.fingerprint())
                .is_some_and(|until| Instant::now() < *until)
    }
}
