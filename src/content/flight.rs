//! An object's state: the flights that bring its bytes, and who waits for which block.
//!
//! The promise: whoever waits for a block is either in the path of a flight, or is told to look again.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::ContentError;
use super::block::{self, BLOCK};
use super::failures::Failures;
use super::history::History;
use super::plan::{self, Kind};
use super::version_check::Pinned;
use crate::remote::{Class, RemoteError, Urgency};

/// What a waiter is told.
#[derive(Clone, Debug)]
pub(super) enum Delivery {
    /// The block, or as much of it as was wanted.
    Block(Bytes),
    /// Things have changed: look again.
    Again,
    /// The flight failed; its own deadline, as a waiter with a later one may try again.
    Failed(ContentError, Instant),
}

/// Bytes on their way. The task that brings them is in [`super::stream`].
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) number: u64,
    pub(super) kind: Kind,
    /// A reader who comes to rely on it makes it as urgent as his own request would be.
    pub(super) urgency: Urgency,
    pub(super) begin: u64,
    pub(super) position: u64,
    /// Where it ends; `u64::MAX` while the size is not known. Moved inwards when another takes over.
    pub(super) end: u64,
    pub(super) is_sent: bool,
    pub(super) is_paused: bool,
    /// It was paused for a while: its reader is slow, and it may run on to the disk.
    pub(super) reader_is_slow: bool,
    pub(super) changed: Arc<Notify>,
}

/// Who waits for a block.
#[derive(Debug)]
pub(super) struct Waiter {
    /// The offset behind the last byte that is wanted of the block: a block that is there so far will do.
    pub(super) upto: u64,
    pub(super) sender: oneshot::Sender<Delivery>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) size: Option<u64>,
    pub(super) size_is_learnt: bool,
    pub(super) pinned: Pinned,
    pub(super) is_stale: bool,
    /// Stale, and what is held of it is of no use either: its inode stands for other bytes by now.
    pub(super) is_overwritten: bool,
    pub(super) failures: Failures,
    pub(super) flights: Vec<Flight>,
    pub(super) waiters: HashMap<u64, Vec<Waiter>>,
    pub(super) size_waiters: Vec<oneshot::Sender<Delivery>>,
    pub(super) cursors: HashMap<u64, History>,
    pub(super) bounded_fetches: u64,
    pub(super) backward_seeks: u64,
    /// A stream has just failed: none is started ahead of readers until then.
    pub(super) no_stream_before: Option<Instant>,
    /// What the disk holds has been looked up.
    pub(super) disk_is_known: bool,
    pub(super) next_number: u64,
}

impl State {
    pub(super) fn flight(&mut self, number: u64) -> Option<&mut Flight> {
        self.flights
            .iter_mut()
            .find(|flight| flight.number == number)
    }

    /// Whether a flight has `index` in its path.
    pub(super) fn covers(&self, index: u64) -> bool {
        self.flights.iter().any(|flight| flight.covers(index))
    }

    /// Whether a block is so near in a flight's path that there is nothing to plan.
    pub(super) fn brings_soon(&self, index: u64) -> bool {
        self.flights.iter().any(|flight| {
            flight.covers(index)
                && flight.is_sent
                && block::start_of(index).saturating_sub(flight.position) <= plan::READ_THROUGH
        })
    }

    /// Whether somebody waits for a block from `from` to before `end`.
    pub(super) fn is_awaited(&self, from: u64, end: u64) -> bool {
        let (from, end) = (block::index_of(from), end.div_ceil(BLOCK));
        self.waiters.iter().any(|(&index, waiters)| {
            index >= from && index < end && waiters.iter().any(|waiter| !waiter.sender.is_closed())
        })
    }

    pub(super) fn release_orphans(&mut self) {
        self.tell_orphans(&Delivery::Again);
    }

    pub(super) fn tell_orphans(&mut self, told: &Delivery) {
        let flights = &self.flights;
        let orphans: Vec<u64> = self
            .waiters
            .keys()
            .copied()
            .filter(|&index| !flights.iter().any(|flight| flight.covers(index)))
            .collect();
        for index in orphans {
            self.tell(index, told);
        }
    }

    pub(super) fn tell(&mut self, index: u64, told: &Delivery) {
        for waiter in self.waiters.remove(&index).unwrap_or_default() {
            // A reader that has left misses nothing.
            let _ = waiter.sender.send(told.clone());
        }
    }

    /// Answers those who want no more of a block than its beginning, up to `position` in the file.
    pub(super) fn tell_early(&mut self, index: u64, position: u64, beginning: &[u8]) {
        let Some(waiters) = self.waiters.get_mut(&index) else {
            return;
        };
        let mut told = None;
        for waiter in waiters.extract_if(.., |waiter| waiter.upto <= position) {
            let bytes = told.get_or_insert_with(|| Bytes::copy_from_slice(beginning));
            let _ = waiter.sender.send(Delivery::Block(bytes.clone()));
        }
        if waiters.is_empty() {
            self.waiters.remove(&index);
        }
    }

    pub(super) fn tell_size_waiters(&mut self, told: &Delivery) {
        for waiter in self.size_waiters.drain(..) {
            let _ = waiter.send(told.clone());
        }
    }

    /// Makes whatever brings `index` at least as urgent as `class`.
    pub(super) fn hurry(&self, index: u64, class: Class) {
        for flight in self.flights.iter().filter(|flight| flight.covers(index)) {
            flight.urgency.raise(class);
        }
    }

    /// Wakes the paused flight that has `index` in its path.
    pub(super) fn wake_paused(&self, index: u64) {
        for flight in &self.flights {
            if flight.is_paused && flight.covers(index) {
                flight.changed.notify_one();
            }
        }
    }
}

impl Flight {
    pub(super) fn covers(&self, index: u64) -> bool {
        self.position < self.end
            && block::index_of(self.position) <= index
            && index < self.end.div_ceil(BLOCK)
    }
}

/// Waits for a delivery: the block, `None` to look again, or why there is none.
pub(super) async fn outcome(
    delivery: oneshot::Receiver<Delivery>,
    deadline: Instant,
) -> Result<Option<Bytes>, ContentError> {
    match tokio::time::timeout_at(deadline, delivery).await {
        Ok(Ok(Delivery::Block(bytes))) => Ok(Some(bytes)),
        Ok(Ok(Delivery::Again) | Err(_)) => Ok(None),
        Ok(Ok(Delivery::Failed(error, flight_deadline))) => {
            let was_hurried = matches!(
                error,
                ContentError::DeadlinePassed
                    | ContentError::Remote(RemoteError::DeadlinePassed | RemoteError::NoBudget)
            );
            // A flight of somebody with less time is no reason to give up.
            if was_hurried && flight_deadline < deadline {
                Ok(None)
            } else {
                Err(error)
            }
        }
        Err(_) => Err(ContentError::DeadlinePassed),
    }
}

pub(super) async fn outcome_without_bytes(
    delivery: oneshot::Receiver<Delivery>,
    deadline: Instant,
) -> Option<ContentError> {
    outcome(delivery, deadline).await.err()
}
