//! Whole versions for later: what is missing of one, and fetching it in a way that can be called off.
//!
//! A reader's bounded range is always completed, because somebody waits for it. What is fetched for later is not:
//! when its caller goes away, so does the flight, also one that still waits for its turn.

use std::sync::Arc;

use super::{ContentError, Missing, Object, block};
use crate::remote::{Class, Terms};

/// Calls the flights off when it is dropped before the end.
struct CallOff<'a> {
    object: &'a Object,
    is_over: bool,
}

impl Object {
    /// What is missing of the version in both tiers. Looks at the disk, makes no request. What is on a disk that
    /// doesn't answer counts as missing.
    pub async fn missing(self: &Arc<Self>) -> Missing {
        self.look_at_disk().await;
        let Some(size) = self.size() else {
            // One request for all, which also tells how much that is.
            return Missing {
                requests: 1,
                bytes: 0,
                size: None,
            };
        };
        let holes = self.held().holes(block::count_of(size));
        Missing {
            requests: holes.len() as u64,
            bytes: holes
                .iter()
                .map(|hole| block::start_of(hole.end).min(size) - block::start_of(hole.start))
                .sum(),
            size: Some(size),
        }
    }

    /// Sees to it that all bytes are held, by one request for each hole whatever its size. Dropping the future
    /// ends what is under way, unless somebody else waits for it or has the file open.
    ///
    /// # Errors
    /// [`ContentError`] when they can't be had within the terms.
    pub async fn fetch_for_later(self: &Arc<Self>, terms: Terms) -> Result<(), ContentError> {
        // Dropped after the waiting below is, so that only others' waiting is seen.
        let mut guard = CallOff {
            object: self,
            is_over: false,
        };
        let outcome = self.whole_within(&terms).await;
        guard.is_over = true;
        outcome
    }

    /// Sees to it that all blocks are held, or were, as far as memory alone can hold them. Nobody waits for them yet, so a disk
    /// that doesn't answer is waited for: whatever is on it would be fetched again.
    pub(super) async fn whole_within(self: &Arc<Self>, terms: &Terms) -> Result<(), ContentError> {
        let late = |_| ContentError::DeadlinePassed;
        let disk_answers = || tokio::time::timeout_at(terms.deadline, self.shared.disk_answers());
        disk_answers().await.map_err(late)?;
        let size = self.size_within(terms).await?;
        for index in 0..block::count_of(size) {
            disk_answers().await.map_err(late)?;
            if !self.has(index) && self.block(index, size, None, terms).await?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn call_off(&self) {
        let mut state = self.lock();
        if !state.cursors.is_empty() || state.size_waiters.iter().any(|waiter| !waiter.is_closed())
        {
            return;
        }
        let unwanted: Vec<u64> = state
            .flights
            .iter()
            .filter(|flight| flight.urgency.class() == Class::Prefetch)
            .filter(|flight| !state.is_awaited(flight.position, flight.end))
            .map(|flight| flight.number)
            .collect();
        for number in unwanted {
            if let Some(flight) = state.flight(number) {
                flight.end = flight.position;
                flight.changed.notify_one();
            }
        }
    }
}

impl Drop for CallOff<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.object.call_off();
        }
    }
}
